"""Files of a workspace that are damaged, foreign or hostile: named in the report, counted nowhere, and nothing else is lost."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil

import pytest
from planted import failure, record, settings, trial
from sweeping import run

from analysis.evidence.loading import load_evidence
from analysis.published import TABLE2
from analysis.report import write_report
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents, save_failure, save_result, save_study

HISTORY = [
    {
        **{
            "phase": "pretrain",
            "epoch": epoch,
            "learning_rate": 0.01,
            "drop_rate": 0.0,
            "train_loss": 1.0,
            "segments": 9,
        },
        **{"validation_log_loss": 1.0, "validation_accuracy": 0.5, "seconds": 6.0},
    }
    for epoch in (1, 2, 3)
]
SITTING = {"worker": "a:1", "began_at": "2026-01-02T03:04:05+00:00", "ended_at": "2026-01-02T03:05:05+00:00"}


@pytest.fixture
def workspace(tmp_path):
    """Table 2 with two seeds, a failure, and a search."""
    made = Workspace(tmp_path / "workspace")
    rows = []
    for seed in (0, 1):
        for row in TABLE2:
            result = dataclasses.replace(trial(settings(row, seed=seed), history=HISTORY), work_intervals=[SITTING])
            save_result(made, result)
            who = {"signature": result.signature, "system": result.system, "phase": result.phase, "seed": seed}
            rows.append({**who, "state": "done", "params": 1, "macs": 2, "epochs": 3, "needs": {}, "settings": {}})
    save_failure(made, failure("BC-Res2Net-40"))
    point = {"number": 0, "state": "done", "signature": rows[0]["signature"], "values": [1.0, 2.0], "reason": ""}
    search = {
        **{"sampler": "tpe", "seed": 0, "trials": 3, "objectives": ["validation_log_loss", "macs"], "limits": {}},
        "parameters": [{"name": "model.width", "when": None, "low": 16, "high": 80, "log": False}],
        "points": [{**point, "params": {"model.width": 16}}],
    }
    save_study(made, record(trials=rows, search=search))
    return made


def results_of(workspace):
    return sorted(workspace.trials.glob("*/result.json"))


def damaged(workspace):
    return [f for f in load_contents(workspace).failures if f.cause == "damaged"]


DAMAGES = {
    "nothing": lambda path: path.write_bytes(b""),
    "half": lambda path: os.truncate(path, path.stat().st_size // 2),
    "no text": lambda path: path.write_bytes(bytes(range(256))),
    "deep": lambda path: path.write_text("[" * 100_000),
    "another kind": lambda path: path.write_text("[1]"),
    "another version": lambda path: path.write_text(path.read_text().replace('"format": 1', '"format": 2')),
    "a field that is none": lambda path: path.write_text(path.read_text().replace('"seconds"', '"minutes"')),
    "not a number": lambda path: path.write_text(path.read_text().replace('"log_loss": 1.2', '"log_loss": NaN')),
    "a word for a number": lambda path: path.write_text(
        path.read_text().replace('"accuracy": 0.6', '"accuracy": "high"')
    ),
    "a setting that is none": lambda path: path.write_text(path.read_text().replace('"width"', '"breadth"')),
    "another trial's": lambda path: shutil.copy(
        next(p for p in path.parents[1].glob("*/result.json") if p != path), path
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_result_that_cannot_be_read_is_named_and_the_others_count(damage, workspace, tmp_path):
    whole = load_contents(workspace)
    path = results_of(workspace)[0]
    before = path.read_bytes()
    DAMAGES[damage](path)
    assert path.read_bytes() != before
    left = load_contents(workspace)
    assert {r.signature for r in left.results} == {r.signature for r in whole.results} - {path.parent.name}
    (told,) = [f for f in left.failures if f.cause == "damaged"]
    assert told.signature == path.parent.name
    assert str(path) in told.message
    assert "move" in told.message
    assert len(load_evidence(workspace).frame) == len(whole.results) - 1


def test_reports_and_status_are_made_in_spite_of_damaged_files_and_name_them(workspace, tmp_path):
    os.truncate(results_of(workspace)[0], 50)
    next(workspace.trials.glob("*/failure.json")).write_text("{}")
    (workspace.studies / "other.json").write_text("no JSON")
    assert len(damaged(workspace)) == 3
    page = write_report(workspace, tmp_path / "r.html").read_text()
    assert page.count("damaged") >= 3
    assert "other.json" in page
    (workspace.studies / "other.json").unlink()
    shown = run("status", "--workspace", str(workspace.root), cwd=tmp_path).stdout
    assert f"failed   {results_of(workspace)[0].parent.name}" in shown


def leaves(value, path=()):
    """Every place in a tree of JSON."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in inner:
        yield (*path, name)
        yield from leaves(one, (*path, name))


HOSTILE = [
    *(None, True, -1, 0, 1e308, "", [], {}, [1], {"a": 1}, 10**30, "x" * 5000),
    *("<script>alert(1)</script>", "\x1b[31m", "=1+1", "2026-01-01", "\\input{/etc/passwd}"),
]


@pytest.mark.parametrize("seed", range(12))
def test_a_report_is_made_whatever_value_stands_in_a_file(seed, workspace, tmp_path):
    draw = random.Random(seed)
    for path in (draw.choice(results_of(workspace)), workspace.studies / "table2_ablation.json"):
        content = json.loads(path.read_text())
        *place, name = draw.choice(list(leaves(content)))
        inner = content
        for step in place:
            inner = inner[step]
        inner[name] = draw.choice(HOSTILE)
        path.write_text(json.dumps(content))
    page = write_report(workspace, tmp_path / "r.html").read_text()
    assert "<script>alert(1)" not in page
    assert "\x1b" not in page
