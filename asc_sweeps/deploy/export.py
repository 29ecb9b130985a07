"""A finished trial's network as a file for another runtime, checked there against the trainer's own predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.clips import clip_rows
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.labels import DEVICES, SCENES, SEEN_DEVICES
from asc_sweeps.data.segments import fetch
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.subsets import fetch_data
from asc_sweeps.deploy.runtimes import as_onnx, as_program, onnx_runner, program_runner
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.run_trial import trained_network
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import RESULT, Workspace
from asc_sweeps.workspace.record_store import load_result

SUFFIXES = {"onnx": ".onnx", "onnx-int8": ".onnx", "pt2": ".pt2"}
CHECK_BATCH = 64


@dataclass(frozen=True)
class Exported:
    """A file, and how what it computes differs from the trainer's predictions."""

    path: Path
    bytes: int
    segments: int
    largest_difference: float
    """Of log probabilities."""
    same_scene: float
    """Share of segments for which both name the same scene."""
    log_loss: float
    """The file's, on those segments."""
    trainers_log_loss: float


def finished_trial_config(workspace: Workspace, signature: str) -> TrialConfig:
    """The settings of a finished trial. Raises WorkspaceError where there is none of this name."""
    folder = workspace.trial(signature)
    workspace.storage.fetch(folder / RESULT)
    result = load_result(workspace, signature)
    if result is None:
        raise WorkspaceError(
            f"{workspace.location}: holds no finished trial '{signature}'; `asc-sweeps plan` prints the signatures"
        )
    return stored_config(result.settings, folder)


def export_trial(
    config: TrialConfig,
    workspace: Workspace,
    form: str,
    out: Path,
    most: int,
    say: Callable[[str], None],
    device: str | None = None,
) -> Exported:
    """Write a trial's network as `onnx`, `onnx-int8` or `pt2`, and check it on at most `most` test segments.

    `device`: of a trial with a network for each device, whose; the general one for none, checked on the devices that train has not.
    Raises WorkspaceError for a form that is not the network's, or packages that are not installed.
    """
    if (form == "onnx-int8") != (config.quantize is not None):
        rule = (
            "is a network of integers: --format onnx-int8"
            if config.quantize
            else "computes in floating point: --format onnx, or a trial with quantize.epochs"
        )
        raise WorkspaceError(f"--format {form}: the trial {config.signature} ({config.phase}) {rule}")
    if device and not config.per_device:
        raise WorkspaceError(
            f"--device {device}: the trial {config.signature} ({config.phase}) has one network for all"
        )
    network, features = trained_network(config, workspace).eval(), LogMel(config.features)
    data = fetch_data(workspace, config.data)
    rows = split_rows(data, config.data)["test"]
    rows = clip_rows(data, rows, config.evaluate) if config.evaluate else rows
    if isinstance(network, DeviceNetworks):
        its = data.devices[rows if rows.ndim == 1 else rows[:, 0]]
        asked = DEVICES.index(device) if device else -1
        rows = rows[its == asked if device else its >= len(SEEN_DEVICES)]
        if not len(rows):
            raise WorkspaceError(f"--device {device or ''}: the test split has no segment to check its network on")
        network = network.of(asked)
    rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    with torch.no_grad():
        log_mel = torch.cat(
            [features(fetch(data, rows[at : at + CHECK_BATCH], "cpu")) for at in range(0, len(rows), CHECK_BATCH)]
        )
    say(f"exporting {config.system}, {config.phase}")
    f = config.features
    notes = {
        "signature": config.signature,
        "system": config.system,
        "device": device or "",
        "scenes": " ".join(SCENES),
        "features": f"log-mel of 16 kHz: {f.model_dump_json()}",
    }
    try:
        if form == "pt2":
            content = as_program(network, log_mel[:2])
            run = program_runner(content)
        else:
            content = as_onnx(network, log_mel[:2], notes)
            run = onnx_runner(content)
    except ImportError as error:
        raise WorkspaceError(
            f"--format {form}: {error.name} is not installed; pip install 'asc_sweeps[onnx]'"
        ) from None
    write_bytes(out, content)
    say(f"checking it on {len(rows):,} test segments")
    logits = np.concatenate([run(part.numpy()) for part in log_mel.split(CHECK_BATCH)])
    theirs = torch.from_numpy(logits).log_softmax(dim=1).numpy()
    ours = predict(network, features, data, rows, "cpu")
    scenes = data.scenes[rows if rows.ndim == 1 else rows[:, 0]]
    each = np.arange(len(rows))
    return Exported(
        path=out,
        bytes=len(content),
        segments=len(rows),
        largest_difference=float(np.abs(theirs - ours).max()),
        same_scene=float((theirs.argmax(axis=1) == ours.argmax(axis=1)).mean()),
        log_loss=float(-theirs[each, scenes].mean()),
        trainers_log_loss=float(-ours[each, scenes].mean()),
    )
