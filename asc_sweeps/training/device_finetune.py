"""Fine-tuning for each known device (DCASE 2025 task 1): on that device's segments, with the penalty of Eq. 3."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import PerDeviceConfig
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.training.finetune import l2_sp_penalty
from asc_sweeps.training.loop import Phase, Session, run_phases


def finetune_per_device(session: Session, config: PerDeviceConfig) -> None:
    """Copy the session's network for each known device, and train all copies in each epoch."""
    network = session.single_network
    penalty = l2_sp_penalty(network, config.reg_lambda)
    session.network = DeviceNetworks(network)
    run_phases(session, Phase("per device", config, penalty=penalty))
