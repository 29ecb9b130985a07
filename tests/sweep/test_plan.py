"""Plans, what becomes of failures and stopped trials when they are made again, and the ETA."""

from pathlib import Path

import pytest
from planted import settings, trial

from asc_sweeps.cli.progress import ProgressLine
from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.setting_groups import FinetuneConfig, ModelConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.plan import make_plan
from asc_sweeps.sweep.search_databases import open_searches
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents, save_failure, save_result
from asc_sweeps.workspace.records import TrialFailure

START = TrialConfig(model=ModelConfig(width=8))
TUNED = START.model_copy(update={"finetune": FinetuneConfig()})


def todo(studies, workspace, stopped):
    return [t.config.signature for t in make_plan(studies, FinishedTrials(workspace), stopped).todo]


def test_a_trial_that_its_study_stopped_is_left_as_it_is(tmp_path):
    assert todo({"asha": [START]}, Workspace(tmp_path), {"asha": {START.signature}}) == []


def test_it_runs_on_where_another_study_lists_it(tmp_path):
    studies = {"asha": [START], "plain": [START]}
    assert todo(studies, Workspace(tmp_path), {"asha": {START.signature}}) == [START.signature]


def test_it_runs_on_where_a_trial_that_is_to_run_builds_on_it(tmp_path):
    studies = {"asha": [START, TUNED]}
    assert todo(studies, Workspace(tmp_path), {"asha": {START.signature}}) == [START.signature, TUNED.signature]
    assert todo(studies, Workspace(tmp_path), {"asha": {START.signature, TUNED.signature}}) == []


def test_a_plan_says_what_training_each_listed_trial_on_its_own_would_take(tmp_path):
    pretraining, tuning = START.pretrain.epochs, TUNED.finetune.epochs + TUNED.finetune.head_epochs
    made = make_plan({"one": [START, TUNED], "two": [TUNED]}, FinishedTrials(Workspace(tmp_path)))
    assert sum(t.config.epochs for t in made.trials) == pretraining + tuning
    assert made.naive_epochs == 3 * pretraining + 2 * tuning


def test_the_papers_whole_study_is_what_the_readme_says():
    names = ("table2_ablation", "table3_durations", "table4_drop_rate", "section6_extras", "figure3_widths")
    studies = {s.name: s.trials for s in load_studies(Request(names, mini=False))}
    made = make_plan(studies, FinishedTrials(Workspace("/nowhere")))
    epochs = sum(t.config.epochs for t in made.trials)
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    said = f"{epochs:,} epochs, {epochs / made.naive_epochs:.0%} of the {made.naive_epochs:,} of training each"
    assert said.replace("%", " %") in readme.replace("\n", " ")


def test_a_failure_beside_a_result_is_none(tmp_path):
    workspace, result = Workspace(tmp_path), trial(settings())
    save_failure(workspace, TrialFailure(result.signature, result.system, result.phase, "killed", "", ""))
    assert len(load_contents(workspace).failures) == 1
    save_result(workspace, result)
    assert load_contents(workspace).failures == []


def test_a_search_is_run_by_one_process_at_a_time_and_the_other_hears_by_whom(tmp_path):
    workspace = Workspace(tmp_path)
    studies = load_studies(Request(("optuna_finetune",), mini=True))
    with open_searches(studies, workspace, None) as (search,):
        assert search.remaining == 8
        with (
            pytest.raises(
                WorkspaceError, match=r"search 'optuna_finetune-mini' is being run by process \d+ on .* since"
            ),
            open_searches(studies, workspace, None),
        ):
            raise AssertionError("two have it")
    with open_searches(studies, workspace, None) as (search,):
        assert search.remaining == 8


def test_the_eta_counts_what_this_run_has_done_not_what_an_earlier_one_did(monkeypatch, capsys):
    now = iter([0.0, 0.0, 60.0, 120.0])
    monkeypatch.setattr("asc_sweeps.cli.progress.time.monotonic", lambda: next(now))
    line = ProgressLine()
    for epoch in (271, 272, 273):  # of 300, resumed at 270; a minute each
        line.update("training", epoch / 300, f"{epoch}")
    assert capsys.readouterr().err.splitlines() == ["training: 272, ETA 28 min 00 s", "training: 273, ETA 27 min 00 s"]
