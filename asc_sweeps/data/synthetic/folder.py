"""A folder that appears complete or not at all: written under a temporary name beside it, then renamed.

An interrupted run leaves its temporary folder, which the next run empties.
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
def atomic_folder(folder: Path, needed_bytes: int) -> Iterator[Path]:
    """Yields an empty folder that is renamed to `folder` (missing or empty so far) if the block raises no error."""
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        handle = os.open(unfinished, os.O_RDONLY)
    except OSError as error:
        raise DataError(f"{folder.parent}: cannot be written to ({error.strerror}); use another folder") from error
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
        os.close(handle)  # releases the lock


def _lock(handle: int, unfinished: Path, folder: Path) -> None:
    """Exclude a second run, which would empty the folder while the first one writes."""
    busy = DataError(f"{folder}: another run is writing it (in {unfinished}); wait for it, or use another folder")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise busy from None
    except OSError:
        pass  # a file system without locks
    # Between opening and locking the folder, the first run may have finished and renamed it.
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
        raise DataError(
            f"{folder}: the finished folder cannot be renamed to it ({error.strerror}); it may have been filled in the meantime"
        ) from error
