"""Files that are whole or not there: written to a temporary name, flushed to the disk, renamed."""

from __future__ import annotations

import json
import os
import uuid
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Put `content` at `path`, replacing what stands there; a crash leaves the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


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
