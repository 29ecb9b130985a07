"""Fine-tuning for each known device (DCASE 2025 task 1): the fine-tuner's phase with the pull of Eq. 3, on that device's segments."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import PerDeviceConfig
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.finetune import l2_sp_penalty
from asc_sweeps.training.loop import Phase, Session, run_phases


def finetune_per_device(session: Session, config: PerDeviceConfig) -> None:
    """Give the session, which holds the network for all devices, one of each known device; an epoch trains all of them."""
    penalty = l2_sp_penalty(session.network, config.reg_lambda)
    session.network = DeviceNetworks(session.network)
    phase = Phase(
        name="per device",
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=lambda step: config.learning_rate,
        penalty=penalty,
    )
    run_phases(session, [phase])
