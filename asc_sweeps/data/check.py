"""The rules that a data set's lists and files keep, and the segments of lists that keep them. Knows nothing of torch."""

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

FILES_PER_TASK = 256
"""Files that a thread looks at before it tells."""
KNOWN = frozenset(product(SCENES, DEVICES, CITIES))
PIECE = {str(piece): piece for piece in range(PIECES)}
Counts = Counter[tuple[str, str, str]]
"""How many segments a location, a recording and a split have in common."""


def read_folder(folder: Path, findings: Findings) -> list[Segment]:
    """The segments of a data set's lists, in the order of meta.csv; what is wrong goes to `findings`.

    Raises DataError where there is nothing to read: no such folder, another year's set, no lists.
    """
    with gc_paused():
        lists = read_lists(folder, findings)
        _check_repeats(lists, findings)
        read = _pieces_of_2020 if has_whole_recordings(folder) else _segments
        found = {key: list(map(lists[META].rows.get, lists[LISTS[key]].names)) for key in ("train", "evaluate")}
        segments = read(lists[META], _splits(lists, found, findings), findings)
        if lists[META].has_repeats:
            firsts: dict[str, Segment] = {}
            for segment in segments:
                firsts.setdefault(segment.filename, segment)
            segments = list(firsts.values())
        _check_against_meta(lists, found, findings)
        counts = Counter(map(attrgetter("location", "recording", "split"), segments))
        _check_splits(counts, findings)
        _check_pieces(segments, counts, findings)
        return segments


def check_audio(
    folder: Path, segments: list[Segment], findings: Findings, progress: Callable[[int, int], None] | None = None
) -> None:
    """Look for each listed WAV and read its header: 44.1 kHz, mono, 24 bit, one second; and for files not listed."""
    try:
        names = sorted(os.listdir(folder / "audio"))
    except OSError as error:
        raise DataError(f"{printable(folder / 'audio')}: cannot be read ({error.strerror})") from None
    listed = {Path(s.file).name for s in segments}
    for name in names:
        if name not in listed:
            findings.add(f"not listed in {META}", f"audio/{name}", fatal=False)

    def check(chunk: list[Segment]) -> list[tuple[Segment, WavError]]:
        bad = []
        for segment in chunk:
            try:
                check_wav(folder / segment.file, PIECES if segment.recording_file else 1)
            except WavError as problem:
                bad.append((segment, problem))
        return bad

    files = list({s.file: s for s in segments}.values())
    chunks = [files[at : at + FILES_PER_TASK] for at in range(0, len(files), FILES_PER_TASK)]
    with ThreadPoolExecutor(cores()) as pool:
        for i, bad in enumerate(pool.map(check, chunks), start=1):
            for segment, problem in bad:
                # What stands in neither list is not trained on.
                findings.add(problem.rule, problem.at(segment.file), fatal=segment.split != "unused")
            if progress:
                progress(min(i * FILES_PER_TASK, len(files)), len(files))


def _check_repeats(lists: dict[str, SegmentList], findings: Findings) -> None:
    for of, table in lists.items():
        if not table.has_repeats:
            continue
        seen: set[str] = set()
        for line, name in zip(table.lines, table.names, strict=True):
            if name in seen:
                findings.add("listed twice", f"{of}:{line}: {name}")
            seen.add(name)


def _splits(lists: dict[str, SegmentList], found: dict[str, list[int | None]], findings: Findings) -> list[str]:
    """Of each row of meta.csv: train, test or unused. `found`: the rows of what the lists name."""
    meta, train, evaluate = (lists[name] for name in (META, LISTS["train"], LISTS["evaluate"]))
    for line, name in zip(evaluate.lines, evaluate.names, strict=True):
        if name in train.rows:
            findings.add("stands in train and in test", f"{LISTS['evaluate']}:{line}: {name}")
    splits = ["unused"] * len(meta.names)
    for key, split in (("train", "train"), ("evaluate", "test")):
        for row in found[key]:
            if row is not None:
                splits[row] = split
    return [splits[meta.rows[name]] for name in meta.names] if meta.has_repeats else splits


def _segments(meta: SegmentList, splits: list[str], findings: Findings) -> list[Segment]:
    """The segments of meta.csv."""
    segments: list[Segment] = []
    sound: dict[str, tuple[str, str, str, str]] = {}
    make = partial(tuple.__new__, Segment)  # half of the time of `Segment(...)`, which counts its arguments
    for line, name, scene, identifier, device, split in zip(meta.lines, *meta.columns, splits, strict=True):
        front, _, end = name.rpartition("-")
        shared, piece = f"{front[:-1]}-{end}", PIECE.get(front[-1:])
        known = sound.get(shared) if piece is not None else None
        # Nine of ten rows differ in the piece alone from one that was looked at already, and had nothing wrong with it.
        if not known or known[1:] != (scene, identifier, device):
            recording, is_sound = _check_row(SEGMENT, line, (name, scene, identifier, device), findings)
            if not recording:
                continue
            known = recording, scene, identifier, device
            if is_sound:
                sound[shared] = known
        segments.append(make((name, scene, identifier, known[0], piece, device, split, "")))
    return segments


def _pieces_of_2020(meta: SegmentList, splits: list[str], findings: Findings) -> list[Segment]:
    """The segments of a meta.csv of whole recordings, ten of each."""
    segments = []
    for line, name, scene, identifier, device, split in zip(meta.lines, *meta.columns, splits, strict=True):
        recording, _ = _check_row(RECORDING_OF_2020, line, (name, scene, identifier, device), findings)
        if recording:
            front, _, end = name.rpartition("-")
            for piece in range(PIECES):
                of_2022 = f"{front}-{piece}-{end}"
                segments.append(Segment(of_2022, scene, identifier, recording, piece, device, split, name))
    return segments


def _check_row(form: re.Pattern[str], line: int, row: tuple[str, ...], findings: Findings) -> tuple[str, bool]:
    """The recording that a row of meta.csv names, nothing where it names none; and whether nothing is wrong with the row."""
    name, scene, identifier, device = row
    match = form.fullmatch(name)
    if not match:
        piece = "-<piece>" if form is SEGMENT else ""
        rule = f"a name must read audio/<scene>-<city>-<location>-<recording>{piece}-<device>.wav"
        findings.add(rule, f"{META}:{line}: {name}")
        return "", False
    of_scene, city, location, number, *_, named = match.groups()
    is_known = (scene, device, city) in KNOWN
    if not is_known:
        words = (("scene", scene, SCENES, True), ("device", device, DEVICES, True), ("city", city, CITIES, False))
        for word, value, known, fatal in words:
            if value not in known:
                findings.add(f"unknown {word}", f"{META}:{line}: '{value}'{_nearest(value, known)} ({name})", fatal)
    agrees = (of_scene, f"{city}-{location}", named) == (scene, identifier, device)
    if not agrees:
        findings.add("the row and the file's name disagree", f"{META}:{line}: {' '.join(row)}")
    return f"{of_scene}-{city}-{location}-{number}-{named}", is_known and agrees


@lru_cache
def _nearest(value: str, known: tuple[str, ...]) -> str:
    return did_you_mean(value.lower(), known) or f"; known: {', '.join(known)}"


def _check_against_meta(lists: dict[str, SegmentList], found: dict[str, list[int | None]], findings: Findings) -> None:
    scenes = lists[META].columns[1]
    for key, rows in found.items():
        table = lists[LISTS[key]]
        for line, name, scene, row in zip(table.lines, *table.columns, rows, strict=True):
            if row is None:
                findings.add(f"listed, but not in {META}", f"{LISTS[key]}:{line}: {name}")
            elif scene != scenes[row]:
                findings.add(f"scene differs from {META}", f"{LISTS[key]}:{line}: {name} is called {scene}")
    test, evaluate = (lists[LISTS[key]].rows.keys() for key in ("test", "evaluate"))
    for name in sorted(test ^ evaluate):
        where = "fold1_test.csv" if name in test else "fold1_evaluate.csv"
        findings.add("must stand in both fold1_test.csv and fold1_evaluate.csv", f"{name} only in {where}")


def _check_splits(counts: Counts, findings: Findings) -> None:
    for split in ("train", "test"):
        if not any(found == split for _, _, found in counts):
            findings.add("a split has no segments", split)
    for at, place in enumerate(("location", "recording")):
        train, test = Counter[str](), Counter[str]()
        for key, count in counts.items():
            if key[-1] != "unused":
                (train if key[-1] == "train" else test)[key[at]] += count
        for name in sorted(train.keys() & test.keys()):
            findings.add(f"a {place} stands in train and in test", f"{name}: {train[name]} train, {test[name]} test")


def _check_pieces(segments: list[Segment], counts: Counts, findings: Findings) -> None:
    # With ten of them in one split nothing is wrong: no two segments have the same name.
    broken = {recording for (_, recording, _), count in counts.items() if count != PIECES}
    pieces: dict[str, dict[int, str]] = defaultdict(dict)
    for segment in segments if broken else ():
        if segment.recording in broken:
            pieces[segment.recording][segment.piece] = segment.split
    every = set(range(PIECES))
    for recording, found in sorted(pieces.items()):
        missing = sorted(every - found.keys())
        if missing:
            lack = f"{recording}: lacks {', '.join(map(str, missing))}"
            findings.add("a recording must have all ten pieces", lack, fatal=False)
        unused = sorted(piece for piece, split in found.items() if split == "unused")
        if 0 < len(unused) < len(found):
            lack = f"{recording}: {', '.join(map(str, unused))} in neither list"
            findings.add("all pieces of a recording must stand in the same list", lack, fatal=False)
