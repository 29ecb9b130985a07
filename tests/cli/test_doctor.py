"""The checks of `asc-sweeps doctor`, each on a real fault."""

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
from asc_sweeps.cli.doctor import MINIMUM_VERSIONS, examine
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    """The token file of this machine is not checked."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def failures(workspace, **options):
    return [check.text for check in examine(workspace, **options) if check.state == "fail"]


@pytest.fixture
def finished(config_of, workspace):
    return run_trial(config_of(), workspace)


def test_a_healthy_machine_and_workspace_have_no_failure(finished, workspace):
    checks = list(examine(workspace))
    assert not [check for check in checks if check.state == "fail"]
    text = " ".join(check.text for check in checks)
    assert "ray 2." in text
    assert "readable: 1 finished trials, 0 studies" in text
    assert "synthetic-mini" in text


def test_a_version_with_a_known_vulnerability_fails_with_its_name():
    old = dict.fromkeys(MINIMUM_VERSIONS, "0.9")
    failed = [c.text for c in doctor._versions(lambda package: old.get(package, "1.0")) if c.state == "fail"]
    assert len(failed) == len(MINIMUM_VERSIONS)
    assert all("CVE-" in text for text in failed)


def test_a_job_api_that_needs_no_token_fails_and_one_that_needs_one_passes(tmp_path):
    for status, is_open in ((200, True), (401, False)):

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)  # noqa: B023  (the server ends before the next turn)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        texts = failures(Workspace(tmp_path / "none"), job_api=f"http://127.0.0.1:{server.server_port}/api/jobs/")
        server.shutdown()
        server.server_close()
        assert any("accepts jobs without a token" in text for text in texts) == is_open


def test_a_token_file_that_other_users_can_read_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("secret")
    token.chmod(0o644)
    (text,) = failures(Workspace(tmp_path / "none"))
    assert text == f"{token} is accessible to other users (mode 644); run: chmod 600 {token}"
    token.chmod(0o600)
    assert not failures(Workspace(tmp_path / "none"))


def test_damaged_data_and_results_fail_by_name_and_the_command_exits_2(config_of, data, tmp_path, workspace):
    result = run_trial(config_of(seed=7), workspace)
    path = workspace.trial(result.signature) / "result.json"
    whole, array = path.read_bytes(), data.folder / "waveforms.npy"
    try:
        os.truncate(path, 100)
        flip(array, 100_000)
        texts = failures(workspace)
        assert len(texts) == 2
        assert any("waveforms.npy has changed" in text for text in texts)
        assert any(str(path) in text for text in texts)
        done = run("doctor", "--json", "--workspace", str(workspace.root), cwd=tmp_path, code=2)
        assert [f["text"] for f in json.loads(done.stdout) if f["state"] == "fail"] == texts
    finally:
        path.write_bytes(whole)
        flip(array, 100_000)
    assert not failures(workspace)
    shown = run("doctor", "--workspace", str(workspace.root), cwd=tmp_path)
    assert "fail " not in shown.stdout
