"""The finished training cache: each listed segment as one second of 16 kHz int16, at its level, in one memory-mapped array.

Named by the files' content: copies of a folder share one cache. All trials of a node share the mapped array.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.findings import printable
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.errors import DataError, NotPreparedError
from asc_sweeps.workspace.atomic_files import write_json

ARRAY = "waveforms.npy"
JOURNAL = "converted.jsonl"  # chunks converted so far, while a cache is being made

SegmentProgress = Callable[[int, int], None]  # called with the number of finished segments and the total

FORMAT = 1  # part of a cache's name; increase it when the conversion changes

MANIFEST = "manifest.json"
SEAL = "manifest_sha256"
TABLE = "segments.tsv"
TABLE_COLUMNS = ("filename", "scene", "location", "recording", "device", "split")


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training."""

    folder: Path
    name: str  # `tau2022` or `tau2020`, or `synthetic-<plan>` for generated data
    fingerprint: str  # hash over names, labels, splits and the WAV files' bytes
    generated: bool
    content: str  # SHA-256 of the waveforms
    filenames: tuple[str, ...]
    locations: np.ndarray
    recordings: np.ndarray
    splits: np.ndarray  # `train` or `test`, for each segment
    scenes: np.ndarray  # index into SCENES
    devices: np.ndarray  # index into DEVICES

    @cached_property
    def waveforms(self) -> np.ndarray:
        """int16, shape [segments, 16000], memory-mapped."""
        return np.load(self.folder / ARRAY, mmap_mode="r")

    def read_ahead(self) -> None:
        """Let the system read the waveforms sequentially: training reads segments in random order, which is slow from disk."""
        if hasattr(os, "posix_fadvise"):
            with open(self.folder / ARRAY, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)


def load_prepared(caches: Path, fingerprint: str) -> Prepared:
    """The cache of a data set by its content. Raises NotPreparedError if there is none, DataError if it is damaged."""
    target = cache_folder(caches, fingerprint)
    if not target.exists():
        raise NotPreparedError(
            f"{caches}: no prepared data with fingerprint {fingerprint}; run `asc-sweeps data prepare DIR`"
        )
    return open_prepared(target)


def cache_folder(caches: Path, fingerprint: str) -> Path:
    """The folder for the cache of this content."""
    return caches / f"{fingerprint[:16]}-v{FORMAT}"


def open_prepared(target: Path) -> Prepared:
    """Open a finished cache. Raises DataError if it is damaged or incomplete."""
    try:
        manifest = _read_manifest(target)
        rows = [line.split("\t") for line in (target / TABLE).read_text(encoding="utf-8").splitlines()[1:]]
        filenames, scenes, locations, recordings, devices, splits = zip(*rows, strict=True)
        data = Prepared(
            folder=target,
            name=manifest["name"],
            fingerprint=manifest["fingerprint"],
            generated=manifest["generated"],
            content=manifest["array_sha256"],
            filenames=filenames,
            locations=np.array(locations),
            recordings=np.array(recordings),
            splits=np.array(splits),
            scenes=np.array([SCENES.index(scene) for scene in scenes]),
            devices=np.array([DEVICES.index(device) for device in devices]),
        )
        if data.waveforms.shape != (len(rows), SAMPLE_RATE) or data.waveforms.dtype != np.int16:
            raise ValueError(f"{ARRAY} is not [{len(rows)}, {SAMPLE_RATE}] of int16")
        _check_waveforms(target, data.content)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{target}: damaged training cache ({printable(error)}); rebuild it with `asc-sweeps data prepare DIR`"
        ) from None
    return data


def _read_manifest(target: Path) -> dict[str, Any]:
    """A cache's manifest. Raises ValueError unless it belongs to the folder's name and to the table."""
    manifest = json.loads((target / MANIFEST).read_text())
    if manifest.pop(SEAL, None) not in (None, _seal(manifest)):  # earlier versions wrote none
        raise ValueError(f"{MANIFEST} has changed")
    table_sha256 = hashlib.sha256((target / TABLE).read_bytes()).hexdigest()
    if cache_folder(target.parent, manifest["fingerprint"]) != target or table_sha256 != manifest["table_sha256"]:
        raise ValueError(f"{MANIFEST} and {TABLE} do not match")
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write a cache's manifest with a checksum of itself."""
    write_json(folder / MANIFEST, {**manifest, SEAL: _seal(manifest)})


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def array_digest(target: Path) -> str:
    """The SHA-256 of the waveforms."""
    with open(target / ARRAY, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_waveforms(target: Path, digest: str) -> None:
    """Raise ValueError if the waveforms have changed; reads them only if the file is not the one that was checked last."""
    status = (target / ARRAY).stat()
    try:
        if json.loads(_check_record(target).read_text()) == _identity(status, digest):
            return
    except (OSError, ValueError):
        pass  # never checked, or the record is torn
    if array_digest(target) != digest:
        raise ValueError(f"{ARRAY} has changed")
    record_check(target, status, digest)


def record_check(target: Path, status: os.stat_result, digest: str) -> None:
    """Record that the waveforms, whose file had this status before it was read, have this digest."""
    with suppress(OSError):  # in a read-only cache each process checks
        write_json(_check_record(target), _identity(status, digest))


def _check_record(target: Path) -> Path:
    return target.with_name(f".{target.name}.checked")


def _identity(status: os.stat_result, digest: str) -> list[str | int]:
    return [digest, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
