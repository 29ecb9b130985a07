"""Sweeps on real nodes of a Ray cluster: joined with a token only, and nothing lost with a node."""

import contextlib
import http.server
import json
import os
import re
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from sweeping import COMMAND, free_port, ray_node, results, run, start, wait_for_exit, wait_until

from asc_sweeps.workspace.environment import git_state, package_versions
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("nodes")]  # their nodes start one at a time


def test_a_sweep_runs_on_a_cluster_that_is_already_there(study, tmp_path):
    path = study("cluster", "  finetune: null\n  model.block: [bcresnet, bcres2net]\n")
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    nothing = run("sweep", path, "--address", "127.0.0.1:6", cwd=tmp_path, code=2, env=secret)
    assert "--address 127.0.0.1:6: must be HOST:PORT of a running Ray head" in nothing.stderr
    port = free_port()
    head = ray_node(secret, "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false")
    try:
        time.sleep(5)
        done = run("sweep", path, "--address", f"127.0.0.1:{port}", cwd=tmp_path, env=secret)
        assert "trained 2" in done.stdout
        here = git_state()["git_commit"]
        assert all(r["environment"]["git_commit"] == here for r in results(tmp_path).values())
        record = json.loads((tmp_path / "workspace" / "studies" / "cluster.json").read_text())
        assert record["command"] == f"asc-sweeps sweep {path} --address 127.0.0.1:{port}"
        no_token = {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
        refused = run(
            "sweep", path, "--address", f"127.0.0.1:{port}", "--seeds", "9,", cwd=tmp_path, code=2, env=no_token
        )
        assert "with the same RAY_AUTH_MODE and token as here" in refused.stderr
        for words, told in (
            (
                ["--cpus-per-trial", "64"],
                "satisfies the resource request of a trial: 64 CPU; the most that a node has: 2 CPU",
            ),
            (["--accelerator", "cuda"], "of a trial: 1 CPU, 1 GPU; the most that a node has: 2 CPU, 0 GPU"),
            (
                ["--accelerator", "cpu", "--gpus-per-trial", "1"],
                "--accelerator cpu contradicts --gpus-per-trial 1; omit one of them",
            ),
        ):
            there = ["--address", f"127.0.0.1:{port}", "--seeds", "9,"]
            assert told in run("sweep", path, *there, *words, cwd=tmp_path, code=2, env=secret).stderr
    finally:
        head.terminate()
        head.wait(timeout=30)


def test_a_cluster_that_asks_for_no_token_is_refused_unless_that_is_allowed(study, tmp_path):
    path = study("open", "  finetune: null\n  seed: 0\n")
    port, without = free_port(), {"RAY_AUTH_MODE": "disabled"}
    head = ray_node(without, "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false")
    try:
        time.sleep(5)
        there = ["--address", f"127.0.0.1:{port}"]
        refused = run("sweep", path, *there, cwd=tmp_path, code=2, env=without)
        assert "without a token, only an open cluster can be joined; anyone who" in refused.stderr
        assert "trained 1" in run("sweep", path, *there, "--allow-open-cluster", cwd=tmp_path, env=without).stdout
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()


def test_a_submitted_job_gives_the_signatures_and_results_of_a_local_ray(study, tmp_path):
    path = study("job", "  finetune: null\n  seed: [0, 1]\n")
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "7" * 64}
    port, api = free_port(), f"http://127.0.0.1:{(dashboard := free_port())}"
    words = [f"--port={port}", f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1", "--num-cpus=2"]
    head = ray_node(secret, "--head", *words)
    try:
        wait_until(60, lambda: _status(f"{api}/api/version") == 401)  # it is there, and asks for the token
        job = [COMMAND[0], "-m", "ray.scripts.scripts", "job", "submit", "--address", api, "--working-dir", tmp_path]
        sweep = [*COMMAND, "sweep", "job.yaml", "--workspace", tmp_path / "workspace"]
        for _ in range(30):
            done = subprocess.run(
                [*job, "--", *sweep],
                env={**os.environ, **secret},
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
            if "No available agent" not in done.stderr:
                break
            time.sleep(2)  # Ray's own part that takes jobs is there last
        assert "planned 2, reused 0, trained 2" in done.stdout, done.stdout + done.stderr
        assert done.returncode == 0
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
    run("sweep", path, "--workspace", "local/workspace", cwd=tmp_path)
    submitted, local = results(tmp_path), results(tmp_path / "local")
    assert submitted.keys() == local.keys()
    assert all(submitted[s]["scores"] == result["scores"] for s, result in local.items())


def _status(url):
    try:
        return urllib.request.urlopen(url, timeout=5).status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@pytest.mark.parametrize(("status", "is_open"), [(200, True), (401, False), (404, False)])
def test_an_open_job_api_is_seen_by_its_answer(status, is_open):
    from asc_sweeps.sweep.ray_environment import job_api_is_open

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.handle_request, daemon=True).start()
    assert job_api_is_open(f"http://127.0.0.1:{server.server_port}/api/jobs/") == is_open
    server.server_close()
    assert not job_api_is_open(f"http://127.0.0.1:{server.server_port}/api/jobs/")


def test_a_node_that_is_killed_loses_no_epoch_in_an_object_store_either(study, tmp_path, bucket):
    path = study("nodes", "  finetune: null\n  seed: [0, 1, 2]\n", epochs=60)
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "6" * 64}
    port = free_port()
    there = ["--workspace", bucket, "--address", f"127.0.0.1:{port}", "--wait", "2"]
    nodes = [ray_node(secret, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false")]
    workspace = Workspace.at(bucket)
    try:
        time.sleep(5)
        driver = start("sweep", path, *there, cwd=tmp_path, env=secret | _cache(tmp_path, "driver"))
        wait_until(60, lambda: workspace.storage.read(workspace.studies / "nodes.json"))
        time.sleep(8)  # by now the driver has joined by the head, and waits for nodes that can train
        for number in range(2):  # two that start at once on one machine reach for the same names
            nodes.append(ray_node(secret | _cache(tmp_path, number), f"--address=127.0.0.1:{port}", "--num-cpus=1"))
            time.sleep(6)
        wait_until(90, lambda: len(_begun(workspace)) == 2)
        os.killpg(nodes[-1].pid, signal.SIGKILL)
        begun = _begun(workspace)
        out, _ = wait_for_exit(driver)
        # A worker may outlive its node and finish the trial: then the one that replaces it finds the result, and says so.
        assert re.search(r"planned 3, reused [01], trained [23]$", out, flags=re.M)
    finally:
        for node in nodes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(node.pid, signal.SIGKILL)
            node.wait()
    workspace.pull()
    broken = load_contents(workspace).results
    run("sweep", path, "--workspace", "whole/workspace", cwd=tmp_path)
    unbroken = load_contents(Workspace(tmp_path / "whole" / "workspace")).results
    assert {r.signature: r.scores for r in broken} == {r.signature: r.scores for r in unbroken}
    for result in broken:
        # Every epoch that was there when the node was killed is the one that counts: its time is the same.
        pace = begun.get(result.signature)
        assert pace is None or pace in _paces(result)


def _cache(folder, name):
    """A node's own place for its copies of object stores."""
    return {"ASC_SWEEPS_CACHE": str(folder / "caches" / str(name))}


def _begun(workspace):
    """Signature -> seconds per epoch so far, of the unfinished trials."""
    workspace.pull()
    pointers = {p.parent.name: json.loads(p.read_text()) for p in workspace.trials.glob("*/checkpoint.json")}
    return {signature: pointer["seconds_per_epoch"] for signature, pointer in pointers.items()}


def _paces(result):
    """Seconds per epoch as they were told after each epoch of a finished trial."""
    seconds = [row["seconds"] for row in result.history]
    return [sum(seconds[:n]) / n for n in range(1, len(seconds) + 1)]


def test_a_node_that_does_not_see_the_data_says_so(tmp_path):
    from asc_sweeps.sweep.on_ray.worker import why_node_cannot_run

    assert "no prepared data with fingerprint 0000" in why_node_cannot_run(
        Workspace(tmp_path), ["0" * 32], package_versions()
    )


def test_a_node_with_another_torch_is_told_with_both_versions_and_runs_nothing(tmp_path):
    from asc_sweeps.sweep.on_ray.worker import why_node_cannot_run

    assert why_node_cannot_run(Workspace(tmp_path), [], package_versions()) == ""
    told = why_node_cannot_run(Workspace(tmp_path), [], {**package_versions(), "torch": "2.12.1"})
    assert told.startswith(
        f"version mismatch: has torch {package_versions()['torch']} (here 2.12.1), so results would differ"
    )
