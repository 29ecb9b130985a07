"""What to say of a row without a trial: the command that fills it, or why its trial failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Text
from asc_sweeps.config.space_file import shipped_spaces
from asc_sweeps.workspace.records import TrialFailure

COUNTING = "table2_ablation"
"""Every study counts the networks at the paper's size; the small size of this one takes minutes and no data."""


def commands(study: str, generated: bool | None, evidence: Evidence) -> tuple[str, ...]:
    """The lines that fill rows of this study's table: the small size on generated data, the full one, or both for None.

    As they were given where the study was run before, with its data and options. No line where no such study is shipped.
    """
    if study not in shipped_spaces():
        return ()
    given = {record.mini: record.command for record in evidence.studies if record.study == study}
    workspace = next(
        (found[0] for r in evidence.studies if (found := re.search(r" --workspace ('.*?'|\S+)", r.command))), ""
    )
    full = given.get(False, f"asc-sweeps sweep {study}{workspace}")
    mini = given.get(True, f"asc-sweeps sweep {study} --mini{workspace}")
    return (full, mini) if generated is None else (mini,) if generated else (full,)


def failures_of(failures: Sequence[TrialFailure], system: str, phase: str, width: int | None) -> list[TrialFailure]:
    """Failed trials of one of the paper's systems in this phase, at this width, or at any where it is None.

    A failure holds no settings, so it may be of another family of the same width; the words say "a trial".
    """
    kind, _ = _split(system)
    same = [(f, *_split(f.system)) for f in failures if f.phase == phase]
    return [f for f, its_kind, its_width in same if its_kind == kind and width in (None, its_width)]


def _split(system: str) -> tuple[str, int | None]:
    """A system's name without its width, and the width."""
    found = re.search(r"-(\d+)", system)
    return (system[: found.start()] + system[found.end() :], int(found[1])) if found else (system, None)


def remark(failures: Sequence[TrialFailure], done: bool, fill: Sequence[str]) -> Cell | None:
    """What stands below a row: failed trials with their cause, and where no trial is done, the command to run."""
    text = ""
    if failures:
        first = failures[0]
        count = "A trial" if len(failures) == 1 else f"{len(failures)} trials"
        text = f"{count} of {first.system} failed ({first.cause}): {first.message}"
    if done or not fill:
        return Cell(text, "remark") if text else None
    return Cell(f"{text or 'No trial yet'}; run", "remark", codes=tuple(fill))


def empty(fill: tuple[str, ...]) -> Text:
    """The line under a table without any trial."""
    return Text("No trial of this table is finished; run" if fill else "No trial of this table is finished.", fill)
