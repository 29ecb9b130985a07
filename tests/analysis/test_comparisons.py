"""Two systems on the same places, the effects of the paper's tables, and where a system errs: on planted predictions."""

import dataclasses
import io

import numpy as np
import pytest
from planted import settings, trial
from scipy import stats

from analysis.evidence.loading import Evidence, load_evidence
from analysis.evidence.predictions import Predictions, load_predictions
from analysis.page.elements import Plot
from analysis.paper.comparisons import compare
from analysis.paper.effects import effects
from analysis.published import TABLE2
from analysis.studies import error_analysis
from asc_sweeps.data.labels import DEVICES
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result
from asc_sweeps.workspace.records import Score

RECORDINGS, PLACES = 200, 50
NAMES = np.array(
    [f"audio/bus-paris-{r % PLACES}-{r}-{piece}-{DEVICES[r % 9]}.wav" for r in range(RECORDINGS) for piece in range(10)]
)


def predictions_of(right):
    """Predictions that recognise the segments of these recordings, with certainty 0.8 in whatever they say."""
    said = np.where(np.repeat(right, 10), 1, 3)
    log_probability = np.full((len(NAMES), 10), np.log(0.2 / 9), np.float32)
    log_probability[np.arange(len(NAMES)), said] = np.log(0.8)
    return Predictions(NAMES, np.ones(len(NAMES), int), log_probability)


def plant(workspace, result, right):
    """A result whose scores are those of its stored predictions."""
    p = predictions_of(right)
    by_device = {d: p.correct[p.devices == d].mean() for d in DEVICES}
    scores = [Score("test", "overall", "micro", len(NAMES), float(p.log_loss.mean()), float(p.correct.mean()))]
    scores += [Score("test", "device", d, 200, 1.0, float(share)) for d, share in by_device.items()]
    save_result(workspace, dataclasses.replace(result, scores=scores))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, filename=NAMES, scene=p.scenes, log_probability=p.log_probability)
    workspace.storage.write(workspace.trial(result.signature) / "test_predictions.npz", buffer.getvalue())


@pytest.fixture
def planted(tmp_path):
    """BC-Res2Net-40 is right where BC-ResNet-40 is, and on 30 recordings more; MFA changes nothing, FPM was never run."""
    workspace, generator = Workspace(tmp_path), np.random.default_rng(0)
    for seed in (0, 1, 2):
        plain = generator.permutation(RECORDINGS) < 100
        better = plain.copy()
        better[np.flatnonzero(~plain)[:30]] = True
        for row, right in ((0, plain), (1, better), (2, better)):
            plant(workspace, trial(settings(TABLE2[row], seed=seed)), right)
    return workspace


def test_a_planted_difference_is_found_and_none_where_there_is_none(planted):
    frame = effects(load_evidence(planted)).set_index(["effect", "measure"])
    better = frame.loc["res2net", "accuracy"]
    assert better["difference"] == pytest.approx(0.15)
    assert better["by_seed"] == pytest.approx((0.15, 0.15, 0.15))
    assert (better["seeds"], better["places"]) == (3, 50)
    same = frame.loc["mfa", "accuracy"]
    assert (same["difference"], same["p_holm"]) == (0, 1)
    assert frame.loc["res2net", "log_loss"]["difference"] == pytest.approx(0.15 * np.log(0.2 / 9 / 0.8), rel=1e-5)
    assert "fpm" not in frame.index  # was never run


def test_differences_that_are_equal_for_every_seed_have_no_p_value_however_large(planted):
    frame = effects(load_evidence(planted)).set_index(["effect", "measure"])
    assert np.isnan(frame.loc["res2net", "accuracy"]["p"])
    assert frame.loc["res2net", "accuracy"]["verdict"] == "? seeds do not differ"


def test_the_error_over_places_is_that_of_whole_places(planted):
    evidence = load_evidence(planted)
    by_row = {(r.system, r.settings["seed"]): evidence.predictions(r.signature) for r in evidence.results}
    first, second = (by_row[TABLE2[row].system, 0] for row in (1, 0))
    found = compare([first], [second]).set_index("measure").loc["accuracy"]
    gains = (first.correct.astype(float) - second.correct).reshape(RECORDINGS, 10).mean(axis=1)
    by_place = np.array(
        [gains[np.arange(RECORDINGS) % PLACES == p].mean() for p in range(PLACES)]
    )  # four recordings each
    half = stats.t.ppf(0.975, PLACES - 1) * by_place.std(ddof=1) / np.sqrt(PLACES)
    assert (found["high"] - found["low"]) / 2 == pytest.approx(half)
    assert (found["of"], found["places"]) == ("networks", PLACES)


def test_a_mean_over_devices_weighs_each_device_the_same():
    generator = np.random.default_rng(0)
    first, second = (predictions_of(generator.random(RECORDINGS) < share) for share in (0.7, 0.5))
    found = compare([first], [second]).set_index("measure")
    by_device = [first.correct[first.devices == d].mean() - second.correct[second.devices == d].mean() for d in DEVICES]
    assert found.loc["accuracy_devices", "difference"] == pytest.approx(np.mean(by_device))
    assert found.loc["accuracy_unseen", "difference"] == pytest.approx(np.mean(by_device[6:]))


def test_two_systems_are_compared_over_seeds_and_places_and_must_have_the_same_of_both():
    generator = np.random.default_rng(0)
    first, second = ([predictions_of(generator.random(RECORDINGS) < share) for _ in range(4)] for share in (0.7, 0.5))
    found = compare(first, second).set_index("measure")
    assert set(found["of"]) == {"systems"}
    assert found.loc["accuracy", "p"] < 0.01
    assert found.loc["accuracy", "low"] < 0.2 < found.loc["accuracy", "high"]
    with pytest.raises(ValueError, match="the same seeds"):
        compare(first, second[:3])
    elsewhere = [
        Predictions(np.char.replace(p.filenames, "paris", "lyon"), p.scenes, p.log_probability) for p in second
    ]
    with pytest.raises(ValueError, match="the same places"):
        compare(first, elsewhere)


def test_fine_tuning_is_compared_with_its_start_and_each_drop_rate_with_none(tmp_path):
    workspace = Workspace(tmp_path)
    right = np.arange(RECORDINGS) < 100
    for drop in (None, 0.0, 0.5):
        plant(workspace, trial(settings(drop=drop) if drop is not None else settings()), right)
    frame = effects(load_evidence(workspace))
    four = frame[frame["table"] == "Table 4"]
    assert four["effect"].unique().tolist() == ["finetuning-0", "finetuning-0.5", "drop-0.5"]
    assert four["measure"].unique().tolist() == ["log_loss", "accuracy_devices", "accuracy_unseen"]
    assert set(four["verdict"]) == {"? one seed"}


def test_predictions_that_are_not_there_or_not_readable_are_none(tmp_path):
    workspace = Workspace(tmp_path)
    assert load_predictions(workspace, "0123456789ab") is None
    workspace.storage.write(workspace.trial("0123456789ab") / "test_predictions.npz", b"no archive")
    assert load_predictions(workspace, "0123456789ab") is None


# -- where it errs


def test_confusion_and_scenes_by_devices_are_shares_of_the_planted_segments(planted):
    evidence = load_evidence(planted)
    found = error_analysis.analysed_system(evidence)
    assert (found.name, len(found.predictions)) == ("BC-Res2Net-40 w/ MFA", 3)  # the last row of Table 2 that is there
    shares = error_analysis.confusion(found.predictions)
    assert shares.loc["bus", "bus"] == pytest.approx(0.65)
    assert shares.loc["bus", "metro_station"] == pytest.approx(0.35)
    assert shares.drop(index="bus").isna().all(axis=None)  # scenes without a segment
    by_device = error_analysis.scenes_by_devices(found.predictions)
    right = [p.correct[p.devices == "s4"].mean() for p in found.predictions]
    assert by_device.loc["bus", "s4"] == pytest.approx(np.mean(right))
    assert by_device.drop(index="bus").isna().all(axis=None)


def test_calibration_in_the_report_is_of_each_seed_then_averaged(planted):
    sure = error_analysis.summarise_calibration(error_analysis.analysed_system(load_evidence(planted)).predictions)
    assert sure.error.count == 3
    ((confidence, accuracy, segments),) = sure.bins
    assert (confidence, accuracy, segments) == pytest.approx((0.8, 0.65, 2000), rel=1e-5)
    assert sure.error.mean == pytest.approx(0.15, rel=1e-5)
    assert sure.error.low < 0.15 < sure.error.high
    blocks = error_analysis.section(load_evidence(planted)).blocks
    assert [b.id for b in blocks if isinstance(b, Plot)] == ["plot-confusion", "plot-calibration"]
    assert "overconfident" in next(b for b in blocks if b.id == "plot-calibration").label


def test_the_row_that_is_looked_at_is_not_chosen_by_its_scores(tmp_path):
    workspace = Workspace(tmp_path)
    for drop, share in ((None, 190), (0.0, 180), (0.5, 150), (0.99, 199)):
        config = settings(drop=drop) if drop is not None else settings()
        plant(workspace, trial(config), np.arange(RECORDINGS) < share)
    assert error_analysis.analysed_system(load_evidence(workspace)).name.endswith("drop rate 0.50")  # 0.90 is not there
    assert "No trial" in error_analysis.section(Evidence([trial(settings())], [], [])).blocks[0].text
