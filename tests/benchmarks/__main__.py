"""Measure the speeds in tests/README.md again: `python -m tests.benchmarks`, or some of them: `... networks step`.

Each benchmark runs in its own process, with the arguments used for tests/README.md, and prints its own table.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

from asc_sweeps.workspace.paths import cores

ARGUMENTS: dict[str, list[str]] = {
    "networks": [],
    "step": [],
    "preparing": [],
    "memory": [],
    "scale": [],
    "report": [],
    "overhead": [],
    "early_stopping": ["--searches", "3"],
    "verdicts": [],
}


def machine() -> str:
    """The machine: processor, available cores, versions."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "ray", "optuna"))
    return f"{model}, {cores()} cores; Python {platform.python_version()}, {versions}"


def main() -> None:
    """Run the benchmarks; stops at the first one that fails, with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help=f"benchmark to run: {', '.join(ARGUMENTS)} (default: all)")
    names = parser.parse_args().name
    if unknown := set(names) - set(ARGUMENTS):
        parser.error(f"unknown benchmark: {', '.join(sorted(unknown))}; known: {', '.join(ARGUMENTS)}")
    print(machine())
    for name in names or ARGUMENTS:
        print(f"\n## {name}\n", flush=True)
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *ARGUMENTS[name]])
        if ended.returncode:
            print(f"\n{name} failed with exit code {ended.returncode}", file=sys.stderr)
            sys.exit(ended.returncode)
        print(f"\n{name} took {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
