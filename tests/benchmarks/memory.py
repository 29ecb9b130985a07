"""Memory of real trials: the waveforms that several of them share, and the peak of one.

    python -m tests.benchmarks.memory

The first table observes `asc-sweeps train` processes on one prepared data set: PSS counts a page shared by n processes as 1/n in
each, RSS counts it in full in each. The second table is the peak memory of one process that trains the paper's network on
mini-batches of 512, in one to sixteen parts (`compute.parts`).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asc_sweeps.data.cache import ARRAY

SMALL = {
    **{
        "data.dataset": "synthetic-small",
        "data.validation_share": 0,
        "pretrain.epochs": 1,
        "pretrain.warmup_epochs": 0,
    },
    **{"model.width": 8, "model.mfa": "false", "model.fpm": "false", "features.n_mels": 32, "features.hop": 1024},
}
STEP = """
import resource, sys, torch
from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.training.build_network import build_network
torch.set_num_threads(1)
network, parts = build_network(ModelConfig()), int(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(2):
    network.zero_grad()
    for part in torch.randn(512, 1, 256, 32).chunk(parts):
        network(part).square().mean().backward()
print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def start(workspace: Path, seed: int) -> subprocess.Popen[bytes]:
    """Start a trial in its own process."""
    sets = [word for name, value in {**SMALL, "seed": seed}.items() for word in ("--set", f"{name}={value}")]
    command = [sys.executable, "-m", "asc_sweeps", "train", "--workspace", str(workspace), "--threads", "1", *sets]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def held(process: int) -> tuple[int, int]:
    """PSS and RSS of the waveforms in a process, in bytes."""
    try:
        maps = Path(f"/proc/{process}/smaps").read_text()
    except OSError:
        return 0, 0
    own = re.search(rf"{re.escape(ARRAY)}\n(.*?)^VmFlags", maps, flags=re.M | re.S)
    found = dict(re.findall(r"^(Pss|Rss): +(\d+) kB", own[1], flags=re.M)) if own else {}
    return 1024 * int(found.get("Pss", 0)), 1024 * int(found.get("Rss", 0))


def main() -> None:
    """Run the benchmark and print its tables."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        start(workspace, 0).wait()  # generates and prepares the data
        size = sum(path.stat().st_size for path in workspace.glob(f"prepared/*/{ARRAY}"))
        print(f"waveforms on disk: {size / 1e6:.0f} MB")
        print("| trials | PSS of the waveforms, all trials | RSS, as if each had its own copy |\n|---|---|---|")
        for trials in (1, 2, 4):
            running = [start(workspace, 100 * trials + n) for n in range(trials)]
            most = (0, 0)
            while any(process.poll() is None for process in running):
                pairs = [held(process.pid) for process in running]
                pss, rss = (sum(column) for column in zip(*pairs, strict=True))
                most = max(most, (pss, rss), key=lambda found: found[1])
                time.sleep(0.05)
            print(f"| {trials} | {most[0] / 1e6:.0f} MB | {most[1] / 1e6:.0f} MB |", flush=True)
    print("\n| BC-Res2Net-40 w/ MFA & FPM, mini-batch 512 | peak memory above the imports |\n|---|---|")
    for parts in (1, 4, 16):
        done = subprocess.run([sys.executable, "-c", STEP, str(parts)], capture_output=True, text=True, check=True)
        before, peak = map(int, done.stdout.split())
        print(f"| in {parts} part{'s' * (parts > 1)} of {512 // parts} | {(peak - before) / 1e6:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
