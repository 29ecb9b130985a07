"""The set of 2020 holds whole recordings: it gives the same segments as that of 2022, piece by piece."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from asc_sweeps.data.check import check_audio, read_folder
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.tau import LISTS, META
from asc_sweeps.errors import DataError


@pytest.fixture
def whole_tree(small_tree: Path) -> Path:
    """The small tree with its pieces joined to recordings, in place; no stamp, so that it passes for recorded data."""
    (small_tree / "generated.json").unlink(missing_ok=True)
    for path in small_tree.glob("*.json"):
        path.unlink()
    for first in sorted(p for p in (small_tree / "audio").iterdir() if re.search(r"-0-\w+\.wav$", p.name)):
        pieces = [first.with_name(re.sub(r"-0-(\w+\.wav)$", rf"-{n}-\1", first.name)) for n in range(10)]
        sound = np.concatenate([soundfile.read(piece, dtype="int32")[0] for piece in pieces])
        joined = first.with_name(re.sub(r"-0-(\w+\.wav)$", r"-\1", first.name))
        soundfile.write(joined, sound, 44_100, subtype="PCM_24", format="WAV")
        for piece in pieces:
            piece.unlink()
    for name in (META, *LISTS.values()):
        rows = (small_tree / name).read_text().splitlines(keepends=True)
        joined_rows = [re.sub(r"-[0-9]-(\w+\.wav)", r"-\1", row) for row in rows]
        (small_tree / name).write_text("".join(dict.fromkeys(joined_rows)))
    return small_tree


def test_whole_recordings_are_prepared_as_their_ten_pieces(small_tree: Path, tmp_path: Path, request) -> None:
    of_2022 = prepare(small_tree, tmp_path / "one")
    before = np.array(of_2022.waveforms)
    of_2020 = prepare(request.getfixturevalue("whole_tree"), tmp_path / "two")
    assert of_2020.filenames == of_2022.filenames
    assert np.array_equal(of_2020.waveforms, before)
    assert of_2020.name == "tau2020"
    assert of_2020.fingerprint != of_2022.fingerprint
    for name in ("recordings", "locations", "splits", "scenes", "devices"):
        assert np.array_equal(getattr(of_2020, name), getattr(of_2022, name)), name


def test_a_tree_of_whole_recordings_breaks_no_rule(whole_tree: Path) -> None:
    findings = Findings()
    segments = read_folder(whole_tree, findings)
    check_audio(whole_tree, segments, findings)
    assert [str(finding) for finding in findings] == []
    assert len(segments) == 10 * len({s.file for s in segments})


def test_a_recording_of_another_length_is_named(whole_tree: Path, tmp_path: Path) -> None:
    path = sorted((whole_tree / "audio").iterdir())[3]
    soundfile.write(path, np.zeros(44_100, np.float32), 44_100, subtype="PCM_24", format="WAV")
    findings = Findings()
    check_audio(whole_tree, read_folder(whole_tree, Findings()), findings)
    (finding,) = findings
    assert "must contain 441,000 samples (10 seconds)" in str(finding)
    assert f"audio/{path.name}: found 44100" in str(finding)
    with pytest.raises(DataError, match=re.escape(path.name)):
        prepare(whole_tree, tmp_path / "prepared")


def test_a_row_with_a_piece_among_whole_recordings_is_told(whole_tree: Path) -> None:
    text = (whole_tree / META).read_text()
    name = re.search(r"audio/\S+\.wav", text)[0]
    (whole_tree / META).write_text(text.replace(name, re.sub(r"-(\w+\.wav)$", r"-4-\1", name), 1))
    findings = Findings()
    read_folder(whole_tree, findings)
    assert any("-<recording>-<device>.wav" in str(finding) for finding in findings)
