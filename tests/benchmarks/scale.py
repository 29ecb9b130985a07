"""Seconds that large studies and lists take before training: `python -m tests.benchmarks.scale`.

The lists have the sizes of TAU Urban Acoustic Scenes 2022 Mobile (230,350 segments, 139,620 for training, 29,680 for testing) and no
audio. For commands, the whole process is timed.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np

from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.check import read_folder
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.labels import CITIES, DEVICES, PIECES, SCENES
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.data.tau import LIST_COLUMNS, LISTS, META

WIDTHS = list(range(8, 88, 8))
RECORDINGS = {
    "train": {"a": 10_215, "b": 749, "c": 748, "s1": 750, "s2": 750, "s3": 750},
    "test": {"a": 330, "b": 329, "c": 329, **dict.fromkeys(("s1", "s2", "s3", "s4", "s5", "s6"), 330)},
    "unused": {"a": 4_185, "s4": 640, "s5": 640, "s6": 640},
}
"""Recordings of ten pieces each; for the unused ones only the number is that of the real data set."""
LOCATIONS = {"train": range(365), "test": range(365, 511), "unused": range(365)}
STUDY = """study: large
settings:
  data.dataset: {folder}
grid:
  model.width: {widths}
  seed: {seeds}
"""


def rows() -> Iterator[tuple[str, str, str, str, str]]:
    """File name, scene, identifier, device and split of each segment."""
    number = 0
    for split, devices in RECORDINGS.items():
        places = cycle((SCENES[n % len(SCENES)], f"{CITIES[n % len(CITIES)]}-{n}") for n in LOCATIONS[split])
        for device, recordings in devices.items():
            for scene, identifier in islice(places, recordings):
                number += 1
                for piece in range(PIECES):
                    name = f"audio/{scene}-{identifier}-{number}-{piece}-{device}.wav"
                    yield name, scene, identifier, device, split


def plant(folder: Path) -> None:
    """Write the lists of such a data set."""
    (folder / "audio").mkdir(parents=True)
    (folder / "evaluation_setup").mkdir()
    lists = {name: ["\t".join(columns)] for name, columns in LIST_COLUMNS.items()}
    for filename, scene, identifier, device, split in rows():
        lists[META].append(f"{filename}\t{scene}\t{identifier}\t{device}")
        if split == "train":
            lists[LISTS["train"]].append(f"{filename}\t{scene}")
        if split == "test":
            lists[LISTS["test"]].append(filename)
            lists[LISTS["evaluate"]].append(f"{filename}\t{scene}")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")


def read_and_split(folder: Path) -> dict[str, int]:
    """Number of segments by split, read as by `data prepare` and by a trial."""
    findings = Findings()
    found = [s for s in read_folder(folder, findings) if s.split != "unused"]
    findings.raise_if_fatal(folder)
    data = Prepared(
        folder=folder, name="tau2022", fingerprint="", generated=False, content="", filenames=tuple(s.filename for s in found),
        locations=np.array([s.location for s in found]), recordings=np.array([s.recording for s in found]),
        splits=np.array([s.split for s in found]), scenes=np.array([SCENES.index(s.scene) for s in found]),
        devices=np.array([DEVICES.index(s.device) for s in found]),
    )  # fmt: skip
    return {split: len(numbers) for split, numbers in split_rows(data, DataConfig()).items()}


def timed(work: Callable[[], object], runs: int) -> float:
    """Median seconds without the first run, which may have to time a step or prepare data."""
    taken = []
    for _ in range(1 + runs):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=5_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        plant(root / "lists")
        print(f"lists of {sum(1 for _ in rows()):,} segments: {read_and_split(root / 'lists')}")
        print(
            f"{timed(lambda: read_and_split(root / 'lists'), given.runs):7.2f} s  to read, check and split them",
            flush=True,
        )
        synthesize(root / "set", DatasetPlan("mini", 2, 4, 1, scenes=SCENES[:3]), workers=1)
        seeds = list(range(-(-given.trials // len(WIDTHS))))
        (root / "large.yaml").write_text(STUDY.format(folder=root / "set", widths=WIDTHS, seeds=seeds))
        command = [sys.executable, "-m", "asc_sweeps", "plan", str(root / "large.yaml"), "--workspace", str(root / "w")]
        took = timed(lambda: subprocess.run(command, check=True, capture_output=True), given.runs)
        print(f"{took:7.2f} s  `plan` of {len(WIDTHS) * len(seeds):,} trials, the whole process")


if __name__ == "__main__":
    main()
