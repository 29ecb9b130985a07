"""A workspace's files: in a folder that all who use it see, or in an object store of which each machine keeps a copy.

The only door to pyarrow.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar
from urllib.parse import urlsplit, urlunsplit

from asc_sweeps.errors import StoreError, WorkspaceError
from asc_sweeps.workspace.atomic_files import as_json, naming, write_bytes
from asc_sweeps.workspace.file_lock import FileLock

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

Progress = Callable[[int, int], None]
"""Called with how many bytes are done and how many there are."""

Answer = TypeVar("Answer")

PAUSES = (5.0, 20.0, 60.0)
"""Seconds after which something is tried again that an object store did not do."""
AT_ONCE = 16
"""Small files fetched at the same time: each costs a round trip."""
BLOCK = 16 * 2**20
WITHOUT_FOLDERS = ("s3", "gcs", "abfs")


class SharedFiles:
    """Files in a folder that all who use the workspace see: what is written is there for all, and nothing is to be fetched."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def at_once(self) -> SharedFiles:
        """The same files for one who cannot wait where they cannot be reached."""
        return self

    def read(self, path: Path) -> bytes | None:
        """What the file holds now, for all; None where there is none."""
        try:
            with naming(path):
                return path.read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: Path, content: bytes) -> None:
        """Put `content` at `path`, whole or not at all."""
        write_bytes(path, content)

    def write_json(self, path: Path, content: Any) -> None:
        """Put `content` at `path` as JSON; NaN is refused, since JSON has none."""
        self.write(path, as_json(content))

    def remove(self, *paths: Path) -> None:
        """Remove files, those that are there."""
        for path in paths:
            path.unlink(missing_ok=True)

    def remove_all(self, folder: Path, pattern: str) -> None:
        """Remove a folder's files of a pattern, whoever wrote them."""
        self.remove(*folder.glob(pattern))

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder with all that is in it, if it is there."""
        shutil.rmtree(folder, ignore_errors=True)

    def fetch(self, *paths: Path) -> None:
        """Make these small files here what they are for all; one that is gone for all goes here, too."""

    def send(self, path: Path) -> None:
        """Give all a file that was not written by `write`."""

    def fetch_folder(self, folder: Path, last: str) -> None:
        """Have a folder here that never changes; its file `last` says that it is whole."""

    def send_folder(self, folder: Path, last: str, progress: Progress = lambda done, total: None) -> None:
        """Give all a folder that never changes; its file `last` says that it is whole."""

    def pull(self, folder: Path, names: Collection[str], unchanging: Collection[str] = ()) -> None:
        """Make the files of these names below `folder` what they are for all; the `unchanging` are fetched once."""


class MirroredFiles(SharedFiles):
    """Files in an object store, `url`, of which `root` is this machine's copy.

    The store is the truth: it is written before the copy is, and a file that is gone there goes from the copy. Raises
    WorkspaceError where there is no such store, StoreError where it cannot be read or written.
    """

    def __init__(self, root: Path, url: str, pauses: Sequence[float] = PAUSES) -> None:
        super().__init__(root)
        self.url = url
        self._pauses = pauses

    def at_once(self) -> MirroredFiles:
        """The same files, but what the store does not do is told without trying again."""
        return MirroredFiles(self.root, self.url, pauses=())

    def read(self, path: Path) -> bytes | None:
        """What the store holds now."""

        def read(store: FileSystem, key: str) -> bytes | None:
            while True:
                try:
                    with store.open_input_stream(key) as file:
                        content = file.read()
                except FileNotFoundError:
                    return None
                # pyarrow asks for the size, then for the bytes: a file that is replaced between comes torn or padded.
                if store.get_file_info(key).size in (len(content), None):
                    return content

        return self._do("read", path, read)

    def write(self, path: Path, content: bytes) -> None:
        """Put `content` into the store, then into the copy."""
        self._write(path, lambda file: file.write(content))
        super().write(path, content)

    def remove(self, *paths: Path) -> None:
        """Remove files from the store and from the copy."""
        for path in paths:
            self._do("removed", path, lambda store, key: store.delete_file(key), missing_ok=True)
            super().remove(path)

    def remove_all(self, folder: Path, pattern: str) -> None:
        """Remove a folder's files of a pattern from the store and from the copy."""
        self.remove(*(path for path in self._list(folder) if path.match(pattern)))
        super().remove(*folder.glob(pattern))

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder from the store and from the copy."""
        self._do("removed", folder, lambda store, key: store.delete_dir(key), missing_ok=True)
        super().remove_folder(folder)

    def fetch(self, *paths: Path) -> None:
        """Bring files from the store."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(self._fetch, paths))

    def send(self, path: Path) -> None:
        """Send a file to the store."""
        self._send(path, lambda done: None)

    def fetch_folder(self, folder: Path, last: str) -> None:
        """Bring a whole folder from the store, unless this machine has it; one process of a machine does it for all."""
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.fetch.lock")):
            there = {} if folder.exists() else self._list(folder)
            if folder / last not in there:
                return
            coming = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
            try:
                for path in there:
                    here = coming / path.relative_to(folder)
                    here.parent.mkdir(parents=True, exist_ok=True)
                    self._download(path, here)
                os.replace(coming, folder)
            finally:
                shutil.rmtree(coming, ignore_errors=True)

    def send_folder(self, folder: Path, last: str, progress: Progress = lambda done, total: None) -> None:
        """Send a whole folder to the store, unless it has it."""
        if self.read(folder / last) is not None:
            return
        paths = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.name == last)
        sizes = [path.stat().st_size for path in paths]
        for i, path in enumerate(paths):
            self._send(path, lambda done, i=i: progress(sum(sizes[:i]) + done, sum(sizes)))

    def pull(self, folder: Path, names: Collection[str], unchanging: Collection[str] = ()) -> None:
        """Bring the files of these names from the store, and remove what it has no more."""
        try:
            _open_store(self.url)  # what is wrong with the address is told at once
        except OSError as error:
            raise StoreError(f"--workspace {self.url}: {_first_line(error)}") from error
        wanted = [*names, *unchanging]
        # Here first: what is written from now on is in the store before it is here.
        here = {path for name in wanted for path in folder.rglob(name)}
        there = {path: info for path, info in self._list(folder).items() if any(path.match(name) for name in wanted)}
        for path in here - there.keys():
            path.unlink(missing_ok=True)
        new = [p for p, info in there.items() if not (any(p.match(name) for name in unchanging) and _is_same(p, info))]
        self.fetch(*new)
        for path in new:
            with suppress(FileNotFoundError):
                os.utime(path, ns=(there[path].mtime_ns, there[path].mtime_ns))

    def _fetch(self, path: Path) -> None:
        content = self.read(path)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            write_bytes(path, content)

    def _list(self, folder: Path) -> dict[Path, FileInfo]:
        """The files below a folder in the store, by their path in the copy."""
        from pyarrow.fs import FileSelector, FileType

        base = _open_store(self.url)[1]
        found = self._do(
            "listed",
            folder,
            lambda store, key: store.get_file_info(FileSelector(key, allow_not_found=True, recursive=True)),
        )
        return {self.root / i.path.removeprefix(f"{base}/"): i for i in found if i.type == FileType.File}

    def _download(self, path: Path, here: Path) -> None:
        def download(store: FileSystem, key: str) -> None:
            with store.open_input_stream(key) as source, open(here, "wb") as target:
                shutil.copyfileobj(source, target, BLOCK)

        self._do("fetched", path, download)

    def _send(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        def pour(target: BinaryIO) -> None:
            with open(path, "rb") as source:
                while block := source.read(BLOCK):
                    target.write(block)
                    on_bytes(source.tell())

        self._write(path, pour)

    def _write(self, path: Path, pour: Callable[[BinaryIO], object]) -> None:
        """Write one of the store's files; it is there once it is whole."""

        def write(store: FileSystem, key: str) -> None:
            if store.type_name in WITHOUT_FOLDERS:
                with store.open_output_stream(key) as file:
                    pour(file)
                return
            store.create_dir(key.rpartition("/")[0], recursive=True)
            temporary = f"{key}.{uuid.uuid4().hex[:8]}.tmp"
            with store.open_output_stream(temporary) as file:
                pour(file)
            store.move(temporary, key)

        # In a thread, which no Ctrl-C reaches: an interrupted stream is closed, and the store takes its part for the whole.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._do, "written", path, write).result()

    def _do(
        self, what: str, path: Path, act: Callable[[FileSystem, str], Answer], missing_ok: bool = False
    ) -> Answer | None:
        """Do something to one of the store's files, again after some pauses where that fails."""
        name = path.relative_to(self.root).as_posix()
        for pause in (*self._pauses, None):
            try:
                store, base = _open_store(self.url)
                return act(store, f"{base}/{name}")
            except OSError as error:
                if missing_ok and isinstance(error, FileNotFoundError):
                    return None
                if pause is None or "ACCESS_DENIED" in str(error):  # which no waiting mends
                    raise StoreError(f"{self.url}: {name} cannot be {what} ({_first_line(error)})") from error
            time.sleep(pause)
        raise AssertionError("the last pause is None")


@cache
def _open_store(url: str) -> tuple[FileSystem, str]:
    """The file system of an address and the path in it. Raises WorkspaceError where there is none, OSError where it is away."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FileType

    try:
        store, base = FileSystem.from_uri(_thrifty(url))
    except (ArrowException, OSError, ValueError) as error:
        raise WorkspaceError(f"--workspace {url}: {_first_line(error)}") from None
    bucket = base.strip("/").partition("/")[0]
    if not bucket:
        raise WorkspaceError(f"--workspace {url}: names no bucket, as s3://bucket/workspace does")
    if store.type_name in WITHOUT_FOLDERS and store.get_file_info(bucket).type == FileType.NotFound:
        raise WorkspaceError(f"--workspace {url}: there is no bucket '{bucket}'; make it first")
    return store, base.rstrip("/")


def _thrifty(url: str) -> str:
    """The address with which S3 is sent a small file in one request; it would be three, as of a large one."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or "allow_delayed_open" in parts.query:
        return url
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, "allow_delayed_open=true"]))))


def _is_same(path: Path, info: FileInfo) -> bool:
    """Whether a copy is of this file: its time was set to that of the store when it was fetched."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return False
    return (stat.st_size, stat.st_mtime_ns) == (info.size, info.mtime_ns)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
