"""The sound of a recording before any device: a bed of noise, events in their room, and machines.

All levels are relative to the bed's RMS until `render` scales the sum to dBFS.
"""

from __future__ import annotations

import math

import numpy as np

from asc_sweeps.data.labels import PIECES
from asc_sweeps.data.synthetic.atoms import draw_atoms
from asc_sweeps.data.synthetic.axes import (
    BANDS,
    EVENT_BINS,
    EVENT_RATE,
    EVENT_TIME,
    KNOT_TIME,
    KNOTS,
    LOG2_HZ,
    SPECTRUM_BINS,
    TURN,
    Draw,
    Floats,
    Spectrum,
    amplitude,
    band_noise,
    bump,
    generator,
    noise_spectrum,
    to_time,
    upsample,
)
from asc_sweeps.data.synthetic.events import add_events
from asc_sweeps.data.synthetic.layout import Recording
from asc_sweeps.data.synthetic.places import Moment, draw_moment, draw_place
from asc_sweeps.data.synthetic.scenes import SILENCE_DB
from asc_sweeps.data.wav import WAV_RATE

# Parts of the bed's spectrum in dB: bumps, high and low cut, leaves in the wind.
_LOW, _MID, _HIGH = bump(85, 0.8), bump(600, 1.0), bump(4500, 1.0)
_CUTS_DB = -10 * np.log10(1 + (30.0 / 2**BANDS) ** 4) - 10 * np.log10(1 + (2**BANDS / 13_000.0) ** 4)
_RUSTLE_DB = 12.0 * bump(5200, 1.0) - 12


def render_recording(recording: Recording, seed: int) -> Floats:
    """The sound of a recording's ten segments, full scale = 1. Shape: -> [10, 44100]."""
    rng = generator(seed, Draw.RECORDING, *recording.key)
    return render(draw_moment(draw_place(seed, recording), draw_atoms(seed), rng))


def render(moment: Moment) -> Floats:
    """The sound of a moment. Shape: -> [10, 44100]."""
    bed = _bed(moment)
    events = np.zeros((PIECES, EVENT_RATE), np.float32)
    add_events(moment, events)
    spectrum = _through_room(moment, np.fft.rfft(events, axis=1))
    _add_machines(moment, spectrum)
    full = np.zeros((PIECES, SPECTRUM_BINS), np.complex64)
    full[:, : EVENT_BINS - 1] = 2.0 * spectrum[:, :-1]  # twice the samples double the bins
    return (bed + to_time(full, WAV_RATE)) * amplitude(moment.knobs["bed_db"])


def _bed(moment: Moment) -> Floats:
    """Slowly fluctuating noise with the place's smooth spectrum. Shape: -> [10, 44100]."""
    knobs, rng = moment.knobs, moment.rng
    level = knobs["tilt"] * (BANDS - math.log2(1000)) + moment.place.equalizer + _CUTS_DB
    level = level + knobs["low_db"] * _LOW + knobs["mid_db"] * _MID + knobs["high_db"] * _HIGH
    if knobs["rustle_db"] > SILENCE_DB:
        leaves = knobs["rustle_db"] + _RUSTLE_DB + 2 * knobs["tilt"]
        level = 10 * np.log10(10 ** (level / 10) + 10 ** (leaves / 10))
    magnitude = amplitude(np.interp(LOG2_HZ, BANDS, level))
    magnitude[0] = 0
    bed = to_time(noise_spectrum(rng, PIECES, magnitude), WAV_RATE)
    swells_hz = rng.uniform(0.2, 5.0, (PIECES, 4, 1)).astype(np.float32)
    phases = rng.uniform(0, TURN, (PIECES, 4, 1)).astype(np.float32)
    swell_db = 0.7 * max(knobs["gust"], 0) * np.sin(TURN * swells_hz * KNOT_TIME + phases).sum(1)
    return bed * upsample(amplitude(swell_db), WAV_RATE // KNOTS)


def _through_room(moment: Moment, dry: Spectrum) -> Spectrum:
    """Adds reverberation: noise that decays within `rt60`, the same for all ten segments. Shape: [10, 11026] -> same."""
    decay = min(2.0 ** moment.knobs["rt60"], 4.0)  # s to fall by 60 dB (exp(-6.91))
    if decay <= 0.06:
        return dry
    response = moment.rng.standard_normal(EVENT_RATE, dtype=np.float32) * np.exp(-6.91 * EVENT_TIME / decay)
    hz = np.arange(EVENT_BINS, dtype=np.float32)
    echo = np.fft.rfft(response) / np.sqrt(1 + (hz / 3500) ** 2) / math.sqrt(float(np.sum(response**2)))
    return dry * (1 + moment.gain("wet", 3) * echo)


def _add_machines(moment: Moment, spectrum: Spectrum) -> None:
    """Add sources that the room does not color. Shape: [10, 11026]."""
    if moment.has("pass"):
        spectrum += np.fft.rfft(_passing(moment), axis=1)
    # Low sounds are made at a fraction of the event rate; their spectrum is the low end, scaled accordingly.
    if moment.has("eng"):
        low = np.fft.rfft(_engine(moment, EVENT_TIME[::5]), axis=1)
        spectrum[:, : low.shape[1]] += 5 * low
    if moment.has("whine"):
        low = np.fft.rfft(_whine(moment, EVENT_TIME[::4]), axis=1)
        spectrum[:, : low.shape[1]] += 4 * low
    if moment.has("hum"):
        spectrum += np.fft.rfft(_hum(moment))


def _passing(moment: Moment) -> Floats:
    """Passing vehicles: noise that rises and falls around an instant that is often outside of the segment."""
    rng = moment.rng
    noise = band_noise(rng, PIECES, 150, 2600)
    nearest, width = rng.uniform(-1.5, 2.5, (PIECES, 1)), rng.uniform(0.4, 1.2, (PIECES, 1))  # s
    level = moment.knobs["pass_db"] + rng.normal(0, 4, (PIECES, 1))
    level = level - 10 * np.log10(1 + ((KNOT_TIME - nearest) / width) ** 2)
    return noise * upsample(amplitude(np.maximum(level, -40)), EVENT_RATE // KNOTS)


def _engine(moment: Moment, time: Floats) -> Floats:
    """Ten harmonics of a fluctuating rotation speed, weighted by the place."""
    rng = moment.rng
    speed_hz = 2.0 ** moment.knobs["eng_f0"]
    waver = rng.normal(0, 0.01, (PIECES, 1)) * np.sin(
        TURN * rng.uniform(0.5, 2, (PIECES, 1)) * time + rng.uniform(0, TURN, (PIECES, 1))
    )
    hz = speed_hz * (1 + rng.normal(0, 0.04, (PIECES, 1)) + waver)
    turn = np.exp(1j * TURN * np.cumsum(hz, axis=1) * time[1]).astype(np.complex64)
    harmonics = np.zeros_like(turn)
    for h in range(10, 0, -1):  # Horner: harmonic h ends up multiplied by turn**h
        harmonics = (harmonics + moment.place.harmonics[h] / np.float32(h**0.7)) * turn
    sound = harmonics.imag
    return sound * np.float32(moment.gain("eng", 3) / np.sqrt((sound**2).mean()))


def _whine(moment: Moment, time: Floats) -> Floats:
    """An electric motor or gear: a gliding tone, with its octave if that is low enough."""
    rng = moment.rng
    base_hz = float(np.clip(2.0 ** moment.knobs["whine_f"], 120, 2100))
    octaves = rng.normal(0, 0.25, (PIECES, 1)) * (time - 0.5) + rng.normal(0, 0.15, (PIECES, 1))
    phase = TURN * np.cumsum(base_hz * 2**octaves, axis=1) * time[1]
    sound = np.sin(phase) + (0.4 * np.sin(2 * phase) if base_hz < 1200 else 0)
    return sound.astype(np.float32) * np.float32(moment.gain("whine", 3))


def _hum(moment: Moment) -> Floats:
    """Mains hum: 100 Hz and two harmonics, the same in all ten segments. Shape: -> [22050]."""
    tones = ((1.0, 100), (0.5, 200), (0.3, 300))
    partials = (level * np.sin(TURN * hz * EVENT_TIME + moment.rng.uniform(0, TURN)) for level, hz in tones)
    sound = sum(partials, np.zeros_like(EVENT_TIME))
    return sound.astype(np.float32) * np.float32(moment.gain("hum", 3))
