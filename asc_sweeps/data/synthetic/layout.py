"""The recordings of a generated data set: their locations, devices and file names.

No name or number depends on the plan's size, so a larger plan contains every smaller one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from asc_sweeps.data.labels import CITIES, DEVICES, PIECES, SCENES, SEEN_DEVICES

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = ("train", "test")

# Numbers are assigned in fixed blocks, so that they do not depend on the number of locations.
FIRST_TEST_LOCATION = 5_000  # smaller location numbers are train, from here on test
MAX_LOCATIONS = FIRST_TEST_LOCATION // len(SCENES)  # per scene and part
MAX_RECORDINGS = 40  # per location

# TAU has 7,500 train segments of each device b..s6 to 102,150 of device a, about one in fourteen.
OTHER_DEVICE_EVERY = 14


@dataclass(frozen=True)
class DatasetPlan:
    """The size of a generated data set; `locations` are counted per scene, `recordings` per location."""

    name: str
    train_locations: int
    test_locations: int
    recordings: int
    scenes: tuple[str, ...] = SCENES

    def __post_init__(self) -> None:
        """Check that the numbers fit into their blocks."""
        if not all(0 <= locations <= MAX_LOCATIONS for locations in (self.train_locations, self.test_locations)):
            raise ValueError(f"plan {self.name!r}: 0 to {MAX_LOCATIONS} locations per scene and part")
        if not 1 <= self.recordings <= MAX_RECORDINGS:
            raise ValueError(f"plan {self.name!r}: 1 to {MAX_RECORDINGS} recordings per location")


PLANS = {
    plan.name: plan
    for plan in (
        DatasetPlan("tiny", train_locations=3, test_locations=1, recordings=1),  # tests
        DatasetPlan("small", train_locations=12, test_locations=9, recordings=1),  # trying things out
        DatasetPlan("medium", train_locations=30, test_locations=27, recordings=2),  # comparing systems
    )
}


@dataclass(frozen=True)
class SegmentFile:
    """A file of 1 s: its row in `meta.csv`, and the list that contains it (None: neither)."""

    filename: str
    scene_label: str
    identifier: str
    source_label: str
    part: Part | None


@dataclass(frozen=True)
class Recording:
    """A recording of 10 s; `location` counts within scene and part, `index` within the location."""

    scene: int
    part: Part
    location: int
    index: int

    @property
    def key(self) -> tuple[int, int, int, int]:
        """The key of its random numbers."""
        return self.scene, PARTS.index(self.part), self.location, self.index

    @property
    def city(self) -> int:
        """Index into CITIES; the first locations of the ten scenes cover all ten cities, in either part."""
        return (self.scene + 3 * self.location + 5 * PARTS.index(self.part)) % len(CITIES)

    @property
    def location_number(self) -> int:
        """Unique across scenes and parts."""
        first = FIRST_TEST_LOCATION if self.part == "test" else 0
        return first + self.location * len(SCENES) + self.scene

    @property
    def number(self) -> int:
        """Unique across the data set."""
        return self.location_number * MAX_RECORDINGS + self.index

    @property
    def identifier(self) -> str:
        """City and location, as in `meta.csv`."""
        return f"{CITIES[self.city]}-{self.location_number}"

    @property
    def devices(self) -> tuple[str, ...]:
        """Two devices in rotation at a test location; at a train location device a, and the others in rotation.

        The certainty of an accuracy depends on the number of locations, so test has many of them with few devices each. Nine
        consecutive locations of a scene have every device twice; the first locations of the ten scenes have all nine.
        """
        if self.part == "test":
            first = 2 * self.location + self.scene
            return tuple(DEVICES[j] for j in sorted((first + k) % len(DEVICES) for k in range(2)))
        turn = self.scene + 11 * self.location + 5 * self.index
        others = (d for j, d in enumerate(DEVICES) if j > 0 and (turn + 3 * j) % OTHER_DEVICE_EVERY == 0)
        return (DEVICES[0], *others)

    def filename(self, device: str, piece: int) -> str:
        """Path below the data set's folder.

        >>> Recording(scene=3, part="train", location=0, index=0).filename("a", 9)
        'audio/metro_station-london-3-120-9-a.wav'
        """
        return f"audio/{SCENES[self.scene]}-{self.identifier}-{self.number}-{piece}-{device}.wav"

    def segments(self) -> Iterator[SegmentFile]:
        """Its files, by device and piece. As in TAU, files of unseen devices at train locations are in neither list."""
        for device in self.devices:
            part = self.part if self.part == "test" or device in SEEN_DEVICES else None
            for piece in range(PIECES):
                yield SegmentFile(self.filename(device, piece), SCENES[self.scene], self.identifier, device, part)


def plan_recordings(plan: DatasetPlan) -> list[Recording]:
    """All recordings of a plan, in the order of the lists: by scene, city, then number."""
    sizes: dict[Part, int] = {"train": plan.train_locations, "test": plan.test_locations}
    recordings = [
        Recording(SCENES.index(scene), part, location, index)
        for scene in plan.scenes
        for part in PARTS
        for location in range(sizes[part])
        for index in range(plan.recordings)
    ]
    return sorted(recordings, key=lambda r: (r.scene, r.city, r.number))
