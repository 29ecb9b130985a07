"""A plan's cost, reckoned by hand; the machine is timed once."""

import pytest

from asc_sweeps.config.setting_groups import FinetuneConfig, ModelConfig, PretrainConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.sweep import cost
from asc_sweeps.sweep.plan import make_plan
from asc_sweeps.training.finished import FinishedTrials, complexity_of
from asc_sweeps.workspace.paths import Workspace


def test_the_cost_of_a_plan_is_that_of_its_trials(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "TIMING_SECONDS", 0.05)
    workspace = Workspace(tmp_path, accelerator="cpu")
    synthesize(tmp_path / "set", DatasetPlan("mini", 2, 1, 1, scenes=SCENES[:2]), workers=1)
    data = prepare(tmp_path / "set", workspace.prepared)
    small, wide = (
        TrialConfig(model=ModelConfig(width=w), pretrain=PretrainConfig(epochs=7, warmup_epochs=0)).with_resolved_data(
            data.name, data.fingerprint
        )
        for w in (8, 16)
    )
    tuned = small.model_copy(update={"finetune": FinetuneConfig(epochs=3, head_epochs=2)})
    plan = make_plan({"s": [tuned, wide]}, FinishedTrials(workspace))
    n = len(split_rows(data, small.data)["train"])
    said = []
    found = cost.estimate_cost(plan, workspace, said.append)
    assert found.epochs == 7 + 5 + 7
    assert found.segments == n * (7 + 5 + 7)
    assert found.macs == 3 * n * (12 * complexity_of(small).macs + 7 * complexity_of(wide).macs)
    assert found.hours > 0
    assert said == [
        "timing BC-Res2Net-16 w/ MFA & FPM on a core of "
        + found.measured_on.rpartition(" ")[2]
        + " for 0.05 s; the first time on a machine 20 s more to compile"
    ]
    assert cost.estimate_cost(plan, workspace, said.append).hours == pytest.approx(found.hours)
    assert len(said) == 1
    (tmp_path / "calibration.json").write_text("torn {")
    assert cost.estimate_cost(plan, workspace, said.append).hours > 0
    assert len(said) == 2


def test_a_plan_with_nothing_left_costs_nothing(tmp_path):
    assert cost.estimate_cost(make_plan({}, FinishedTrials(Workspace(tmp_path))), Workspace(tmp_path)) is None
