"""The training loop that all phases share: it runs a `Phase` epoch by epoch, with a checkpoint after each.

Each epoch seeds its random numbers anew, so a resumed trial ends exactly as an uninterrupted one without storing generators.
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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.config.setting_groups import (
    ComputeConfig,
    DistillConfig,
    FinetuneConfig,
    PerDeviceConfig,
    PretrainConfig,
    QuantizeConfig,
)
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data import augment
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import SCENES, SEEN_DEVICES
from asc_sweeps.data.segments import fetch
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.network import Network
from asc_sweeps.training.checkpoint import load_checkpoint, save_checkpoint
from asc_sweeps.training.evaluate import predict, score
from asc_sweeps.training.optimizer import PlainAdamW
from asc_sweeps.training.watchdog import record_progress
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import STORED_NAMES, EpochRow, Score, WorkInterval, utc_now

Report = Callable[[EpochRow], None]
INTERVALS_KEY = STORED_NAMES["work_intervals"]


@dataclass(frozen=True)
class DropSchedule:
    """Drops a device's segments from each mini-batch (Sec. 3)."""

    device: int
    """Index in DEVICES."""
    rate: Callable[[int], float]
    """Probability that a segment is dropped, by step."""


@dataclass(frozen=True)
class Distillation:
    """The teachers' part in the loss."""

    probabilities: Tensor
    """The teachers' mean prediction for each segment of the data set at `temperature`, [segments, scenes]."""
    temperature: float
    weight: float
    """Its share of the loss."""


@dataclass(frozen=True)
class Phase:
    """What `run_phases` trains; schedules are functions of the step."""

    name: str
    settings: PretrainConfig | FinetuneConfig | DistillConfig | PerDeviceConfig | QuantizeConfig
    epochs: int | None = None
    """If they are not those of the settings; so with `learning_rate`."""
    learning_rate: Callable[[int], float] | None = None
    classifier_only: bool = False
    """Train the classifier of a frozen network in eval mode."""
    mixup_alpha: float = 0.0
    drop: DropSchedule | None = None
    penalty: Callable[[Network], Tensor] | None = None
    """Added to the loss (Eq. 3)."""
    distillation: Distillation | None = None


@dataclass
class Session:
    """What the phases and the scoring of one trial share."""

    trial: TrialConfig
    workspace: Workspace
    network: Network | DeviceNetworks
    features: nn.Module
    data: Prepared
    rows: dict[str, np.ndarray]
    """Row numbers of each split's segments, or clips."""
    accelerator: str
    check_lease: Callable[[], None]
    """Called before anything is written; raises if another process has taken over the trial."""
    report: Report
    dropped_device: str | None = None
    """The device with the most training segments, if the trial is fine-tuned."""
    responses: Tensor | None = None
    """Spectra of impulse responses for augmentation, [responses, 16001]."""
    history: list[EpochRow] = field(default_factory=list)
    extra_scores: list[Score] = field(default_factory=list)
    """Of earlier states of the network."""
    work_intervals: list[WorkInterval] = field(default_factory=list)
    """The last one is this process's."""
    _interval_began: float = 0.0
    """By the monotonic clock."""

    @property
    def folder(self) -> Path:
        """The trial's folder."""
        return self.workspace.trial(self.trial.signature)

    @property
    def single_network(self) -> Network:
        """The network of a trial that has no networks per device yet."""
        assert isinstance(self.network, Network)
        return self.network

    @property
    def compute(self) -> ComputeConfig:
        """How the network computes in training; quantization-aware training rounds float32 values."""
        compute = self.trial.compute
        return compute if self.trial.quantize is None else ComputeConfig(parts=compute.parts)

    def begin_interval(self) -> None:
        """Begin a work interval of this process."""
        moment, self._interval_began = utc_now("milliseconds"), time.monotonic()
        self.work_intervals.append(
            {"worker": f"{platform.node()}:{os.getpid()}", "began_at": moment, "ended_at": moment}
        )

    def extend_interval(self) -> None:
        """Let the work interval end now, by the monotonic clock: the wall clock may have been set since it began."""
        interval = self.work_intervals[-1]
        ended = datetime.fromisoformat(interval["began_at"]) + timedelta(
            seconds=time.monotonic() - self._interval_began
        )
        interval["ended_at"] = ended.isoformat(timespec="milliseconds")

    def steps(self, batch_size: int) -> int:
        """Mini-batches per epoch; the last one may be smaller."""
        return math.ceil(len(self.rows["train"]) / batch_size)

    def batches(self, batch_size: int) -> list[tuple[Network, np.ndarray]]:
        """An epoch's mini-batches in a new random order, each with the network to train on it: its device's, if there are such."""
        rows = self.rows["train"][torch.randperm(len(self.rows["train"])).numpy()]
        if isinstance(self.network, DeviceNetworks):
            devices = self.data.devices[rows]
            groups = [(self.network.of(d), rows[devices == d]) for d in range(len(SEEN_DEVICES))]
        else:
            groups = [(self.network, rows)]
        return [
            (network, group[first : first + batch_size])
            for network, group in groups
            for first in range(0, len(group), batch_size)
        ]

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """The network's log probabilities for some segments or clips."""
        return predict(self.network, self.features, self.data, rows, self.accelerator)


def seed_torch(seed: int, *purpose: object) -> None:
    """Seed torch's generators for one purpose of a trial, e.g. (`pretrain`, epoch 3)."""
    digest = hashlib.sha256(repr((seed, *purpose)).encode()).digest()
    torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def run_phases(session: Session, *phases: Phase) -> None:
    """Run the phases in order, starting from the last checkpoint if there is one.

    Raises TrialError if a loss or a network is not finite.
    """
    state = load_checkpoint(session.folder)
    first_phase, first_epoch = (state["phase"], state["epoch"]) if state else (0, 0)
    if state:
        session.network.load_state_dict(state["network"])
        session.history[:] = state["history"]
        session.work_intervals[:] = state.get(INTERVALS_KEY, [])
    if session.compute.channels_last:
        nn.Module.to(session.network, memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in torch's stubs
    session.begin_interval()
    for number, phase in enumerate(phases):
        if number < first_phase:
            continue
        optimizer = _optimizer(session.network, phase)
        if state and number == first_phase:
            optimizer.load_state_dict(state["optimizer"])
        epochs = phase.settings.epochs if phase.epochs is None else phase.epochs
        for epoch in range(first_epoch if number == first_phase else 0, epochs):
            session.history.append(_run_epoch(session, phase, optimizer, epoch))
            _save_progress(session, phase, number, optimizer)


def _save_progress(session: Session, phase: Phase, number: int, optimizer: torch.optim.Optimizer) -> None:
    """Save a checkpoint after an epoch, and report the epoch."""
    session.extend_interval()
    history, row = session.history, session.history[-1]
    state = {
        "phase": number,
        "epoch": row["epoch"],
        "network": session.network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        INTERVALS_KEY: session.work_intervals,
    }
    done: EpochRow = {"epochs_done": len(history), "epochs_total": session.trial.epochs}
    progress = {
        **done,
        "validation_log_loss": row["validation_log_loss"],
        "seconds_per_epoch": sum(r["seconds"] for r in history) / len(history),
        INTERVALS_KEY: session.work_intervals,
    }
    session.check_lease()
    name = f"{phase.name}-{row['epoch']:04d}"
    save_checkpoint(session.workspace.storage, session.folder, state, name, progress)
    session.report({**row, **done})


def _optimizer(network: Network | DeviceNetworks, phase: Phase) -> torch.optim.Optimizer:
    trained: nn.Module = network.own if isinstance(network, DeviceNetworks) else network
    if phase.classifier_only:
        trained = trained.get_submodule("classifier")
    network.requires_grad_(False)
    trained.requires_grad_(True)
    return PlainAdamW(trained.parameters(), lr=0.0, weight_decay=phase.settings.weight_decay)


def _run_epoch(session: Session, phase: Phase, optimizer: torch.optim.Optimizer, epoch: int) -> EpochRow:
    began = time.monotonic()
    seed_torch(session.trial.seed, phase.name, epoch)
    session.network.train(not phase.classifier_only)
    batches = session.batches(phase.settings.batch_size)
    # On the accelerator, read once per epoch, so that a GPU does not wait.
    loss_sum = torch.zeros((), dtype=torch.float64, device=session.accelerator)
    segments, learning_rate, drop_rate = 0, 0.0, 0.0
    for i, (network, rows) in enumerate(batches):
        record_progress()
        step = epoch * len(batches) + i
        learning_rate = phase.learning_rate(step) if phase.learning_rate else phase.settings.learning_rate
        if phase.drop:
            drop_rate = phase.drop.rate(step)
            rows = drop_segments(session.data, rows, phase.drop.device, drop_rate)
        if not len(rows):
            continue
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
        optimizer.zero_grad(set_to_none=True)
        for part in np.array_split(rows, min(session.compute.parts, len(rows))):
            loss = training_loss(session, network, phase, part)
            (loss * (len(part) / len(rows))).backward()
            loss_sum += loss.detach().double() * len(part)
        optimizer.step()
        segments += len(rows)
    train_loss = float(loss_sum / segments) if segments else None  # None: every segment was dropped
    _check_finite(session.network, train_loss, f"{phase.name}, epoch {epoch + 1}", learning_rate)
    return {
        "phase": phase.name,
        "epoch": epoch + 1,
        "learning_rate": learning_rate,
        "drop_rate": drop_rate,
        "train_loss": train_loss,
        "segments": segments,
        **_validate(session),
        "seconds": time.monotonic() - began,
    }


def _check_finite(network: nn.Module, train_loss: float | None, where: str, learning_rate: float) -> None:
    """Raise TrialError if the loss, a weight or a running statistic is not finite."""
    values = [value for value in network.state_dict().values() if value.is_floating_point()]
    if train_loss is not None and not math.isfinite(train_loss):
        problem = f"the training loss is {train_loss}"
    elif not nn.utils.get_total_norm(values, math.inf).isfinite():  # one number to read from a GPU
        problem = "a weight or running statistic is not finite"  # after the last step, whose loss was finite
    else:
        return
    raise TrialError("nan", f"{where}: {problem} (learning rate {learning_rate:g}); try a lower learning rate")


def drop_segments(data: Prepared, rows: np.ndarray, device: int, rate: float) -> np.ndarray:
    """A mini-batch without the segments of one device that are dropped, each with probability `rate` (Sec. 3)."""
    dropped = (data.devices[rows] == device) & (torch.rand(len(rows)).numpy() < rate)
    return rows[~dropped]


def training_loss(session: Session, network: Network, phase: Phase, rows: np.ndarray) -> Tensor:
    """The loss on some training segments: cross-entropy, the teachers' part, the penalty."""
    inputs, targets, teacher_targets = training_batch(session, phase, rows)
    bfloat16 = session.compute.precision == "bfloat16"
    with torch.autocast(torch.device(session.accelerator).type, torch.bfloat16, enabled=bfloat16):
        logits = network(inputs).float()
    loss = functional.cross_entropy(logits, targets)
    if phase.distillation is not None:
        weight = phase.distillation.weight
        part = distillation_loss(logits, teacher_targets, phase.distillation.temperature)
        loss = (1 - weight) * loss + weight * part
    return loss if phase.penalty is None else loss + phase.penalty(network)


def distillation_loss(logits: Tensor, teacher_targets: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence from the teachers at a temperature, times its square, mean over the mini-batch.

    The square makes the gradients of both parts of the loss comparable at any temperature (Hinton et al. 2015).
    Shapes: logits and teacher_targets (probabilities) [B, scenes].
    """
    student = (logits / temperature).log_softmax(dim=1)
    return functional.kl_div(student, teacher_targets, reduction="batchmean") * temperature**2


def training_batch(session: Session, phase: Phase, rows: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Augmented log-mel inputs [B, 1, F, T] of some segments, and their targets by the labels and by the teachers.

    Targets are probabilities [B, scenes]; without teachers theirs are [B, 0].
    """
    config = session.trial.augment
    waveforms = fetch(session.data, rows, session.accelerator)
    labels = torch.from_numpy(session.data.scenes[rows])
    targets = functional.one_hot(labels, len(SCENES)).float().to(session.accelerator)
    waveforms = augment.apply_impulse_response(augment.roll(waveforms, config), session.responses, config)
    inputs = augment.mask(augment.mixstyle(session.features(waveforms), config), config)
    teacher_targets = targets[:, :0]
    if phase.distillation is not None:
        teacher_targets = phase.distillation.probabilities[rows].to(session.accelerator)
    if phase.mixup_alpha > 0:
        inputs, both = augment.mixup(inputs, torch.cat([targets, teacher_targets], dim=1), phase.mixup_alpha)
        targets, teacher_targets = both[:, : len(SCENES)], both[:, len(SCENES) :]
    if session.compute.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    return inputs, targets, teacher_targets


def _validate(session: Session) -> EpochRow:
    rows = session.rows["validation"]
    if not len(rows):
        return {"validation_log_loss": None, "validation_accuracy": None}
    micro = score(session.predict(rows), session.data.scenes[rows], session.data.devices[rows], "validation")[0]
    return {"validation_log_loss": micro.log_loss, "validation_accuracy": micro.accuracy}
