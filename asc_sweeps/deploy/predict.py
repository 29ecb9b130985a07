"""What a trained network says of files without labels: in chunks that are kept, so that a second run goes on, or answers at once."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.unlabelled import files_digest, list_files, listed_devices, read_waveforms
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.run_trial import resolve_accelerator, trained_network
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

    Each chunk stands in the workspace once it is predicted. Where the trial has a network for each device and the list says which
    device a file is of, that one is asked. Raises DataError naming files that cannot be read; all others are
    predicted by then.
    """
    names = list_files(folder)
    result = load_result(workspace, config.signature)
    weights = (
        result.environment["model_sha256"][:8] if result else ""
    )  # a trial that was trained anew is another network
    devices = listed_devices(folder, names)
    told = hashlib.sha256(devices.tobytes()).hexdigest()[:8]
    kept = workspace.root / "predictions" / f"{config.signature}-{weights}-{files_digest(folder, names)}-{told}"
    accelerator, findings = resolve_accelerator(workspace.accelerator), Findings()
    network = trained_network(config, workspace).to(accelerator).eval()
    features = LogMel(config.features).to(accelerator)
    chunks = [names[at : at + FILES_PER_CHUNK] for at in range(0, len(names), FILES_PER_CHUNK)]
    parts: list[np.ndarray] = []
    for number, chunk in enumerate(chunks):
        path = kept / f"{number:05d}.npy"
        found = _kept(path, len(chunk))
        if found is None:
            waveforms, bad = read_waveforms(folder, chunk)
            for name, problem in bad:
                findings.add(problem.rule, problem.at(name))
            its = devices[number * FILES_PER_CHUNK :][: len(chunk)]
            found = _probabilities(network, features, torch.from_numpy(waveforms), its, accelerator)
            if not bad:
                buffer = io.BytesIO()
                np.save(buffer, found)
                write_bytes(path, buffer.getvalue())
        parts.append(found)
        progress(number * FILES_PER_CHUNK + len(chunk), len(names))
    findings.refuse_fatal(folder)
    return names, np.concatenate(parts)


def format_predictions(names: list[str], probabilities: np.ndarray) -> str:
    """The challenge's form: TAB, a header, file name without its folder, the scene, ten probabilities."""
    rows = ["\t".join(HEADER)]
    for name, row in zip(names, probabilities, strict=True):
        values = (f"{value:.6f}" for value in row)
        rows.append("\t".join([Path(name).name, SCENES[int(row.argmax())], *values]))
    return "\n".join(rows) + "\n"


@torch.inference_mode()
def _probabilities(
    network: torch.nn.Module, features: torch.nn.Module, waveforms: torch.Tensor, devices: np.ndarray, accelerator: str
) -> np.ndarray:
    if isinstance(network, DeviceNetworks):
        found = np.zeros((len(waveforms), len(SCENES)), np.float32)
        for device in np.unique(devices):
            its = devices == device
            own = network.of(int(device))
            found[its] = _probabilities(own, features, waveforms[torch.from_numpy(its)], devices[its], accelerator)
        return found
    parts = [
        network(features(part.to(accelerator).float() / 32768)).softmax(dim=1).cpu()
        for part in waveforms.split(PREDICT_BATCH)
    ]
    found = torch.cat(parts).numpy()
    if not np.isfinite(found).all():
        raise TrialError("nan", "a prediction of the network is not finite")
    return found


def _kept(path: Path, rows: int) -> np.ndarray | None:
    """A chunk's predictions from an earlier run, where they are whole."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.shape == (rows, len(SCENES)) else None
