"""Evaluation sets: files without labels, listed or just lying there, read in the order of their list."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np

from asc_sweeps.data.convert import TOGETHER, reading_pool, resampled
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.labels import SEEN_DEVICES
from asc_sweeps.data.tau import LISTS
from asc_sweeps.data.wav import FRAMES, WavError, read_wav, stat_wav
from asc_sweeps.errors import DataError


def list_files(folder: Path) -> list[str]:
    """Names of an evaluation set's files, `audio/<n>.wav`: of its list, or of its folder where it has none.

    Raises DataError where there are none.
    """
    path = folder / LISTS["test"]
    if path.is_file():
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{printable(path)}: not a UTF-8 text (byte {error.start})") from None
        if not lines or lines[0].split("\t")[0] != "filename":
            raise DataError(f"{printable(path)}:1: the header must begin with 'filename'")
        names = [line.split("\t")[0] for line in lines[1:] if line.strip()]
    elif (folder / "audio").is_dir():
        names = sorted((f"audio/{n}" for n in os.listdir(folder / "audio") if n.endswith(".wav")), key=_by_number)
    else:
        raise DataError(f"{printable(folder)}: there is neither {LISTS['test']} nor a folder audio/ in it")
    if not names:
        raise DataError(f"{printable(folder)}: lists no files")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{printable(path)}: lists {printable(twice)} twice")
    outside = [name for name in names if ".." in Path(name).parts or Path(name).is_absolute()]
    if outside:
        raise DataError(f"{printable(path)}: {printable(outside[0])} lies outside of the folder")
    return names


def listed_devices(folder: Path, names: list[str]) -> np.ndarray:
    """The device of each file, as index into DEVICES, by the list's column `device_id` (2025); -1 where it is not a known one."""
    path = folder / LISTS["test"]
    rows = [line.split("\t") for line in path.read_text(encoding="utf-8-sig").splitlines()] if path.is_file() else [[]]
    if "device_id" not in rows[0]:
        return np.full(len(names), -1)
    column = rows[0].index("device_id")
    told = {row[0]: row[column] for row in rows[1:] if len(row) > column}
    return np.array([SEEN_DEVICES.index(told[n]) if told.get(n) in SEEN_DEVICES else -1 for n in names])


def files_digest(folder: Path, names: list[str]) -> str:
    """Changes when a file does: a hash of their names, sizes and times. Raises DataError naming those that are not there."""
    findings, digest = Findings(), hashlib.sha256()
    for name in names:
        try:
            stat = stat_wav(os.path.join(folder, name))
            digest.update(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        except WavError as problem:
            findings.add(problem.rule, problem.at(name))
    findings.refuse_fatal(folder)
    return digest.hexdigest()[:16]


def read_waveforms(folder: Path, names: list[str]) -> tuple[np.ndarray, list[tuple[str, WavError]]]:
    """Their waveforms as training hears them, int16 [files, 16000], and which files break a rule: those are silent."""

    def read(together: list[str]) -> tuple[np.ndarray, list[tuple[str, WavError]]]:
        waveforms, bad = [], []
        for name in together:
            try:
                waveforms.append(read_wav(folder / name)[1])
            except WavError as problem:
                bad.append((name, problem))
                waveforms.append(np.zeros(FRAMES, np.float32))
        return resampled(np.stack(waveforms)), bad

    with reading_pool() as pool:
        read_parts = list(pool.map(read, [names[at : at + TOGETHER] for at in range(0, len(names), TOGETHER)]))
    return np.concatenate([rows for rows, _ in read_parts]), [one for _, bad in read_parts for one in bad]


def _by_number(name: str) -> tuple[int, str]:
    stem = Path(name).stem
    return (int(stem) if stem.isdecimal() else -1, name)
