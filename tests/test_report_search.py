"""What the report says of searches, early stopping and cost, from planted records whose answers are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from test_analysis import Page, failure, figures_in, record, settings, trial

from analysis import costs, search, unfinished
from analysis.evidence import Evidence, load_evidence
from analysis.importance import FEWEST, importances
from analysis.report import render
from asc_sweeps.config import ModelConfig, PretrainConfig, TrialConfig
from asc_sweeps.results import Complexity, Score, save_failure, save_result, save_study
from asc_sweeps.workspace import Workspace

PARAMETERS = [
    {"name": "model.width", "when": None, "low": 8, "high": 80, "log": False},
    {"name": "pretrain.learning_rate", "when": None, "low": 1e-3, "high": 1e-1, "log": True},
]
WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64, 72, 80)


def planted(generated=False):
    """A search of ten finished points, whose log loss falls with the width but for one, and two that were refused."""
    results, points = [], []
    for number, width in enumerate(WIDTHS):
        rate = 10 ** (-3 + 2 * ((number * 7) % 10) / 9)
        pretrain = PretrainConfig(epochs=9, warmup_epochs=0, learning_rate=rate)
        config = TrialConfig(model=ModelConfig(width=width), pretrain=pretrain)
        loss = 3.0 if width == 40 else 2.0 - width / 100
        history = [{"phase": "pretrain", "epoch": n, "validation_log_loss": loss + (9 - n) / 10} for n in range(1, 10)]
        result = trial(config, generated=generated, history=history)
        scores = [*result.scores, Score("validation", "overall", "micro", 100, loss, 0.5)]
        result = dataclasses.replace(result, scores=scores, complexity=Complexity(width, width * 1_000_000, 4 * width))
        results.append(result)
        params = {"model.width": width, "pretrain.learning_rate": rate}
        point = {"number": number, "state": "done", "signature": result.signature, "values": [loss], "reason": ""}
        points.append({**point, "params": params})
    for number in (10, 11):
        why = "macs 99,000,000 over 30,000,000"
        point = {"number": number, "state": "refused", "signature": None, "values": None, "reason": why}
        points.append({**point, "params": {"model.width": 80, "pretrain.learning_rate": 0.1}})
    asked = {"sampler": "tpe", "seed": 0, "objectives": ["validation_log_loss"], "limits": {"macs": 30_000_000}}
    asked |= {"trials": 12, "parameters": PARAMETERS, "points": points}
    rows = [{"signature": r.signature, "state": "done", "epochs": 9, "needs": {}} for r in results]
    study = dataclasses.replace(
        record(study="mine", trials=rows), search=asked, scheduler={"grace_epochs": 1, "reduction": 3}
    )
    return Evidence(results, [], [study])


@pytest.fixture(scope="module")
def page():
    return Page(render(planted()))


def test_the_front_is_what_no_other_beats_in_both():
    points = pd.DataFrame(
        {"macs": [3, 1, 2, 2, 1], "validation_log_loss": [1.0, 3.0, 2.0, 1.5, 3.0], "number": range(5)}
    )
    assert search.pareto_front(points)["number"].tolist() == [1, 3, 0]


def test_the_front_of_a_search_leaves_out_what_is_beaten():
    (found,) = search.searches(planted())
    assert found.front["model.width"].tolist() == [8, 16, 24, 32, 48, 56, 64, 72, 80]  # not 40


def test_tables_show_the_best_and_what_was_refused_and_why(page):
    assert page.tables["search-0-best"][1][1:4] == ["1.200", "80,000,000", "80"]
    assert [row[:2] for row in page.tables["search-0-refused"][1:]] == [
        ["10", "macs 99,000,000 over 30,000,000"],
        ["11", "macs 99,000,000 over 30,000,000"],
    ]
    assert len(page.tables["search-0-points"]) == 13
    asked = dict(page.tables["search-0-asked"])
    assert asked["Points"] == "12 asked for; 10 done and 2 refused"
    assert asked["pretrain.learning_rate"] == "0.001 to 0.1, logarithmic"


def test_importance_names_its_evaluator_and_has_an_interval(page):
    rows = {row[0]: row[1:] for row in page.tables["search-0-importance"][1:]}
    assert set(rows) == {"model.width", "pretrain.learning_rate"}
    assert sum(float(row[0]) for row in rows.values()) == pytest.approx(1, abs=0.011)
    assert "PED-ANOVA" in page.text


def test_the_setting_that_decides_is_the_important_one_and_its_interval_holds_it():
    generator = np.random.default_rng(1)
    points = [
        {
            "model.width": int(generator.integers(8, 81)),
            "pretrain.learning_rate": float(10 ** generator.uniform(-3, -1)),
        }
        for _ in range(80)
    ]
    found = importances(PARAMETERS, points, [p["model.width"] + generator.normal(0, 3) for p in points])
    assert found["name"].tolist() == ["model.width", "pretrain.learning_rate"]
    assert found["importance"][0] > 0.8
    assert (found["low"] <= found["importance"]).all()
    assert (found["high"] >= found["importance"]).all()
    assert importances(PARAMETERS, points[: FEWEST - 1], [1.0] * (FEWEST - 1)).empty


@pytest.mark.parametrize("generated", [False, True])
def test_the_papers_point_stands_beside_real_data_only(generated):
    (found,) = search.searches(planted(generated))
    names = [trace.name for trace in search.figures.pareto(found, "x").figure.data]
    assert ("paper, test split" in names) == (not generated)
    assert found.generated == generated


def test_ranks_at_the_rungs_are_spearmans():
    evidence = planted()
    losses = [3.0, 1.0, 2.0, 4.0]
    at_3 = [2.0, 1.5, 2.5, 4.5]
    results = []
    for position, (end, early) in enumerate(zip(losses, at_3, strict=True)):
        history = [
            {"phase": "pretrain", "epoch": n, "validation_log_loss": early if n <= 3 else end} for n in range(1, 10)
        ]
        results.append(trial(settings(seed=position), history=history))
    rows = [{"signature": r.signature, "state": "done"} for r in results]
    study = dataclasses.replace(evidence.studies[0], trials=rows)
    stops = search.early_stops(study, Evidence(results, [], [study])).set_index("rung")
    assert stops.index.tolist() == [1, 3]
    assert stops.loc[3, "correlation"] == pytest.approx(stats.spearmanr(at_3, losses).statistic)
    assert stops.loc[3, ["reached", "stopped", "best_rank"]].tolist() == [4, 0, 1]


def test_a_workspace_without_a_search_says_so():
    assert "No search was run" in Page(render(Evidence([trial(settings())], [], []))).text


def test_hostile_names_in_searches_and_sittings_are_inert_text():
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    evidence = planted()
    (study,) = evidence.studies
    parameters = [
        {**PARAMETERS[0], "name": hostile, "when": hostile},
        {"name": "b", "when": None, "choices": [hostile, "x"]},
    ]
    points = [
        {
            **point,
            "reason": hostile,
            "params": {hostile: point["params"]["model.width"], "b": (hostile, "x")[point["number"] % 2]},
        }
        for point in study.search["points"]
    ]
    asked = {**study.search, "sampler": hostile, "limits": {hostile: 1}, "parameters": parameters, "points": points}
    worked = [{"worker": hostile, "began_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:01:00+00:00"}]
    results = [dataclasses.replace(r, sittings=worked, system=hostile) for r in evidence.results]
    study = dataclasses.replace(study, study=hostile, command=hostile, search=asked)
    html = render(Evidence(results, [], [study]))
    page = Page(html)
    assert "img" not in page.elements
    assert "<script>alert" not in html
    figures = figures_in(html)
    assert len(figures) > 6
    assert not any("<img" in json.dumps(figure) for figure in figures.values())  # plotly reads HTML in its labels


# -- cost


def sitting(worker, began, ended):
    return {"worker": worker, "began_at": f"2026-01-01T{began}+00:00", "ended_at": f"2026-01-01T{ended}+00:00"}


@pytest.fixture
def workspace(tmp_path):
    """A start, a fine-tuning from it, one that was stopped, one that failed, one that nobody trains now, one planned."""
    workspace = Workspace(tmp_path)
    start, tuned = settings(epochs=30), settings(epochs=30, drop=0.9)
    first = dataclasses.replace(trial(start), sittings=[sitting("a:1", "00:00:00", "00:10:00")], seconds=600.0)
    second = dataclasses.replace(trial(tuned), sittings=[sitting("a:1", "00:10:00", "00:12:00")], seconds=120.0)
    save_result(workspace, first)
    save_result(workspace, second)
    rows = []
    for result, epochs in ((first, 30), (second, 55)):
        row = {"signature": result.signature, "system": "x", "phase": "p", "seed": 0, "state": "done", "epochs": epochs}
        rows.append({**row, "needs": {result.start: 30} if result.start else {}})
    for name, state in (
        ("stopped00000", "stopped"),
        ("failed000000", "failed"),
        ("begun0000000", "planned"),
        ("planned00000", "planned"),
    ):
        rows.append(
            {"signature": name, "system": "x", "phase": "p", "seed": 0, "state": state, "epochs": 30, "needs": {}}
        )
        if name != "planned00000":
            pointer = {"file": "", "sha256": "", "epochs_done": 5, "epochs_total": 30, "validation_log_loss": 2.5}
            worked = [sitting("b:2", "00:00:00", "00:01:00")]
            workspace.files.write_json(
                workspace.trial(name) / "checkpoint.json", {**pointer, "seconds_per_epoch": 12.0, "sittings": worked}
            )
    failed = dataclasses.replace(failure("x"), signature="failed000000")
    save_failure(workspace, failed)
    save_study(workspace, record(trials=rows))
    return workspace


def test_hours_are_told_by_how_trials_ended(workspace):
    states = costs.hours_by_state(load_evidence(workspace))
    assert states.loc["finished", ["trials", "seconds"]].tolist() == [2, 720.0]
    for state in ("stopped early", "failed", "unfinished"):
        assert states.loc[state].tolist() == [1, 5, 60.0]


def test_reuse_is_each_trial_with_its_own_start_against_every_training_once(workspace):
    evidence = load_evidence(workspace)
    table, total = costs.reuse(evidence.studies, {r.signature: r.seconds for r in evidence.results})
    assert table.loc["table2_ablation", "alone_epochs"] == 30 + (55 + 30) + 4 * 30
    assert total["shared_epochs"] == 30 + 55 + 4 * 30
    assert total[["alone_seconds", "shared_seconds"]].tolist() == [600 + 720, 720]


def test_the_timeline_has_a_bar_for_every_stretch_of_work(workspace):
    frame = costs.sittings_frame(load_evidence(workspace))
    assert frame["worker"].tolist() == ["a:1", "a:1", "b:2", "b:2", "b:2"]
    assert set(frame["state"]) == {"finished", "stopped early", "failed", "unfinished"}
    page = Page(render(load_evidence(workspace)))
    rows = {row[0]: row[1:4] for row in page.tables["cost-workers"][1:]}
    assert rows["a:1"] == ["2", "12.0 min", "100.0"]


def test_what_is_under_way_is_listed_and_what_is_planned_is_counted(workspace):
    table, planned = unfinished.section(load_evidence(workspace)).blocks
    assert [group[0][0].codes[0] for group in table.groups] == ["begun0000000", "stopped00000"]
    assert [group[0][5].text for group in table.groups] == ["5 of 30", "5 of 30"]
    assert planned.text == "1 trial of the studies is planned and not begun."


def test_several_workspaces_are_read_as_one(workspace, tmp_path):
    other = Workspace(tmp_path / "other")
    save_result(other, trial(settings(seed=5)))
    save_result(other, trial(settings(epochs=30), accuracy=0.9))  # the first workspace has it, too
    evidence = load_evidence(workspace, other)
    assert len(evidence.results) == 3
    assert evidence.by_signature[trial(settings(epochs=30)).signature].micro("test").accuracy == 0.6
    assert sorted(evidence.frame["seed"]) == [0, 0, 5]


def test_a_trial_that_failed_here_and_ended_there_has_not_failed(workspace, tmp_path):
    other = Workspace(tmp_path / "other")
    save_result(other, dataclasses.replace(trial(settings(seed=5)), signature="failed000000"))
    evidence = load_evidence(workspace, other)
    assert not evidence.failures
    assert "failed000000" not in {t.signature for t in evidence.unfinished}
