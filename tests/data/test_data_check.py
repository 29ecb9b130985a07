"""What `asc-sweeps data check` promises: it says what is wrong with a folder, with counts, examples and the way out.

The folders are made here by hand after the published layout, apart from the project's own generator.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_sweeps import cli

META, TRAIN = "meta.csv", "evaluation_setup/fold1_train.csv"
TEST, EVALUATE = "evaluation_setup/fold1_test.csv", "evaluation_setup/fold1_evaluate.csv"
LISTS = (META, TRAIN, TEST, EVALUATE)
RECORDINGS = (  # scene, city, location, recording, device, part
    ("airport", "lisbon", 1000, 40000, "a", "train"),
    ("airport", "lisbon", 1000, 40000, "s1", "train"),
    ("metro_station", "paris", 1100, 41000, "a", "train"),
    ("airport", "vienna", 1200, 42000, "a", "test"),
    ("metro_station", "lyon", 1300, 43000, "s6", "test"),
    ("metro_station", "lyon", 1300, 43000, "b", "unused"),
)
TRAINED = "audio/airport-lisbon-1000-40000-3-a.wav"
TESTED = "audio/airport-vienna-1200-42000-5-a.wav"


def write_wav(path: Path, rate: int = 44_100, channels: int = 1, subtype: str = "PCM_24", frames: int = 44_100) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((frames, channels))
    soundfile.write(path, noise, rate, subtype=subtype, format="WAV")


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("wav") / "noise.wav"
    write_wav(path)
    assert path.stat().st_size == 132_344
    return path.read_bytes()


@pytest.fixture
def tree(tmp_path: Path, wav: bytes) -> Path:
    """A data set in TAU's layout: 60 files of six recordings."""
    folder = tmp_path / "TAU"
    (folder / "audio").mkdir(parents=True)
    (folder / "evaluation_setup").mkdir()
    rows: dict[str, list[list[str]]] = {
        META: [["filename", "scene_label", "identifier", "source_label"]],
        TRAIN: [["filename", "scene_label"]],
        TEST: [["filename"]],
        EVALUATE: [["filename", "scene_label"]],
    }
    for scene, city, location, recording, device, part in RECORDINGS:
        for piece in range(10):
            name = f"audio/{scene}-{city}-{location}-{recording}-{piece}-{device}.wav"
            (folder / name).write_bytes(wav)
            rows[META].append([name, scene, f"{city}-{location}", device])
            if part == "train":
                rows[TRAIN].append([name, scene])
            if part == "test":
                rows[TEST].append([name])
                rows[EVALUATE].append([name, scene])
    for name, table in rows.items():
        (folder / name).write_text("".join("\t".join(row) + "\n" for row in table))
    return folder


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], tuple[int, str]]:
    """Run `asc-sweeps data check DIR`; its exit code and all that it prints."""

    def run(folder: Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["asc-sweeps", "data", "check", str(folder)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return end.value.code or 0, out + err

    return run


def replace(folder: Path, name: str, old: str, new: str, count: int = -1) -> None:
    """Change a list's text."""
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, count))


def drop_rows(folder: Path, name: str, word: str) -> None:
    lines = (folder / name).read_text().splitlines(keepends=True)
    (folder / name).write_text("".join(line for line in lines if word not in line))


def put(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)


# What is right


def test_a_folder_made_by_someone_else_after_the_layout_has_nothing_wrong(tree: Path, check: Callable) -> None:
    code, text = check(tree)
    assert code == 0, text
    assert "30 train, 20 test, 10 in neither list" in text
    assert "OK: no problems found" in text
    assert "generated" not in text


def test_a_generated_folder_has_nothing_wrong_and_is_called_generated(small_tree: Path, check: Callable) -> None:
    code, text = check(small_tree)
    assert code == 0, text
    assert "generated data (not TAU)" in text


ACCEPTED: dict[str, Callable[[bytes], bytes]] = {
    "crlf": lambda text: text.replace(b"\n", b"\r\n"),
    "no last newline": lambda text: text.rstrip(b"\n"),
    "crlf, no last newline": lambda text: text.replace(b"\n", b"\r\n").rstrip(b"\r\n"),
    "byte-order mark": lambda text: b"\xef\xbb\xbf" + text,
    "blank lines at the end": lambda text: text + b"\n\n",
}


@pytest.mark.parametrize("how", ACCEPTED)
def test_lists_as_other_systems_write_them_are_accepted(tree: Path, check: Callable, how: str) -> None:
    for name in LISTS:
        put(tree, name, ACCEPTED[how]((tree / name).read_bytes()))
    code, text = check(tree)
    assert code == 0, text
    assert "30 train, 20 test, 10 in neither list" in text


def test_the_longer_header_that_some_programs_write_for_24_bit_is_accepted(tree: Path, check: Callable) -> None:
    soundfile.write(tree / TRAINED, np.zeros(44_100), 44_100, subtype="PCM_24", format="WAVEX")
    assert check(tree)[0] == 0


# Files


FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda p: p.unlink(), r"listed file does not exist: 1\n    {name}\n"),
    "empty": (lambda p: p.write_bytes(b""), r"must be a WAV file: 1\n    {name}: empty file"),
    "header only": (lambda p: os.truncate(p, 44), r"44,100 samples \(1 second\): 1\n    {name}: found 0"),
    "cut in the header": (lambda p: os.truncate(p, 30), r"unreadable audio file: 1\n    {name}: 30 bytes"),
    "cut": (lambda p: os.truncate(p, 132_343), r"must contain 44,100 samples \(1 second\): 1\n    {name}: found 44099"),
    "random": (
        lambda p: p.write_bytes(np.random.default_rng(1).bytes(132_344)),
        r"must be a WAV file: 1\n    {name}: 132,344 bytes, starting with b'",
    ),
    "rate": (
        lambda p: write_wav(p, rate=48_000),
        r"must have a sampling rate of 44,100 Hz: 1\n    {name}: found 48000",
    ),
    "stereo": (lambda p: write_wav(p, channels=2), r"must be mono: 1\n    {name}: found 2"),
    "16 bit": (lambda p: write_wav(p, subtype="PCM_16"), r"must be 24-bit PCM: 1\n    {name}: found PCM_16"),
    "float": (lambda p: write_wav(p, subtype="FLOAT"), r"must be 24-bit PCM: 1\n    {name}: found FLOAT"),
    "ten seconds": (
        lambda p: write_wav(p, frames=441_000),
        r"44,100 samples \(1 second\): 1\n    {name}: found 441000",
    ),
    "flac": (
        lambda p: soundfile.write(p, np.zeros(44_100), 44_100, subtype="PCM_24", format="FLAC"),
        r"must be a WAV file: 1\n    {name}: [0-9,]+ bytes, starting with b'fLaC'",
    ),
    "folder": (lambda p: (p.unlink(), p.mkdir()), r"unreadable audio file: 1\n    {name}: not a regular file"),
    "named pipe": (lambda p: (p.unlink(), os.mkfifo(p)), r"unreadable audio file: 1\n    {name}: not a regular file"),
    "link to itself": (
        lambda p: (p.unlink(), p.symlink_to(p)),
        r"unreadable audio file: 1\n    {name}: Too many levels",
    ),
    "dangling link": (lambda p: (p.unlink(), p.symlink_to("nowhere")), r"listed file does not exist: 1\n    {name}\n"),
}


@pytest.mark.parametrize("fault", FILES)
def test_a_bad_file_is_named_with_what_is_wrong(tree: Path, check: Callable, fault: str) -> None:
    plant, expected = FILES[fault]
    plant(tree / TRAINED)
    code, text = check(tree)
    assert code == 2
    found = expected.replace("{name}", TRAINED)
    assert re.search(found, text), text
    assert "1 rule broken: cannot be used for training" in text


def test_many_bad_files_are_counted_and_the_first_ones_named(tree: Path, check: Callable) -> None:
    for piece in range(7):
        (tree / f"audio/airport-lisbon-1000-40000-{piece}-a.wav").unlink()
    code, text = check(tree)
    assert code == 2
    assert "listed file does not exist: 7\n" in text
    assert text.count("airport-lisbon-1000-40000-") == 5
    assert "(and 2 more)" in text


def test_a_file_that_is_not_listed_is_told_but_does_not_keep_from_training(tree: Path, check: Callable) -> None:
    put(tree, "audio/.DS_Store", b"")
    code, text = check(tree)
    assert code == 2
    assert "not listed in meta.csv: 1\n    audio/.DS_Store" in text
    assert "usable for training, but not as published" in text


# Lists


HUGE = "x" * 100_000
ROWS: dict[str, tuple[Callable[[Path], object], str]] = {
    "unknown scene": (
        lambda t: replace(t, META, "\tmetro_station\t", "\tmetro_staton\t", 1),
        "unknown scene: 1\n    meta.csv:22: 'metro_staton'; did you mean 'metro_station'?",
    ),
    "unknown device": (
        lambda t: replace(t, META, "vienna-1200\ta\n", "vienna-1200\ts7\n", 1),
        "unknown device: 1\n    meta.csv:32: 's7'; known: a, b, c, s1, s2, s3, s4, s5, s6",
    ),
    "device in capitals": (
        lambda t: replace(t, META, "lyon-1300\ts6\n", "lyon-1300\tS6\n", 1),
        "unknown device: 1\n    meta.csv:42: 'S6'; did you mean 's6'?",
    ),
    "row and name disagree": (
        lambda t: replace(t, META, f"{TRAINED}\tairport\tlisbon-1000", f"{TRAINED}\tairport\tlisbon-1001"),
        f"row contradicts the file name: 1\n    meta.csv:5: {TRAINED} airport lisbon-1001 a",
    ),
    "path above the folder": (
        lambda t: replace(t, META, TRAINED, "../" + TRAINED),
        f"<device>.wav: 1\n    meta.csv:5: ../{TRAINED}",
    ),
    "absolute path": (
        lambda t: replace(t, META, TRAINED, "/etc/passwd"),
        "file name must have the form audio/<scene>-<city>-<location>-<recording>-<piece>-<device>.wav: 1\n    meta.csv:5: /etc/pas",
    ),
    "no folder in the name": (lambda t: replace(t, META, TRAINED, TRAINED[6:]), "file name must have the form audio/<scene>"),
    "row twice in meta": (
        lambda t: replace(t, META, (line := f"{TRAINED}\tairport\tlisbon-1000\ta\n"), line * 2),
        f"listed twice: 1\n    meta.csv:6: {TRAINED}",
    ),
    "row twice in train": (
        lambda t: replace(t, TRAIN, f"{TRAINED}\tairport\n", f"{TRAINED}\tairport\n" * 2),
        f"listed twice: 1\n    {TRAIN}:6: {TRAINED}",
    ),
    "row twice in test": (
        lambda t: replace(t, TEST, f"{TESTED}\n", f"{TESTED}\n" * 3),
        f"listed twice: 2\n    {TEST}:8: {TESTED}",
    ),
    "file in train and test": (
        lambda t: replace(t, TRAIN, "scene_label\n", f"scene_label\n{TESTED}\tairport\n"),
        f"listed in both train and test: 1\n    {EVALUATE}:7: {TESTED}",
    ),
    "recording in train and test": (
        lambda t: (
            replace(t, TRAIN, "scene_label\n", f"scene_label\n{TESTED}\tairport\n"),
            drop_rows(t, TEST, TESTED),
            drop_rows(t, EVALUATE, TESTED),
        ),
        "recording in both train and test: 1\n    airport-vienna-1200-42000-a: 1 train, 9 test",
    ),
    "location in train and test": (
        lambda t: [replace(t, name, "airport-vienna-1200-", "airport-lisbon-1000-") for name in (TEST, EVALUATE, META)]
        + [replace(t, META, "vienna-1200", "lisbon-1000")],
        "location in both train and test: 1\n    lisbon-1000: 20 train, 10 test",
    ),
    "in test, not in evaluate": (
        lambda t: drop_rows(t, EVALUATE, TESTED),
        f"must be listed in both fold1_test.csv and fold1_evaluate.csv: 1\n    {TESTED}: only in fold1_test.csv",
    ),
    "in evaluate, not in test": (
        lambda t: drop_rows(t, TEST, TESTED),
        f"must be listed in both fold1_test.csv and fold1_evaluate.csv: 1\n    {TESTED}: only in fold1_evaluate.csv",
    ),
    "other label in evaluate": (
        lambda t: replace(t, EVALUATE, f"{TESTED}\tairport", f"{TESTED}\ttram"),
        f"scene differs from meta.csv: 1\n    {EVALUATE}:7: {TESTED}: tram, not airport",
    ),
    "in train, not in meta": (
        lambda t: drop_rows(t, META, TRAINED),
        f"missing from meta.csv: 1\n    {TRAIN}:5: {TRAINED}",
    ),
    "missing piece": (
        lambda t: [drop_rows(t, name, TRAINED) for name in (META, TRAIN)],
        "a recording must have all ten pieces: 1\n    airport-lisbon-1000-40000-a: missing 3",
    ),
    "piece in neither list": (
        lambda t: drop_rows(t, TRAIN, TRAINED),
        "same list: 1\n    airport-lisbon-1000-40000-a: 3 in neither list",
    ),
    "torn row": (
        lambda t: os.truncate(t / META, (t / META).stat().st_size - 3),
        "a row must have 4 columns: 1\n    meta.csv:61: audio/metro_station-lyon-1300-43000-9-b.wav",
    ),
    "train with a header only": (lambda t: put(t, TRAIN, b"filename\tscene_label\n"), "split without segments: 1\n    train"),
    "control signs": (
        lambda t: replace(t, META, TRAINED, "audio/\x1b[31mred\x07.wav"),
        r"meta.csv:5: audio/\x1b[31mred\x07.wav",
    ),
    "a row without end": (lambda t: replace(t, META, TRAINED, HUGE), "meta.csv:5: xxxxx"),
}  # fmt: skip


@pytest.mark.parametrize("fault", ROWS)
def test_a_wrong_row_is_told_with_its_line_and_rule(tree: Path, check: Callable, fault: str) -> None:
    plant, expected = ROWS[fault]
    plant(tree)
    code, text = check(tree)
    assert code == 2
    assert expected in text
    assert "\x1b" not in text
    assert len(text) < 3_000


def test_several_faults_are_told_at_once(tree: Path, check: Callable) -> None:
    replace(tree, META, "\tmetro_station\t", "\tmetro_staton\t", 1)
    replace(tree, META, "vienna-1200\ta\n", "vienna-1200\ts7\n", 1)
    (tree / TRAINED).unlink()
    text = check(tree)[1]
    for rule in ("unknown scene: 1", "unknown device: 1", "listed file does not exist: 1", "5 rules broken"):
        assert rule in text


# Lists that cannot be read


LIST_FILES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no meta": (lambda t: (t / META).unlink(), "not a data set of this layout: it contains no meta.csv"),
    "no train": (lambda t: (t / TRAIN).unlink(), f"missing list {TRAIN}\n"),
    "commas": (
        lambda t: put(t, META, (t / META).read_bytes().replace(b"\t", b",")),
        "meta.csv:1: the header must be filename TAB scene_label TAB identifier TAB source_label; "
        "found 'filename,scene_label,identifier,source_label'; columns must be separated by TAB",
    ),
    "missing column": (
        lambda t: replace(t, META, "\tidentifier", "", 1),
        "found 'filename\\tscene_label\\tsource_label'; missing: identifier",
    ),
    "no header": (lambda t: replace(t, TRAIN, "filename\tscene_label\n", ""), f"{TRAIN}:1: the header must be filename"),
    "header only": (lambda t: os.truncate(t / META, 48), "meta.csv: lists no segments; the file may be incomplete"),
    "empty": (lambda t: put(t, META, b""), "meta.csv:1: the header must be filename TAB"),
    "not text": (lambda t: put(t, TRAIN, b"\x89PNG\r\n\xff\xfe\x00"), f"{TRAIN}: not UTF-8 text (invalid byte at position 0)"),
    "zeros": (lambda t: put(t, TRAIN, bytes(5000)), f"{TRAIN}:1: the header must be"),
    "a folder": (lambda t: ((t / TRAIN).unlink(), (t / TRAIN).mkdir()), f"missing list {TRAIN}"),
    "link to itself": (lambda t: ((t / TRAIN).unlink(), (t / TRAIN).symlink_to(t / TRAIN)), f"missing list {TRAIN}"),
}  # fmt: skip


@pytest.mark.parametrize("fault", LIST_FILES)
def test_a_list_that_cannot_be_read_is_named_with_its_rule(tree: Path, check: Callable, fault: str) -> None:
    plant, expected = LIST_FILES[fault]
    plant(tree)
    code, text = check(tree)
    assert code == 2
    assert expected in text
    assert text.startswith("error: ")


def test_all_lists_that_are_not_there_are_named_at_once(tree: Path, check: Callable) -> None:
    shutil.rmtree(tree / "evaluation_setup")
    code, text = check(tree)
    assert code == 2
    assert [name in text for name in (TRAIN, TEST, EVALUATE)] == [True] * 3
    assert "Traceback" not in text


# Folders of another kind


@pytest.mark.parametrize("header", ["filename", "filename\tdevice_id"])
def test_an_evaluation_set_is_recognized_by_its_numbers_and_its_lack_of_labels(
    tmp_path: Path, check: Callable, header: str
) -> None:
    for folder in ("audio", "evaluation_setup"):
        (tmp_path / folder).mkdir()
    rows = [f"audio/{n}.wav" + "\ts7" * header.count("\t") for n in range(20)]
    (tmp_path / TEST).write_text("\n".join([header, *rows]))
    code, text = check(tmp_path)
    assert code == 2
    assert "an evaluation set without labels (file names such as audio/0.wav)" in text
    (tmp_path / TEST).unlink()
    (tmp_path / "audio/17.wav").touch()
    assert "an evaluation set without labels" in check(tmp_path)[1]


def test_a_list_of_unlabelled_segments_alone_is_an_evaluation_set(tree: Path, check: Callable) -> None:
    for name in (META, TRAIN, EVALUATE):
        (tree / name).unlink()
    assert "an evaluation set without labels" in check(tree)[1]


@pytest.mark.parametrize("place", [".", "evaluation_setup", "split_setup"])
def test_the_lists_of_2024_and_2025_are_recognized(tree: Path, check: Callable, place: str) -> None:
    (tree / place).mkdir(exist_ok=True)
    (tree / TRAIN).rename(tree / place / "split25.csv")
    code, text = check(tree)
    assert code == 2
    assert "split25.csv belongs to the challenges of 2024 and 2025; the fold1 lists of 2022 are needed" in text


def test_a_folder_one_level_too_deep_or_too_shallow_is_hinted_at(tree: Path, check: Callable) -> None:
    for folder in (tree / "audio", tree / "evaluation_setup", tree.parent):
        code, text = check(folder)
        assert code == 2
        assert f"did you mean {tree}?" in text


def test_a_folder_without_audio_or_with_a_file_in_its_place_is_told(tree: Path, check: Callable) -> None:
    shutil.rmtree(tree / "audio")
    assert "it contains no folder audio/" in check(tree)[1]
    (tree / "audio").touch()
    code, text = check(tree)
    assert code == 2
    assert "it contains no folder audio/" in text


def test_what_is_no_folder_is_told(tree: Path, check: Callable, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for folder, problem in {
        tree / META: "is a file; give the folder that contains meta.csv and audio/",
        tmp_path / "nowhere": "no such folder; give the folder that contains meta.csv and audio/",
        tmp_path / "loop": "no such folder",
        tmp_path / ("x" * 300): "cannot be read (File name too long)",
    }.items():
        code, text = check(folder)
        assert code == 2
        assert problem in text
        assert "Traceback" not in text


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", "null", '{"generated": true}', "\x00\xff"])
def test_a_damaged_stamp_never_lets_generated_data_pass_for_recordings(tree: Path, check: Callable, stamp: str) -> None:
    put(tree, "GENERATED.json", stamp.encode("latin-1"))
    code, text = check(tree)
    assert code == 2
    assert "GENERATED.json: the stamp of generated data" in text
    assert "generate it again with `asc-sweeps data synthesize`" in text


def test_a_stamp_that_is_whole_is_believed(tree: Path, check: Callable) -> None:
    put(tree, "GENERATED.json", json.dumps({"generated": True, "plan": "mini"}).encode())
    code, text = check(tree)
    assert code == 0, text
    assert "generated data (not TAU)" in text


# As a process


def test_names_that_are_no_text_are_told_escaped_in_a_terminal_that_writes_ascii_alone(tree: Path) -> None:
    put(tree, "audio/é.wav", b"")
    (tree / "audio" / os.fsdecode(b"\xff\xfe.wav")).touch()
    odd = os.fsencode(tree.parent) + b"/\xff\xe9"
    os.rename(tree, odd)
    command = [sys.executable, "-m", "asc_sweeps", "data", "check", odd]
    done = subprocess.run(command, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert b"Traceback" not in done.stderr
    assert done.returncode == 2
    assert rb"audio/\udcff\udcfe.wav" in done.stdout


def test_checking_needs_no_torch(tree: Path) -> None:
    code = (
        "import sys, pathlib\nfrom asc_sweeps.data.check import Findings, check_audio, read_folder\n"
        f"folder, findings = pathlib.Path({str(tree)!r}), Findings()\n"
        "check_audio(folder, read_folder(folder, findings), findings)\nsys.exit(len(findings) or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
