"""Schedules, Eq. 3, dropping, the loop's phases, and scores, from first principles."""

import copy
import hashlib
import io
import itertools
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from asc_sweeps.config.setting_groups import (
    AugmentConfig,
    ComputeConfig,
    DataConfig,
    FeatureConfig,
    FinetuneConfig,
    ModelConfig,
    PretrainConfig,
)
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data import segments
from asc_sweeps.data.features import LogMel
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.segments import fetch
from asc_sweeps.data.splits import largest_device, split_rows
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.errors import TrialError
from asc_sweeps.models.network import Network
from asc_sweeps.training import loop
from asc_sweeps.training.checkpoint import clear_checkpoint, load_checkpoint, save_checkpoint, save_state
from asc_sweeps.training.evaluate import predict, score
from asc_sweeps.training.finetune import finetune, l2_sp_penalty
from asc_sweeps.training.flat_state import flatten, unflatten
from asc_sweeps.training.heap import keep_freed_memory
from asc_sweeps.training.optimizer import PlainAdamW
from asc_sweeps.training.pretrain import pretrain
from asc_sweeps.training.schedules import sigmoid_rise, warmup_cosine
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.storage import LocalStorage


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("training")
    synthesize(root / "set", DatasetPlan("mini", 2, 4, 1, scenes=SCENES[:3]), workers=1)
    return prepare(root / "set", root / "prepared")


@pytest.fixture
def session(data, tmp_path):
    loop.seed_torch(0, "weights")
    trial = TrialConfig(
        data=DataConfig(validation_share=0.0),
        features=FeatureConfig(n_mels=32, hop=1024),
        augment=AugmentConfig(frequency_mask_bands=5, time_mask_frames=2),
        model=ModelConfig(width=8, fpm=False, mfa=False),
    )
    return loop.Session(
        trial=trial,
        workspace=Workspace(tmp_path),
        network=Network(trial.model),
        features=LogMel(trial.features),
        data=data,
        rows=split_rows(data, trial.data),
        accelerator="cpu",
        check_lease=lambda: None,
        report=lambda row: None,
        dropped_device="a",
    )


def change(session, **settings):
    """Change settings of the session's trial, which stays in its folder."""
    signature = session.trial.signature
    session.trial = session.trial.model_copy(update=settings)
    vars(session.trial)["signature"] = signature


def fine(**settings):
    base = {"epochs": 2, "head_epochs": 1, "batch_size": 32, "learning_rate": 1e-3, "head_learning_rate": 1e-2}
    return FinetuneConfig(**{**base, **settings})


# -- schedules


def test_warmup_rises_linearly_over_its_epochs_and_the_cosine_ends_at_zero():
    steps, warm = 300 * 273, 10 * 273
    rate = [warmup_cosine(s, steps, warm, 1e-8, 0.01) for s in range(steps)]
    assert rate[0] == 1e-8
    assert rate[warm] == pytest.approx(0.01)
    assert rate[warm // 2] == pytest.approx((1e-8 + 0.01) / 2)
    halfway = (warm + steps) // 2
    assert rate[halfway] == pytest.approx(0.005, rel=1e-3)
    assert 0 < rate[-1] < 1e-9
    assert warmup_cosine(0, 10, 0, 1e-8, 0.01) == 0.01
    assert warmup_cosine(9, 10, 10, 0.0, 1.0) == 0.9


@pytest.mark.parametrize("highest", [0.0, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("steps", [2, 3, 10, 1000])
def test_the_drop_rate_rises_from_exactly_zero_to_exactly_the_maximum(highest, steps):
    rates = [sigmoid_rise(s, steps, highest, 10.0) for s in range(steps)]
    assert rates[0] == 0.0
    assert rates[-1] == highest
    assert all(a <= b for a, b in itertools.pairwise(rates))
    mirrored = [highest - r for r in reversed(rates)]
    assert rates == pytest.approx(mirrored)  # a sigmoid is symmetric about its middle


def test_the_drop_rate_has_the_shape_of_a_sigmoid():
    rates = np.array([sigmoid_rise(s, 1001, 1.0, 10.0) for s in range(1001)])
    inner = np.log(1 / (rates[300:701] * (1 - 2 / (1 + math.exp(5))) + 1 / (1 + math.exp(5))) - 1)
    np.testing.assert_allclose(np.diff(inner, n=2), 0, atol=1e-9)  # its logit is a straight line


# -- Eq. 3


def test_the_pull_is_equation_3_without_the_classifier():
    network = Network(ModelConfig(width=8))
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    penalty = l2_sp_penalty(network, 0.4)
    assert penalty(network).item() == 0.0
    with torch.no_grad():
        for p in network.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    expected = sum(
        ((p - before[name]) ** 2).sum().item() for name, p in network.named_parameters() if "classifier" not in name
    )
    assert penalty(network).item() == pytest.approx(0.4 * expected, rel=1e-5)
    penalty(network).backward()
    assert network.classifier.weight.grad is None
    weight = network.stem[0].weight
    torch.testing.assert_close(weight.grad, 2 * 0.4 * (weight.detach() - before["stem.0.weight"]))


def test_a_strong_pull_holds_the_body_and_leaves_the_classifier_free(session):
    start = {name: p.detach().clone() for name, p in session.network.named_parameters()}
    finetune(session, fine(reg_lambda=1e4, max_drop_rate=0.0))
    moved = {n: (p - start[n]).norm().item() for n, p in session.network.named_parameters()}
    loop.seed_torch(0, "weights")
    free = replace(session, network=Network(session.trial.model), workspace=Workspace(session.folder), history=[])
    finetune(free, fine(reg_lambda=0.0, max_drop_rate=0.0))
    moved_free = {n: (p - start[n]).norm().item() for n, p in free.network.named_parameters()}
    body = [n for n in moved if "classifier" not in n]
    assert sum(moved[n] for n in body) < 0.5 * sum(moved_free[n] for n in body)
    assert moved["classifier.weight"] > 0.01


# -- phases


def test_the_new_classifier_is_trained_first_on_a_frozen_network(session):
    start = {k: v.clone() for k, v in session.network.state_dict().items()}
    seen = []
    session.report = lambda row: seen.append(
        (row["phase"], {k: v.clone() for k, v in session.network.state_dict().items()}, row["drop_rate"])
    )
    finetune(session, fine())
    _, after_head, drop_rate = seen[0]
    assert [s[0] for s in seen] == ["classifier", "finetune", "finetune"]
    assert drop_rate == 0.0
    for name, value in after_head.items():
        same = torch.equal(value, start[name])
        assert same != name.startswith("classifier."), name  # running statistics stay, too
    assert not torch.equal(seen[1][1]["stem.0.weight"], start["stem.0.weight"])


def _inputs(session):
    """Records what the network is trained on, one tensor an epoch and phase."""
    seen = {}

    def record(network, inputs):
        if torch.is_grad_enabled():
            seen.setdefault(len(session.history), []).append(inputs[0].detach().clone())

    session.network.register_forward_pre_hook(record)
    return lambda: [torch.cat(parts) for parts in seen.values()]


def _plain(session):
    """The training segments' features as they are."""
    return session.features(fetch(session.data, session.rows["train"], "cpu"))


def _same_set(inputs, features):
    """Whether each input is one of the features, up to rounding, and each feature one of the inputs."""
    exact = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(inputs.flatten(1), features.flatten(1), compute_mode=exact)
    return bool((distances.min(0).values < 1e-2).all() and (distances.min(1).values < 1e-2).all())


OFF = AugmentConfig(roll_probability=0, frequency_masks=0, time_masks=0)


def test_mixup_blends_in_pretraining_and_never_in_fine_tuning(session):
    change(session, augment=OFF)
    inputs, features = _inputs(session), _plain(session)
    pretrain(session, PretrainConfig(epochs=1, warmup_epochs=0, batch_size=32, mixup_alpha=0.3))
    assert not _same_set(inputs()[0], features)
    session.history.clear()
    clear_checkpoint(session.workspace.storage, session.folder)
    finetune(session, fine(epochs=1, max_drop_rate=0.0))
    assert all(_same_set(epoch, features) for epoch in inputs()[1:])


def test_every_epoch_shows_each_segment_once_in_an_order_of_its_own(session):
    change(session, augment=OFF)
    inputs, features = _inputs(session), _plain(session)
    pretrain(session, PretrainConfig(epochs=2, warmup_epochs=0, batch_size=32, mixup_alpha=0))
    first, second = inputs()
    assert len(first) == len(second) == len(features)
    assert _same_set(first, features)
    assert _same_set(second, features)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    "augment",
    [
        OFF.model_copy(update={"roll_probability": 1.0}),
        OFF.model_copy(update={"frequency_masks": 1, "frequency_mask_bands": 8, "mask_probability": 1.0}),
        OFF.model_copy(update={"time_masks": 1, "time_mask_frames": 8, "mask_probability": 1.0}),
    ],
)
def test_rolling_and_masks_reach_the_network_in_every_phase(session, augment):
    change(session, augment=augment)
    inputs, features = _inputs(session), _plain(session)
    finetune(session, fine(epochs=1, max_drop_rate=0.0))
    assert len(inputs()) == 2
    assert not any(_same_set(epoch, features) for epoch in inputs())
    session.history.clear()
    clear_checkpoint(session.workspace.storage, session.folder)
    pretrain(session, PretrainConfig(epochs=1, warmup_epochs=0, batch_size=32, mixup_alpha=0))
    assert not _same_set(inputs()[-1], features)


def test_each_phase_has_its_own_weight_decay_and_the_classifiers_leaves_the_rest_alone(session, monkeypatch):
    seen = []

    class Recorded(PlainAdamW):
        def __init__(self, parameters, **settings):
            super().__init__(parameters, **settings)
            seen.append((settings["weight_decay"], len(self.param_groups[0]["params"])))

    monkeypatch.setattr(loop, "PlainAdamW", Recorded)
    everything = len(list(session.network.parameters()))
    pretrain(session, PretrainConfig(epochs=1, warmup_epochs=0, batch_size=64))
    clear_checkpoint(session.workspace.storage, session.folder)
    finetune(session, fine(epochs=1, weight_decay=1e-8))
    assert seen == [(0.05, everything), (1e-8, 1), (1e-8, everything)]


def test_the_largest_device_is_found_in_the_training_rows_not_assumed(data):
    rows = np.flatnonzero(data.splits == "train")
    assert largest_device(data, rows) == "a"
    few_a = np.concatenate([rows[data.devices[rows] == DEVICES.index("b")], rows[data.devices[rows] == 0][:1]])
    assert largest_device(data, few_a) == "b"


def test_only_the_dropped_devices_segments_leave_the_mini_batch_at_the_given_rate(session):
    torch.manual_seed(0)
    rows = np.tile(session.rows["train"], 50)
    kept = loop.drop_segments(session.data, rows, 0, 0.7)
    of_a, others = session.data.devices[rows] == 0, session.data.devices[rows] != 0
    kept_a = session.data.devices[kept] == 0
    assert (~kept_a).sum() == others.sum()
    spread = 5 * math.sqrt(0.3 * 0.7 / of_a.sum())
    assert kept_a.sum() / of_a.sum() == pytest.approx(0.3, abs=spread)
    assert np.array_equal(loop.drop_segments(session.data, rows, 0, 0.0), rows)
    assert not (session.data.devices[loop.drop_segments(session.data, rows, 0, 1.0)] == 0).any()


def test_a_batch_that_is_dropped_whole_is_skipped_and_training_goes_on(session):
    session.rows["train"] = np.flatnonzero((session.data.splits == "train") & (session.data.devices == 0))
    finetune(session, fine(max_drop_rate=1.0, epochs=2, batch_size=1000, head_epochs=0))
    first, last = session.history
    assert first["segments"] == len(session.rows["train"])
    assert last["segments"] == 0
    assert last["train_loss"] is None


def test_fine_tuning_sees_fewer_segments_of_the_device_as_the_rate_rises(session):
    finetune(session, fine(epochs=4, max_drop_rate=0.99))
    segments = [row["segments"] for row in session.history if row["phase"] == "finetune"]
    others = int((session.data.devices[session.rows["train"]] != 0).sum())
    assert segments == sorted(segments, reverse=True)
    assert segments[-1] < others + 0.3 * (len(session.rows["train"]) - others)
    assert session.history[-1]["drop_rate"] == 0.99


def test_pretraining_learns(session):
    pretrain(session, PretrainConfig(epochs=6, warmup_epochs=1, batch_size=16))
    losses = [row["train_loss"] for row in session.history]
    assert losses[-1] < losses[0] - 0.2
    assert all(row["drop_rate"] == 0 and row["phase"] == "pretrain" for row in session.history)


@pytest.mark.parametrize(
    "compute", [{"precision": "bfloat16"}, {"channels_last": True}, {"precision": "bfloat16", "channels_last": True}]
)
def test_another_arithmetic_or_layout_trains_nearly_the_same_and_is_scored_in_float32(session, compute):
    start = copy.deepcopy(session.network.state_dict())
    config = PretrainConfig(epochs=1, warmup_epochs=0, batch_size=32)
    pretrain(session, config)
    usual = session.history[0]["train_loss"]
    clear_checkpoint(session.workspace.storage, session.folder)
    session.network.load_state_dict(start)
    session.history.clear()
    change(session, compute=ComputeConfig(**compute))
    dtypes = []
    hook = session.network.classifier.register_forward_hook(lambda _, __, out: dtypes.append(out.dtype))
    pretrain(session, config)
    assert set(dtypes) == {torch.bfloat16 if "precision" in compute else torch.float32}
    assert session.history[0]["train_loss"] == pytest.approx(usual, abs=0.05)
    dtypes.clear()
    predict(session.network, session.features, session.data, session.rows["test"][:8], "cpu")
    hook.remove()
    assert set(dtypes) == {torch.float32}
    assert all(value.dtype != torch.bfloat16 for value in session.network.state_dict().values())


def test_the_parts_of_a_mini_batch_give_the_whole_ones_gradient(session):
    change(session, augment=AugmentConfig(roll_probability=0, mask_probability=0))
    session.network.eval()  # a batch norm in training has the statistics of its part
    rows, phase = session.rows["train"][:10], loop.Phase("plain", PretrainConfig())

    def gradients(parts):
        session.network.zero_grad()
        for part in np.array_split(rows, parts):
            (loop.training_loss(session, session.network, phase, part) * (len(part) / len(rows))).backward()
        return torch.cat([p.grad.flatten() for p in session.network.parameters()])

    torch.testing.assert_close(gradients(3), gradients(1))
    clear_checkpoint(session.workspace.storage, session.folder)
    sizes = []
    session.network.register_forward_pre_hook(lambda network, inputs: sizes.append(len(inputs[0])))
    change(session, compute=ComputeConfig(parts=3))
    pretrain(session, PretrainConfig(epochs=1, warmup_epochs=0, batch_size=32))
    assert max(sizes) == 11
    assert session.history[0]["segments"] == sum(sizes) == len(session.rows["train"])


def test_a_loss_that_is_not_finite_ends_the_trial_with_its_cause(session):
    with pytest.raises(TrialError, match=r"pretrain, epoch \d+: the training loss is (nan|inf)") as caught:
        pretrain(session, PretrainConfig(epochs=3, warmup_epochs=0, batch_size=32, learning_rate=1e30))
    assert caught.value.cause == "nan"


def test_a_last_step_that_breaks_the_network_ends_the_trial_though_every_loss_was_finite(session):
    config = PretrainConfig(epochs=1, warmup_epochs=0, batch_size=len(session.rows["train"]), learning_rate=1e30)

    def train_and_predict():
        pretrain(session, config)
        predict(session.network, session.features, session.data, session.rows["test"], "cpu")

    with pytest.raises(TrialError) as caught:
        train_and_predict()
    assert caught.value.cause == "nan"
    assert "try a lower learning rate" in str(caught.value)


# -- resuming


class StoppedError(Exception):
    """Stands for whatever ends a process in mid-trial."""


@pytest.mark.parametrize("when", [1, 2, 3])
def test_a_trial_broken_off_in_mid_epoch_ends_bit_equal_to_an_unbroken_one(session, tmp_path, when):
    def run(folder, stop_at=None):
        loop.seed_torch(0, "weights")
        mine = replace(session, network=Network(session.trial.model), workspace=Workspace(folder), history=[])
        calls = []

        def features(x):
            calls.append(1)
            if stop_at is not None and len(calls) == stop_at:
                raise StoppedError
            return session.features(x)

        mine.features = features
        finetune(mine, fine(epochs=2, batch_size=32))
        return mine

    whole = run(tmp_path / "whole")
    steps = session.steps(32)
    with pytest.raises(StoppedError):
        run(tmp_path / "broken", stop_at=when * steps - 1)
    again = run(tmp_path / "broken")
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name

    def timeless(history):
        return [{k: v for k, v in row.items() if k != "seconds"} for row in history]

    assert timeless(whole.history) == timeless(again.history)


def test_for_a_damaged_checkpoint_the_one_before_is_taken_and_two_damaged_ones_are_refused(tmp_path):
    for epoch in (1, 2, 3):
        save_checkpoint(
            LocalStorage(tmp_path), tmp_path, {"epoch": epoch, "w": torch.ones(100)}, f"pretrain-000{epoch}"
        )
    assert load_checkpoint(tmp_path)["epoch"] == 3
    before, last = sorted(tmp_path.glob("*.pt"))
    assert (before.name, last.name) == ("pretrain-0002.pt", "pretrain-0003.pt")
    whole = last.read_bytes()
    for cut in (0, 1, len(whole) // 2, len(whole) - 1):
        last.write_bytes(whole[:cut])
        assert load_checkpoint(tmp_path)["epoch"] == 2
    content = bytearray(whole)
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert load_checkpoint(tmp_path)["epoch"] == 2
    before.write_bytes(b"")
    with pytest.raises(TrialError, match="does not match the stored SHA-256") as caught:
        load_checkpoint(tmp_path)
    assert caught.value.cause == "damaged"
    last.unlink()
    with pytest.raises(TrialError, match=r"pretrain-0003\.pt"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "state",
    [
        {"phase": 0, "epoch": 1},
        {"outline": "{", "tensors": {}},
        {"outline": '{"float32": [9]}', "tensors": {"float32": torch.ones(4)}},
        {"outline": '{"float64": [2]}', "tensors": {"float32": torch.ones(4)}},
        {"outline": '{"float32": [2], "int64": [2]}', "tensors": {"float32": torch.ones(4)}},
        {"outline": 3, "tensors": {}},
        [1],
    ],
)
def test_a_checkpoint_of_another_form_is_refused_with_the_way_out(state, tmp_path):
    digest = save_state(LocalStorage(tmp_path), tmp_path / "pretrain-0001.pt", state)
    (tmp_path / "checkpoint.json").write_text(json.dumps({"file": "pretrain-0001.pt", "sha256": digest}))
    with pytest.raises(
        TrialError, match=r"pretrain-0001\.pt: not a checkpoint of this version .*delete .* to train again"
    ):
        load_checkpoint(tmp_path)


# -- scores


class Hostile:
    """What runs a command when it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def test_adamw_is_the_formula_written_out():
    w = torch.tensor([0.5, -2.0], dtype=torch.float64, requires_grad=True)
    rate, decay, expected = 0.1, 0.05, w.detach().clone()
    optimizer = PlainAdamW([w], lr=rate, weight_decay=decay)
    m, v = torch.zeros(2), torch.zeros(2)
    for step in range(1, 4):
        gradient = torch.tensor([0.3, -1.5], dtype=torch.float64) / step
        w.grad = gradient.clone()
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        expected -= rate * decay * expected  # apart from the gradient: Loshchilov and Hutter, 2019
        expected -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)).sqrt() + 1e-8)
        torch.testing.assert_close(w.detach(), expected)


def test_a_state_comes_back_from_few_long_tensors_as_it_was():
    network = Network(ModelConfig(width=8))
    optimizer = PlainAdamW(network.parameters(), lr=0.1)
    network(torch.randn(2, 1, 256, 8)).sum().backward()
    optimizer.step()
    state = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": [{"epoch": 1, "train_loss": 0.1 + 0.2, "validation_log_loss": None, "name": "tensor"}],
        "odd": [torch.tensor(3), torch.zeros(0, 2), torch.arange(6).view(2, 3).T, torch.ones(2, dtype=torch.uint8)],
    }
    flat = flatten(state)
    assert len(flat["tensors"]) == 3  # float32, int64, uint8
    back = unflatten(flat)
    assert list(back["network"]) == list(state["network"])
    for ours, theirs in zip(state["odd"], back["odd"], strict=True):
        assert ours.dtype == theirs.dtype
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)
    assert all(torch.equal(value, back["network"][name]) for name, value in state["network"].items())
    assert back["history"] == state["history"]
    other = PlainAdamW(network.parameters(), lr=0.1)
    other.load_state_dict(back["optimizer"])
    for number, moments in optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, other.state_dict()["state"][number][name]) for name, value in moments.items())


def test_a_checkpoint_that_would_run_a_command_runs_none(tmp_path):
    content = io.BytesIO()
    torch.save({"network": Hostile(tmp_path / "canary")}, content)
    (tmp_path / "pretrain-0001.pt").write_bytes(content.getvalue())
    digest = hashlib.sha256(content.getvalue()).hexdigest()  # whoever can write the one can write the other
    (tmp_path / "checkpoint.json").write_text(json.dumps({"file": "pretrain-0001.pt", "sha256": digest}))
    with pytest.raises(TrialError, match=r"pretrain-0001\.pt: foreign file with other content than tensors") as error:
        load_checkpoint(tmp_path)
    assert error.value.cause == "damaged"
    assert not (tmp_path / "canary").exists()


def test_scores_are_sums_over_segments_divided_once():
    generator = np.random.default_rng(0)
    n = 1000
    logits = torch.from_numpy(generator.normal(size=(n, 10)).astype(np.float32)).log_softmax(1).numpy()
    scenes = generator.choice(10, n, p=np.arange(1, 11) / 55)
    devices = generator.integers(0, 9, n)
    scores = {(s.by, s.name): s for s in score(logits, scenes, devices, "test")}
    losses = [-float(logits[i, scenes[i]]) for i in range(n)]
    hits = [int(np.argmax(logits[i])) == scenes[i] for i in range(n)]
    micro = scores["overall", "micro"]
    assert micro.segments == n
    assert micro.log_loss == pytest.approx(math.fsum(losses) / n)
    assert micro.accuracy == pytest.approx(sum(hits) / n)
    for d, device in enumerate(DEVICES):
        mine = [i for i in range(n) if devices[i] == d]
        assert scores["device", device].segments == len(mine)
        assert scores["device", device].log_loss == pytest.approx(sum(losses[i] for i in mine) / len(mine))
        assert scores["device", device].accuracy == pytest.approx(sum(hits[i] for i in mine) / len(mine))
    class_means = [np.mean([losses[i] for i in range(n) if scenes[i] == s]) for s in range(10)]
    assert scores["overall", "macro"].log_loss == pytest.approx(np.mean(class_means))
    assert scores["overall", "macro"].log_loss != pytest.approx(micro.log_loss, rel=1e-4)


def test_a_uniform_prediction_has_the_log_loss_of_ten_scenes():
    uniform = np.full((20, 10), -math.log(10), np.float32)
    (micro, *_) = score(uniform, np.arange(20) % 10, np.zeros(20, int), "test")
    assert micro.log_loss == pytest.approx(math.log(10))


def test_devices_without_segments_have_no_score():
    rows = score(np.zeros((4, 10), np.float32), np.array([0, 1, 0, 1]), np.array([0, 0, 3, 3]), "test")
    assert [s.name for s in rows if s.by == "device"] == ["a", DEVICES[3]]


def test_predictions_do_not_depend_on_the_batch_they_stand_in(session, monkeypatch):
    rows = session.rows["test"][:40]
    together = predict(session.network, session.features, session.data, rows, "cpu")
    monkeypatch.setattr("asc_sweeps.training.evaluate.EVALUATION_BATCH", 7)
    apart = predict(session.network, session.features, session.data, rows, "cpu")
    np.testing.assert_allclose(together, apart, atol=1e-5)
    np.testing.assert_allclose(np.exp(together).sum(axis=1), 1, atol=1e-5)


def test_predicting_leaves_weights_and_statistics_alone(session):
    before = {k: v.clone() for k, v in session.network.state_dict().items()}
    predict(session.network, session.features, session.data, session.rows["test"][:10], "cpu")
    assert all(torch.equal(v, before[k]) for k, v in session.network.state_dict().items())


def test_the_optimizer_is_torchs_to_the_bit_and_leaves_torch_compile_alone():
    code = """
import sys, torch
from asc_sweeps.training.heap import keep_freed_memory
from asc_sweeps.training.optimizer import PlainAdamW

def trained(kind):
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(5))
    optimizer = kind([weight], lr=0.01, weight_decay=0.1)
    for _ in range(4):
        optimizer.zero_grad()
        weight.pow(3).sum().backward()
        optimizer.step()
        state = optimizer.state_dict()
        optimizer = kind([weight], lr=0.5)
        optimizer.load_state_dict(state)
    return weight

own = trained(PlainAdamW)
assert not any(name.startswith("torch._dynamo") for name in sys.modules), "torch.compile was imported"
assert torch.equal(own, trained(torch.optim.AdamW))
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(5,), (2, 3)])
def test_waveforms_that_lie_in_the_accelerators_memory_are_those_of_the_cache(data, shape):
    rows = np.random.default_rng(0).integers(len(data.waveforms), size=shape)
    stored = segments._copy(data, "cpu", free_bytes=4 * data.waveforms.nbytes)
    assert torch.equal(segments._take(data, rows, "cpu", stored), fetch(data, rows, "cpu"))
    assert segments._copy(data, "cpu", free_bytes=4 * data.waveforms.nbytes - 1) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of glibc")
def test_memory_that_is_freed_stays_for_the_next_step_and_goes_back_at_the_end():
    def held():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before = held()
    with keep_freed_memory():
        torch.ones(50_000_000)  # 200 MB, and freed at once
        assert held() > before + 150e6
    assert held() < before + 50e6
