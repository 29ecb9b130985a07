"""What comes after pretraining: longer clips, distillation, INT8; each a trial on top of the one before."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from small_trials import SMALL, TUNED, config_of, data, workspace  # noqa: F401  (fixtures)
from torch.nn import functional

from asc_sweeps.config.setting_groups import EvaluateConfig, FinetuneConfig, ModelConfig, QuantizeConfig
from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.clips import clip_rows, piece_of
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.segments import fetch
from asc_sweeps.errors import ConfigError, TrialError
from asc_sweeps.models.int8 import (
    IntegerLayer,
    convert_to_int8,
    fake_quantize,
    integer_bytes,
    integer_network,
    integer_parameters,
)
from asc_sweeps.models.network import Network
from asc_sweeps.sweep.plan import make_plan, with_dependencies
from asc_sweeps.training.distill import soften
from asc_sweeps.training.evaluate import predict
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.training.loop import distillation_loss
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.training.stored_network import load_weights, trained_network
from asc_sweeps.workspace.paths import Workspace

pytestmark = pytest.mark.slow

ROUNDED = {"quantize.epochs": 1, "quantize.batch_size": 32, "quantize.calibration_segments": 64}
TAUGHT = {"distill.epochs": 1, "distill.batch_size": 32}


def config(**settings):
    return make_config([Setting(k, v) for k, v in {**SMALL, **settings}.items()])


# -- the order of phases


def test_each_phase_starts_from_the_one_before():
    whole = config(**TUNED, **TAUGHT, **ROUNDED, **{"evaluate.seconds": 5})
    chain = [t.phase for t in with_dependencies(whole)]
    tuned = "fine-tuning (drop rate 0.90)"
    assert chain == [
        *("pretraining", tuned, f"{tuned}, distillation", f"{tuned}, distillation, INT8"),
        f"{tuned}, distillation, INT8, clips of 5 s",
    ]
    assert whole.depth == 4
    assert whole.epochs == 0


def test_teachers_that_are_named_by_settings_are_trials_to_run_first():
    taught = config(**TUNED, **TAUGHT, **{"distill.teachers": "seed=1; model.width=16 seed=2"})
    names = [(t.seed, t.model.width, t.phase) for t in with_dependencies(taught)]
    tuned = "fine-tuning (drop rate 0.90)"
    assert names[-1] == (0, 8, f"{tuned}, distillation")
    assert {(1, 8, tuned), (2, 16, tuned), (0, 8, tuned), (2, 16, "pretraining")} <= set(names)
    assert len(names) == 7


def test_the_teacher_is_the_network_itself_where_none_is_named():
    taught = config(**TUNED, **TAUGHT)
    assert taught.teachers() == [taught.start()] == list(taught.dependencies)


@pytest.mark.parametrize("words", ["seed", "nothing=1", "model.width=9", "distill.epochs=1", "seed=1;; seed=x"])
def test_a_teacher_that_cannot_be_is_refused_with_what_may_be(words):
    with pytest.raises(ConfigError, match=r"distill\.teachers"):
        config(**TAUGHT, **{"distill.teachers": words})


def test_a_teachers_phase_is_not_among_a_pretrained_starts_settings():
    with pytest.raises(ConfigError, match="signatures, or settings"):
        config(**TAUGHT, **{"distill.teachers": "finetune.max_drop_rate=0.5"})


def test_signatures_of_phases_differ_and_leave_the_earlier_ones_alone():
    plain = TrialConfig()
    others = [
        plain.model_copy(update={"quantize": QuantizeConfig()}),
        plain.model_copy(update={"evaluate": EvaluateConfig()}),
        plain.model_copy(update={"finetune": FinetuneConfig()}),
    ]
    assert len({t.signature for t in (plain, *others)}) == 4
    assert all(t.start() == plain for t in others)


# -- clips


def test_clips_are_the_pieces_of_one_recording_in_their_order(data):
    rows = np.flatnonzero(data.splits == "test")
    for seconds, clips_each in ((2, 5), (3, 3), (5, 2), (10, 1)):
        clips = clip_rows(data, np.random.default_rng(0).permutation(rows), EvaluateConfig(seconds=seconds))
        assert clips.shape == (len(rows) // 10 * clips_each, seconds)
        assert len(np.unique(clips)) == clips.size  # no piece stands in two clips
        for clip in clips:
            assert len({data.recordings[row] for row in clip}) == 1
            pieces = [piece_of(data.filenames[row]) for row in clip]
            assert pieces == list(range(pieces[0], pieces[0] + seconds))


def test_the_first_crop_is_the_recordings_beginning(data):
    rows = np.flatnonzero(data.splits == "test")
    clips = clip_rows(data, rows, EvaluateConfig(seconds=2, crops="first"))
    assert {piece_of(data.filenames[row]) for row in clips[:, 0]} == {0}
    assert len(clips) == len(rows) // 10


def test_a_clip_that_lacks_a_piece_is_left_out(data):
    rows = np.flatnonzero(data.splits == "test")
    gone = [row for row in rows if piece_of(data.filenames[row]) != 3]
    clips = clip_rows(data, np.array(gone), EvaluateConfig(seconds=2))
    assert {piece_of(data.filenames[row]) for row in clips[:, 0]} == {0, 4, 6, 8}
    assert clip_rows(data, np.array(gone), EvaluateConfig(seconds=10)).shape == (0, 10)


def test_a_clips_waveform_is_its_pieces_one_after_the_other(data):
    clip = clip_rows(data, np.flatnonzero(data.splits == "test"), EvaluateConfig(seconds=5))[:1]
    expected = torch.cat(list(fetch(data, clip[0], "cpu")))
    assert torch.equal(fetch(data, clip, "cpu")[0], expected)


def test_longer_clips_go_through_the_trained_network_without_training(config_of, workspace, data):
    result = run_trial(config_of(**{"evaluate.seconds": 10}), workspace)
    start = load_weights(config_of(), workspace)
    kept = load_weights(config_of(**{"evaluate.seconds": 10}), workspace)
    assert all(torch.equal(kept[name], value) for name, value in start.items())
    assert result.history == []
    test = result.micro("test")
    assert test.segments == result.data["segments"]["test"] == np.sum(data.splits == "test") // 10
    network = trained_network(config_of(), workspace).eval()
    features = LogMel(config_of().features)
    clips = clip_rows(data, np.flatnonzero(data.splits == "test"), EvaluateConfig(seconds=10))
    with torch.inference_mode():
        logits = network(features(fetch(data, clips, "cpu")))
    loss = functional.cross_entropy(logits, torch.from_numpy(data.scenes[clips[:, 0]]))
    assert test.log_loss == pytest.approx(float(loss), abs=1e-5)
    macs = run_trial(config_of(), workspace).complexity.macs
    assert 9 * macs < result.complexity.macs < 11 * macs


# -- distillation


def test_softened_teachers_are_the_mean_of_their_probabilities_at_the_temperature():
    logits = np.random.default_rng(0).normal(size=(3, 4, 10))  # three teachers, four segments
    log_probabilities = [torch.from_numpy(z).log_softmax(dim=1).numpy() for z in logits]
    by_hand = np.mean([np.exp(z / 2) / np.exp(z / 2).sum(axis=1, keepdims=True) for z in logits], axis=0)
    assert np.allclose(soften(log_probabilities, 2.0), by_hand, atol=1e-6)


def test_the_teachers_part_is_hintons():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 10, generator=generator)
    teacher = torch.randn(5, 10, generator=generator).softmax(dim=1)
    student = (logits / 3).softmax(dim=1)
    by_hand = 9 * (teacher * (teacher.log() - student.log())).sum(dim=1).mean()
    assert distillation_loss(logits, teacher, 3.0).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert distillation_loss(logits, (logits / 3).softmax(dim=1), 3.0).item() == pytest.approx(0, abs=1e-6)


def test_a_distillation_keeps_its_teachers_predictions_by_file_name(config_of, workspace, data):
    taught = config_of(**TAUGHT, **{"distill.teachers": "seed=1"})
    result = run_trial(taught, workspace)
    (teacher,) = taught.teachers()
    path = workspace.trial(teacher.signature) / "train_predictions.npz"
    with np.load(path) as stored:
        names, predictions = stored["filename"], stored["log_probability"]
    train = [name for name, split in zip(data.filenames, data.splits, strict=True) if split == "train"]
    assert sorted(names) == sorted(train)
    network, features = trained_network(teacher, workspace), LogMel(teacher.features)
    rows = np.array([data.filenames.index(name) for name in names])
    assert np.allclose(predict(network, features, data, rows, "cpu"), predictions, atol=1e-5)
    assert [row["phase"] for row in result.history] == ["distill"]
    before = path.stat().st_mtime_ns
    run_trial(config_of(**TAUGHT, **{"distill.teachers": "seed=1", "distill.temperature": 4.0}), workspace)
    assert path.stat().st_mtime_ns == before


def test_a_teacher_by_its_signature_gives_the_same_network(config_of, workspace):
    named = config_of(**TAUGHT, **{"distill.teachers": "seed=1"})
    one = run_trial(named, workspace)
    signed = config_of(**TAUGHT, **{"distill.teachers": named.teachers()[0].signature})
    assert signed.dependencies == (signed.start(),)
    two = run_trial(signed, workspace)
    assert one.signature != two.signature
    assert one.environment["model_sha256"] == two.environment["model_sha256"]


def test_an_unknown_teacher_is_named(config_of, workspace):
    with pytest.raises(TrialError, match="has no finished trial 0123456789ab"):
        run_trial(config_of(**TAUGHT, **{"distill.teachers": "0123456789ab"}), workspace)


# -- INT8


@pytest.fixture(scope="module", params=[("bcresnet", False), ("bcres2net", True)])
def float_network(request):
    """A network whose norms have seen inputs, and some of its inputs."""
    torch.manual_seed(0)
    block, extras = request.param
    network = Network(ModelConfig(block=block, width=8, mfa=extras, fpm=extras, dropout=0.0))
    inputs = torch.randn(64, 1, 32, 16)
    with torch.no_grad():
        for part in inputs.split(16):
            network.train()(part)
    return network.eval(), inputs


def test_a_rounded_network_has_the_names_and_order_of_its_parameters(float_network):
    network, inputs = float_network
    prepared = fake_quantize(network, [inputs])
    assert [name for name, _ in prepared.named_parameters()] == [name for name, _ in network.named_parameters()]
    assert set(network.state_dict()) <= set(prepared.state_dict())


def test_rounding_changes_little_and_integers_compute_what_was_rounded(float_network):
    network, inputs = float_network
    prepared = fake_quantize(network, [inputs]).eval()
    whole = convert_to_int8(prepared)
    with torch.inference_mode():
        exact, rounded, computed = (n(inputs).log_softmax(dim=1) for n in (network, prepared, whole))
    spread = exact.std()
    assert (rounded - exact).abs().mean() < 0.1 * spread
    assert (computed - rounded).abs().mean() < 0.01 * spread
    assert (computed.argmax(1) == rounded.argmax(1)).float().mean() > 0.95


def test_every_parameter_becomes_one_byte(float_network):
    network, inputs = float_network
    whole = convert_to_int8(fake_quantize(network, [inputs]))
    assert integer_bytes(whole) == sum(p.numel() for p in network.parameters())
    assert all(found.levels.dtype == torch.int8 for _, found in integer_parameters(whole))
    assert not list(whole.parameters())
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert sum(isinstance(m, IntegerLayer) for m in whole.modules()) == len(layers)


def test_the_papers_network_fits_into_128_000_bytes():
    whole = integer_network(Network(ModelConfig()))
    assert integer_bytes(whole) == 126_590


def test_an_integer_layer_sums_integers_exactly():
    torch.manual_seed(1)
    layer = torch.nn.Conv2d(4, 6, 3, padding=1, groups=2, bias=False)
    inputs = torch.randn(2, 4, 5, 7)
    (prepared,) = fake_quantize(torch.nn.Sequential(layer), [inputs])
    (whole,) = convert_to_int8(torch.nn.Sequential(prepared))
    levels = (inputs * (1 / whole.input_scale)).round() + whole.input_zero.float()
    centred = levels.clamp(0, 255) - whole.input_zero.float()
    exact = functional.conv2d(centred.double(), whole.weight.levels.double(), None, padding=1, groups=2)
    assert exact.abs().max() > 1000
    assert torch.equal(exact, exact.round())
    scale = (whole.input_scale * whole.weight.scale)[:, None, None]
    assert torch.equal(whole(inputs), exact.float() * scale)


def test_gradients_reach_every_parameter_of_a_rounded_network(float_network):
    network, inputs = float_network
    prepared = fake_quantize(network, [inputs]).train()
    functional.cross_entropy(prepared(inputs), torch.arange(len(inputs)) % len(SCENES)).backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in prepared.parameters())


def test_statistics_of_norms_stand_still_in_rounded_training(float_network):
    network, inputs = float_network
    prepared = fake_quantize(network, [inputs]).train()
    prepared(inputs)
    for name, value in network.state_dict().items():
        assert torch.equal(prepared.state_dict()[name], value), name


def test_what_is_scored_and_kept_is_the_network_of_integers(config_of, workspace, data):
    rounded = config_of(**ROUNDED)
    result = run_trial(rounded, workspace)
    state = load_weights(rounded, workspace)
    assert sum(v.numel() for v in state.values() if v.dtype == torch.int8) == result.complexity.params
    assert result.complexity.model_bytes == result.complexity.params
    rows = np.flatnonzero(data.splits == "test")
    found = predict(trained_network(rounded, workspace), LogMel(rounded.features), data, rows, "cpu")
    loss = -found[np.arange(len(rows)), data.scenes[rows]].mean()
    assert result.micro("test").log_loss == pytest.approx(float(loss), abs=1e-6)
    (converted,) = [s for s in result.scores if s.by == "conversion"]
    assert converted.log_loss == pytest.approx(run_trial(config_of(), workspace).micro("test").log_loss, abs=0.1)


def test_conversion_alone_trains_nothing(config_of, workspace):
    result = run_trial(config_of(**{**ROUNDED, "quantize.epochs": 0}), workspace)
    trained = run_trial(config_of(**ROUNDED), workspace)
    assert result.history == []
    (converted,) = [s for s in trained.scores if s.by == "conversion"]
    assert result.micro("test").log_loss == converted.log_loss


def test_an_interrupted_rounded_training_ends_as_an_unbroken_one(config_of, workspace, tmp_path):
    rounded = config_of(**{**ROUNDED, "quantize.epochs": 3})
    unbroken = run_trial(rounded, workspace)
    other = Workspace(tmp_path / "other")
    shutil.copytree(workspace.prepared, other.prepared)
    shutil.copytree(workspace.trial(rounded.start().signature), other.trial(rounded.start().signature))

    def stop(row):
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_trial(rounded, other, stop)
    assert run_trial(rounded, other).environment["model_sha256"] == unbroken.environment["model_sha256"]
    assert len(run_trial(rounded, other).work_intervals) == 2


def test_clips_go_through_the_network_of_integers_too(config_of, workspace):
    result = run_trial(config_of(**{**ROUNDED, "evaluate.seconds": 10}), workspace)
    assert result.phase == "INT8, clips of 10 s"
    assert np.isfinite(result.micro("test").log_loss)


def test_words_of_teachers_count_once_and_only_where_there_are_some():
    names = {"": [""], "seed=1;": ["seed=1"], "seed=1; seed=1 ;seed=2": ["seed=1", "seed=2"]}
    for words, expected in names.items():
        assert config(**TAUGHT, **{"distill.teachers": words}).distill.teacher_specs() == expected
    for words in ("data.dataset=./other", "data.fingerprint=abc"):
        with pytest.raises(ConfigError, match=r"distill\.teachers"):
            config(**TAUGHT, **{"distill.teachers": words})


def test_what_is_finished_needs_nothing_any_more(config_of, workspace, tmp_path):
    rounded = config_of(**ROUNDED)
    run_trial(rounded, workspace)
    elsewhere = Workspace(tmp_path / "elsewhere")
    shutil.copytree(workspace.trial(rounded.signature), elsewhere.trial(rounded.signature))
    assert make_plan({"s": [rounded]}, FinishedTrials(elsewhere)).todo == []


def test_a_teachers_predictions_that_are_damaged_are_made_anew(config_of, workspace):
    taught = {**TAUGHT, "distill.teachers": "seed=1"}
    run_trial(config_of(**taught), workspace)
    (teacher,) = config_of(**taught).teachers()
    path = workspace.trial(teacher.signature) / "train_predictions.npz"
    whole = path.read_bytes()
    for damaged in (whole[:99], whole[:200] + bytes(100) + whole[300:], b""):
        path.write_bytes(damaged)
        run_trial(config_of(**taught, **{"distill.temperature": 3.0 + len(damaged)}), workspace)
        assert path.read_bytes() == whole
