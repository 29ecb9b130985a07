"""What Tune sees of the queue and of early stopping, and how events travel in its reports."""

import pickle

import pytest
from ray.tune.schedulers import TrialScheduler

from asc_sweeps.config.search_space import Scheduler
from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.sweep.halving import EarlyStopping, Halving
from asc_sweeps.sweep.on_ray.event_transport import decode, encode
from asc_sweeps.sweep.on_ray.tune_adapters import EarlyStopScheduler, EventCallback, QueueSearcher, worker_failure
from asc_sweeps.sweep.plan import make_plan
from asc_sweeps.sweep.scheduling import TrialQueue
from asc_sweeps.sweep.trial_events import EpochFinished, TrialFailed, TrialFinished, TrialStopped
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import TrialFailure

TRIAL = TrialConfig(model=ModelConfig(width=8))
EPOCH = EpochFinished(TRIAL.signature, 3, 20, {"phase": "pretrain", "train_loss": 1 / 3, "validation_log_loss": None})


def adapters(folder):
    """Events, and the three covers of one trial's queue; its study stops early."""
    finished, events = FinishedTrials(Workspace(folder)), []
    plan = make_plan({"g": [TRIAL]}, finished)
    halving = Halving(Scheduler())
    halving.remember("better", [0.5] * 20)
    early = EarlyStopping({"g": halving}, plan)
    queue = TrialQueue(plan, finished, [], early, lambda: 1, events.append, lambda trial: None)
    callback = EventCallback(finished.workspace, queue, events.append)
    return events, QueueSearcher(queue, events.append), EarlyStopScheduler(early), callback


@pytest.mark.parametrize(
    "event", [EPOCH, TrialFinished(TRIAL.signature, False), TrialFailed(TRIAL.signature, "nan", "the loss is 'nan'")]
)
def test_an_event_arrives_as_it_was_sent_whatever_tune_adds(event):
    assert decode({**encode(event), "trial_id": "1", "done": True}) == event


def test_a_trial_that_ends_after_an_epoch_was_stopped_early(tmp_path):
    events, searcher, _, _ = adapters(tmp_path)
    assert searcher.suggest("1") == {"signature": TRIAL.signature, "trial": TRIAL.model_dump_json()}
    assert searcher.suggest("2") is None
    searcher.on_trial_complete("1", {**encode(EPOCH), "done": True})
    assert events == [TrialStopped(TRIAL.signature, 3, 20)]
    assert searcher.suggest("2") == "FINISHED"


def test_the_scheduler_stops_a_trial_by_the_rungs_of_its_study(tmp_path):
    _, _, scheduler, _ = adapters(tmp_path)
    for log_loss, decision in ((0.6, TrialScheduler.STOP), (0.4, TrialScheduler.CONTINUE)):
        epoch = EpochFinished(TRIAL.signature, 3, 20, {"validation_log_loss": log_loss})
        assert scheduler.on_trial_result(None, None, encode(epoch)) == decision
    assert scheduler.on_trial_result(None, None, encode(TrialFinished(TRIAL.signature))) == TrialScheduler.CONTINUE


def test_tune_can_pickle_what_it_is_given_though_a_lease_or_a_lock_is_below_it(tmp_path):
    events, searcher, scheduler, callback = adapters(tmp_path)
    events.append(lambda: None)  # cannot be pickled
    assert all(pickle.dumps(each) for each in (searcher, scheduler, callback))


RECORDED = TrialFailure("s", "BC-ResNet-8", "pretraining", "nan", "the loss is nan", "")


@pytest.mark.parametrize(
    ("recorded", "error_file", "cause", "message"),
    [
        (RECORDED, "Failure # 1 (at)\nwhatever", "nan", "the loss is nan"),
        (
            None,
            "Failure # 1 (at)\nray::f()\nFailure # 2 (at)\n\x1b[36mray::f()\n ValueError: no\n",
            "crash",
            "ValueError: no",
        ),
        (
            None,
            "Failure # 1 (at)\nTask was killed due to the node running low on memory.",
            "out of memory",
            "--workers",
        ),
        (None, "", "killed", "its process was killed 4 times"),
    ],
)
def test_why_a_dead_worker_failed_is_told_by_its_record_or_by_rays_words(recorded, error_file, cause, message):
    failed = worker_failure("s", recorded, error_file)
    assert failed.cause == cause
    assert message in failed.message
