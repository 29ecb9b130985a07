"""How a study stands, from the workspace's files: a finished, a running, a begun, a failed and a planned trial."""

import json

import pytest
from click.testing import CliRunner

from asc_sweeps.cli import cli
from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.lease import acquire
from asc_sweeps.workspace.paths import LEASE, Workspace
from asc_sweeps.workspace.record_store import save_failure, save_study
from asc_sweeps.workspace.records import StudyRecord, TrialFailure
from asc_sweeps.workspace.status import study_statuses

SMALL = {"features.n_mels": 32, "features.hop": 1024, "model.width": 8, "model.mfa": False, "model.fpm": False}
SMALL |= {"pretrain.epochs": 3, "pretrain.warmup_epochs": 0, "pretrain.batch_size": 32}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    workspace = Workspace(tmp_path_factory.mktemp("status"))
    synthesize(workspace.data / "set", DatasetPlan("mini", 2, 1, 1, scenes=SCENES[:2]), workers=1)
    data = prepare(workspace.data / "set", workspace.prepared)
    done, begun, failed, _ = trials = [
        make_config([*(Setting(n, v) for n, v in SMALL.items()), Setting("seed", seed)]).with_resolved_data(
            data.name, data.fingerprint
        )
        for seed in range(4)
    ]
    run_trial(done, workspace)

    def stop_after_two(row):
        if row["epochs_done"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(begun, workspace, stop_after_two)
    save_failure(workspace, TrialFailure(failed.signature, failed.system, failed.phase, "nan", "the loss is nan", ""))
    rows = [
        {"signature": t.signature, "system": t.system, "phase": t.phase, "seed": t.seed, "state": "planned"}
        for t in trials
    ]
    save_study(workspace, StudyRecord("s", False, "asc-sweeps sweep s", rows, [], "interrupted", ""))
    return workspace


def test_each_trial_has_its_state_and_how_far_it_is(workspace):
    (study,) = study_statuses(workspace)
    assert study.counts == {"done": 1, "begun": 1, "planned": 1, "failed": 1}
    assert [(t.epochs_done, t.epochs_total) for t in study.trials] == [(3, 3), (2, 3), (None, None), (None, None)]
    assert study.best.seed == 0
    assert study.trials[2].message == "nan: the loss is nan"
    assert study.seconds_left is None  # nothing runs


def test_a_trial_whose_folder_is_held_runs_and_gives_the_eta(workspace):
    begun = study_statuses(workspace)[0].trials[1]
    with acquire(workspace, workspace.trial(begun.signature) / LEASE):
        (study,) = study_statuses(workspace, ("s",))
        assert study.trials[1].state == "running"
        pace = sum(t.seconds_per_epoch for t in study.trials[:2]) / 2
        assert study.seconds_left == pytest.approx(
            (1 + 3) * pace
        )  # one epoch of the running, three of the planned trial
    assert study_statuses(workspace)[0].trials[1].state == "begun"


def test_the_command_tells_it_in_words_and_as_json(workspace):
    words = CliRunner().invoke(cli, ["status", "--workspace", str(workspace.root)]).output
    assert "s: 1 done, 1 begun, 1 planned, 1 failed" in words
    assert "  best so far (unconfirmed)  " in words
    assert "seed 1: epoch 2 of 3, validation log loss" in words
    assert "nan: the loss is nan" in words
    (told,) = json.loads(CliRunner().invoke(cli, ["status", "s", "--json", "--workspace", str(workspace.root)]).output)
    assert told["counts"] == {"done": 1, "begun": 1, "planned": 1, "failed": 1}


def test_a_study_that_was_never_run_is_told_with_those_that_were(workspace):
    with pytest.raises(WorkspaceError, match="unknown study 'other'; studies that were run: s"):
        study_statuses(workspace, ("other",))
