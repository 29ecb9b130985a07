"""The one training loop: every phase is a `Phase` that it runs, epoch by epoch, with a checkpoint after each.

An epoch draws all its random numbers from a seed of its own, so a resumed trial needs no generator's state to end as an
unbroken one does.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.config.setting_groups import AugmentConfig, ComputeConfig
from asc_sweeps.data import augment
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import SCENES, SEEN_DEVICES
from asc_sweeps.data.segments import fetch
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.network import Network
from asc_sweeps.training.checkpoint import load_checkpoint, save_checkpoint
from asc_sweeps.training.evaluate import predict, score
from asc_sweeps.training.losses import distillation_loss
from asc_sweeps.training.optimizer import PlainAdamW
from asc_sweeps.training.watchdog import record_progress
from asc_sweeps.workspace.records import WorkInterval, utc_now
from asc_sweeps.workspace.storage import Storage

Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Phase:
    """What one stretch of training does; schedules are functions of the step."""

    name: str
    epochs: int
    batch_size: int
    weight_decay: float
    learning_rate: Callable[[int], float]
    classifier_only: bool = False
    """Train the classifier on top of a frozen network in eval mode."""
    mixup_alpha: float = 0.0
    dropped_device: int | None = None
    """Index of the device whose segments are dropped from each mini-batch."""
    drop_rate: Callable[[int], float] = lambda step: 0.0
    """Share of that device's segments that is dropped."""
    penalty: Callable[[Network], Tensor] | None = None
    """Added to the cross-entropy (Eq. 3), by the network that is trained."""
    teachers: Tensor | None = None
    """What teachers predict for each segment of the data set, [segments, scenes]: probabilities at `temperature`."""
    temperature: float = 1.0
    teachers_weight: float = 0.0
    """Share of the teachers' part in the loss."""


class Drop(TypedDict, total=False):
    """The part of a `Phase` that drops a device's segments; empty where none are."""

    dropped_device: int
    drop_rate: Callable[[int], float]


@dataclass
class Session:
    """What all phases of one trial share."""

    network: Network | DeviceNetworks
    features: nn.Module
    data: Prepared
    rows: dict[str, np.ndarray]
    augment: AugmentConfig
    seed: int
    accelerator: str
    storage: Storage
    folder: Path
    """Where checkpoints go."""
    may_write: Callable[[], None]
    """Asked before anything is written; raises where another process has taken the trial over."""
    report: Report
    total_epochs: int
    """Of all phases, for progress."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """How the network computes while it is trained."""
    responses: Tensor | None = None
    """Spectra of the impulse responses that segments are heard through, [responses, 16001]."""
    history: list[dict[str, Any]] = field(default_factory=list)
    work_intervals: list[WorkInterval] = field(default_factory=list)
    """The stretches of work on the trial: worker, began_at, ended_at; the last one is this process's."""
    _sat_down: float = 0.0
    """When this stretch began, by the clock that is never set."""

    def sit_down(self) -> None:
        """A new stretch of work begins here and now."""
        at, self._sat_down = utc_now("milliseconds"), time.monotonic()
        self.work_intervals.append({"worker": f"{platform.node()}:{os.getpid()}", "began_at": at, "ended_at": at})

    def still_here(self) -> None:
        """The stretch of work lasts until now at least; the clock on the wall may have been set since it began."""
        lasted = timedelta(seconds=time.monotonic() - self._sat_down)
        ended = datetime.fromisoformat(self.work_intervals[-1]["began_at"]) + lasted
        self.work_intervals[-1]["ended_at"] = ended.isoformat(timespec="milliseconds")

    def steps(self, batch_size: int) -> int:
        """Mini-batches of an epoch; the last one may be smaller."""
        return math.ceil(len(self.rows["train"]) / batch_size)

    def batches(self, batch_size: int) -> list[tuple[Network, np.ndarray]]:
        """An epoch's mini-batches, drawn anew, each with the network that learns from it: one for all, or its device's."""
        rows = self.rows["train"][torch.randperm(len(self.rows["train"])).numpy()]
        groups = [(self.network, rows)]
        if isinstance(self.network, DeviceNetworks):
            devices = self.data.devices[rows]
            groups = [(self.network.of(d), rows[devices == d]) for d in range(len(SEEN_DEVICES))]
        return [
            (network, its[at : at + batch_size]) for network, its in groups for at in range(0, len(its), batch_size)
        ]


def seed_torch(seed: int, *purpose: object) -> None:
    """Seed torch's generators for one purpose, e.g. (`pretrain`, epoch 3), apart from all others of the trial."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def run_phases(session: Session, phases: list[Phase]) -> None:
    """Run the phases in order, from the last checkpoint where there is one.

    Raises TrialError on a loss or a network that is not finite.
    """
    state = load_checkpoint(session.folder)
    reached = (state["phase"], state["epoch"]) if state else (0, 0)
    if state:
        session.network.load_state_dict(state["network"])
        session.history[:] = state["history"]
        session.work_intervals[:] = state.get("sittings", [])
    if session.compute.channels_last:
        session.network.to(memory_format=torch.channels_last)
    session.sit_down()
    for number, phase in enumerate(phases):
        if number < reached[0]:
            continue
        optimizer = _optimizer(session.network, phase)
        first = 0
        if state and number == reached[0]:
            optimizer.load_state_dict(state["optimizer"])
            first = reached[1]
        for epoch in range(first, phase.epochs):
            row = _run_epoch(session, phase, optimizer, epoch)
            session.history.append(row)
            session.still_here()
            checkpoint = {
                "phase": number,
                "epoch": epoch + 1,
                "network": session.network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "history": session.history,
                "sittings": session.work_intervals,
            }
            done = {"epochs_done": len(session.history), "epochs_total": session.total_epochs}
            pace = sum(r["seconds"] for r in session.history) / len(session.history)
            progress = {**done, "validation_log_loss": row["validation_log_loss"], "seconds_per_epoch": pace}
            progress["sittings"] = session.work_intervals
            session.may_write()
            save_checkpoint(session.storage, session.folder, checkpoint, f"{phase.name}-{epoch + 1:04d}", progress)
            session.report({**row, **done})


def _optimizer(network: Network | DeviceNetworks, phase: Phase) -> torch.optim.Optimizer:
    trained = network.own if isinstance(network, DeviceNetworks) else network
    trained = network.classifier if phase.classifier_only else trained
    network.requires_grad_(False)
    trained.requires_grad_(True)
    return PlainAdamW(trained.parameters(), lr=0.0, weight_decay=phase.weight_decay)


def _run_epoch(session: Session, phase: Phase, optimizer: torch.optim.Optimizer, epoch: int) -> dict[str, Any]:
    began = time.monotonic()
    seed_torch(session.seed, phase.name, epoch)
    session.network.train(not phase.classifier_only)
    batches = session.batches(phase.batch_size)
    loss_sum = torch.zeros(
        (), dtype=torch.float64, device=session.accelerator
    )  # read once an epoch: a GPU need not wait
    seen, learning_rate, drop_rate = 0, 0.0, 0.0
    for i, (network, rows) in enumerate(batches):
        record_progress()
        step = epoch * len(batches) + i
        learning_rate, drop_rate = phase.learning_rate(step), phase.drop_rate(step)
        batch = _kept(session, rows, phase, drop_rate)
        if not len(batch):  # every segment of it was dropped
            continue
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)
        for part in np.array_split(batch, min(session.compute.parts, len(batch))):
            loss = _loss(session, network, phase, part)
            (loss * (len(part) / len(batch))).backward()
            loss_sum += loss.detach().double() * len(part)
        optimizer.step()
        seen += len(batch)
    train_loss = float(loss_sum / seen) if seen else None  # every segment of the epoch was dropped
    broken = ""
    if train_loss is not None and not math.isfinite(train_loss):
        broken = f"the training loss is {train_loss}"
    elif not _is_finite(session.network):
        broken = "a weight or a running statistic is not finite"  # by the last step, whose own loss still was
    if broken:
        raise TrialError(
            "nan",
            f"{phase.name}, epoch {epoch + 1}: {broken} (learning rate {learning_rate:g}); a lower learning rate usually "
            "mends it",
        )
    return {
        "phase": phase.name,
        "epoch": epoch + 1,
        "learning_rate": learning_rate,
        "drop_rate": drop_rate,
        "train_loss": train_loss,
        "segments": seen,
        **_validate(session),
        "seconds": time.monotonic() - began,
    }


def _is_finite(network: nn.Module) -> bool:
    """Whether all weights and running statistics are; one number that a GPU is asked for."""
    values = [value for value in network.state_dict().values() if value.is_floating_point()]
    return bool(nn.utils.get_total_norm(values, math.inf).isfinite())


def _kept(session: Session, rows: np.ndarray, phase: Phase, drop_rate: float) -> np.ndarray:
    """What is left of a mini-batch when the dropped device's segments are each left out with `drop_rate` (Sec. 3)."""
    if phase.dropped_device is None:
        return rows
    dropped = (session.data.devices[rows] == phase.dropped_device) & (torch.rand(len(rows)).numpy() < drop_rate)
    return rows[~dropped]


def _loss(session: Session, network: Network, phase: Phase, rows: np.ndarray) -> Tensor:
    inputs, targets, softened = training_batch(session, phase, rows)
    narrow = session.compute.precision == "bfloat16"
    with torch.autocast(torch.device(session.accelerator).type, torch.bfloat16, enabled=narrow):
        logits = network(inputs).float()
    loss = functional.cross_entropy(logits, targets)
    if phase.teachers is not None:
        part = distillation_loss(logits, softened, phase.temperature)
        loss = (1 - phase.teachers_weight) * loss + phase.teachers_weight * part
    return loss if phase.penalty is None else loss + phase.penalty(network)


def training_batch(session: Session, phase: Phase, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Some segments as a network is to hear them in training: augmented log-mel [B, 1, F, T], and their targets.

    Those are probabilities of scenes, [B, scenes], by the labels and by the teachers; without teachers the latter are [B, 0].
    """
    waveforms = fetch(session.data, rows, session.accelerator)
    targets = (
        functional.one_hot(torch.from_numpy(session.data.scenes[rows]), len(SCENES)).float().to(session.accelerator)
    )
    waveforms = augment.apply_impulse_response(
        augment.roll(waveforms, session.augment), session.responses, session.augment
    )
    log_mel = session.features(waveforms)
    inputs = augment.mask(augment.mixstyle(log_mel, session.augment), session.augment)
    softened = targets[:, :0] if phase.teachers is None else phase.teachers[rows].to(session.accelerator)
    if phase.mixup_alpha > 0:
        inputs, both = augment.mixup(inputs, torch.cat([targets, softened], dim=1), phase.mixup_alpha)
        targets, softened = both[:, : len(SCENES)], both[:, len(SCENES) :]
    if session.compute.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, targets, softened


def _validate(session: Session) -> dict[str, float | None]:
    rows = session.rows["validation"]
    if not len(rows):
        return {"validation_log_loss": None, "validation_accuracy": None}
    predictions = predict(session.network, session.features, session.data, rows, session.accelerator)
    micro = score(predictions, session.data.scenes[rows], session.data.devices[rows], "validation")[0]
    return {"validation_log_loss": micro.log_loss, "validation_accuracy": micro.accuracy}
