"""Properties shared by the recordings of one place, and by the ten segments of one recording, drawn from the table of scenes.

Since the segments of a recording share properties, longer clips carry more evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.synthetic.atoms import Atoms
from asc_sweeps.data.synthetic.axes import Draw, Floats, amplitude, bump, generator
from asc_sweeps.data.synthetic.layout import Recording
from asc_sweeps.data.synthetic.scenes import CITY_EQUALIZER_DB, EQUALIZER_DB, KNOBS, SILENCE_DB

_EQUALIZER_BANDS = np.stack([bump(hz, 0.7) for hz in (63, 125, 250, 500, 1000, 2000, 4000, 8000, 14000)])
_BEEPS_HZ = (620.0, 880.0, 1040.0, 1320.0, 2050.0)
_SOMETIMES = ("pass", "bird", "pa", "beep", "music", "roll", "squeal")  # layers that occur with probability `<layer>_p`

Knobs = dict[str, float]


@dataclass(frozen=True)
class Place:
    """Properties of one location; `equalizer` is in dB on BANDS, `harmonics` are those of an engine."""

    knobs: Knobs
    equalizer: Floats
    harmonics: Floats
    beep_hz: float


@dataclass(frozen=True)
class Moment:
    """Properties of one recording, and the generator of its segments."""

    place: Place
    knobs: Knobs
    absent: frozenset[str]
    atoms: Atoms
    rng: np.random.Generator

    def has(self, layer: str) -> bool:
        """Whether the recording has the layer."""
        return self.knobs[f"{layer}_db"] > SILENCE_DB and layer not in self.absent

    def gain(self, layer: str, extra_db: float = 0.0) -> float:
        """The layer's level as an amplitude factor."""
        return float(amplitude(self.knobs[f"{layer}_db"] + extra_db))


def draw_place(seed: int, recording: Recording) -> Place:
    """The place of a recording; depends only on scene, part and location."""
    rng = generator(seed, Draw.LOCATION, *recording.key[:3])
    city_rng = generator(seed, Draw.CITY, recording.city)
    knobs = {}
    for knob, (deviation, means) in KNOBS.items():
        mean = means[SCENES[recording.scene]]
        if knob.endswith("_p"):
            # A layer that never occurs in the scene stays absent.
            knobs[knob] = float(np.clip(mean + deviation * rng.normal(), 0, 1)) if mean > 0 else 0.0
        else:
            knobs[knob] = mean + deviation * rng.normal() if mean > SILENCE_DB else mean
    own = rng.normal(0, EQUALIZER_DB, len(_EQUALIZER_BANDS))
    shared = city_rng.normal(0, CITY_EQUALIZER_DB, len(_EQUALIZER_BANDS))
    return Place(
        knobs=knobs,
        equalizer=((own + shared) @ _EQUALIZER_BANDS).astype(np.float32),
        harmonics=np.abs(rng.normal(1, 0.4, 16)).astype(np.float32),
        beep_hz=float(rng.choice(_BEEPS_HZ) * 2 ** rng.normal(0, 0.1)),
    )


def draw_moment(place: Place, atoms: Atoms, rng: np.random.Generator) -> Moment:
    """A recording at a place: its knobs and its occasional layers."""
    knobs = _vary(place.knobs, rng)
    absent = frozenset(layer for layer in _SOMETIMES if rng.random() >= knobs[f"{layer}_p"])
    return Moment(place, knobs, absent, atoms, rng)


def _vary(knobs: Knobs, rng: np.random.Generator) -> Knobs:
    """The knobs of a recording; they vary half as much within a place as between places."""
    return {
        knob: value + 0.5 * KNOBS[knob][0] * rng.normal() if value > SILENCE_DB and not knob.endswith("_p") else value
        for knob, value in knobs.items()
    }
