"""What the doctor finds, each planted for real."""

from __future__ import annotations

import http.server
import json
import os
import threading

import pytest
from flipping import flip
from small_trials import SMALL, TUNED, config_of, data, workspace  # noqa: F401  (fixtures)
from sweeping import run

from asc_sweeps.cli import doctor
from asc_sweeps.cli.doctor import FLOORS, examine
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """Of this machine's own token file nothing is asked here."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def failures(workspace, **how):
    return [found.text for found in examine(workspace, **how) if found.state == "fail"]


@pytest.fixture
def finished(config_of, workspace):
    return run_trial(config_of(), workspace)


def test_a_sound_machine_and_workspace_have_no_failure(finished, workspace):
    found = list(examine(workspace))
    assert not [f for f in found if f.state == "fail"]
    told = " ".join(f.text for f in found)
    assert "ray 2." in told
    assert "can be read" in told
    assert "synthetic-mini" in told


def test_a_version_with_a_known_hole_fails_with_the_holes_name():
    old = {floor.package: "0.9" for floor in FLOORS}
    found = list(doctor._versions(lambda package: old.get(package, "1.0")))
    failed = [f.text for f in found if f.state == "fail"]
    assert len(failed) == len(FLOORS)
    assert all("CVE-" in text for text in failed)


def test_a_job_api_that_answers_anybody_fails_and_one_that_refuses_does_not(tmp_path):
    for status, is_open in ((200, True), (401, False)):

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)  # noqa: B023  (the server ends before the next turn)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        found = failures(Workspace(tmp_path / "none"), jobs=f"http://127.0.0.1:{server.server_port}/api/jobs/")
        server.shutdown()
        server.server_close()
        assert any("answers without a token" in text for text in found) == is_open


def test_a_token_file_that_others_can_read_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    (told,) = failures(Workspace(tmp_path / "none"))
    assert told == f"{token} can be read by others (mode 644); chmod 600 {token}"
    token.chmod(0o600)
    assert not failures(Workspace(tmp_path / "none"))


def test_damaged_data_and_results_fail_by_name_and_the_command_exits_2(config_of, data, tmp_path, workspace):
    result = run_trial(config_of(seed=7), workspace)
    path = workspace.trial(result.signature) / "result.json"
    whole, array = path.read_bytes(), data.folder / "waveforms.npy"
    try:
        os.truncate(path, 100)
        flip(array, 100_000)
        told = failures(workspace)
        assert len(told) == 2
        assert any("waveforms.npy is not what was written" in text for text in told)
        assert any(str(path) in text for text in told)
        done = run("doctor", "--json", "--workspace", str(workspace.root), cwd=tmp_path, code=2)
        assert [f["text"] for f in json.loads(done.stdout) if f["state"] == "fail"] == told
    finally:
        path.write_bytes(whole)
        flip(array, 100_000)
    assert not failures(workspace)
    shown = run("doctor", "--workspace", str(workspace.root), cwd=tmp_path)
    assert "fail " not in shown.stdout
