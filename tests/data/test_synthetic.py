"""What generated data promise: TAU's layout to the letter, its difficulties, the same bytes every time.

And that they are never taken for TAU, nor a half-written folder for a whole one.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_sweeps.data.catalog import open_dataset
from asc_sweeps.data.labels import CITIES, DEVICES, SCENES, SEEN_DEVICES, UNSEEN_DEVICES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import GENERATED_STAMP, PLANS, DatasetPlan, plan_recordings, synthesize
from asc_sweeps.data.synthetic.layout import Recording
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.slow

SEED = 3
MINI = DatasetPlan("mini", train_locations=1, test_locations=5, recordings=1, scenes=("bus",))  # 110 segments and a few
ONE_SCENE = DatasetPlan("small", train_locations=1, test_locations=1, recordings=1, scenes=("bus",))
NAME = re.compile(
    rf"audio/(?P<scene>{'|'.join(SCENES)})-(?P<city>{'|'.join(CITIES)})-(?P<location>\d+)-(?P<recording>\d+)"
    rf"-(?P<piece>\d)-(?P<device>{'|'.join(DEVICES)})\.wav"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny plan, written once."""
    folder = tmp_path_factory.mktemp("generated") / "tiny"
    synthesize(folder, "tiny", SEED)
    return folder


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One scene, six places, all nine devices, written once."""
    folder = tmp_path_factory.mktemp("generated") / "mini"
    synthesize(folder, MINI, SEED, workers=1)
    return folder


def rows(folder: Path, name: str) -> list[list[str]]:
    """A list's rows without its header."""
    return [line.split("\t") for line in (folder / name).read_text().splitlines()[1:]]


def listed(folder: Path, part: str) -> list[dict[str, str]]:
    """The parts of the file names in one list of the split."""
    return [NAME.fullmatch(row[0]).groupdict() for row in rows(folder, f"evaluation_setup/fold1_{part}.csv")]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


# Layout


def test_every_file_is_one_second_of_24_bit_mono_at_44100_hz(tiny: Path) -> None:
    for file in (tiny / "audio").iterdir():
        info = soundfile.info(file)
        assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_24", 1, 44_100)
        assert info.frames == 44_100
        assert file.stat().st_size == 132_344


def test_lists_are_tab_separated_with_the_headers_of_tau_and_lf_line_ends(tiny: Path) -> None:
    for name, header in {
        "meta.csv": b"filename\tscene_label\tidentifier\tsource_label\n",
        "evaluation_setup/fold1_train.csv": b"filename\tscene_label\n",
        "evaluation_setup/fold1_test.csv": b"filename\n",
        "evaluation_setup/fold1_evaluate.csv": b"filename\tscene_label\n",
    }.items():
        text = (tiny / name).read_bytes()
        assert text.startswith(header)
        assert text.endswith(b"\n")
        assert b"\r" not in text
        assert {line.count(b"\t") for line in text.splitlines()} == {header.count(b"\t")}


def test_meta_lists_exactly_the_files_there_are_and_says_what_their_names_say(tiny: Path) -> None:
    meta = rows(tiny, "meta.csv")
    assert sorted(row[0] for row in meta) == sorted(f"audio/{file.name}" for file in (tiny / "audio").iterdir())
    for filename, scene, identifier, device in meta:
        parts = NAME.fullmatch(filename)
        assert parts is not None, filename
        assert (scene, device) == (parts["scene"], parts["device"])
        assert identifier == f"{parts['city']}-{parts['location']}"


def test_evaluate_is_test_with_labels_ordered_by_recording_and_device(tiny: Path) -> None:
    test, evaluate = (rows(tiny, f"evaluation_setup/fold1_{part}.csv") for part in ("test", "evaluate"))
    assert [row[0] for row in test] == [row[0] for row in evaluate]
    for part in ("train", "evaluate"):
        assert all(
            filename.startswith(f"audio/{s}-") for filename, s in rows(tiny, f"evaluation_setup/fold1_{part}.csv")
        )
    order = [(p["scene"], p["city"], int(p["recording"]), DEVICES.index(p["device"])) for p in listed(tiny, "test")]
    assert order == sorted(order)


def test_every_recording_has_ten_pieces_on_each_device_that_recorded_it(tiny: Path) -> None:
    pieces = defaultdict(list)
    for filename, *_ in rows(tiny, "meta.csv"):
        parts = NAME.fullmatch(filename)
        pieces[parts["recording"], parts["device"]].append(int(parts["piece"]))
    assert all(found == list(range(10)) for found in pieces.values())


# Places and devices


@pytest.mark.parametrize("plan", PLANS)
def test_train_and_test_share_no_location(plan: str) -> None:
    segments = [segment for recording in plan_recordings(PLANS[plan]) for segment in recording.segments()]
    train, test = ({s.identifier.split("-")[1] for s in segments if s.part == part} for part in ("train", "test"))
    assert train
    assert test
    assert not train & test


@pytest.mark.parametrize("plan", PLANS)
def test_location_and_recording_numbers_are_unique_and_every_city_occurs(plan: str) -> None:
    recordings = plan_recordings(PLANS[plan])
    assert len({r.number for r in recordings}) == len(recordings)
    assert len({r.location_number for r in recordings}) == len({r.key[:3] for r in recordings})
    assert {CITIES[r.city] for r in recordings if r.part == "train"} == set(CITIES)
    assert {CITIES[r.city] for r in recordings if r.part == "test"} == set(CITIES)


@pytest.mark.parametrize("scene", SCENES)
def test_any_nine_test_locations_of_a_scene_in_a_row_hear_each_of_the_nine_devices_twice(scene: str) -> None:
    plan = DatasetPlan("long", train_locations=0, test_locations=40, recordings=1, scenes=(scene,))
    devices_at = {recording.location: recording.devices for recording in plan_recordings(plan)}
    for first in range(40 - 9 + 1):
        devices = [device for location in range(first, first + 9) for device in devices_at[location]]
        assert sorted(devices) == sorted(2 * DEVICES)


@pytest.mark.parametrize(("plan", "places"), [("tiny", 10), ("small", 90), ("medium", 270)])
def test_test_has_many_places_heard_by_two_devices_each_and_all_nine_in_all(plan: str, places: int) -> None:
    devices = defaultdict(set)
    for recording in plan_recordings(PLANS[plan]):
        if recording.part == "test":
            devices[recording.location_number] |= set(recording.devices)
    assert len(devices) == places
    assert all(len(its) == 2 for its in devices.values())
    assert set().union(*devices.values()) == set(DEVICES)


def test_test_segments_are_shared_evenly_by_scenes_and_devices() -> None:
    count = Counter(
        (segment.scene_label, segment.source_label)
        for recording in plan_recordings(PLANS["small"])
        for segment in recording.segments()
        if segment.part == "test"
    )
    assert count == dict.fromkeys(itertools.product(SCENES, DEVICES), 20)  # 1,800 in all


@pytest.mark.parametrize("plan", PLANS)
def test_device_a_dominates_train_and_every_seen_device_occurs_there(plan: str) -> None:
    train = [s.source_label for r in plan_recordings(PLANS[plan]) for s in r.segments() if s.part == "train"]
    assert train.count("a") / len(train) == pytest.approx(0.7316, abs=0.01)
    for device in SEEN_DEVICES[1:]:
        assert train.count(device) / train.count("a") == pytest.approx(0.0734, abs=0.03)


def test_unseen_devices_are_never_in_train_but_some_of_their_segments_are_in_neither_list(tiny: Path) -> None:
    assert not {parts["device"] for parts in listed(tiny, "train")} & set(UNSEEN_DEVICES)
    in_lists = {row[0] for part in ("train", "test") for row in rows(tiny, f"evaluation_setup/fold1_{part}.csv")}
    neither = [row[3] for row in rows(tiny, "meta.csv") if row[0] not in in_lists]
    assert set(neither) == set(UNSEEN_DEVICES)


# Sound


def test_no_segment_reaches_full_scale_or_is_silent(tiny: Path) -> None:
    for file in sorted((tiny / "audio").iterdir())[::7]:
        sound = soundfile.read(file)[0]
        assert np.abs(sound).max() < 0.999
        assert np.sqrt(np.mean(sound**2)) > 1e-4


def test_pieces_of_one_recording_are_nearer_to_each_other_than_to_other_places_of_the_scene(tiny: Path) -> None:
    recordings = defaultdict(list)
    for parts, row in zip(listed(tiny, "train"), rows(tiny, "evaluation_setup/fold1_train.csv"), strict=True):
        if parts["device"] == "a":
            power = np.abs(np.fft.rfft(soundfile.read(tiny / row[0])[0])) ** 2
            octaves = np.add.reduceat(power, [2**k for k in range(5, 14)])
            recordings[parts["scene"], parts["recording"]].append(10 * np.log10(octaves))
    means = {key: np.mean(spectra, axis=0) for key, spectra in recordings.items()}
    within = np.mean([np.std(spectra, axis=0) for spectra in recordings.values()])
    between = np.mean([np.std([m for (s, _), m in means.items() if s == scene], axis=0) for scene in SCENES])
    assert within < between


def test_the_scene_of_a_new_location_is_recognized_far_above_chance(tiny: Path) -> None:
    spectra = defaultdict(list)
    for parts, row in zip(listed(tiny, "train"), rows(tiny, "evaluation_setup/fold1_train.csv"), strict=True):
        if parts["device"] == "a":
            power = np.abs(np.fft.rfft(soundfile.read(tiny / row[0])[0])) ** 2
            spectra[parts["scene"], parts["location"]].append(
                np.log10(np.add.reduceat(power, [2**k for k in range(5, 14)]))
            )
    hits = []
    for (truth, new), its in spectra.items():
        known = [[s for (scene, at), s in spectra.items() if scene == name and at != new] for name in SCENES]
        centers = np.stack([np.mean(np.concatenate(of_scene), axis=0) for of_scene in known])
        hits += [SCENES[np.argmin(np.linalg.norm(centers - spectrum, axis=1))] == truth for spectrum in its]
    assert np.mean(hits) > 0.3  # chance is 0.1; nearest of ten mean spectra, of the two or three other places


# The same bytes


def test_two_runs_write_the_same_bytes_with_one_process_or_two(mini: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "again", MINI, SEED, workers=2)
    assert contents(tmp_path / "again") == contents(mini)


def test_another_seed_gives_other_sound_under_the_same_names(mini: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "other", MINI, SEED + 1, workers=1)
    ours, other = contents(mini), contents(tmp_path / "other")
    assert ours.keys() == other.keys()
    assert not [name for name in ours if name.startswith("audio") and ours[name] == other[name]]


def test_a_bigger_plan_contains_the_smaller_one_byte_for_byte(mini: Path, tmp_path: Path) -> None:
    bigger = DatasetPlan("bigger", train_locations=2, test_locations=6, recordings=2, scenes=("airport", "bus"))
    synthesize(tmp_path / "bigger", bigger, SEED, workers=1)
    ours, theirs = contents(mini), contents(tmp_path / "bigger")
    audio = {name: sound for name, sound in ours.items() if name.startswith("audio")}
    assert len(audio) < sum(name.startswith("audio") for name in theirs)
    assert all(theirs[name] == sound for name, sound in audio.items())


def test_a_bigger_plan_keeps_each_file_in_the_list_it_was_in() -> None:
    smaller: set = set()
    for plan in PLANS.values():  # tiny, small, medium
        segments = {segment for recording in plan_recordings(plan) for segment in recording.segments()}
        assert smaller < segments
        smaller = segments


# Never to be taken for TAU, and a folder is whole or not there


def test_the_folder_is_stamped_as_generated_for_programs_and_people(tiny: Path) -> None:
    stamp = json.loads((tiny / GENERATED_STAMP).read_text())
    assert stamp["generated"] is True
    assert (stamp["generator"], stamp["version"]) == ("asc_sweeps data synthesize", 2)
    assert (stamp["plan"], stamp["seed"]) == ("tiny", SEED)
    assert "not TAU" in stamp["note"]
    assert stamp["note"] in (tiny / "README.md").read_text()


def test_asking_again_answers_from_what_is_there(mini: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in mini.rglob("*")}
    calls: list[int] = []
    count = synthesize(mini, MINI, SEED, progress=lambda done, total: calls.append(done))
    assert count == len(list((mini / "audio").iterdir()))
    assert not calls
    assert {file: file.stat().st_mtime_ns for file in mini.rglob("*")} == before


def test_progress_counts_up_to_all_segments(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    count = synthesize(tmp_path / "set", MINI, progress=lambda done, total: calls.append((done, total)))
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    assert calls[-1] == (count, count)


def test_a_folder_with_anything_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    real = tmp_path / "TAU-urban-acoustic-scenes-2022-mobile-development"
    real.mkdir()
    (real / "meta.csv").write_text("filename\n")
    with pytest.raises(DataError, match=rf"{real.name}: is not empty and contains no generated data set.*use another"):
        synthesize(real, MINI)
    assert contents(tmp_path) == {f"{real.name}/meta.csv": b"filename\n"}


def test_another_plan_or_seed_is_not_written_over(mini: Path) -> None:
    with pytest.raises(DataError, match=r"contains another generated data set \(plan mini, seed 3.*plan tiny, seed 3"):
        synthesize(mini, "tiny", SEED)
    with pytest.raises(DataError, match="contains another generated data set"):
        synthesize(mini, MINI, SEED + 1)


def test_a_set_that_lost_files_is_not_passed_off_as_finished(tmp_path: Path) -> None:
    synthesize(tmp_path / "set", MINI, workers=1)
    next((tmp_path / "set/audio").iterdir()).unlink()
    with pytest.raises(DataError, match="generate it again"):
        synthesize(tmp_path / "set", MINI)


def test_an_unknown_plan_names_the_plans_and_the_nearest() -> None:
    with pytest.raises(DataError, match=r"unknown plan 'smal'.*tiny, small, medium; did you mean 'small'\?"):
        synthesize(Path("anywhere"), "smal")


def test_what_a_killed_run_left_is_cleared_away(mini: Path, tmp_path: Path) -> None:
    target, unfinished = tmp_path / "set", tmp_path / ".set.unfinished"
    code = f"from asc_sweeps.data.synthetic import synthesize; synthesize({str(target)!r}, 'small', workers=2)"
    run = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parents[2])
    while run.poll() is None and len(list(unfinished.glob("audio/*"))) < 100:
        time.sleep(0.02)
    run.kill()
    run.wait()
    time.sleep(0.5)  # its two processes end with it
    left = contents(unfinished)
    time.sleep(0.5)
    assert left
    assert contents(unfinished) == left
    synthesize(target, MINI, SEED, workers=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]
    assert contents(target) == contents(mini)


def test_a_run_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(tmp_path / "set", MINI, workers=1, progress=fail)
    assert not list(tmp_path.iterdir())


def test_a_second_run_keeps_its_hands_off_a_folder_that_is_being_written(tmp_path: Path) -> None:
    unfinished = tmp_path / ".set.unfinished"
    unfinished.mkdir()
    (unfinished / "theirs").touch()
    handle = os.open(unfinished, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    with pytest.raises(DataError, match="another run is writing it"):
        synthesize(tmp_path / "set", MINI)
    assert (unfinished / "theirs").exists()
    os.close(handle)


def test_generating_needs_no_torch() -> None:
    code = "import sys, asc_sweeps.data.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


# Sets of an earlier version


@pytest.fixture(scope="module")
def of_version_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set called small as version 1 wrote it, of one scene: all nine devices at its test location."""
    folder = tmp_path_factory.mktemp("generated") / "small"
    now = Recording.devices.fget
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recording, "devices", property(lambda its: DEVICES if its.part == "test" else now(its)))
        patch.setattr("asc_sweeps.data.synthetic.stamp.VERSION", 1)
        synthesize(folder, ONE_SCENE, workers=1)
    assert json.loads((folder / GENERATED_STAMP).read_text())["version"] == 1
    assert len(rows(folder, "evaluation_setup/fold1_test.csv")) == 90
    return folder


def test_a_workspaces_set_of_version_1_goes_on_being_used_as_it_lies_so_its_trials_stay_valid(
    of_version_1: Path, tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    folder = shutil.copytree(of_version_1, workspace.data / "synthetic-small")
    before = prepare(folder, workspace.prepared)
    calls: list[tuple[str, int, int]] = []
    made = open_dataset("synthetic-small", workspace, lambda *call: calls.append(call))
    assert made.fingerprint == before.fingerprint  # which is part of every trial's signature
    assert not calls
    assert contents(folder) == contents(of_version_1)
    assert synthesize(folder, "small") == len(list((folder / "audio").iterdir())) < 200


def test_a_set_of_version_1_that_lost_files_is_not_passed_off_as_finished(of_version_1: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(of_version_1, tmp_path / "set")
    next((folder / "audio").iterdir()).unlink()
    with pytest.raises(DataError, match="generate it again"):
        synthesize(folder, "small")


@pytest.mark.parametrize("odd", [{"seed": 1}, {"plan": "tiny"}, {"version": 3}, {"version": "1"}, {"sizes": {}}])
def test_a_set_of_another_seed_plan_or_a_later_version_or_without_sizes_is_refused(
    odd: dict, of_version_1: Path, tmp_path: Path
) -> None:
    stamp = json.loads((of_version_1 / GENERATED_STAMP).read_text())
    (tmp_path / GENERATED_STAMP).write_text(json.dumps(stamp | odd))
    with pytest.raises(DataError, match="contains another generated data set"):
        synthesize(tmp_path, "small")


def test_what_two_versions_share_is_the_same_to_the_byte_and_so_is_all_of_train(
    of_version_1: Path, tmp_path: Path
) -> None:
    synthesize(tmp_path / "now", ONE_SCENE, workers=1)
    ours, theirs = contents(tmp_path / "now"), contents(of_version_1)
    audio = [name for name in ours if name.startswith("audio")]
    assert len(rows(tmp_path / "now", "evaluation_setup/fold1_test.csv")) == 20
    for name in (*audio, "evaluation_setup/fold1_train.csv", "evaluation_setup/split25.csv"):
        assert ours[name] == theirs[name]
