"""The networks' compiled form against their plain layers, with the same weights."""

import copy
import gc
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.cpu import buffers, compiled, operations
from asc_sweeps.models.cpu.known_layers import KNOWN_SOURCES, source_digest
from asc_sweeps.models.int8 import fake_quantize
from asc_sweeps.models.network import Network
from asc_sweeps.training.build_network import build_network
from tests.benchmarks.networks import awake, differences

pytestmark = pytest.mark.slow

BASELINE, RES2NET, FULL = {"block": "bcresnet", "mfa": False, "fpm": False}, {"mfa": False, "fpm": False}, {}
CASES = [
    (BASELINE, 8, 32, 32),
    (BASELINE, 16, 64, 7),
    (BASELINE, 40, 64, 16),
    (RES2NET, 8, 32, 7),
    (RES2NET, 16, 96, 40),
    (RES2NET, 40, 64, 16),
    (FULL, 8, 64, 1),
    (FULL, 8, 64, 7),
    (FULL, 16, 32, 19),
    (FULL, 16, 64, 40),
    (FULL, 24, 160, 33),
    (FULL, 40, 256, 32),
    ({"block": "bcresnet"}, 16, 64, 13),
    ({"mfa": False}, 8, 64, 32),
    ({"fpm": False}, 8, 64, 32),
    ({"stem_attention": False}, 8, 32, 32),
    ({"scale": 2, "sub_bands": 2}, 8, 32, 16),
    ({"resnorm": 0.0, "sub_bands": 1}, 8, 8, 16),
]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _any_size_and_precision_is_fast(monkeypatch):
    monkeypatch.setattr(compiled, "DTYPES", (torch.float32, torch.float64))
    monkeypatch.setattr(compiled, "MIN_STEM_VALUES", 0)


def pair(settings, width=8, dtype=torch.float32):
    """The plain network and ours, with the same weights."""
    config = ModelConfig(width=width, **settings)
    plain, ours = awake(Network(config)).to(dtype), build_network(config).to(dtype)
    ours.load_state_dict(plain.state_dict())
    return plain, ours


def drawn(*shape):
    """The same numbers in each run."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def gradients(network, x):
    """Of its parameters, all in one."""
    network.zero_grad()
    network(x).square().sum().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("settings", "width", "n_mels", "frames"), CASES)
def test_outputs_gradients_and_statistics_are_the_plain_networks(settings, width, n_mels, frames, training):
    config = ModelConfig(width=width, dropout=0.0, **settings)
    # In double precision: where two numbers of a pooling window, or a ReLU's input and zero, are as good as equal in single
    # precision, a gradient takes one way or the other by the last digit.
    assert differences(config, torch.randn(5, 1, n_mels, frames).double(), training)[0] < 1e-9


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("settings", [BASELINE, RES2NET, FULL])
def test_single_precision_is_as_near_to_the_truth_as_the_plain_networks(settings, training):
    truth, _ = pair({"dropout": 0.0, **settings}, 16, torch.float64)
    _, ours = pair({"dropout": 0.0, **settings}, 16)
    plain = copy.deepcopy(truth).float()
    ours.load_state_dict(plain.state_dict())
    x = torch.randn(6, 1, 64, 32)
    found = []
    for network, inputs in ((truth, x.double()), (plain, x), (ours, x)):
        outputs = network.train(training)(inputs)
        outputs.square().sum().backward()
        found.append([outputs.detach().double(), *(p.grad.double() for p in network.parameters())])
    errors = [
        [float((a - b).abs().max() / b.abs().max().clamp_min(1e-6)) for a, b in zip(values, found[0], strict=True)]
        for values in found[1:]
    ]
    assert errors[1][0] < 1e-4
    assert np.mean(errors[1]) < 2 * np.mean(errors[0]) + 1e-7


@pytest.mark.parametrize("settings", [BASELINE, RES2NET, FULL])
def test_names_and_shapes_are_the_plain_networks(settings):
    plain, ours = pair(settings)
    assert [(k, v.shape) for k, v in ours.state_dict().items()] == [(k, v.shape) for k, v in plain.state_dict().items()]


@pytest.mark.parametrize("settings", [BASELINE, FULL])
def test_dropout_draws_the_plain_networks_masks(settings):
    plain, ours = pair({"dropout": 0.3, **settings}, dtype=torch.float64)
    x, found = torch.randn(4, 1, 32, 16).double(), []
    for network in (plain, ours):
        torch.manual_seed(1)
        found.append(gradients(network, x))
    torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_threads_give_the_same_bytes(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    x = torch.randn(7, 1, 32, 32)

    def found():
        torch.manual_seed(1)
        return gradients(build_network(ModelConfig(width=8)), x)

    assert torch.equal(found(), found())


def test_threads_share_a_mini_batch(monkeypatch):
    plain, ours = pair({"dropout": 0.0}, dtype=torch.float64)
    x = torch.randn(5, 1, 32, 32).double()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    torch.testing.assert_close(gradients(ours, x), gradients(plain, x), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    "x",
    [
        drawn(1, 1, 32, 1),
        drawn(1, 1, 32, 9),
        drawn(3, 1, 16, 32).mT,
        drawn(6, 2, 32, 9)[::2, 1:],
        drawn(0, 1, 32, 8),
        drawn(2, 1, 40, 8),
        drawn(2, 2, 32, 8),
        drawn(1, 32, 8),
        torch.full((2, 1, 32, 8), float("nan"), dtype=torch.float64),
        drawn(2, 1, 32, 8).float(),
        drawn(2, 1, 32, 8).requires_grad_(),
    ],
    ids=["1 x 1", "1 x 9", "transposed", "sliced", "empty", "F", "channels", "3-D", "nan", "single", "gradient"],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("settings", [BASELINE, FULL])
def test_any_input_is_taken_or_refused_as_by_the_plain_network(settings, training, x):
    found = []
    for network in pair({"dropout": 0.0, **settings}, dtype=torch.float64):
        try:
            found.append(network.train(training)(x))
        except Exception as error:
            found.append(type(error))
    if isinstance(found[0], type):
        assert found[1] == found[0]
    else:
        torch.testing.assert_close(found[1], found[0], rtol=1e-8, atol=1e-8, equal_nan=True)


def test_a_number_that_is_none_stays_with_its_segment():
    plain, ours = (network.eval() for network in pair({}))
    x = torch.randn(3, 1, 32, 16)
    x[1, 0, 7, 3] = float("nan")
    torch.testing.assert_close(ours(x), plain(x), rtol=1e-4, atol=1e-4, equal_nan=True)
    assert ours(x).isnan().any(dim=1).tolist() == [False, True, False]


def test_frozen_parameters_have_no_gradient():
    plain, ours = pair({"dropout": 0.0}, dtype=torch.float64)
    x = torch.randn(3, 1, 32, 16).double()
    for network in (plain, ours):
        network.stem.requires_grad_(False)
    torch.testing.assert_close(gradients(ours, x), gradients(plain, x), rtol=1e-8, atol=1e-8)
    assert ours.stem[0].weight.grad is None


def test_a_way_back_is_gone_once_unless_it_is_retained():
    network = build_network(ModelConfig(width=8, dropout=0.0))
    loss = network(torch.randn(3, 1, 32, 16)).sum()
    loss.backward(retain_graph=True)
    first = network.stem[0].weight.grad.clone()
    loss.backward()
    torch.testing.assert_close(network.stem[0].weight.grad, 2 * first, rtol=1e-5, atol=1e-6)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_a_gradient_of_a_gradient_is_refused():
    x = torch.randn(2, 1, 32, 16, requires_grad=True)
    network = build_network(ModelConfig(width=8))
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="differentiate twice"):
        gradient.sum().backward()


def test_operations_compile_where_nothing_can_be_written(tmp_path):
    """As in a package folder and a home that are read-only."""
    code = "from asc_sweeps.models.cpu import operations; import numpy as np; table = np.empty(4, np.float32);"
    code += "ones = np.ones(1, np.float32); step = np.array([1, 0, *[0, 0, 0, 4], *[1, 0, 0, 1], *[1, 0, 0, 1]]);"
    code += "operations.finish_norm(step, 1, table, ones, 0, ones, ones, 0.1, 0.0); print(table)"
    blocked = tmp_path / "file"
    blocked.touch()
    copied = shutil.copytree(
        Path(compiled.__file__).parents[2], tmp_path / "asc_sweeps", ignore=shutil.ignore_patterns("__pycache__")
    )
    (copied / "models" / "cpu" / "__pycache__").touch()  # a file: no folder can be made in its place
    environment = {**os.environ, "HOME": str(blocked), "XDG_CACHE_HOME": str(blocked), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "[1. 1. 1. 0.]", done.stderr


def test_a_network_that_went_through_training_can_be_copied_pickled_and_forgotten():
    network = build_network(ModelConfig(width=8))
    network(torch.randn(3, 1, 32, 16)).sum().backward()
    x = torch.randn(2, 1, 32, 16)
    for other in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(other.eval()(x), network.eval()(x))
    before = len(compiled._plans)
    del network, other
    gc.collect()
    assert len(compiled._plans) < before


def test_weights_that_are_put_in_another_place_are_seen():
    plain, ours = pair({})
    x = torch.randn(2, 1, 32, 16)
    ours.eval()(x)
    changed = {name: value * 1.1 if value.is_floating_point() else value for name, value in plain.state_dict().items()}
    ours.load_state_dict(changed, assign=True)
    plain.load_state_dict(changed)
    torch.testing.assert_close(ours(x), plain.eval()(x), rtol=1e-4, atol=1e-4)


def test_autocast_passes():
    network = build_network(ModelConfig(width=8))
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.randn(3, 1, 32, 16)).float().sum()
    loss.backward()
    assert all(p.grad is not None for p in network.parameters())


def test_layers_that_are_replaced_watched_or_partly_in_training_are_called():
    network, x = build_network(ModelConfig(width=8)), torch.randn(3, 1, 32, 16)
    assert compiled.can_run(network, x)
    assert not compiled.can_run(fake_quantize(network), x)
    assert not compiled.can_run(copy.deepcopy(network).double(), x)
    with torch.device("meta"):
        assert not compiled.can_run(network, torch.empty(3, 1, 32, 16))
    handle = network.stem[1].register_forward_hook(lambda *_: None)
    assert not compiled.can_run(network, x)
    handle.remove()
    network.stages[0].eval()
    assert not compiled.can_run(network, x)


class Doubled(Network):
    """A subclass that computes something else."""

    def forward(self, x):
        return 2 * super().forward(x)


class Louder(nn.ReLU):
    """A subclass of a layer that computes something else."""

    def forward(self, x):
        return 3 * super().forward(x)


def other_layer(**arguments):
    """Of a block's depthwise filter along frequency, a convolution with other arguments."""

    def change(network):
        old = network.stages[0][0].frequency.operators[1][0]
        usual = {"kernel_size": (3, 1), "padding": (1, 0), "groups": old.groups, "bias": False}
        network.stages[0][0].frequency.operators[1][0] = nn.Conv2d(
            old.in_channels, old.out_channels, **(usual | arguments)
        )

    return change


CHANGES = {
    "a bias": other_layer(bias=True),
    "a dilation": other_layer(dilation=(2, 1), padding=(2, 0)),
    "a kernel of 5 x 5": other_layer(kernel_size=5, padding=2),
    "other groups": other_layer(groups=1),
    "another padding": other_layer(padding_mode="circular"),
    "a stride": lambda network: setattr(network.stem[0], "stride", (2, 1)),
    "another activation": lambda network: network.stem.__setitem__(2, nn.GELU()),
    "a subclass of a layer": lambda network: network.stem.__setitem__(2, Louder()),
    "a subclass of the network": lambda network: setattr(network, "__class__", Doubled),
    "a forward of its own": lambda network: setattr(network.stem[2], "forward", lambda x: 3 * x.relu()),
    "a layer more": lambda network: network.stem.append(nn.ReLU()),
    "another weight of ResNorm": lambda network: setattr(network.stages[0][2], "weight", 0.7),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_exactly_known_goes_through_the_layers_and_gives_their_result(change, monkeypatch):
    torch.manual_seed(0)
    network, x = awake(build_network(ModelConfig(width=8, dropout=0.0, resnorm=0.1))), torch.randn(3, 1, 32, 16)
    assert compiled.can_run(network, x)
    CHANGES[change](network)
    for module in network.modules():  # a bias of zeros would be left out unnoticed
        if isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)
    assert not compiled.can_run(network, x)
    found = network.eval()(x)
    monkeypatch.setattr(compiled, "can_run", lambda *_: False)
    torch.testing.assert_close(found, network(x), rtol=0, atol=0)


def test_the_compiled_form_is_written_for_the_layers_as_they_are():
    assert {layer.__qualname__: source_digest(layer) for layer in KNOWN_SOURCES} == {
        layer.__qualname__: digest for layer, digest in KNOWN_SOURCES.items()
    }


EDITS = {
    "a bias": ("blocks.py", "groups=channels, bias=False", "groups=channels, bias=True"),
    "another activation": ("blocks.py", "nn.SiLU()", "nn.GELU()"),
    "another gate": ("attention.py", "torch.relu(", "torch.nn.functional.silu("),
    "another forward": ("norms.py", "return self.weight * x +", "return 2 * self.weight * x +"),
}


@pytest.mark.slow
@pytest.mark.parametrize("edit", EDITS)
def test_layers_whose_code_was_changed_are_called(edit, tmp_path):
    file, old, new = EDITS[edit]
    package = shutil.copytree(
        Path(compiled.__file__).parents[2], tmp_path / "asc_sweeps", ignore=shutil.ignore_patterns("__pycache__")
    )
    source = (package / "models" / file).read_text()
    assert old in source
    (package / "models" / file).write_text(source.replace(old, new))
    code = (
        "import torch; from asc_sweeps.training.build_network import build_network; from asc_sweeps.models.cpu import compiled; "
        "from asc_sweeps.config.setting_groups import ModelConfig; compiled.MIN_STEM_VALUES = 0; "
        "network, x = build_network(ModelConfig(width=8, block='bcresnet')), torch.randn(3, 1, 32, 16); "
        "network(x).sum().backward(); print(compiled.__file__, compiled.can_run(network, x))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(package / "models" / "cpu" / "compiled.py"), "False"]


def test_without_numba_the_layers_are_called():
    code = (
        "import sys; sys.modules['numba'] = None; import torch; from asc_sweeps.config.setting_groups import ModelConfig; "
        "from asc_sweeps.training.build_network import build_network; "
        "from asc_sweeps.models.cpu import compiled; compiled.MIN_STEM_VALUES = 0; "
        "network, x = build_network(ModelConfig(width=8)), torch.randn(3, 1, 32, 16); network(x).sum().backward(); "
        "print(compiled.can_run(network, x), network.stem[0].weight.grad is not None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_forward_that_was_replaced_in_its_class_is_called(monkeypatch):
    network, x = build_network(ModelConfig(width=8)), torch.randn(3, 1, 32, 16)
    assert compiled.can_run(network, x)
    monkeypatch.setattr(nn.SiLU, "forward", lambda self, x: x)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x)
    assert not compiled.can_run(network, x)


def test_arguments_that_are_read_at_each_run_may_change():
    network, x = build_network(ModelConfig(width=8)), torch.randn(3, 1, 32, 16)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 0.3
        if isinstance(module, nn.Dropout2d):
            module.p = 0.0
    assert compiled.can_run(network, x)


def test_small_mini_batches_are_left_to_the_layers(monkeypatch):
    monkeypatch.setattr(compiled, "MIN_STEM_VALUES", 2**20)
    assert not compiled.can_run(build_network(ModelConfig(width=8)), torch.randn(64, 1, 32, 16))
    assert compiled.can_run(build_network(ModelConfig()), torch.randn(64, 1, 256, 32))


def test_memory_is_kept_for_the_next_step_as_long_as_a_network_lives_that_took_one():
    gc.collect()
    networks = [build_network(ModelConfig(width=16)).train() for _ in range(2)]
    x = torch.randn(64, 1, 128, 32)
    for network in networks:
        network(x).sum().backward()
    assert buffers._free
    first = buffers.empty(2**24, torch.float32)
    place = first.data_ptr()
    del first
    second = buffers.empty(2**24 - 5, torch.float32)
    third = buffers.empty(2**24, torch.float32)
    assert second.data_ptr() == place != third.data_ptr()
    del second, third, network, networks[0]
    gc.collect()
    assert buffers._free
    networks.clear()
    gc.collect()
    assert not buffers._free


def test_the_exponential_is_right_to_the_last_digits():
    x = np.concatenate([np.linspace(-86, 88, 10_001), np.array([0.0, -200, 200, np.nan, np.inf, -np.inf])]).astype(
        np.float32
    )
    n = len(x)
    numbers = np.concatenate([x, np.empty_like(x)])
    row = np.zeros((1, operations.ROW_WIDTH), np.int64)
    row[0, :9] = [operations.SIGMOID, operations.SAVED, n, 0, n, operations.SAVED, 0, 0, n]
    operations.run(row, 0, 1, 1, numbers, numbers, 0)
    out = numbers[n:]
    np.testing.assert_allclose(out, 1 / (1 + np.exp(-x.astype(np.float64))), rtol=3e-7, atol=1e-37)
