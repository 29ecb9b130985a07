"""From the rate of the data set's WAV files to that of training."""

from __future__ import annotations

import math

from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.config import RATE
from asc_sweeps.data import torchaudio_door
from asc_sweeps.data.banded import Banded
from asc_sweeps.data.wav import WAV_RATE


class Resample(nn.Module):
    """torchaudio's resampling from 44.1 kHz to 16 kHz, with its filters, in a quarter of its time.

    Of every 441 samples 160 are made, each from some 33 neighbours; torchaudio multiplies all that any of them needs, 475.
    Shape: [B, samples] -> [B, samples * 16 / 44.1, rounded up].
    """

    def __init__(self) -> None:
        super().__init__()
        whole = torchaudio_door.Resample(WAV_RATE, RATE)
        filters = whole.kernel[:, 0].T  # [samples, 160]
        self._width, self._window = whole.width, len(filters)
        self._step = WAV_RATE // math.gcd(WAV_RATE, RATE)
        self._filters = Banded(filters)

    def forward(self, waveforms: Tensor) -> Tensor:
        samples = waveforms.shape[1]
        windows = math.ceil(samples / self._step) + 1  # the last one keeps a waveform from the next one
        padded = functional.pad(waveforms, (self._width, windows * self._step - self._width - samples))
        # In one line: its windows are a matrix as they lie there, those of rows would be copied for each product.
        made = self._filters(padded.flatten().unfold(0, self._window, self._step))
        return made.flatten().unfold(0, math.ceil(samples * RATE / WAV_RATE), windows * made.shape[1])
