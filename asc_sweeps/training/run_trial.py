"""One trial from its settings to its result: answered from the store, continued, or trained. Knows nothing of Ray."""

from __future__ import annotations

import io
import json
import time
import traceback
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from asc_sweeps.config.setting_groups import (
    ComputeConfig,
    DistillConfig,
    EvaluateConfig,
    FinetuneConfig,
    PerDeviceConfig,
    QuantizeConfig,
)
from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.clips import clip_rows
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
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.int8 import convert_to_int8, integer_network
from asc_sweeps.models.network import Network
from asc_sweeps.training.build_network import build_network
from asc_sweeps.training.checkpoint import clear_checkpoint, fetch_checkpoint, load_state, save_state
from asc_sweeps.training.device_finetune import finetune_per_device
from asc_sweeps.training.distill import distill, read_stored, stored
from asc_sweeps.training.evaluate import predict, score
from asc_sweeps.training.finetune import final_drop, finetune
from asc_sweeps.training.finished import complexity_of, find_result, refuse_other_settings
from asc_sweeps.training.heap import keep_freed_memory
from asc_sweeps.training.loop import Report, Session, seed_torch
from asc_sweeps.training.pretrain import pretrain
from asc_sweeps.training.quantization_aware import round_network, to_integers, train_rounded
from asc_sweeps.training.watchdog import watchdog
from asc_sweeps.workspace.atomic_files import clear_temporary
from asc_sweeps.workspace.environment import environment
from asc_sweeps.workspace.lease import Lease, acquire
from asc_sweeps.workspace.paths import CHECKPOINT, FAILURE, LEASE, RESULT, Workspace
from asc_sweeps.workspace.record_store import clear_failure, load_result, save_failure, save_result
from asc_sweeps.workspace.records import Score, TrialFailure, TrialResult, utc_now

MODEL = "model.pt"
HUNG = "hung"
"""Cause of the failure of a trial that made no step for long."""


def run_trial(config: TrialConfig, workspace: Workspace, report: Report = lambda row: None) -> TrialResult:
    """The result of a trial on prepared data (`config` is bound): from the store, or trained from its last checkpoint on.

    Its start is a trial too and comes first. Equal trials of other processes are waited for, not repeated.
    Raises TrialError; a failure is written down beside the trial before it is raised.
    """
    folder = workspace.trial(config.signature)
    workspace.storage.fetch(folder / RESULT)
    result = find_result(config, workspace)
    if result is not None:
        return result
    resolve_accelerator(workspace.accelerator)  # what is wrong with the machine is no failure of the trial
    for needed in config.dependencies:
        run_trial(needed, workspace, report)
    while True:
        with acquire(workspace, folder / LEASE) as lease:
            workspace.storage.fetch(folder / RESULT)
            result = find_result(config, workspace)
            if result is not None:
                return result
            clear_temporary(folder)
            clear_failure(workspace, config.signature)
            try:
                data = fetch_data(workspace, config.data)
                data.read_ahead()
                with watchdog(workspace.step_seconds, partial(_hung, config, workspace, lease)), keep_freed_memory():
                    return _train(config, workspace, data, report, lease)
            except Exception as error:
                if isinstance(error, LeaseLostError) or lease.is_lost():
                    continue  # wait for the process that has taken the trial over
                with suppress(OSError, StoreError):  # the error itself says more than that it cannot be written down
                    save_failure(workspace, failure_from(config, error))
                raise


def _hung(config: TrialConfig, workspace: Workspace, lease: Lease, stack: str) -> None:
    """Write down where a trial hangs; its process ends then, and its lease with it."""
    if not lease.is_lost():
        save_failure(
            workspace,
            TrialFailure(
                config.signature,
                config.system,
                config.phase,
                HUNG,
                (
                    f"no progress for {workspace.step_seconds / 60:g} minutes; traceback in "
                    f"{workspace.trial(config.signature) / FAILURE}; run the same command to resume from the last epoch, "
                    "`asc-sweeps sweep --step-minutes` allows more time"
                ),
                utc_now(),
                stack,
            ),
        )


def failure_from(config: TrialConfig, error: Exception) -> TrialFailure:
    """What is written down of a trial that ended in `error`."""
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


def resolve_accelerator(accelerator: str) -> str:
    """`auto` becomes `cuda` where there is one, else `cpu`. Raises WorkspaceError for a `cuda` that is not there."""
    available = torch.cuda.is_available()
    if accelerator == "cuda" and not available:
        raise WorkspaceError("accelerator: cuda was asked for, but torch finds none here; use --accelerator cpu")
    return ("cuda" if available else "cpu") if accelerator == "auto" else accelerator


def _train(config: TrialConfig, workspace: Workspace, data: Prepared, report: Report, lease: Lease) -> TrialResult:
    torch.set_num_threads(workspace.threads)
    folder, storage = workspace.trial(config.signature), workspace.storage
    fetch_checkpoint(storage, folder)
    settings = _write_settings(config, workspace)
    rows = split_rows(data, config.data)
    accelerator = resolve_accelerator(workspace.accelerator)
    seed_torch(config.seed, "weights")
    dropped = largest_device(data, rows["train"]) if config.finetune else None
    heard = config.augment.impulse_responses_content
    session = Session(
        network=build_network(config.model).to(accelerator),
        features=LogMel(config.features).to(accelerator),
        data=data,
        rows=rows,
        augment=config.augment,
        # What is trained rounded to integers is rounded from float32.
        compute=config.compute if config.quantize is None else ComputeConfig(parts=config.compute.parts),
        seed=config.seed,
        accelerator=accelerator,
        storage=storage,
        folder=folder,
        may_write=lease.check,
        report=report,
        total_epochs=config.epochs,
        responses=load_responses(heard, workspace).to(accelerator) if heard else None,
    )
    start = config.start()
    if start:
        session.network = trained_network(start, workspace).to(accelerator)
    unconverted: list[Score] = []
    match config.last_phase:
        case FinetuneConfig() as phase if dropped:
            finetune(session, phase, dropped)
        case DistillConfig() as phase:
            teachers = [_teacher_predictions(t, session, workspace) for t in config.teachers()]
            distill(session, phase, teachers, final_drop(config.finetune, dropped))
        case PerDeviceConfig() as phase:
            finetune_per_device(session, phase)
        case QuantizeConfig() as phase:
            round_network(session, phase)
            unconverted = _without_training(session) if phase.epochs else []
            train_rounded(session, phase, final_drop(config.finetune, dropped))
            to_integers(session)
        case EvaluateConfig() as phase:
            session.sit_down()
            session.rows = rows | {split: clip_rows(data, rows[split], phase) for split in ("validation", "test")}
        case _:
            pretrain(session, config.pretrain)
    began = time.monotonic()
    scores = _score_and_keep(session) + unconverted
    digest = save_state(storage, folder / MODEL, {k: v.cpu() for k, v in session.network.state_dict().items()})
    session.still_here()
    result = TrialResult(
        signature=config.signature,
        system=config.system,
        phase=config.phase,
        settings=settings,
        start=start.signature if start else None,
        data={
            "name": data.name,
            "fingerprint": data.fingerprint,
            "generated": data.generated,
            "dropped_device": dropped,
            "segments": {split: len(chosen) for split, chosen in session.rows.items()},
        },
        complexity=complexity_of(config),
        scores=scores,
        history=session.history,
        seconds=sum(row["seconds"] for row in session.history) + time.monotonic() - began,
        environment={
            **environment(workspace.code),
            "accelerator": accelerator,
            "threads": workspace.threads,
            "model_sha256": digest,
        },
        finished_at=utc_now(),
        work_intervals=session.work_intervals,
    )
    save_result(workspace, result)
    clear_checkpoint(storage, folder)
    return result


def _write_settings(config: TrialConfig, workspace: Workspace) -> dict[str, Any]:
    """Write down what is trained; raises WorkspaceError when the checkpoint that stands there was trained with other settings."""
    folder = workspace.trial(config.signature)
    path = folder / "settings.json"
    workspace.storage.fetch(path)
    if (folder / CHECKPOINT).exists() and path.exists():
        try:
            refuse_other_settings(json.loads(path.read_text(encoding="utf-8")), config, workspace)
        except ValueError as error:
            raise WorkspaceError(
                f"{path}: not readable as JSON ({error}); move its folder away to train anew"
            ) from None
    settings = config.model_dump(mode="json")
    workspace.storage.write_json(path, settings)
    return settings


def trained_network(config: TrialConfig, workspace: Workspace) -> Network | DeviceNetworks:
    """The network of a finished trial with its weights, on the CPU. Raises as `load_weights`."""
    with torch.random.fork_rng(devices=[]):  # the weights that are drawn here are replaced
        network = build_network(config.model)
        network = DeviceNetworks(network) if config.per_device else network
        network = integer_network(network) if config.quantize else network
    network.load_state_dict(load_weights(config, workspace))
    return network


def load_weights(config: TrialConfig, workspace: Workspace) -> dict[str, Any]:
    """The trained weights of a finished trial. Raises TrialError when it is not finished or its file is damaged."""
    result = find_result(config, workspace)
    if result is None:
        raise TrialError("start", f"the trial {config.signature} ({config.system}) to start from is not finished")
    path = workspace.trial(config.signature) / MODEL
    workspace.storage.fetch(path)
    return load_state(path, result.environment["model_sha256"])


def _teacher_predictions(teacher: TrialConfig | str, session: Session, workspace: Workspace) -> np.ndarray:
    """Log probabilities of a finished trial for the train split, in a table of all segments; predicted once, then kept."""
    signature = teacher if isinstance(teacher, str) else teacher.signature
    folder, data = workspace.trial(signature), session.data
    if isinstance(teacher, str):
        workspace.storage.fetch(folder / RESULT)
        result = load_result(workspace, signature)
        if result is None:
            raise TrialError(
                "start", f"distill.teachers names {signature}, which is no finished trial of {workspace.location}"
            )
        teacher = stored_config(result.settings, folder)
    rows, path = np.flatnonzero(data.splits == "train"), folder / "train_predictions.npz"
    table = read_stored(workspace.storage.read(path), data, rows)
    if table is None:
        features = LogMel(teacher.features).to(session.accelerator)
        network = trained_network(teacher, workspace).to(session.accelerator)
        content = stored(predict(network, features, data, rows, session.accelerator), data, rows)
        workspace.storage.write(path, content)
        table = read_stored(content, data, rows)
    return np.asarray(table)


def _without_training(session: Session) -> list[Score]:
    """The test score of the network converted as it is, before it is trained rounded."""
    rows, data = session.rows["test"], session.data
    predictions = predict(convert_to_int8(session.network), session.features, data, rows, session.accelerator)
    micro = score(predictions, data.scenes[rows], data.devices[rows], "test")[:1]
    return [replace(found, by="conversion", name="without training") for found in micro]


def _score_and_keep(session: Session) -> list[Score]:
    """Scores of validation and test; the test predictions are kept, so that later questions need no network."""
    data, scores = session.data, []
    for split in ("validation", "test"):
        rows = session.rows[split]
        predictions = predict(session.network, session.features, data, rows, session.accelerator)
        pieces = rows if rows.ndim == 1 else rows[:, 0]  # a clip is called by its first
        scores += score(predictions, data.scenes[pieces], data.devices[pieces], split)
        if split == "test":
            session.may_write()
            _keep_predictions(session, pieces, predictions)
    return scores


def _keep_predictions(session: Session, rows: np.ndarray, predictions: np.ndarray) -> None:
    buffer, data = io.BytesIO(), session.data
    names = np.array([data.filenames[row] for row in rows])
    np.savez_compressed(buffer, filename=names, scene=data.scenes[rows], log_probability=predictions)
    session.storage.write(session.folder / "test_predictions.npz", buffer.getvalue())
