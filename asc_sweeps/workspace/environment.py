"""The environment in which a result was computed: versions, host, git state of the code."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = ("asc_sweeps", "torch", "torchaudio", "ray", "numpy", "soundfile")


def environment(code: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Versions, host name, and git state of the code: `code`, or that of the checkout from which it runs."""
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "host": platform.node(),
        "platform": platform.platform(),
        **(git_state() if code is None else code),
    }


def package_versions() -> dict[str, str]:
    """Releases of the packages that can change results, without build tags: `2.13.0`."""
    found = {name: _version(name) for name in ("torch", "numpy")}
    return {name: version.partition("+")[0] for name, version in found.items() if version}


def git_state() -> dict[str, Any]:
    """Commit of the code and whether it has uncommitted changes; None for both if it does not run from a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # The checkout must contain this file: a virtual environment inside another repository does not count.
        git("ls-files", "--error-unmatch", Path(__file__).name)
        return {"git_commit": git("rev-parse", "HEAD"), "git_dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.SubprocessError):
        return {"git_commit": None, "git_dirty": None}


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
