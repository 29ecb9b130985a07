"""Predictions of a network and their scores: log loss and accuracy overall, by device and by scene."""

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

BATCH = 256


@torch.inference_mode()
def predict(network: nn.Module, features: nn.Module, data: Prepared, rows: np.ndarray, accelerator: str) -> np.ndarray:
    """Log probabilities of the scenes, float32 [rows, scenes], or of clips ([clips, seconds]); leaves the network in eval mode.

    Where there is a network for each device, that of the row's device is asked. Raises TrialError when one is not finite.
    """
    network.eval()
    if isinstance(network, DeviceNetworks):
        devices = data.devices[rows if rows.ndim == 1 else rows[:, 0]]
        found = np.zeros((len(rows), len(SCENES)), np.float32)
        for device in np.unique(devices):
            its = devices == device
            found[its] = predict(network.of(int(device)), features, data, rows[its], accelerator)
        return found
    batch = max(1, BATCH * len(rows) // max(rows.size, 1))  # as many seconds at a time, however long a clip
    parts = []
    for at in range(0, len(rows), batch):
        record_progress()
        inputs = features(fetch(data, rows[at : at + batch], accelerator))
        parts.append(network(inputs).log_softmax(dim=1).cpu())
    found = torch.cat(parts).numpy() if parts else np.zeros((0, len(SCENES)), np.float32)
    if not np.isfinite(found).all():  # finite weights can still overflow on the way
        raise TrialError("nan", "a prediction of the network is not finite; a lower learning rate usually mends it")
    return found


def score(log_probabilities: np.ndarray, scenes: np.ndarray, devices: np.ndarray, split: str) -> list[Score]:
    """Scores of one split, every one a sum over segments divided once.

    `micro` is the mean over segments, `macro` the mean over the scenes' means (the challenge's ranking).
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
    macro = Score(
        split,
        "overall",
        "macro",
        len(scenes),
        sum(s.log_loss for s in by_scene) / len(by_scene),
        sum(s.accuracy for s in by_scene) / len(by_scene),
    )
    return [micro, macro, *by_device, *by_scene]
