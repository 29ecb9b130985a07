"""Clips a second from 24-bit WAV to the cache, beside what reading alone takes: `python -m tests.benchmarks.preparing`.

Reading is soundfile's decoding of the same files in one process; nothing that prepares them can be faster a core.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import soundfile

from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import synthesize
from asc_sweeps.workspace.paths import cores


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        synthesize(root / "set", "small")
        files = sorted((root / "set" / "audio").glob("*.wav"))
        print(f"{len(files):,} clips\n| | processes | clips a second | a core |\n|---|---|---|---|")
        began = time.monotonic()
        for path in files:
            soundfile.read(path, dtype="float32")
        rate = len(files) / (time.monotonic() - began)
        print(f"| reading alone | 1 | {rate:,.0f} | {rate:,.0f} |", flush=True)
        all_cores = os.sched_getaffinity(0)
        for workers in sorted({1, cores()}):
            os.sched_setaffinity(0, sorted(all_cores)[:workers])  # as many processes as there are cores
            began = time.monotonic()
            made = prepare(root / "set", root / f"prepared-{workers}")
            rate = len(made.waveforms) / (time.monotonic() - began)
            print(f"| data prepare | {workers} | {rate:,.0f} | {rate / workers:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
