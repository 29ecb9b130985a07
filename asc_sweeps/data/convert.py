"""WAV files to one array of 16 kHz int16, in chunks that a journal remembers: killed, it goes on where it was.

Knows nothing of labels and caches.
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
from asc_sweeps.data.cache import ARRAY, JOURNAL, Progress
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.resample import resample
from asc_sweeps.data.wav import FRAMES, WavError, read_piece, read_wav
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import cores

CHUNK = 256
"""Files converted, flushed and recorded together: what a killed run loses at most, for each thread."""
TOGETHER = 16
"""Files resampled at once: that many stay in the processor's cache (measured: 8 to 32 are alike, 1 and 256 slower)."""


def convert(
    folder: Path,
    marks: dict[str, str],
    building: Path,
    progress: Progress | None = None,
    pieces: Mapping[str, tuple[str, int]] = MappingProxyType({}),
) -> list[str]:
    """Write `waveforms.npy` (int16, [segments, 16000]) into `building`; returns the SHA-256 of each WAV.

    `marks`: a segment's name -> what changes when its file does. `pieces`: of those that are a second of a longer file, its name and
    which second. Chunks that an earlier run recorded under the same marks are not
    read again. Raises DataError naming the WAVs that break a rule; all other chunks are done by then.
    """
    names = list(marks)
    chunks = [names[at : at + CHUNK] for at in range(0, len(names), CHUNK)]
    keys = [_key(i, [marks[name] for name in chunk]) for i, chunk in enumerate(chunks)]
    start, resumes = _open_array(building / ARRAY, len(names))
    digests = _read_journal(building / JOURNAL, keys, chunks) if resumes else {}
    _write_journal(building / JOURNAL, keys, digests)
    todo = [i for i in range(len(chunks)) if i not in digests]
    done = sum(len(chunks[i]) for i in digests)
    findings = Findings()

    def read(name: str, out: np.ndarray) -> str:
        if name not in pieces:
            return read_wav(os.path.join(folder, name), out)[0]  # a Path for each costs more
        file, piece = pieces[name]
        return read_piece(os.path.join(folder, file), piece, out)[0]

    with (
        open(building / ARRAY, "r+b", buffering=0) as array,
        open(building / JOURNAL, "a") as journal,
        reading_pool() as pool,
    ):

        def convert_chunk(i: int) -> tuple[int, list[str], list[tuple[str, WavError]]]:
            found, bad = [], []
            waveforms = np.empty((TOGETHER, FRAMES), np.float32)
            for at in range(0, len(chunks[i]), TOGETHER):
                together = chunks[i][at : at + TOGETHER]
                for name, waveform in zip(together, waveforms, strict=False):  # the last ones may be fewer
                    try:
                        found.append(read(name, waveform))
                    except WavError as problem:
                        bad.append((name, problem))
                        found.append("")
                        waveform.fill(0)
                rows = resampled(waveforms[: len(together)])
                _write_at(array, rows, start + (i * CHUNK + at) * SAMPLE_RATE * 2)
            return i, found, bad

        for i, found, bad in pool.map(convert_chunk, todo):
            for name, problem in bad:
                findings.add(problem.rule, problem.at(pieces.get(name, (name,))[0]))
            os.fsync(array.fileno())  # before the journal says that they are there
            if not bad:
                digests[i] = found
                journal.write(_line(keys[i], found))
                journal.flush()
            done += len(chunks[i])
            if progress:
                progress(done, len(names))
    findings.refuse_fatal(folder)
    return [digest for i in range(len(chunks)) for digest in digests[i]]


@contextmanager
def reading_pool() -> Iterator[Executor]:
    """A thread a core, to read and resample WAVs; BLAS starts no more of them, which would wait for each other."""
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(cores()) as pool:
        yield pool


def resampled(waveforms: np.ndarray) -> np.ndarray:
    """Waveforms of WAV files, float32 [B, 44100], as training hears them: int16 [B, 16000], level kept."""
    return np.rint(resample(waveforms) * 32768).clip(-32768, 32767).astype("<i2")


def _open_array(path: Path, rows: int) -> tuple[int, bool]:
    """Make room for the array; where its samples begin, and whether an equal one stood there already."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<i2", "fortran_order": False, "shape": (rows, SAMPLE_RATE)})
    header = buffer.getvalue()
    size = len(header) + rows * SAMPLE_RATE * 2
    if path.exists() and path.stat().st_size == size:
        with open(path, "rb") as file:
            if file.read(len(header)) == header:
                return len(header), True
    path.unlink(missing_ok=True)
    free = shutil.disk_usage(path.parent).free
    if free < size:
        raise OSError(errno.ENOSPC, f"{size / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free")
    with open(path, "wb") as file:
        file.write(header)
        file.truncate(size)
    return len(header), False


def _write_at(file: io.FileIO, content: np.ndarray, position: int) -> None:
    # Not through a mapping: on a full disk a mapping's write is a signal that ends the process, this one an error.
    if os.pwrite(file.fileno(), content, position) != content.nbytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _key(chunk: int, marks: list[str]) -> str:
    """Names a chunk's place and files."""
    return hashlib.sha256("\0".join([str(chunk), *marks]).encode()).hexdigest()[:16]


def _read_journal(path: Path, keys: list[str], chunks: list[list[str]]) -> dict[int, list[str]]:
    """Chunk number -> digests. A line torn by a kill, or of files that changed since, does not count."""
    recorded = {}
    for line in path.read_text(errors="replace").splitlines() if path.exists() else []:
        try:
            row = json.loads(line)
            recorded[row["key"]] = row["sha256"]
        except (ValueError, KeyError, TypeError):
            continue
    return {i: recorded[key] for i, key in enumerate(keys) if len(recorded.get(key, ())) == len(chunks[i])}


def _write_journal(path: Path, keys: list[str], digests: dict[int, list[str]]) -> None:
    """Start the journal anew with what counts: a torn line would spoil the next one."""
    write_bytes(path, "".join(_line(keys[i], found) for i, found in digests.items()).encode())


def _line(key: str, digests: list[str]) -> str:
    return json.dumps({"key": key, "sha256": digests}) + "\n"
