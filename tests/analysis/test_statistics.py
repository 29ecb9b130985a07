"""The statistics of the report, against SciPy, first principles and simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from analysis.statistics import (
    difference,
    holm,
    mean_interval,
    new_observation_equivalence_p,
    new_observation_p,
    noise_of_one_run,
    places_needed,
    power_of,
    seed_spread,
    seeds_needed,
    smallest_effect,
)
from analysis.studies.calibration import calibration, calibration_interval

SEEDS = [0.611, 0.598, 0.607, 0.603, 0.6055]


def test_an_interval_of_seeds_is_students():
    found = mean_interval(SEEDS)
    low, high = stats.t.interval(0.95, 4, np.mean(SEEDS), stats.sem(SEEDS))
    assert (found.mean, found.low, found.high, found.count) == pytest.approx((np.mean(SEEDS), low, high, 5))
    assert math.isnan(mean_interval([]).mean)


@pytest.mark.parametrize("values", [[0.6], [0.6, 0.7]])
def test_fewer_than_three_seeds_have_a_mean_and_no_interval(values):
    found = mean_interval(values)
    assert found.mean == np.mean(values)
    assert math.isnan(found.low)
    assert math.isnan(found.half)


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


# -- the spread of seeds


def test_the_spread_of_independent_rows_is_pooled_and_its_residual_is_the_two_way_anovas():
    scores = np.random.default_rng(0).normal(size=(5, 4))
    found = seed_spread(scores)
    assert found.variance == pytest.approx(scores.var(axis=1, ddof=1).mean())
    rest = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    assert found.residual == pytest.approx((rest**2).sum() / 12)
    assert found.residual_freedom == 12
    assert found.own == pytest.approx(scores.var(axis=1, ddof=1))


def test_rows_that_move_together_give_no_more_degrees_of_freedom_than_one_of_them():
    one = np.random.default_rng(0).normal(size=6)
    found = seed_spread(np.array([one, one + 1, one - 2, one]))
    assert found.freedom == pytest.approx(5)
    assert found.residual == 0


def test_degrees_of_freedom_are_those_that_the_pooled_variance_has():
    generator = np.random.default_rng(1)
    rows, seeds, shared = 5, 4, 0.8
    drawn = [
        np.sqrt(shared) * generator.normal(size=seeds) + np.sqrt(1 - shared) * generator.normal(size=(rows, seeds))
        for _ in range(4000)
    ]
    variances = [seed_spread(one).variance for one in drawn]
    true = 2 / np.var(variances)  # the variance of an estimate of 1 with f degrees of freedom is 2 / f
    assert rows * (seeds - 1) / (1 + (rows - 1) * shared**2) == pytest.approx(true, rel=0.1)
    found = [seed_spread(one).freedom for one in drawn]
    assert np.median(found) == pytest.approx(true, rel=0.25)
    assert np.mean(found) < 1.15 * true  # leaning to fewer


def test_rows_that_lack_seeds_count_with_those_they_have():
    nan = math.nan
    found = seed_spread(np.array([[1.0, 2.0, 3.0, nan], [2.0, nan, nan, 4.0], [5.0, nan, nan, nan]]))
    assert found.variance == pytest.approx((2 * 1.0 + 1 * 2.0) / 3)
    assert found.counts == (3, 2, 1)
    assert math.isnan(found.own[2])
    nothing = seed_spread(np.array([[1.0], [2.0]]))
    assert math.isnan(nothing.variance)


def test_a_row_that_scatters_more_than_the_table_is_judged_by_its_own_spread():
    generator = np.random.default_rng(2)
    scores = generator.normal(size=(4, 6))
    scores[1] *= 10
    found = seed_spread(scores)
    assert found.for_row(1) == (pytest.approx(scores[1].var(ddof=1)), 5)
    assert found.for_row(0) == (found.variance, found.freedom)


# -- a printed number is one run


def test_the_standard_error_beside_a_printed_run_is_that_of_a_new_observation():
    variance = np.var(SEEDS, ddof=1)
    low, high = np.mean(SEEDS) + stats.t.ppf([0.025, 0.975], 4) * np.sqrt(variance * (1 + 1 / 5))
    for printed, inside in ((low + 1e-6, True), (low - 1e-6, False), (high - 1e-6, True), (high + 1e-6, False)):
        assert (new_observation_p(np.mean(SEEDS), 5, printed, variance, 4) > 0.05) == inside


@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
def test_one_more_run_of_the_same_system_is_called_another_one_in_a_twentieth_of_cases(seeds):
    generator = np.random.default_rng(seeds)
    hits = []
    for _ in range(4000):
        run, *own = generator.normal(0.6, 0.008, seeds + 1)
        hits.append(new_observation_p(np.mean(own), seeds, run, np.var(own, ddof=1), seeds - 1) < 0.05)
    assert np.mean(hits) == pytest.approx(0.05, abs=0.011)


def test_a_margin_below_the_noise_of_one_run_can_never_be_shown():
    least = noise_of_one_run(0.018**2, 2 * 0.005)  # the limit of ever more seeds that agree with the print, at 0.5 %
    for margin in (least - 1e-4, least + 1e-4):
        p = new_observation_equivalence_p(1.0, 10**9, 1.0, margin, 0.018**2, 1e9)
        assert (p < 0.005) == (margin > least)
    assert least > 0.03


def test_equal_values_never_give_a_p_value_of_zero():
    for constant in np.random.default_rng(0).random(200):  # whose mean is often another number in the last digit
        assert seed_spread(np.full((2, 3), constant)).for_row(0)[0] == 0
        assert seed_spread(np.full((2, 7), constant)).for_row(1)[0] == 0
    spread = seed_spread(np.array([[0.6, 0.6, 0.6], [0.5, 0.5, 0.5]]))
    assert spread.variance == 0
    assert math.isnan(new_observation_p(0.6, 3, 0.5, *spread.for_row(0)))
    assert math.isnan(new_observation_equivalence_p(0.6, 3, 0.6, 0.01, *spread.for_row(0)))
    assert math.isnan(difference([0.1, 0.1, 0.1], pooled=(0.0, 4.0)).p)
    assert math.isnan(difference([0.1 + 0.2, 0.3, 0.3]).p)  # 0.30000000000000004: equal but for rounding
    assert difference([0.0, 0.0, 0.0]).p == 1
    influence = np.random.default_rng(0).normal(size=(3, 50))
    assert math.isnan(difference([0.1, 0.1, 0.1], influence - influence.mean(axis=1, keepdims=True)).p)


# -- two systems


def crossed(generator, seeds, places, of_seed, of_place, of_both, sizes=None):
    """Differences by seed and place of two random effects and their interaction, as `difference` takes them."""
    d = (
        generator.normal(0, of_seed, (seeds, 1))
        + generator.normal(0, of_place, (1, places))
        + generator.normal(0, of_both, (seeds, places))
    )
    weights = np.full(places, 1 / places) if sizes is None else sizes / sizes.sum()
    means = d @ weights
    return means.tolist(), weights * (d - means[:, None])


@pytest.mark.parametrize("seeds", [3, 5, 20])
@pytest.mark.parametrize("parts", [(1.0, 0.0, 0.0), (0.2, 2.0, 2.0), (0.05, 3.0, 0.5), (1.0, 4.0, 4.0)])
def test_no_difference_is_found_in_a_twentieth_of_cases_whatever_seeds_and_places_add(seeds, parts):
    generator = np.random.default_rng(seeds)
    sizes = generator.integers(1, 6, 60).astype(float)
    hits = [difference(*crossed(generator, seeds, 60, *parts, sizes)).p < 0.05 for _ in range(1500)]
    assert np.mean(hits) < 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / 1500)


def test_the_interval_holds_the_truth_and_is_no_wider_than_it_must_be():
    generator = np.random.default_rng(4)
    inside, widths, means = [], [], []
    for _ in range(1500):
        found = difference(*crossed(generator, 10, 80, 0.3, 1.0, 1.0))
        inside.append(abs(found.mean) < found.half)
        widths.append(found.half)
        means.append(found.mean)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.02)
    assert np.mean(widths) == pytest.approx(2.1 * np.std(means), rel=0.1)


def test_one_seed_compares_two_networks_over_places_and_two_seeds_give_no_interval():
    generator = np.random.default_rng(0)
    by_seed, influence = crossed(generator, 1, 100, 0.0, 1.0, 0.0)
    found = difference(by_seed, influence)
    assert (found.seeds, found.places, found.freedom) == (1, 100, 99)
    assert found.error == pytest.approx(np.std(influence * 100, ddof=1) / 10)
    two = difference(*crossed(generator, 2, 100, 1.0, 1.0, 0.0))
    assert math.isnan(two.half)
    assert math.isnan(two.p)


def test_few_seeds_with_predictions_beside_many_without_leave_an_interval():
    generator = np.random.default_rng(0)
    by_seed, influence = crossed(generator, 10, 12, 0.5, 1.0, 2.0)
    halves = [difference(by_seed, influence[[i, j]]).half for i in range(10) for j in range(i)]
    assert max(halves) < 3 * difference(by_seed, influence).half


def test_the_spread_of_pairs_alike_stands_in_where_a_pair_scatters_less_and_its_own_where_it_scatters_more():
    pooled = (1.5, 8.0)
    calm, wild = difference([0.1, 0.11, 0.12], pooled=pooled), difference([5.0, -5.0, 1.0], pooled=pooled)
    assert (calm.seed_variance, calm.freedom) == (1.5, pytest.approx(8))
    assert (wild.seed_variance, wild.freedom) == (pytest.approx(np.var([5.0, -5.0, 1.0], ddof=1)), pytest.approx(2))


def test_the_paired_test_without_places_or_a_table_is_students():
    values = [0.3, 0.1, 0.4, 0.2]
    assert difference(values).p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)


# -- power


@pytest.mark.parametrize(
    ("effect", "deviation", "needed"),
    [
        (0.007, 0.018, (23, 54, 106)),
        (0.009, 0.018, (15, 34, 65)),
        (0.015, 0.01, (4, 6, 10)),
        (0.002, 0.008, (53, 128, 254)),
    ],
)
def test_seeds_needed_are_those_of_the_published_spreads(effect, deviation, needed):
    assert tuple(seeds_needed(effect, deviation**2, r) for r in (0.8, 0.5, 0.0)) == needed


def test_the_power_that_is_promised_is_the_share_of_experiments_that_find_the_effect():
    generator = np.random.default_rng(0)
    seeds = seeds_needed(1.0, 1.0, 0.5)  # paired differences of deviation 1: ten of them
    found = [stats.ttest_1samp(generator.normal(1.0, 1.0, seeds), 0).pvalue < 0.05 for _ in range(4000)]
    assert np.mean(found) == pytest.approx(power_of(1.0, 1 / math.sqrt(seeds), seeds - 1), abs=0.02)
    assert 0.8 <= np.mean(found) + 0.02 < 0.93
    fewer = [stats.ttest_1samp(generator.normal(1.0, 1.0, seeds - 1), 0).pvalue < 0.05 for _ in range(4000)]
    assert np.mean(fewer) < 0.82


def test_power_agrees_with_scipys_noncentral_t_and_stays_finite_far_out():
    for effect, error, freedom in ((1, 0.4, 4), (0.1, 0.5, 30), (1, 0.2, 9)):
        critical = stats.t.ppf(0.975, freedom)
        true = stats.nct.sf(critical, freedom, effect / error) + stats.nct.cdf(-critical, freedom, effect / error)
        assert power_of(effect, error, freedom) == pytest.approx(true, abs=1e-6)
    assert power_of(1.0, 1e-6, 5) == 1
    assert power_of(1.0, 0.06, 9999) == pytest.approx(1)


def test_no_number_of_seeds_is_enough_where_places_alone_hide_the_effect():
    assert seeds_needed(0.01, 0.018**2, 0.8, place_error=0.01, place_freedom=145) is None
    with_places = seeds_needed(0.01, 0.018**2, 0.8, place_error=0.002, place_freedom=145)
    assert with_places > seeds_needed(0.01, 0.018**2, 0.8)
    places = places_needed(0.01, 0.05)
    assert (
        power_of(0.01, 0.05 / math.sqrt(places), places - 1)
        >= 0.8
        > power_of(0.01, 0.05 / math.sqrt(places - 1), places - 2)
    )


def test_the_smallest_effect_is_found_with_the_power_it_names():
    effect = smallest_effect(0.3, 7)
    assert power_of(effect, 0.3, 7) == pytest.approx(0.8, abs=1e-6)


# -- calibration


def test_calibration_is_the_gap_between_confidence_and_being_right():
    # Ten segments at confidence 0.8, six of them right; ten at 0.55, all of them wrong.
    log_probability = np.log([[0.8, 0.2]] * 10 + [[0.55, 0.45]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [1] * 10)
    found = calibration(log_probability, labels)
    assert found.error == pytest.approx((10 * 0.2 + 10 * 0.55) / 20)
    filled = found.segments > 0
    assert found.confidence[filled] == pytest.approx((0.55, 0.8))
    assert found.accuracy[filled] == pytest.approx((0.0, 0.6))
    assert found.segments[filled].tolist() == [10, 10]
    certain = calibration(np.array([[0.0, -np.inf]]), np.array([0]))  # a confidence of one belongs to the last bin
    assert certain.error == 0


def sure(generator, places, confidence, right):
    """Predictions of two classes at 100 places of 20 segments: this confidence, and this share of right ones at each place."""
    shares = np.clip(generator.normal(right, 0.15, places), 0, 1)
    labels = (generator.random((places, 20)) > shares[:, None]).astype(int).ravel()
    return np.tile(np.log([confidence, 1 - confidence]), (places * 20, 1)), labels, np.repeat(np.arange(places), 20)


def test_two_seeds_that_err_in_opposite_directions_are_not_calibrated_together():
    generator = np.random.default_rng(0)
    seeds = [calibration(*sure(generator, 100, 0.7, right)) for right in (0.55, 0.85)]
    error, chance = calibration_interval(seeds)
    assert error.mean == pytest.approx(0.15, abs=0.02)
    assert error.low > 0.1
    assert chance < 0.03


def test_the_interval_of_a_calibration_error_holds_the_truth_over_places():
    generator = np.random.default_rng(1)
    for right, true in ((0.7, 0.1), (0.795, 0.005)):
        inside = []
        for _ in range(120):
            error, _ = calibration_interval([calibration(*sure(generator, 100, 0.8, right))])
            inside.append(error.low <= true <= error.high)
            assert error.low <= error.mean <= error.high
        assert np.mean(inside) > 0.88


def test_seeds_that_were_tested_at_different_places_have_a_calibration_error_without_an_interval():
    generator = np.random.default_rng(0)
    log_probability, labels, places = sure(generator, 20, 0.8, 0.7)
    other = calibration(log_probability[20:], labels[20:], places[20:])
    error, chance = calibration_interval([calibration(log_probability, labels, places), other])
    assert error.mean > 0
    assert math.isnan(error.low)
    assert math.isnan(chance)


def test_perfect_calibration_reads_more_than_nothing_and_the_reference_says_how_much():
    generator = np.random.default_rng(2)
    found = [calibration_interval([calibration(*sure(generator, 100, 0.7, 0.7))]) for _ in range(60)]
    assert np.mean([error.mean for error, _ in found]) == pytest.approx(
        np.mean([chance for _, chance in found]), rel=0.25
    )
    assert np.mean([error.low == 0 for error, _ in found]) > 0.9
