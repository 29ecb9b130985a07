"""Resampling from the data set's 44.1 kHz to the 16 kHz of training; without torch, which takes seconds to import."""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.banded import Band, bands
from asc_sweeps.data.wav import WAV_RATE

STEP, MADE = WAV_RATE // math.gcd(WAV_RATE, SAMPLE_RATE), SAMPLE_RATE // math.gcd(WAV_RATE, SAMPLE_RATE)
"""441 input samples become 160 output samples."""
CROSSINGS, ROLLOFF = 6, 0.99
"""Zero crossings of the sinc on each side within its window; its cutoff as a share of the output's Nyquist frequency."""
REACH = math.ceil(CROSSINGS * STEP / (MADE * ROLLOFF))  # samples before and after those 441 that the filters reach


def resample(waveforms: np.ndarray) -> np.ndarray:
    """Resample from 44.1 kHz to 16 kHz with torchaudio's filters, in a third of its time.

    Each output sample depends on some 33 inputs; torchaudio multiplies all 475 that any of the 160 needs.
    Shape: float32 [B, samples] -> [B, samples * 16 / 44.1, rounded up].
    """
    count, samples = waveforms.shape
    windows = math.ceil(samples / STEP) + 1  # the last one separates a waveform from the next
    # All waveforms in one line: overlapping windows of a line are a strided matrix, which need not be copied.
    line = np.zeros(count * windows * STEP + 2 * REACH, np.float32)
    line[: count * windows * STEP].reshape(count, -1)[:, REACH : REACH + samples] = waveforms
    inputs = sliding_window_view(line, STEP + 2 * REACH)[::STEP]
    outputs = np.empty((count * windows, MADE), np.float32)
    for band in _filters():
        np.matmul(inputs[:, band.rows], band.matrix, out=outputs[:, band.columns])
    return outputs.reshape(count, -1)[:, : math.ceil(samples * SAMPLE_RATE / WAV_RATE)]


@functools.cache
def _filters() -> list[Band]:
    """A Hann-windowed sinc for each of 160 fractional delays: a matrix [475, 160], in bands."""
    delays = (np.arange(0, -MADE, -1) / MADE).astype(np.float32)  # float32, as in torchaudio
    times = (np.arange(-REACH, STEP + REACH)[:, None] / STEP + delays) * MADE * ROLLOFF
    times = times.clip(-CROSSINGS, CROSSINGS)
    window = np.cos(times * math.pi / CROSSINGS / 2) ** 2
    return bands((np.sinc(times) * window * (MADE * ROLLOFF / STEP)).astype(np.float32))
