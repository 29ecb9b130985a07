"""Figures as files, where a browser draws them; one line where none is there."""

from __future__ import annotations

import subprocess
import sys

import pytest
from choreographer.browsers.chromium import Chromium
from planted import settings, trial

from analysis.published import TABLE2
from analysis.report import images_folder, write_report
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result

BROWSER = Chromium.find_browser(skip_local=False)
pytestmark = pytest.mark.slow


@pytest.fixture
def planted(tmp_path):
    workspace = Workspace(tmp_path / "workspace")
    for row in TABLE2:
        save_result(workspace, trial(settings(row)))
    return workspace


@pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on this machine: `apt-get install chromium`")
@pytest.mark.parametrize(("form", "head"), [("png", b"\x89PNG"), ("svg", b"<svg"), ("pdf", b"%PDF")])
def test_every_figure_becomes_a_file_that_programs_open(planted, tmp_path, form, head):
    out = write_report(planted, tmp_path / "report.html", form)
    files = sorted(images_folder(out).iterdir())
    assert [file.stem for file in files] == ["plot-figure-3", "plot-table-2", "plot-table-3", "plot-table-4"]
    assert all(file.read_bytes().startswith(head) for file in files)


WITHOUT_BROWSER = """
import sys
from choreographer.browsers.chromium import Chromium
Chromium.find_browser = classmethod(lambda *arguments, **options: None)
from asc_sweeps.cli import main
sys.argv[0] = "asc-sweeps"
main()
"""


def test_without_a_browser_the_report_is_written_and_one_line_says_what_is_missing(planted, tmp_path):
    out = tmp_path / "report.html"
    words = ["report", "--workspace", str(planted.root), "--out", str(out), "--static", "png"]
    command = [sys.executable, "-c", WITHOUT_BROWSER, *words]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert found.returncode == 2
    assert found.stdout == f"report: {out}\n"
    assert out.exists()
    assert "needs Chrome or Chromium, and neither was found" in found.stderr
    assert len(found.stderr.splitlines()) == 1
