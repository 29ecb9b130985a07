"""Normalisations over frequency: SubSpectralNorm and ResNorm."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SubSpectralNorm(nn.Module):
    """Separate batch normalisation of each of S frequency sub-bands (Chang et al. 2021; Sec. 4.2: S = 4).

    Shape: [B, C, F, T] -> the same; F must divide by `sub_bands`.
    """

    def __init__(self, channels: int, sub_bands: int) -> None:
        super().__init__()
        self.sub_bands = sub_bands
        self.norm = nn.BatchNorm2d(channels * sub_bands)

    def forward(self, x: Tensor) -> Tensor:
        b, c, f, t = x.shape
        bands = x.reshape(b, c * self.sub_bands, f // self.sub_bands, t)
        return self.norm(bands).reshape(b, c, f, t)


class ResNorm(nn.Module):
    """Residual normalisation (Kim et al. 2021): weight * x + FreqIN(x); no parameters (Sec. 4.2: weight 0.1).

    FreqIN normalizes each frequency of each segment to zero mean and unit (biased) variance over channels and time, which removes
    much of a recording device's coloration.
    Shape: [B, C, F, T] -> the same.
    """

    def __init__(self, weight: float, eps: float = 1e-8) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(1, 3), correction=0, keepdim=True)
        return self.weight * x + (x - mean) * torch.rsqrt(variance + self.eps)
