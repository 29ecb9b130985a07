"""Epochs saved and quality lost by early stopping: `python -m tests.benchmarks.early_stopping --searches 4`.

Runs a search over learning rate, mixup and width twice, in full and with ASHA, in separate workspaces on generated data; a random
sampler gives both the same points. The best configuration of the full search is trained with more seeds: the standard deviation of
its validation log loss is the noise to compare differences with.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from asc_sweeps.workspace.paths import CHECKPOINT, Workspace
from asc_sweeps.workspace.record_store import load_contents
from asc_sweeps.workspace.records import TrialResult

SETTINGS = """
settings:
  data.dataset: synthetic-tiny
  data.validation_share: 0.3
  features.n_mels: 32
  features.hop: 1024
  augment.frequency_mask_bands: 5
  augment.time_mask_frames: 2
  finetune: null
  model.width: 16
  pretrain.epochs: {epochs}
  pretrain.warmup_epochs: 1
  pretrain.batch_size: 64
"""
SEARCH = """
search:
  trials: {trials}
  sampler: random
  seed: {seed}
  objectives: validation_log_loss
  parameters:
    model.width: {{low: 8, high: 24, step: 8}}
    pretrain.learning_rate: {{low: 3e-4, high: 3e-2, log: true}}
    pretrain.mixup_alpha: {{low: 0.0, high: 0.6}}
"""
ASHA = "scheduler: {name: asha, grace_epochs: 1, reduction: 3}\n"


def sweep(path: Path, text: str, workspace: Path) -> list[TrialResult]:
    """Run a study with the command; returns the results in the workspace."""
    path.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "asc_sweeps", "sweep", str(path), "--workspace", str(workspace)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return list(load_contents(Workspace(workspace)).results)


def epochs_of(workspace: Path) -> int:
    """Epochs trained, by finished and by stopped trials."""
    done = sum(len(result.history) for result in load_contents(Workspace(workspace)).results)
    stopped = workspace.glob(f"trials/*/{CHECKPOINT}")
    return done + sum(json.loads(path.read_text(encoding="utf-8"))["epochs_done"] for path in stopped)


def log_loss(result: TrialResult) -> float:
    """Validation log loss, the objective of the search."""
    score = result.micro("validation")
    assert score is not None
    return float(score.log_loss)


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=4)
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the best configuration, to estimate the noise")
    given = parser.parse_args()
    print("| search | epochs in full | with ASHA | share | best in full | with ASHA | difference | noise of seeds |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        settings, path = SETTINGS.format(epochs=given.epochs), root / "study.yaml"
        for seed in range(given.searches):
            search = f"study: early\n{settings}{SEARCH.format(trials=given.trials, seed=seed)}"
            full, early = root / f"full-{seed}", root / f"asha-{seed}"
            for folder in (full, early):  # both share the prepared data
                folder.mkdir()
                (root / "prepared").mkdir(exist_ok=True)
                (folder / "prepared").symlink_to(root / "prepared")
            best = min(sweep(path, search, full), key=log_loss)
            epochs = epochs_of(full)
            found = min(sweep(path, search + ASHA, early), key=log_loss)
            spent = epochs_of(early)
            chosen = best.settings
            point = (
                f"grid:\n  seed: {list(range(given.seeds))}\n  model.width: {chosen['model']['width']}\n"
                f"  pretrain.learning_rate: {chosen['pretrain']['learning_rate']!r}\n"
                f"  pretrain.mixup_alpha: {chosen['pretrain']['mixup_alpha']!r}\n"
            )
            repeated = [
                log_loss(result)
                for result in sweep(path, f"study: again\n{settings}{point}", full)
                if {**result.settings, "seed": 0} == {**chosen, "seed": 0}
            ]
            if len(repeated) != given.seeds:
                raise RuntimeError(f"{len(repeated)} of {given.seeds} seeds of the best configuration have a result")
            noise = statistics.stdev(repeated)
            print(
                f"| {seed} | {epochs} | {spent} | {spent / epochs:.0%} | {log_loss(best):.3f} | {log_loss(found):.3f} "
                f"| {log_loss(found) - log_loss(best):.3f} | {noise:.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
