"""Grids on a real Ray, through the real command: each model once, failures apart, nothing lost by a kill."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeping import checkpoints, results, run, start, wait_for_checkpoint, wait_for_exit

pytestmark = pytest.mark.slow

TUNING = "  - finetune: null\n  - finetune.max_drop_rate: [0.0, 0.9]\n"
BLOCKS = "  finetune: null\n  model.block: [bcresnet, bcres2net]\n"


def test_no_equal_model_is_trained_twice_across_studies_and_runs(study, tmp_path):
    tuning, blocks = study("tuning", TUNING), study("blocks", BLOCKS)
    before = json.loads(run("plan", tuning, blocks, "--json", cwd=tmp_path).stdout)
    assert before["totals"] == {
        "listed": 5,
        "trials": 4,
        "cached": 0,
        "to_train": 4,
        "epochs_to_train": 8,
        "epochs": 8,
        "naive_epochs": 14,
    }  # the start is trained once for three, not three times
    assert not any(t["cached"] for t in before["trials"])

    first = run("sweep", tuning, cwd=tmp_path)
    assert "planned 3, reused 0, trained 3" in first.stdout
    second = run("sweep", blocks, cwd=tmp_path)
    assert "planned 2, reused 1, trained 1" in second.stdout
    finished = {name: result["finished_at"] for name, result in results(tmp_path).items()}
    third = run("sweep", tuning, blocks, cwd=tmp_path)
    assert "planned 5, reused 5, trained 0" in third.stdout
    assert {name: result["finished_at"] for name, result in results(tmp_path).items()} == finished

    after = json.loads(run("plan", tuning, blocks, "--json", cwd=tmp_path).stdout)
    assert [t["signature"] for t in after["trials"]] == [t["signature"] for t in before["trials"]]
    assert all(t["cached"] for t in after["trials"])
    assert set(results(tmp_path)) == {t["signature"] for t in after["trials"]}


def test_two_sweeps_at_once_train_what_they_share_once_and_what_is_killed_in_one_goes_on_in_the_other(study, tmp_path):
    tuning, blocks = study("tuning", TUNING, epochs=10), study("blocks", BLOCKS, epochs=10)
    shared = json.loads(run("plan", blocks, "--json", cwd=tmp_path).stdout)["trials"][1]["signature"]
    first, second = start("sweep", tuning, cwd=tmp_path), start("sweep", blocks, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, f"{shared}/pretrain-0003.pt")
    _kill_all_of(first)
    second_out, _ = wait_for_exit(second)
    first_out, _ = wait_for_exit(start("sweep", tuning, cwd=tmp_path))
    trained = [int(re.search(r"trained (\d+)", out)[1]) for out in (first_out, second_out)]
    reused = [int(re.search(r"reused (\d+)", out)[1]) for out in (first_out, second_out)]
    assert sum(trained) == 4  # the start that both need, two fine-tunings, the other network
    assert [t + r for t, r in zip(trained, reused, strict=True)] == [3, 2]
    for result in results(tmp_path).values():
        epochs = [(row["phase"], row["epoch"]) for row in result["history"]]
        assert len(set(epochs)) == len(epochs)


def _kill_all_of(driver):
    """SIGKILL to a driver and all the processes of its Ray, as when a machine goes down."""
    children = [driver.pid]
    for pid in children:
        found = Path(f"/proc/{pid}/task/{pid}/children")
        children += [int(word) for word in found.read_text().split()] if found.exists() else []
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    driver.wait()


def test_a_trial_under_ray_equals_the_same_trial_without_it(study, tmp_path, three_scenes):
    run("sweep", study("one", "  finetune: null\n  seed: 0\n"), cwd=tmp_path)
    ((signature, result),) = results(tmp_path).items()
    words = [f"--set={n}={json.dumps(v)}" for n, v in _flat(result["settings"]) if not n.startswith("data.")]
    run("train", *words, "--data", str(three_scenes), "--threads", "1", "--workspace", "alone/workspace", cwd=tmp_path)
    alone = results(tmp_path / "alone")[signature]
    assert alone["scores"] == result["scores"]
    assert alone["environment"]["model_sha256"] == result["environment"]["model_sha256"]


def _flat(settings, prefix=""):
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def test_a_nan_loss_fails_its_trial_and_what_builds_on_it_and_no_other(study, tmp_path):
    grid = "  finetune.max_drop_rate: 0.9\n  pretrain.learning_rate: [1e30, 1e-3]\n"
    done = run("sweep", study("nan", grid), cwd=tmp_path, code=1)
    assert "planned 4, reused 0, trained 2, failed 2" in done.stdout
    assert "nan: pretrain, epoch" in done.stderr
    assert "start: its start" in done.stderr
    assert {r["settings"]["pretrain"]["learning_rate"] for r in results(tmp_path).values()} == {1e-3}
    record = json.loads((tmp_path / "workspace" / "studies" / "nan.json").read_text())
    assert record["state"] == "failures"


def test_ctrl_c_exits_130_with_the_line_to_go_on_and_the_line_goes_on(study, tmp_path):
    path = study("long", "  finetune: null\n  seed: [0, 1]\n", epochs=12)
    driver = start("sweep", path, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/pretrain-0002.pt")
    driver.send_signal(signal.SIGINT)
    out, err = wait_for_exit(driver, 130, 60)
    assert f"asc-sweeps sweep {path}" in err
    assert "unfinished" in out
    kept = checkpoints(tmp_path)
    assert max(len(history) for history in kept.values()) >= 2
    run("sweep", path, cwd=tmp_path)
    for signature, result in results(tmp_path).items():
        assert [row["epoch"] for row in result["history"]] == list(range(1, 13))
        before = kept.get(signature, [])
        assert result["history"][: len(before)] == before  # with their seconds: they were not trained again


def test_a_killed_driver_loses_nothing_and_the_result_is_that_of_an_unbroken_run(study, tmp_path):
    path = study("killed", "  finetune: null\n  seed: [0, 1]\n", epochs=12)
    driver = start("sweep", path, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/pretrain-0002.pt")
    driver.kill()
    driver.wait()
    run("sweep", path, cwd=tmp_path)
    run("sweep", path, "--workspace", "whole/workspace", cwd=tmp_path)
    broken, whole = results(tmp_path), results(tmp_path / "whole")
    assert broken.keys() == whole.keys()
    for signature, result in whole.items():
        assert broken[signature]["scores"] == result["scores"]
        assert broken[signature]["environment"]["model_sha256"] == result["environment"]["model_sha256"]


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_whatever_becomes_of_the_yaml(study, tmp_path):
    path = study("worker", "  finetune: null\n  seed: 0\n", epochs=12)
    driver = start("sweep", path, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/pretrain-0003.pt")
    lock = next((tmp_path / "workspace" / "trials").glob("*/.lease.json.*.lock"))
    os.kill(_holder(lock), signal.SIGKILL)
    Path(path).write_text("study: [")  # a person who writes the next study in the same file
    out, _ = wait_for_exit(driver, 0, 120)
    assert "trained 1" in out
    (result,) = results(tmp_path).values()
    assert [row["epoch"] for row in result["history"]] == list(range(1, 13))
    assert json.loads((tmp_path / "workspace" / "studies" / "worker.json").read_text())["state"] == "complete"


def test_a_ray_of_our_own_answers_nobody_else_and_sigterm_to_all_its_processes_ends_it_as_ctrl_c_does(study, tmp_path):
    path = study("alone", "  finetune: null\n  seed: 0\n", epochs=5000)
    driver = start("sweep", path, cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/pretrain-0001.pt")
    ports = Path(_control_store(driver.pid)).glob("gcs_server_port*")
    port = next(ports).read_text()
    script = f"import ray; ray.init('127.0.0.1:{port}')"
    without = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    stranger = subprocess.run([sys.executable, "-c", script], env=without, capture_output=True, text=True, check=False)
    assert stranger.returncode != 0
    assert "InvalidAuthToken" in stranger.stderr + stranger.stdout
    os.killpg(driver.pid, signal.SIGTERM)
    _, err = wait_for_exit(driver, 130, 40)
    assert "Traceback" not in err
    assert "lost objects" not in err  # looking for any, Ray would end the driver with status 1
    assert checkpoints(tmp_path)


def test_a_sweep_on_one_machine_starts_a_process_a_trial_and_no_more_of_rays_than_it_uses(study, tmp_path):
    path = study("small", "  finetune: null\n  seed: [0, 1]\n", epochs=8)
    driver = start("sweep", path, "--workers", "2", cwd=tmp_path)
    wait_for_checkpoint(tmp_path, "*/pretrain-0002.pt")
    logs = {log.name for log in (Path(_control_store(driver.pid)) / "logs").glob("*.err")}
    assert len([name for name in logs if name.startswith("worker-")]) == 2
    assert logs & {"gcs_server.err", "raylet.err"}
    assert not logs & {"monitor.err", "dashboard.err", "log_monitor.err"}
    wait_for_exit(driver)


DEAF = """
import ctypes, signal
from asc_sweeps.sweep import interruption
interruption.SECONDS_TO_EXIT = 1
interruption.sigterm_as_sigint()
interruption.force_exit_after_sigterm()
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # so that the system gives it to the other thread
print("waiting", flush=True)
ctypes.CDLL(None).sleep(100)  # as a library that waits for what has gone, and never asks Python for signals
"""


def test_sigterm_ends_a_sweep_even_while_python_answers_no_signal():
    driver = subprocess.Popen([sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert driver.stdout.readline() == "waiting\n"
    time.sleep(2)  # until it does: between two steps of Python's it would answer
    driver.terminate()
    _, err = driver.communicate(timeout=30)
    assert driver.returncode == 130
    assert "interrupted; finished epochs are saved; rerun the same command to resume" in err


def test_trials_killed_for_their_nodes_memory_fail_with_that_cause_and_the_sweep_ends_in_order(study, tmp_path):
    path = study("hungry", "  finetune: null\n  seed: [0, 1]\n", epochs=200)
    tight = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    done = run("sweep", path, cwd=tmp_path, code=1, env=tight)
    assert "trained 0, failed 2" in done.stdout
    assert "out of memory: its process was killed 4 times" in done.stderr
    assert "Traceback" not in done.stderr
    kept = [json.loads(p.read_text()) for p in (tmp_path / "workspace").glob("trials/*/failure.json")]
    assert [f["cause"] for f in kept] == ["out of memory"] * 2


def test_an_unforeseen_error_is_told_as_it_is_and_is_forgotten_once_the_trial_succeeds(study, tmp_path):
    path = study("crash", "  finetune: null\n  seed: 0\n")
    (planned,) = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["trials"]
    folder = tmp_path / "workspace" / "trials" / planned["signature"]
    (folder / "model.pt").mkdir(parents=True)  # where the weights should go
    done = run("sweep", path, cwd=tmp_path, code=1)
    assert "crash: IsADirectoryError" in done.stderr
    failure = json.loads((folder / "failure.json").read_text())
    assert failure["cause"] == "crash"
    assert "in save_state" in failure["traceback"]
    (folder / "model.pt").rmdir()
    run("sweep", path, cwd=tmp_path)
    assert not (folder / "failure.json").exists()


def test_an_error_that_cannot_be_written_down_is_told_as_it_is_and_the_others_go_on(study, tmp_path):
    path = study("blocked", "  finetune: null\n  seed: [0, 1]\n")
    first, _ = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["trials"]
    blocked = tmp_path / "workspace" / "trials" / first["signature"]
    blocked.parent.mkdir(parents=True)
    blocked.touch()  # a file where the trial's folder should be
    done = run("sweep", path, cwd=tmp_path, code=1)
    assert "crash: FileExistsError" in done.stderr
    assert "its failure cannot be recorded" in done.stderr
    assert "trained 1, failed 1" in done.stdout
    record = json.loads((tmp_path / "workspace" / "studies" / "blocked.json").read_text())
    assert sorted(row["state"] for row in record["trials"]) == ["done", "failed"]


def _control_store(driver):
    """The session folder of the Ray whose processes are a driver's children, from /proc."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == driver and words[0].endswith("gcs_server"):
            return next(w for w in words if w.startswith("--session-dir=")).partition("=")[2]
    raise AssertionError("the driver has started no Ray")


def _holder(lock):
    """The process that holds a file open, from /proc."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        except OSError:
            continue
        if str(lock) in links:
            return int(pid)
    raise AssertionError(f"nobody holds {lock}")
