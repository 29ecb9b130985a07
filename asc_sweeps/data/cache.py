"""A finished training cache: every listed WAV as one second of 16 kHz int16, level kept, in one memory-mapped array.

Named by the files' content, so a copied folder is never trained twice. All trials of a node share the one mapped array.
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
JOURNAL = "converted.jsonl"
"""What is converted already, while a cache is made."""

Progress = Callable[[int, int], None]
"""Called with how many clips are done and how many there are."""

FORMAT = 1
"""Raised when the conversion changes; part of a cache's name."""

MANIFEST = "manifest.json"
SEAL = "manifest_sha256"
TABLE = "segments.tsv"
TABLE_COLUMNS = ("filename", "scene", "location", "recording", "device", "split")


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training."""

    folder: Path
    name: str
    """`tau2022` or `tau2020`, or `synthetic-<plan>` for generated data."""
    fingerprint: str
    """Hash over names, labels, splits and the WAV files' bytes."""
    generated: bool
    content: str
    """SHA-256 of the waveforms."""
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


def load_prepared(caches: Path, fingerprint: str) -> Prepared:
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
        if manifest.pop(SEAL, None) not in (None, _seal(manifest)):  # none of one that an earlier version wrote
            raise ValueError(f"{MANIFEST} is not what was written")
        if (
            cache_folder(target.parent, manifest["fingerprint"]) != target
            or table_digest(table) != manifest["table_sha256"]
        ):
            raise ValueError(f"{MANIFEST} and {TABLE} do not belong together")
        rows = [line.split("\t") for line in table.decode().splitlines()[1:]]
        filenames, scenes, locations, recordings, devices, splits = zip(*rows, strict=True)
        made = Prepared(
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
        if made.waveforms.shape != (len(rows), SAMPLE_RATE) or made.waveforms.dtype != np.int16:
            raise ValueError(f"{ARRAY} is not [{len(rows)}, {SAMPLE_RATE}] of int16")
        _check_content(target, made.content)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{target}: a damaged cache ({printable(error)}); run `asc-sweeps data prepare DIR`, which makes it anew"
        ) from None
    return made


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write down what a cache holds, with what tells that a bit of it has flipped."""
    write_json(folder / MANIFEST, {**manifest, SEAL: _seal(manifest)})


def _seal(manifest: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def array_digest(target: Path) -> str:
    """The SHA-256 of the waveforms."""
    with open(target / ARRAY, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_content(target: Path, digest: str) -> None:
    """Raise ValueError where the waveforms are not what was written; read anew only when the file is not the one read last."""
    found = (target / ARRAY).stat()
    try:
        if json.loads(_note(target).read_text()) == _mark(found, digest):
            return
    except (OSError, ValueError):
        pass  # never checked yet, or the note is torn
    if array_digest(target) != digest:
        raise ValueError(f"{ARRAY} is not what was written")
    note_checked(target, found, digest)


def note_checked(target: Path, found: os.stat_result, digest: str) -> None:
    """Write down that the waveforms' file, as it was `found` before it was read, has this digest."""
    with suppress(OSError):  # a cache that is only to be read is checked by each process
        write_json(_note(target), _mark(found, digest))


def _note(target: Path) -> Path:
    return target.with_name(f".{target.name}.checked")


def _mark(found: os.stat_result, digest: str) -> list[str | int]:
    return [digest, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def table_digest(content: bytes) -> str:
    """What the manifest says of the table."""
    return hashlib.sha256(content).hexdigest()
