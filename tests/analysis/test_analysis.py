"""What the report promises: the paper's numbers, the measured ones beside them, and nothing said that is not known."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import statistics
import subprocess
import sys

import plotly.offline
import pytest
from planted import Page, failure, figures_in, hostile, page, record, settings, trial

from analysis.evidence.counts import counts_at_paper_size
from analysis.evidence.frames import curves_frame, trials_frame
from analysis.evidence.loading import Evidence
from analysis.page.style import DARK
from analysis.paper.figure3 import figure3
from analysis.paper.table2 import table2, table2_family
from analysis.paper.table4 import table4, table4_family
from analysis.published import TABLE2, TABLE4
from analysis.report import SECTIONS, render, write_report
from analysis.studies.grids import grid_table
from asc_sweeps.config.packing import unpack
from asc_sweeps.config.setting_groups import ComputeConfig, FeatureConfig, FinetuneConfig, ModelConfig
from asc_sweeps.data.labels import DEVICES
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_failure, save_result, save_study
from asc_sweeps.workspace.records import Score


@pytest.fixture(scope="module")
def empty():
    return page()


# -- the paper


def test_the_papers_averages_are_means_over_its_devices():
    for row in TABLE4:
        assert round(100 * statistics.mean(row.devices.values()), 1) == round(100 * row.accuracy, 1)


def test_the_notes_show_what_the_papers_text_and_tables_say_of_each_other(empty):
    rows = {row[0]: row[1:] for row in empty.tables["notes-arithmetic"]}
    assert rows["Parameters of BC-Res2Net-40 against BC-ResNet-40 (Sec. 5)"] == ["−2.6%", "−2.6%", "= agrees"]
    assert rows["MACs of BC-Res2Net-40 against BC-ResNet-40 (Sec. 5)"] == ["−7.7%", "−7.7%", "= agrees"]
    assert rows["FPM alone, accuracy (Sec. 5, Table 2)"] == ["+0.3%", "+0.4%", "≠ differs"]
    assert rows["Average accuracy is the mean of the nine devices (Table 4, drop rate 0.50)"][1] == "62.48%"
    assert [row[1:] for row in empty.tables["notes-means"][1:]] == [
        ["65.2", "52.0"],
        ["67.0", "52.3"],
        ["67.0", "53.5"],
        ["67.0", "53.8"],
        ["66.9", "54.0"],
    ]


# -- counted sizes


def test_counts_are_compared_with_the_printed_ones_within_the_printed_digits():
    sizes = page(studies=[record()])
    assert sizes.row("table-2-sizes", "BC-Res2Net-40")[0][1:] == [
        *("85.8K", "85,830", "= matches"),
        *("15.89M", "15,890,000", "= matches"),
    ]
    resnet, remark = sizes.row("table-2-sizes", "BC-ResNet-40")
    assert resnet[1:] == ["88.1K", "88,140", "= matches", "17.21M", "16,108,000", "≠ differs by −1.10M"]
    assert "not reproduced by any variant" in remark[0][0]
    mfa, remark = sizes.row("table-2-sizes", "BC-Res2Net-40 w/ MFA")
    assert mfa[1:] == ["123.6K", "93,580", "≠ differs by −30.0K", "17.45M", "17,057,000", "≠ differs by −0.39M"]
    assert "Equals the row printed “w/ FPM” (93.6K / 17.06M)" in remark[0][0]


def test_a_printed_size_is_never_shown_as_counted(empty):
    for row in TABLE2:
        cells, _ = empty.row("table-2-sizes", row.system)
        assert cells[2:4] == ["—", "—"]
        assert cells[5:] == ["—", "—"]
    assert "Not counted yet" in empty.text
    assert "asc-sweeps sweep table2_ablation --mini" in empty.text


def test_only_networks_of_the_papers_size_are_compared():
    small = trial(settings(width=8), generated=True)
    coarse = trial(settings(features=FeatureConfig(n_mels=64)))
    assert counts_at_paper_size([], trials_frame([small, coarse])) == []
    [count] = counts_at_paper_size([], trials_frame([small, coarse, trial(settings())]))
    assert (count["params"], count["macs"]) == (126_590, 26_762_930)


def test_sizes_are_compared_even_where_all_data_are_generated():
    sizes = page([trial(settings(width=8), generated=True)], studies=[record(mini=True)])
    assert sizes.row("table-2-sizes", "BC-Res2Net-40 w/ MFA & FPM")[0][2:4] == ["126,590", "= matches"]


# -- scores


def test_table_2_holds_means_and_intervals_over_seeds():
    scores = [(0.611, 1.17), (0.598, 1.21), (0.607, 1.16)]
    results = [trial(settings(seed=s), accuracy=a, log_loss=n) for s, (a, n) in enumerate(scores)]
    numbers = table2(trials_frame(results), []).loc["BC-Res2Net-40 w/ MFA & FPM"]
    assert numbers["accuracy"] == pytest.approx(statistics.mean(a for a, _ in scores))
    assert numbers["accuracy_sd"] == pytest.approx(statistics.stdev(a for a, _ in scores))
    assert numbers["log_loss"] == pytest.approx(statistics.mean(n for _, n in scores))
    assert numbers["seeds"] == 3
    cells, _ = page(results).row("table-2-scores", "BC-Res2Net-40 w/ MFA & FPM")
    half = 4.302653 * statistics.stdev(n for _, n in scores) / math.sqrt(3)  # Student's t, two degrees of freedom
    assert (numbers["log_loss_low"], numbers["log_loss_high"]) == pytest.approx((1.18 - half, 1.18 + half))
    loss = ["1.167", "1.180± 0.066", "+0.013", "? cannot be shown"]
    accuracy = ["60.8", "60.5± 1.7", "−0.3", "? cannot be shown"]
    shown = page(results)
    cells, _ = shown.row("table-2-scores", "BC-Res2Net-40 w/ MFA & FPM")
    assert cells[1:] == [*loss, *accuracy, "—", "3"]
    least = 2.241403 * statistics.stdev(n for _, n in scores)  # of one-sided tests at a quarter of 5 %
    limit = f"only within a margin of {least:.3f} in log loss (margin 0.030, so it cannot be shown)"
    assert limit in shown.text


def test_one_seed_has_no_interval_and_no_verdict():
    cells, _ = page([trial(settings(), accuracy=0.61)]).row("table-2-scores", "BC-Res2Net-40 w/ MFA & FPM")
    assert cells[5:] == ["60.8", "61.0", "+0.2", "? one seed", "—", "1"]


def test_enough_seeds_say_reproduced_higher_or_lower():
    near = [trial(settings(seed=s), accuracy=0.608 + 0.001 * (s - 2), log_loss=1.3 + 0.001 * s) for s in range(5)]
    worse = [trial(settings(TABLE2[1], seed=s), accuracy=0.5 + 0.001 * s, log_loss=1.235) for s in range(5)]
    numbers = table2(trials_frame([*near, *worse]), [])
    assert numbers.loc["BC-Res2Net-40 w/ MFA & FPM", "accuracy_verdict"] == "= reproduced"
    assert numbers.loc["BC-Res2Net-40 w/ MFA & FPM", "log_loss_verdict"] == "▲ higher"
    assert numbers.loc["BC-Res2Net-40", "accuracy_verdict"] == "▼ lower"
    assert (
        numbers.loc["BC-Res2Net-40", "log_loss_verdict"] == "= reproduced"
    )  # five equal values; the other row has a spread
    equal = [trial(settings(seed=s), accuracy=0.5, log_loss=1.5) for s in range(5)]
    numbers = table2(trials_frame(equal), []).loc["BC-Res2Net-40 w/ MFA & FPM"]
    assert numbers["accuracy_verdict"] == numbers["log_loss_verdict"] == "? seeds do not differ"
    assert math.isnan(numbers["accuracy_p"])
    generated = [trial(settings(seed=s), accuracy=0.608, generated=True) for s in range(5)]
    assert set(table2(trials_frame(generated), [])["accuracy_verdict"]) == {""}


def test_table_4_starts_with_the_trial_that_fine_tuning_starts_from():
    accuracies = {device: 0.3 + 0.05 * i for i, device in enumerate(DEVICES)}
    start, tuned = trial(settings(), devices=accuracies), trial(settings(drop=0.9), accuracy=0.65)
    numbers = table4(trials_frame([start, tuned]))
    assert numbers.loc["X", "signatures"] == start.signature == tuned.start
    assert numbers.loc["X", "accuracy_seen"] == pytest.approx(statistics.mean(list(accuracies.values())[:6]))
    assert numbers.loc["X", "accuracy_unseen"] == pytest.approx(statistics.mean(list(accuracies.values())[6:]))
    assert numbers.loc["0.90", "accuracy"] == pytest.approx(0.65)
    assert numbers["seeds"].tolist() == [1, 0, 0, 1, 0]


def test_table_4_shows_every_device_of_paper_and_measurement():
    results = [trial(settings(seed=s, drop=0.5), accuracy=a) for s, a in enumerate((0.6, 0.62, 0.64))]
    rows = page(results).tables["table-4-scores"]
    position = next(i for i, row in enumerate(rows) if row[0] == "0.50")
    printed = ["73.0", "67.8", "70.1", "62.9", "61.6", "66.5", "55.2", "56.8", "48.4", "67.0", "53.5", "1.085", "62.5"]
    assert rows[position][1:-1] == ["paper", *printed]
    interval = "62.0± 5.0"
    assert rows[position + 1] == ["measured", *[interval] * 11, "1.2001.200, 1.200, 1.200", interval, "3"]
    differences = rows[position + 2]
    assert differences[:2] == ["difference", "−11.0"]  # a device's cell has no verdict
    assert differences[-4:] == ["+8.5? 3 seeds are too few", "+0.115? seeds do not differ", "−0.5? cannot be shown", ""]
    two = page(results[:2]).tables["table-4-scores"]
    assert two[position + 1][1:3] == ["61.060.0, 62.0"] * 2  # the values themselves


def test_log_loss_is_shown_by_device_and_over_scenes():
    results = [trial(settings(seed=s, drop=0.5), log_loss=1.2 + s / 10) for s in range(3)]
    results = [
        dataclasses.replace(r, scores=[*r.scores, Score("test", "overall", "macro", 1, 1.5, 0.5)]) for r in results
    ]
    shown = page(results)
    (row,) = shown.tables["table-4-log-loss"][2:]
    assert row[:4] == ["0.50", "1.300± 0.248", "1.5001.500, 1.500, 1.500", "1.300± 0.248"]
    assert len(row) == 3 + 9 + 2
    ablation = page([trial(settings(), log_loss=1.2), results[0]])
    assert "Macro log loss" in ablation.tables["table-2-scores"][0]


def test_a_mean_over_devices_needs_all_of_them():
    some = trial(settings(drop=0.5), devices=("a", "b", "c", "s1", "s2", "s4", "s5", "s6"))
    numbers = table4(trials_frame([some])).loc["0.50"]
    assert math.isnan(numbers["accuracy_seen"])
    assert not math.isnan(numbers["accuracy_unseen"])


def test_drop_rates_that_the_paper_lacks_come_last():
    numbers = table4(trials_frame([trial(settings(drop=0.25)), trial(settings(drop=0.9))]))
    assert numbers.index.tolist() == ["X", "0.00", "0.50", "0.90", "0.99", "0.25"]
    assert math.isnan(numbers.loc["0.25", "paper_accuracy"])


def test_figure_3_draws_lines_of_widths_and_the_two_printed_points():
    results = [trial(settings(row, width=width), accuracy=0.5) for row in TABLE2[:2] for width in (40, 48)]
    traces = figure3(trials_frame(results)).to_dict()["data"]
    paper = next(trace for trace in traces if trace["name"] == "paper, width 40")
    assert sorted(zip(paper["x"], paper["y"], strict=True)) == [(85.8, 59.1), (88.1, 57.1)]
    assert paper["marker"]["symbol"] == "diamond-open"
    line = next(trace for trace in traces if trace["name"] == "BC-ResNet")
    assert line["text"] == ["C = 40", "C = 48"]


@pytest.mark.parametrize(("width", "limits"), [(40, 0), (80, 2)])
def test_the_challenges_limits_stand_in_figure_3_where_they_are_in_range(width, limits):
    figure = figure3(trials_frame([trial(settings(TABLE2[1], width=width))]))
    assert len(figure.layout.shapes) == limits


# -- families


def test_trials_of_other_settings_are_never_averaged():
    long = [trial(settings(seed=s), accuracy=0.61) for s in (0, 1)]
    short = [trial(settings(seed=s, epochs=10), accuracy=0.31) for s in (0, 1)]
    frame = trials_frame([*short, *long])
    assert table2(frame, []).loc["BC-Res2Net-40 w/ MFA & FPM", "accuracy"] == pytest.approx(0.61)
    assert set(table2_family(frame).trials["pretrain.epochs"]) == {300}
    text = page([*short, *long]).text
    assert "Shown: width 40, 300 epochs, 256 mel bands, data tau2022" in text
    assert "Not shown: 1 other family of settings" in text


def test_a_family_of_short_trials_is_not_shown_for_its_many_seeds():
    short = [trial(settings(row, epochs=2, seed=s), accuracy=0.2) for row in TABLE2 for s in range(4)]
    full = [trial(settings(row, seed=s), accuracy=0.6) for row in TABLE2 for s in range(3)]
    assert set(table2_family(trials_frame([*short, *full])).trials["pretrain.epochs"]) == {300}


def test_the_family_with_more_rows_is_shown():
    rows = [trial(settings(row, epochs=10), accuracy=0.5) for row in TABLE2]
    family = table2_family(trials_frame([trial(settings()), *rows]))
    assert set(family.trials["pretrain.epochs"]) == {10}


def test_fine_tunings_that_differ_in_more_than_the_drop_rate_do_not_share_a_table():
    def tuned(drop, epochs):
        finetune = FinetuneConfig(max_drop_rate=drop, epochs=epochs)
        return trial(settings().model_copy(update={"finetune": finetune}))

    results = [trial(settings()), tuned(0.0, 50), tuned(0.9, 50), tuned(0.5, 20)]
    family = table4_family(trials_frame(results))
    assert set(family.trials["finetune.epochs"].dropna()) == {50}
    assert table4(trials_frame(results))["seeds"].tolist() == [1, 1, 0, 1, 0]
    assert family.others == 1


def test_real_data_are_preferred_and_never_mixed_with_generated():
    generated = [trial(settings(row), accuracy=0.9, generated=True) for row in TABLE2]
    mixed = page([*generated, trial(settings(), accuracy=0.6)])
    assert "Generated data: synthetic-small, beside real data: tau2022" in mixed.text
    assert mixed.row("table-2-scores", "BC-Res2Net-40 w/ MFA & FPM")[0][6] == "60.0"
    assert mixed.row("table-2-scores", "BC-Res2Net-40")[0][6] == "—"


def test_trials_without_the_stems_attention_fill_no_row():
    bare = settings().model_copy(update={"model": ModelConfig(stem_attention=False)})
    assert table2_family(trials_frame([trial(bare)])) is None


def test_a_smaller_network_stands_in_its_systems_row_under_its_own_name():
    cells, _ = page([trial(settings(width=8), generated=True)]).row("table-2-scores", "BC-Res2Net-40 w/ MFA & FPM")
    assert cells[1].startswith("BC-Res2Net-8 w/ MFA & FPM")


def test_a_setting_newer_than_a_result_has_its_default():
    old = trial(settings())
    del old.settings["model"]["dropout"]
    frame = trials_frame([old, trial(settings(seed=1))])
    assert len(table2_family(frame).trials) == 2


# -- what is not there


def test_an_empty_workspace_says_how_to_fill_each_table(empty):
    for study in ("table2_ablation", "table4_drop_rate", "figure3_widths"):
        line = f"No trial of this table is finished; run asc-sweeps sweep {study} or asc-sweeps sweep {study} --mini"
        assert line in empty.text
    assert empty.row("table-2-scores", "BC-ResNet-40")[0][1:] == ["1.327", "—", "57.1", "—", "—", "—"]


@pytest.mark.parametrize(("generated", "command"), [(False, ""), (True, " --mini")])
def test_a_missing_row_carries_the_command_that_fills_it(generated, command):
    part = page([trial(settings(), generated=generated), trial(settings(drop=0.5), generated=generated)])
    cells, remark = part.row("table-2-scores", "BC-ResNet-40")
    assert "—" in cells
    assert remark == [[f"No trial yet; run asc-sweeps sweep table2_ablation{command}"]]
    drops = part.tables["table-4-scores"]
    position = next(i for i, row in enumerate(drops) if row[0] == "0.90")
    assert drops[position + 2] == [f"No trial yet; run asc-sweeps sweep table4_drop_rate{command}"]


def test_that_command_has_the_data_and_the_options_that_the_study_was_run_with():
    line = "asc-sweeps sweep table2_ablation --data /mnt/tau --workspace /mnt/w"
    part = page([trial(settings(), generated=False)], studies=[record(command=line)])
    _, remark = part.row("table-2-scores", "BC-ResNet-40")
    assert remark == [[f"No trial yet; run {line}"]]


def test_a_failed_row_says_why():
    failed = page([trial(settings())], [failure("BC-ResNet-40"), failure("BC-Res2Net-8", cause="killed")])
    _, remark = failed.row("table-2-scores", "BC-ResNet-40")
    assert remark[0][0].startswith("A trial of BC-ResNet-40 failed (nan): train_loss became NaN; run asc-sweeps sweep")
    assert "killed" not in str(failed.tables["table-2-scores"])  # of another width than the one that is shown
    assert failed.tables["failures-list"][1][1:5] == ["BC-ResNet-40", "pretraining", "nan", "train_loss became NaN"]


def test_a_workspace_of_failures_alone_renders():
    failed = page(failures=[failure("BC-Res2Net-40 w/ MFA & FPM", phase="fine-tuning (drop rate 0.90)")])
    drops = failed.tables["table-4-scores"]
    position = next(i for i, row in enumerate(drops) if row[0] == "0.90")
    assert "failed (nan)" in drops[position + 2][0]


def test_studies_are_listed_with_their_state_and_command():
    trials = [{"state": "done"}, {"state": "done"}, {"state": "failed"}, {"state": "planned"}]
    rows = page(studies=[record(trials=trials, state="interrupted", mini=True)]).tables["studies-list"]
    assert rows[1][:5] == ["table2_ablation-mini", "interrupted", "2", "1", "1"]
    assert rows[1][-1] == "asc-sweeps sweep table2_ablation"


def study_of(results, **more):
    rows = [{"signature": result.signature, "state": "done"} for result in results]
    return record(**({"study": "mine", "trials": rows} | more))


def of_precision(precision, seed, log_loss):
    config = settings(seed=seed, compute=ComputeConfig(precision=precision))
    return trial(config, log_loss=log_loss, accuracy=1 - log_loss / 2)


def test_a_study_of_ones_own_has_a_row_a_configuration_beside_the_first_of_them():
    found = [of_precision("float32", seed, 1.0 + seed / 10) for seed in (0, 1, 2)]
    found += [of_precision("bfloat16", seed, 1.2 + seed / 5) for seed in (0, 1, 2)]
    numbers = grid_table(trials_frame(found))
    assert list(numbers["compute.precision"]) == ["float32", "bfloat16"]
    assert list(numbers.columns)[:2] == ["compute.precision", "log_loss"]  # nothing else differs
    assert list(numbers["log_loss"]) == pytest.approx([1.1, 1.4])
    assert list(numbers["log_loss_change"]) == pytest.approx([0.0, 0.3])
    # Paired by seed: 0.2, 0.3 and 0.4, whose t interval is 0.3 ± 4.303 x 0.1 / sqrt(3)
    assert numbers["log_loss_change_half"].iloc[1] == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-4)
    drawn = page(found, studies=[study_of(found)]).tables["own-study-0"]
    assert drawn[0][:3] == ["compute.precision", "Log loss", "Change"]
    assert [row[:2] for row in drawn[1:]] == [["float32", "1.100± 0.248"], ["bfloat16", "1.400± 0.497"]]
    assert [row[2] for row in drawn[1:]] == ["—", "+0.300± 0.248"]
    two = [one for one in found if one.settings["seed"] < 2]
    drawn = page(two, studies=[study_of(two)]).tables["own-study-0"]
    assert [row[1:3] for row in drawn[1:]] == [["1.0501.000, 1.100", "—"], ["1.3001.200, 1.400", "+0.2500.200, 0.300"]]


def test_differences_are_of_the_seeds_that_both_configurations_have():
    found = [of_precision("float32", 0, 1.0), of_precision("float32", 1, 2.0), of_precision("bfloat16", 1, 1.5)]
    numbers = grid_table(trials_frame(found))
    assert numbers["log_loss_change"].iloc[1] == pytest.approx(-0.5)
    lonely = grid_table(trials_frame([found[0], of_precision("bfloat16", 5, 1.5)]))
    assert math.isnan(lonely["log_loss_change"].iloc[1])
    drawn = page([found[0]], studies=[study_of(found)]).tables["own-study-0"]
    assert drawn[1][0] == "the only one"


def test_phases_systems_and_settings_stand_in_words_once():
    found = [trial(settings(row, seed=0, drop=drop)) for row in TABLE2[:2] for drop in (None, 0.5, 0.9)]
    numbers = grid_table(trials_frame(found))
    assert list(numbers.columns)[:3] == ["system", "phase", "log_loss"]
    assert len(numbers) == 6


def test_the_papers_studies_and_searches_are_no_studies_of_ones_own(empty):
    found = [of_precision("float32", 0, 1.0)]
    search = {"sampler": "tpe", "seed": 0, "objectives": ["validation_log_loss"], "limits": {}, "trials": 0}
    made = [study_of(found, study="table2_ablation"), study_of(found, search=search | {"parameters": [], "points": []})]
    assert not [name for name in page(found, studies=made).tables if name.startswith("own-study")]
    assert "No study of your own has a finished trial." in empty.text


def test_a_large_study_shows_its_first_configurations_and_says_so():
    found = [trial(settings(width=8 * n, seed=0)) for n in range(1, 61)]
    shown = page(found, studies=[study_of(found)])
    assert len(shown.tables["own-study-0"]) == 1 + 50
    assert "The first 50 configurations are shown; the other 10 are under Trials." in shown.text


def test_a_history_may_lack_what_was_not_logged():
    history = [{"phase": "pretrain", "epoch": 1, "train_loss": 2.0}, {"phase": "pretrain", "epoch": 2}]
    curves = curves_frame([trial(settings(), history=history)])
    assert curves["step"].tolist() == [1, 2]
    assert curves["validation_log_loss"].isna().all()
    assert "Training curves" in page([trial(settings(), history=history)]).text


# -- generated data


def test_generated_data_are_named_at_the_top_and_no_verdict_is_drawn():
    html = render(Evidence([trial(settings(row), generated=True) for row in TABLE2], [], []))
    body = html.split("<body>")[1].lstrip()
    assert re.match(r'<p class="warning"[^>]*>Generated data: synthetic-small\.', body)
    generated = Page(html)
    assert not any("difference" in row for row in generated.tables["table-2-scores"])
    assert "no comparison with the paper" in generated.text
    assert "Generated data." in generated.text.split("Figure 3, its points")[1]


def test_real_data_have_no_warning():
    html = render(Evidence([trial(settings())], [], []))
    assert 'class="warning"' not in html.split("<body>")[1]


# -- the file


def test_hostile_names_are_inert_text():
    html = render(hostile())
    harmless = render(Evidence([trial(settings(), history=[{"phase": "", "epoch": 1, "train_loss": 1.0}])], [], []))
    assert Page(html).elements.count("script") == Page(harmless).elements.count("script")
    assert "img" not in Page(html).elements
    assert "<script>alert" not in html
    assert Page(html).text.count("<script>alert(1)</script>") >= 6
    assert not any(
        "<img" in json.dumps(figure) for figure in figures_in(html).values()
    )  # plotly reads HTML in its labels


def test_json_in_the_page_cannot_leave_its_element():
    (text,) = re.findall(r'id="dark-colours">(.*?)</script>', render(Evidence([], [], [])))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == DARK


def test_the_same_results_give_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        workspace = Workspace(tmp_path / name)
        for seed in (0, 1):
            save_result(workspace, trial(settings(seed=seed), history=[{"phase": "pretrain", "train_loss": 1.0}]))
        save_failure(workspace, failure("BC-ResNet-40"))
        save_study(workspace, record())
        assert write_report(workspace, tmp_path / f"{name}.html") == tmp_path / f"{name}.html"
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_the_file_asks_the_network_for_nothing():
    html = render(Evidence([trial(settings()), trial(settings(drop=0.9))], [failure("BC-ResNet-40")], [record()]))
    links = [value for _, name, value in Page(html).attributes if name in ("src", "href", "action", "srcset", "data")]
    assert links
    assert all(value.startswith("#") for value in links)
    assert "link" not in Page(html).elements
    assert not re.search(r"@import|url\(|https?:", html)
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
    assert ("meta", "content", policy) in Page(html).attributes


def test_plotly_travels_inside_the_file(empty):
    html = render(Evidence([], [], []))
    packed = re.search(r'id="plotly">([^<]+)<', html)[1]
    assert unpack(packed) == plotly.offline.get_plotlyjs()
    assert len(html) < 2_200_000


def test_every_section_has_a_sentence_and_a_place_in_the_navigation(empty):
    names = [section(Evidence([], [], [])) for section in SECTIONS]
    assert all(section.sentence.endswith(".") for section in names)
    links = [value for tag, name, value in empty.attributes if tag == "a" and name == "href"]
    assert links == [f"#{section.id}" for section in names]


def test_tables_have_captions_and_scopes_and_figures_have_labels():
    full = page([trial(settings(row)) for row in TABLE2], studies=[record()])
    assert full.elements.count("caption") == full.elements.count("table")
    heads = full.elements.count("th")
    assert sum(tag == "th" and name == "scope" for tag, name, _ in full.attributes) == heads
    figures = full.elements.count("figure")
    assert figures == 4
    assert sum(tag == "figure" and name == "aria-label" for tag, name, _ in full.attributes) == figures


def test_the_report_needs_neither_torch_nor_ray():
    code = "import sys, analysis.report; print([m for m in ('torch', 'ray', 'optuna') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
