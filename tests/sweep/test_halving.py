"""Asynchronous successive halving, from its rule: the best third of those that have reached a rung so far go on."""

import pytest

from asc_sweeps.config.search_space import Scheduler
from asc_sweeps.sweep.halving import Halving


def test_only_the_best_share_of_those_that_reached_a_rung_continues():
    halving = Halving(Scheduler(grace_epochs=2, reduction=3))
    assert halving.continues("a", 2, 1.0)  # the first to come
    assert not halving.continues("b", 2, 1.1)
    assert halving.continues("c", 2, 0.9)
    assert not halving.continues("d", 2, 0.95)
    assert not halving.continues("e", 2, 0.95)
    assert halving.continues("f", 2, 0.92)  # the second best of six, of which two go on


@pytest.mark.parametrize(
    ("grace", "reduction", "rungs"), [(1, 3, [1, 3, 9, 27]), (4, 2, [4, 8, 16, 32]), (5, 4, [5, 20])]
)
def test_rungs_lie_at_grace_times_powers_of_the_reduction(grace, reduction, rungs):
    halving = Halving(Scheduler(grace, reduction))
    for epoch in range(1, 41):
        halving.continues("best", epoch, 0.1)
    assert [epoch for epoch in range(1, 41) if not halving.continues("worse", epoch, 0.2)] == rungs


def test_what_trials_of_an_earlier_run_reached_counts():
    halving = Halving(Scheduler(1, 3))
    halving.remember("old", [0.5, 0.4, 0.3])
    assert not halving.continues("new", 1, 0.6)
    assert halving.continues("better", 1, 0.45)
    assert halving.continues("new", 2, 9.0)
    assert not halving.continues("new", 3, 0.31)
    halving.remember("no validation", [None, None, None])
