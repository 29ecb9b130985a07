"""Table 3 and Section 6 in the report, from planted trials."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
from planted import Page, page, settings, trial

from analysis.evidence.frames import trials_frame
from analysis.evidence.loading import Evidence
from analysis.evidence.predictions import Predictions
from analysis.paper.clip_control import controls, mean_of_segments
from analysis.paper.section6 import section6, section6_family
from analysis.paper.table2 import table2
from analysis.paper.table3 import table3, table3_family
from analysis.paper.table4 import table4
from analysis.published import TABLE2, TABLE3
from analysis.report import render
from asc_sweeps.config.setting_groups import DistillConfig, EvaluateConfig, FinetuneConfig, QuantizeConfig
from asc_sweeps.workspace.records import Score

SYSTEMS = {row.system: row for row in TABLE2 if row.system in TABLE3}


def clips(system, seconds, *, seed=0, crops="all", **scores):
    config = settings(SYSTEMS[system], seed=seed)
    if seconds > 1:
        config = config.model_copy(update={"evaluate": EvaluateConfig(seconds=seconds, crops=crops)})
    return trial(config, **scores)


def int8(*, seed=0, reg_lambda=None, teachers=None, converted=1.25, rate=0.9, epochs=10, **scores):
    phases = {"quantize": QuantizeConfig(epochs=epochs)}
    if reg_lambda is not None:
        phases["finetune"] = FinetuneConfig(reg_lambda=reg_lambda, max_drop_rate=rate)
    if teachers is not None:
        phases["distill"] = DistillConfig(teachers=teachers)
    result = trial(settings(seed=seed).model_copy(update=phases), **scores)
    extra = Score("test", "conversion", "without training", 29_680, converted, 0.5)
    return dataclasses.replace(result, scores=[*result.scores, extra])


def test_table_3_holds_every_printed_cell_and_the_networks_own_test_as_one_second():
    results = [
        clips(s, d, seed=k, log_loss=1 + d / 100 + k / 10) for s in SYSTEMS for d in (1, 2, 5, 10) for k in (0, 1)
    ]
    numbers = table3(trials_frame(results))
    assert len(numbers) == 12
    for (system, seconds), row in numbers.iterrows():
        assert (row["paper_log_loss"], row["paper_accuracy"]) == TABLE3[system][seconds]
        assert row["log_loss"] == pytest.approx(1.05 + (seconds / 100))
        assert row["seeds"] == 2
    rows = page(results).tables["table-3-scores"]
    cells = next(row for row in rows if row[0] == "2 s")
    assert cells[1] == "1.285"


def test_verdicts_of_table_3_are_those_of_equivalence_and_difference():
    near = [
        clips("BC-ResNet-40", 5, seed=s, accuracy=0.567 + 0.001 * (s - 2), log_loss=1.5 + s / 1000) for s in range(5)
    ]
    row = table3(trials_frame(near)).loc[("BC-ResNet-40", 5)]
    assert row["accuracy_verdict"] == "= reproduced"
    assert row["log_loss_verdict"] == "▲ higher"
    assert row["log_loss_high"] - row["log_loss"] == pytest.approx(
        2.776445 * statistics.stdev(1.5 + s / 1000 for s in range(5)) / math.sqrt(5)
    )


def test_a_second_is_judged_in_table_2_alone():
    found = [clips("BC-ResNet-40", d, seed=s, accuracy=0.3 + s / 1000) for d in (1, 2) for s in range(5)]
    rows = table3(trials_frame(found))
    assert rows.loc[("BC-ResNet-40", 1), "accuracy_verdict"] == ""
    assert rows.loc[("BC-ResNet-40", 2), "accuracy_verdict"] == "▼ lower"


def test_the_control_of_a_clip_is_the_mean_of_its_pieces_probabilities():
    generator = np.random.default_rng(0)
    probability = generator.dirichlet(np.ones(10), 20)
    names = np.array([f"audio/bus-paris-1-{r}-{piece}-a.wav" for r in (7, 8) for piece in range(10)])
    segments = Predictions(names, np.ones(20, int), np.log(probability).astype(np.float32))
    clips_of = Predictions(names[::5], np.ones(4, int), np.zeros((4, 10)))
    control = mean_of_segments(clips_of, segments, 5)
    assert np.exp(control.log_probability) == pytest.approx(probability.reshape(4, 5, 10).mean(axis=1), rel=1e-5)
    assert mean_of_segments(clips_of, segments, 6) is None  # a piece beyond the recording's end
    result, longer = clips("BC-ResNet-40", 1), clips("BC-ResNet-40", 5)
    evidence = Evidence([result, longer], [], [])
    evidence._predictions.update({result.signature: segments, longer.signature: clips_of})
    found = controls(evidence.frame, evidence)
    assert found["log_loss"].tolist() == pytest.approx(
        [-np.log(probability.reshape(4, 5, 10).mean(axis=1)[:, 1]).mean()]
    )
    assert found["seed"].tolist() == [0]
    text = Page(render(evidence)).tables["table-3-scores"]
    assert f"{found['log_loss'][0]:.3f}" in next(row for row in text if row[0] == "5 s")


def test_clips_of_two_policies_are_never_mixed():
    results = [clips("BC-ResNet-40", d, crops=c) for c in ("all", "first") for d in (2, 5)]
    family = table3_family(trials_frame([*results, clips("BC-ResNet-40", 1), clips("BC-ResNet-40", 10)]))
    assert set(family.trials["evaluate.crops"]) == {"all"}
    assert len(family.trials) == 4
    assert family.others == 1


def test_longer_clips_and_int8_fill_no_row_of_the_other_tables():
    frame = trials_frame(
        [clips("BC-Res2Net-40 w/ MFA & FPM", 10), int8(), int8(reg_lambda=0.4), int8(reg_lambda=0.4, teachers="")]
    )
    assert table2(frame, [])["seeds"].sum() == 0
    assert table4(frame)["seeds"].sum() == 0


def test_section_6_has_the_float_network_the_converted_and_the_trained_one():
    before = trial(settings(drop=0.9).model_copy(update={"finetune": FinetuneConfig(reg_lambda=0.04)}), log_loss=1.1)
    results = [before, int8(reg_lambda=0.04, converted=1.3, log_loss=1.2, accuracy=0.61), int8(log_loss=1.4)]
    numbers = section6(trials_frame(results))
    row = numbers.loc["INT8, fine-tuning, lambda 0.04"]
    assert row[["log_loss_before", "log_loss_converted", "log_loss"]].tolist() == [1.1, 1.3, 1.2]
    assert (row["paper_log_loss"], row["paper_accuracy"]) == (1.072, 0.622)
    assert numbers.loc["INT8, no fine-tuning", "log_loss"] == 1.4
    assert numbers["seeds"].tolist() == [1, 1, 0, 0, 0]
    cells = next(r for r in page(results).tables["section-6-scores"] if r[0] == "INT8, fine-tuning, lambda 0.04")
    assert cells[1:] == [
        "1.100",
        "1.300",
        "1.072",
        "1.200",
        "+0.128",
        "? one seed",
        "62.2",
        "61.0",
        "−1.2",
        "? one seed",
        "—",
        "1",
    ]


def test_distillations_stand_by_their_teachers_and_are_not_averaged_with_others():
    results = [
        int8(reg_lambda=0.4, teachers="", log_loss=1.0),
        int8(reg_lambda=0.4, teachers="seed=1; seed=2", log_loss=0.9),
    ]
    other = int8(reg_lambda=0.4, log_loss=5.0, seed=1).settings | {
        "distill": {**DistillConfig().model_dump(), "epochs": 7}
    }
    slow = dataclasses.replace(results[0], signature="other0000000", settings=other, scores=results[0].scores)
    numbers = section6(trials_frame([*results, slow]))
    assert numbers["seeds"].tolist() == [0, 0, 0, 1, 1]
    assert numbers["log_loss"].tolist()[3:] == [1.0, 0.9]


def test_int8_of_other_drop_rates_or_lengths_does_not_stand_in_section_6():
    frame = trials_frame([int8(reg_lambda=0.4, rate=0.5), int8(reg_lambda=0.1)])
    assert section6_family(frame) is None
    family = section6_family(trials_frame([int8(), int8(epochs=3), int8(reg_lambda=0.4, epochs=3)]))
    assert set(family.trials["quantize.epochs"]) == {3}


def test_what_is_not_there_is_shown_with_the_command_that_fills_it():
    empty = page()
    for study in ("table3_durations", "section6_extras"):
        assert f"run asc-sweeps sweep {study} or asc-sweeps sweep {study} --mini" in empty.text
