"""Short sounds that events consist of, each at RMS 1 and the event rate: syllables, hisses, steps, birds, rails.

A data set has one collection, from which each recording picks a few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from asc_sweeps.data.synthetic.axes import EVENT_RATE, TURN, Draw, Floats, generator

Rng = np.random.Generator

# Formants of a vowel: strength, lowest and highest centre (Hz), half width (Hz).
_FORMANTS = ((1.0, 280, 800, 90), (0.5, 900, 2200, 120), (0.25, 2300, 3000, 180))


@dataclass(frozen=True)
class Atoms:
    """Collections of short sounds, by kind."""

    syllables: list[Floats]
    hisses: list[Floats]
    steps: list[Floats]
    birds: list[Floats]
    joints: list[Floats]


@lru_cache(maxsize=2)
def draw_atoms(seed: int) -> Atoms:
    """All short sounds of the data set with this seed; cached, since they take half a second."""
    rng = generator(seed, Draw.ATOMS)
    return Atoms(
        syllables=[_syllable(rng) for _ in range(160)],
        hisses=[_hiss(rng) for _ in range(48)],
        steps=[_step(rng) for _ in range(64)],
        birds=[_bird(rng) for _ in range(96)],
        joints=[_rail_joint(rng) for _ in range(32)],
    )


def _syllable(rng: Rng) -> Floats:
    """A vowel of a low or a high voice: harmonics shaped by three formants."""
    count = int(EVENT_RATE * rng.uniform(0.12, 0.34))
    time = np.arange(count) / EVENT_RATE
    pitch = rng.choice([110.0, 205.0]) * 2 ** rng.normal(0, 0.18)
    glide = rng.normal(0, 0.08) * np.sin(TURN * rng.uniform(1, 4) * time + rng.uniform(0, 6))
    phase = TURN * np.cumsum(pitch * 2**glide) / EVENT_RATE
    formants = [(strength, rng.uniform(low, high), width) for strength, low, high, width in _FORMANTS]
    sound = np.zeros(count)
    for harmonic in range(1, int(4800 / pitch)):
        hz = pitch * harmonic
        level = 0.01 + sum(strength / (1 + ((hz - center) / width) ** 2) for strength, center, width in formants)
        sound += level / harmonic**0.6 * np.sin(harmonic * phase + rng.uniform(0, TURN))
    return _unit(sound * np.sin(np.pi * np.linspace(0, 1, count)) ** rng.uniform(0.6, 1.4))


def _hiss(rng: Rng) -> Floats:
    """An unvoiced consonant."""
    count = int(EVENT_RATE * rng.uniform(0.05, 0.14))
    return _unit(_colored(rng, count, rng.uniform(2500, 4500), rng.uniform(6000, 9500)) * np.hanning(count))


def _step(rng: Rng) -> Floats:
    """A footstep: a dull heel and a sharper click."""
    count = int(EVENT_RATE * rng.uniform(0.05, 0.12))
    time = np.arange(count) / EVENT_RATE
    heel = _colored(rng, count, 90, rng.uniform(400, 900)) * np.exp(-time / 0.018)
    click = _colored(rng, count, 900, rng.uniform(2500, 6000)) * np.exp(-time / rng.uniform(0.004, 0.012))
    return _unit(heel / np.std(heel) + rng.uniform(0.3, 1.6) * click / np.std(click))


def _bird(rng: Rng) -> Floats:
    """A call of one to five chirps, each a gliding tone with vibrato."""
    base = rng.uniform(2300, 6000)
    call = []
    for _ in range(rng.integers(1, 6)):
        count = int(EVENT_RATE * rng.uniform(0.03, 0.12))
        progress = np.linspace(0, 1, count)
        octaves = rng.normal(0, 0.12) + rng.normal(0, 0.25) * progress
        octaves += 0.12 * rng.normal() * np.sin(TURN * rng.uniform(1, 5) * progress)
        chirp = np.sin(TURN * np.cumsum(np.minimum(base * 2**octaves, 10_000)) / EVENT_RATE) * np.hanning(count)
        call += [chirp, np.zeros(int(EVENT_RATE * rng.uniform(0.01, 0.07)))]
    return _unit(np.concatenate(call)[:EVENT_RATE])


def _rail_joint(rng: Rng) -> Floats:
    """Two axles over a gap in the rail."""
    sound = np.zeros(int(EVENT_RATE * 0.35))
    gap = int(EVENT_RATE * rng.uniform(0.08, 0.17))
    count = int(EVENT_RATE * 0.12)
    time = np.arange(count) / EVENT_RATE
    for start, level in ((0, 1.0), (gap, rng.uniform(0.5, 1.0))):
        thump = _colored(rng, count, 60, 300) * np.exp(-time / 0.03)
        ring = _colored(rng, count, 500, 2500) * np.exp(-time / 0.012)
        sound[start : start + count] += level * (thump / np.std(thump) + 0.6 * ring / np.std(ring))
    return _unit(sound)


def _colored(rng: Rng, count: int, low_hz: float, high_hz: float) -> NDArray[np.float64]:
    """Band-limited noise with Gaussian edges."""
    spectrum = np.fft.rfft(rng.standard_normal(count))
    octaves = np.log2(np.maximum(np.fft.rfftfreq(count, 1 / EVENT_RATE), 1) / math.sqrt(low_hz * high_hz))
    return np.fft.irfft(spectrum * np.exp(-0.5 * (octaves / (0.5 * math.log2(high_hz / low_hz))) ** 2), count)


def _unit(sound: NDArray[np.float64]) -> Floats:
    """A sound normalized to RMS 1."""
    return (sound / np.sqrt(np.mean(sound**2))).astype(np.float32)
