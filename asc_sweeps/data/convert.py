"""WAV files to one array of 16 kHz int16, in chunks recorded in a journal, so that an interrupted conversion resumes.

Does not know about labels or caches.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import numpy as np
from threadpoolctl import threadpool_limits

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.cache import ARRAY, JOURNAL, SegmentProgress
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.resample import resample
from asc_sweeps.data.wav import FRAMES, WavError, read_piece, read_wav
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import cores

CHUNK = 256  # segments converted, flushed and recorded together: the most that an interrupted run loses per thread
RESAMPLED_TOGETHER = 16  # segments that fit into the processor's cache (measured: 8 to 32 are alike, 1 and 256 slower)
NO_PIECES: Mapping[str, tuple[str, int]] = MappingProxyType({})


def convert(
    folder: Path,
    marks: dict[str, str],
    building: Path,
    progress: SegmentProgress | None = None,
    pieces: Mapping[str, tuple[str, int]] = NO_PIECES,
) -> list[str]:
    """Write `waveforms.npy` (int16, [segments, 16000]) into `building`; returns the SHA-256 of each segment's source.

    `marks`: by segment name, a text that changes with its file. `pieces`: for segments of longer files, the file's name and which
    second. Chunks recorded by an earlier run with the same marks are skipped. Raises DataError naming the files that break a rule,
    once all other chunks are done.
    """
    names = list(marks)
    chunks = [names[start : start + CHUNK] for start in range(0, len(names), CHUNK)]
    keys = [_chunk_key(i, [marks[name] for name in chunk]) for i, chunk in enumerate(chunks)]
    offset, resumes = _open_array(building / ARRAY, len(names))
    digests = _read_journal(building / JOURNAL, keys, chunks) if resumes else {}
    # Rewritten without torn lines, which would spoil the next one.
    write_bytes(building / JOURNAL, "".join(_journal_line(keys[i], d) for i, d in digests.items()).encode())
    todo = [i for i in range(len(chunks)) if i not in digests]
    done = sum(len(chunks[i]) for i in digests)
    findings = Findings()
    with (
        open(building / ARRAY, "r+b", buffering=0) as array,
        open(building / JOURNAL, "a") as journal,
        reading_pool() as pool,
    ):

        def convert_chunk(i: int) -> tuple[int, list[str], list[tuple[str, WavError]]]:
            return i, *_convert_chunk(folder, chunks[i], pieces, array, offset + i * CHUNK * SAMPLE_RATE * 2)

        for i, chunk_digests, errors in pool.map(convert_chunk, todo):
            for name, error in errors:
                findings.add(error.rule, error.describe(pieces.get(name, (name,))[0]))
            os.fsync(array.fileno())  # before the journal says that they are there
            if not errors:
                digests[i] = chunk_digests
                journal.write(_journal_line(keys[i], chunk_digests))
                journal.flush()
            done += len(chunks[i])
            if progress:
                progress(done, len(names))
    findings.raise_if_fatal(folder)
    return [digest for i in range(len(chunks)) for digest in digests[i]]


def _convert_chunk(
    folder: Path, names: list[str], pieces: Mapping[str, tuple[str, int]], array: io.FileIO, position: int
) -> tuple[list[str], list[tuple[str, WavError]]]:
    """Write a chunk's waveforms at a position of the array; returns the digests and the files that break a rule."""
    digests, errors = [], []
    waveforms = np.empty((RESAMPLED_TOGETHER, FRAMES), np.float32)
    for start in range(0, len(names), RESAMPLED_TOGETHER):
        group = names[start : start + RESAMPLED_TOGETHER]
        for name, waveform in zip(group, waveforms, strict=False):  # the last group may be smaller
            file, piece = pieces.get(name, (name, None))
            path = os.path.join(folder, file)  # Path objects cost more
            try:
                digests.append(read_wav(path, waveform) if piece is None else read_piece(path, piece, waveform))
            except WavError as error:
                errors.append((name, error))
                digests.append("")
                waveform.fill(0)
        _write_at(array, resample_to_int16(waveforms[: len(group)]), position + start * SAMPLE_RATE * 2)
    return digests, errors


@contextmanager
def reading_pool() -> Iterator[Executor]:
    """One thread per core to read and resample WAV files; BLAS is limited to one thread, since more would compete."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        yield pool


def resample_to_int16(waveforms: np.ndarray) -> np.ndarray:
    """Waveforms of WAV files, float32 [B, 44100], as the training cache stores them: int16 [B, 16000], at their level."""
    return np.rint(resample(waveforms) * 32768).clip(-32768, 32767).astype("<i2")


def _open_array(path: Path, rows: int) -> tuple[int, bool]:
    """Allocate the array's file; returns the offset of its samples, and whether a file of this shape existed already."""
    buffer = io.BytesIO()
    description = {"descr": "<i2", "fortran_order": False, "shape": (rows, SAMPLE_RATE)}
    np.lib.format.write_array_header_1_0(buffer, description)
    header = buffer.getvalue()
    size = len(header) + rows * SAMPLE_RATE * 2
    if path.exists() and path.stat().st_size == size:
        with open(path, "rb") as file:
            if file.read(len(header)) == header:
                return len(header), True
    path.unlink(missing_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise OSError(errno.ENOSPC, f"requires {size / 1e6:,.0f} MB, {free / 1e6:,.0f} MB are free")
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(size)
    return len(header), False


def _write_at(file: io.FileIO, content: np.ndarray, position: int) -> None:
    # Not through a memory map: on a full disk that ends the process by a signal, this raises an error.
    if os.pwrite(file.fileno(), content.data, position) != content.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _chunk_key(chunk: int, marks: list[str]) -> str:
    return hashlib.sha256("\0".join([str(chunk), *marks]).encode()).hexdigest()[:16]


def _read_journal(path: Path, keys: list[str], chunks: list[list[str]]) -> dict[int, list[str]]:
    """Digests by chunk number; without torn lines and chunks whose files have changed."""
    recorded = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            recorded[row["key"]] = row["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return {i: recorded[key] for i, key in enumerate(keys) if len(recorded.get(key, ())) == len(chunks[i])}


def _journal_line(key: str, digests: list[str]) -> str:
    return json.dumps({"key": key, "sha256": digests}) + "\n"
