"""The report's verdicts on simulated trials whose truth is known: the small form of `tests/benchmarks/verdicts.py`."""

import numpy as np
import pytest
from scipy import stats

from tests.simulated import (
    false_of_a_reproduction,
    false_of_one_system,
    found_effects,
    found_off,
    planted,
    predicted,
    said,
    verdicts,
)

REPORTS = 80
MOST = int(stats.binom.ppf(0.999, REPORTS, 0.07))
"""Of reports with a false verdict, where at most 7 % are: more are found by chance in a thousandth of runs."""


def share(false, make, seeds):
    return sum(bool(false(verdicts(make(np.random.default_rng([seeds, i]), seeds)))) for i in range(REPORTS))


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 6])
def test_one_system_under_several_names_is_rarely_called_different(seeds):
    assert share(false_of_one_system, predicted, seeds) <= MOST


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 10])
def test_a_faithful_reproduction_is_rarely_called_another_system(seeds):
    assert share(false_of_a_reproduction, planted, seeds) <= MOST


@pytest.mark.slow
def test_what_is_off_by_three_points_is_found_and_so_are_the_papers_large_effects():
    off = [found_off(verdicts(planted(np.random.default_rng(i), 10, off=(0.08, -0.03)))) for i in range(10)]
    assert np.mean(off) > 0.25
    true = [found_effects(verdicts(planted(np.random.default_rng(i), 10, "printed"))) for i in range(10)]
    assert np.mean(true) > 0.6


def test_a_large_effect_in_predictions_is_found_over_seeds_and_places():
    words = verdicts(predicted(np.random.default_rng(0), 5, gain=1.0))["effects-list"]
    assert [word[0] for word in words] == ["="] * 12 + ["?"] * (
        len(words) - 12
    )  # what fine-tuning does, and nothing else


def test_the_reports_tables_print_these_verdicts_and_no_others():
    evidence = planted(np.random.default_rng(0), 3)
    printed, found = said(evidence), verdicts(evidence)
    assert sorted(printed["effects-list"]) == sorted(found["effects-list"])
    for name in ("table-2-scores", "table-4-scores"):
        assert sorted(printed[name]) == sorted(found[name])
    assert set(printed) == {"effects-list", "table-2-scores", "table-4-scores", "table-2-sizes"}
