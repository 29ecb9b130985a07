"""Which trial starts next and which searches learn of an end: no end is lost, and what others build on runs in full. Without Ray."""

import builtins
import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.search_space import Scheduler
from asc_sweeps.config.setting_groups import FinetuneConfig, ModelConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import LeaseLostError, WorkspaceError
from asc_sweeps.sweep.halving import EarlyStopping, Halving
from asc_sweeps.sweep.plan import make_plan
from asc_sweeps.sweep.scheduling import TrialQueue
from asc_sweeps.sweep.searches.optuna_storage import count_sampled
from asc_sweeps.sweep.searches.search_study import SearchStudy
from asc_sweeps.sweep.trial_events import (
    EpochFinished,
    PointRepeated,
    PointReused,
    TrialFailed,
    TrialFinished,
    TrialStopped,
)
from asc_sweeps.training.finished import FinishedTrials, complexity_of
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result
from asc_sweeps.workspace.records import Score, TrialResult

SPACE = """
study: s
settings: {pretrain.epochs: 20}
search:
  trials: TRIALS
  parameters:
    finetune.reg_lambda: [0.04, 0.4]
  first: [{finetune.reg_lambda: 0.04}, {finetune.reg_lambda: 0.4}]
"""
START = TrialConfig(model=ModelConfig(width=8))
TUNED = START.model_copy(update={"finetune": FinetuneConfig()})
OTHER = TrialConfig(model=ModelConfig(width=16))


class Sweep:
    """A queue over a grid and possibly a search, with the events it sent; `error` makes the search's database unavailable."""

    def __init__(self, folder, grid=(), trials=0, capacity=9):
        self.workspace, self.events, self.added, self.error = Workspace(folder / "workspace"), [], [], None
        self.finished = FinishedTrials(self.workspace)
        self.plan = make_plan({"g": list(grid)}, self.finished)
        self.early = EarlyStopping({"g": Halving(Scheduler())}, self.plan)
        self.url, self.capacity, searches = f"sqlite:///{folder / 'o.db'}", capacity, []
        if trials:
            (folder / "s.yaml").write_text(SPACE.replace("TRIALS", str(trials)))
            (study,) = load_studies(Request((str(folder / "s.yaml"),), mini=False))
            probes = tuple(p.with_resolved_data("synthetic-tiny", "f") for p in study.probes)
            self.study = dataclasses.replace(study, probes=probes)
            self.start = probes[0].start()
            self.search = SearchStudy(self.study, self.url, self.may_write)
            searches = [self.search]
        self.queue = TrialQueue(
            self.plan, self.finished, searches, self.early, lambda: self.capacity, self.events.append, self.added.append
        )

    def may_write(self):
        if self.error:
            raise self.error

    def states(self):
        return [t.state for t in optuna.load_study(study_name="s", storage=self.url).trials]

    def finish(self, config):
        """End a running trial with a result."""
        self.save(config)
        self.queue.end(TrialFinished(config.signature))

    def save(self, config):
        n = complexity_of(config)
        scores = [Score("validation", "overall", "micro", 10, 1.5, 0.5)]
        data = {"name": "synthetic-tiny", "fingerprint": "f", "generated": True, "dropped_device": None, "segments": {}}
        save_result(
            self.workspace,
            TrialResult(
                config.signature, config.system, config.phase, config.model_dump(mode="json"), None, data, n, scores, [],
                1.0, {}, "",
            ),
        )  # fmt: skip


def is_over(sweep):
    return sweep.queue.next_trial() is None and not sweep.queue.is_running


def test_a_trial_starts_once_what_it_builds_on_is_finished(tmp_path):
    sweep = Sweep(tmp_path, [TUNED, OTHER])
    assert [sweep.queue.next_trial() for _ in range(3)] == [START, OTHER, None]  # what others wait for comes first
    assert sweep.queue.is_running
    sweep.finish(START)
    assert [sweep.queue.next_trial() for _ in range(2)] == [TUNED, None]
    sweep.finish(TUNED)
    sweep.finish(OTHER)
    assert is_over(sweep)
    assert sweep.events == []


def test_what_builds_on_a_failed_trial_fails_and_the_others_run(tmp_path):
    sweep = Sweep(tmp_path, [TUNED, OTHER])
    assert sweep.queue.next_trial() == START
    sweep.queue.end(TrialFailed(START.signature, "nan", "the loss is nan"))
    assert [sweep.queue.next_trial() for _ in range(2)] == [OTHER, None]
    assert sweep.events == [TrialFailed(TUNED.signature, "start", f"its start {START.signature} failed")]
    sweep.finish(OTHER)
    assert is_over(sweep)


def test_a_worker_that_died_for_good_ends_its_trial_like_any_failure(tmp_path):
    sweep = Sweep(tmp_path, [START])
    assert sweep.queue.next_trial() == START
    sweep.queue.end(TrialFailed(START.signature, "killed", "its process was killed 4 times"))
    assert is_over(sweep)


def test_what_is_finished_already_does_not_run_again(tmp_path):
    Sweep(tmp_path).save(START)
    assert Sweep(tmp_path, [TUNED]).queue.next_trial() == TUNED


def test_a_search_is_asked_only_for_a_free_slot(tmp_path):
    sweep = Sweep(tmp_path, [OTHER], trials=2, capacity=1)
    assert sweep.queue.next_trial() == OTHER
    assert sweep.queue.next_trial() is None
    assert count_sampled(sweep.url, "s") == 0
    sweep.finish(OTHER)
    assert sweep.queue.next_trial() == sweep.start
    assert count_sampled(sweep.url, "s") == 1
    assert sweep.added[0].config == sweep.start


def test_points_that_were_run_before_count_without_running_again(tmp_path):
    sweep = Sweep(tmp_path, trials=4)
    assert sweep.queue.next_trial() == sweep.start
    sweep.finish(sweep.start)
    first, second = sweep.queue.next_trial(), sweep.queue.next_trial()
    sweep.finish(first)
    sweep.queue.end(TrialFailed(second.signature, "nan", "the loss is nan"))
    assert is_over(sweep)  # there are two points in all: those sampled third and fourth are equal to them
    assert len(sweep.events) == 2
    assert set(sweep.events) <= {PointReused(first.signature), PointRepeated(second.signature)}
    assert sorted(set(sweep.states())) == [TrialState.COMPLETE, TrialState.FAIL]
    assert len(sweep.states()) == 4


def test_each_result_is_read_from_disk_once(tmp_path, monkeypatch):
    reads, opened = Counter(), builtins.open

    def counted(path, mode="r", **how):
        reads.update([Path(path).parent.name] if Path(path).name == "result.json" and mode.startswith("r") else [])
        return opened(path, mode, **how)

    Sweep(tmp_path).save(OTHER)
    monkeypatch.setattr(builtins, "open", counted)
    sweep = Sweep(tmp_path, [OTHER], trials=4)
    assert sweep.queue.next_trial() == sweep.start
    sweep.finish(sweep.start)
    sampled = [sweep.queue.next_trial() for _ in range(2)]
    for trial in sampled:
        sweep.finish(trial)
    assert is_over(sweep)
    assert len(sweep.search.planned_trials(sweep.finished)) == 2
    assert all(t.finished for t in make_plan({"g": [OTHER, *sampled]}, sweep.finished).trials)
    assert reads == Counter([OTHER.signature, sweep.start.signature, *(t.signature for t in sampled)])


def test_an_epoch_is_told_to_the_search_that_sampled_the_trial(tmp_path):
    sweep = Sweep(tmp_path, trials=1)
    sweep.queue.next_trial()
    sweep.finish(sweep.start)
    trial = sweep.queue.next_trial()
    sweep.queue.reports.epoch_finished(EpochFinished(trial.signature, 1, 20, {"validation_log_loss": 1.75}))
    sweep.error = WorkspaceError("the database is away")
    sweep.queue.reports.epoch_finished(EpochFinished(trial.signature, 2, 20, {"validation_log_loss": 1.5}))
    stored = optuna.load_study(study_name="s", storage=sweep.url).trials[0]
    assert stored.intermediate_values[1] == 1.75


def test_an_end_that_the_database_cannot_take_is_told_once_it_can(tmp_path):
    sweep = Sweep(tmp_path, trials=2)
    assert sweep.queue.next_trial() == sweep.start
    sweep.finish(sweep.start)
    first, second = sweep.queue.next_trial(), sweep.queue.next_trial()
    sweep.error = WorkspaceError("the database is away")
    sweep.queue.end(TrialFailed(first.signature, "nan", "the loss is nan"))
    sweep.finish(second)  # raises nothing, which Tune would ignore
    assert sweep.states() == [TrialState.RUNNING] * 2
    sweep.error = None
    assert is_over(sweep)
    assert sweep.states() == [TrialState.FAIL, TrialState.COMPLETE]


def test_on_a_full_disk_nothing_more_is_begun_and_a_searchs_point_waits_to_be_retried(tmp_path):
    sweep = Sweep(tmp_path, trials=2)
    assert sweep.queue.next_trial() == sweep.start
    sweep.finish(sweep.start)
    first, second = sweep.queue.next_trial(), sweep.queue.next_trial()
    sweep.queue.end(TrialFailed(first.signature, "disk full", "no room"))
    assert not is_over(sweep)  # the other one may still end
    sweep.error = WorkspaceError("the database's disk is full, too")
    sweep.queue.end(TrialFailed(second.signature, "disk full", "no room"))
    assert is_over(sweep)
    sweep.queue.reports.interrupt()
    again = Sweep(tmp_path, trials=2)  # once there is room
    assert all(again.queue.next_trial() for _ in range(2))
    assert again.states().count(TrialState.RUNNING) == 2


def test_a_search_that_another_process_has_taken_over_ends_the_sweep(tmp_path):
    sweep = Sweep(tmp_path, trials=2)
    sweep.error = LeaseLostError("was taken over")
    with pytest.raises(LeaseLostError):
        sweep.queue.next_trial()
    sweep.queue.reports.interrupt()


def test_a_start_that_was_stopped_early_is_run_in_full_once_a_search_needs_it(tmp_path):
    start = Sweep(tmp_path, trials=2).start
    (tmp_path / "o.db").unlink()
    sweep = Sweep(tmp_path, [start], trials=2, capacity=1)
    epochs = [EpochFinished(start.signature, epoch, 20, {"validation_log_loss": float(epoch)}) for epoch in (1, 3)]
    sweep.early._halvings["g"].remember("better", [0.5] * 20)
    assert sweep.early.stops(epochs[1])
    assert sweep.queue.next_trial() == start  # as the grid's trial
    sweep.queue.end(TrialStopped(start.signature, 3, 20))
    sweep.capacity = 9
    assert sweep.queue.next_trial() == start
    assert not sweep.early.stops(epochs[1])
    assert sweep.queue.next_trial() is None  # what builds on it waits
    sweep.finish(start)
    assert sweep.queue.next_trial() is not None


def test_a_database_that_cannot_be_looked_at_is_told_by_its_address(tmp_path):
    (tmp_path / "no.db").write_text("this is no database, however long it may be" * 100)
    for url in ("foo", "nodriver://host/db", f"sqlite:///{tmp_path}/no.db"):
        with pytest.raises(WorkspaceError, match="cannot be used as the database of searches"):
            count_sampled(url, "s")


def test_scheduling_and_early_stopping_import_neither_ray_nor_optuna():
    code = "import sys, asc_sweeps.sweep.scheduling; sys.exit(len({'ray', 'optuna', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
