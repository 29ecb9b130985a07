"""A workspace's files behind one interface: `Storage`. `LocalStorage` is a folder that all processes see."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Protocol

from asc_sweeps.workspace.atomic_files import as_json, filename_in_errors, write_bytes

Progress = Callable[[int, int], None]
"""Called with the bytes done and the bytes in total."""


class Storage(Protocol):
    """Reads and writes the files of a workspace; `root` is the folder in which this machine has them.

    `read` and `write` always act on the shared files. Files read directly from `root` must be fetched first.
    """

    root: Path

    def without_retries(self) -> Storage:
        """The same files for callers who cannot wait while the storage is unreachable."""

    def read(self, path: Path) -> bytes | None:
        """The current content of a file, or None if it does not exist."""

    def write(self, path: Path, content: bytes) -> None:
        """Replace a file atomically."""

    def write_json(self, path: Path, content: Any) -> None:
        """Replace a file by `content` as JSON. Raises ValueError for NaN."""
        self.write(path, as_json(content))

    def remove(self, *paths: Path) -> None:
        """Remove files; missing ones are ignored."""

    def remove_matching(self, folder: Path, pattern: str) -> None:
        """Remove the files of a folder whose names match a glob pattern."""

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder with its content; a missing one is ignored."""

    def fetch(self, *paths: Path) -> None:
        """Update the local copies of small files; files that no longer exist are removed."""

    def push(self, path: Path) -> None:
        """Share a file that was written locally by other means than `write`."""

    def fetch_folder(self, folder: Path, marker: str) -> None:
        """Get an immutable folder, unless it is here; it is complete once it contains the file `marker`."""

    def push_folder(self, folder: Path, marker: str, progress: Progress = lambda done, total: None) -> None:
        """Share an immutable folder, unless it has been shared; its file `marker` is sent last."""

    def pull(self, folder: Path, names: Collection[str], immutable: Collection[str] = ()) -> None:
        """Update the local copies of all files below `folder` with these names; `immutable` ones are fetched only once."""


class LocalStorage(Storage):
    """Files in a folder that all processes see: nothing has to be fetched or pushed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def without_retries(self) -> LocalStorage:
        return self

    def read(self, path: Path) -> bytes | None:
        try:
            with filename_in_errors(path):
                return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes) -> None:
        write_bytes(path, content)

    def remove(self, *paths: Path) -> None:
        for path in paths:
            path.unlink(missing_ok=True)

    def remove_matching(self, folder: Path, pattern: str) -> None:
        self.remove(*folder.glob(pattern))

    def remove_folder(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)

    def fetch(self, *paths: Path) -> None: ...

    def push(self, path: Path) -> None: ...

    def fetch_folder(self, folder: Path, marker: str) -> None: ...

    def push_folder(self, folder: Path, marker: str, progress: Progress = lambda done, total: None) -> None: ...

    def pull(self, folder: Path, names: Collection[str], immutable: Collection[str] = ()) -> None: ...
