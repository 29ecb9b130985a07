"""The training cache of a data set's folder, made, finished or found.

Found by the files' names, sizes and times; named by their content. So a changed file is never answered from an old cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.cache import (
    ARRAY,
    FORMAT,
    JOURNAL,
    TABLE,
    TABLE_COLUMNS,
    Prepared,
    Progress,
    array_digest,
    cache_folder,
    note_checked,
    open_prepared,
    table_digest,
    write_manifest,
)
from asc_sweeps.data.check import read_folder
from asc_sweeps.data.convert import convert
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.tau import Segment, read_stamp
from asc_sweeps.data.wav import WavError, stat_wav
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.atomic_files import write_bytes, write_json
from asc_sweeps.workspace.file_lock import FileLock


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
    stamp = read_stamp(folder)
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
                    pieces = {s.filename: (s.recording_file, s.piece) for s in segments if s.recording_file}
                    digests = convert(folder, marks, building, progress, pieces)
                    made = _publish(building, segments, digests, stamp)
                    write_json(_index(caches, place), {"folder": str(folder), "key": key, "cache": made.folder.name})
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
        except WavError as problem:
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
        table = [TABLE_COLUMNS, *([getattr(s, column) for column in TABLE_COLUMNS] for s in segments)]
        content = "".join("\t".join(row) + "\n" for row in table).encode()
        write_bytes(building / TABLE, content)
        found, digest = (building / ARRAY).stat(), array_digest(building)
        manifest = {
            "name": f"synthetic-{stamp['plan']}" if stamp else "tau2020" if segments[0].recording_file else "tau2022",
            "generated": bool(stamp),
            "fingerprint": fingerprint,
            "rate": SAMPLE_RATE,
            "segments": len(segments),
            "table_sha256": table_digest(content),
            "array_sha256": digest,
            "stamp": stamp,
        }
        write_manifest(building, manifest)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(building, target)
        note_checked(target, found, digest)  # gigabytes that need not be read a second time
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
