"""The folder of TAU Urban Acoustic Scenes 2022 Mobile, development: its layout, its lists, and how other sets are told apart.

Layout: `meta.csv`, `evaluation_setup/fold1_{train,test,evaluate}.csv`, `audio/*.wav`. The set of 2020 has it, too, with the whole
recordings of 10 s, which are taken for their ten pieces. Reads no audio; the rules are in check.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.errors import REMEDIES, DataError, describe_os_error
from asc_sweeps.workspace.atomic_files import filename_in_errors

GENERATED_STAMP = "GENERATED.json"
"""At the root of a folder of generated data."""
FOLDER_NAME = "TAU-urban-acoustic-scenes-2022-mobile-development"
META = "meta.csv"
LISTS = {name: f"evaluation_setup/fold1_{name}.csv" for name in ("train", "test", "evaluate")}
LIST_COLUMNS = {
    META: ("filename", "scene_label", "identifier", "source_label"),
    LISTS["train"]: ("filename", "scene_label"),
    LISTS["test"]: ("filename",),
    LISTS["evaluate"]: ("filename", "scene_label"),
}
SEGMENT = re.compile(r"audio/([a-z_]+)-([a-z]+)-([0-9]+)-([0-9]+)-([0-9])-([a-z][0-9]*)\.wav")
RECORDING_OF_2020 = re.compile(r"audio/([a-z_]+)-([a-z]+)-([0-9]+)-([0-9]+)-([a-z][0-9]*)\.wav")
SOME = 1000
"""Names by which a set is told."""
EVALUATION = re.compile(r"audio/[0-9]+\.wav")


class Segment(NamedTuple):
    """One second of one recording by one device, as its row and name say."""

    filename: str
    scene: str
    location: str
    """`<city>-<number>`, the identifier of meta.csv."""
    recording: str
    """The name without its piece: what the ten pieces of one 10 s recording share."""
    piece: int
    device: str
    split: str
    """`train`, `test`, or `unused` when it stands in neither list."""
    recording_file: str = ""
    """The file of the whole recording that it is a piece of, in the layout of 2020; then `filename` is what 2022 calls it."""

    @property
    def file(self) -> str:
        """The file that holds it."""
        return self.recording_file or self.filename


@dataclass(frozen=True)
class SegmentList:
    """A list, column by column: of hundreds of thousands of rows, most questions are asked of a whole column at once."""

    lines: Sequence[int]
    """Where each row stands in the file."""
    columns: Sequence[Sequence[str]]
    """Those of LIST_COLUMNS, in that order."""

    @property
    def names(self) -> Sequence[str]:
        """The files, which every list has in its first column."""
        return self.columns[0]

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each file; of one that stands in it twice, the last."""
        return dict(zip(self.names, range(len(self.names)), strict=True))

    @property
    def has_repeats(self) -> bool:
        """Whether a file stands in it twice."""
        return len(self.rows) < len(self.names)


def read_stamp(folder: Path) -> dict[str, Any] | None:
    """What the generator wrote into a generated folder, or None for any other.

    Raises DataError for a damaged stamp: generated sound must never pass for recordings.
    """
    path = folder / GENERATED_STAMP
    if not os.path.lexists(path):
        return None
    try:
        with filename_in_errors(path):
            stamp = json.loads(path.read_text(encoding="utf-8"))
        if stamp["generated"] is True and isinstance(stamp["plan"], str):
            return stamp
        problem = "does not say what was generated"
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in REMEDIES:  # nothing is wrong with the stamp
            raise DataError(describe_os_error(error)) from None
        problem = f"cannot be read ({type(error).__name__}: {error})"
    raise DataError(
        f"{printable(path)}: the stamp of generated data {problem}; "
        "delete the folder and generate it again with `asc-sweeps data synthesize`"
    )


def read_lists(folder: Path, findings: Findings) -> dict[str, SegmentList]:
    """The four lists by name; rows of a wrong length go to `findings`.

    Raises DataError where there is nothing to read: no such folder, another year's set, lists that are not there.
    """
    try:
        _refuse_other_folders(folder)
        lists, problems = {}, []
        for name in LIST_COLUMNS:
            try:
                lists[name] = _read_list(folder, name, findings)
            except DataError as error:
                problems.append(str(error))
    except OSError as error:
        raise DataError(f"{printable(folder)}: cannot be read ({error.strerror})") from None
    if problems:
        raise DataError("\n".join(problems))
    if not lists[META].lines:
        raise DataError(f"{printable(folder / META)}: lists no segments; is the file complete?")
    return lists


def _refuse_other_folders(folder: Path) -> None:
    if not folder.exists():
        raise DataError(f"{printable(folder)}: there is no such folder; give the one that holds {META} and audio/")
    if not folder.is_dir():
        raise DataError(f"{printable(folder)}: is a file; give the folder that holds {META} and audio/")
    _refuse_other_sets(folder)
    if (folder / META).is_file() and (folder / "audio").is_dir():
        return
    near = [*sorted(folder.iterdir()), folder.resolve().parent]
    inner = next((p for p in near if (p / META).is_file() and (p / "audio").is_dir()), None)
    hint = f"did you mean {printable(inner)}?" if inner else f"the 2022 set is the folder {FOLDER_NAME}"
    missing = next(name for name, there in ((META, (folder / META).is_file()), ("folder audio/", False)) if not there)
    raise DataError(f"{printable(folder)}: not a data set of this layout: there is no {missing} in it; {hint}")


def has_whole_recordings(folder: Path) -> bool:
    """Whether the folder has the layout of 2020: most names lack the piece."""
    names = _some_names(folder)
    return 2 * sum(RECORDING_OF_2020.fullmatch(name) is not None for name in names) > len(names)


def _refuse_other_sets(folder: Path) -> None:
    names = _some_names(folder)
    numbers = [name for name in names if EVALUATION.fullmatch(name)]
    labelled = any((folder / name).is_file() for name, columns in LIST_COLUMNS.items() if "scene_label" in columns)
    unlabelled = (folder / LISTS["test"]).is_file() and not labelled
    if len(numbers) > len(names) / 2 or (names and unlabelled):
        raise DataError(
            f"{printable(folder)}: an evaluation set, which comes without labels (its files are called "
            f"{printable(names[0])} and so on); training needs the development set ({FOLDER_NAME})"
        )


def _some_names(folder: Path) -> list[str]:
    """File names by which a set can be told: of its first list, whatever its columns are, or else of its audio."""
    for name in LIST_COLUMNS:
        if (folder / name).is_file():
            with filename_in_errors(folder / name), open(folder / name, encoding="utf-8-sig", errors="replace") as file:
                lines = list(itertools.islice(file, SOME))
            return [line.rstrip("\n").partition("\t")[0] for line in lines[1:] if line.startswith("audio/")]
    if not (folder / "audio").is_dir():
        return []
    with os.scandir(folder / "audio") as entries:
        return [f"audio/{entry.name}" for entry in itertools.islice(entries, SOME)]


def _read_list(folder: Path, name: str, findings: Findings) -> SegmentList:
    """LF or CRLF, with or without a last newline or a byte-order mark."""
    path, columns = folder / name, LIST_COLUMNS[name]
    if not path.is_file():
        raise DataError(f"{printable(folder)}: there is no {name}{_lists_of_2024(folder, name)}")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{printable(path)}: not a UTF-8 text (byte {error.start})") from None
    header = tuple(lines[0].split("\t"))
    if header[: len(columns)] != columns:
        raise DataError(f"{printable(path)}:1: the header must be {' TAB '.join(columns)}; {_found(lines[0], columns)}")
    numbers, rows, wanted = [], [], len(header)
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        if line.count("\t") + 1 == wanted:
            numbers.append(number)
            rows.append(line)
        else:
            findings.add(f"a row must have {wanted} columns", f"{name}:{number}: {line}")
    fields = "\t".join(rows).split("\t") if rows else []  # at once, in a third of the time that it takes line by line
    return SegmentList(numbers, [fields[at::wanted] for at in range(len(columns))])


def _found(header: str, columns: Sequence[str]) -> str:
    if not header:
        return "the file is empty, or its first line is"
    text = f"found '{printable(header)}'"
    if "," in header or ";" in header:
        return f"{text}; columns are parted by TABs"
    missing = [column for column in columns if column not in header.split("\t")]
    return f"{text}; missing: {', '.join(missing)}" if missing else text


def _lists_of_2024(folder: Path, name: str) -> str:
    """A hint for the subsets of the 2024 and 2025 challenges, which come without the lists of 2022."""
    found = [
        p for place in (".", "evaluation_setup", "split_setup") for p in sorted((folder / place).glob("split*.csv"))
    ]
    if not found or name != LISTS["train"]:
        return ""
    return f" ({found[0].name} is there: a list of the 2024 and 2025 challenges; the fold1 lists of 2022 are needed)"
