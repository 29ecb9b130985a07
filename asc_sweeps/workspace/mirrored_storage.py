"""A workspace in an object store, of which each machine keeps a local copy."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.file_lock import FileLock
from asc_sweeps.workspace.object_store import FileStat, ObjectStore
from asc_sweeps.workspace.storage import LocalStorage, Progress, Storage

PARALLEL_FETCHES = 16
"""Small files fetched at the same time: each costs a round trip."""


class MirroredStorage(Storage):
    """Files in an object store; `root` is this machine's copy.

    The store is authoritative: it is written before the copy, and a file deleted there is deleted from the copy.
    Raises as `ObjectStore`.
    """

    def __init__(self, root: Path, store: ObjectStore) -> None:
        self.root = root
        self._store, self._copy = store, LocalStorage(root)

    def without_retries(self) -> MirroredStorage:
        return MirroredStorage(self.root, ObjectStore(self._store.url, retry_pauses=()))

    def read(self, path: Path) -> bytes | None:
        return self._store.read(self._key(path))

    def write(self, path: Path, content: bytes) -> None:
        self._store.write(self._key(path), lambda file: file.write(content))
        self._copy.write(path, content)

    def remove(self, *paths: Path) -> None:
        for path in paths:
            self._store.delete(self._key(path))
            self._copy.remove(path)

    def remove_matching(self, folder: Path, pattern: str) -> None:
        self.remove(*(path for path in self._list(folder) if path.match(pattern)))
        self._copy.remove_matching(folder, pattern)

    def remove_folder(self, folder: Path) -> None:
        self._store.delete(self._key(folder), folder=True)
        self._copy.remove_folder(folder)

    def fetch(self, *paths: Path) -> None:
        with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
            list(pool.map(self._fetch, paths))

    def push(self, path: Path) -> None:
        self._store.upload(path, self._key(path))

    def fetch_folder(self, folder: Path, marker: str) -> None:
        if folder.exists():
            return
        # One process of this machine fetches it for all.
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.fetch.lock")):
            files = {} if folder.exists() else self._list(folder)
            if folder / marker not in files:
                return
            temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                for path in files:
                    target = temporary / path.relative_to(folder)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    self._store.download(self._key(path), target)
                os.replace(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)

    def push_folder(self, folder: Path, marker: str, progress: Progress = lambda done, total: None) -> None:
        if self.read(folder / marker) is not None:
            return
        paths = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == marker)
        sizes = [path.stat().st_size for path in paths]
        for i, path in enumerate(paths):

            def on_bytes(done: int, before: int = sum(sizes[:i])) -> None:
                progress(before + done, sum(sizes))

            self._store.upload(path, self._key(path), on_bytes)

    def pull(self, folder: Path, names: Collection[str], immutable: Collection[str] = ()) -> None:
        self._store.check()
        wanted = [*names, *immutable]
        # The copy is listed first: a file written from now on is in the store before it is here.
        local = {path for name in wanted for path in folder.rglob(name)}
        stored = {path: stat for path, stat in self._list(folder).items() if any(path.match(name) for name in wanted)}
        for path in local - stored.keys():
            path.unlink(missing_ok=True)
        changed = [p for p, stat in stored.items() if not (any(p.match(n) for n in immutable) and _is_copy(p, stat))]
        self.fetch(*changed)
        for path in changed:
            with suppress(FileNotFoundError):
                os.utime(path, ns=(stored[path].mtime_ns, stored[path].mtime_ns))

    def _fetch(self, path: Path) -> None:
        content = self.read(path)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            write_bytes(path, content)

    def _list(self, folder: Path) -> dict[Path, FileStat]:
        """The files below a folder in the store, by their path in the copy."""
        return {self.root / key: stat for key, stat in self._store.list_files(self._key(folder)).items()}

    def _key(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


def _is_copy(path: Path, stored: FileStat) -> bool:
    """Whether a local file is a copy of this stored one: `pull` gives it the stored modification time."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return FileStat(stat.st_size, stat.st_mtime_ns) == stored
