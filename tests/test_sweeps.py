"""Sweeps on a real Ray, through the real command: each model once, failures apart, nothing lost by a kill."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.synthetic import Plan, synthesize

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


def run(*words, cwd, code=0):
    done = subprocess.run([*COMMAND, *words], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
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
    reached = _reached(tmp_path)
    assert max(reached.values()) >= 2
    run("sweep", path, cwd=tmp_path)
    assert [len(r["history"]) for r in results(tmp_path).values()] == [12, 12]


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


def test_a_killed_worker_is_replaced_and_its_trial_goes_on_from_its_checkpoint(study, tmp_path):
    path = study("worker", "  finetune: null\n  seed: 0\n", epochs=12)
    driver = subprocess.Popen(
        [*COMMAND, "sweep", path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    _wait_for(tmp_path, "*/pretrain-0003.pt")
    lock = next((tmp_path / "workspace" / "trials").glob("*/.lock"))
    os.kill(_holder(lock), signal.SIGKILL)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, out + err
    assert "trained 1" in out
    (result,) = results(tmp_path).values()
    assert [row["epoch"] for row in result["history"]] == list(range(1, 13))


def _wait_for(root, pattern):
    """Until a trial's checkpoint is there."""
    deadline = time.monotonic() + 120
    while not list((root / "workspace" / "trials").glob(pattern)):
        assert time.monotonic() < deadline, f"no {pattern} in two minutes"
        time.sleep(0.05)


def _reached(root):
    """Epoch of each unfinished trial's checkpoint."""
    pointers = (root / "workspace" / "trials").glob("*/checkpoint.json")
    return {p.parent.name: int(json.loads(p.read_text())["file"][-7:-3]) for p in pointers}


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
