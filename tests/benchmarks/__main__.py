"""All figures of the README's table of speed, measured again: `python -m tests.benchmarks`, or only some: `... networks step`.

Each is a process of its own, with the arguments that the README's figures were taken with; it prints its own table.
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
    """What figures are of: processor, cores that may be used, versions."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text().splitlines() if described.exists() else []
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine()
    )
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "ray", "optuna"))
    return f"{model}, {cores()} cores; Python {platform.python_version()}, {versions}"


def main() -> None:
    """Measure and print; the first benchmark that fails ends it with its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="*", help=f"of {', '.join(ARGUMENTS)}; all without one")
    names = parser.parse_args().name
    if unknown := set(names) - set(ARGUMENTS):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(ARGUMENTS)}")
    print(machine())
    for name in names or ARGUMENTS:
        print(f"\n## {name}\n", flush=True)
        began = time.monotonic()
        ended = subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *ARGUMENTS[name]])
        if ended.returncode:
            sys.exit(ended.returncode)
        print(f"\n{name} took {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
