"""What is shown for a row without a trial: the command that fills it, or why its trial failed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Text
from asc_sweeps.config.space_file import shipped_spaces
from asc_sweeps.workspace.records import TrialFailure


def commands(study: str, generated: bool | None, evidence: Evidence) -> tuple[str, ...]:
    """The commands that fill rows of this study's table: at mini size on generated data, in full, or both for None.

    A study that was run before is repeated with its data and options. No command if no such study is shipped.
    """
    if study not in shipped_spaces():
        return ()
    given = {record.mini: record.command for record in evidence.studies if record.study == study}
    options = (re.search(r" --workspace ('.*?'|\S+)", record.command) for record in evidence.studies)
    workspace = next((found[0] for found in options if found), "")
    full = given.get(False, f"asc-sweeps sweep {study}{workspace}")
    mini = given.get(True, f"asc-sweeps sweep {study} --mini{workspace}")
    return (full, mini) if generated is None else (mini,) if generated else (full,)


def failures_of(failures: Sequence[TrialFailure], system: str, phase: str, width: int | None) -> list[TrialFailure]:
    """Failed trials of one of the paper's systems in this phase, at this width, or at any for None.

    Failures are stored without settings, so they may belong to another family of the same width.
    """
    name, _ = _split(system)
    same = [(failure, *_split(failure.system)) for failure in failures if failure.phase == phase]
    return [failure for failure, other, w in same if other == name and width in (None, w)]


def _split(system: str) -> tuple[str, int | None]:
    """A system's name without its width, and the width."""
    found = re.search(r"-(\d+)", system)
    return (system[: found.start()] + system[found.end() :], int(found[1])) if found else (system, None)


def remark(failures: Sequence[TrialFailure], done: bool, fill: Sequence[str]) -> Cell | None:
    """The line below a row: failed trials with their cause and, if no trial is done, the command to run."""
    text = ""
    if failures:
        first = failures[0]
        count = "A trial" if len(failures) == 1 else f"{len(failures)} trials"
        text = f"{count} of {first.system} failed ({first.cause}): {first.message}"
    if done or not fill:
        return Cell(text, "remark") if text else None
    return Cell(f"{text or 'No trial yet'}; run", "remark", codes=tuple(fill))


def empty(fill: tuple[str, ...]) -> Text:
    """The note below a table without any trial."""
    return Text("No trial of this table is finished; run" if fill else "No trial of this table is finished.", fill)
