"""Sweeps on a real Ray, through the real command: each model once, failures apart, nothing lost by a kill."""

import contextlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
import torch

from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.synthetic import Plan, synthesize
from asc_sweeps.provenance import git_state
from asc_sweeps.workspace import Workspace

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "asc_sweeps"]
SMALL = """
settings:
  data.dataset: {folder}
  features.n_mels: 32
  features.hop: 1024
  model.width: 8
  model.mfa: false
  model.fpm: false
  pretrain.epochs: {epochs}
  pretrain.warmup_epochs: 0
  pretrain.batch_size: 16
  finetune.batch_size: 16
  finetune.epochs: 1
  finetune.head_epochs: 1
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "set"
    synthesize(path, Plan("mini", 2, 1, 1, scenes=SCENES[:3]), workers=1)
    return path


@pytest.fixture
def study(tmp_path, folder):
    """Writes a study's YAML and gives its path."""

    def write(name, grid, epochs=2):
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"study: {name}\n{SMALL.format(folder=folder, epochs=epochs)}\ngrid:\n{grid}")
        return str(path)

    return write


def run(*words, cwd, code=0, env=None):
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def results(root):
    return {p.parent.name: json.loads(p.read_text()) for p in (root / "workspace" / "trials").glob("*/result.json")}


TUNING = "  - finetune: null\n  - finetune.max_drop_rate: [0.0, 0.9]\n"
BLOCKS = "  finetune: null\n  model.block: [bcresnet, bcres2net]\n"


def test_no_equal_model_is_trained_twice_across_studies_and_runs(study, tmp_path):
    tuning, blocks = study("tuning", TUNING), study("blocks", BLOCKS)
    before = json.loads(run("plan", tuning, blocks, "--json", cwd=tmp_path).stdout)
    assert before["totals"] == {"listed": 5, "trials": 4, "cached": 0, "to_train": 4, "epochs_to_train": 8}
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


def test_a_trial_under_ray_equals_the_same_trial_without_it(study, tmp_path, folder):
    run("sweep", study("one", "  finetune: null\n  seed: 0\n"), cwd=tmp_path)
    ((signature, result),) = results(tmp_path).items()
    words = [f"--set={n}={json.dumps(v)}" for n, v in _flat(result["settings"]) if not n.startswith("data.")]
    run("train", *words, "--data", str(folder), "--threads", "1", "--workspace", "alone/workspace", cwd=tmp_path)
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
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(tmp_path, "*/pretrain-0002.pt")
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, out + err
    assert f"asc-sweeps sweep {path}" in err
    assert "unfinished" in out
    kept = _checkpoints(tmp_path)
    assert max(len(history) for history in kept.values()) >= 2
    run("sweep", path, cwd=tmp_path)
    for signature, result in results(tmp_path).items():
        assert [row["epoch"] for row in result["history"]] == list(range(1, 13))
        before = kept.get(signature, [])
        assert result["history"][: len(before)] == before  # with their seconds: they were not trained again


def test_a_killed_driver_loses_nothing_and_the_result_is_that_of_an_unbroken_run(study, tmp_path):
    path = study("killed", "  finetune: null\n  seed: [0, 1]\n", epochs=12)
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for(tmp_path, "*/pretrain-0002.pt")
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
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(tmp_path, "*/pretrain-0003.pt")
    lock = next((tmp_path / "workspace" / "trials").glob("*/.lock"))
    os.kill(_holder(lock), signal.SIGKILL)
    Path(path).write_text("study: [")  # a person who writes the next study in the same file
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    assert "trained 1" in out
    (result,) = results(tmp_path).values()
    assert [row["epoch"] for row in result["history"]] == list(range(1, 13))
    assert json.loads((tmp_path / "workspace" / "studies" / "worker.json").read_text())["state"] == "complete"


def test_a_ray_of_our_own_answers_nobody_else_and_sigterm_to_all_its_processes_ends_it_as_ctrl_c_does(study, tmp_path):
    path = study("alone", "  finetune: null\n  seed: 0\n", epochs=5000)
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    _wait_for(tmp_path, "*/pretrain-0001.pt")
    ports = Path(_control_store(driver.pid)).glob("gcs_server_port*")
    port = next(ports).read_text()
    script = f"import ray; ray.init('127.0.0.1:{port}')"
    without = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    stranger = subprocess.run([sys.executable, "-c", script], env=without, capture_output=True, text=True, check=False)
    assert stranger.returncode != 0
    assert "InvalidAuthToken" in stranger.stderr + stranger.stdout
    os.killpg(driver.pid, signal.SIGTERM)
    out, err = driver.communicate(timeout=40)
    assert driver.returncode == 130, out + err
    assert "Traceback" not in err
    assert _checkpoints(tmp_path)


def test_trials_killed_for_their_nodes_memory_fail_with_that_cause_and_the_sweep_ends_in_order(study, tmp_path):
    path = study("hungry", "  finetune: null\n  seed: [0, 1]\n", epochs=200)
    tight = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    done = run("sweep", path, cwd=tmp_path, code=1, env=tight)
    assert "trained 0, failed 2" in done.stdout
    assert "out of memory: its process was killed 2 times" in done.stderr
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
    assert "its failure cannot be written down" in done.stderr
    assert "trained 1, failed 1" in done.stdout
    record = json.loads((tmp_path / "workspace" / "studies" / "blocked.json").read_text())
    assert sorted(row["state"] for row in record["trials"]) == ["done", "failed"]


def test_a_sweep_runs_on_a_cluster_that_is_already_there(study, tmp_path):
    path = study("cluster", "  finetune: null\n  model.block: [bcresnet, bcres2net]\n")
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    nothing = run("sweep", path, "--address", "127.0.0.1:6", cwd=tmp_path, code=2, env=secret)
    assert "--address 127.0.0.1:6: must be HOST:PORT of a running Ray head" in nothing.stderr
    port = _free_port()
    head = _ray_start(secret, "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
    try:
        time.sleep(5)
        done = run("sweep", path, "--address", f"127.0.0.1:{port}", cwd=tmp_path, env=secret)
        assert "trained 2" in done.stdout
        here = git_state()["git_commit"]
        assert all(r["environment"]["git_commit"] == here for r in results(tmp_path).values())
        record = json.loads((tmp_path / "workspace" / "studies" / "cluster.json").read_text())
        assert record["command"] == f"asc-sweeps sweep {path} --address 127.0.0.1:{port}"
        for words, told in (
            (["--cpus-per-trial", "64"], "no node has what a trial asks for: 64 CPU; the most that one has: 2 CPU"),
            (["--accelerator", "cuda"], "asks for: 1 CPU, 1 GPU; the most that one has: 2 CPU, 0 GPU"),
            (["--accelerator", "cpu", "--gpus-per-trial", "1"], "contradict each other"),
        ):
            there = ["--address", f"127.0.0.1:{port}", "--seeds", "9,"]
            assert told in run("sweep", path, *there, *words, cwd=tmp_path, code=2, env=secret).stderr
    finally:
        head.terminate()
        head.wait(timeout=30)


SEARCH = """
search:
  trials: 7
  parameters:
    finetune.reg_lambda: {low: 0.01, high: 1, log: true}
    finetune.learning_rate: [1e-3, 1e30]
  first:
    - {finetune.reg_lambda: 0.4, finetune.learning_rate: 1e-3}
    - {finetune.reg_lambda: 0.4, finetune.learning_rate: 1e30}
scheduler: {name: asha, grace_epochs: 2, reduction: 2}
"""


def test_a_search_over_one_start_ends_every_optuna_trial_truly_and_goes_on_after_ctrl_c(study, tmp_path):
    path = study("search", "")
    Path(path).write_text(
        Path(path).read_text().replace("grid:\n", SEARCH).replace("finetune.epochs: 1", "finetune.epochs: 3")
    )
    before = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["searches"]
    assert [(s["trials"], s["drawn"]) for s in before] == [(7, 0)]
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(tmp_path, "*/finetune-0001.pt")
    driver.send_signal(signal.SIGINT)
    out, err = driver.communicate(timeout=60)
    assert driver.returncode == 130, out + err
    assert not [t for t in _optuna_trials(tmp_path) if t.state.name == "RUNNING"]

    done = run("sweep", path, cwd=tmp_path, code=1)  # 1e30 fails its trials
    assert "search: 7 of 7 trials drawn" in done.stdout
    found = results(tmp_path)
    assert sum(r["phase"] == "pretraining" for r in found.values()) == 1  # the one start of all
    trials = [
        t
        for t in _optuna_trials(tmp_path)
        if t.number not in {u.user_attrs.get("again") for u in _optuna_trials(tmp_path)}
    ]
    assert len(trials) == 7
    for t in trials:
        signature = t.user_attrs["signature"]
        if t.params["finetune.learning_rate"] == 1e30:
            assert t.state.name == "FAIL"
            assert t.user_attrs["failed"].startswith("nan: ")
        elif t.state.name == "COMPLETE":
            (score,) = [s for s in found[signature]["scores"] if (s["split"], s["name"]) == ("validation", "micro")]
            assert t.value == score["log_loss"]
        else:
            assert t.state.name == "PRUNED"
            assert t.user_attrs["stopped_after_epochs"] in (2, 4)
            assert signature not in found
    again = run("sweep", path, cwd=tmp_path)
    assert "trained 0" in again.stdout
    assert len(_optuna_trials(tmp_path)) == len(trials) + sum("again" in u.user_attrs for u in _optuna_trials(tmp_path))


def test_a_trial_that_was_stopped_early_stays_so_until_it_is_asked_for_in_full(study, tmp_path):
    path = study("halved", "  finetune: null\n  seed: [0, 1, 2, 3]\n", epochs=6)
    with Path(path).open("a") as file:
        file.write("scheduler: {name: asha, grace_epochs: 2, reduction: 2}\n")
    Path(path).write_text(Path(path).read_text().replace("pretrain.batch_size: 16", "pretrain.batch_size: 4"))
    done = run("sweep", path, cwd=tmp_path)
    record = json.loads((tmp_path / "workspace" / "studies" / "halved.json").read_text())
    stopped = {row["signature"] for row in record["trials"] if row["state"] == "stopped"}
    assert stopped
    assert f"stopped early {len(stopped)}" in done.stdout
    assert "stopping early saved" in done.stdout
    assert record["state"] == "complete"
    kept = _checkpoints(tmp_path)
    assert kept.keys() == stopped
    assert "trained 0" in run("sweep", path, cwd=tmp_path).stdout
    planned = json.loads(run("plan", path, "--json", cwd=tmp_path).stdout)["trials"]
    assert {t["signature"] for t in planned if t["stopped"]} == stopped
    assert f"trained {len(stopped)}" in run("sweep", path, "--in-full", cwd=tmp_path).stdout
    for signature, history in kept.items():
        assert results(tmp_path)[signature]["history"][: len(history)] == history
        assert len(results(tmp_path)[signature]["history"]) == 6


def _optuna_trials(root):
    return optuna.load_study(study_name="search", storage=f"sqlite:///{root}/workspace/optuna.db").trials


def test_a_cluster_that_asks_for_no_token_is_refused_unless_that_is_allowed(study, tmp_path):
    path = study("open", "  finetune: null\n  seed: 0\n")
    port, without = _free_port(), {"RAY_AUTH_MODE": "disabled"}
    head = _ray_start(without, "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false")
    try:
        time.sleep(5)
        there = ["--address", f"127.0.0.1:{port}"]
        refused = run("sweep", path, *there, cwd=tmp_path, code=2, env=without)
        assert "without a token only an open cluster can be joined" in refused.stderr
        assert "trained 1" in run("sweep", path, *there, "--allow-open-cluster", cwd=tmp_path, env=without).stdout
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


@pytest.mark.parametrize(("status", "is_open"), [(200, True), (401, False), (404, False)])
def test_an_open_job_api_is_seen_by_its_answer(status, is_open):
    from asc_sweeps.sweeps import answers_without_token

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert answers_without_token(f"http://127.0.0.1:{server.server_port}/api/jobs/") == is_open
    server.server_close()
    assert not answers_without_token(f"http://127.0.0.1:{server.server_port}/api/jobs/")


def test_a_node_that_is_killed_loses_no_trial_and_the_results_are_those_of_an_unbroken_run(study, tmp_path):
    path = study("nodes", "  finetune: null\n  seed: [0, 1, 2]\n", epochs=25)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "6" * 64}
    port = _free_port()
    nodes = [_ray_start(secret, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")]
    try:
        time.sleep(5)
        driver = subprocess.Popen(
            [*COMMAND, "sweep", path, "--address", f"127.0.0.1:{port}", "--wait", "2"],
            cwd=tmp_path, env={**os.environ, **secret}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        _until(60, lambda: (tmp_path / "workspace" / "studies" / "nodes.json").exists())
        time.sleep(8)  # by now the driver has joined by the head, and waits for nodes that can train
        for _ in range(2):
            nodes.append(_ray_start(secret, f"--address=127.0.0.1:{port}", "--num-cpus=1"))
            time.sleep(6)  # two that start at once on one machine reach for the same names
        _until(90, lambda: len(list((tmp_path / "workspace" / "trials").glob("*/checkpoint.json"))) == 2)
        os.killpg(nodes[-1].pid, signal.SIGKILL)
        out, err = driver.communicate(timeout=240)
        assert driver.returncode == 0, out + err
        # A worker may outlive its node and finish the trial: then the one that replaces it finds the result, and says so.
        assert re.search(r"planned 3, reused [01], trained [23]$", out, flags=re.M)
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
    run("sweep", path, "--workspace", "whole/workspace", cwd=tmp_path)
    broken, whole = results(tmp_path), results(tmp_path / "whole")
    assert broken.keys() == whole.keys()
    assert all(broken[s]["scores"] == result["scores"] for s, result in whole.items())


def _until(seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


def _free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _ray_start(secret, *words):
    """A node of a cluster, as `ray start` makes it, in a process group of its own."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, "--block", "--disable-usage-stats"]
    return subprocess.Popen(command, env={**os.environ, **secret}, stdout=subprocess.DEVNULL, start_new_session=True)


def test_a_node_that_does_not_see_the_data_says_so(tmp_path):
    from asc_sweeps.sweeps import _look_on_worker

    assert "no prepared data with fingerprint 0000" in _look_on_worker(Workspace(tmp_path), ["0" * 32])


def _wait_for(root, pattern):
    """Until a trial's checkpoint is there."""
    _until(120, lambda: list((root / "workspace" / "trials").glob(pattern)))


def _checkpoints(root):
    """History of each unfinished trial's checkpoint."""
    pointers = (root / "workspace" / "trials").glob("*/checkpoint.json")
    states = {p.parent.name: p.parent / json.loads(p.read_text())["file"] for p in pointers}
    return {name: torch.load(path, weights_only=True)["history"] for name, path in states.items()}


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
