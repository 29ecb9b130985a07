"""Log-mel spectrograms of 16 kHz waveforms (Sec. 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.config import RATE, FeatureConfig
from asc_sweeps.data.torchaudio_door import MelScale, Spectrogram

PIECES = 8
"""Into which the mel bands are cut. A band takes a few neighbouring frequencies, so a product with all of them is mostly with zeros:
0.19 ms a segment, against 0.04 when each piece takes the frequencies that it needs."""


class LogMel(nn.Module):
    """Log-mel spectrogram, shifted and scaled by two constants, so that a clip's level is kept.

    Shape: [B, samples] -> [B, 1, n_mels, 1 + samples // hop]; one second gives the paper's [1, 256, 32].
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.spectrogram = Spectrogram(config.window, hop_length=config.hop, window_fn=torch.hann_window, power=None)
        frequencies = config.window // 2 + 1
        filters = MelScale(config.n_mels, RATE, config.f_min, config.f_max, frequencies).fb  # [frequencies, n_mels]
        self._places: list[slice] = []
        self._filters = nn.ParameterList()
        for piece in filters.tensor_split(PIECES, dim=1):
            used = piece.any(dim=1).nonzero().flatten().tolist() or [0]
            self._places.append(slice(used[0], used[-1] + 1))
            self._filters.append(nn.Parameter(piece[self._places[-1]], requires_grad=False))

    def forward(self, waveforms: Tensor) -> Tensor:
        parts = torch.view_as_real(self.spectrogram(waveforms).transpose(1, 2))  # [B, T, frequencies, 2]
        power = parts[..., 0].square().addcmul_(parts[..., 1], parts[..., 1])
        pieces = [power[..., place] @ filters for place, filters in zip(self._places, self._filters, strict=True)]
        log_mel = torch.log(torch.cat(pieces, dim=2) + self.config.floor)
        return ((log_mel - self.config.mean) / self.config.deviation).transpose(1, 2).unsqueeze(1).contiguous()
