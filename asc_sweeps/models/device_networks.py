"""A network for each known device beside the one for all (DCASE 2025 task 1, where the device of a test segment is told)."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES
from asc_sweeps.models.network import Network


class DeviceNetworks(nn.Module):
    """`general`, and in `own` by the device's name what began as a copy of it. Called, it is `general`."""

    def __init__(self, general: Network) -> None:
        super().__init__()
        self.general = general
        self.own = nn.ModuleDict({device: copy.deepcopy(general) for device in SEEN_DEVICES})

    def forward(self, x: Tensor) -> Tensor:
        return self.general(x)

    def of(self, device: int) -> Network:
        """The network for segments of a device, by its index in DEVICES; the general one for devices that train has not."""
        known = device in range(len(SEEN_DEVICES))
        return self.own[DEVICES[device]] if known else self.general
