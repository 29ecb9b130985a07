"""The statistics of the report, against SciPy and first principles."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import calibration, difference_p, equivalence_p, holm, mean_interval, paired_bootstrap

SEEDS = [0.611, 0.598, 0.607, 0.603, 0.6055]


def test_an_interval_of_seeds_is_students():
    found = mean_interval(SEEDS)
    low, high = stats.t.interval(0.95, 4, np.mean(SEEDS), stats.sem(SEEDS))
    assert (found.mean, found.low, found.high, found.count) == pytest.approx((np.mean(SEEDS), low, high, 5))
    assert math.isnan(mean_interval([0.6]).low)
    assert mean_interval([0.6]).mean == 0.6
    assert math.isnan(mean_interval([]).mean)


def test_equivalence_holds_where_the_ninety_percent_interval_lies_within_the_margin():
    for margin in np.linspace(0.001, 0.02, 40):
        interval = mean_interval(SEEDS, 0.9)
        within = 0.608 - margin < interval.low and interval.high < 0.608 + margin
        assert (equivalence_p(SEEDS, 0.608, margin) < 0.05) == within


def test_a_difference_is_tested_by_students_t():
    assert difference_p(SEEDS, 0.6) == pytest.approx(stats.ttest_1samp(SEEDS, 0.6).pvalue)
    assert math.isnan(difference_p([0.6], 0.6))
    assert (difference_p([0.6, 0.6], 0.6), difference_p([0.6, 0.6], 0.61)) == (1.0, 0.0)
    assert (equivalence_p([0.6, 0.6], 0.605, 0.01), equivalence_p([0.6, 0.6], 0.62, 0.01)) == (0.0, 1.0)


def test_holm_rejects_what_the_step_down_rule_rejects():
    generator = np.random.default_rng(3)
    for _ in range(200):
        p = generator.beta(0.3, 2, size=generator.integers(1, 8))
        rejected, order = set(), np.argsort(p)
        for rank, i in enumerate(order):  # stop at the first that is not small enough
            if p[i] >= 0.05 / (len(p) - rank):
                break
            rejected.add(i)
        assert {i for i, adjusted in enumerate(holm(p)) if adjusted < 0.05} == rejected
    assert [round(p, 9) for p in holm([0.02, 0.01])] == [0.02, 0.02]
    assert math.isnan(holm([float("nan"), 0.04])[0])
    assert holm([float("nan"), 0.04])[1] == 0.04


def test_a_paired_bootstrap_draws_whole_recordings():
    generator = np.random.default_rng(0)
    recordings = 300
    effect = generator.normal(0.05, 0.4, recordings)  # of a whole recording: its ten pieces share it
    first, groups = np.repeat(effect, 10), np.repeat(np.arange(recordings), 10)
    (found,) = paired_bootstrap(first[:, None], groups)
    assert found.difference == pytest.approx(effect.mean())
    assert found.groups == recordings
    half = 1.96 * effect.std(ddof=1) / math.sqrt(recordings)  # that of 300 independent values, not of 3,000
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.05)
    assert found.p == pytest.approx(stats.ttest_1samp(effect, 0).pvalue, abs=0.02)


def test_recordings_of_different_lengths_weigh_by_their_segments():
    values = np.array([[1.0, 5.0], [1.0, 5.0], [1.0, 0.0], [0.0, 1.0]])
    kept = np.array([[1, 0], [1, 0], [1, 1], [1, 1]])
    first, second = paired_bootstrap(values, np.array(["r1", "r1", "r1", "r2"]), kept)
    assert (first.difference, first.low, first.high) == (0.75, 0.0, 1.0)
    assert second.difference == 0.5  # of the two segments that count
    with pytest.raises(ValueError, match="equally many"):
        paired_bootstrap(np.zeros((3, 1)), np.zeros(2))


def test_no_difference_has_an_interval_around_zero_and_no_small_p():
    generator = np.random.default_rng(1)
    small = [
        paired_bootstrap(generator.normal(size=(200, 1)), np.arange(200), resamples=1000, seed=i)[0].p < 0.05
        for i in range(200)
    ]
    assert sum(small) / 200 == pytest.approx(0.05, abs=0.04)


def test_calibration_is_the_gap_between_confidence_and_being_right():
    # Ten segments at confidence 0.8, six of them right; ten at 0.55, all of them wrong.
    log_probability = np.log([[0.8, 0.2]] * 10 + [[0.55, 0.45]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [1] * 10)
    found = calibration(log_probability, labels)
    assert found.error == pytest.approx((10 * 0.2 + 10 * 0.55) / 20)
    assert found.confidence == pytest.approx((0.55, 0.8))
    assert found.accuracy == pytest.approx((0.0, 0.6))
    assert found.segments == (10, 10)
    certain = calibration(np.array([[0.0, -np.inf]]), np.array([0]))  # a confidence of one belongs to the last bin
    assert certain.error == 0
