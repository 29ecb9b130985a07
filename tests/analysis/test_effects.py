"""The table of effects that opens the report, what a workspace can resolve, and how many seeds an effect needs."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from planted import Page, page, settings, trial

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS
from analysis.paper.comparisons import place_error
from analysis.paper.effects import effects, printed_effects
from analysis.paper.precision import precision
from analysis.paper.verdicts import effect_verdict
from analysis.published import TABLE2
from analysis.report import SECTIONS, render
from analysis.statistics import Difference, power_of
from analysis.studies.power import TargetEffect, measured_spreads, power_table
from asc_sweeps.cli import cli
from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result
from tests.simulated import predicted


def seeds_of(row, mean, seeds, **more):
    """Trials of a row of Table 2 whose log loss scatters a little about a mean."""
    losses = mean + np.random.default_rng(len(row.system)).normal(0, 0.01, 30)
    return [trial(settings(row, seed=s), log_loss=float(losses[s]), **more) for s in seeds]


def rows_of(results):
    """The lines of the effects' table by effect, for log loss: paper, measured, verdict; then seeds and places."""
    shown = Page(render(Evidence(results, [], [])))
    found = {}
    for row in shown.tables["effects-list"][2:]:
        name = next(i for i, cell in enumerate(row) if " minus " in cell)
        found[row[name]] = row[name + 1 :]
    return found, shown.text


def difference(mean, deviation=0.01, seeds=5):
    """Of seeds with exactly this mean and standard deviation."""
    spread = np.linspace(-1, 1, seeds)
    values = mean + deviation * spread / spread.std(ddof=1)
    error = deviation / math.sqrt(seeds)
    return Difference(tuple(values), deviation**2, seeds - 1.0, math.nan, 0, error, seeds - 1.0)


# -- the paper's effects


def test_the_papers_effects_are_differences_of_its_printed_rows():
    printed = {
        (effect.key, measure.column): table.printed(effect, measure)
        for table in printed_effects()
        for effect in table.effects
        for measure in table.measured.paper.measures
    }
    assert printed["finetuning-0", "log_loss"] == pytest.approx(-0.084)
    assert printed["drop-0.9", "log_loss"] == pytest.approx(-0.007)
    assert printed["drop-0.9", "accuracy_unseen"] == pytest.approx(0.015, abs=2e-4)
    assert printed["res2net", "log_loss"] == pytest.approx(-0.092)
    assert printed["mfa", "accuracy"] == pytest.approx(0.002)
    assert printed["10s-mfa-fpm", "log_loss"] == pytest.approx(0.025)
    assert printed["int8", "log_loss"] == pytest.approx(0.026)
    assert printed["int8-lambda-0.4", "accuracy"] == 0
    assert math.isnan(
        printed["int8-lambda-0.04", "log_loss"]
    )  # whose network in floating point the paper does not print
    assert printed["distilled", "log_loss"] == pytest.approx(-0.23)


def test_effects_open_the_report_and_their_primary_outcomes_stand_above_the_table():
    evidence = Evidence(seeds_of(TABLE2[0], 1.3, range(4)) + seeds_of(TABLE2[1], 1.2, range(4)), [], [])
    assert SECTIONS[0](evidence).id == "effects"
    above, table = SECTIONS[0](evidence).blocks
    assert "log loss and mean accuracy" in above.text
    assert "Holm's correction is over all 2 tests" in above.text  # accuracies are equal: p = 1
    assert table.id == "effects-list"


# -- verdicts


@pytest.mark.parametrize(
    ("mean", "printed", "verdict"),
    [
        (-0.09, -0.1, "= same direction and size"),
        (-0.3, -0.1, "= same direction"),
        (0.1, -0.1, "≠ opposite"),
        (0.002, -0.1, "? cannot tell"),
        (-0.1, math.nan, "▲ better"),
        (0.1, math.nan, "▼ worse"),
        (0.1, 0.0, "▼ worse"),
    ],
)
def test_an_effect_is_said_to_be_the_papers_its_direction_the_opposite_or_unknown(mean, printed, verdict):
    found = difference(mean)
    said = effect_verdict(LOG_LOSS, found, printed, found.p, *found.beside(printed))
    assert said == verdict


def test_an_effect_that_a_run_of_the_paper_could_hide_is_not_called_opposite():
    found = difference(0.03, deviation=0.02, seeds=10)
    assert found.p < 0.05
    assert effect_verdict(LOG_LOSS, found, -0.005, found.p, *found.beside(-0.005)).startswith("? cannot tell")


def test_more_accuracy_is_better_and_more_log_loss_worse():
    found = difference(0.1)
    assert effect_verdict(ACCURACY, found, math.nan, found.p, math.nan, math.nan) == "▲ better"


# -- seeds side by side


def test_one_seed_compares_networks_and_two_show_their_values_without_verdict_or_interval():
    one, text = rows_of(seeds_of(TABLE2[0], 1.3, [0]) + seeds_of(TABLE2[1], 1.2, [0]))
    assert one["BC-Res2Net minus BC-ResNet"][::2][:2] == ["−0.092", "? one seed"]
    assert float(one["BC-Res2Net minus BC-ResNet"][1].replace("−", "-")) == pytest.approx(-0.1, abs=0.03)
    assert "one seed compares two networks, not two systems" in text
    assert "to" not in one["BC-Res2Net minus BC-ResNet"][1]
    two, _ = rows_of(seeds_of(TABLE2[0], 1.3, [0, 1]) + seeds_of(TABLE2[1], 1.2, [0, 1]))
    measured, verdict = two["BC-Res2Net minus BC-ResNet"][1:3]
    assert verdict == "? two seeds"
    assert measured.count("−") == 3  # the mean and both values
    assert "±" not in measured


def test_rows_are_compared_on_the_seeds_that_they_share_and_say_which():
    found, text = rows_of(seeds_of(TABLE2[0], 1.3, range(6)) + seeds_of(TABLE2[1], 1.2, range(2, 9)))
    assert found["BC-Res2Net minus BC-ResNet"][-2:] == ["42, 3, 4, 5", "—"]
    assert "Rows have different seeds, listed in the column Seeds" in text
    apart = effects(Evidence(seeds_of(TABLE2[0], 1.3, range(3)) + seeds_of(TABLE2[1], 1.2, range(3, 6)), [], []))
    assert set(apart["verdict"]) == {"? no seed in common"}
    assert rows_of(seeds_of(TABLE2[0], 1.3, [0]) + seeds_of(TABLE2[1], 1.2, [1]))[0]["BC-Res2Net minus BC-ResNet"][
        1:3
    ] == [
        "—",
        "? no seed in common",
    ]


def test_equal_scores_of_all_seeds_give_no_verdict():
    frame = effects(
        Evidence(
            [trial(settings(r, seed=s), log_loss=1.3 - i / 10) for i, r in enumerate(TABLE2[:2]) for s in range(5)],
            [],
            [],
        )
    )
    assert frame.set_index("measure").loc["log_loss", "verdict"] == "? seeds do not differ"
    assert math.isnan(frame.set_index("measure").loc["log_loss", "p"])
    assert frame.set_index("measure").loc["accuracy", "p"] == 1


def test_generated_rows_in_a_table_of_real_ones_say_so_and_are_not_compared():
    real = seeds_of(TABLE2[0], 1.3, range(4)) + seeds_of(TABLE2[1], 1.2, range(4))
    generated = [
        trial(small(drop, s), log_loss=1.0 + s / 100, generated=True) for drop in (None, 0.5) for s in range(4)
    ]
    frame = effects(Evidence(real + generated, [], []))
    assert set(frame.loc[frame["generated"], "verdict"]) == {""}
    assert frame.loc[frame["generated"], "p_holm"].isna().all()
    found, _ = rows_of(real + generated)
    line = next(cells for name, cells in found.items() if name.startswith("fine-tuned, drop rate 0.50"))
    assert line[0] == line[2] == "—"
    assert any("generated data" in name for name in found)


def small(drop, seed):
    """Settings of a small network, fine-tuned or not."""
    return settings(seed=seed, drop=drop).model_copy(update={"model": ModelConfig(width=8)})


def test_a_device_without_a_score_leaves_a_dash_and_no_verdict():
    results = [trial(settings(seed=s, drop=0.5), log_loss=1.1 + s / 50, accuracy=0.6 + s / 100) for s in range(4)]
    lacking = trial(settings(seed=4, drop=0.5), log_loss=1.2, devices=("a", "b"))
    shown = page([*results, lacking]).tables["table-4-scores"]
    position = next(i for i, row in enumerate(shown) if row[0] == "0.50")
    assert not [cell for row in shown for cell in row if "nan" in cell]
    assert shown[position + 2][-4] == "—"  # the mean over unseen devices


# -- what can be resolved


def test_the_lines_of_a_small_run_name_errors_over_places_and_what_is_not_resolved():
    single = precision(predicted(np.random.default_rng(0), 1))
    assert single[0].startswith("test split: 146 places; standard error over places of one network's score: 0.")
    assert "differences of two networks, one seed each," in single[1]
    assert single[2].startswith("nothing is resolved about systems: that takes 3 seeds")
    several = precision(predicted(np.random.default_rng(0), 3))
    assert len(several) == 2
    assert "differences of two rows below" in several[1]
    assert precision(Evidence([trial(settings())], [], [])) == []


def test_a_standard_error_over_places_is_what_it_says():
    evidence = predicted(np.random.default_rng(0), 1, places=60)
    p = next(iter(evidence._predictions.values()))
    by_place = [p.correct[p.place_numbers == i].mean() for i in range(60)]  # places are equally large
    error = 100 * np.std(by_place, ddof=1) / math.sqrt(60)
    assert 100 * place_error(p, ACCURACY) == pytest.approx(error)


# -- power


def power(*arguments):
    """The command's exit code and output."""
    found = CliRunner().invoke(cli, ["power", *arguments])
    return found.exit_code, found.output


def test_power_gives_the_published_table_of_seeds():
    code, text = power("--published", "--json")
    assert code == 0
    found = {(r["effect"], r["measure"], r["correlation"]): r["seeds"] for r in json.loads(text)}
    assert [found["drop-0.9", "log_loss", r] for r in (0.8, 0.5, 0.0)] == [23, 54, 106]
    assert [found["drop-0.9", "accuracy_unseen", r] for r in (0.8, 0.5, 0.0)] == [4, 6, 10]
    assert [found["mfa", "accuracy", r] for r in (0.8, 0.5, 0.0)] == [53, 128, 254]
    assert found["finetuning-0", "log_loss", 0.8] == 3
    assert found["res2net", "log_loss", 0.0] == 3
    code, text = power("--published", "--effect", "0.009")
    assert text.splitlines()[2].split() == ["--effect", "log_loss", "+0.009", "0.018", "15", "34", "65"]


def test_power_of_more_tests_asks_for_more_seeds():
    one, many = (
        int(power("--published", "drop-0.9", "--measure", "log_loss", "--tests", n)[1].split("\n")[2].split()[4])
        for n in "19"
    )
    assert one == 23 < many


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["drop-0.91"], "unknown effect 'drop-0.91'; did you mean 'drop-0.9"),
        (["--effect", "0"], "must be a finite number other than 0"),
        (["--effect", "nan"], "must be a finite number other than 0"),
        (["--places", "90"], "--places needs a workspace whose trials have stored test predictions"),
        (["mfa", "--effect", "0.1"], "not both"),
        (["mfa", "--measure", "accuracy_unseen"], "the paper has no accuracy_unseen for mfa"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_with_the_way_out(arguments, words):
    code, text = power("--published", *arguments)
    assert code == 2
    assert words in text


def test_power_takes_the_spread_and_the_places_of_the_workspaces_trials(tmp_path):
    workspace = Workspace(tmp_path / "w")
    generator = np.random.default_rng(0)
    for s in range(8):
        common = generator.normal(0, 0.04)
        for row in TABLE2[:3]:
            save_result(workspace, trial(settings(row, seed=s), log_loss=1.2 + common + generator.normal(0, 0.02)))
    code, text = power("res2net", "--workspace", str(workspace.root), "--json")
    assert code == 0
    row = json.loads(text)[0]
    assert "Table 2 of this workspace" in row["source"]
    assert 0.02 < row["deviation"] < 0.08
    assert row["correlation"] > 0.4
    assert row["places"] is None  # no predictions are stored
    code, text = power("res2net", "--workspace", str(workspace.root))
    assert "Table 2 of this workspace" in text.splitlines()[0]
    code, text = power("res2net", "--workspace", str(tmp_path / "none"))
    assert code != 0


def test_few_shared_seeds_leave_the_published_spread():
    evidence = Evidence(seeds_of(TABLE2[0], 1.3, range(2)) + seeds_of(TABLE2[1], 1.2, range(2)), [], [])
    assert measured_spreads(evidence) == {}


def test_places_ask_for_more_seeds_and_enough_places_for_any_number_of_them():
    spreads = measured_spreads(predicted(np.random.default_rng(0), 5, places=40))
    table = power_table([TargetEffect("mine", "Table 2", "log_loss", 0.1)], spreads).iloc[0]
    assert table["places"] == 40
    assert pd.isna(table["seeds_with_places"]) or table["seeds_with_places"] >= table["seeds"]
    spread = spreads["Table 2", "log_loss"]
    if not math.isnan(spread.place_deviation):
        assert (
            power_of(0.1, spread.place_deviation / math.sqrt(table["places_needed"]), table["places_needed"] - 1) >= 0.8
        )
    more = power_table([TargetEffect("mine", "Table 2", "log_loss", 0.1)], spreads, places=10_000).iloc[0]
    assert more["seeds_with_places"] <= (table["seeds_with_places"] if pd.notna(table["seeds_with_places"]) else 10**9)
