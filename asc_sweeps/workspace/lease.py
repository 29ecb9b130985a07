"""The right to do a thing once among all who share a workspace: one process has it, and is seen alive by its beats.

On one machine the system itself knows whether the owner lives, by a lock that ends with its process. From another machine an
owner counts as dead once its beat has not changed for `DEAD_AFTER` seconds of the onlooker's own clock: clocks are never
compared. An owner that was only stopped for so long learns at its next beat that it is the owner no more.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asc_sweeps.errors import LeaseLostError, StoreError, WorkspaceError
from asc_sweeps.workspace.atomic_files import as_json
from asc_sweeps.workspace.file_lock import FileLock
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.results import now

BEAT = 5.0
"""Seconds between two beats."""
DEAD_AFTER = 30.0
"""Seconds without a beat after which an owner counts as dead."""
SETTLE = 2.0
"""Seconds after which, in an object store, the last of those who wrote at once is seen by all of them."""
LOOK = 0.5
"""Seconds between two looks of one who waits."""
BLIND = 5.0
"""Seconds between two looks that were not made: of that time nothing is known."""
PATIENCE = 90.0
"""Seconds for which one who waits takes it that the object store cannot be reached."""


class Lease:
    """A lease that this process has."""

    def __init__(self, workspace: Workspace, path: Path) -> None:
        # Without patience: what is done late here is done to another's lease.
        self._files, self._path = workspace.files.at_once(), path
        self._owner = uuid.uuid4().hex
        self._alive = FileLock(_lock_of(path, self._owner), thread_local=False)
        self._beats, self._since = 0, now()
        self._lost = False
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, daemon=True)

    def is_lost(self) -> bool:
        """Whether another process has taken the lease over; where the workspace cannot be reached, not that one knows."""
        with suppress(StoreError):
            self._lost = self._lost or self._is_anothers()
        return self._lost

    def check(self) -> None:
        """Raise LeaseLostError if another process has taken the lease over; to be asked before anything is written."""
        if self.is_lost():
            raise LeaseLostError(f"{self._path}: was taken over by another process; this one was stopped for too long")

    def take(self, in_store: bool) -> bool:
        """Write this process down as the owner; False if another did so at the same time, and was the last."""
        self._alive.acquire(timeout=0)
        try:
            self._files.write(self._path, self._text())
            if in_store:
                time.sleep(SETTLE)
            if _owner(self._files.read(self._path)) == self._owner:
                self._heart.start()
                return True
            return False
        finally:
            if not self._heart.is_alive():
                self._forget()

    def release(self) -> None:
        """Leave the lease to others."""
        self._ended.set()
        self._heart.join()
        with suppress(WorkspaceError, OSError):  # then those who wait find out by the lock, or by its beats
            if _owner(self._files.read(self._path)) == self._owner:
                self._files.remove(self._path)
        self._forget()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            with suppress(WorkspaceError, OSError):  # what cannot be reached now may be at the next beat
                if self.is_lost():
                    return
                self._beats += 1
                self._files.write(self._path, self._text())

    def _is_anothers(self) -> bool:
        content = self._files.read(self._path)
        return content is None or _owner(content) not in (self._owner, None)

    def _text(self) -> bytes:
        return as_json(
            {
                "owner": self._owner,
                "process": os.getpid(),
                "host": platform.node(),
                "machine": _machine(self._path.parent),
                "since": self._since,
                "beat": self._beats,
                "beat_at": now(),
            }
        )

    def _forget(self) -> None:
        self._alive.release()
        with suppress(OSError):  # an empty file that stays; nobody holds its lock
            Path(self._alive.lock_file).unlink(missing_ok=True)


@contextmanager
def hold(workspace: Workspace, path: Path, may_wait: Callable[[str], None] = lambda who: None) -> Iterator[Lease]:
    """Have the lease at `path`; another owner is waited for, and taken over from when it dies.

    `may_wait` is told who has it, once that one is seen to be alive; what it raises ends the waiting.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    watch, lease, reached = _Watch(path), None, time.monotonic()
    while lease is None:
        try:
            lease = _try(workspace, path, watch, may_wait)
            reached = time.monotonic()
        except StoreError:
            if time.monotonic() - reached > PATIENCE:
                raise
        if lease is None:
            time.sleep(LOOK)
    try:
        yield lease
    finally:
        lease.release()


def _try(workspace: Workspace, path: Path, watch: _Watch, may_wait: Callable[[str], None]) -> Lease | None:
    """The lease, if it is free or its owner is dead."""
    seen = workspace.files.at_once().read(path)
    if seen is None or watch.is_dead(seen):
        return _take(workspace, path, seen)
    if watch.is_alive(seen):
        may_wait(owner_of(seen))
    return None


def is_held(path: Path) -> bool:
    """Whether the lease at `path` seems to be somebody's, by one look at this machine's copy of it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    lease = _read(content)
    if _is_here(path, lease):
        return not _has_ended(path, lease)
    with suppress(KeyError, ValueError, TypeError):
        return (datetime.now(UTC) - datetime.fromisoformat(lease["beat_at"])).total_seconds() < 2 * DEAD_AFTER
    return False


def owner_of(content: bytes) -> str:
    """A lease's owner in words."""
    lease = _read(content)
    return f"process {lease.get('process', '?')} on {lease.get('host', '?')} since {lease.get('since', '?')}"


class _Watch:
    """One onlooker's view of a lease's owner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: bytes | None = None
        self._seen = b""
        self._since = self._looked = 0.0

    def is_dead(self, content: bytes) -> bool:
        """Whether the system says so, or the beats have stood still for long."""
        lease = _read(content)
        if _is_here(self._path, lease) and _has_ended(self._path, lease):
            return True
        moment = time.monotonic()
        if content != self._seen or moment - self._looked > BLIND:  # nobody looked: nothing is known of that time
            self._seen, self._since = content, moment
        self._looked = moment
        return moment - self._since > DEAD_AFTER

    def is_alive(self, content: bytes) -> bool:
        """Whether it was seen to beat, or the system says so."""
        self._first = self._first or content
        return content != self._first or _is_here(self._path, _read(content))


def _take(workspace: Workspace, path: Path, dead: bytes | None = None) -> Lease | None:
    """The lease, if there is none or still this dead one's; of several who try, one gets it."""
    with FileLock(path.with_name(f".{path.name}.lock")):
        seen = workspace.files.at_once().read(path)
        if seen is not None:
            lease = _read(seen)
            if seen != dead and not (_is_here(path, lease) and _has_ended(path, lease)):
                return None
            if lease:
                _lock_of(path, lease["owner"]).unlink(missing_ok=True)
        own = Lease(workspace, path)
        return own if own.take(in_store=bool(workspace.url)) else None


def _is_here(path: Path, lease: dict[str, Any]) -> bool:
    """Whether the owner is a process of this machine, so that the system knows whether it lives."""
    return lease.get("machine") == _machine(path.parent)


def _has_ended(path: Path, lease: dict[str, Any]) -> bool:
    """Whether an owner on this machine lives no more: the lock that it held is free, or gone."""
    try:
        descriptor = os.open(_lock_of(path, lease["owner"]), os.O_RDWR)  # FileLock would make it where it has just gone
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _lock_of(path: Path, owner: str) -> Path:
    return path.with_name(f".{path.name}.{owner}.lock")


def _owner(content: bytes | None) -> str | None:
    return _read(content).get("owner") if content else None


def _read(content: bytes) -> dict[str, Any]:
    """A lease as it is written; nothing of one that is not whole."""
    try:
        lease = json.loads(content)
        return lease if isinstance(lease.get("owner"), str) else {}
    except (ValueError, AttributeError):
        return {}


def _machine(folder: Path) -> str:
    """A machine since it was started, and the folder as its system knows it: where both are the same, locks are shared.

    Two containers of one machine may have folders of one name that are not the same.
    """
    try:
        started = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        started = platform.node()
    stat = folder.stat()
    return f"{started} {stat.st_dev}:{stat.st_ino}"
