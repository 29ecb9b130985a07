"""Files that are whole or not there: written to a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what stands there; a crash leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    with naming(path):
        try:
            with open(temporary, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # what is wrong with the disk has been told
                temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Let the system's errors say whose they are: of a read, a write or a flush they name no file, of a rename the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def write_json(path: Path, content: Any) -> None:
    """Put `content` at `path` as JSON; NaN is refused, since JSON has none."""
    write_bytes(path, as_json(content))


def as_json(content: Any) -> bytes:
    """Readable JSON; raises ValueError for NaN."""
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def clear_temporary(folder: Path) -> None:
    """Remove what writers that were killed left in `folder`; the caller knows that nobody is writing there."""
    for leftover in folder.glob(".*.tmp"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    # The rename itself lives in the folder: without this a power cut may bring the old name back.
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
