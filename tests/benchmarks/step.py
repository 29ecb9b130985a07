"""Where a trial spends its time: `python -m tests.benchmarks.step --batch 64 --steps 8`.

For the paper's three networks at full size, on one thread: the share of a training step that prepares its input (reading, rolling,
log-mel, masks, mixup), and the share of an epoch that is validation on a tenth of the segments. Times are CPU times.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from asc_sweeps.config.setting_groups import DataConfig, ModelConfig, PretrainConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.synthetic import synthesize
from asc_sweeps.training.build_network import build_network
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.heap import keep_freed_memory
from asc_sweeps.training.loop import Phase, Session, training_batch, training_loss
from asc_sweeps.training.optimizer import PlainAdamW
from asc_sweeps.workspace.paths import Workspace

NETWORKS = {
    "BC-ResNet-40": ModelConfig(block="bcresnet", mfa=False, fpm=False),
    "BC-Res2Net-40": ModelConfig(mfa=False, fpm=False),
    "BC-Res2Net-40 w/ MFA & FPM": ModelConfig(),
}
WARM = 2
"""Warm-up steps that are not counted."""


def measure(session: Session, batch: int, steps: int) -> tuple[float, float, float]:
    """Mean seconds of a training step, of preparing its input, and of predicting as many segments."""
    phase = Phase("pretrain", PretrainConfig(), mixup_alpha=0.3)
    optimizer = PlainAdamW(session.network.parameters(), lr=1e-3, weight_decay=0.05)
    rows = session.rows["train"]
    taken = np.zeros((steps + WARM, 3))
    for row in taken:
        chosen = np.random.default_rng(0).choice(rows, batch)
        session.network.train()
        began = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        training_loss(session, session.network, phase, chosen).backward()
        optimizer.step()
        row[0] = time.process_time() - began
        began = time.process_time()
        training_batch(session, phase, chosen)
        row[1] = time.process_time() - began
        began = time.process_time()
        predict(session.network, session.features, session.data, chosen, session.accelerator)
        row[2] = time.process_time() - began
    step, making, predicting = taken[WARM:].mean(axis=0)
    return step, making, predicting


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name, keep_freed_memory():
        folder = Path(name)
        synthesize(folder / "set", "tiny")
        data, config = prepare(folder / "set", folder / "prepared"), TrialConfig()
        kept = DataConfig().validation_share
        print(
            "| network | training segments per second | input, % of a step | validation, % of an epoch |\n|---|---|---|---|"
        )
        for system, model in NETWORKS.items():
            session = Session(
                trial=config, workspace=Workspace(folder), network=build_network(model), features=LogMel(config.features),
                data=data, rows=split_rows(data, config.data), accelerator="cpu",
                check_lease=lambda: None, report=lambda row: None,
            )  # fmt: skip
            step, making, predicting = measure(session, given.batch, given.steps)
            validation = kept * predicting / (kept * predicting + (1 - kept) * step)
            print(f"| {system} | {given.batch / step:.0f} | {making / step:.1%} | {validation:.1%} |", flush=True)


if __name__ == "__main__":
    main()
