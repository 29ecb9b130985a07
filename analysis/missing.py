"""What to say of a row without a trial: the command that fills it, or why its trial failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.blocks import Cell, words
from analysis.families import Family
from asc_sweeps.results import TrialFailure
from asc_sweeps.space import shipped_spaces

COUNTING = "asc-sweeps sweep table2_ablation --mini"
"""Every study counts the networks at the paper's size; this one takes minutes and no data."""


def commands(study: str, family: Family | None) -> tuple[str, ...]:
    """The lines that fill rows of this study's table: at the size that is shown, or both where nothing is.

    None where no study of this name is shipped.
    """
    if study not in shipped_spaces():
        return ()
    full, mini = f"asc-sweeps sweep {study}", f"asc-sweeps sweep {study} --mini"
    if family is None:
        return (full, mini)
    return (mini,) if family.generated else (full,)


def failures_of(failures: Sequence[TrialFailure], system: str, phase: str, width: int | None) -> list[TrialFailure]:
    """Failed trials of one of the paper's systems in this phase, at this width, or at any where it is None.

    A failure holds no settings, so it may be of another family of the same width; the words say "a trial".
    """
    pattern = re.sub(r"-\\\d+", r"-\\d+" if width is None else f"-{width}", re.escape(system), count=1)
    return [f for f in failures if f.phase == phase and re.fullmatch(pattern, f.system)]


def remark(failures: Sequence[TrialFailure], done: bool, fill: Sequence[str]) -> Cell:
    """The last cell of a row: failed trials with their cause, and where no trial is done, the command to run."""
    if failures:
        first = failures[0]
        count = "a trial" if len(failures) == 1 else f"{len(failures)} trials"
        text = f"{count} of this system failed ({first.cause}): {first.message}"
        return words(text, "" if done or not fill else fill[0])
    if done:
        return words("")
    if not fill:
        return words("no trial; no shipped study fills this row")
    return words("no trial yet; run", " or ".join(fill))
