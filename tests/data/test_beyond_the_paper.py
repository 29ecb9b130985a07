"""Beyond the paper: impulse responses, the 2024 subsets, and 2025's known devices."""

from __future__ import annotations

import math
import shutil

import numpy as np
import pytest
import soundfile
import torch
from small_trials import SMALL, TUNED, config_of, data, workspace  # noqa: F401  (fixtures)
from sweeping import run

from asc_sweeps.config.setting_groups import AugmentConfig
from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.data.augment import apply_impulse_response
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.impulse import load_responses, store_responses
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.subsets import fetch_data
from asc_sweeps.data.synthetic import synthesize
from asc_sweeps.data.synthetic.layout import DatasetPlan
from asc_sweeps.deploy.export import export_trial
from asc_sweeps.deploy.predict import predict_folder
from asc_sweeps.errors import ConfigError, DataError, WorkspaceError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.sweep.studies import resolve_data
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.training.stored_network import trained_network
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.slow

ALWAYS = AugmentConfig(impulse_response_probability=1.0, impulse_responses="/some")
OWN = {"per_device.epochs": 1, "per_device.batch_size": 16, "per_device.learning_rate": 1e-2}


def requested(**settings):
    return make_config([Setting(k, v) for k, v in {**SMALL, **settings}.items()])


def opened(workspace, **settings):
    """A trial of these settings, bound to the workspace's data as a sweep binds it."""
    (bound,) = resolve_data(
        [requested(**{"data.dataset": str(workspace.data / "set")}, **settings)], workspace, lambda *row: None
    )
    return bound


@pytest.fixture(scope="module", autouse=True)
def _written(data):
    """The workspace's data set is there."""


@pytest.fixture
def responses(tmp_path):
    """Three microphones: one that changes nothing, an echo after 10 ms, and a recording at another rate in two channels."""
    folder = tmp_path / "microphones"
    (folder / "old").mkdir(parents=True)
    plain = np.zeros(1600, np.float32)
    plain[100] = 0.5
    echo = plain.copy()
    echo[260] = 0.25
    soundfile.write(folder / "plain.wav", plain, 16_000, subtype="FLOAT")
    soundfile.write(folder / "echo.WAV", echo, 16_000, subtype="FLOAT")
    noise = np.random.default_rng(0).normal(size=(3000, 2)) * np.exp(-np.arange(3000) / 300)[:, None]
    soundfile.write(folder / "old" / "radio.wav", 0.1 * noise, 44_100)
    return folder


# -- impulse responses


def test_a_segment_is_convolved_with_a_response_and_stays_where_it_was(responses, workspace, tmp_path):
    (responses / "old" / "radio.wav").unlink()
    (responses / "plain.wav").unlink()
    bank = load_responses(store_responses(str(responses), workspace), workspace)
    sound = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 16_000)).astype(np.float32))
    filtered = apply_impulse_response(sound, bank, ALWAYS)
    energy = np.sqrt(0.5**2 + 0.25**2)
    expected = 0.5 / energy * sound
    expected[:, 160:] += 0.25 / energy * sound[:, :-160]
    torch.testing.assert_close(filtered, expected, rtol=0, atol=1e-4)


def test_a_response_that_is_one_sample_changes_nothing(responses, workspace):
    for name in ("echo.WAV", "old/radio.wav"):
        (responses / name).unlink()
    bank = load_responses(store_responses(str(responses), workspace), workspace)
    sound = torch.from_numpy(np.random.default_rng(1).normal(size=(5, 16_000)).astype(np.float32))
    torch.testing.assert_close(apply_impulse_response(sound, bank, ALWAYS), sound, rtol=0, atol=1e-4)


def test_white_noise_keeps_its_level_through_any_response(responses, workspace):
    bank = load_responses(store_responses(str(responses), workspace), workspace)
    assert len(bank) == 3
    sound = torch.randn(600, 16_000, generator=torch.Generator().manual_seed(0))
    level = apply_impulse_response(sound, bank, ALWAYS).square().mean().sqrt()
    assert level == pytest.approx(1.0, abs=0.02)


def test_responses_are_heard_with_their_probability(responses, workspace):
    bank = load_responses(store_responses(str(responses), workspace), workspace)[1:2]
    sound = torch.randn(2000, 16_000, generator=torch.Generator().manual_seed(0))
    config = AugmentConfig(impulse_response_probability=0.3, impulse_responses="/some")
    torch.manual_seed(0)
    changed = (apply_impulse_response(sound, bank, config) != sound).any(dim=1).float().mean()
    assert float(changed) == pytest.approx(0.3, abs=0.04)


def test_where_responses_are_off_nothing_is_drawn_and_the_trial_is_the_same(responses, workspace):
    torch.manual_seed(0)
    sound = torch.zeros(2, 16_000)
    assert apply_impulse_response(sound, None, AugmentConfig()) is sound
    first = torch.rand(1)
    torch.manual_seed(0)
    assert torch.rand(1) == first
    named = opened(workspace, **{"augment.impulse_responses": str(responses)})
    assert named == opened(workspace)


def test_the_trial_knows_the_responses_content_not_their_folder(responses, workspace, tmp_path):
    on = {"augment.impulse_response_probability": 0.5}
    one = opened(workspace, **on, **{"augment.impulse_responses": str(responses)})
    copy = shutil.copytree(responses, tmp_path / "elsewhere")
    assert opened(workspace, **on, **{"augment.impulse_responses": str(copy)}) == one
    assert one.signature != opened(workspace).signature
    # Named by their content alone, as a report's repetition names them, they are found in the workspace.
    assert (
        opened(workspace, **on, **{"augment.impulse_responses_content": one.augment.impulse_responses_content}) == one
    )
    sound, rate = soundfile.read(copy / "plain.wav", dtype="float32")
    sound[105] = 0.1
    soundfile.write(copy / "plain.wav", sound, rate, subtype="FLOAT")
    assert opened(workspace, **on, **{"augment.impulse_responses": str(copy)}).signature != one.signature


def test_a_trial_trains_through_responses(responses, workspace):
    on = {"augment.impulse_response_probability": 1.0, "augment.impulse_responses": str(responses)}
    with_them, without = (run_trial(opened(workspace, **which), workspace) for which in (on, {}))
    assert with_them.history[0]["train_loss"] != without.history[0]["train_loss"]


def test_what_is_no_impulse_response_is_named(responses, workspace, tmp_path):
    (responses / "text.wav").write_text("not sound")
    soundfile.write(responses / "silence.wav", np.zeros(100), 16_000)
    with pytest.raises(DataError, match=r"(?s)must be an impulse response: 2.*silence\.wav.*text\.wav"):
        store_responses(str(responses), workspace)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="contains no WAV files"):
        store_responses(str(tmp_path / "empty"), workspace)
    with pytest.raises(DataError, match="no such folder"):
        store_responses(str(tmp_path / "nowhere"), workspace)
    with pytest.raises(ConfigError, match=r"needs augment\.impulse_responses"):
        requested(**{"augment.impulse_response_probability": 0.5})
    gone = {"augment.impulse_response_probability": 0.5, "augment.impulse_responses_content": "0" * 32}
    with pytest.raises(DataError, match=r"--set augment\.impulse_responses=DIR"):
        opened(workspace, **gone)


# -- the subsets of 2024


def test_the_subsets_are_nested_whole_recordings_of_about_their_share(workspace, data):
    chosen = {}
    for percent in (5, 10, 25, 50, 100):
        config = opened(workspace, **{"data.subset": percent})
        trial_data = fetch_data(workspace, config.data)
        rows = np.flatnonzero(trial_data.splits == "train")
        chosen[percent] = set(rows.tolist())
        assert len(rows) % 10 == 0
        assert len(np.unique(trial_data.recordings[rows])) * 10 == len(rows)
        assert (trial_data.splits == "test").sum() == (data.splits == "test").sum()
    sizes = [len(rows) for rows in chosen.values()]
    recordings = [len(np.unique(data.recordings[(data.splits == "train") & (data.scenes == s)])) for s in range(3)]
    assert sizes == [10 * sum(math.ceil(n * p / 100) for n in recordings) for p in chosen]
    assert all(chosen[a] <= chosen[b] for a, b in ((5, 10), (10, 25), (25, 50), (50, 100)))
    assert sizes[-1] == (data.splits == "train").sum()


def test_all_of_train_is_the_trial_without_a_subset(workspace):
    assert opened(workspace, **{"data.subset": 100}) == opened(workspace)


def test_a_trial_learns_from_its_subset_alone_and_is_scored_on_all(workspace):
    half = run_trial(opened(workspace, **{"data.subset": 50}), workspace)
    whole = run_trial(opened(workspace), workspace)
    assert half.signature != whole.signature
    assert half.data["segments"]["train"] < whole.data["segments"]["train"]
    assert half.data["segments"]["test"] == whole.data["segments"]["test"]
    assert {row["segments"] for row in half.history} == {half.data["segments"]["train"]}


def test_validation_is_taken_from_the_subset_too(workspace):
    config = opened(workspace, **{"data.subset": 50, "data.validation_share": 0.5})
    trial_data = fetch_data(workspace, config.data)
    rows = split_rows(trial_data, config.data)
    assert len(rows["validation"])
    assert set(rows["train"]) | set(rows["validation"]) == set(np.flatnonzero(trial_data.splits == "train"))


@pytest.fixture
def own_workspace(tmp_path):
    made = Workspace(tmp_path / "w", accelerator="cpu")
    synthesize(made.data / "set", DatasetPlan("mini", 2, 4, 1, scenes=("airport", "bus")), workers=1)
    return made


def test_a_list_of_other_content_is_another_trial_and_a_wrong_one_is_refused(own_workspace):
    before = opened(own_workspace, **{"data.subset": 50})
    path = own_workspace.data / "set/evaluation_setup/split50.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(reversed(lines[1:])).join([lines[0] + "\n", "\n"]))
    assert opened(own_workspace, **{"data.subset": 50}) == before  # the order of a list means nothing
    path.write_text("\n".join(lines[:-10]) + "\n")
    assert opened(own_workspace, **{"data.subset": 50}).signature != before.signature
    path.write_text("\n".join([*lines, "audio/bus-nowhere-1-1-0-a.wav\tbus"]))
    with pytest.raises(DataError, match=r"split50\.csv: not a training segment: audio/bus-nowhere"):
        opened(own_workspace, **{"data.subset": 50})
    path.unlink()
    with pytest.raises(DataError, match=r"has no split50\.csv"):
        opened(own_workspace, **{"data.subset": 50})
    with pytest.raises(ConfigError, match=r"data\.subset must be 5, 10, 25, 50 or 100"):
        requested(**{"data.subset": 30})


# -- known devices


@pytest.fixture(scope="module")
def specialized(workspace):
    config = opened(workspace, **OWN)
    return config, run_trial(config, workspace), trained_network(config, workspace)


def test_each_known_device_gets_a_network_of_its_own(specialized, workspace):
    config, _, networks = specialized
    general = trained_network(config.start(), workspace).state_dict()
    assert isinstance(networks, DeviceNetworks)
    for name, value in networks.general.state_dict().items():
        assert torch.equal(value, general[name])  # it is left as it was
    weights = {device: networks.own[device].classifier.weight for device in SEEN_DEVICES}
    trial_data = fetch_data(workspace, config.data)
    known = {
        DEVICES[d] for d in trial_data.devices[split_rows(trial_data, config.data)["train"]]
    }  # the small set lacks two
    assert len({weights[device].sum().item() for device in known}) == len(known) > 2
    assert all(torch.equal(weights[d], networks.general.classifier.weight) for d in set(SEEN_DEVICES) - known)
    assert networks.of(DEVICES.index("s5")) is networks.general is networks.of(-1)


def test_a_devices_network_learns_from_its_segments_alone(workspace, specialized):
    """The same settings with another device's segments gone leave a device's network as it is, but for what chance draws."""
    config, result, networks = specialized
    trial_data = fetch_data(workspace, config.data)
    rows = split_rows(trial_data, config.data)["train"]
    steps = {d: -(-int((trial_data.devices[rows] == i).sum()) // 16) for i, d in enumerate(SEEN_DEVICES)}
    for device, count in steps.items():  # running statistics count the mini-batches that a network has seen
        seen = networks.own[device].stem[1].num_batches_tracked - networks.general.stem[1].num_batches_tracked
        assert int(seen) == count
    assert [row["segments"] for row in result.history] == [len(rows)]


def test_each_test_segment_is_asked_of_its_devices_network(specialized, workspace):
    config, result, networks = specialized
    trial_data = fetch_data(workspace, config.data)
    rows = split_rows(trial_data, config.data)["test"]
    features = LogMel(config.features)
    for i, device in enumerate(DEVICES):
        its = rows[trial_data.devices[rows] == i]
        own = networks.own[device] if device in SEEN_DEVICES else networks.general
        by_hand = predict(own, features, trial_data, its, "cpu")[np.arange(len(its)), trial_data.scenes[its]]
        (score,) = (s for s in result.scores if (s.split, s.by, s.name) == ("test", "device", device))
        assert score.log_loss == pytest.approx(-by_hand.mean(), abs=1e-5)


def test_a_strong_pull_holds_each_network_at_the_general_one(workspace):
    held = opened(workspace, **{**OWN, "per_device.reg_lambda": 1e6, "per_device.learning_rate": 1e-6})
    run_trial(held, workspace)
    networks = trained_network(held, workspace)
    for own in networks.own.values():
        for one, other in zip(own.body_parameters(), networks.general.body_parameters(), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_clips_and_the_drop_come_with_networks_of_devices_and_int8_does_not(workspace):
    config = opened(workspace, **TUNED, **OWN, **{"evaluate.seconds": 5})
    assert config.phase == "fine-tuning (drop rate 0.90), per device, clips of 5 s"
    assert run_trial(config, workspace).data["segments"]["test"]
    with pytest.raises(ConfigError, match="per_device and quantize exclude each other"):
        requested(**OWN, **{"quantize.epochs": 1})


def test_unlabelled_files_whose_device_is_told_are_asked_of_its_network(specialized, workspace, tmp_path):
    config, _, networks = specialized
    trial_data = fetch_data(workspace, config.data)
    rows = split_rows(trial_data, config.data)["test"][::7]
    (tmp_path / "audio").mkdir()
    (tmp_path / "evaluation_setup").mkdir()
    told = [
        DEVICES[trial_data.devices[row]] if trial_data.devices[row] < len(SEEN_DEVICES) else "unknown" for row in rows
    ]
    lines = ["filename\tdevice_id"]
    for number, (row, device) in enumerate(zip(rows, told, strict=True)):
        shutil.copy(workspace.data / "set" / trial_data.filenames[row], tmp_path / f"audio/{number}.wav")
        lines.append(f"audio/{number}.wav\t{device}")
    path = tmp_path / "evaluation_setup/fold1_test.csv"
    path.write_text("\n".join(lines) + "\n")

    def probabilities():
        return predict_folder(config, workspace, tmp_path, lambda done, total: None)[1]

    expected = predict(networks, LogMel(config.features), trial_data, rows, "cpu")
    np.testing.assert_allclose(probabilities(), np.exp(expected), atol=1e-5)
    path.write_text("\n".join(line.split("\t")[0] for line in lines) + "\n")
    general = predict(networks.general, LogMel(config.features), trial_data, rows, "cpu")
    np.testing.assert_allclose(probabilities(), np.exp(general), atol=1e-5)


@pytest.mark.slow
def test_one_devices_network_is_exported_and_checked_on_its_segments(specialized, workspace, tmp_path):
    config, _, _ = specialized
    for device in ("b", None):
        found = export_trial(config, workspace, "pt2", tmp_path / "n.pt2", 50, lambda line: None, device)
        assert found.largest_difference < 1e-4
    with pytest.raises(WorkspaceError, match="has one network for all devices"):
        export_trial(config.start(), workspace, "pt2", tmp_path / "n.pt2", 50, lambda line: None, "b")
    wrong = run("export", config.signature, "--device", "s4", "--workspace", str(workspace.root), cwd=tmp_path, code=2)
    assert "must be one of a, b, c, s1, s2, s3; got 's4'" in wrong.stderr
