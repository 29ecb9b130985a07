"""False-positive rate and power of the report's verdicts, simulated: `python -m tests.benchmarks.verdicts`.

(a) One system under several names: predictions simulated with effects of seeds, places and both; and trained trials (seeds of one
small network on generated data), relabelled at random. Share of reports with any verdict that two of them differ.
(b) A faithful reproduction of Tables 2 and 4: the paper's numbers are one run of the same systems. Share of reports in which a score
is called higher or lower, or an effect opposite.
(c) Power: a reproduction that is off by 3 points and 0.08 (share of scores called so), one with the paper's effects (share found).

The verdicts counted are those on effects and on the scores of Tables 2 and 4.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from analysis.evidence.loading import load_evidence
from asc_sweeps.workspace.paths import Workspace, cores
from tests.simulated import (
    false_of_a_reproduction,
    false_of_one_system,
    found_effects,
    found_off,
    planted,
    predicted,
    relabelled,
    verdicts,
)

SEEDS = (2, 3, 5, 10, 20)
STUDY = """
study: one_system
settings:
  data.dataset: synthetic-small
  features.n_mels: 32
  features.hop: 1024
  augment.frequency_mask_bands: 5
  augment.time_mask_frames: 2
  finetune: null
  model.width: 8
  pretrain.epochs: 6
  pretrain.warmup_epochs: 2
  pretrain.batch_size: 64
grid:
  seed: {seeds}
"""
KINDS = {
    "(a) one system, drawn predictions: any false verdict": (predicted, false_of_one_system),
    "(b) faithful reproduction: any false verdict": (planted, false_of_a_reproduction),
    "(c) off by 3 points and 0.08: scores found": (partial(planted, off=(0.08, -0.03)), found_off),
    "(c) the paper's effects: found": (partial(planted, truth="printed"), found_effects),
}
trained = []


def one(kind: str, seeds: int, number: int) -> float:
    """For one report: whether it has a false verdict, or the share that is detected."""
    make, measure = KINDS[kind]
    found = measure(verdicts(make(np.random.default_rng([seeds, number]), seeds)))
    return float(bool(found)) if isinstance(found, list) else found


def one_relabelled(seeds: int, number: int) -> float:
    """The same for trained trials under the names of Table 2's systems."""
    return float(bool(false_of_one_system(verdicts(relabelled(np.random.default_rng(number), trained, seeds)))))


def train(folder: Path, seeds: int) -> None:
    """Train seeds of one small network with the command; returns each result with its predictions."""
    path = folder / "one_system.yaml"
    path.write_text(STUDY.format(seeds=list(range(seeds))), encoding="utf-8")
    command = [sys.executable, "-m", "asc_sweeps", "sweep", str(path), "--workspace", str(folder / "workspace")]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    evidence = load_evidence(Workspace(folder / "workspace"))
    trained.extend((result, evidence.predictions(result.signature)) for result in evidence.results)


def row(name: str, shares: dict[int, np.ndarray]) -> str:
    """A row of the table: the mean for each number of seeds, in percent."""
    return f"| {name} | " + " | ".join(f"{100 * shares[s].mean():.1f} %" if s in shares else "—" for s in SEEDS) + " |"


def main() -> None:
    """Run the simulations and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reports", type=int, default=400, help="reports for each number of seeds")
    parser.add_argument("--trained", type=int, default=60, help="seeds of one network to train and relabel; 0 to skip")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.trained:
            train(Path(folder), given.trained)
        print("| share of reports or of cells, by number of seeds per row | " + " | ".join(map(str, SEEDS)) + " |")
        print("|---" * (1 + len(SEEDS)) + "|", flush=True)
        with ProcessPoolExecutor(cores()) as pool:  # forked processes inherit the trained trials
            for kind in KINDS:
                shares = {
                    s: np.array(list(pool.map(partial(one, kind, s), range(given.reports), chunksize=8))) for s in SEEDS
                }
                print(row(kind, shares), flush=True)
            fits = [s for s in SEEDS if s * 5 <= given.trained]
            shares = {
                s: np.array(list(pool.map(partial(one_relabelled, s), range(given.reports), chunksize=8))) for s in fits
            }
            if shares:
                print(row(f"(a) one system, {given.trained} trained seeds relabelled: any false verdict", shares))


if __name__ == "__main__":
    main()
