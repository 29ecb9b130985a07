"""A trial that hangs is ended, says where it stood, and goes on when it is run again."""

import dataclasses
import multiprocessing
import time

import pytest
from small_trials import config_of, data, tuned, workspace  # noqa: F401

from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.training.watchdog import record_progress, watchdog
from asc_sweeps.workspace.record_store import load_failure

pytestmark = pytest.mark.slow


def _wait_for_ever(row):
    time.sleep(10**6)


def _apart(work, *arguments):
    """Exit code of a process of its own that does the work."""
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    process.join(timeout=60)
    return process.exitcode


def test_a_trial_that_hangs_is_ended_says_where_and_goes_on_as_one_that_never_did(
    config_of, tuned, workspace, tmp_path
):
    config = config_of(pretrain__epochs=3, seed=7)
    watching = dataclasses.replace(workspace, step_seconds=3.0)
    assert _apart(run_trial, config, watching, _wait_for_ever) == 1
    failure = load_failure(workspace, config.signature)
    assert failure.cause == "hung"
    assert failure.message.startswith("no progress for 0.05 minutes")
    assert "--step-minutes" in failure.message
    assert "time.sleep(10**6)" in failure.traceback
    went_on = run_trial(config, watching)
    assert len({sitting["worker"] for sitting in went_on.work_intervals}) == 2
    assert load_failure(workspace, config.signature) is None
    other = dataclasses.replace(workspace, root=tmp_path)
    (tmp_path / "prepared").symlink_to(workspace.prepared)
    assert run_trial(config, other).scores == went_on.scores


def test_steps_keep_a_trial_alive_however_long_it_takes():
    ended = []
    with watchdog(2.0, ended.append):
        for _ in range(12):
            time.sleep(0.2)
            record_progress()
    assert not ended


def _hang_while_telling(seconds):
    with watchdog(seconds, _wait_for_ever):
        time.sleep(10**6)


def test_storage_that_hangs_too_does_not_keep_the_process(monkeypatch):
    monkeypatch.setattr("asc_sweeps.training.watchdog.REPORT_TIMEOUT", 0.5)
    assert _apart(_hang_while_telling, 0.4) == 1
