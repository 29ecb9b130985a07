"""Exports a finished trial's network for another runtime, and compares its predictions there with the trainer's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.clips import clip_rows
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.labels import DEVICES, SCENES, SEEN_DEVICES
from asc_sweeps.data.segments import fetch
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.subsets import fetch_data
from asc_sweeps.deploy.runtimes import Runner, as_onnx, as_program, onnx_runner, program_runner
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.network import Network
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.stored_network import trained_network
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import RESULT, Workspace
from asc_sweeps.workspace.record_store import load_result

SUFFIXES = {"onnx": ".onnx", "onnx-int8": ".onnx", "pt2": ".pt2"}
CHECK_BATCH = 64


@dataclass(frozen=True)
class Exported:
    """An exported file, and how its predictions differ from the trainer's."""

    path: Path
    bytes: int
    segments: int
    largest_difference: float  # between log probabilities
    same_scene: float  # share of segments for which both predict the same scene
    log_loss: float  # of the file's predictions on these segments
    trainers_log_loss: float


def finished_trial_config(workspace: Workspace, signature: str) -> TrialConfig:
    """The settings of a finished trial. Raises WorkspaceError if the workspace has none with this signature."""
    folder = workspace.trial(signature)
    workspace.storage.fetch(folder / RESULT)
    result = load_result(workspace, signature)
    if result is None:
        raise WorkspaceError(
            f"{workspace.location}: no finished trial '{signature}'; `asc-sweeps plan` prints signatures"
        )
    return result.config


def export_trial(
    config: TrialConfig,
    workspace: Workspace,
    form: str,
    out: Path,
    max_segments: int,
    report: Callable[[str], None],
    device: str | None = None,
) -> Exported:
    """Write a trial's network as `onnx`, `onnx-int8` or `pt2`, and check it on at most `max_segments` test segments.

    `device`: for a trial with one network per device, the device whose network to export; by default the general network, checked on
    unseen devices. Raises WorkspaceError for a format that does not suit the network, and for packages that are not installed.
    """
    _check_request(config, form, device)
    network, features = trained_network(config, workspace).eval(), LogMel(config.features)
    data = fetch_data(workspace, config.data)
    rows = split_rows(data, config.data)["test"]
    if config.evaluate:
        rows = clip_rows(data, rows, config.evaluate)
    if isinstance(network, DeviceNetworks):
        rows = _rows_of_device(data, rows, device)
        network = network.of(DEVICES.index(device) if device else -1)
    rows = rows[np.linspace(0, len(rows) - 1, min(max_segments, len(rows))).astype(int)]
    with torch.no_grad():
        starts = range(0, len(rows), CHECK_BATCH)
        log_mel = torch.cat([features(fetch(data, rows[start : start + CHECK_BATCH], "cpu")) for start in starts])
    report(f"exporting {config.system}, {config.phase}")
    notes = {
        "signature": config.signature,
        "system": config.system,
        "device": device or "",
        "scenes": " ".join(SCENES),
        "features": f"log-mel of 16 kHz: {config.features.model_dump_json()}",
    }
    content, run = _export(network, log_mel[:2], form, notes)
    write_bytes(out, content)
    report(f"checking it on {len(rows):,} test segments")
    logits = np.concatenate([run(batch.numpy()) for batch in log_mel.split(CHECK_BATCH)])
    exported = torch.from_numpy(logits).log_softmax(dim=1).numpy()
    reference = predict(network, features, data, rows, "cpu")
    scenes, each = data.scenes[_first_rows(rows)], np.arange(len(rows))
    return Exported(
        path=out,
        bytes=len(content),
        segments=len(rows),
        largest_difference=float(np.abs(exported - reference).max()),
        same_scene=float((exported.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        log_loss=float(-exported[each, scenes].mean()),
        trainers_log_loss=float(-reference[each, scenes].mean()),
    )


def _check_request(config: TrialConfig, form: str, device: str | None) -> None:
    trial = f"trial {config.signature} ({config.phase})"
    if form == "onnx-int8" and not config.quantize:
        remedy = "use --format onnx, or a trial with quantize.epochs"
        raise WorkspaceError(f"--format onnx-int8: {trial} computes in floating point; {remedy}")
    if form != "onnx-int8" and config.quantize:
        raise WorkspaceError(f"--format {form}: {trial} has an INT8 network; use --format onnx-int8")
    if device and not config.per_device:
        raise WorkspaceError(f"--device {device}: {trial} has one network for all devices; omit --device")


def _rows_of_device(data: Prepared, rows: np.ndarray, device: str | None) -> np.ndarray:
    """The rows recorded by a device; without one, by unseen devices."""
    devices = data.devices[_first_rows(rows)]
    rows = rows[devices == DEVICES.index(device) if device else devices >= len(SEEN_DEVICES)]
    if not len(rows):
        raise WorkspaceError(f"--device {device or ''}: the test split has no segments to check its network on")
    return rows


def _first_rows(rows: np.ndarray) -> np.ndarray:
    """The rows of segments, or of the first segment of each clip."""
    return rows if rows.ndim == 1 else rows[:, 0]


def _export(network: Network, example: Tensor, form: str, notes: dict[str, str]) -> tuple[bytes, Runner]:
    try:
        if form == "pt2":
            content = as_program(network, example)
            return content, program_runner(content)
        content = as_onnx(network, example, notes)
        return content, onnx_runner(content)
    except ImportError as error:
        raise WorkspaceError(
            f"--format {form}: {error.name} is not installed; run pip install 'asc_sweeps[onnx]'"
        ) from None
