"""A network's predictions and their scores: log loss and accuracy overall, by device and by scene."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.segments import fetch
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.watchdog import record_progress
from asc_sweeps.workspace.records import Score

EVALUATION_BATCH = 256


@torch.inference_mode()
def predict(network: nn.Module, features: nn.Module, data: Prepared, rows: np.ndarray, accelerator: str) -> np.ndarray:
    """Log probabilities of the scenes, float32 [rows, scenes], for segments or for clips ([clips, seconds]).

    Of several networks each scores its device's rows. Leaves the network in eval mode. Raises TrialError if one is not finite.
    """
    network.eval()
    if isinstance(network, DeviceNetworks):
        devices = data.devices[first_segments(rows)]
        log_probabilities = np.zeros((len(rows), len(SCENES)), np.float32)
        for device in np.unique(devices):
            chosen = devices == device
            log_probabilities[chosen] = predict(network.of(int(device)), features, data, rows[chosen], accelerator)
        return log_probabilities
    batch = max(
        1, EVALUATION_BATCH * len(rows) // max(rows.size, 1)
    )  # as many seconds at a time for clips of any length
    parts = []
    for first in range(0, len(rows), batch):
        record_progress()
        inputs = features(fetch(data, rows[first : first + batch], accelerator))
        parts.append(network(inputs).log_softmax(dim=1).cpu())
    log_probabilities = torch.cat(parts).numpy() if parts else np.zeros((0, len(SCENES)), np.float32)
    if not np.isfinite(log_probabilities).all():  # activations can overflow although all weights are finite
        raise TrialError("nan", "the network's predictions are not finite; try a lower learning rate")
    return log_probabilities


def first_segments(rows: np.ndarray) -> np.ndarray:
    """Segments, or the first segment of each clip; all segments of a clip have its scene, device and recording."""
    return rows if rows.ndim == 1 else rows[:, 0]


def score(log_probabilities: np.ndarray, scenes: np.ndarray, devices: np.ndarray, split: str) -> list[Score]:
    """Scores of one split, each a sum over segments divided once.

    `micro` is the mean over segments, `macro` the mean of the means by scene (the challenge's ranking).
    Shapes: [N, scenes] natural logarithms, [N] indices into SCENES, [N] indices into DEVICES.
    """
    if not len(scenes):
        return []
    losses = -log_probabilities[np.arange(len(scenes)), scenes].astype(np.float64)
    hits = log_probabilities.argmax(axis=1) == scenes

    def mean(by: str, name: str, chosen: np.ndarray) -> Score:
        n = int(chosen.sum())
        return Score(split, by, name, n, float(losses[chosen].sum() / n), float(hits[chosen].sum() / n))

    by_device = [mean("device", d, devices == i) for i, d in enumerate(DEVICES) if (devices == i).any()]
    by_scene = [mean("scene", s, scenes == i) for i, s in enumerate(SCENES) if (scenes == i).any()]
    micro = mean("overall", "micro", np.ones(len(scenes), bool))
    log_loss, accuracy = (
        sum(values) / len(by_scene) for values in zip(*((s.log_loss, s.accuracy) for s in by_scene), strict=True)
    )
    return [micro, Score(split, "overall", "macro", len(scenes), log_loss, accuracy), *by_device, *by_scene]
