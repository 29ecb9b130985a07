"""The folder of TAU Urban Acoustic Scenes 2022 Mobile, development: its lists, read and checked; its WAV headers, checked.

Layout: `meta.csv`, `evaluation_setup/fold1_{train,test,evaluate}.csv`, `audio/*.wav`. Knows nothing of torch.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import soundfile

from asc_sweeps.data.labels import CITIES, DEVICES, SCENES
from asc_sweeps.data.synthetic import GENERATED_STAMP
from asc_sweeps.errors import DataError, did_you_mean
from asc_sweeps.workspace import cores

SAMPLE_RATE = 44_100
FRAMES = 44_100
UNREADABLE = "not readable as audio"
NO_FILE = "listed, but there is no such file"
FOLDER_NAME = "TAU-urban-acoustic-scenes-2022-mobile-development"
META = "meta.csv"
LISTS = {name: f"evaluation_setup/fold1_{name}.csv" for name in ("train", "test", "evaluate")}
COLUMNS = {
    META: ("filename", "scene_label", "identifier", "source_label"),
    LISTS["train"]: ("filename", "scene_label"),
    LISTS["test"]: ("filename",),
    LISTS["evaluate"]: ("filename", "scene_label"),
}
SEGMENT = re.compile(r"audio/([a-z_]+)-([a-z]+)-(\d+)-(\d+)-(\d)-([a-z]\d*)\.wav")
RECORDING_OF_2020 = re.compile(r"audio/([a-z_]+)-([a-z]+)-(\d+)-(\d+)-([a-z]\d*)\.wav")
EVALUATION = re.compile(r"audio/\d+\.wav")


@dataclass(frozen=True)
class Segment:
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


@dataclass
class Finding:
    """One rule that a folder breaks: how often, and the first places."""

    rule: str
    fatal: bool
    """Whether training is refused; otherwise the folder is usable, but not what was published."""
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = f" (and {self.count - len(self.examples):,} more)" if self.count > len(self.examples) else ""
        return f"{self.rule}: {self.count:,}\n    " + "\n    ".join(self.examples) + more


class Findings:
    """Collects broken rules, each with its count and first examples."""

    EXAMPLES = 5

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, rule: str, example: str, fatal: bool = True) -> None:
        """Count one more place that breaks `rule`."""
        finding = self._found.setdefault(rule, Finding(rule, fatal))
        finding.count += 1
        if len(finding.examples) < self.EXAMPLES:
            finding.examples.append(example)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    def refuse_fatal(self, folder: Path) -> None:
        """Raise DataError with all fatal findings, if there are any."""
        fatal = [str(f) for f in self if f.fatal]
        if fatal:
            raise DataError(f"{folder}: cannot be used as a data set\n  " + "\n  ".join(fatal))


def stamp_of(folder: Path) -> dict[str, object] | None:
    """What the generator wrote into a generated folder, or None for any other."""
    path = folder / GENERATED_STAMP
    return json.loads(path.read_text()) if path.is_file() else None


def read_folder(folder: Path, findings: Findings) -> list[Segment]:
    """The segments of a data set's lists, in the order of meta.csv; what is wrong goes to `findings`.

    Raises DataError where there is nothing to read: no such folder, another year's set, no lists.
    """
    _refuse_other_folders(folder)
    tables = {name: _read_table(folder, name, findings) for name in COLUMNS}
    _refuse_other_sets(folder, [row[0] for _, row in tables[META]])
    splits = _splits(tables, findings)
    segments = []
    seen: set[str] = set()
    for line, row in tables[META]:
        segment = _segment(row, f"{META}:{line}", splits.get(row[0], "unused"), findings)
        if row[0] in seen:
            findings.add("listed twice", f"{META}:{line}: {row[0]}")
        elif segment:
            segments.append(segment)
        seen.add(row[0])
    _check_lists(tables, segments, findings)
    _check_locations(segments, findings)
    _check_pieces(segments, findings)
    return segments


def check_audio(
    folder: Path, segments: list[Segment], findings: Findings, progress: Callable[[int, int], None] | None = None
) -> None:
    """Look for each listed WAV and read its header: 44.1 kHz, mono, 24 bit, one second."""
    present = {entry.name: entry.stat().st_size for entry in os.scandir(folder / "audio")}
    found = [s for s in segments if Path(s.filename).name in present]
    for segment in segments:
        if Path(segment.filename).name not in present:
            findings.add(NO_FILE, segment.filename)
    listed = {Path(s.filename).name for s in segments}
    for name in sorted(present.keys() - listed):
        findings.add("not listed in meta.csv", f"audio/{name}", fatal=False)
    with ThreadPoolExecutor(cores()) as pool:
        problems = pool.map(lambda s: _file_problem(folder / s.filename), found)
        for i, (segment, problem) in enumerate(zip(found, problems, strict=True)):
            if problem:
                findings.add(problem[0], f"{segment.filename}: {problem[1]}")
            if progress:
                progress(i + 1, len(found))


class WavHeader(Protocol):
    """What soundfile tells of a file, opened or not."""

    format: str
    samplerate: int
    channels: int
    subtype: str
    frames: int


def header_problem(header: WavHeader) -> tuple[str, str] | None:
    """The rule that a WAV's header breaks and what stands there instead, or None."""
    rules = (
        ("must be a WAV file", header.format, "WAV"),
        ("must have 44,100 samples a second", header.samplerate, SAMPLE_RATE),
        ("must have one channel", header.channels, 1),
        ("must be 24-bit PCM", header.subtype, "PCM_24"),
        ("must hold 44,100 samples (one second)", header.frames, FRAMES),
    )
    return next(((rule, f"has {value}") for rule, value, wanted in rules if value != wanted), None)


def _file_problem(path: Path) -> tuple[str, str] | None:
    try:
        return header_problem(soundfile.info(str(path)))
    except (soundfile.LibsndfileError, OSError) as error:
        return UNREADABLE, f"{path.stat().st_size:,} bytes, {getattr(error, 'error_string', error)}"


def _refuse_other_folders(folder: Path) -> None:
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; give the one that holds {META} and audio/")
    if (folder / META).is_file() and (folder / "audio").is_dir():
        return
    inner = next((p for p in [*sorted(folder.iterdir()), folder.parent] if (p / META).is_file()), None)
    if (folder / "evaluation_setup" / "fold1_test.csv").is_file() and not (folder / META).is_file():
        raise DataError(
            f"{folder}: has a list of test files but no {META}: an evaluation set, which comes without labels; "
            f"training needs the development set ({FOLDER_NAME})"
        )
    hint = f"; did you mean {inner}?" if inner else f"; the 2022 set is the folder {FOLDER_NAME}"
    missing = META if not (folder / META).is_file() else "audio/"
    raise DataError(f"{folder}: not a data set of this layout: there is no {missing} in it{hint}")


def _refuse_other_sets(folder: Path, names: list[str]) -> None:
    if not names:
        raise DataError(f"{folder / META}: lists no segments; is the file complete?")
    of_2020 = sum(bool(RECORDING_OF_2020.fullmatch(name)) for name in names)
    if of_2020 > len(names) / 2:
        raise DataError(
            f"{folder}: holds 10 s recordings as the 2019 and 2020 sets do ({of_2020:,} of {len(names):,} names lack the "
            f"piece field, e.g. {names[0]}); this command needs the 1 s segments of 2022 ({FOLDER_NAME})"
        )
    unlabelled = sum(bool(EVALUATION.fullmatch(name)) for name in names)
    if unlabelled > len(names) / 2:
        raise DataError(
            f"{folder}: an evaluation set (names are numbers, e.g. {names[0]}); training needs {FOLDER_NAME}"
        )


def _read_table(folder: Path, name: str, findings: Findings) -> list[tuple[int, tuple[str, ...]]]:
    """Line number and fields of each row; LF or CRLF, with or without a last newline or a byte-order mark."""
    path, columns = folder / name, COLUMNS[name]
    if not path.is_file():
        hint = ""
        if (folder / "evaluation_setup" / "split100.csv").is_file():
            hint = " (split100.csv is there: lists of the 2024 challenge; add the fold1 lists of 2022)"
        raise DataError(f"{folder}: there is no {name}{hint}")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a UTF-8 text (byte {error.start})") from None
    header = tuple(lines[0].split("\t")) if lines else ()
    if header[: len(columns)] != columns:
        found = lines[0] if lines else "an empty file"
        hint = "; columns are parted by TABs, not commas" if lines and "," in lines[0] else ""
        raise DataError(f"{path}:1: the header must be {' TAB '.join(columns)}; found {found!r}{hint}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        fields = tuple(line.split("\t"))
        if len(fields) == len(header):
            rows.append((number, fields[: len(columns)]))
        elif line.strip():
            findings.add(f"a row must have {len(header)} columns", f"{name}:{number}: {line!r}")
    return rows


def _splits(tables: dict[str, list[tuple[int, tuple[str, ...]]]], findings: Findings) -> dict[str, str]:
    """Filename -> train or test."""
    splits: dict[str, str] = {}
    for split, list_name in (("train", LISTS["train"]), ("test", LISTS["evaluate"])):
        for line, row in tables[list_name]:
            if splits.get(row[0], split) != split:
                findings.add("stands in train and in test", f"{list_name}:{line}: {row[0]}")
            elif row[0] in splits:
                findings.add("listed twice", f"{list_name}:{line}: {row[0]}")
            splits[row[0]] = split
    return splits


def _segment(row: tuple[str, ...], where: str, split: str, findings: Findings) -> Segment | None:
    name, scene, identifier, device = row
    match = SEGMENT.fullmatch(name)
    if not match:
        rule = "a name must read audio/<scene>-<city>-<location>-<recording>-<piece>-<device>.wav"
        findings.add(rule, f"{where}: {name!r}")
        return None
    known = True
    for word, value, choices in (("scene", scene, SCENES), ("device", device, DEVICES), ("city", match[2], CITIES)):
        if value not in choices:
            findings.add(f"unknown {word}", f"{where}: '{value}'{did_you_mean(value, choices)} ({name})")
            known = False
    if (match[1], f"{match[2]}-{match[3]}", match[6]) != (scene, identifier, device):
        findings.add("the row and the file's name disagree", f"{where}: {' '.join(row)}")
    recording = name.removeprefix("audio/").rsplit("-", 2)[0] + f"-{match[6]}"
    return Segment(name, scene, identifier, recording, int(match[5]), device, split) if known else None


def _check_lists(
    tables: dict[str, list[tuple[int, tuple[str, ...]]]], segments: list[Segment], findings: Findings
) -> None:
    scenes = {s.filename: s.scene for s in segments}
    named = {row[0] for _, row in tables[META]}
    for key in ("train", "evaluate"):
        for line, (name, scene) in tables[LISTS[key]]:
            if name not in named:
                findings.add(f"listed, but not in {META}", f"{LISTS[key]}:{line}: {name}")
            elif name in scenes and scene != scenes[name]:
                findings.add(f"scene differs from {META}", f"{LISTS[key]}:{line}: {name} is called {scene}")
    test = {row[0] for _, row in tables[LISTS["test"]]}
    evaluate = {row[0] for _, row in tables[LISTS["evaluate"]]}
    for name in sorted(test ^ evaluate):
        findings.add("must stand in both fold1_test.csv and fold1_evaluate.csv", name)
    for split in ("train", "test"):
        if not any(s.split == split for s in segments):
            findings.add("a split has no segments", split)


def _check_locations(segments: list[Segment], findings: Findings) -> None:
    splits: dict[str, Counter[str]] = defaultdict(Counter)
    for segment in segments:
        if segment.split != "unused":
            splits[segment.location][segment.split] += 1
    for location, counts in sorted(splits.items()):
        if len(counts) > 1:
            findings.add("a location stands in train and in test", f"{location}: {dict(counts)} segments")


def _check_pieces(segments: list[Segment], findings: Findings) -> None:
    pieces: dict[str, dict[int, str]] = defaultdict(dict)
    for segment in segments:
        pieces[segment.recording][segment.piece] = segment.split
    for recording, found in sorted(pieces.items()):
        missing = sorted(set(range(10)) - found.keys())
        if missing:
            lack = f"{recording}: lacks {', '.join(map(str, missing))}"
            findings.add("a recording must have all ten pieces", lack, fatal=False)
        if len(set(found.values())) > 1:
            findings.add("pieces of one recording stand in different splits", recording)
