"""What the report says of searches, early stopping and cost, from planted records whose answers are known."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from planted import Page, failure, figures_in, record, settings, trial

from analysis.evidence.loading import Evidence, load_evidence
from analysis.report import render
from analysis.studies import costs, search_figures, search_result, searches, trial_lists
from asc_sweeps.config.setting_groups import ModelConfig, PretrainConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.sweep.searches.importance import MIN_TRIALS, importances
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_failure, save_result, save_study
from asc_sweeps.workspace.records import Complexity, Score

PARAMETERS = [
    {"name": "model.width", "when": None, "low": 8, "high": 80, "log": False},
    {"name": "pretrain.learning_rate", "when": None, "low": 1e-3, "high": 1e-1, "log": True},
]
WIDTHS = (8, 16, 24, 32, 40, 48, 56, 64, 72, 80)


def planted(generated=False, trials=10):
    """A search of finished points, whose log loss falls with the width but for one width, and two that were refused."""
    results, points = [], []
    for number in range(trials):
        width, rate = WIDTHS[number % 10], 10 ** (-3 + 2 * ((number * 7) % trials) / (trials - 1))
        pretrain = PretrainConfig(epochs=9, warmup_epochs=0, learning_rate=rate)
        config = TrialConfig(model=ModelConfig(width=width), pretrain=pretrain)
        loss = 3.0 if width == 40 else 2.0 - width / 100
        history = [{"phase": "pretrain", "epoch": n, "validation_log_loss": loss + (9 - n) / 10} for n in range(1, 10)]
        result = scored(trial(config, generated=generated, history=history), loss)
        result = dataclasses.replace(result, complexity=Complexity(width, width * 1_000_000, 4 * width))
        results.append(result)
        params = {"model.width": width, "pretrain.learning_rate": rate}
        point = {"number": number, "state": "done", "signature": result.signature, "values": [loss], "reason": ""}
        points.append({**point, "params": params})
    for number in (trials, trials + 1):
        why = "macs 99,000,000 over 30,000,000"
        point = {"number": number, "state": "refused", "signature": None, "values": None, "reason": why}
        points.append({**point, "params": {"model.width": 80, "pretrain.learning_rate": 0.1}})
    search = {"sampler": "tpe", "seed": 0, "objectives": ["validation_log_loss"], "limits": {"macs": 30_000_000}}
    search |= {"trials": trials + 2, "parameters": PARAMETERS, "points": points}
    rows = [{"signature": r.signature, "state": "done", "epochs": 9, "needs": {}} for r in results]
    study = dataclasses.replace(
        record(study="mine", trials=rows), search=search, scheduler={"grace_epochs": 1, "reduction": 3}
    )
    return Evidence(results, [], [study])


def scored(result, loss):
    """The trial with a validation score."""
    return dataclasses.replace(
        result, scores=[*result.scores, Score("validation", "overall", "micro", 100, loss, loss / 10)]
    )


def with_fresh_seeds(evidence, losses):
    """And trials of the same settings as the search's, by the point's number the log losses of seeds 1, 2, ..."""
    fresh = [
        scored(trial(TrialConfig.model_validate({**evidence.results[number].settings, "seed": seed})), loss)
        for number, new in losses.items()
        for seed, loss in enumerate(new, start=1)
    ]
    return Evidence([*evidence.results, *fresh], [], evidence.studies)


@pytest.fixture(scope="module")
def page():
    return Page(render(planted()))


def test_the_front_is_what_no_other_beats_in_both():
    points = pd.DataFrame(
        {"macs": [3, 1, 2, 2, 1], "validation_log_loss": [1.0, 3.0, 2.0, 1.5, 3.0], "number": range(5)}
    )
    assert search_result.pareto_front(points)["number"].tolist() == [1, 3, 0]


def test_the_front_of_a_search_leaves_out_what_is_beaten():
    (result,) = search_result.search_results(planted())
    assert result.front["model.width"].tolist() == [8, 16, 24, 32, 48, 56, 64, 72, 80]  # not 40


def test_tables_show_the_best_and_what_was_refused_and_why(page):
    assert page.tables["search-0-best"][1][1:5] == ["1.200", "not tested", "80,000,000", "80"]
    assert [row[:2] for row in page.tables["search-0-refused"][1:]] == [
        ["10", "macs 99,000,000 over 30,000,000"],
        ["11", "macs 99,000,000 over 30,000,000"],
    ]
    assert len(page.tables["search-0-points"]) == 13
    configuration = dict(page.tables["search-0-asked"])
    assert configuration["Points"] == "12 requested; 10 done and 2 rejected"
    assert configuration["pretrain.learning_rate"] == "0.001 to 0.1, log scale"


def test_the_best_score_never_stands_without_what_confirmation_left_of_it():
    other = scored(trial(TrialConfig(seed=1, model=ModelConfig(width=80))), 9.0)  # of other settings: confirms nothing
    evidence = with_fresh_seeds(planted(), {9: [1.3, 1.5], 8: [1.4]})
    html = render(Evidence([*evidence.results, other], [], evidence.studies))
    rows = Page(html).tables["search-0-best"]
    assert rows[0][1:3] == ["Validation log loss", "With new seeds"]
    shown = [row[1:3] for row in rows[1:4]]
    assert shown == [["1.200", "1.400 (2 new seeds)"], ["1.280", "1.400 (1 new seed)"], ["1.360", "not tested"]]
    (result,) = search_result.search_results(evidence)
    front, history = search_figures.pareto_plot(result, "x"), search_figures.history_plot(result, "x")
    (crosses,) = [trace for trace in front.figure.data if trace.name == "Pareto front, new seeds"]
    assert (list(crosses.x), list(crosses.y)) == ([72_000_000, 80_000_000], [1.4, 1.4])
    for words in (front.label, history.label, history.caption):
        assert "1.2000, optimistic as the best of many; with new seeds: 1.400 (2 new seeds)" in words


def test_what_chose_the_best_is_confirmed_whichever_score_it_was():
    evidence = with_fresh_seeds(planted(), {0: [1.0]})
    (study,) = evidence.studies
    points = [{**p, "values": p["values"] and [p["values"][0] / 10]} for p in study.search["points"]]
    search = {**study.search, "objectives": ["validation_accuracy"], "points": points}
    evidence = Evidence(evidence.results, [], [dataclasses.replace(study, search=search)])
    row = Page(render(evidence)).tables["search-0-best"][2]  # width 40 is the first
    assert row[1:5] == ["0.192", "0.100 (1 new seed)", "1.920", "1.000 (1 new seed)"]


def test_a_trial_that_the_search_drew_or_that_has_its_seed_confirms_nothing():
    evidence = planted()
    (study,) = evidence.studies
    first = evidence.results[0]
    same_seed = dataclasses.replace(first, signature="of another recipe")
    other_seed = scored(trial(TrialConfig.model_validate({**first.settings, "seed": 1})), 1.0)
    drawn = {**study.search["points"][0], "number": 12, "signature": other_seed.signature}
    drew_it = dataclasses.replace(study, search={**study.search, "points": [*study.search["points"], drawn]})
    for other, study_record in ((same_seed, study), (other_seed, drew_it)):
        (result,) = search_result.search_results(Evidence([*evidence.results, other], [], [study_record]))
        assert result.new_seeds.empty


@pytest.mark.parametrize("draws", [1, 5, 20, 60, 500])
def test_the_best_of_equal_trials_exceeds_the_truth_by_the_stated_optimism(draws):
    scores = np.random.default_rng(0).normal(1.2, 0.018, (4_000, draws))
    assert 1.2 - scores.min(axis=1).mean() == pytest.approx(
        0.018 * searches.expected_maximum(draws), rel=0.02, abs=1e-3
    )
    if draws == 60:
        assert 0.018 * searches.expected_maximum(draws) == pytest.approx(
            0.042, abs=5e-4
        )  # what the note's example says


def test_how_much_too_good_is_said_by_the_fresh_seeds_own_spread_or_said_to_be_unknown(page):
    losses = {9: [1.3, 1.5], 8: [1.4], 0: [2.0, 2.1, 2.2]}
    (result,) = search_result.search_results(with_fresh_seeds(planted(), losses))
    pooled = ((0.1**2 + 0.1**2 + 0.1**2 + 0 + 0.1**2) / 3) ** 0.5
    assert result.seed_deviation("validation_log_loss") == pytest.approx(pooled)
    said = Page(render(result.evidence)).text
    assert f"{pooled:.3f} in validation log loss, so the best of 10 equally good trials" in said
    assert f"would appear {pooled * searches.expected_maximum(10):.3f} better than it is" in said
    assert "How optimistic is unknown" not in said
    assert "How optimistic is unknown" in page.text
    assert "The best of 10 trials, one seed each" in page.text


def test_importance_is_silent_below_fifty_trials_and_says_why():
    few, enough = (Page(render(planted(trials=trials))) for trials in (49, 50))
    assert MIN_TRIALS == 50
    assert "search-0-importance" not in few.tables
    assert "only 49 trials finished. It takes 50, so that the best tenth contains five" in few.text
    head, *rows = enough.tables["search-0-importance"]
    assert head == ["Setting", "Importance"]  # and no interval
    assert {name for name, _ in rows} == {"model.width", "pretrain.learning_rate"}
    assert sum(float(share) for _, share in rows) == pytest.approx(1, abs=0.011)
    assert "PED-ANOVA" in enough.text
    assert "There is no interval, and it is for one seed of the search" in enough.text


def test_the_setting_that_decides_is_the_important_one():
    generator = np.random.default_rng(1)
    points = [
        {
            "model.width": int(generator.integers(8, 81)),
            "pretrain.learning_rate": float(10 ** generator.uniform(-3, -1)),
        }
        for _ in range(80)
    ]
    values = [p["model.width"] + generator.normal(0, 3) for p in points]
    for maximize in (False, True):
        result = importances(PARAMETERS, points, values, maximize)
        assert result["name"].tolist() == ["model.width", "pretrain.learning_rate"]
        assert result["importance"][0] > 0.8
    assert importances(PARAMETERS, points[: MIN_TRIALS - 1], values[: MIN_TRIALS - 1]).empty


@pytest.mark.parametrize("generated", [False, True])
def test_the_papers_point_stands_beside_real_data_only(generated):
    (result,) = search_result.search_results(planted(generated))
    names = [trace.name for trace in search_figures.pareto_plot(result, "x").figure.data]
    assert ("paper, test split" in names) == (not generated)
    assert result.generated == generated


def test_rungs_count_who_came_there_and_who_was_stopped_and_rank_nobody(tmp_path):
    workspace = Workspace(tmp_path)
    ended = [trial(settings(seed=n), history=[{"phase": "pretrain", "epoch": e} for e in range(9)]) for n in range(2)]
    for result in ended:
        save_result(workspace, result)
    rows = [{"signature": r.signature, "system": "x", "phase": "p", "seed": 0, "state": "done"} for r in ended]
    for name, epochs in (("at1", 1), ("at3", 3), ("also3", 3)):
        rows.append({"signature": name, "system": "x", "phase": "p", "seed": 0, "state": "stopped"})
        pointer = {"epochs_done": epochs, "epochs_total": 9, "validation_log_loss": 2.5}
        workspace.storage.write_json(workspace.trial(name) / "checkpoint.json", pointer)
    study = dataclasses.replace(planted().studies[0], trials=rows)
    save_study(workspace, study)
    evidence = load_evidence(workspace)
    stops = searches.early_stops(study, evidence)
    assert stops.to_dict("list") == {"rung": [1, 3], "reached": [5, 4], "stopped": [1, 2]}
    page = Page(render(evidence))
    assert page.tables["stops-0-rungs"] == [
        ["Rung (epoch)", "Trials that reached it", "Trials stopped there"],
        ["1", "5", "1"],
        ["3", "4", "2"],
    ]
    assert "Only trials that were not stopped have a final score" in page.text
    assert "Spearman" not in page.text


def test_a_workspace_without_a_search_says_so():
    assert "No search was run" in Page(render(Evidence([trial(settings())], [], []))).text


def test_hostile_names_in_searches_and_sittings_are_inert_text():
    hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>"
    evidence = with_fresh_seeds(planted(trials=50), {9: [1.3]})
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
    search = {**study.search, "sampler": hostile, "limits": {hostile: 1}, "parameters": parameters, "points": points}
    worked = [{"worker": hostile, "began_at": "2026-01-01T00:00:00+00:00", "ended_at": "2026-01-01T00:01:00+00:00"}]
    results = [dataclasses.replace(r, work_intervals=worked, system=hostile) for r in evidence.results]
    study = dataclasses.replace(study, study=hostile, command=hostile, search=search)
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
    first = dataclasses.replace(trial(start), work_intervals=[sitting("a:1", "00:00:00", "00:10:00")], seconds=600.0)
    second = dataclasses.replace(trial(tuned), work_intervals=[sitting("a:1", "00:10:00", "00:12:00")], seconds=120.0)
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
            workspace.storage.write_json(
                workspace.trial(name) / "checkpoint.json", {**pointer, "seconds_per_epoch": 12.0, "sittings": worked}
            )
    failed = dataclasses.replace(failure("x"), signature="failed000000")
    save_failure(workspace, failed)
    save_study(workspace, record(trials=rows))
    return workspace


def test_hours_are_told_by_how_trials_ended(workspace):
    states = costs.time_by_outcome(load_evidence(workspace))
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
    frame = costs.work_intervals(load_evidence(workspace))
    assert frame["worker"].tolist() == ["a:1", "a:1", "b:2", "b:2", "b:2"]
    assert set(frame["state"]) == {"finished", "stopped early", "failed", "unfinished"}
    page = Page(render(load_evidence(workspace)))
    rows = {row[0]: row[1:4] for row in page.tables["cost-workers"][1:]}
    assert rows["a:1"] == ["2", "12.0 min", "100.0"]


def test_what_is_under_way_is_listed_and_what_is_planned_is_counted(workspace):
    table, planned = trial_lists.unfinished(load_evidence(workspace)).blocks
    assert [group[0][0].codes[0] for group in table.groups] == ["begun0000000", "stopped00000"]
    assert [group[0][5].text for group in table.groups] == ["5 of 30", "5 of 30"]
    assert planned.text == "1 trial planned and not started."


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
