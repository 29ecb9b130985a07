"""TensorBoard, MLflow and Weights & Biases hear of a sweep, each by one line of YAML; none can stop it."""

import json
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from sweeping import results, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.space_file import load_sizes
from asc_sweeps.errors import ConfigError, WorkspaceError
from asc_sweeps.sweep.plan import plan_trial
from asc_sweeps.sweep.trackers import Trackers
from asc_sweeps.sweep.trial_events import EpochFinished, TrialFailed
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.paths import Workspace

YAML = "study: s\ngrid: {seed: [0]}\ntrack: {%s}\n"


def trackers_of(words, tmp_path, said=None):
    path = tmp_path / "s.yaml"
    path.write_text(YAML % words)
    studies = load_studies(Request((str(path),), mini=False))
    finished = FinishedTrials(Workspace(tmp_path / "workspace"))
    found = Trackers(studies, finished, (said if said is not None else []).append)
    return found, plan_trial(studies[0].trials[0], finished, ("s",))


def epoch(trial, number):
    return EpochFinished(trial.config.signature, number, 3, {"train_loss": 1 / number, "validation_log_loss": None})


def test_a_tracker_that_fails_is_told_of_once_and_the_others_go_on(tmp_path):
    said = []
    trackers, trial = trackers_of("tensorboard: true, mlflow: true", tmp_path, said)
    trackers.on_event(trial, epoch(trial, 1))
    for writer in trackers._runs["s", "tensorboard"].values():
        writer.close()
    trackers._runs["s", "tensorboard"].clear()  # as if its folder had gone
    trackers.on_event(trial, epoch(trial, 2))
    trackers.on_event(trial, epoch(trial, 3))
    assert len(said) == 1
    assert said[0].startswith("track.tensorboard of s: ")
    (mlflow_run,) = mlflow_runs(tmp_path / "workspace", "s")
    assert mlflow_run.data.metrics["train_loss"] == pytest.approx(1 / 3)


def mlflow_runs(root, experiment):
    client = MlflowClient(f"sqlite:///{root}/mlflow.db")
    return client.search_runs([client.get_experiment_by_name(experiment).experiment_id])


def test_an_interrupted_run_is_gone_on_with_and_a_failure_says_why(tmp_path):
    trackers, trial = trackers_of("mlflow: true", tmp_path)
    trackers.on_event(trial, epoch(trial, 1))
    trackers.close()
    (before,) = mlflow_runs(tmp_path / "workspace", "s")
    assert (before.info.status, before.data.tags["end"]) == ("KILLED", "interrupted")
    assert before.data.params["model.width"] == "40"
    trackers, trial = trackers_of("mlflow: true", tmp_path)
    trackers.on_event(trial, epoch(trial, 2))
    trackers.on_event(trial, TrialFailed(trial.config.signature, "nan", "the loss is nan"))
    (after,) = mlflow_runs(tmp_path / "workspace", "s")
    assert after.info.run_id == before.info.run_id
    assert (after.info.status, after.data.tags["end"]) == ("FAILED", "failed nan: the loss is nan")


def test_what_cannot_track_is_refused_before_anything_starts(tmp_path, monkeypatch):
    with pytest.raises(WorkspaceError, match=r"track\.mlflow of .*s\.yaml: "):
        trackers_of("mlflow: 'nowhere://x'", tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if "site-packages" not in p])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(WorkspaceError, match=r"pip install 'asc_sweeps\[wandb\]'"):
        trackers_of("wandb: true", tmp_path)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("tensorbord: true", "3:9: unknown key 'track.tensorbord'; did you mean 'tensorboard'?"),
        ("mlflow: 3", "3:17: track.mlflow must be true, false, or a folder"),
    ],
)
def test_a_wrong_line_is_told_at_its_place(words, told, tmp_path):
    (tmp_path / "s.yaml").write_text(YAML % words)
    with pytest.raises(ConfigError) as caught:
        load_sizes(str(tmp_path / "s.yaml"))
    assert told in str(caught.value)


def test_nothing_is_tracked_unless_it_is_asked_for(tmp_path):
    (tmp_path / "s.yaml").write_text("study: s\ngrid: {seed: [0]}\n")
    assert load_sizes(str(tmp_path / "s.yaml"))[False].track == ()
    (tmp_path / "s.yaml").write_text(YAML % "wandb: false, mlflow: false, tensorboard: runs")
    assert load_sizes(str(tmp_path / "s.yaml"))[False].track == (("tensorboard", "runs"),)


@pytest.mark.slow
def test_all_three_hold_what_the_results_hold_after_a_sweep(study, tmp_path):
    path = study("tracked", "  finetune.max_drop_rate: 0.9\n")
    with Path(path).open("a") as file:
        file.write("track: {tensorboard: true, mlflow: true, wandb: my-project}\n")
    run("sweep", path, cwd=tmp_path, env={"WANDB_MODE": "offline"})
    found, root = results(tmp_path), tmp_path / "workspace"
    runs = {r.data.tags["signature"]: r for r in mlflow_runs(root, "tracked")}
    boards = {p.name.rpartition("-")[2]: p for p in (root / "tensorboard" / "tracked").iterdir()}
    local = "".join(str(p) for p in (root / "wandb").iterdir())
    assert found.keys() == runs.keys() == boards.keys()  # the start, too
    for signature, result in found.items():
        (test,) = [s for s in result["scores"] if (s["split"], s["name"]) == ("test", "micro")]
        assert runs[signature].info.status == "FINISHED"
        assert runs[signature].data.metrics["test_log_loss"] == pytest.approx(test["log_loss"])
        board = EventAccumulator(str(boards[signature]))
        board.Reload()
        losses = [row["train_loss"] for row in result["history"]]
        assert [e.value for e in board.Scalars("train_loss")] == pytest.approx(losses)
        assert [e.step for e in board.Scalars("train_loss")] == list(range(1, len(losses) + 1))
        assert f"tracked-{signature}" in local
    assert json.loads((root / "studies" / "tracked.json").read_text())["state"] == "complete"
