"""Real faults in the real command: it runs under strace, in a fork of a process that has already imported everything.

Injecting a fault at every n-th system call takes many runs, and most of the time of each would be importing torch.
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

OUTPUT_BYTES = 2**20
"""Size of the shared memory for a command's output; its writes to files may be those that fail."""
PR_SET_PTRACER, ANY_PROCESS = 0x59616D61, ctypes.c_ulong(-1)
UNEXPECTED_ERROR = 99


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    """Exit code, or minus the signal that killed it."""
    stderr: str


class PreloadedProcess:
    """A process that has imported all modules that its commands needed so far; each command runs in a fork of it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def run(self, *words: str, inject: str = "") -> Outcome:
        """Run a command; `inject` is the fault for strace to inject, e.g. `write:error=ENOSPC:when=3+`."""
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
        outcome = Outcome(**json.loads(self._read()))
        if tracer:
            tracer.wait()
        return outcome

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def _write(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        return self._process.stdout.readline().strip()


@pytest.fixture(scope="session")
def preloaded() -> Iterator[PreloadedProcess]:
    process = PreloadedProcess()
    yield process
    process.close()


@pytest.fixture(scope="session")
def traceable(preloaded: PreloadedProcess) -> PreloadedProcess:
    """As `preloaded`; skips the test where strace cannot attach to a process."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with subprocess.Popen(
        [sys.executable, "-c", TRACEABLE_SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as sleeper:
        sleeper.stdout.readline()
        done = subprocess.run(
            ["timeout", "0.3", "strace", "-qq", "-p", str(sleeper.pid)], capture_output=True, text=True, check=False
        )
        sleeper.stdin.close()
    if "ttach" in done.stderr:
        pytest.skip(f"strace cannot attach to a process here: {done.stderr.strip()}")
    return preloaded


TRACEABLE_SLEEPER = f"""
import ctypes, sys
ctypes.CDLL(None).prctl({PR_SET_PTRACER}, ctypes.c_ulong(-1), 0, 0, 0)
print(flush=True)
sys.stdin.read()
"""


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Callable[[str], None]]:
    """A file system of `size` bytes at `folder`; yields a function that remounts it with other options."""
    folder.mkdir(parents=True, exist_ok=True)
    done = _mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    if done.returncode:
        pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
    try:
        yield lambda options: _mount("-o", f"remount,{options}", str(folder)).check_returncode()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    if not shutil.which("mount"):
        pytest.skip("mount is not installed")
    return subprocess.run(["mount", *words], capture_output=True, text=True, check=False)


def serve() -> None:
    """Run the commands given on standard input, each in a fork that waits for a start signal."""
    import torch

    from asc_sweeps import cli

    torch.set_num_threads(1)
    print("ready", flush=True)
    for line in sys.stdin:
        gc.freeze()  # objects that the collector skips stay shared with the forks
        go, output = os.pipe(), mmap.mmap(-1, OUTPUT_BYTES)
        child = os.fork()
        if not child:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY_PROCESS, 0, 0, 0)  # needed where only a parent may trace
            os.read(go[0], 1)
            os._exit(_outcome(cli.main, json.loads(line), output))
        print(child, flush=True)
        sys.stdin.readline()
        os.write(go[1], b"x")
        status = os.waitpid(child, 0)[1]
        for end in go:
            os.close(end)
        stderr, modules = json.loads(output[:].rstrip(b"\0") or '["", []]')  # empty if it was killed
        for name in sorted(modules, key=lambda name: not name.startswith("asc_sweeps")):
            with suppress(Exception):  # some cannot be imported on their own
                importlib.import_module(name)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status), "stderr": stderr}), flush=True)


def _outcome(main: Callable[[], None], words: list[str], output: mmap.mmap) -> int:
    """Run a command; its standard error and the modules that it imported go to shared memory."""
    known, err, code = set(sys.modules), io.StringIO(), UNEXPECTED_ERROR
    sys.argv = ["asc-sweeps", *words]
    with redirect_stdout(io.StringIO()), redirect_stderr(err):
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
    text = json.dumps([err.getvalue(), [name for name in sys.modules if name not in known]]).encode()
    output[: len(text)] = text
    return code


if __name__ == "__main__":
    serve()
