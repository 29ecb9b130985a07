"""Paired tests of the tables' rows, on planted predictions whose answer is known."""

import io

import numpy as np
import pytest
from scipy import stats
from test_analysis import settings, trial

from analysis import errors
from analysis.blocks import Plot
from analysis.comparisons import comparisons, section
from analysis.evidence import Evidence, load_evidence
from analysis.paper import DEVICES, TABLE2
from analysis.predictions import load_predictions
from asc_sweeps.results import save_result
from asc_sweeps.workspace import Workspace

RECORDINGS = 200
NAMES = np.array(
    [f"audio/bus-paris-{r % 9}-{r}-{piece}-{DEVICES[r % 9]}.wav" for r in range(RECORDINGS) for piece in range(10)]
)


def plant(workspace, result, right):
    """Predictions that recognise the segments of these recordings, with certainty 0.8 in whatever they say."""
    save_result(workspace, result)
    scenes = np.ones(len(NAMES), int)
    said = np.where(np.repeat(right, 10), 1, 3)
    log_probability = np.full((len(NAMES), 10), np.log(0.2 / 9), np.float32)
    log_probability[np.arange(len(NAMES)), said] = np.log(0.8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, filename=NAMES, scene=scenes, log_probability=log_probability)
    workspace.files.write(workspace.trial(result.signature) / "test_predictions.npz", buffer.getvalue())


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
    frame = comparisons(load_evidence(planted)).set_index(["first", "measure"])
    better = frame.loc["BC-Res2Net-40", "accuracy"]
    assert better["difference"] == pytest.approx(0.15)
    assert better["low"] > 0.1
    assert better["p_holm"] < 0.01
    assert (better["seeds"], better["recordings"]) == (3, RECORDINGS)
    same = frame.loc["BC-Res2Net-40 w/ MFA", "accuracy"]
    assert (same["difference"], same["p_holm"]) == (0, 1)
    assert frame.loc["BC-Res2Net-40", "log_loss"]["difference"] == pytest.approx(0.15 * np.log(0.2 / 9 / 0.8), rel=1e-5)
    assert "BC-Res2Net-40 w/ FPM" not in frame.index


def test_the_interval_is_that_of_whole_recordings(planted):
    frame = comparisons(load_evidence(planted)).set_index(["first", "measure"])
    found = frame.loc["BC-Res2Net-40", "accuracy"]
    evidence = load_evidence(planted)
    by_row = {
        (row, r.settings["seed"]): evidence.predictions(r.signature).right.reshape(-1, 10).mean(axis=1)
        for r in evidence.results
        for row in (0, 1)
        if r.system == TABLE2[row].system
    }
    gains = np.mean([by_row[1, seed] - by_row[0, seed] for seed in (0, 1, 2)], axis=0)
    low, high = stats.norm.interval(0.95, gains.mean(), gains.std(ddof=1) / np.sqrt(RECORDINGS))
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=0.01)


def test_unseen_devices_are_tested_on_their_own_segments(planted):
    frame = comparisons(load_evidence(planted)).set_index(["first", "measure"])
    assert frame.loc["BC-Res2Net-40", "unseen"]["recordings"] == sum(r % 9 >= 6 for r in range(RECORDINGS))


def test_fine_tuning_is_compared_with_its_start_and_each_drop_rate_with_none(tmp_path):
    workspace = Workspace(tmp_path)
    right = np.arange(RECORDINGS) < 100
    for drop in (None, 0.0, 0.5):
        plant(workspace, trial(settings(drop=drop) if drop is not None else settings()), right)
    frame = comparisons(load_evidence(workspace))
    pairs = frame.loc[frame["table"] == "Table 4", ["first", "second"]].drop_duplicates()
    assert [tuple(pair) for pair in pairs.to_numpy()] == [
        ("fine-tuning, no drop", "no fine-tuning"),
        ("drop rate 0.50", "fine-tuning, no drop"),
    ]


def test_the_report_says_it_in_words_and_sign_or_that_there_is_nothing_yet(planted):
    (table,) = section(load_evidence(planted)).blocks
    texts = [cell.text for group in table.groups for row in group for cell in row]
    assert texts.count("▲ better") == 3
    assert texts.count("? undecided") == 3
    (nothing,) = section(Evidence([trial(settings())], [], [])).blocks
    assert "No two rows" in nothing.text


def test_predictions_that_are_not_there_or_not_readable_are_none(tmp_path):
    workspace = Workspace(tmp_path)
    assert load_predictions(workspace, "0123456789ab") is None
    workspace.files.write(workspace.trial("0123456789ab") / "test_predictions.npz", b"no archive")
    assert load_predictions(workspace, "0123456789ab") is None


# -- where it errs


def test_confusion_and_scenes_by_devices_are_shares_of_the_planted_segments(planted):
    evidence = load_evidence(planted)
    found = errors.shown(evidence)
    assert (found.name, len(found.predictions)) == ("BC-Res2Net-40 w/ MFA", 3)  # the last row of Table 2 that is there
    shares = errors.confusion(found.predictions)
    assert shares.loc["bus", "bus"] == pytest.approx(0.65)
    assert shares.loc["bus", "metro_station"] == pytest.approx(0.35)
    assert shares.drop(index="bus").isna().all(axis=None)  # scenes without a segment
    by_device = errors.scenes_by_devices(found.predictions)
    right = [p.right[p.devices == "s4"].mean() for p in found.predictions]
    assert by_device.loc["bus", "s4"] == pytest.approx(np.mean(right))
    assert by_device.drop(index="bus").isna().all(axis=None)


def test_calibration_in_the_report_is_that_of_all_seeds_together(planted):
    sure = errors.pooled_calibration(errors.shown(load_evidence(planted)).predictions)
    assert sure.confidence == pytest.approx((0.8,), rel=1e-5)
    assert sure.accuracy == pytest.approx((0.65,))
    assert sure.error == pytest.approx(0.15, rel=1e-5)
    blocks = errors.section(load_evidence(planted)).blocks
    assert [b.id for b in blocks if isinstance(b, Plot)] == ["plot-confusion", "plot-calibration"]
    assert "surer than it is right" in next(b for b in blocks if b.id == "plot-calibration").label


def test_the_row_that_is_looked_at_is_not_chosen_by_its_scores(tmp_path):
    workspace = Workspace(tmp_path)
    for drop, share in ((None, 190), (0.0, 180), (0.5, 150), (0.99, 199)):
        config = settings(drop=drop) if drop is not None else settings()
        plant(workspace, trial(config), np.arange(RECORDINGS) < share)
    assert errors.shown(load_evidence(workspace)).name.endswith("drop rate 0.50")  # 0.90 is not there
    assert "No trial" in errors.section(Evidence([trial(settings())], [], [])).blocks[0].text
