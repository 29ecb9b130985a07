"""One trial from its settings to its result: loaded if it is finished, resumed or trained otherwise. Knows nothing of Ray."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from asc_sweeps.config.setting_groups import (
    DistillConfig,
    EvaluateConfig,
    FinetuneConfig,
    PerDeviceConfig,
    PretrainConfig,
    QuantizeConfig,
    Settings,
)
from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.impulse import load_responses
from asc_sweeps.data.splits import largest_device, split_rows
from asc_sweeps.data.subsets import fetch_data
from asc_sweeps.errors import (
    DISK_CAUSES,
    AscSweepsError,
    DataError,
    LeaseLostError,
    StoreError,
    TrialError,
    WorkspaceError,
    describe_os_error,
)
from asc_sweeps.training.build_network import build_network
from asc_sweeps.training.checkpoint import clear_checkpoint, fetch_checkpoint, save_state
from asc_sweeps.training.device_finetune import finetune_per_device
from asc_sweeps.training.distill import distill
from asc_sweeps.training.evaluate import first_segments, score
from asc_sweeps.training.finetune import finetune
from asc_sweeps.training.finished import complexity_of, find_result, refuse_other_settings
from asc_sweeps.training.heap import keep_freed_memory
from asc_sweeps.training.loop import Report, Session, seed_torch
from asc_sweeps.training.pretrain import pretrain
from asc_sweeps.training.quantization_aware import quantize
from asc_sweeps.training.score_clips import score_clips
from asc_sweeps.training.stored_network import MODEL, trained_network
from asc_sweeps.training.watchdog import watchdog
from asc_sweeps.workspace.array_bytes import npz_bytes
from asc_sweeps.workspace.atomic_files import clear_temporary
from asc_sweeps.workspace.environment import environment
from asc_sweeps.workspace.lease import Lease, acquire
from asc_sweeps.workspace.paths import CHECKPOINT, FAILURE, LEASE, RESULT, Workspace
from asc_sweeps.workspace.record_store import clear_failure, save_failure, save_result
from asc_sweeps.workspace.records import Score, TrialFailure, TrialResult, utc_now

HUNG = "hung"
"""Failure cause of a trial that made no progress."""

PHASES_BY_SETTINGS: dict[type[Settings], Callable[[Session, Any], None]] = {
    PretrainConfig: pretrain,
    FinetuneConfig: finetune,
    DistillConfig: distill,
    PerDeviceConfig: finetune_per_device,
    QuantizeConfig: quantize,
    EvaluateConfig: score_clips,
}
"""What runs a trial's last phase: called with the session and the phase's settings."""


def run_trial(config: TrialConfig, workspace: Workspace, report: Report = lambda row: None) -> TrialResult:
    """The result of a trial with resolved data: from the workspace, or trained from its last checkpoint on.

    Its dependencies run first. If another process is running an equal trial, its result is awaited.
    Raises TrialError; a failure is stored beside the trial before it is raised.
    """
    folder = workspace.trial(config.signature)
    workspace.storage.fetch(folder / RESULT)
    result = find_result(config, workspace)
    if result is not None:
        return result
    resolve_accelerator(workspace.accelerator)  # first: a wrong accelerator is not a failure of the trial
    for dependency in config.dependencies:
        run_trial(dependency, workspace, report)
    while True:
        with acquire(workspace, folder / LEASE) as lease:
            workspace.storage.fetch(folder / RESULT)
            result = find_result(config, workspace)
            if result is not None:
                return result
            clear_temporary(folder)
            clear_failure(workspace, config.signature)

            def on_hang(stack: str, lease: Lease = lease) -> None:
                if not lease.is_lost():
                    save_failure(workspace, _hung(config, workspace, stack))

            try:
                data = fetch_data(workspace, config.data)
                data.read_ahead()
                with watchdog(workspace.step_seconds, on_hang), keep_freed_memory():
                    return _run(config, workspace, data, report, lease)
            except Exception as error:
                if isinstance(error, LeaseLostError) or lease.is_lost():
                    continue  # wait for the process that has taken over the trial
                with suppress(OSError, StoreError):  # the original error is the one to report
                    save_failure(workspace, failure_from(config, error))
                raise


def resolve_accelerator(accelerator: str) -> str:
    """Replace `auto` by `cuda` if available, else `cpu`. Raises WorkspaceError if `cuda` is not available."""
    available = torch.cuda.is_available()
    if accelerator == "cuda" and not available:
        raise WorkspaceError("accelerator: cuda requested but not available to torch; use --accelerator cpu")
    return ("cuda" if available else "cpu") if accelerator == "auto" else accelerator


def failure_from(config: TrialConfig, error: Exception) -> TrialFailure:
    """The record of a trial that ended with `error`."""
    message, trace = str(error), ""
    match error:
        case TrialError():
            cause = error.cause
        case DataError():
            cause = "data"
        case AscSweepsError():
            cause = "workspace"
        case OSError() if error.errno in DISK_CAUSES:
            cause, message = DISK_CAUSES[error.errno], describe_os_error(error)
        case _:
            cause = "out of memory" if isinstance(error, MemoryError | torch.OutOfMemoryError) else "crash"
            message = f"{type(error).__name__}: {error}"
            trace = "".join(traceback.format_exception(error))
    return TrialFailure(config.signature, config.system, config.phase, cause, message, utc_now(), trace)


def _hung(config: TrialConfig, workspace: Workspace, stack: str) -> TrialFailure:
    message = (
        f"no progress for {workspace.step_seconds / 60:g} minutes; traceback in "
        f"{workspace.trial(config.signature) / FAILURE}; run the same command to resume from the last epoch, "
        "`asc-sweeps sweep --step-minutes` allows more time"
    )
    return TrialFailure(config.signature, config.system, config.phase, HUNG, message, utc_now(), stack)


def _run(config: TrialConfig, workspace: Workspace, data: Prepared, report: Report, lease: Lease) -> TrialResult:
    """Run the trial's last phase, score the network, and store everything."""
    torch.set_num_threads(workspace.threads)
    fetch_checkpoint(workspace.storage, workspace.trial(config.signature))
    settings = _write_settings(config, workspace)
    session = _open_session(config, workspace, data, report, lease)
    PHASES_BY_SETTINGS[type(config.last_phase)](session, config.last_phase)
    began = time.monotonic()
    scores = [*_score(session, "validation"), *_score(session, "test"), *session.extra_scores]
    weights = {name: value.cpu() for name, value in session.network.state_dict().items()}
    digest = save_state(workspace.storage, session.folder / MODEL, weights)
    session.extend_interval()
    seconds = sum(row["seconds"] for row in session.history) + time.monotonic() - began
    result = _result(session, settings, scores, digest, seconds)
    save_result(workspace, result)
    clear_checkpoint(workspace.storage, session.folder)
    return result


def _write_settings(config: TrialConfig, workspace: Workspace) -> dict[str, Any]:
    """Store the trial's settings; raises WorkspaceError if there is a checkpoint of other settings."""
    folder = workspace.trial(config.signature)
    path = folder / "settings.json"
    workspace.storage.fetch(path)
    if (folder / CHECKPOINT).exists() and path.exists():
        try:
            stored = stored_config(json.loads(path.read_text(encoding="utf-8")), folder)
        except ValueError as error:
            raise WorkspaceError(f"{path}: not valid JSON ({error}); move its folder away to train again") from None
        refuse_other_settings(stored, config, workspace)
    settings = config.model_dump(mode="json")
    workspace.storage.write_json(path, settings)
    return settings


def _open_session(config: TrialConfig, workspace: Workspace, data: Prepared, report: Report, lease: Lease) -> Session:
    """The data, and the network from which the last phase starts: that of the previous phase, or a random one."""
    accelerator, rows, start = resolve_accelerator(workspace.accelerator), split_rows(data, config.data), config.start()
    seed_torch(config.seed, "weights")
    network = trained_network(start, workspace) if start else build_network(config.model)
    responses = config.augment.impulse_responses_content
    return Session(
        trial=config,
        workspace=workspace,
        network=network.to(accelerator),
        features=LogMel(config.features).to(accelerator),
        data=data,
        rows=rows,
        accelerator=accelerator,
        check_lease=lease.check,
        report=report,
        dropped_device=largest_device(data, rows["train"]) if config.finetune else None,
        responses=load_responses(responses, workspace).to(accelerator) if responses else None,
    )


def _score(session: Session, split: str) -> list[Score]:
    """Scores of a split; test predictions are stored, so that later analyses need no network."""
    data, rows = session.data, session.rows[split]
    predictions, segments = session.predict(rows), first_segments(rows)
    if split == "test":
        session.check_lease()
        names = np.array([data.filenames[row] for row in segments])
        content = npz_bytes(filename=names, scene=data.scenes[segments], log_probability=predictions)
        session.workspace.storage.write(session.folder / "test_predictions.npz", content)
    return score(predictions, data.scenes[segments], data.devices[segments], split)


def _result(
    session: Session, settings: dict[str, Any], scores: list[Score], model_sha256: str, seconds: float
) -> TrialResult:
    config, workspace, data, start = session.trial, session.workspace, session.data, session.trial.start()
    return TrialResult(
        signature=config.signature,
        system=config.system,
        phase=config.phase,
        settings=settings,
        start=start.signature if start else None,
        data={
            "name": data.name,
            "fingerprint": data.fingerprint,
            "generated": data.generated,
            "dropped_device": session.dropped_device,
            "segments": {split: len(rows) for split, rows in session.rows.items()},
        },
        complexity=complexity_of(config),
        scores=scores,
        history=session.history,
        seconds=seconds,
        environment={
            **environment(workspace.code),
            "accelerator": session.accelerator,
            "threads": workspace.threads,
            "model_sha256": model_sha256,
        },
        finished_at=utc_now(),
        work_intervals=session.work_intervals,
    )
