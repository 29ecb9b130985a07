"""Predicts unlabelled files in chunks that are kept in the workspace: a second run resumes, or only reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.tab_separated import as_tsv
from asc_sweeps.data.unlabelled import files_digest, list_files, listed_devices, read_waveforms
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.run_trial import resolve_accelerator
from asc_sweeps.training.stored_network import trained_network
from asc_sweeps.workspace.array_bytes import npy_bytes
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_result

FILES_PER_CHUNK = 1024
PREDICT_BATCH = 256
HEADER = ("filename", "scene_label", *SCENES)


def predict_folder(
    config: TrialConfig, workspace: Workspace, folder: Path, progress: Callable[[int, int], None]
) -> tuple[list[str], np.ndarray]:
    """Names of a folder's files and the probabilities of the scenes, float32 [files, scenes].

    A trial with one network per device uses the device that the folder's list gives. Raises DataError naming unreadable files, once
    all others are predicted.
    """
    names = list_files(folder)
    devices = listed_devices(folder, names)
    cache = _cache_folder(config, workspace, files_digest(folder, names), devices)
    accelerator, findings = resolve_accelerator(workspace.accelerator), Findings()
    network = trained_network(config, workspace).to(accelerator).eval()
    features = LogMel(config.features).to(accelerator)
    chunks: list[np.ndarray] = []
    for number, start in enumerate(range(0, len(names), FILES_PER_CHUNK)):
        chunk = slice(start, start + FILES_PER_CHUNK)
        path = cache / f"{number:05d}.npy"
        probabilities = _load_chunk(path, len(names[chunk]))
        if probabilities is None:
            waveforms, errors = read_waveforms(folder, names[chunk])
            for name, error in errors:
                findings.add(error.rule, error.describe(name))
            probabilities = _predict(network, features, torch.from_numpy(waveforms), devices[chunk], accelerator)
            if not errors:
                write_bytes(path, npy_bytes(probabilities))
        chunks.append(probabilities)
        progress(min(chunk.stop, len(names)), len(names))
    findings.raise_if_fatal(folder)
    return names, np.concatenate(chunks)


def format_predictions(names: list[str], probabilities: np.ndarray) -> str:
    """The challenge's output file: a header, then file name without folder, scene and ten probabilities, separated by TAB."""
    rows = zip(names, probabilities, strict=True)
    cells = ((Path(name).name, SCENES[int(row.argmax())], *(f"{value:.6f}" for value in row)) for name, row in rows)
    return as_tsv([HEADER, *cells])


def _cache_folder(config: TrialConfig, workspace: Workspace, files: str, devices: np.ndarray) -> Path:
    """Where predictions of these weights for these files and devices are kept."""
    result = load_result(workspace, config.signature)
    weights = str(result.environment["model_sha256"])[:8] if result else ""
    devices_digest = hashlib.sha256(devices.tobytes()).hexdigest()[:8]
    return workspace.root / "predictions" / f"{config.signature}-{weights}-{files}-{devices_digest}"


@torch.inference_mode()
def _predict(
    network: nn.Module, features: nn.Module, waveforms: Tensor, devices: np.ndarray, accelerator: str
) -> np.ndarray:
    """Probabilities, float32 [segments, scenes], from int16 waveforms [segments, 16000]."""
    if isinstance(network, DeviceNetworks):
        probabilities = np.zeros((len(waveforms), len(SCENES)), np.float32)
        for device in np.unique(devices):
            rows = np.flatnonzero(devices == device)
            inputs = waveforms[torch.from_numpy(rows)]
            probabilities[rows] = _predict(network.of(int(device)), features, inputs, devices[rows], accelerator)
        return probabilities
    batches = (batch.to(accelerator).float() / 32768 for batch in waveforms.split(PREDICT_BATCH))
    probabilities = torch.cat([network(features(batch)).softmax(dim=1).cpu() for batch in batches]).numpy()
    if not np.isfinite(probabilities).all():
        raise TrialError("nan", "a prediction of the network is not finite")
    return probabilities


def _load_chunk(path: Path, rows: int) -> np.ndarray | None:
    """A chunk's predictions from an earlier run; None if they are missing or damaged."""
    try:
        probabilities = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return probabilities if probabilities.shape == (rows, len(SCENES)) else None
