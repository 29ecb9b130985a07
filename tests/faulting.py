"""Real faults for the real command: it runs in a process that strace holds, forked from one that has imported everything.

A fault at every n-th system call takes many runs, and importing torch would be most of each.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import io
import json
import mmap
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOM = 2**20
"""Bytes for what a command says: in shared memory, since its writes may be those that fail."""
SET_PTRACER, ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
UNFORESEEN = 99


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it said on standard error."""

    code: int
    """Exit code, or minus the signal that killed it."""
    said: str


class Warmed:
    """A process with all modules that its commands have needed so far; each command runs in a fork of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def run(self, *words: str, inject: str = "") -> Ended:
        """Run a command; `inject` is what strace is told to do to it, e.g. `write:error=ENOSPC:when=3+`."""
        self._write(json.dumps(words))
        child, tracer = self._read(), None
        if inject:
            call = inject.partition(":")[0]
            tracer = subprocess.Popen(
                ["strace", "-f", "-qq", "-p", child, "-o", os.devnull, "-e", f"trace={call}", "-e", f"inject={inject}"]
            )
            while "TracerPid:\t0\n" in Path(f"/proc/{child}/status").read_text():
                assert tracer.poll() is None, "strace has ended"
                time.sleep(0.002)
        self._write("go")
        ended = Ended(**json.loads(self._read()))
        if tracer:
            tracer.wait()
        return ended

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def warmed() -> Iterator[Warmed]:
    made = Warmed()
    yield made
    made.close()


@pytest.fixture(scope="session")
def tracing(warmed: Warmed) -> Warmed:
    """As `warmed`, where strace may hold a process."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with subprocess.Popen([sys.executable, "-c", ALLOWING], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as sleeper:
        sleeper.stdout.readline()
        done = subprocess.run(
            ["timeout", "0.3", "strace", "-qq", "-p", str(sleeper.pid)], capture_output=True, text=True, check=False
        )
        sleeper.stdin.close()
    if "ttach" in done.stderr:
        pytest.skip(f"strace may hold no process here: {done.stderr.strip()}")
    return warmed


ALLOWING = f"""
import ctypes, sys
ctypes.CDLL(None).prctl({SET_PTRACER}, ctypes.c_ulong(-1), 0, 0, 0)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A disk of so many bytes at `folder`; gives what mounts it anew with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    try:
        yield lambda options: _mount("-o", f"remount,{options}", str(folder)).check_returncode()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("mount"):
        pytest.skip("mount is not installed")
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def serve() -> None:
    """Run the commands that standard input names, each in a fork that waits for the word to go."""
    import torch

    from asc_sweeps import cli

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        gc.freeze()  # what is never looked at need not be copied for a fork
        go, told = os.pipe(), mmap.mmap(-1, ROOM)
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(SET_PTRACER, ANYBODY, 0, 0, 0)  # where only a parent may trace
            os.read(go[0], 1)
            os._exit(_end_of(cli.main, json.loads(line), told))
        print(child, flush=True)
        sys.stdin.readline()
        os.write(go[1], b"x")
        status = os.waitpid(child, 0)[1]
        for end in go:
            os.close(end)
        said, modules = json.loads(told[:].rstrip(b"\0") or '["", []]')  # nothing of one that was killed
        for name in sorted(modules, key=lambda name: not name.startswith("asc_sweeps")):
            with suppress(Exception):  # some want to be imported by others
                importlib.import_module(name)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "said": said}), flush=True)


def _end_of(main: Callable[[], None], words: list[str], told: mmap.mmap) -> int:
    """Run a command; what it says and which modules it brought goes to memory."""
    known, err, code = set(sys.modules), io.StringIO(), UNFORESEEN
    sys.argv = ["asc-sweeps", *words]
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
    text = json.dumps([err.getvalue(), [name for name in sys.modules if name not in known]]).encode()
    told[: len(text)] = text
    return code


if __name__ == "__main__":
    serve()
