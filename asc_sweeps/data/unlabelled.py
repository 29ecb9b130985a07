"""Evaluation sets: WAV files without labels, in the order of their list if there is one."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from asc_sweeps.data.convert import RESAMPLED_TOGETHER, reading_pool, resample_to_int16
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.labels import SEEN_DEVICES
from asc_sweeps.data.tab_separated import read_rows
from asc_sweeps.data.tau import LISTS
from asc_sweeps.data.wav import FRAMES, WavError, read_wav, stat_wav
from asc_sweeps.errors import DataError


def list_files(folder: Path) -> list[str]:
    """File names `audio/<n>.wav` from the set's list, or from its audio folder if it has none. Raises DataError for no files."""
    path = folder / LISTS["test"]
    if path.is_file():
        names = [row["filename"] for row in read_rows(path)]
    elif (folder / "audio").is_dir():
        names = sorted((f"audio/{n}" for n in os.listdir(folder / "audio") if n.endswith(".wav")), key=_number_of)
    else:
        raise DataError(f"{printable(folder)}: contains neither {LISTS['test']} nor a folder audio/")
    if not names:
        raise DataError(f"{printable(folder)}: lists no files")
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{printable(path)}: lists {printable(duplicate)} twice")
    outside = [name for name in names if ".." in Path(name).parts or Path(name).is_absolute()]
    if outside:
        raise DataError(f"{printable(path)}: {printable(outside[0])} is outside of the folder")
    return names


def listed_devices(folder: Path, names: list[str]) -> np.ndarray:
    """Each file's device (index into DEVICES) from the list's column `device_id` (2025); -1 for unknown devices."""
    path = folder / LISTS["test"]
    rows = read_rows(path) if path.is_file() else []
    devices = {row["filename"]: row.get("device_id") for row in rows}
    return np.array([SEEN_DEVICES.index(d) if (d := devices.get(n)) in SEEN_DEVICES else -1 for n in names])


def files_digest(folder: Path, names: list[str]) -> str:
    """A hash of the files' names, sizes and modification times. Raises DataError naming the missing ones."""
    findings, digest = Findings(), hashlib.sha256()
    for name in names:
        try:
            stat = stat_wav(os.path.join(folder, name))
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except WavError as error:
            findings.add(error.rule, error.describe(name))
    findings.raise_if_fatal(folder)
    return digest.hexdigest()[:16]


def read_waveforms(folder: Path, names: list[str]) -> tuple[np.ndarray, list[tuple[str, WavError]]]:
    """Waveforms as in the training cache, int16 [files, 16000], and the files that break a rule, which are silent there."""

    def read(group: list[str]) -> tuple[np.ndarray, list[tuple[str, WavError]]]:
        waveforms, errors = np.zeros((len(group), FRAMES), np.float32), []
        for name, waveform in zip(group, waveforms, strict=True):
            try:
                read_wav(folder / name, waveform)
            except WavError as error:
                errors.append((name, error))
                waveform.fill(0)
        return resample_to_int16(waveforms), errors

    groups = [names[start : start + RESAMPLED_TOGETHER] for start in range(0, len(names), RESAMPLED_TOGETHER)]
    with reading_pool() as pool:
        results = list(pool.map(read, groups))
    return np.concatenate([waveforms for waveforms, _ in results]), [pair for _, errors in results for pair in errors]


def _number_of(name: str) -> tuple[int, str]:
    stem = Path(name).stem
    return (int(stem) if stem.isdecimal() else -1, name)
