"""Checks of a machine and a workspace, each with what to do about a failure; writes nothing but a file that it removes."""

from __future__ import annotations

import platform
import re
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
from asc_sweeps.workspace.record_store import load_contents


@dataclass(frozen=True)
class Diagnosis:
    """The result of one check."""

    about: str
    """`versions`, `machine`, `endpoints`, `storage`, `data` or `results`."""
    state: Literal["ok", "warn", "fail"]
    """`fail`: trials cannot run, results are at risk, or others have access."""
    text: str


MINIMUM_VERSIONS = {
    "ray": ("2.52", "CVE-2025-62593: a web page in a browser on this machine can run commands"),
    "torch": ("2.6", "CVE-2025-32434: torch.load can run code in spite of weights_only"),
    "pyarrow": ("14.0.1", "CVE-2023-47248: reading a file can run code"),
    "jinja2": ("3.1.6", "CVE-2025-27516: a template can break out of its sandbox"),
}
"""By package: the first version without a vulnerability that concerns this program, and the vulnerability."""
OTHER_PACKAGES = ("torchaudio", "optuna", "numpy", "pandas", "plotly", "soundfile", "pydantic")
LOW_DISK_BYTES = 2 * 10**9
AUTH_TOKEN = Path(".ray") / "auth_token"
JOB_API = "http://127.0.0.1:8265/api/jobs/"


def examine(workspace: Workspace, job_api: str = JOB_API) -> Iterator[Diagnosis]:
    """Run all checks one after the other. `job_api`: where a Ray on this machine would accept jobs."""
    yield from _versions()
    yield from _machine()
    yield from _endpoints(job_api)
    if workspace.root.is_dir():
        yield from _storage(workspace)
        yield from _data(workspace)
        yield from _results(workspace)
    else:
        yield Diagnosis("storage", "ok", f"{workspace.location}: no workspace yet; the first sweep creates it")


def release(text: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison.

    >>> release("2.13.0+cpu") >= release("2.6"), release("3.1.5rc1") >= release("3.1.6")
    (True, False)
    """
    return tuple(int(number) for number in re.split(r"[^\d.]", text)[0].split(".") if number)


def _check(about: str, passed: bool, passed_text: str, failed_text: str) -> Diagnosis:
    return Diagnosis(about, "ok", passed_text) if passed else Diagnosis(about, "fail", failed_text)


def _versions(installed: Callable[[str], str] = version) -> Iterator[Diagnosis]:
    yield Diagnosis("versions", "ok", f"python {platform.python_version()}")
    for package, (minimum, vulnerability) in MINIMUM_VERSIONS.items():
        text = f"{package} {installed(package)}"
        failed = f"{text} is vulnerable ({vulnerability}); install {minimum} or later"
        yield _check("versions", release(installed(package)) >= release(minimum), text, failed)
    for package in OTHER_PACKAGES:
        try:
            yield Diagnosis("versions", "ok", f"{package} {installed(package)}")
        except PackageNotFoundError:
            text = f"{package} is not installed; install asc_sweeps again with its dependencies"
            yield Diagnosis("versions", "fail", text)


def _machine() -> Iterator[Diagnosis]:
    import torch

    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield Diagnosis("machine", "ok", f"{cores()} CPU cores; {', '.join(gpus) or 'no GPU available to torch'}")


def _endpoints(job_api: str) -> Iterator[Diagnosis]:
    failed = (
        f"{job_api} accepts jobs without a token: anyone who can reach it can run commands here; stop this Ray, or start it "
        "with RAY_AUTH_MODE=token (docs/clusters.md)"
    )
    passed = f"no Ray accepts jobs without a token at {job_api}"
    yield _check("endpoints", not job_api_is_open(job_api), passed, failed)
    token = Path.home() / AUTH_TOKEN
    if token.exists():
        mode = stat.S_IMODE(token.stat().st_mode)
        failed = f"{token} is accessible to other users (mode {mode:o}); run: chmod 600 {token}"
        yield _check("endpoints", not mode & 0o077, f"{token} is accessible to its owner only", failed)


def _storage(workspace: Workspace) -> Iterator[Diagnosis]:
    probe = workspace.root / f".doctor-{uuid.uuid4().hex[:8]}"
    try:
        write_bytes(probe, b"asc-sweeps doctor")
        probe.unlink()
        yield Diagnosis("storage", "ok", f"{workspace.root} is writable")
    except OSError as error:
        text = f"{workspace.root} is not writable ({error.strerror}): trials would fail; write reports elsewhere with --out"
        yield Diagnosis("storage", "fail", text)
    free = shutil.disk_usage(workspace.root).free
    low = free < LOW_DISK_BYTES
    text = f"{free / 1e9:,.1f} GB free" + ("; checkpoints and reports may not fit" if low else "")
    yield Diagnosis("storage", "warn" if low else "ok", text)
    leftovers = len(list(workspace.trials.glob("*/.*.tmp")))
    if leftovers:
        text = f"temporary files left by interrupted trials: {leftovers}; removed when the trials run again"
        yield Diagnosis("storage", "ok", text)


def _data(workspace: Workspace) -> Iterator[Diagnosis]:
    for folder in sorted(path for path in workspace.prepared.glob("*-v*") if path.is_dir()):
        try:
            prepared = open_prepared(folder)
            text = f"{folder.name}: {prepared.name}, {len(prepared.filenames):,} segments"
            failed = f"{text}, damaged waveforms; delete {folder} and run `asc-sweeps data prepare` again"
            yield _check("data", array_digest(folder) == prepared.content, text, failed)  # reads every byte
        except (AscSweepsError, OSError) as error:
            yield Diagnosis("data", "fail", str(error))


def _results(workspace: Workspace) -> Iterator[Diagnosis]:
    contents = load_contents(workspace)
    damaged = [failure for failure in contents.failures if failure.cause == "damaged" and not failure.failed_at]
    for failure in damaged:
        yield Diagnosis("results", "fail", failure.message)
    text = f"readable: {len(contents.results):,} finished trials, {len(contents.studies):,} studies"
    yield Diagnosis("results", "ok", text)
    failed = len(contents.failures) - len(damaged)
    if failed:
        yield Diagnosis("results", "warn", f"failed trials: {failed:,}; for the causes run `asc-sweeps status`")
