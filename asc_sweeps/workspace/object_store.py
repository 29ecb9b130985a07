"""Files in an object store (S3, GCS, Azure, any file system pyarrow knows), with retries. The only door to pyarrow."""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

from asc_sweeps.errors import StoreError, WorkspaceError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

RETRY_PAUSES = (5.0, 20.0, 60.0)
"""Seconds to wait before each retry of a failed request."""
BLOCK_BYTES = 16 * 2**20
FLAT_STORES = ("s3", "gcs", "abfs")
"""Types of stores without folders, where a file appears only when it is complete."""

Answer = TypeVar("Answer")


class FileStat(NamedTuple):
    """Size and modification time of a stored file."""

    size: int
    mtime_ns: int


class ObjectStore:
    """The files below `url`, by their keys: paths relative to it.

    Raises WorkspaceError for an invalid address or a missing bucket, StoreError when a request fails after all retries.
    """

    def __init__(self, url: str, retry_pauses: Sequence[float] = RETRY_PAUSES) -> None:
        self.url = url
        self._retry_pauses = retry_pauses

    def check(self) -> None:
        """Raise at once when the address is invalid or the store cannot be reached."""
        try:
            _connect(self.url)
        except OSError as error:
            raise StoreError(f"--workspace {self.url}: {_first_line(error)}") from error

    def read(self, key: str) -> bytes | None:
        """The content of a file, or None if it does not exist."""

        def read(system: FileSystem, path: str) -> bytes | None:
            while True:
                try:
                    with system.open_input_stream(path) as file:
                        content = file.read()
                except FileNotFoundError:
                    return None
                # pyarrow asks for the size, then for the bytes: a file replaced in between is truncated or padded.
                if system.get_file_info(path).size in (len(content), None):
                    return content

        return self._retry("read", key, read)

    def download(self, key: str, target: Path) -> None:
        """Copy a file of any size to a local path."""

        def download(system: FileSystem, path: str) -> None:
            with system.open_input_stream(path) as source, open(target, "wb") as file:
                shutil.copyfileobj(source, file, BLOCK_BYTES)

        self._retry("fetched", key, download)

    def write(self, key: str, fill: Callable[[BinaryIO], object]) -> None:
        """Write a file atomically; `fill` writes its content into a stream."""

        def write(system: FileSystem, path: str) -> None:
            if system.type_name in FLAT_STORES:
                with system.open_output_stream(path) as file:
                    fill(file)
                return
            system.create_dir(os.path.dirname(path), recursive=True)
            temporary = f"{path}.{uuid.uuid4().hex[:8]}.tmp"
            with system.open_output_stream(temporary) as file:
                fill(file)
            system.move(temporary, path)

        # In a thread, which Ctrl-C does not reach: an interrupted stream is closed, and the store keeps the partial file.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(self._retry, "written", key, write).result()

    def upload(self, source: Path, key: str, on_bytes: Callable[[int], None] = lambda done: None) -> None:
        """Copy a local file of any size into the store; `on_bytes` is called with the bytes sent so far."""

        def fill(target: BinaryIO) -> None:
            with open(source, "rb") as file:
                while block := file.read(BLOCK_BYTES):
                    target.write(block)
                    on_bytes(file.tell())

        self.write(key, fill)

    def delete(self, key: str, folder: bool = False) -> None:
        """Delete a file, or a folder with its content; a missing one is ignored."""

        def delete(system: FileSystem, path: str) -> None:
            with suppress(FileNotFoundError):
                (system.delete_dir if folder else system.delete_file)(path)

        self._retry("removed", key, delete)

    def list_files(self, key: str) -> dict[str, FileStat]:
        """The files below a folder, by key."""
        from pyarrow.fs import FileSelector, FileType

        def list_files(system: FileSystem, path: str) -> dict[str, FileStat]:
            infos = system.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
            files, base = (info for info in infos if info.type == FileType.File), path.removesuffix(key)
            return {info.path.removeprefix(base): FileStat(info.size, info.mtime_ns) for info in files}

        return self._retry("listed", key, list_files)

    def _retry(self, verb: str, key: str, request: Callable[[FileSystem, str], Answer]) -> Answer:
        """Make a request, after pauses again while it fails."""
        for pause in (*self._retry_pauses, None):
            try:
                system, base = _connect(self.url)
                return request(system, f"{base}/{key}")
            except OSError as error:
                if pause is None or "ACCESS_DENIED" in str(error):  # a retry cannot help
                    raise StoreError(f"{self.url}: {key} cannot be {verb} ({_first_line(error)})") from error
            time.sleep(pause)
        raise AssertionError("the last pause is None")


@cache
def _connect(url: str) -> tuple[FileSystem, str]:
    """The file system of an address and the path in it. Raises WorkspaceError if invalid, OSError if unreachable."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FileType

    try:
        system, base = FileSystem.from_uri(_with_delayed_open(url))
    except (ArrowException, OSError, ValueError) as error:
        raise WorkspaceError(f"--workspace {url}: {_first_line(error)}") from None
    bucket = base.strip("/").partition("/")[0]
    if not bucket:
        raise WorkspaceError(f"--workspace {url}: the address has no bucket; use the form s3://bucket/workspace")
    if system.type_name in FLAT_STORES and system.get_file_info(bucket).type == FileType.NotFound:
        raise WorkspaceError(f"--workspace {url}: bucket '{bucket}' does not exist; create it first")
    return system, base.rstrip("/")


def _with_delayed_open(url: str) -> str:
    """The address with the option by which S3 receives a small file in one request instead of three."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or "allow_delayed_open" in parts.query:
        return url
    return urlunsplit(parts._replace(query="&".join(filter(None, [parts.query, "allow_delayed_open=true"]))))


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
