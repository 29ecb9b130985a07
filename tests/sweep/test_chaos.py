"""Whatever is killed, and whenever: the same command again ends with the results of a run in which nothing was.

Each seed is a study of its own on one cluster of two nodes, and draws what is killed and when: processes of trials, the
driver (outright, or asked to end), or a whole node, which strikes the studies of other seeds as well. CHAOS_SEEDS=0-100 runs more.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sweeping import COMMAND, SMALL_STUDY, free_port, ray_node

from analysis.report import write_report
from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.data.prepare import prepare
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nodes")]  # their nodes start one at a time
SEEDS = range(*map(int, os.environ.get("CHAOS_SEEDS", "0-8").split("-")))
AT_ONCE = 3
SECRET = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "8" * 64}
GRID = "grid:\n  seed: [0, 1]\n  finetune.max_drop_rate: [0.5]\n"
KINDS = ("trial", "trial", "driver", "interrupt", "node")


class Cluster:
    """A head that computes nothing, and two nodes that come back when they are killed."""

    def __init__(self):
        self.port, self._changes = free_port(), threading.Lock()
        self._head = ray_node(SECRET, "--head", f"--port={self.port}", "--num-cpus=0", "--include-dashboard=false")
        time.sleep(5)
        self._nodes = []
        for _ in range(2):
            self._nodes.append(self._node())
            time.sleep(5)  # two that start at once on one machine reach for the same names

    def _node(self):
        return ray_node(SECRET, f"--address=127.0.0.1:{self.port}", "--num-cpus=1")

    def kill_a_node(self, number):
        with self._changes:
            _kill(self._nodes[number])
            self._nodes[number] = self._node()
            time.sleep(5)

    def end(self):
        for node in [*self._nodes, self._head]:
            _kill(node)


def _kill(process, how=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    process.wait()


def _trials_at_work(root):
    """Processes that hold a trial's lease."""
    for path in (root / "trials").glob("*/lease.json"):
        with contextlib.suppress(OSError, ValueError):
            yield json.loads(path.read_text())["process"]


class Driver:
    """The command that a seed runs again and again until it ends well."""

    def __init__(self, folder, path, port):
        words = ["sweep", path, "--address", f"127.0.0.1:{port}", "--wait", "2", "--workspace", str(folder)]
        self._command, self._log, self._process = [*COMMAND, *words], folder / "log.txt", None
        self.ends = []

    def start(self):
        with open(self._log, "a") as log:
            self._process = subprocess.Popen(
                self._command, env={**os.environ, **SECRET}, stdout=log, stderr=log, start_new_session=True
            )

    def is_running(self):
        return self._process.poll() is None

    def kill(self, how):
        _kill(self._process, how)
        self.end()

    def end(self):
        self.ends.append(self._process.wait(timeout=300))
        return self.ends[-1]

    def told(self):
        return self._log.read_text()


def _survive(seed, folder, path, cluster):
    """Run one seed's study through its faults; what has been done to it, and how each run of the command ended."""
    draw, done = random.Random(seed), []
    driver = Driver(folder, path, cluster.port)
    driver.start()
    for _ in range(draw.randint(1, 2)):
        kind, wait, victim = draw.choice(KINDS), draw.uniform(1, 9), draw.randrange(2)
        with contextlib.suppress(subprocess.TimeoutExpired):
            driver._process.wait(timeout=wait)
        if not driver.is_running():
            if driver.end() == 0:
                break
            driver.start()
        done.append(f"{kind} after {wait:.1f} s")
        if kind == "node":
            cluster.kill_a_node(victim)
        elif kind == "trial":
            for process in sorted(_trials_at_work(folder))[:1]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process, signal.SIGKILL)
        else:
            driver.kill(signal.SIGKILL if kind == "driver" else signal.SIGINT)
            driver.start()
    for _ in range(4):  # another seed's faults may still strike it
        if driver.end() == 0:
            break
        driver.start()
    assert driver.ends[-1] == 0, f"seed {seed}: {done}, exits {driver.ends}\n{driver.told()}"
    assert "Traceback" not in driver.told(), f"seed {seed}: {done}\n{driver.told()}"
    return done, driver.ends


@pytest.fixture(scope="module")
def study_path(three_scenes, tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "chaos.yaml"
    path.write_text(f"study: chaos\n{SMALL_STUDY.format(folder=three_scenes, epochs=4)}\n{GRID}")
    return str(path)


@pytest.fixture(scope="module")
def unbroken(study_path, three_scenes, tmp_path_factory):
    """The scores of every trial of the study by signature, trained without Ray and in peace."""
    workspace = Workspace(tmp_path_factory.mktemp("whole"))
    data = prepare(three_scenes, workspace.prepared)
    (study,) = load_studies(Request((study_path,), mini=False))
    for trial in study.trials:
        run_trial(trial.with_resolved_data(data.name, data.fingerprint), workspace)
    return workspace, {r.signature: r.scores for r in load_contents(workspace).results}


def test_kills_at_random_times_lose_double_and_change_nothing(study_path, unbroken, tmp_path):
    whole, scores = unbroken
    assert len(scores) == 4
    cluster = Cluster()

    def survive(seed):
        folder = tmp_path / f"seed-{seed}"
        folder.mkdir()
        (folder / "prepared").symlink_to(whole.prepared)
        done, ends = _survive(seed, folder, study_path, cluster)
        workspace = Workspace(folder)
        found = load_contents(workspace).results
        assert {r.signature: r.scores for r in found} == scores, f"seed {seed}: {done}, exits {ends}"
        for result in found:
            steps = [(row["phase"], row["epoch"]) for row in result.history]
            assert len(set(steps)) == len(steps), f"seed {seed}: an epoch counts twice"
        write_report([workspace], folder / "report.html")
        return done, ends

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            histories = list(pool.map(survive, SEEDS))
    finally:
        cluster.end()
    struck = [kind for done, _ in histories for kind in done]
    assert len(struck) >= len(SEEDS), "the faults came too late to strike anything"
