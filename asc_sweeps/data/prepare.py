"""Makes, completes or finds the training cache of a data set folder.

A cache is found by the files' names, sizes and times, and named by their content: a changed file never gets an outdated cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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
    SegmentProgress,
    array_digest,
    cache_folder,
    open_prepared,
    record_check,
    write_manifest,
)
from asc_sweeps.data.check import read_folder
from asc_sweeps.data.convert import convert
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.tab_separated import as_tsv
from asc_sweeps.data.tau import Segment, read_stamp
from asc_sweeps.data.wav import WavError, stat_wav
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.atomic_files import write_bytes, write_json
from asc_sweeps.workspace.file_lock import FileLock


def prepare(folder: Path, caches: Path, progress: SegmentProgress | None = None) -> Prepared:
    """The training cache of a data set's folder, from `caches`; made or completed first if necessary.

    Raises DataError for a folder that breaks the rules of the layout, for unreadable WAV files, naming them, and for a disk that
    cannot be written to. Finished work is kept: the next call resumes.
    """
    findings = Findings()
    segments = [segment for segment in read_folder(folder, findings) if segment.split != "unused"]
    findings.raise_if_fatal(folder)
    segments.sort(key=lambda segment: (segment.split == "test", segment.filename))
    marks = _marks(folder, segments)
    stamp = read_stamp(folder)
    key = _digest(FORMAT, stamp, *(f"{marks[s.filename]}\0{s.scene}\0{s.split}" for s in segments))
    folder_id = _digest(folder.resolve())[:16]
    if data := _find(caches, folder_id, key):
        return data
    try:
        caches.mkdir(parents=True, exist_ok=True)
        with FileLock(caches / f".{folder_id}.lock"):
            if data := _find(caches, folder_id, key):  # made by another process while this one waited
                return data
            building = caches / f".building-{folder_id}"
            building.mkdir(exist_ok=True)
            pieces = {s.filename: (s.recording_file, s.piece) for s in segments if s.recording_file}
            digests = convert(folder, marks, building, progress, pieces)
            data = _publish(building, segments, digests, stamp)
            write_json(_index(caches, folder_id), {"folder": str(folder), "key": key, "cache": data.folder.name})
            return data
    except OSError as error:
        raise DataError(
            f"{caches}: the training cache cannot be written ({error.strerror or error}); solve that and run the same "
            "command again, which resumes"
        ) from error


def _find(caches: Path, folder_id: str, key: str) -> Prepared | None:
    """The intact cache of a folder in its present state, if there is one."""
    try:
        index = json.loads(_index(caches, folder_id).read_text())
        return open_prepared(caches / index["cache"]) if index["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        return None


def _index(caches: Path, folder_id: str) -> Path:
    return caches / "index" / f"{folder_id}.json"


def _marks(folder: Path, segments: list[Segment]) -> dict[str, str]:
    """By segment name, a text that changes with its file: name, size and times. Reads no file."""
    marks, findings = {}, Findings()
    for segment in segments:
        try:
            stat = stat_wav(os.path.join(folder, segment.file))  # a Path object would double the time
            times = f"{stat.st_mtime_ns}\0{stat.st_ctime_ns}"
            marks[segment.filename] = f"{segment.filename}\0{stat.st_size}\0{times}"
        except WavError as error:
            findings.add(error.rule, error.describe(segment.file))
    findings.raise_if_fatal(folder)
    return marks


def _publish(building: Path, segments: list[Segment], digests: list[str], stamp: dict[str, Any] | None) -> Prepared:
    """Rename the finished cache after its content; if that cache exists already, use it instead."""
    rows = [f"{s.filename}\t{s.scene}\t{s.device}\t{s.split}\t{d}" for s, d in zip(segments, digests, strict=True)]
    fingerprint = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:32]
    target = cache_folder(building.parent, fingerprint)
    with FileLock(building.with_name(".publish.lock")):  # copies of one folder share one cache
        try:
            data = open_prepared(target)
            shutil.rmtree(building)
            return data
        except DataError:
            pass
        table = as_tsv([TABLE_COLUMNS, *([getattr(s, column) for column in TABLE_COLUMNS] for s in segments)]).encode()
        write_bytes(building / TABLE, table)
        status, array_sha256 = (building / ARRAY).stat(), array_digest(building)
        manifest = {
            "name": f"synthetic-{stamp['plan']}" if stamp else "tau2020" if segments[0].recording_file else "tau2022",
            "generated": bool(stamp),
            "fingerprint": fingerprint,
            "rate": SAMPLE_RATE,
            "segments": len(segments),
            "table_sha256": hashlib.sha256(table).hexdigest(),
            "array_sha256": array_sha256,
            "stamp": stamp,
        }
        write_manifest(building, manifest)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(building, target)
        record_check(target, status, array_sha256)  # gigabytes that need not be read a second time
        (target / JOURNAL).unlink(missing_ok=True)
        return open_prepared(target)


def _digest(*parts: object) -> str:
    return hashlib.sha256("\n".join(map(str, parts)).encode(errors="surrogateescape")).hexdigest()
