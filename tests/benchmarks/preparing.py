"""Clips per second from 24-bit WAV to the cache, compared with decoding alone: `python -m tests.benchmarks.preparing`.

Decoding the same files with soundfile in one process is the upper bound per core.
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
    """Run the benchmark and print its table."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        synthesize(root / "set", "small")
        files = sorted((root / "set" / "audio").glob("*.wav"))
        print(f"{len(files):,} clips\n| | processes | clips per second | per core |\n|---|---|---|---|")
        began = time.monotonic()
        for path in files:
            soundfile.read(path, dtype="float32")
        rate = len(files) / (time.monotonic() - began)
        print(f"| decoding alone | 1 | {rate:,.0f} | {rate:,.0f} |", flush=True)
        all_cores = os.sched_getaffinity(0)
        for workers in sorted({1, cores()}):
            os.sched_setaffinity(0, sorted(all_cores)[:workers])  # preparing starts one process per core
            began = time.monotonic()
            made = prepare(root / "set", root / f"prepared-{workers}")
            rate = len(made.waveforms) / (time.monotonic() - began)
            print(f"| data prepare | {workers} | {rate:,.0f} | {rate / workers:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
