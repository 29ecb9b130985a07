"""Stored predictions of a trial for each test segment, so that later questions need no network."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from asc_sweeps.workspace.paths import Workspace


@dataclass(frozen=True)
class Predictions:
    """Predictions of one trial, segment by segment, in the order of the test list."""

    filenames: np.ndarray
    """`audio/<scene>-<city>-<location>-<recording>-<segment>-<device>.wav`."""
    scenes: np.ndarray
    """True scene, as an index into SCENES."""
    log_probability: np.ndarray
    """Natural logarithm, shape [segments, scenes]."""

    @property
    def log_loss(self) -> np.ndarray:
        """Log loss of each segment."""
        return -self.log_probability[np.arange(len(self.scenes)), self.scenes].astype(float)

    @property
    def correct(self) -> np.ndarray:
        """Whether each segment was recognised."""
        return self.log_probability.argmax(axis=1) == self.scenes

    @cached_property
    def devices(self) -> np.ndarray:
        """Device of each segment."""
        return np.array([_parts(name)[-1] for name in self.filenames.tolist()])

    @cached_property
    def device_groups(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The distinct devices, sorted; the device of each segment as an index into them; the segments of each."""
        return np.unique(self.devices, return_inverse=True, return_counts=True)

    @cached_property
    def places(self) -> np.ndarray:
        """Recording place of each segment (scene and identifier of `meta.csv`); segments of one place are alike."""
        return np.array(["-".join(_parts(name)[:3]) for name in self.filenames.tolist()])

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self.places, return_inverse=True)

    @property
    def place_names(self) -> np.ndarray:
        """The distinct places, sorted."""
        return self._places[0]

    @property
    def place_numbers(self) -> np.ndarray:
        """Place of each segment as an index into `place_names`."""
        return self._places[1]


def load_predictions(workspace: Workspace, signature: str) -> Predictions | None:
    """The stored predictions of a finished trial, None if missing or unreadable."""
    path = workspace.trial(signature) / "test_predictions.npz"
    workspace.storage.fetch(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Predictions(stored["filename"], stored["scene"], stored["log_probability"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


@cache  # trials predict the same segments
def _parts(filename: str) -> list[str]:
    return filename.rpartition("/")[2].removesuffix(".wav").split("-")
