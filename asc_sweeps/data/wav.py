"""One WAV file of the data set: 24 bit, mono, 44.1 kHz, one second; read as it is, or refused with the rule that it breaks.

The only door to soundfile.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from asc_sweeps.data.labels import PIECES

WAV_RATE = 44_100
FRAMES = 44_100
MAGIC = b"RIFFWAVE"
"""Bytes 0 to 3 and 8 to 11."""
NO_FILE = "listed, but there is no such file"
UNREADABLE = "not readable as audio"


class WavError(Exception):
    """A file that breaks a rule of the layout."""

    def __init__(self, rule: str, found: str) -> None:
        super().__init__(rule, found)
        self.rule = rule
        self.found = found

    def at(self, name: str) -> str:
        """The file and what stands there, for a finding."""
        return f"{name}: {self.found}" if self.found else name


class Header(Protocol):
    """What soundfile tells of a file, opened or not."""

    format: str
    samplerate: int
    channels: int
    subtype: str
    frames: int


def stat_wav(path: Path | str) -> os.stat_result:
    """Size and times of a regular file. Raises WavError where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise WavError(NO_FILE, "") from None
    except (OSError, ValueError) as error:  # a name may hold what no file's can
        raise WavError(UNREADABLE, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise WavError(UNREADABLE, "not a regular file")
    return found


def check_wav(path: Path, seconds: int = 1) -> None:
    """Look for a file and read its header. Raises WavError."""
    size = stat_wav(path).st_size
    _check_magic(_start_of(path), size)
    try:
        header = soundfile.info(os.fsencode(path))  # as bytes: a folder's name may be no text
    except soundfile.LibsndfileError as error:
        raise WavError(UNREADABLE, f"{size:,} bytes, {error.error_string}") from None
    _check_header(header, seconds)


def read_wav(path: Path | str, out: np.ndarray | None = None) -> tuple[str, np.ndarray]:
    """SHA-256 of a file and its waveform, float32 [44100], which `out` is if given. Raises WavError."""
    with _reading(path) as whole:
        content = whole.read()
        _check_magic(content, len(content))
        whole.seek(0)
        try:
            # From the file again: of what lies in memory libsndfile would ask Python, and threads would wait for each other.
            with soundfile.SoundFile(whole.fileno(), closefd=False) as file:
                _check_header(file)
                waveform = file.read(dtype="float32", out=out)
        except soundfile.LibsndfileError as error:
            raise WavError(UNREADABLE, f"{len(content):,} bytes, {error.error_string}") from None
    return hashlib.sha256(content).hexdigest(), waveform


def read_piece(path: Path | str, piece: int, out: np.ndarray | None = None) -> tuple[str, np.ndarray]:
    """SHA-256 of the samples of one second of a whole recording, and its waveform as `read_wav` gives it. Raises WavError."""
    size = stat_wav(path).st_size
    _check_magic(_start_of(path), size)
    try:
        with soundfile.SoundFile(os.fsencode(path)) as file:
            _check_header(file, PIECES)
            file.seek(piece * FRAMES)
            waveform = file.read(FRAMES, dtype="float32", out=out)
    except soundfile.LibsndfileError as error:
        raise WavError(UNREADABLE, f"{size:,} bytes, {error.error_string}") from None
    if len(waveform) != FRAMES:
        raise WavError(UNREADABLE, f"{size:,} bytes, ends within second {piece}")
    return hashlib.sha256(waveform).hexdigest(), waveform


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """Write a waveform, float [samples] within -1..1, in the format that `read_wav` asks for."""
    soundfile.write(path, waveform, WAV_RATE, subtype="PCM_24", format="WAV")


def read_any_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples, float32 [frames, channels], and rate of a WAV file of whatever format. Raises ValueError for what is none."""
    try:
        return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from None


def _start_of(path: Path | str) -> bytes:
    """As much of a file as `_check_magic` looks at."""
    with _reading(path) as file:
        return file.read(12)


@contextmanager
def _reading(path: Path | str) -> Iterator[io.FileIO]:
    """A file that is open; what the system refuses is a finding."""
    try:
        with open(path, "rb", buffering=0) as file:
            yield file
    except FileNotFoundError:
        raise WavError(NO_FILE, "") from None
    except OSError as error:
        raise WavError(UNREADABLE, error.strerror) from None


def _check_magic(content: bytes, size: int) -> None:
    # Given anything else, libsndfile tries its other decoders, which write to the terminal.
    if content[:4] + content[8:12] != MAGIC:
        raise WavError("must be a WAV file", f"{size:,} bytes, the first ones {content[:4]!r}" if size else "0 bytes")


def _check_header(header: Header, seconds: int = 1) -> None:
    length = "44,100 samples (one second)" if seconds == 1 else f"{seconds * FRAMES:,} samples ({seconds} seconds)"
    rules = (
        # WAVEX is a WAV with a longer header, which some programs write for 24 bit.
        ("must be a WAV file", header.format, ("WAV", "WAVEX")),
        ("must have 44,100 samples a second", header.samplerate, (WAV_RATE,)),
        ("must have one channel", header.channels, (1,)),
        ("must be 24-bit PCM", header.subtype, ("PCM_24",)),
        (f"must hold {length}", header.frames, (seconds * FRAMES,)),
    )
    for rule, value, wanted in rules:
        if value not in wanted:
            raise WavError(rule, f"has {value}")
