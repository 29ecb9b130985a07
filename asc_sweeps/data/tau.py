"""The folder of TAU Urban Acoustic Scenes 2022 Mobile, development: its layout and lists; other data sets are recognized and refused.

Layout: `meta.csv`, `evaluation_setup/fold1_{train,test,evaluate}.csv`, `audio/*.wav`. The data set of 2020 has the same layout with
recordings of 10 s, each of which counts as ten segments. Reads no audio; the rules are in `check`.
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
from asc_sweeps.data.tab_separated import read_text
from asc_sweeps.errors import REMEDIES, DataError, describe_os_error
from asc_sweeps.workspace.atomic_files import filename_in_errors

GENERATED_STAMP = "GENERATED.json"  # in the root of a folder of generated data
FOLDER_NAME = "TAU-urban-acoustic-scenes-2022-mobile-development"
META = "meta.csv"
LISTS = {name: f"evaluation_setup/fold1_{name}.csv" for name in ("train", "test", "evaluate")}
LIST_COLUMNS = {
    META: ("filename", "scene_label", "identifier", "source_label"),
    LISTS["train"]: ("filename", "scene_label"),
    LISTS["test"]: ("filename",),
    LISTS["evaluate"]: ("filename", "scene_label"),
}
SUBSET_FOLDERS = ("evaluation_setup", ".", "split_setup")  # where the lists of the 2024 challenge, `split*.csv`, may be
SEGMENT = re.compile(r"audio/([a-z_]+)-([a-z]+)-([0-9]+)-([0-9]+)-([0-9])-([a-z][0-9]*)\.wav")
RECORDING_OF_2020 = re.compile(r"audio/([a-z_]+)-([a-z]+)-([0-9]+)-([0-9]+)-([a-z][0-9]*)\.wav")
EVALUATION_FILE = re.compile(r"audio/[0-9]+\.wav")
SAMPLED_NAMES = 1000  # file names from which a data set is recognized


class Segment(NamedTuple):
    """One second of one recording by one device, according to its row and file name."""

    filename: str
    scene: str
    location: str  # `<city>-<number>`, the identifier of meta.csv
    recording: str  # the file name without the piece: shared by the ten segments of a recording of 10 s
    piece: int  # which second of its recording, 0..9
    device: str
    split: str  # `train`, `test`, or `unused` if in neither list
    recording_file: str = ""
    """In the layout of 2020, the file of the whole recording; then `filename` is the name that 2022 gives this segment."""

    @property
    def file(self) -> str:
        """The file that contains the segment."""
        return self.recording_file or self.filename


@dataclass(frozen=True)
class SegmentList:
    """A list, stored by column: with hundreds of thousands of rows, whole columns are much faster to check."""

    lines: Sequence[int]  # line number of each row in the file
    columns: Sequence[Sequence[str]]  # as in LIST_COLUMNS

    @property
    def names(self) -> Sequence[str]:
        """The first column, `filename`."""
        return self.columns[0]

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row number by file name; the last one of duplicates."""
        return dict(zip(self.names, range(len(self.names)), strict=True))

    @property
    def has_duplicates(self) -> bool:
        """Whether a file is listed more than once."""
        return len(self.rows) < len(self.names)


def read_stamp(folder: Path) -> dict[str, Any] | None:
    """The stamp of a folder of generated data, or None for any other folder.

    Raises DataError for a damaged stamp: generated sound must never pass for real recordings.
    """
    path = folder / GENERATED_STAMP
    if not os.path.lexists(path):
        return None
    try:
        with filename_in_errors(path):
            stamp = json.loads(path.read_text(encoding="utf-8"))
        if stamp["generated"] is True and isinstance(stamp["plan"], str):
            return stamp
        problem = "lacks its plan"
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, OSError) and error.errno in REMEDIES:  # the disk's fault, not the stamp's
            raise DataError(describe_os_error(error)) from None
        problem = f"cannot be read ({type(error).__name__}: {error})"
    raise DataError(
        f"{printable(path)}: the stamp of generated data {problem}; delete the folder and generate it again with "
        "`asc-sweeps data synthesize`"
    )


def read_lists(folder: Path, findings: Findings) -> dict[str, SegmentList]:
    """The four lists by file name; malformed rows go to `findings`.

    Raises DataError if there is nothing to read: missing folder or lists, or a different data set.
    """
    lists, problems = {}, []
    try:
        _check_folder(folder)
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
        raise DataError(f"{printable(folder / META)}: lists no segments; the file may be incomplete")
    return lists


def has_whole_recordings(folder: Path) -> bool:
    """Whether the folder has the layout of 2020, in which most names lack the piece."""
    names = _sample_names(folder)
    return 2 * sum(RECORDING_OF_2020.fullmatch(name) is not None for name in names) > len(names)


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        problem = "is a file" if folder.exists() else "no such folder"
        raise DataError(f"{printable(folder)}: {problem}; give the folder that contains {META} and audio/")
    _refuse_evaluation_set(folder)
    if _has_layout(folder):
        return
    near = [*sorted(folder.iterdir()), folder.resolve().parent]
    inner = next((path for path in near if _has_layout(path)), None)
    hint = f"did you mean {printable(inner)}?" if inner else f"the data set of 2022 is the folder {FOLDER_NAME}"
    missing = "folder audio/" if (folder / META).is_file() else META
    raise DataError(f"{printable(folder)}: not a data set of this layout: it contains no {missing}; {hint}")


def _has_layout(folder: Path) -> bool:
    return (folder / META).is_file() and (folder / "audio").is_dir()


def _refuse_evaluation_set(folder: Path) -> None:
    names = _sample_names(folder)
    numbered = sum(EVALUATION_FILE.fullmatch(name) is not None for name in names)
    labelled = any((folder / name).is_file() for name, columns in LIST_COLUMNS.items() if "scene_label" in columns)
    if 2 * numbered > len(names) or (names and (folder / LISTS["test"]).is_file() and not labelled):
        raise DataError(
            f"{printable(folder)}: an evaluation set without labels (file names such as {printable(names[0])}); "
            f"training needs the development set ({FOLDER_NAME})"
        )


def _sample_names(folder: Path) -> list[str]:
    """Some file names: from the first list that exists, whatever its columns, or else from the audio folder."""
    for name in LIST_COLUMNS:
        if (folder / name).is_file():
            with filename_in_errors(folder / name), open(folder / name, encoding="utf-8-sig", errors="replace") as file:
                lines = list(itertools.islice(file, SAMPLED_NAMES))
            return [line.rstrip("\n").partition("\t")[0] for line in lines[1:] if line.startswith("audio/")]
    if not (folder / "audio").is_dir():
        return []
    with os.scandir(folder / "audio") as entries:
        return [f"audio/{entry.name}" for entry in itertools.islice(entries, SAMPLED_NAMES)]


def _read_list(folder: Path, name: str, findings: Findings) -> SegmentList:
    path, columns = folder / name, LIST_COLUMNS[name]
    if not path.is_file():
        raise DataError(f"{printable(folder)}: missing list {name}{_hint_at_2024(folder, name)}")
    header, *lines = read_text(path).split("\n")
    found = header.split("\t")
    if tuple(found[: len(columns)]) != columns:
        problem = _header_problem(header, columns)
        raise DataError(f"{printable(path)}:1: the header must be {' TAB '.join(columns)}; {problem}")
    numbers, rows, width = [], [], len(found)
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        if line.count("\t") + 1 == width:
            numbers.append(number)
            rows.append(line)
        else:
            findings.add(f"a row must have {width} columns", f"{name}:{number}: {line}")
    cells = "\t".join(rows).split("\t") if rows else []  # all at once: a third of the time of line by line
    return SegmentList(numbers, [cells[column::width] for column in range(len(columns))])


def _header_problem(header: str, columns: Sequence[str]) -> str:
    if not header:
        return "the first line is empty"
    text = f"found '{printable(header)}'"
    if "," in header or ";" in header:
        return f"{text}; columns must be separated by TAB"
    missing = [column for column in columns if column not in header.split("\t")]
    return f"{text}; missing: {', '.join(missing)}" if missing else text


def _hint_at_2024(folder: Path, name: str) -> str:
    """A hint if there are subset lists of the 2024 and 2025 challenges, which come without the lists of 2022."""
    subsets = [path for place in SUBSET_FOLDERS for path in sorted((folder / place).glob("split*.csv"))]
    if not subsets or name != LISTS["train"]:
        return ""
    return f" ({subsets[0].name} belongs to the challenges of 2024 and 2025; the fold1 lists of 2022 are needed)"
