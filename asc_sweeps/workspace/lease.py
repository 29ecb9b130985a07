"""Mutual exclusion among all processes that share a workspace: one process holds a lease and renews it by heartbeats.

On one machine the operating system knows whether the owner is alive, by a file lock that ends with its process. An owner on
another machine counts as dead once its heartbeat has not changed for `DEAD_AFTER` seconds of the observer's own clock: clocks
are never compared. An owner that was only suspended for so long learns at its next heartbeat that it has lost the lease.
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
from asc_sweeps.workspace.records import utc_now

HEARTBEAT = 5.0
"""Seconds between two heartbeats."""
DEAD_AFTER = 30.0
"""Seconds without a heartbeat after which an owner counts as dead."""
SETTLE_TIME = 2.0
"""Seconds after which all concurrent writers of an object store see the same last write."""
POLL_INTERVAL = 0.5
"""Seconds between two attempts of a waiting process."""
MAX_POLL_GAP = 5.0
"""Seconds without polling after which an observer starts over: it was suspended itself."""
STORE_TIMEOUT = 90.0
"""Seconds for which a waiting process tolerates an unreachable object store."""


class Lease:
    """A lease that this process holds."""

    def __init__(self, workspace: Workspace, path: Path) -> None:
        # Without retries: by the time of a late one the lease may be another's.
        self._storage, self._path = workspace.storage.without_retries(), path
        self._owner = uuid.uuid4().hex
        self._owner_lock = FileLock(_owner_lock_path(path, self._owner), thread_local=False)
        self._beats, self._since = 0, utc_now()
        self._lost = False
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._send_heartbeats, daemon=True)

    def is_lost(self) -> bool:
        """Whether another process is known to have taken over the lease."""
        with suppress(StoreError):
            content = self._storage.read(self._path)
            self._lost = self._lost or content is None or _owner(content) not in (self._owner, None)
        return self._lost

    def check(self) -> None:
        """Raise LeaseLostError if another process has taken over the lease; to be called before anything is written."""
        if self.is_lost():
            raise LeaseLostError(f"{self._path}: taken over by another process while this one was suspended")

    def try_to_own(self, in_store: bool) -> bool:
        """Write this process down as the owner; False if another process did so at the same time and came last."""
        self._owner_lock.acquire(timeout=0)
        try:
            self._storage.write(self._path, self._content())
            if in_store:
                time.sleep(SETTLE_TIME)
            if _owner(self._storage.read(self._path)) == self._owner:
                self._heart.start()
                return True
            return False
        finally:
            if not self._heart.is_alive():
                self._release_owner_lock()

    def release(self) -> None:
        """Let other processes acquire the lease."""
        self._ended.set()
        self._heart.join()
        with suppress(WorkspaceError, OSError):  # then others notice by the lock, or by the missing heartbeats
            if _owner(self._storage.read(self._path)) == self._owner:
                self._storage.remove(self._path)
        self._release_owner_lock()

    def _send_heartbeats(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            with suppress(WorkspaceError, OSError):  # the storage may be reachable at the next heartbeat
                if self.is_lost():
                    return
                self._beats += 1
                self._storage.write(self._path, self._content())

    def _content(self) -> bytes:
        return as_json(
            {
                "owner": self._owner,
                "process": os.getpid(),
                "host": platform.node(),
                "machine": _machine(self._path.parent),
                "since": self._since,
                "beat": self._beats,
                "beat_at": utc_now(),
            }
        )

    def _release_owner_lock(self) -> None:
        self._owner_lock.release()
        with suppress(OSError):  # else an empty, unlocked file remains
            Path(self._owner_lock.lock_file).unlink(missing_ok=True)


@contextmanager
def acquire(workspace: Workspace, path: Path, on_wait: Callable[[str], None] = lambda owner: None) -> Iterator[Lease]:
    """Hold the lease at `path`; waits for a living owner, takes over from a dead one.

    `on_wait` is called with the owner once it is known to be alive; an exception that it raises ends the wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    observer, lease, reached = _Observer(path), None, time.monotonic()
    while lease is None:
        try:
            seen = workspace.storage.without_retries().read(path)
            if seen is None or observer.is_dead(seen):
                lease = _take_over(workspace, path, seen)
            elif observer.is_alive(seen):
                on_wait(_describe_owner(seen))
            reached = time.monotonic()
        except StoreError:
            if time.monotonic() - reached > STORE_TIMEOUT:
                raise
        if lease is None:
            time.sleep(POLL_INTERVAL)
    try:
        yield lease
    finally:
        lease.release()


def is_held(path: Path) -> bool:
    """Whether the lease at `path` appears to be held, judged once by this machine's copy of it."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    lease = _parse(content)
    if _is_local(path, lease):
        return not _has_ended(path, lease)
    with suppress(KeyError, ValueError, TypeError):
        return (datetime.now(UTC) - datetime.fromisoformat(lease["beat_at"])).total_seconds() < 2 * DEAD_AFTER
    return False


class _Observer:
    """What a waiting process has seen of a lease's owner."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._first: bytes | None = None
        self._seen = b""
        self._since = self._polled = 0.0

    def is_dead(self, content: bytes) -> bool:
        """Whether the owner's process has ended, or sent no heartbeat for too long."""
        lease = _parse(content)
        if _is_local(self._path, lease) and _has_ended(self._path, lease):
            return True
        moment = time.monotonic()
        if content != self._seen or moment - self._polled > MAX_POLL_GAP:
            self._seen, self._since = content, moment
        self._polled = moment
        return moment - self._since > DEAD_AFTER

    def is_alive(self, content: bytes) -> bool:
        """Whether the owner's process exists on this machine, or has sent a heartbeat since the first poll."""
        self._first = self._first or content
        return content != self._first or _is_local(self._path, _parse(content))


def _take_over(workspace: Workspace, path: Path, dead: bytes | None) -> Lease | None:
    """The lease, if it is free or still held by this dead owner; of several processes that try, one succeeds."""
    with FileLock(path.with_name(f".{path.name}.lock")):
        seen = workspace.storage.without_retries().read(path)
        if seen is not None:
            lease = _parse(seen)
            if seen != dead and not (_is_local(path, lease) and _has_ended(path, lease)):
                return None
            if lease:
                _owner_lock_path(path, lease["owner"]).unlink(missing_ok=True)
        own = Lease(workspace, path)
        return own if own.try_to_own(in_store=bool(workspace.url)) else None


def _describe_owner(content: bytes) -> str:
    lease = _parse(content)
    return f"process {lease.get('process', '?')} on {lease.get('host', '?')} since {lease.get('since', '?')}"


def _is_local(path: Path, lease: dict[str, Any]) -> bool:
    """Whether the owner is a process of this machine, so that its file lock is meaningful."""
    return lease.get("machine") == _machine(path.parent)


def _has_ended(path: Path, lease: dict[str, Any]) -> bool:
    """Whether an owner on this machine has ended: its file lock is free, or gone."""
    try:
        descriptor = os.open(_owner_lock_path(path, lease["owner"]), os.O_RDWR)  # FileLock would create a missing file
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _owner_lock_path(path: Path, owner: str) -> Path:
    return path.with_name(f".{path.name}.{owner}.lock")


def _owner(content: bytes | None) -> str | None:
    return _parse(content).get("owner") if content else None


def _parse(content: bytes) -> dict[str, Any]:
    """A lease file's content; empty if it is not valid."""
    try:
        lease = json.loads(content)
        return lease if isinstance(lease.get("owner"), str) else {}
    except (ValueError, AttributeError):
        return {}


def _machine(folder: Path) -> str:
    """Identifies a machine's boot and the folder's inode: where both are equal, file locks are shared.

    Two containers on one machine may have different folders of the same name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = platform.node()
    stat = folder.stat()
    return f"{boot} {stat.st_dev}:{stat.st_ino}"
