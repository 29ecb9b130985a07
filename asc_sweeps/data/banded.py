"""Products with matrices that are zero but for a band, as filters of neighbouring frequencies or samples are."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PIECES = 8
"""Into which columns are cut; 4 and 16 are about as fast."""


class Banded(nn.Module):
    """Product with a matrix [rows, columns] of which each column has a few neighbouring rows that are not zero.

    Column by column next to each other in pieces, each of which takes the rows that it needs: a product with all rows would spend
    four fifths of its time on zeros. Shape: [..., rows] -> [..., columns].
    """

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self._rows: list[slice] = []
        self._pieces = nn.ParameterList()
        for piece in matrix.tensor_split(PIECES, dim=1):
            used = piece.any(dim=1).nonzero().flatten().tolist() or [0]
            self._rows.append(slice(used[0], used[-1] + 1))
            self._pieces.append(nn.Parameter(piece[self._rows[-1]].contiguous(), requires_grad=False))

    def forward(self, x: Tensor) -> Tensor:
        products = [x[..., rows] @ piece for rows, piece in zip(self._rows, self._pieces, strict=True)]
        return torch.cat(products, dim=-1)
