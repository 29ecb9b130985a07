"""A folder that appears whole or not at all: filled under a temporary name beside its place, renamed when complete.

Knows nothing of what is written into it. A killed run leaves its temporary folder, which the next run empties.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asc_sweeps.errors import DataError


@contextmanager
def whole_folder(folder: Path, needed_bytes: int) -> Iterator[Path]:
    """Yields an empty folder that becomes `folder` (missing or empty so far) if the block ends without an error."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        handle = os.open(unfinished, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written to ({error.strerror}); name another folder") from error
    try:
        _lock(handle, unfinished, folder)
        try:
            _empty(unfinished)
            _check_space(folder.parent, needed_bytes)
            yield unfinished
            _rename(unfinished, folder)
        except BaseException:
            shutil.rmtree(unfinished, ignore_errors=True)
            raise
    finally:
        os.close(handle)  # gives up the lock


def _lock(handle: int, unfinished: Path, folder: Path) -> None:
    """Keep a second run out: it would empty the folder under the first one's hands."""
    busy = DataError(f"{folder}: another run is writing it (in {unfinished}); wait for it, or name another folder")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError:
        pass  # a file system without locks: go on without
    # The first run may have finished between our opening the folder and locking it: then it bears its last name.
    if not unfinished.exists() or not os.path.samestat(os.fstat(handle), os.stat(unfinished)):
        raise busy


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _check_space(parent: Path, needed_bytes: int) -> None:
    free = shutil.disk_usage(parent).free
    if free < needed_bytes:
        raise DataError(
            f"{parent}: the data set needs {needed_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; "
            "choose a smaller plan or another disk"
        )


def _rename(unfinished: Path, folder: Path) -> None:
    try:
        os.rename(unfinished, folder)
    except OSError as error:
        raise DataError(f"{folder}: cannot be put in place ({error.strerror}); was it filled meanwhile?") from error
