"""The rules that a data set's lists and files keep, and the segments of lists that keep them. Knows nothing of torch."""

from __future__ import annotations

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import product
from pathlib import Path

from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.labels import CITIES, DEVICES, SCENES
from asc_sweeps.data.tau import LISTS, META, RECORDING_OF_2020, SEGMENT, Row, Segment, holds_recordings, read_lists
from asc_sweeps.data.wav import PIECES, BadWav, check_wav
from asc_sweeps.errors import DataError, did_you_mean
from asc_sweeps.workspace import cores

CHUNK = 256
"""Files that a thread looks at before it tells."""
KNOWN = frozenset(product(SCENES, DEVICES, CITIES))


def read_folder(folder: Path, findings: Findings) -> list[Segment]:
    """The segments of a data set's lists, in the order of meta.csv; what is wrong goes to `findings`.

    Raises DataError where there is nothing to read: no such folder, another year's set, no lists.
    """
    with _no_garbage():
        lists = read_lists(folder, findings)
        _check_repeats(lists, findings)
        splits, whole = _splits(lists, findings), holds_recordings(folder)
        segments: dict[str, Segment] = {}
        for line, row in lists[META]:
            for segment in _segments(row, line, splits.get(row[0], "unused"), whole, findings):
                segments.setdefault(segment.filename, segment)
        found = list(segments.values())
        _check_against_meta(lists, findings)
        _check_splits(found, findings)
        _check_pieces(found, findings)
        return found


@contextmanager
def _no_garbage() -> Iterator[None]:
    """Nothing is looked for that could be thrown away: among a million tuples that stay, that is a third of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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

    def check(chunk: list[Segment]) -> list[tuple[Segment, BadWav]]:
        bad = []
        for segment in chunk:
            try:
                check_wav(folder / segment.file, PIECES if segment.of_recording else 1)
            except BadWav as problem:
                bad.append((segment, problem))
        return bad

    files = list({s.file: s for s in segments}.values())
    chunks = [files[at : at + CHUNK] for at in range(0, len(files), CHUNK)]
    with ThreadPoolExecutor(cores()) as pool:
        for i, bad in enumerate(pool.map(check, chunks), start=1):
            for segment, problem in bad:
                # What stands in neither list is not trained on.
                findings.add(problem.rule, problem.at(segment.file), fatal=segment.split != "unused")
            if progress:
                progress(min(i * CHUNK, len(files)), len(files))


def _check_repeats(lists: dict[str, list[Row]], findings: Findings) -> None:
    for of, rows in lists.items():
        if len({row[0] for _, row in rows}) == len(rows):
            continue
        seen: set[str] = set()
        for line, (name, *_) in rows:
            if name in seen:
                findings.add("listed twice", f"{of}:{line}: {name}")
            seen.add(name)


def _splits(lists: dict[str, list[Row]], findings: Findings) -> dict[str, str]:
    """Filename -> train or test."""
    splits = {name: "train" for _, (name, _) in lists[LISTS["train"]]}
    for line, (name, _) in lists[LISTS["evaluate"]]:
        if splits.get(name) == "train":
            findings.add("stands in train and in test", f"{LISTS['evaluate']}:{line}: {name}")
    return splits | {name: "test" for _, (name, _) in lists[LISTS["evaluate"]]}


def _segments(row: tuple[str, ...], line: int, split: str, whole: bool, findings: Findings) -> list[Segment]:
    """The segment of a row of meta.csv, or the ten of a row that is a whole recording."""
    name, scene, identifier, device = row
    match = (RECORDING_OF_2020 if whole else SEGMENT).fullmatch(name)
    if not match:
        piece = "" if whole else "-<piece>"
        rule = f"a name must read audio/<scene>-<city>-<location>-<recording>{piece}-<device>.wav"
        findings.add(rule, f"{META}:{line}: {name}")
        return []
    of_scene, city, location, number, *piece, named = match.groups()
    if (scene, device, city) not in KNOWN:
        words = (("scene", scene, SCENES, True), ("device", device, DEVICES, True), ("city", city, CITIES, False))
        for word, value, known, fatal in words:
            if value not in known:
                findings.add(f"unknown {word}", f"{META}:{line}: '{value}'{_nearest(value, known)} ({name})", fatal)
    if of_scene != scene or f"{city}-{location}" != identifier or named != device:
        findings.add("the row and the file's name disagree", f"{META}:{line}: {' '.join(row)}")
    recording = f"{of_scene}-{city}-{location}-{number}-{named}"
    if not whole:
        return [Segment(name, scene, identifier, recording, int(piece[0]), device, split)]
    stem = name.rsplit("-", 1)[0]
    names = [f"{stem}-{piece}-{named}.wav" for piece in range(PIECES)]
    return [Segment(n, scene, identifier, recording, piece, device, split, name) for piece, n in enumerate(names)]


@lru_cache
def _nearest(value: str, known: tuple[str, ...]) -> str:
    return did_you_mean(value.lower(), known) or f"; known: {', '.join(known)}"


def _check_against_meta(lists: dict[str, list[Row]], findings: Findings) -> None:
    scenes = {row[0]: row[1] for _, row in lists[META]}
    for key in ("train", "evaluate"):
        for line, (name, scene) in lists[LISTS[key]]:
            if name not in scenes:
                findings.add(f"listed, but not in {META}", f"{LISTS[key]}:{line}: {name}")
            elif scene != scenes[name]:
                findings.add(f"scene differs from {META}", f"{LISTS[key]}:{line}: {name} is called {scene}")
    test, evaluate = ({row[0] for _, row in lists[LISTS[key]]} for key in ("test", "evaluate"))
    for name in sorted(test ^ evaluate):
        where = "fold1_test.csv" if name in test else "fold1_evaluate.csv"
        findings.add("must stand in both fold1_test.csv and fold1_evaluate.csv", f"{name} only in {where}")


def _check_splits(segments: list[Segment], findings: Findings) -> None:
    for split in ("train", "test"):
        if not any(s.split == split for s in segments):
            findings.add("a split has no segments", split)
    for place in ("location", "recording"):
        splits: dict[str, Counter[str]] = defaultdict(Counter)
        pairs = Counter((getattr(s, place), s.split) for s in segments if s.split != "unused")
        for (name, split), count in pairs.items():
            splits[name][split] = count
        for name, counts in sorted(splits.items()):
            if len(counts) > 1:
                findings.add(
                    f"a {place} stands in train and in test", f"{name}: {counts['train']} train, {counts['test']} test"
                )


def _check_pieces(segments: list[Segment], findings: Findings) -> None:
    pieces: dict[str, dict[int, str]] = defaultdict(dict)
    for segment in segments:
        pieces[segment.recording][segment.piece] = segment.split
    every = set(range(PIECES))
    broken = {r: found for r, found in pieces.items() if found.keys() != every or len(set(found.values())) > 1}
    for recording, found in sorted(broken.items()):
        missing = sorted(every - found.keys())
        if missing:
            lack = f"{recording}: lacks {', '.join(map(str, missing))}"
            findings.add("a recording must have all ten pieces", lack, fatal=False)
        unused = sorted(piece for piece, split in found.items() if split == "unused")
        if 0 < len(unused) < len(found):
            lack = f"{recording}: {', '.join(map(str, unused))} in neither list"
            findings.add("all pieces of a recording must stand in the same list", lack, fatal=False)
