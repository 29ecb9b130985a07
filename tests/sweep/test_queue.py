"""What Tune asks of the queue of trials: no end is lost, and what others build on is run in full."""

import dataclasses
import pickle

import optuna
import pytest
from optuna.trial import TrialState

from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.search_space import Scheduler
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import LeaseLostError, WorkspaceError
from asc_sweeps.sweep.halving import Halving
from asc_sweeps.sweep.on_ray.trial_queue import EarlyStops, Queue
from asc_sweeps.sweep.plan import make_plan
from asc_sweeps.sweep.searches.search_study import SearchStudy, count_sampled
from asc_sweeps.training.finished import complexity_of
from asc_sweeps.workspace.lease import acquire
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result
from asc_sweeps.workspace.records import Score, TrialResult

SPACE = """
study: s
settings: {pretrain.epochs: 20}
search:
  trials: 2
  parameters:
    finetune.reg_lambda: [0.04, 0.4]
  first: [{finetune.reg_lambda: 0.04}, {finetune.reg_lambda: 0.4}]
"""


class Sweep:
    """A queue over one search, and what it was told of; `away` keeps the search's database away."""

    def __init__(self, folder, grid=()):
        (folder / "s.yaml").write_text(SPACE)
        (study,) = load_studies(Request((str(folder / "s.yaml"),), mini=False))
        probes = tuple(p.with_resolved_data("synthetic-tiny", "f") for p in study.probes)
        self.study = dataclasses.replace(study, probes=probes)
        self.url, self.error = f"sqlite:///{folder / 'o.db'}", None
        self.search = SearchStudy(self.study, self.url, self.may_write)
        self.workspace, self.rows = Workspace(folder / "workspace"), []
        self.plan = make_plan({"g": list(grid)}, self.workspace)
        self.early = EarlyStops({"g": Halving(Scheduler())}, self.plan)
        on_row = lambda signature, row: self.rows.append((signature, row["state"]))  # noqa: E731
        ignore = lambda trial: None  # noqa: E731
        self.queue = Queue(self.plan, [self.search], self.workspace, lambda: 9, on_row, ignore, self.early.let_run)

    def may_write(self):
        if self.error:
            raise self.error

    def states(self):
        return [t.state for t in optuna.load_study(study_name="s", storage=self.url).trials]

    def finish(self, config):
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


def test_an_end_that_the_database_cannot_take_is_told_once_it_can(tmp_path):
    sweep = Sweep(tmp_path)
    start = sweep.study.probes[0].start()
    assert sweep.queue.suggest("1") is not None
    sweep.finish(start)
    sweep.queue.on_trial_complete("1", {"state": "done"})
    drawn = [TrialConfig.model_validate_json(sweep.queue.suggest(name)["trial"]) for name in ("2", "3")]
    sweep.error = WorkspaceError("the database is away")
    sweep.finish(drawn[1])
    sweep.queue.on_trial_complete("2", {"state": "failed", "cause": "nan", "message": "the loss is nan"})
    sweep.queue.on_trial_complete("3", {"state": "done"})  # raises nothing, and Tune would not hear it
    assert sweep.states() == [TrialState.RUNNING] * 2
    sweep.error = None
    assert sweep.queue.suggest("4") == "FINISHED"
    assert sweep.states() == [TrialState.FAIL, TrialState.COMPLETE]


def test_on_a_full_disk_nothing_more_is_begun_and_a_searchs_point_waits_to_be_tried_again(tmp_path):
    sweep = Sweep(tmp_path)
    start = sweep.study.probes[0].start()
    assert sweep.queue.suggest("1") is not None
    sweep.finish(start)
    sweep.queue.on_trial_complete("1", {"state": "done"})
    assert all(sweep.queue.suggest(name) for name in ("2", "3"))
    sweep.queue.on_trial_complete("2", {"state": "failed", "cause": "disk full", "message": "no room"})
    assert sweep.queue.suggest("4") is None  # the other one may still end
    sweep.error = WorkspaceError("the database's disk is full, too")
    sweep.queue.on_trial_complete("3", {"state": "failed", "cause": "disk full", "message": "no room"})
    assert sweep.queue.suggest("4") == "FINISHED"
    sweep.queue.interrupt()
    again = Sweep(tmp_path)  # once there is room
    assert [again.queue.suggest(name) is not None for name in ("1", "2")] == [True, True]
    assert [t.state for t in optuna.load_study(study_name="s", storage=sweep.url).trials].count(TrialState.RUNNING) == 2


def test_a_search_that_another_process_has_taken_over_ends_the_sweep(tmp_path):
    sweep = Sweep(tmp_path)
    sweep.error = LeaseLostError("was taken over")
    with pytest.raises(LeaseLostError):
        sweep.queue.suggest("1")
    sweep.queue.interrupt()


def test_a_start_that_was_stopped_early_is_run_in_full_once_a_search_needs_it(tmp_path):
    start = Sweep(tmp_path).study.probes[0].start()
    (tmp_path / "o.db").unlink()
    sweep = Sweep(tmp_path, [start])
    assert start.signature in sweep.early._may_stop
    queue, at_once = sweep.queue, 1
    queue._at_once = lambda: at_once
    assert queue.suggest("1") is not None  # the start, as the grid's trial
    queue.on_trial_complete("1", {"epochs_done": 3, "epochs_total": 20})
    assert sweep.rows == [(start.signature, "stopped")]
    at_once = 9
    again = queue.suggest("2")
    assert start.model_dump_json() == again["trial"]
    assert start.signature not in sweep.early._may_stop
    assert queue.suggest("3") is None  # what builds on it waits
    sweep.finish(start)
    queue.on_trial_complete("2", {"state": "done"})
    assert queue.suggest("3") is not None


def test_a_database_that_cannot_be_looked_at_is_told_by_its_address(tmp_path):
    (tmp_path / "no.db").write_text("this is no database, however long it may be" * 100)
    for url in ("foo", "nodriver://host/db", f"sqlite:///{tmp_path}/no.db"):
        with pytest.raises(WorkspaceError, match="cannot be used as the database of searches"):
            count_sampled(url, "s")


def test_tune_can_write_down_a_queue_whose_search_is_held_by_a_lease(tmp_path):
    sweep = Sweep(tmp_path)
    with acquire(sweep.workspace, sweep.workspace.root / ".s.lease") as lease:
        sweep.search = SearchStudy(sweep.study, sweep.url, lease.check)
        sweep.queue._searches = [sweep.search]
        assert pickle.dumps(sweep.queue)
