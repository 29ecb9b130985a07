"""Nine recording devices: frequency response, compressor, self-noise and soft limiter.

As in TAU, a, b and c record the scene, while s1..s6 are simulated from the recording of device a.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from asc_sweeps.data.labels import DEVICES
from asc_sweeps.data.synthetic.axes import Draw, Floats, Spectrum, amplitude, generator, to_time, upsample
from asc_sweeps.data.synthetic.layout import Recording
from asc_sweeps.data.wav import WAV_RATE

STRENGTH = 1.5  # difference of the other devices from device a: scales their response in dB and their compressor

_FRAME = 180  # samples (4 ms) over which the compressor measures the level; divides WAV_RATE
_CEILING = 0.7  # of full scale, about -3 dBFS; threshold of the limiter


@dataclass(frozen=True)
class Compressor:
    """Reduces levels above `threshold` (dBFS) by `ratio`, then raises all levels by `makeup` (dB)."""

    threshold: float
    ratio: float
    attack: float  # ms
    release: float  # ms
    makeup: float


@dataclass(frozen=True)
class Device:
    """High pass and low pass (Hz, order), bumps (Hz, dB, octaves), compressor, self-noise (dBFS RMS), gain (dB)."""

    high_pass: tuple[float, int]
    low_pass: tuple[float, int]
    bumps: tuple[tuple[float, float, float], ...]
    compressor: Compressor | None
    noise_db: float | None
    gain_db: float


# fmt: off
_DEVICES = {
    "a":  Device((25, 2), (18_000, 4), ((3000, 2.0, 0.8),), None, -84, 0),
    "b":  Device((80, 2), (16_000, 4), ((1200, 2.0, 0.7), (4500, 3.0, 0.6), (250, -2.0, 0.8)),
                 Compressor(-34, 1.5, 8, 160, 3), -72, 2),
    "c":  Device((55, 2), (17_000, 4), ((800, -1.5, 0.8), (6500, 3.5, 0.6), (2500, 1.5, 0.5)),
                 Compressor(-32, 1.4, 12, 220, 2), -76, -1),
    "s1": Device((120, 2), (14_000, 4), ((1000, 2.5, 0.6), (3200, -3.0, 0.5), (7000, 3.0, 0.5)),
                 Compressor(-38, 1.7, 5, 120, 5), None, 0),
    "s2": Device((140, 2), (12_000, 4), ((600, -2.2, 0.7), (2200, 3.0, 0.6), (9000, -3.0, 0.6)),
                 Compressor(-40, 1.8, 5, 90, 5), None, -2),
    "s3": Device((100, 2), (16_000, 4), ((350, 2.5, 0.7), (1700, -2.0, 0.6), (5200, 3.5, 0.5)),
                 Compressor(-36, 1.6, 8, 150, 4), None, 2),
    "s4": Device((150, 2), (11_000, 4), ((900, 2.2, 0.5), (2800, 2.5, 0.5), (6000, -2.5, 0.6)),
                 Compressor(-42, 1.9, 3, 80, 6), None, -2),
    "s5": Device((120, 2), (9_500, 6), ((450, 3.0, 0.6), (1500, -3.0, 0.6), (4200, 4.0, 0.5)),
                 Compressor(-40, 1.9, 4, 100, 6), None, 2),
    "s6": Device((170, 2), (12_500, 4), ((700, -3.0, 0.7), (1900, 3.0, 0.6), (7800, 3.5, 0.5)),
                 Compressor(-46, 2.2, 2, 60, 8), None, 0),
}
# fmt: on
_REAL = ("a", "b", "c")


def record(sound: Floats, recording: Recording, seed: int) -> Iterator[tuple[str, Floats]]:
    """The sound as recorded by each of the recording's devices, below full scale. Shape: [10, 44100] -> (device, [10, 44100])."""
    scene = np.fft.rfft(sound, axis=1)
    of_a = _through("a", scene, _noise(recording, seed, "a"))  # also without a: s1..s6 derive from it
    simulated = set(recording.devices) - set(_REAL)
    source_a = np.fft.rfft(of_a, axis=1) if simulated else scene
    for device in recording.devices:
        source = source_a if device in simulated else scene
        yield device, of_a if device == "a" else _through(device, source, _noise(recording, seed, device))


def _noise(recording: Recording, seed: int, device: str) -> np.random.Generator:
    """The generator of a device's noise, independent of the other devices of the recording."""
    return generator(seed, Draw.DEVICE, *recording.key, DEVICES.index(device))


def _through(name: str, spectrum: Spectrum, rng: np.random.Generator) -> Floats:
    """One device's recording of a sound. Shape: [10, 22051] -> [10, 44100]."""
    device = _DEVICES[name]
    sound = to_time(spectrum * response(name), WAV_RATE)
    if device.compressor is not None:
        sound *= _compressor_gain(sound, device.compressor)
    if device.noise_db is not None:
        sound += amplitude(device.noise_db) * rng.standard_normal(sound.shape, dtype=np.float32)
    return _limit(sound)


@cache
def response(name: str) -> Spectrum:
    """The device's minimum-phase response on bins of one hertz. Shape: -> [22051]."""
    device = _DEVICES[name]
    hz = np.maximum(np.arange(WAV_RATE // 2 + 1), 0.5)
    (low, low_order), (high, high_order) = device.high_pass, device.low_pass
    decibels = -5 * low_order * np.log10(1 + (low / hz) ** 4) - 2.5 * high_order * np.log10(1 + (hz / high) ** 8)
    for center, height, octaves in device.bumps:
        decibels += height * np.exp(-0.5 * ((np.log2(hz) - math.log2(center)) / octaves) ** 2)
    decibels = np.maximum(decibels * (1.0 if name == "a" else STRENGTH), -70) + device.gain_db
    # Minimum phase: the cepstrum's negative times are folded onto the positive ones.
    cepstrum = np.fft.irfft(decibels / 20 * math.log(10), WAV_RATE)
    cepstrum[1 : WAV_RATE // 2] *= 2
    cepstrum[WAV_RATE // 2 + 1 :] = 0
    return np.exp(np.fft.rfft(cepstrum)).astype(np.complex64)


def _compressor_gain(sound: Floats, compressor: Compressor) -> Floats:
    """The gain over time, from frames of 4 ms smoothed by attack and release. Shape: [10, 44100] -> same."""
    ratio = 1 + (compressor.ratio - 1) * STRENGTH
    level = 10 * np.log10((sound.reshape(len(sound), -1, _FRAME) ** 2).mean(axis=2) + 1e-12)
    target = -np.maximum(level - compressor.threshold, 0) * (1 - 1 / ratio)
    attack, release = (math.exp(-_FRAME / WAV_RATE * 1000 / ms) for ms in (compressor.attack, compressor.release))
    gain = np.empty_like(target)
    now = target.mean(axis=1)
    for frame in range(target.shape[1]):
        goal = target[:, frame]
        keep = np.where(goal < now, attack, release)
        now = keep * now + (1 - keep) * goal
        gain[:, frame] = now
    factor = amplitude(gain + compressor.makeup * STRENGTH)
    return upsample(np.concatenate([factor[:, :1], factor], axis=1), _FRAME)


def _limit(sound: Floats) -> Floats:
    """Limits samples above the ceiling softly to at most 0.995 of full scale."""
    magnitude = np.abs(sound)
    loud = magnitude > _CEILING
    if loud.any():
        sound[loud] = np.sign(sound[loud]) * (_CEILING + 0.295 * np.tanh((magnitude[loud] - _CEILING) / 0.3))
    return sound
