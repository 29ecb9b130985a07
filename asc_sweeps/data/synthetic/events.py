"""Events of a scene, which pass through its room: voices, steps, birds, rails, music, wheels, brakes.

Each function adds its layer to a recording's ten segments. Shape: out [10, 22050], relative to the bed's RMS.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from asc_sweeps.data.labels import PIECES
from asc_sweeps.data.synthetic.axes import (
    EVENT_BINS,
    EVENT_RATE,
    EVENT_TIME,
    TURN,
    Floats,
    add_around,
    amplitude,
    band_noise,
    to_time,
)
from asc_sweeps.data.synthetic.places import Moment


def add_events(moment: Moment, out: Floats) -> None:
    """Add all layers that the recording has."""
    for layer, add in EVENTS.items():
        if moment.has(layer):
            add(moment, out)


def babble(moment: Moment, out: Floats) -> None:
    """Many people talking: syllables and hisses in random order."""
    rng, gain, rate = moment.rng, moment.gain("babble"), 2.0 ** moment.knobs["babble_r"]
    for segment in out:
        for _ in range(rng.poisson(rate)):
            kit, level = (moment.atoms.syllables, gain) if rng.random() < 0.8 else (moment.atoms.hisses, 0.5 * gain)
            _add_one(rng, segment, kit, level, spread_db=5)


def steps(moment: Moment, out: Floats) -> None:
    """Six pairs of shoes passing."""
    rng = moment.rng
    kit = _pick(rng, moment.atoms.steps, 6)
    _scatter(rng, out, kit, 2.0 ** moment.knobs["step_r"], moment.gain("step", 2), spread_db=4)


def birds(moment: Moment, out: Floats) -> None:
    """Four birds, more or less busy."""
    rng = moment.rng
    kit = _pick(rng, moment.atoms.birds, 4)
    _scatter(rng, out, kit, rng.gamma(2.0, 1.0), moment.gain("bird", -4), spread_db=4)


def rail_joints(moment: Moment, out: Floats) -> None:
    """Wheels over rail joints at the train's speed; silent in a quarter of the recordings, where the train stands still."""
    rng, gain, period = moment.rng, moment.gain("clack", 3), 2.0 ** -moment.knobs["clack_r"]
    atom = moment.atoms.joints[rng.integers(len(moment.atoms.joints))]
    if rng.random() >= 0.75:
        return
    for segment in out:
        time = rng.uniform(0, period)
        while time < 1:
            add_around(segment, atom, int(time * EVENT_RATE), gain * _level(rng, 2))
            time += period * (1 + 0.03 * rng.normal())


def announcement(moment: Moment, out: Floats) -> None:
    """One voice without pause in six of ten segments."""
    rng, gain = moment.rng, moment.gain("pa", 3)
    speaking = np.flatnonzero(rng.random(PIECES) < 0.6)
    kit = _pick(rng, moment.atoms.syllables, 8)
    for piece in speaking:
        time = rng.uniform(0, 0.2)
        while time < 1:
            atom = kit[int(rng.integers(len(kit)))]
            add_around(out[piece], atom, int(time * EVENT_RATE), gain * _level(rng, 2))
            time += len(atom) / EVENT_RATE * rng.uniform(0.8, 1.2)


def beeps(moment: Moment, out: Floats) -> None:
    """Doors or crossings: one to three equal beeps, at the pitch of the place, in half of the segments."""
    rng, gain = moment.rng, 1.4 * moment.gain("beep")
    duration, gap = rng.uniform(0.06, 0.25), rng.uniform(0.1, 0.5)
    count = np.arange(int(duration * EVENT_RATE))
    phase = TURN * moment.place.beep_hz * count / EVENT_RATE
    edges = np.minimum(1, np.minimum(count, len(count) - count) / (0.005 * EVENT_RATE))
    beep = ((np.sin(phase) + 0.3 * np.sin(3 * phase)) * edges).astype(np.float32)
    for piece in np.flatnonzero(rng.random(PIECES) < 0.5):
        time = rng.uniform(0, 0.5)
        for _ in range(rng.integers(1, 4)):
            add_around(out[piece], beep, int(time * EVENT_RATE) % EVENT_RATE, gain)
            time += duration + gap


def music(moment: Moment, out: Floats) -> None:
    """A chord with slow tremolo: partials at whole hertz, each with two sidebands, so that a segment stays periodic."""
    rng, gain = moment.rng, 0.7 * moment.gain("music", 3)
    root = 110 * 2 ** (rng.integers(12) / 12)
    intervals = rng.choice([0, 3, 4, 7, 10, 12, 15, 19, 24], 5, replace=False)
    lines = [(round(root * 2 ** (step / 12) * harmonic), 0.6**harmonic) for step in intervals for harmonic in (1, 2, 3)]
    scale = gain / math.sqrt(0.5 * sum(level**2 for _, level in lines))
    tremolos = rng.integers(1, 5, len(lines))
    phases = rng.uniform(0, TURN, (PIECES, len(lines)))
    spectrum = np.zeros((PIECES, EVENT_BINS), np.complex64)
    for (hz, level), tremolo, phase in zip(lines, tremolos, phases.T, strict=True):
        line = scale * level * EVENT_RATE / 2 * np.exp(1j * phase)
        spectrum[:, hz] += line
        spectrum[:, hz + tremolo] += 0.3 * line
        spectrum[:, hz - tremolo] += 0.3 * line
    out += to_time(spectrum, EVENT_RATE)


def rolling(moment: Moment, out: Floats) -> None:
    """Suitcases and trolleys over joints in the floor, in seven of ten segments."""
    rng, gain, hz = moment.rng, moment.gain("roll"), moment.rng.uniform(9, 22)
    noise = band_noise(rng, PIECES, 400, 3500)
    bumps = np.maximum(0, np.sin(TURN * hz * EVENT_TIME + rng.uniform(0, TURN, (PIECES, 1)))) ** 2
    out += gain * noise * bumps.astype(np.float32) * (rng.random((PIECES, 1)) < 0.7)


def squeals(moment: Moment, out: Floats) -> None:
    """Brakes and flanges: up to three inharmonic tones with vibrato, in half of the segments."""
    rng, gain, hz = moment.rng, moment.gain("squeal"), moment.rng.uniform(1800, 5200)
    tones = [(level, ratio * hz) for level, ratio in ((1, 1), (0.5, 1.51), (0.3, 2.02)) if ratio * hz < 10_500]
    for piece in np.flatnonzero(rng.random(PIECES) < 0.5):
        count = int(EVENT_RATE * rng.uniform(0.2, 0.9))
        time = np.arange(count) / EVENT_RATE
        vibrato = TURN * time * (1 + 0.004 * np.sin(TURN * 5 * time))
        partials = (level * np.sin(tone * vibrato + rng.uniform(0, 6)) for level, tone in tones)
        sound = sum(partials, np.zeros(count))
        sound = (sound * np.hanning(count)).astype(np.float32)
        add_around(out[piece], sound, int(rng.integers(EVENT_RATE)), gain * _level(rng, 3))


# In the order their random numbers are drawn.
EVENTS: dict[str, Callable[[Moment, Floats], None]] = {
    "babble": babble,
    "step": steps,
    "bird": birds,
    "clack": rail_joints,
    "pa": announcement,
    "beep": beeps,
    "music": music,
    "roll": rolling,
    "squeal": squeals,
}


def _pick(rng: np.random.Generator, atoms: Sequence[Floats], count: int) -> list[Floats]:
    """A random selection of a collection."""
    return [atoms[int(i)] for i in rng.integers(len(atoms), size=count)]


def _scatter(
    rng: np.random.Generator, out: Floats, kit: Sequence[Floats], rate: float, gain: float, spread_db: float
) -> None:
    """Add sounds of a kit at random times, `rate` per second."""
    for segment in out:
        for _ in range(rng.poisson(rate)):
            _add_one(rng, segment, kit, gain, spread_db)


def _add_one(rng: np.random.Generator, segment: Floats, kit: Sequence[Floats], gain: float, spread_db: float) -> None:
    """Add one sound of a kit at a random time."""
    atom = kit[int(rng.integers(len(kit)))]
    add_around(segment, atom, int(rng.integers(EVENT_RATE)), gain * _level(rng, spread_db))


def _level(rng: np.random.Generator, spread_db: float) -> float:
    """A random gain of one event relative to its layer."""
    return float(amplitude(rng.normal(0, spread_db)))
