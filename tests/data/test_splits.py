"""What the splits promise: validation shares no place with training, depends on its seed alone; test is the official list."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.splits import largest_device, split_rows

SEEDS = range(12)
SPLITS = ("train", "validation", "test")


def make_prepared(places: dict[str, int], seed: int = 0) -> Prepared:
    """Labels of segments in so many training places a scene, 1 to 30 each, and of some in test; in a drawn order."""
    generator = np.random.default_rng(seed)
    rows = []
    for scene, count in places.items():
        for place in range(count):
            location = f"{('paris', 'lyon')[place % 2]}-{SCENES.index(scene) * 100 + place}"
            rows += [(scene, location, "train", device) for device in generator.choice(6, generator.integers(1, 31))]
        rows += [(scene, f"milan-{5000 + SCENES.index(scene)}", "test", device) for device in range(9)]
    rows = [rows[i] for i in generator.permutation(len(rows))]
    scenes, locations, splits, devices = zip(*rows, strict=True)
    return Prepared(
        folder=Path("nowhere"),
        name="",
        content="",
        fingerprint="",
        generated=True,
        filenames=tuple(map(str, range(len(rows)))),
        locations=np.array(locations),
        recordings=np.array(locations),
        splits=np.array(splits),
        scenes=np.array([SCENES.index(scene) for scene in scenes]),
        devices=np.array(devices),
    )


def shuffled(data: Prepared, seed: int) -> Prepared:
    order = np.random.default_rng(seed).permutation(len(data.filenames))
    columns = {f: getattr(data, f)[order] for f in ("locations", "recordings", "splits", "scenes", "devices")}
    return dataclasses.replace(data, filenames=tuple(data.filenames[i] for i in order), **columns)


def names(data: Prepared, rows: np.ndarray) -> set[str]:
    return {data.filenames[row] for row in rows}


MANY = {scene: 3 + 4 * number for number, scene in enumerate(SCENES)}  # 3 to 39 places


@pytest.fixture(params=["generated", "many places"])
def data(request: pytest.FixtureRequest, tiny_prepared: Prepared) -> Prepared:
    return tiny_prepared if request.param == "generated" else make_prepared(MANY)


@pytest.mark.parametrize("seed", SEEDS)
def test_validation_shares_no_location_and_no_recording_with_training(data: Prepared, seed: int) -> None:
    rows = split_rows(data, DataConfig(split_seed=seed))
    assert tuple(rows) == SPLITS
    for labels in (data.locations, data.recordings):
        train, validation, test = (set(labels[rows[split]]) for split in SPLITS)
        assert not train & validation
        assert not train & test
        assert not validation & test


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_every_listed_segment_is_in_one_split_and_test_is_the_official_list(data: Prepared, share: float) -> None:
    rows = split_rows(data, DataConfig(validation_share=share))
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(data.filenames)))
    assert rows["test"].tolist() == np.flatnonzero(data.splits == "test").tolist()


def test_no_share_takes_no_validation(data: Prepared) -> None:
    rows = split_rows(data, DataConfig(validation_share=0))
    assert len(rows["validation"]) == 0
    assert rows["train"].tolist() == np.flatnonzero(data.splits == "train").tolist()


@pytest.mark.parametrize("share", [0.01, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 7])
def test_validation_takes_its_share_of_the_locations_of_each_scene(share: float, seed: int) -> None:
    data = make_prepared(MANY, seed)
    rows = split_rows(data, DataConfig(validation_share=share, split_seed=seed))
    for number, scene in enumerate(SCENES):
        held_out = {data.locations[row] for row in rows["validation"] if data.scenes[row] == number}
        assert len(held_out) == max(1, round(share * MANY[scene]))
        assert any(data.scenes[row] == number for row in rows["train"])


def test_a_scene_with_one_location_keeps_it_for_training_and_one_with_two_gives_one() -> None:
    for seed in SEEDS:
        data = make_prepared({"bus": 1, "park": 2, "tram": 3}, seed)
        rows = split_rows(data, DataConfig(split_seed=seed))
        held_out = Counter(SCENES[data.scenes[row]] for row in rows["validation"])
        assert set(held_out) == {"park", "tram"}
        assert len(set(data.locations[rows["validation"]])) == 2


@pytest.mark.parametrize(("places", "share", "expected"), [(6, 0.3, 2), (2, 0.5, 1)])
def test_a_place_of_two_scenes_is_drawn_once_and_never_stands_on_both_sides(
    places: int, share: float, expected: int
) -> None:
    for seed in SEEDS:
        data = make_prepared({"bus": places, "tram": places}, seed)
        locations = np.array([location.replace("-90", "-10") for location in data.locations])  # tram's become bus's
        data = dataclasses.replace(data, locations=locations)
        rows = split_rows(data, DataConfig(validation_share=share, split_seed=seed))
        train, validation = (set(locations[rows[split]]) for split in ("train", "validation"))
        assert not train & validation
        assert (len(train), len(validation)) == (places - expected, expected)


def test_the_split_depends_on_its_seed_and_not_on_the_order_of_rows(data: Prepared) -> None:
    splits = set()
    for seed in SEEDS:
        config = DataConfig(split_seed=seed)
        expected = {split: names(data, rows) for split, rows in split_rows(data, config).items()}
        other = shuffled(data, seed + 100)
        assert {split: names(other, rows) for split, rows in split_rows(other, config).items()} == expected
        splits.add(frozenset(expected["validation"]))
    assert len(splits) > len(SEEDS) / 2


def test_the_split_of_one_scene_does_not_depend_on_the_other_scenes() -> None:
    alone, together = make_prepared({"park": 9}), make_prepared({"airport": 5, "park": 9, "tram": 4})
    held_out = [
        {data.locations[row] for row in split_rows(data, DataConfig())["validation"] if data.scenes[row] == 4}
        for data in (alone, together)
    ]
    assert held_out[0] == held_out[1]


def test_the_largest_device_is_the_one_with_the_most_segments(tiny_prepared: Prepared) -> None:
    rows = split_rows(tiny_prepared, DataConfig())
    assert largest_device(tiny_prepared, rows["train"]) == "a"
    few_of_a = np.flatnonzero(tiny_prepared.devices == 0)[:3]
    more_of_s3 = np.flatnonzero(tiny_prepared.devices == DEVICES.index("s3"))[:4]
    assert largest_device(tiny_prepared, np.concatenate([few_of_a, more_of_s3])) == "s3"
