"""Time and frequency axes of all layers of sound, and small tools: decibels, knots, shaped noise, random numbers.

A segment lasts exactly one second and is treated as periodic, so a bin of its spectrum is exactly one hertz.
"""

from __future__ import annotations

import math
from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asc_sweeps.data.wav import WAV_RATE

Floats = NDArray[np.floating]
Spectrum = NDArray[np.complexfloating]

SPECTRUM_BINS = WAV_RATE // 2 + 1
EVENT_RATE = 22_050  # Hz; events are built at half the rate and added to the bed in the frequency domain
EVENT_BINS = EVENT_RATE // 2 + 1

EVENT_TIME = np.arange(EVENT_RATE, dtype=np.float32) / EVENT_RATE  # s
LOG2_HZ = np.log2(np.maximum(np.arange(SPECTRUM_BINS, dtype=np.float32), 1.0))  # of every bin
BANDS = np.linspace(math.log2(15.0), math.log2(22_050.0), 96).astype(np.float32)  # log2 Hz: grid of smooth spectra

KNOTS = 105  # slow curves have this many straight pieces a second; divides both rates
KNOT_TIME = np.linspace(0, 1, KNOTS + 1, dtype=np.float32)  # s

TURN = 2 * math.pi


class Draw(IntEnum):
    """Purposes of random numbers; separates the streams of one seed."""

    ATOMS = 1
    CITY = 2
    LOCATION = 3
    RECORDING = 4
    DEVICE = 5


def generator(seed: int, purpose: Draw, *key: int) -> np.random.Generator:
    """A generator for one purpose and key, independent of all other draws and of the process."""
    return np.random.default_rng([seed, int(purpose), *key])


def amplitude(decibels: ArrayLike) -> Floats:
    """Decibels to an amplitude factor, float32."""
    return np.float32(10.0) ** (np.asarray(decibels, np.float32) / np.float32(20.0))


def bump(center_hz: float, octaves: float) -> Floats:
    """A Gaussian of height 1 on BANDS with a standard deviation in octaves. Shape: -> [96]."""
    return np.exp(-0.5 * ((BANDS - math.log2(center_hz)) / octaves) ** 2).astype(np.float32)


def upsample(knots: NDArray, factor: int) -> Floats:
    """Linear interpolation between knots. Shape: [N, K + 1] -> [N, K * factor]."""
    weights = np.arange(factor, dtype=np.float32) / factor
    knots = knots.astype(np.float32, copy=False)
    rise = knots[:, 1:, None] - knots[:, :-1, None]
    return (knots[:, :-1, None] + rise * weights).reshape(len(knots), -1)


def noise_spectrum(rng: np.random.Generator, count: int, magnitude: Floats) -> Spectrum:
    """Gaussian noise of RMS 1 with the given magnitude spectrum. Shape: [bins] -> [count, bins]."""
    bins = len(magnitude)
    scale = (bins - 1) * 2 / math.sqrt(2) / math.sqrt(2 * float((magnitude**2).sum()))
    noise = rng.standard_normal((count, bins, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return noise * (magnitude * np.float32(scale))


def band_noise(rng: np.random.Generator, count: int, low_hz: float, high_hz: float) -> Floats:
    """Noise of RMS 1 in a soft band, at the event rate. Shape: -> [count, 22050]."""
    center = 0.5 * (math.log2(low_hz) + math.log2(high_hz))
    width = 0.5 * (math.log2(high_hz) - math.log2(low_hz))
    magnitude = np.exp(-0.5 * ((LOG2_HZ[:EVENT_BINS] - center) / width) ** 2).astype(np.float32)
    return to_time(noise_spectrum(rng, count, magnitude), EVENT_RATE)


def to_time(spectrum: Spectrum, length: int) -> Floats:
    """Inverse real FFT along the last axis, float32. Shape: [N, length // 2 + 1] -> [N, length]."""
    return np.fft.irfft(spectrum, length, axis=-1).astype(np.float32, copy=False)


def add_around(segment: Floats, sound: Floats, start: int, gain: float) -> None:
    """Add `sound` into `segment` from sample `start`, wrapping around at the end."""
    room = len(segment) - start
    segment[start : start + len(sound)] += gain * sound[:room]
    if len(sound) > room:
        segment[: len(sound) - room] += gain * sound[room:]
