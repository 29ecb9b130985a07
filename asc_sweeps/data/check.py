"""The rules for a data set's lists and audio files, and the segments that the lists describe. Does not import torch."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from itertools import product
from operator import attrgetter
from pathlib import Path

from asc_sweeps.config.gc_pause import gc_paused
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.labels import CITIES, DEVICES, PIECES, SCENES
from asc_sweeps.data.tau import (
    LISTS,
    META,
    RECORDING_OF_2020,
    SEGMENT,
    Segment,
    SegmentList,
    has_whole_recordings,
    read_lists,
)
from asc_sweeps.data.wav import WavError, check_wav
from asc_sweeps.errors import DataError, did_you_mean
from asc_sweeps.workspace.paths import cores

FILES_PER_TASK = 256  # between two reports of progress, for each thread
KNOWN_WORDS = frozenset(product(SCENES, DEVICES, CITIES))
PIECE_NUMBERS = {str(piece): piece for piece in range(PIECES)}
Counts = Counter[tuple[str, str, str]]  # segments by location, recording and split


def read_folder(folder: Path, findings: Findings) -> list[Segment]:
    """The segments of a data set's lists, in the order of meta.csv; violations of rules go to `findings`.

    Raises DataError if there is nothing to read: missing folder or lists, or a different data set.
    """
    with gc_paused():
        lists = read_lists(folder, findings)
        _check_duplicates(lists, findings)
        read = _segments_of_recordings if has_whole_recordings(folder) else _segments
        listed = {key: list(map(lists[META].rows.get, lists[LISTS[key]].names)) for key in ("train", "evaluate")}
        segments = read(lists[META], _splits(lists, listed, findings), findings)
        if lists[META].has_duplicates:
            segments = list({segment.filename: segment for segment in reversed(segments)}.values())[::-1]
        _check_against_meta(lists, listed, findings)
        counts = Counter(map(attrgetter("location", "recording", "split"), segments))
        _check_splits(counts, findings)
        _check_pieces(segments, counts, findings)
        return segments


def check_audio(
    folder: Path, segments: list[Segment], findings: Findings, progress: Callable[[int, int], None] | None = None
) -> None:
    """Check the header of each listed WAV file (44.1 kHz, mono, 24 bit, one second), and look for files that are not listed."""
    try:
        names = sorted(os.listdir(folder / "audio"))
    except OSError as error:
        raise DataError(f"{printable(folder / 'audio')}: cannot be read ({error.strerror})") from None
    listed = {Path(segment.file).name for segment in segments}
    for name in names:
        if name not in listed:
            findings.add(f"not listed in {META}", f"audio/{name}", fatal=False)

    def check(chunk: list[Segment]) -> list[tuple[Segment, WavError]]:
        errors = []
        for segment in chunk:
            try:
                check_wav(folder / segment.file, PIECES if segment.recording_file else 1)
            except WavError as error:
                errors.append((segment, error))
        return errors

    files = list({segment.file: segment for segment in segments}.values())
    chunks = [files[start : start + FILES_PER_TASK] for start in range(0, len(files), FILES_PER_TASK)]
    with ThreadPoolExecutor(cores()) as pool:
        for i, errors in enumerate(pool.map(check, chunks), start=1):
            for segment, problem in errors:
                # Files in neither list are not used for training.
                findings.add(problem.rule, problem.describe(segment.file), fatal=segment.split != "unused")
            if progress:
                progress(min(i * FILES_PER_TASK, len(files)), len(files))


def _check_duplicates(lists: dict[str, SegmentList], findings: Findings) -> None:
    for list_name, table in lists.items():
        seen: set[str] = set()
        for line, name in zip(table.lines, table.names, strict=True) if table.has_duplicates else ():
            if name in seen:
                findings.add("listed twice", f"{list_name}:{line}: {name}")
            seen.add(name)


def _splits(lists: dict[str, SegmentList], listed: dict[str, list[int | None]], findings: Findings) -> list[str]:
    """The split of each row of meta.csv: train, test or unused. `listed`: the rows of meta.csv that each list names."""
    meta, train, evaluate = (lists[name] for name in (META, LISTS["train"], LISTS["evaluate"]))
    for line, name in zip(evaluate.lines, evaluate.names, strict=True):
        if name in train.rows:
            findings.add("listed in both train and test", f"{LISTS['evaluate']}:{line}: {name}")
    splits = ["unused"] * len(meta.names)
    for key, split in (("train", "train"), ("evaluate", "test")):
        for row in listed[key]:
            if row is not None:
                splits[row] = split
    return [splits[meta.rows[name]] for name in meta.names] if meta.has_duplicates else splits


def _segments(meta: SegmentList, splits: list[str], findings: Findings) -> list[Segment]:
    segments: list[Segment] = []
    checked: dict[str, tuple[str, str, str, str]] = {}
    make = partial(tuple.__new__, Segment)  # half of the time of `Segment(...)`, which counts its arguments
    for line, name, scene, identifier, device, split in zip(meta.lines, *meta.columns, splits, strict=True):
        front, _, end = name.rpartition("-")
        shared, piece = f"{front[:-1]}-{end}", PIECE_NUMBERS.get(front[-1:])
        known = checked.get(shared) if piece is not None else None
        # Nine of ten rows differ only in the piece from a row that was checked and is valid.
        if not known or known[1:] != (scene, identifier, device):
            recording, is_valid = _check_row(SEGMENT, line, (name, scene, identifier, device), findings)
            if not recording:
                continue
            known = recording, scene, identifier, device
            if is_valid:
                checked[shared] = known
        segments.append(make((name, scene, identifier, known[0], piece, device, split, "")))
    return segments


def _segments_of_recordings(meta: SegmentList, splits: list[str], findings: Findings) -> list[Segment]:
    """Ten segments of each recording in a meta.csv of 2020."""
    segments = []
    for line, name, scene, identifier, device, split in zip(meta.lines, *meta.columns, splits, strict=True):
        recording, _ = _check_row(RECORDING_OF_2020, line, (name, scene, identifier, device), findings)
        if recording:
            front, _, end = name.rpartition("-")
            for piece in range(PIECES):
                name_of_2022 = f"{front}-{piece}-{end}"
                segments.append(Segment(name_of_2022, scene, identifier, recording, piece, device, split, name))
    return segments


def _check_row(pattern: re.Pattern[str], line: int, row: tuple[str, ...], findings: Findings) -> tuple[str, bool]:
    """The recording of a row of meta.csv, empty for a malformed name; and whether the row is valid."""
    name, scene, identifier, device = row
    match = pattern.fullmatch(name)
    if not match:
        piece = "-<piece>" if pattern is SEGMENT else ""
        rule = f"file name must have the form audio/<scene>-<city>-<location>-<recording>{piece}-<device>.wav"
        findings.add(rule, f"{META}:{line}: {name}")
        return "", False
    named_scene, city, location, number, *_, named_device = match.groups()
    is_known = (scene, device, city) in KNOWN_WORDS
    if not is_known:
        words = (("scene", scene, SCENES, True), ("device", device, DEVICES, True), ("city", city, CITIES, False))
        for word, value, known, fatal in words:
            if value not in known:
                findings.add(f"unknown {word}", f"{META}:{line}: '{value}'{_nearest(value, known)} ({name})", fatal)
    agrees = (named_scene, f"{city}-{location}", named_device) == (scene, identifier, device)
    if not agrees:
        findings.add("row contradicts the file name", f"{META}:{line}: {' '.join(row)}")
    return f"{named_scene}-{city}-{location}-{number}-{named_device}", is_known and agrees


@lru_cache
def _nearest(value: str, known: tuple[str, ...]) -> str:
    return did_you_mean(value.lower(), known) or f"; known: {', '.join(known)}"


def _check_against_meta(lists: dict[str, SegmentList], listed: dict[str, list[int | None]], findings: Findings) -> None:
    scenes = lists[META].columns[1]
    for key, rows in listed.items():
        table = lists[LISTS[key]]
        for line, name, scene, row in zip(table.lines, *table.columns, rows, strict=True):
            if row is None:
                findings.add(f"missing from {META}", f"{LISTS[key]}:{line}: {name}")
            elif scene != scenes[row]:
                findings.add(f"scene differs from {META}", f"{LISTS[key]}:{line}: {name}: {scene}, not {scenes[row]}")
    test, evaluate = (lists[LISTS[key]].rows.keys() for key in ("test", "evaluate"))
    for name in sorted(test ^ evaluate):
        only = "fold1_test.csv" if name in test else "fold1_evaluate.csv"
        findings.add("must be listed in both fold1_test.csv and fold1_evaluate.csv", f"{name}: only in {only}")


def _check_splits(counts: Counts, findings: Findings) -> None:
    for split in ("train", "test"):
        if not any(key[-1] == split for key in counts):
            findings.add("split without segments", split)
    for part, word in enumerate(("location", "recording")):
        train, test = Counter[str](), Counter[str]()
        for key, count in counts.items():
            if key[-1] != "unused":
                (train if key[-1] == "train" else test)[key[part]] += count
        for name in sorted(train.keys() & test.keys()):
            findings.add(f"{word} in both train and test", f"{name}: {train[name]} train, {test[name]} test")


def _check_pieces(segments: list[Segment], counts: Counts, findings: Findings) -> None:
    # Ten segments in one split are complete: no two segments have the same name.
    incomplete = {recording for (_, recording, _), count in counts.items() if count != PIECES}
    splits: dict[str, dict[int, str]] = defaultdict(dict)
    for segment in segments if incomplete else ():
        if segment.recording in incomplete:
            splits[segment.recording][segment.piece] = segment.split
    for recording, split_of in sorted(splits.items()):
        missing = sorted(set(range(PIECES)) - split_of.keys())
        if missing:
            detail = f"{recording}: missing {', '.join(map(str, missing))}"
            findings.add("a recording must have all ten pieces", detail, fatal=False)
        unused = sorted(piece for piece, split in split_of.items() if split == "unused")
        if 0 < len(unused) < len(split_of):
            detail = f"{recording}: {', '.join(map(str, unused))} in neither list"
            findings.add("all pieces of a recording must be in the same list", detail, fatal=False)
