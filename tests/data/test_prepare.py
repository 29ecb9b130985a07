"""What the training cache promises: the recordings' own sound and level, at 16 kHz; nothing stale, torn or half-made."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from flipping import flip

from asc_sweeps.data import convert
from asc_sweeps.data.cache import Prepared, load_prepared
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.segments import fetch
from asc_sweeps.data.torchaudio_door import Resample
from asc_sweeps.errors import DataError

TRAIN = "evaluation_setup/fold1_train.csv"
TEST, EVALUATE = "evaluation_setup/fold1_test.csv", "evaluation_setup/fold1_evaluate.csv"


@pytest.fixture
def caches(tmp_path: Path) -> Path:
    return tmp_path / "prepared"


def audio(folder: Path) -> list[Path]:
    return sorted((folder / "audio").iterdir())


def trained(folder: Path) -> list[Path]:
    """The files of the training list."""
    return [folder / line.split("\t")[0] for line in (folder / TRAIN).read_text().splitlines()[1:]]


def content(made: Prepared) -> dict[str, bytes]:
    """A cache's files."""
    return {file.name: file.read_bytes() for file in made.folder.iterdir()}


def flip_a_sample(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[70_000] ^= 1
    file.write_bytes(raw)


def finished(caches: Path) -> list[Path]:
    """What stands under a finished cache's name."""
    return [path for path in caches.glob("*-v*") if not path.name.startswith(".")]


# Sound


def test_each_row_is_the_resampled_waveform_of_its_file(tiny_folder: Path, tiny_prepared: Prepared) -> None:
    resample = Resample(44_100, 16_000)
    for row in range(0, len(tiny_prepared.filenames), 41):
        waveform = soundfile.read(tiny_folder / tiny_prepared.filenames[row], dtype="float32")[0]
        expected = (resample(torch.from_numpy(waveform)) * 32768).round().clamp(-32768, 32767)
        assert np.abs(tiny_prepared.waveforms[row] - expected.numpy()).max() <= 1  # the last bit may round otherwise


def test_the_level_of_a_clip_is_kept(small_tree: Path, caches: Path) -> None:
    levels = {-20.0: trained(small_tree)[0], -60.0: trained(small_tree)[1], -3.5: trained(small_tree)[2]}
    for level, file in levels.items():
        sine = np.sqrt(2) * 10 ** (level / 20) * np.sin(2 * np.pi * 997 * np.arange(44_100) / 44_100)
        soundfile.write(file, sine, 44_100, subtype="PCM_24")
    made = prepare(small_tree, caches)
    rows = [made.filenames.index(f"audio/{file.name}") for file in levels.values()]
    waveforms = fetch(made, np.array(rows), "cpu").double().numpy()
    assert waveforms.shape == (3, 16_000)
    measured = 20 * np.log10(np.sqrt(np.mean(waveforms[:, 1000:-1000] ** 2, axis=1)))
    assert measured == pytest.approx(list(levels), abs=0.05)


def test_full_scale_does_not_wrap_around(small_tree: Path, caches: Path) -> None:
    square = np.sign(np.sin(2 * np.pi * 100 * np.arange(44_100) / 44_100 + 0.1))  # overshoots when its band is cut
    soundfile.write(trained(small_tree)[0], square, 44_100, subtype="PCM_24")
    made = prepare(small_tree, caches)
    row = made.waveforms[made.filenames.index(f"audio/{trained(small_tree)[0].name}")].astype(int)
    assert row.max() == 32_767
    assert row.min() == -32_768
    inside = np.sign(square[::441]) * row[::160]  # aligned every 10 ms
    assert inside[1:].min() > 20_000


def test_rows_are_the_listed_segments_with_their_labels_train_before_test(
    tiny_folder: Path, tiny_prepared: Prepared
) -> None:
    test = [line for line in (tiny_folder / TEST).read_text().splitlines()[1:]]
    train = [f"audio/{file.name}" for file in trained(tiny_folder)]
    assert list(tiny_prepared.filenames) == sorted(train) + sorted(test)
    assert tiny_prepared.splits.tolist() == ["train"] * len(train) + ["test"] * len(test)
    for row, name in enumerate(tiny_prepared.filenames):
        scene, city, location, recording, _, device = name.removeprefix("audio/").removesuffix(".wav").split("-")
        assert SCENES[tiny_prepared.scenes[row]] == scene
        assert DEVICES[tiny_prepared.devices[row]] == device
        assert tiny_prepared.locations[row] == f"{city}-{location}"
        assert tiny_prepared.recordings[row] == f"{scene}-{city}-{location}-{recording}-{device}"


def test_the_cache_is_mapped_not_loaded_and_cannot_be_written(tiny_prepared: Prepared) -> None:
    assert isinstance(tiny_prepared.waveforms, np.memmap)
    assert tiny_prepared.waveforms.dtype == np.int16
    with pytest.raises(ValueError, match="read-only"):
        tiny_prepared.waveforms[0, 0] = 1


def test_generated_data_are_called_so_and_others_are_not(small_tree: Path, caches: Path) -> None:
    made = prepare(small_tree, caches)
    assert (made.name, made.generated) == ("synthetic-mini", True)
    (small_tree / "GENERATED.json").unlink()
    made = prepare(small_tree, caches.with_name("others"))
    assert (made.name, made.generated) == ("tau2022", False)


def test_a_damaged_stamp_is_refused(small_tree: Path, caches: Path) -> None:
    (small_tree / "GENERATED.json").write_text("{")
    with pytest.raises(
        DataError, match=r"GENERATED.json: the stamp of generated data cannot be read.*generate it again"
    ):
        prepare(small_tree, caches)


# Named by content


def test_the_name_follows_the_content_and_nothing_else(small_tree: Path, caches: Path, tmp_path: Path) -> None:
    first = prepare(small_tree, caches)
    for file in audio(small_tree):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    assert prepare(small_tree, caches).folder == first.folder
    copy = shutil.copytree(small_tree, tmp_path / "copy")
    rows = (copy / "meta.csv").read_text().splitlines()
    (copy / "meta.csv").write_text("\r\n".join([rows[0], *reversed(rows[1:])]))
    assert prepare(copy, caches).folder == first.folder
    assert finished(caches) == [first.folder]
    assert not list(caches.glob(".building-*"))


def test_one_changed_byte_is_another_data_set_even_if_size_and_time_are_as_before(
    small_tree: Path, caches: Path
) -> None:
    first = prepare(small_tree, caches)
    file = trained(small_tree)[5]
    before = file.stat()
    flip_a_sample(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    second = prepare(small_tree, caches)
    assert second.fingerprint != first.fingerprint
    changed = (first.waveforms != second.waveforms).any(axis=1)
    assert set(np.flatnonzero(changed)) <= {first.filenames.index(f"audio/{file.name}")}


def test_other_splits_or_labels_are_another_data_set(small_tree: Path, caches: Path) -> None:
    fingerprints = {prepare(small_tree, caches).fingerprint}
    train, evaluate = (small_tree / TRAIN).read_text(), (small_tree / EVALUATE).read_text()
    (small_tree / TRAIN).write_text(evaluate)
    (small_tree / EVALUATE).write_text(train)
    (small_tree / TEST).write_text("".join(line.split("\t")[0].rstrip() + "\n" for line in train.splitlines()))
    fingerprints.add(prepare(small_tree, caches).fingerprint)
    for file in audio(small_tree):
        file.rename(file.with_name(file.name.replace("airport-", "park-")))
    for name in ("meta.csv", TRAIN, TEST, EVALUATE):
        (small_tree / name).write_text((small_tree / name).read_text().replace("airport", "park"))
    fingerprints.add(prepare(small_tree, caches).fingerprint)
    assert len(fingerprints) == 3


def test_asking_again_reads_no_audio(small_tree: Path, caches: Path) -> None:
    calls: list[int] = []
    first = prepare(small_tree, caches, lambda done, total: calls.append(done))
    assert calls[-1] == len(first.filenames)
    calls.clear()
    assert content(prepare(small_tree, caches, lambda done, total: calls.append(done))) == content(first)
    assert not calls


# Killed, and two at once

PROCESS = """
import sys, time, pathlib
from asc_sweeps.data import convert
from asc_sweeps.data.prepare import prepare
convert.CHUNK, opened, stop_at = 16, [], int(sys.argv[3])
sys.addaudithook(lambda event, args: event == "open" and str(args[0]).endswith(".wav") and opened.append(str(args[0])))
def progress(done, total):
    if done >= stop_at:
        print("stopped", flush=True)
        sys.stdin.readline()
print("asking", flush=True)
made = prepare(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), progress)
print(made.fingerprint, *sorted(opened), flush=True)
"""
NEVER = 10**9


def start(folder: Path, caches: Path, stop_at: int = NEVER) -> subprocess.Popen[str]:
    """A process that prepares and stops after some segments; it prints the WAV files that it opened."""
    command = [sys.executable, "-c", PROCESS, str(folder), str(caches), str(stop_at)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "asking\n"
    return process


def interrupt_at(segments: int) -> Callable[[int, int], None]:
    """A progress that ends a run when so many segments are done, as Ctrl-C does."""

    def progress(done: int, total: int) -> None:
        if done >= segments:
            raise KeyboardInterrupt

    return progress


def test_a_killed_run_is_continued_and_ends_as_an_unbroken_one(
    small_tree: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(small_tree, caches, 48)
    assert process.stdout.readline() == "stopped\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not finished(caches)
    tear_the_journal(caches)
    monkeypatch.setattr(convert, "CHUNK", 16)
    with pytest.raises(KeyboardInterrupt):
        prepare(small_tree, caches, interrupt_at(144))
    assert tear_the_journal(caches) == 144 // 16
    process = start(small_tree, caches)
    fingerprint, *opened = process.communicate()[0].split()
    unbroken = prepare(small_tree, caches.with_name("unbroken"))
    assert [Path(path).name for path in opened] == sorted(Path(name).name for name in unbroken.filenames[144:])
    assert content(load_prepared(caches, fingerprint)) == content(unbroken)


def tear_the_journal(caches: Path) -> int:
    """Add a line as a kill in the middle of one leaves it; the number of whole lines."""
    (journal,) = caches.glob(".building-*/converted.jsonl")
    whole = [json.loads(line) for line in journal.read_text().splitlines()]
    with open(journal, "a") as file:
        file.write('{"key": "0123456789abcdef", "sha')
    return len(whole)


def test_of_two_processes_one_prepares_and_the_other_waits(small_tree: Path, caches: Path) -> None:
    first = start(small_tree, caches, 48)
    assert first.stdout.readline() == "stopped\n"
    calls: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(prepare, small_tree, caches, lambda done, total: calls.append(done))
        time.sleep(0.3)
        assert not second.done()
        fingerprint, *opened = first.communicate("\n" * 100)[0].splitlines()[-1].split()
        made = second.result()
    assert made.fingerprint == fingerprint
    assert len(opened) == len(made.filenames)
    assert not calls


def test_an_interrupted_run_ends_at_once_and_is_continued(small_tree: Path, caches: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(small_tree, caches, interrupt_at(1))
    assert not finished(caches)
    assert len(prepare(small_tree, caches).filenames) == 210


# What cannot be prepared


def test_all_bad_files_are_counted_and_after_mending_only_their_chunks_are_read_again(
    small_tree: Path, caches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(convert, "CHUNK", 16)
    good = {file: file.read_bytes() for file in trained(small_tree)[:2] + trained(small_tree)[-6:]}
    for number, file in enumerate(good):
        file.write_bytes((b"", file.read_bytes()[:44], b"x" * 132_344, file.read_bytes()[:-3])[number % 4])
    for _ in range(2):
        with pytest.raises(DataError) as error:
            prepare(small_tree, caches)
        assert "must be a WAV file: 4\n" in str(error.value)
        assert "must contain 44,100 samples (1 second): 4\n" in str(error.value)
        assert f"audio/{trained(small_tree)[-6].name}" in str(error.value)
        assert not finished(caches)
    for file, raw in good.items():
        file.write_bytes(raw)
    calls: list[int] = []
    made = prepare(small_tree, caches, lambda done, total: calls.append(done))
    assert 1 <= len(calls) <= 8
    assert content(made) == content(prepare(small_tree, caches.with_name("unbroken")))


def test_missing_files_are_counted_before_anything_is_read(small_tree: Path, caches: Path) -> None:
    for file in trained(small_tree)[:7]:
        file.unlink()
    with pytest.raises(DataError, match=r"listed file does not exist: 7\n(.*\n)*.*and 2 more"):
        prepare(small_tree, caches)
    assert not caches.exists()


def test_a_place_that_cannot_be_written_is_told(small_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="the training cache cannot be written"):
        prepare(small_tree, tmp_path / "file" / "prepared")


def test_a_file_that_may_not_grow_is_an_error_and_not_a_crash(small_tree: Path, caches: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
    try:
        with pytest.raises(DataError, match=r"cannot be written \(File too large\)"):
            prepare(small_tree, caches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(prepare(small_tree, caches).filenames) == 210


# A damaged cache


DAMAGES = {
    "samples cut": lambda made: os.truncate(made.folder / "waveforms.npy", 7_000_000),
    "header alone": lambda made: os.truncate(made.folder / "waveforms.npy", 128),
    "torn header": lambda made: os.truncate(made.folder / "waveforms.npy", 60),
    "samples empty": lambda made: os.truncate(made.folder / "waveforms.npy", 0),
    "no samples": lambda made: (made.folder / "waveforms.npy").unlink(),
    "other samples": lambda made: np.save(made.folder / "waveforms.npy", np.zeros((210, 16_000), np.float32)),
    "a flipped bit": lambda made: flip(made.folder / "waveforms.npy", 4_000_123),
    "fewer samples": lambda made: np.save(made.folder / "waveforms.npy", np.zeros((209, 16_000), np.int16)),
    "no manifest": lambda made: (made.folder / "manifest.json").unlink(),
    "torn manifest": lambda made: os.truncate(made.folder / "manifest.json", 50),
    "empty manifest": lambda made: (made.folder / "manifest.json").write_text("{}"),
    "manifest of another": lambda made: (made.folder / "manifest.json").write_text(
        (made.folder / "manifest.json").read_text().replace(made.fingerprint, "0" * 32)
    ),
    "no table": lambda made: (made.folder / "segments.tsv").unlink(),
    "table cut": lambda made: os.truncate(made.folder / "segments.tsv", 5_000),
    "table changed": lambda made: (made.folder / "segments.tsv").write_text(
        (made.folder / "segments.tsv").read_text().replace("\tairport\t", "\ttram\t", 1)
    ),
}


def test_a_damaged_cache_is_never_used_and_made_anew_when_asked_for(small_tree: Path, caches: Path) -> None:
    whole = content(prepare(small_tree, caches))
    for name, damage in DAMAGES.items():
        made = prepare(small_tree, caches)
        damage(made)
        with pytest.raises(DataError, match=r"damaged training cache .*`asc-sweeps data prepare DIR`"):
            load_prepared(caches, made.fingerprint)
        assert content(prepare(small_tree, caches)) == whole, name
        assert content(load_prepared(caches, made.fingerprint)) == whole


def test_a_damaged_index_is_written_anew(small_tree: Path, caches: Path) -> None:
    made = prepare(small_tree, caches)
    whole = content(made)
    for text in ("{", "[]", "{}", '{"cache": "../x", "key": 1}'):
        for file in (caches / "index").iterdir():
            file.write_text(text)
        assert content(prepare(small_tree, caches)) == whole


def test_a_cache_that_is_not_there_is_told_with_the_way_to_make_it(caches: Path) -> None:
    with pytest.raises(DataError, match=r"no prepared data with fingerprint 0123.*run `asc-sweeps data prepare DIR`"):
        load_prepared(caches, "0123" * 8)
