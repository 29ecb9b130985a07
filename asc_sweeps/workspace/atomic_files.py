"""Atomic file writes: to a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Replace the file at `path`; a crash leaves the old file or the new one, never a partial one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with filename_in_errors(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to report
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def filename_in_errors(path: Path | str) -> Iterator[None]:
    """Set the file name of OSErrors: those of reads, writes and flushes have none, those of renames the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def write_json(path: Path, content: Any) -> None:
    """Replace the file at `path` by `content` as JSON. Raises ValueError for NaN."""
    write_bytes(path, as_json(content))


def as_json(content: Any) -> bytes:
    """Indented JSON. Raises ValueError for NaN."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def clear_temporary(folder: Path) -> None:
    """Remove what killed writers left in `folder`; the caller ensures that nobody is writing there."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The folder stores the rename: without this a power failure may undo it.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
