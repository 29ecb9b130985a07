"""The report in a real browser: figures are drawn, themes change, and an old browser is told why it sees none."""

from __future__ import annotations

import html
import importlib.resources
import json
import re
import shutil
import subprocess

import pytest
from planted import hostile, settings, trial

from analysis.page.style import BLUE, DARK, INK
from analysis.published import TABLE2
from analysis.report import render, write_report
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no chromium or chrome on this machine: `apt-get install chromium`"),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=20000"),
)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    history = [{"phase": "pretrain", "epoch": n, "train_loss": 3 / n, "drop_rate": 0.0} for n in (1, 2, 3)]
    for seed in (0, 1):
        for row in TABLE2:
            save_result(Workspace(folder), trial(settings(row, seed=seed), accuracy=0.5 + seed / 10, history=history))
        for drop in (0.0, 0.9):
            tuned = [{**row, "phase": "finetune", "drop_rate": drop * row["epoch"] / 3} for row in history]
            save_result(Workspace(folder), trial(settings(seed=seed, drop=drop), history=tuned))
    return Workspace(folder)


@pytest.fixture(scope="module")
def report(planted):
    return write_report(planted, planted.root / "report.html").read_text(encoding="utf-8")


def dump(page, folder):
    """The page as the browser sees it once its scripts have run."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", f"file://{folder / 'page.html'}"]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stdout
    assert "<main>" in seen
    # The assertions must not match the page's own scripts or plotly's source.
    return re.sub(r"<script.*?</script>", "", seen, flags=re.DOTALL)


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[i : i + 2], 16) for i in (1, 3, 5)))


def test_every_figure_is_drawn(report, tmp_path):
    seen = dump(report, tmp_path)
    figures = report.count('class="plot"')
    assert figures == 6
    assert seen.count("js-plotly-plot") == figures
    assert seen.count('class="main-svg"') >= figures
    assert 'role="alert"' not in seen
    assert rgb(BLUE) in seen


def test_the_button_changes_the_figures_too(report, tmp_path):
    press = "<script>setTimeout(() => document.getElementById('theme').click(), 5000)</script></body>"
    seen = dump(report.replace("</body>", press), tmp_path)
    assert re.search(r'<html[^>]*data-theme="dark"', seen)
    assert rgb(DARK[INK]) in seen
    assert rgb(DARK[BLUE]) in seen
    assert rgb(BLUE) not in seen


def test_a_browser_that_cannot_unpack_plotly_is_told_so_and_keeps_the_tables(report, tmp_path):
    old = "<head><script>delete globalThis.DecompressionStream</script>"
    seen = dump(report.replace("<head>", old, 1), tmp_path)
    assert seen.count("this browser does not support DecompressionStream") == seen.count('role="alert"') == 6
    assert "js-plotly-plot" not in seen
    assert "BC-Res2Net-40 w/ MFA &amp; FPM" in seen


def test_hostile_names_are_drawn_as_text(tmp_path):
    seen = dump(render(hostile()), tmp_path)
    assert 'role="alert"' not in seen
    assert "<img" not in seen
    assert "&lt;img src=x onerror=alert(1)&gt;</text>" in seen  # the title of a panel of training curves


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_to_complain_of(report, tmp_path, theme):
    axe = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    look = (
        f"document.documentElement.dataset.theme = '{theme}';"
        "setTimeout(async () => { const found = await axe.run(); const told = document.createElement('pre');"
        "told.id = 'axe'; told.textContent = JSON.stringify([found.passes.length, found.violations.map((v) =>"
        "[v.id, v.nodes.map((n) => n.html)])]); document.body.append(told); }, 6000);"
    )
    # Inside a script element no text may end it.
    scripts = "".join("<script>" + text.replace("</script", "<\\/script") + "</script>" for text in (axe, look))
    seen = dump(report.replace("</body>", f"{scripts}</body>"), tmp_path)
    passed, violations = json.loads(html.unescape(re.search(r'<pre id="axe">(.*?)</pre>', seen, re.DOTALL)[1]))
    assert violations == []
    assert passed > 20


def test_tables_can_be_downloaded_and_copied(report, tmp_path):
    click = "for (const b of document.querySelectorAll('.exports button')) b.click();"
    seen = dump(report.replace("</body>", f"<script>setTimeout(() => {{ {click} }}, 3000)</script></body>"), tmp_path)
    tables = seen.count("<table") + seen.count("data-name=")
    assert len(re.findall(r'<p class="exports" data-table="[a-z0-9-]+"', seen)) == tables  # none is hidden
    assert len(re.findall(r'role="status">(downloaded|copied|failed: [^<]+)<', seen)) == tables
