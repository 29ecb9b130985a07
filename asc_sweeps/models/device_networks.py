"""One network per seen device besides the general one (DCASE 2025 task 1, where the device of a test segment is known)."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES
from asc_sweeps.models.network import Network


class DeviceNetworks(nn.Module):
    """The `general` network, and in `own`, by device, networks that begin as its copies. Calling it calls `general`."""

    def __init__(self, general: Network) -> None:
        super().__init__()
        self.general = general
        self.own = nn.ModuleDict({device: copy.deepcopy(general) for device in SEEN_DEVICES})

    def forward(self, x: Tensor) -> Tensor:
        return self.general(x)

    def of(self, device: int) -> Network:
        """The network for a device (index into DEVICES); for unseen devices the general one."""
        if device not in range(len(SEEN_DEVICES)):
            return self.general
        network = self.own[DEVICES[device]]
        assert isinstance(network, Network)  # ModuleDict declares modules
        return network
