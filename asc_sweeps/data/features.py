"""Log-mel spectrograms of 16 kHz waveforms (Sec. 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.config.setting_groups import SAMPLE_RATE, FeatureConfig
from asc_sweeps.data.banded import bands
from asc_sweeps.data.torchaudio_door import MelScale, Spectrogram


class Banded(nn.Module):
    """Product with a banded matrix [rows, columns]. Shape: [..., rows] -> [..., columns]."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        blocks = bands(matrix.numpy())
        self._rows = [block.rows for block in blocks]
        self._pieces = nn.ParameterList(
            nn.Parameter(torch.from_numpy(block.matrix), requires_grad=False) for block in blocks
        )

    def forward(self, x: Tensor) -> Tensor:
        products = [x[..., rows] @ block for rows, block in zip(self._rows, self._pieces, strict=True)]
        return torch.cat(products, dim=-1)


class LogMel(nn.Module):
    """Log-mel spectrogram, normalized by two constants, so that differences in level remain.

    Shape: [B, samples] -> [B, 1, n_mels, 1 + samples // hop]; one second gives the paper's [1, 256, 32].
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = Spectrogram(config.window, hop_length=config.hop, window_fn=torch.hann_window, power=None)
        frequencies = config.window // 2 + 1
        self.mel = Banded(MelScale(config.n_mels, SAMPLE_RATE, config.f_min, config.f_max, frequencies).fb)

    def forward(self, waveforms: Tensor) -> Tensor:
        parts = torch.view_as_real(self.spectrogram(waveforms).transpose(1, 2))  # [B, T, frequencies, 2]
        power = parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1])  # faster than abs() squared
        log_mel = torch.log(self.mel(power) + self.config.floor)
        return ((log_mel - self.config.mean) / self.config.deviation).transpose(1, 2).unsqueeze(1).contiguous()
