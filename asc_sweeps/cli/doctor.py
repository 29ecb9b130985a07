"""What is right and wrong with a machine and a workspace, each finding with the way out; changes nothing but a file of its own."""

from __future__ import annotations

import platform
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from asc_sweeps.data.cache import array_digest, open_prepared
from asc_sweeps.errors import AscSweepsError
from asc_sweeps.sweep.ray_environment import job_api_is_open
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import Workspace, cores
from asc_sweeps.workspace.results import load_all

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    about: str
    """`versions`, `machine`, `endpoints`, `storage`, `data` or `results`."""
    state: State
    """`fail` keeps trials from running, endangers results, or lets strangers in."""
    text: str


@dataclass(frozen=True)
class Floor:
    """The first version of a package without a hole that touches what we do with it."""

    package: str
    version: str
    why: str


FLOORS = (
    Floor("ray", "2.52", "CVE-2025-62593: its job API runs commands that a browser on this machine sends"),
    Floor("torch", "2.6", "CVE-2025-32434: torch.load runs code in spite of weights_only"),
    Floor("pyarrow", "14.0.1", "CVE-2023-47248: reading a file may run code"),
    Floor("jinja2", "3.1.6", "CVE-2025-27516: a template's sandbox can be left"),
)
ALSO = ("torchaudio", "optuna", "numpy", "pandas", "plotly", "soundfile", "pydantic")
LOW_DISK = 2 * 10**9
TOKEN = Path(".ray") / "auth_token"
JOBS = "http://127.0.0.1:8265/api/jobs/"


def examine(workspace: Workspace, jobs: str = JOBS) -> Iterator[Finding]:
    """Everything in turn, as it is found. `jobs`: where a cluster's job API would answer."""
    yield from _versions()
    yield from _machine()
    yield from _endpoints(jobs)
    if workspace.root.is_dir():
        yield from _storage(workspace)
        yield from _data(workspace)
        yield from _results(workspace)
    else:
        yield Finding("storage", "ok", f"{workspace.place}: there is no workspace yet; the first sweep makes it")


def release(text: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison.

    >>> release("2.13.0+cpu") >= release("2.6"), release("3.1.5rc1") >= release("3.1.6")
    (True, False)
    """
    numbers = []
    for part in text.partition("+")[0].split("."):
        digits = part[: next((i for i, sign in enumerate(part) if not sign.isdigit()), len(part))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


def _versions(installed: Callable[[str], str] = version) -> Iterator[Finding]:
    yield Finding("versions", "ok", f"python {platform.python_version()}")
    for floor in FLOORS:
        found = installed(floor.package)
        if release(found) < release(floor.version):
            text = f"{floor.package} {found} is older than {floor.version} ({floor.why}); install a newer one"
            yield Finding("versions", "fail", text)
        else:
            yield Finding("versions", "ok", f"{floor.package} {found}")
    for package in ALSO:
        try:
            yield Finding("versions", "ok", f"{package} {installed(package)}")
        except PackageNotFoundError:
            yield Finding("versions", "fail", f"{package} is not installed; pip install asc_sweeps brings it")


def _machine() -> Iterator[Finding]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Finding("machine", "ok", f"{cores()} CPU cores; {', '.join(gpus) or 'no GPU that torch can use'}")


def _endpoints(jobs: str) -> Iterator[Finding]:
    if job_api_is_open(jobs):
        yield Finding(
            "endpoints",
            "fail",
            f"{jobs} answers without a token: whoever reaches it runs commands here; stop that Ray, or start it with "
            "RAY_AUTH_MODE=token (README, On a cluster)",
        )
    else:
        yield Finding("endpoints", "ok", f"nothing at {jobs} answers without a token")
    token = Path.home() / TOKEN
    if token.exists():
        mode = stat.S_IMODE(token.stat().st_mode)
        if mode & 0o077:
            yield Finding("endpoints", "fail", f"{token} can be read by others (mode {mode:o}); chmod 600 {token}")
        else:
            yield Finding("endpoints", "ok", f"{token} is its owner's alone")


def _storage(workspace: Workspace) -> Iterator[Finding]:
    probe = workspace.root / f".doctor-{uuid.uuid4().hex[:8]}"
    try:
        write_bytes(probe, b"asc-sweeps doctor")
        probe.unlink()
        yield Finding("storage", "ok", f"{workspace.root} can be written to")
    except OSError as error:
        text = f"{workspace.root}: cannot be written to ({error.strerror}); trials would fail, reports can be made elsewhere"
        yield Finding("storage", "fail", text)
    free = shutil.disk_usage(workspace.root).free
    text = f"{free / 1e9:,.1f} GB are free"
    low = free < LOW_DISK
    yield Finding("storage", "warn" if low else "ok", text + ("; checkpoints and reports may not fit" if low else ""))
    left = [p for p in workspace.trials.glob("*/.*.tmp")]
    if left:
        yield Finding("storage", "ok", f"{len(left)} left-over temporary files; each goes when its trial is run again")


def _data(workspace: Workspace) -> Iterator[Finding]:
    caches = sorted(p for p in workspace.prepared.glob("*-v*") if p.is_dir())
    for folder in caches:
        try:
            made = open_prepared(folder)
            made_whole = array_digest(folder) == made.content  # whatever was found before: this is what a doctor is for
            text = f"{folder.name}: {made.name}, {len(made.filenames):,} segments"
            if made_whole:
                yield Finding("data", "ok", text)
            else:
                yield Finding("data", "fail", f"{text}, whose waveforms are damaged; delete {folder} and prepare again")
        except (AscSweepsError, OSError) as error:
            yield Finding("data", "fail", str(error))


def _results(workspace: Workspace) -> Iterator[Finding]:
    left = load_all(workspace)
    damaged = [failure for failure in left.failures if failure.cause == "damaged" and not failure.failed_at]
    for failure in damaged:
        yield Finding("results", "fail", failure.message)
    told = f"{len(left.results):,} finished trials and {len(left.studies):,} studies can be read"
    yield Finding("results", "ok", told)
    failed = len(left.failures) - len(damaged)
    if failed:
        yield Finding("results", "warn", f"{failed:,} trials failed; `asc-sweeps status` says why")
