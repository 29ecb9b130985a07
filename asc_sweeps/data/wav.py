"""WAV files of the data set: 24 bit, mono, 44.1 kHz, one second. A file that breaks a rule is refused with that rule.

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
NO_FILE = "listed file does not exist"
UNREADABLE = "unreadable audio file"


class WavError(Exception):
    """A file that breaks a rule of the layout."""

    def __init__(self, rule: str, detail: str) -> None:
        super().__init__(rule, detail)
        self.rule, self.detail = rule, detail

    def describe(self, name: str) -> str:
        """The file's name and what is wrong with it."""
        return f"{name}: {self.detail}" if self.detail else name


class Header(Protocol):
    """What soundfile reads from a file's header."""

    format: str
    samplerate: int
    channels: int
    subtype: str
    frames: int


def stat_wav(path: Path | str) -> os.stat_result:
    """Size and times of a regular file. Raises WavError if there is none."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise WavError(NO_FILE, "") from None
    except (OSError, ValueError) as error:  # ValueError: a list may contain names that no file can have
        raise WavError(UNREADABLE, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(status.st_mode):
        raise WavError(UNREADABLE, "not a regular file")
    return status


def check_wav(path: Path, seconds: int = 1) -> None:
    """Check that a file exists and has the right header. Raises WavError."""
    with _decoding(_check_start(path)):
        _check_header(soundfile.info(os.fsencode(path)), seconds)  # bytes: a folder's name may be undecodable


def read_wav(path: Path | str, out: np.ndarray) -> str:
    """Read a waveform into `out`, float32 [44100], and return the SHA-256 of the file. Raises WavError."""
    with _opened(path) as opened:
        content = opened.read()
        _check_magic(content, len(content))
        opened.seek(0)
        # Through the file, not the bytes: libsndfile would call back into Python for these, and threads would wait for each other.
        with _decoding(len(content)), soundfile.SoundFile(opened.fileno(), closefd=False) as file:
            _check_header(file)
            file.read(dtype="float32", out=out)
    return hashlib.sha256(content).hexdigest()


def read_piece(path: Path | str, piece: int, out: np.ndarray) -> str:
    """Read one second of a whole recording into `out` and return the SHA-256 of its samples. Raises WavError."""
    size = _check_start(path)
    with _decoding(size), soundfile.SoundFile(os.fsencode(path)) as file:
        _check_header(file, PIECES)
        file.seek(piece * FRAMES)
        waveform = file.read(FRAMES, dtype="float32", out=out)
    if len(waveform) != FRAMES:
        raise WavError(UNREADABLE, f"{size:,} bytes, ends within second {piece}")
    return hashlib.sha256(waveform).hexdigest()


def write_wav(path: Path, waveform: np.ndarray) -> None:
    """Write a waveform, float [samples] within -1..1, in the format that `read_wav` expects."""
    soundfile.write(path, waveform, WAV_RATE, subtype="PCM_24", format="WAV")


def read_any_wav(path: Path) -> tuple[np.ndarray, int]:
    """Samples, float32 [frames, channels], and sampling rate of a WAV file of any format. Raises ValueError for other files."""
    try:
        return soundfile.read(os.fsencode(path), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from None


@contextmanager
def _opened(path: Path | str) -> Iterator[io.FileIO]:
    try:
        with open(path, "rb", buffering=0) as file:
            yield file
    except FileNotFoundError:
        raise WavError(NO_FILE, "") from None
    except OSError as error:
        raise WavError(UNREADABLE, error.strerror or str(error)) from None


@contextmanager
def _decoding(size: int) -> Iterator[None]:
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise WavError(UNREADABLE, f"{size:,} bytes, {error.error_string}") from None


def _check_start(path: Path | str) -> int:
    """Check a file's first bytes; returns its size."""
    size = stat_wav(path).st_size
    with _opened(path) as file:
        _check_magic(file.read(12), size)
    return size


def _check_magic(content: bytes, size: int) -> None:
    # Given anything else, libsndfile tries its other decoders, which write to the terminal.
    if content[:4] + content[8:12] != b"RIFFWAVE":
        raise WavError("must be a WAV file", f"{size:,} bytes, starting with {content[:4]!r}" if size else "empty file")


def _check_header(header: Header, seconds: int = 1) -> None:
    length = f"{seconds * FRAMES:,} samples ({'1 second' if seconds == 1 else f'{seconds} seconds'})"
    rules = (
        ("must be a WAV file", header.format, ("WAV", "WAVEX")),  # WAVEX: a longer header, which some programs write
        ("must have a sampling rate of 44,100 Hz", header.samplerate, (WAV_RATE,)),
        ("must be mono", header.channels, (1,)),
        ("must be 24-bit PCM", header.subtype, ("PCM_24",)),
        (f"must contain {length}", header.frames, (seconds * FRAMES,)),
    )
    for rule, value, allowed in rules:
        if value not in allowed:
            raise WavError(rule, f"found {value}")
