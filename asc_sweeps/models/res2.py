"""The hierarchical split of Res2Net (Eq. 1, Eq. 2): used by every multi-scale part of the network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Res2(nn.Module):
    """Slice the channels in S; y1 = first(x1), y2 = op2(x2), yi = opi(xi + y(i-1)); concatenate.

    `operator(channels)` builds the operator of a slice; `first` that of slice 1, by default the identity (Eq. 1, Eq. 2).
    Shape: [B, C, F, T] -> the same; C must divide by `scale`.
    """

    def __init__(
        self,
        channels: int,
        scale: int,
        operator: Callable[[int], nn.Module],
        first: Callable[[int], nn.Module] = lambda channels: nn.Identity(),
    ) -> None:
        super().__init__()
        self.scale = scale
        part = channels // scale
        self.operators = nn.ModuleList([first(part), *(operator(part) for _ in range(scale - 1))])

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for i, (operator, part) in enumerate(zip(self.operators, x.chunk(self.scale, dim=1), strict=True)):
            outputs.append(operator(part if i < 2 else part + outputs[-1]))
        return torch.cat(outputs, dim=1)
