"""Arbitrary files and arguments are read or refused by name: no other error, no hang, no wrong number."""

from __future__ import annotations

import math
import shutil
import string
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from asc_sweeps.config.packing import pack, unpack
from asc_sweeps.config.replay import spaces_in_report
from asc_sweeps.config.request import parse_overrides, parse_seeds
from asc_sweeps.config.settings import make_config
from asc_sweeps.config.space_file import read_space
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.data.check import check_audio, read_folder
from asc_sweeps.data.findings import Findings
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.unlabelled import list_files, listed_devices
from asc_sweeps.data.wav import WavError, read_wav
from asc_sweeps.errors import ConfigError, DataError

quick = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

NAMES = st.sampled_from([*setting_fields(), "finetune", "study", "grid", "search", "", "a.b", "model", "model.width.x"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["1e-3", "no", "1:30", "~", "0x1f", "1_000", ".inf", "-.nan", "40", "bcres2net", "../x", "\x1b[31m"]
    ),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))


def as_text(value: object, depth: int = 0) -> str:
    """A value in YAML's flow style, without quotes, so that some texts are invalid."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {as_text(inner)}" for name, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_text, value)) + "]"
    return "null" if value is None else str(value)


# -- search spaces and arguments of the command line


@quick
@given(st.text(max_size=300))
@example("study: a\ngrid:\n\t- x")
@example("a: &a [*a]")
@example("[" * 3000)
@example("study: x\ngrid: {model.width: [" + "8," * 2000 + "]}")
@example("? [a]\n: b")
@example("!!python/object/apply:os.system ['true']")
def test_any_text_is_a_search_space_or_is_refused(text):
    try:
        read_space(text, "a.yaml")
    except ConfigError as error:
        assert error.problems


@quick
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_tree_of_settings_is_a_search_space_or_is_refused_with_its_file(grid, fixed):
    text = f"study: fuzz\nsettings: {as_text(fixed)}\ngrid: {as_text(grid)}\n"
    try:
        space = read_space(text, "a.yaml")
        trials = space.trials()
        assert all(TrialConfig.model_validate_json(t.model_dump_json()) == t for t in trials)
    except ConfigError as error:
        assert all(problem.startswith(("a.yaml", "unknown")) for problem in error.problems)


@quick
@given(NAMES, SCALARS)
def test_any_setting_of_the_command_line_is_accepted_or_refused(name, value):
    try:
        config = make_config(parse_overrides([f"{name}={value}"], None))
    except ConfigError as error:
        assert error.problems
    else:
        assert len(config.signature) == 12
        numbers = [v for group in config.model_dump().values() if isinstance(group, dict) for v in group.values()]
        assert all(math.isfinite(v) for v in numbers if isinstance(v, float))


@quick
@given(st.text(max_size=20))
def test_any_text_for_seeds_is_parsed_or_refused(text):
    try:
        seeds = parse_seeds(text)
    except ConfigError:
        return
    assert seeds
    assert all(isinstance(seed, int) and seed >= 0 for seed in seeds)


# -- lists


LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.builds(
            "\t".join,
            st.lists(
                st.sampled_from(
                    [
                        "audio/airport-lisbon-1000-40000-0-a.wav",
                        "audio/../../x.wav",
                        "/etc/passwd",
                        "airport",
                        "lisbon-1000",
                        "a",
                        "s7",
                        "",
                        "\x00",
                        "audio/airport-lisbon-1000-40000-a.wav",
                        "\N{GRINNING FACE}",
                    ]
                ),
                max_size=6,
            ),
        ),
    ),
    max_size=6,
)


@pytest.fixture(scope="module")
def lists(tmp_path_factory: pytest.TempPathFactory, _small_folder: Path) -> Path:
    """A folder of real audio whose lists a test may break."""
    return shutil.copytree(_small_folder, tmp_path_factory.mktemp("lists") / "set")


@quick
@given(
    st.sampled_from(["meta.csv", "evaluation_setup/fold1_train.csv", "evaluation_setup/fold1_test.csv"]),
    st.booleans(),
    LINES,
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_list_is_read_or_refused_with_its_line(lists, name, is_added, lines, end):
    path = lists / name
    whole = path.read_bytes()
    head, *rest = whole.decode().splitlines()
    try:
        kept = rest if is_added else []
        path.write_bytes(end.join([head, *kept, *lines]).encode("utf-8", errors="surrogatepass"))
        findings = Findings()
        for segment in read_folder(lists, findings):
            assert segment.filename.startswith("audio/")
            assert ".." not in segment.filename
            assert findings.fatal or segment.scene in SCENES
        assert all("\x1b" not in str(finding) and "\x00" not in str(finding) for finding in findings)
    except DataError as error:
        assert "\x1b" not in str(error)
    finally:
        path.write_bytes(whole)


@quick
@given(st.binary(max_size=200))
def test_any_bytes_instead_of_a_list_are_read_or_refused(lists, content):
    path = lists / "meta.csv"
    whole = path.read_bytes()
    try:
        path.write_bytes(content)
        read_folder(lists, Findings())
    except DataError:
        pass
    finally:
        path.write_bytes(whole)


@quick
@given(st.binary(max_size=120) | st.builds(lambda rows: ("filename\tdevice_id\n" + "\n".join(rows)).encode(), LINES))
def test_any_list_of_an_evaluation_set_is_read_or_refused(tmp_path, content):
    (tmp_path / "evaluation_setup").mkdir(exist_ok=True)
    (tmp_path / "evaluation_setup/fold1_test.csv").write_bytes(content)
    try:
        names = list_files(tmp_path)
    except DataError:
        return
    assert names
    assert not any(".." in Path(name).parts or Path(name).is_absolute() for name in names)
    assert len(listed_devices(tmp_path, names)) == len(names)


# -- WAV files


@pytest.fixture(scope="module")
def wav(_small_folder: Path) -> bytes:
    return min((_small_folder / "audio").iterdir()).read_bytes()


@settings(quick, max_examples=400)
@given(st.dictionaries(st.integers(0, 60), st.integers(0, 255), min_size=1, max_size=6), st.integers(0, 132_344))
def test_a_wav_with_any_header_is_read_whole_or_refused(tmp_path, wav, changes, cut):
    content = bytearray(wav if cut % 3 else wav[:cut])
    for position, value in changes.items():
        if position < len(content):
            content[position] = value
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(content))
    try:
        read_wav(path, waveform := np.zeros(44_100, np.float32))
    except WavError as problem:
        assert problem.rule
    else:
        assert waveform.shape == (44_100,)
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1


def test_a_wav_truncated_anywhere_is_refused(tmp_path, wav):
    path = tmp_path / "a.wav"
    for cut in [*range(0, 64), *range(64, len(wav), 997), len(wav) - 1]:
        path.write_bytes(wav[:cut])
        with pytest.raises(WavError):
            read_wav(path, np.zeros(44_100, np.float32))


@pytest.mark.parametrize(
    "name", ["\x1b[31mred.wav", "new\nline.wav", "=cmd()", "\N{GRINNING FACE}.wav", "a" * 250, "CON", "<b>.wav"]
)
def test_odd_file_names_are_reported_without_side_effects(small_tree, name):
    (small_tree / "audio" / name).write_bytes(b"x")
    findings = Findings()
    check_audio(small_tree, read_folder(small_tree, findings), findings)
    (finding,) = findings
    assert finding.rule == "not listed in meta.csv"
    assert all(character.isprintable() for line in str(finding).splitlines() for character in line)


# -- reports given to --from


@quick
@given(st.binary(max_size=300) | st.text(alphabet=string.printable, max_size=300).map(str.encode))
def test_any_other_file_given_as_a_report_is_refused_by_name(tmp_path, content):
    path = tmp_path / "r.html"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"r\.html"):
        spaces_in_report(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["studies", "name", "space", "x"]), inner, max_size=3)
    ),
)


@quick
@given(JSON)
def test_any_content_of_a_report_is_read_or_refused(tmp_path, content):
    import json

    path = tmp_path / "r.html"
    path.write_text(f'<script type="text/plain" id="asc-sweeps-content">{pack(json.dumps(content))}</script>')
    try:
        for name, text in spaces_in_report(path).items():
            read_space(text, f"{name}.yaml")
    except ConfigError:
        return


@quick
@given(st.text(max_size=200))
def test_packed_text_is_unpacked_and_a_changed_character_never_gives_another_text(text):
    packed = pack(text)
    assert unpack(packed) == text
    for position in range(0, len(packed), 7):
        changed = packed[:position] + ("A" if packed[position] != "A" else "B") + packed[position + 1 :]
        with suppress(ValueError):
            assert unpack(changed) == text  # a character of the header that has no effect: the time of packing


def test_a_packed_text_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr("asc_sweeps.config.packing.MAX_UNPACKED_BYTES", 10_000)
    with pytest.raises(ValueError, match="larger"):
        unpack(pack("0" * 20_000))
