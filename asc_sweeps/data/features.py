"""Log-mel spectrograms of 16 kHz waveforms (Sec. 4.1)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.config import RATE, FeatureConfig
from asc_sweeps.data.torchaudio_door import MelSpectrogram


class LogMel(nn.Module):
    """Log-mel spectrogram, shifted and scaled by two constants, so that a clip's level is kept.

    Shape: [B, samples] -> [B, 1, n_mels, 1 + samples // hop]; one second gives the paper's [1, 256, 32].
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = MelSpectrogram(
            sample_rate=RATE,
            n_fft=config.window,
            hop_length=config.hop,
            f_min=config.f_min,
            f_max=config.f_max,
            n_mels=config.n_mels,
            window_fn=torch.hann_window,
        )

    def forward(self, waveforms: Tensor) -> Tensor:
        log_mel = torch.log(self.mel(waveforms) + self.config.floor)
        return ((log_mel - self.config.mean) / self.config.deviation).unsqueeze(1)
