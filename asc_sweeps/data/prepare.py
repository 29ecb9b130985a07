"""The training cache: every listed WAV as one second of 16 kHz int16, level kept, in one memory-mapped array.

Found by the files' names, sizes and times; named by their content. So a changed file is never answered from an old cache,
and a copied folder is never trained twice. All trials of a node share the one mapped array.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from asc_sweeps.data.check import read_folder
from asc_sweeps.data.convert import ARRAY, JOURNAL, RATE, Progress, convert
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.tau import Segment, stamp_of
from asc_sweeps.data.wav import BadWav, stat_wav
from asc_sweeps.errors import DataError, NotPreparedError
from asc_sweeps.files import write_bytes, write_json

FORMAT = 1
"""Raised when the conversion changes; part of a cache's name."""

MANIFEST = "manifest.json"
TABLE = "segments.tsv"
COLUMNS = ("filename", "scene", "location", "recording", "device", "split")


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training."""

    folder: Path
    name: str
    """`tau2022` or `tau2020`, or `synthetic-<plan>` for generated data."""
    fingerprint: str
    """Hash over names, labels, splits and the WAV files' bytes."""
    generated: bool
    filenames: tuple[str, ...]
    locations: np.ndarray
    recordings: np.ndarray
    splits: np.ndarray
    """`train` or `test`, one for each segment."""
    scenes: np.ndarray
    """Index into SCENES."""
    devices: np.ndarray
    """Index into DEVICES."""

    @cached_property
    def waveforms(self) -> np.ndarray:
        """int16, shape [segments, 16000], memory-mapped."""
        return np.load(self.folder / ARRAY, mmap_mode="r")

    def read_ahead(self) -> None:
        """Ask the system to fetch the waveforms in one go: segments are read in random order, which is slow from a cold disk."""
        if hasattr(os, "posix_fadvise"):
            with open(self.folder / ARRAY, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def prepare(folder: Path, caches: Path, progress: Progress | None = None) -> Prepared:
    """Make, finish or find the cache of a data set's folder under `caches`.

    Raises DataError for a folder that breaks the layout's rules, for WAVs that cannot be read, naming them, and for a disk
    that cannot be written to. What is converted by then is kept: the next call goes on from there.
    """
    findings = Findings()
    segments = [s for s in read_folder(folder, findings) if s.split != "unused"]
    findings.refuse_fatal(folder)
    segments.sort(key=lambda s: (s.split == "test", s.filename))
    marks = _marks(folder, segments)
    stamp = stamp_of(folder)
    key = _digest(FORMAT, stamp, *(f"{marks[s.filename]}\0{s.scene}\0{s.split}" for s in segments))
    place = _digest(folder.resolve())[:16]
    made = _find(caches, place, key)
    if made is None:
        with _writing_to(caches):
            caches.mkdir(parents=True, exist_ok=True)
            with FileLock(caches / f".{place}.lock"):
                made = _find(caches, place, key)  # another process may have made it meanwhile
                if made is None:
                    building = caches / f".building-{place}"
                    building.mkdir(exist_ok=True)
                    pieces = {s.filename: (s.of_recording, s.piece) for s in segments if s.of_recording}
                    digests = convert(folder, marks, building, progress, pieces)
                    made = _publish(building, segments, digests, stamp)
                    write_json(_index(caches, place), {"folder": str(folder), "key": key, "cache": made.folder.name})
    return made


def find_prepared(caches: Path, fingerprint: str) -> Prepared:
    """The cache of a data set by its content; raises DataError when this workspace has none."""
    target = cache_folder(caches, fingerprint)
    if not target.exists():
        raise NotPreparedError(
            f"{caches}: no prepared data with fingerprint {fingerprint}; run `asc-sweeps data prepare DIR`"
        )
    return open_prepared(target)


def cache_folder(caches: Path, fingerprint: str) -> Path:
    """Where the cache of a data set of this content stands, or would."""
    return caches / f"{fingerprint[:16]}-v{FORMAT}"


def open_prepared(target: Path) -> Prepared:
    """Read a finished cache's manifest and segments. Raises DataError for one that is damaged or not whole."""
    try:
        manifest = json.loads((target / MANIFEST).read_text())
        table = (target / TABLE).read_bytes()
        if (
            cache_folder(target.parent, manifest["fingerprint"]) != target
            or _table_digest(table) != manifest["table_sha256"]
        ):
            raise ValueError(f"{MANIFEST} and {TABLE} do not belong together")
        rows = [line.split("\t") for line in table.decode().splitlines()[1:]]
        filenames, scenes, locations, recordings, devices, splits = zip(*rows, strict=True)
        made = Prepared(
            folder=target,
            name=manifest["name"],
            fingerprint=manifest["fingerprint"],
            generated=manifest["generated"],
            filenames=filenames,
            locations=np.array(locations),
            recordings=np.array(recordings),
            splits=np.array(splits),
            scenes=np.array([SCENES.index(scene) for scene in scenes]),
            devices=np.array([DEVICES.index(device) for device in devices]),
        )
        if made.waveforms.shape != (len(rows), RATE) or made.waveforms.dtype != np.int16:
            raise ValueError(f"{ARRAY} is not [{len(rows)}, {RATE}] of int16")
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{target}: a damaged cache ({printable(error)}); run `asc-sweeps data prepare DIR`, which makes it anew"
        ) from None
    return made


def _find(caches: Path, place: str, key: str) -> Prepared | None:
    """The cache made of a folder as it stands now, if there is a whole one."""
    try:
        index = json.loads(_index(caches, place).read_text())
        return open_prepared(caches / index["cache"]) if index["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _index(caches: Path, place: str) -> Path:
    return caches / "index" / f"{place}.json"


def _marks(folder: Path, segments: list[Segment]) -> dict[str, str]:
    """Name -> what changes when the file does: its name, size and times. Needs no file to be read."""
    marks, missing = {}, Findings()
    for s in segments:
        try:
            stat = stat_wav(os.path.join(folder, s.file))  # a Path for each costs as much again
            marks[s.filename] = f"{s.filename}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
        except BadWav as problem:
            missing.add(problem.rule, problem.at(s.file))
    missing.refuse_fatal(folder)
    return marks


def _publish(building: Path, segments: list[Segment], digests: list[str], stamp: dict[str, Any] | None) -> Prepared:
    """Turn what was built into a cache under its content's name; an equal one that is there already is taken instead."""
    rows = [f"{s.filename}\t{s.scene}\t{s.device}\t{s.split}\t{d}" for s, d in zip(segments, digests, strict=True)]
    fingerprint = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:32]
    target = cache_folder(building.parent, fingerprint)
    with FileLock(building.with_name(".publish.lock")):  # copies of one folder have one cache
        try:
            made = open_prepared(target)
            shutil.rmtree(building)
            return made
        except DataError:
            pass
        table = [COLUMNS, *([getattr(s, column) for column in COLUMNS] for s in segments)]
        content = "".join("\t".join(row) + "\n" for row in table).encode()
        write_bytes(building / TABLE, content)
        manifest = {
            "name": f"synthetic-{stamp['plan']}" if stamp else "tau2020" if segments[0].of_recording else "tau2022",
            "generated": bool(stamp),
            "fingerprint": fingerprint,
            "rate": RATE,
            "segments": len(segments),
            "table_sha256": _table_digest(content),
            "stamp": stamp,
        }
        write_json(building / MANIFEST, manifest)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(building, target)
        (target / JOURNAL).unlink(missing_ok=True)
        return open_prepared(target)


@contextmanager
def _writing_to(caches: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"{caches}: the training cache cannot be written ({error.strerror or error}); once it can, the same command "
            "goes on from what is there"
        ) from error


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()


def _table_digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
