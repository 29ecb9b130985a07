"""Networks against the written-out equations, an independent functional form, and the counts of Table 2."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torchinfo import summary

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.attention import FrequencyChannelGate, attention_unit
from asc_sweeps.models.blocks import bcres2net_block, bcresnet_block, depthwise
from asc_sweeps.models.complexity import count_complexity
from asc_sweeps.models.layer_counts import count_layers
from asc_sweeps.models.network import Network
from asc_sweeps.models.norms import ResNorm, SubSpectralNorm
from asc_sweeps.models.res2 import Res2
from tests.benchmarks.networks import awake as randomized

TOGGLES = [(block, mfa, fpm) for block in ("bcresnet", "bcres2net") for mfa in (False, True) for fpm in (False, True)]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def awake(module):
    """With random weights and norm statistics, in eval mode."""
    return randomized(module).eval()


def test_res2_is_equation_1():
    ops = awake(Res2(16, 4, lambda c: nn.Sequential(depthwise(c, 3, 1), SubSpectralNorm(c, 4))))
    x = torch.randn(2, 16, 8, 5)
    x1, x2, x3, x4 = x[:, :4], x[:, 4:8], x[:, 8:12], x[:, 12:]
    f2, f3, f4 = ops.operators[1:]
    y1 = x1
    y2 = f2(x2)
    y3 = f3(x3 + y2)
    y4 = f4(x4 + y3)
    torch.testing.assert_close(ops(x), torch.cat([y1, y2, y3, y4], dim=1))
    assert not list(ops.operators[0].parameters())


def test_the_temporal_part_is_equation_2():
    block = awake(bcres2net_block(16, 16, ModelConfig(width=8)))
    f1 = block.temporal[0]
    y = torch.randn(2, 16, 1, 7)
    w2, w3, w4 = (f1.operators[i][0].weight for i in (1, 2, 3))

    def op(x, weight):
        return functional.conv2d(x, weight, padding=(0, 1), groups=4).clamp(min=0)

    a = y[:, :4]
    b = op(y[:, 4:8], w2)
    c = op(y[:, 8:12] + b, w3)
    d = op(y[:, 12:] + c, w4)
    torch.testing.assert_close(f1(y), torch.cat([a, b, c, d], dim=1))


def test_sub_spectral_norm_is_batch_norm_of_each_band():
    norm = SubSpectralNorm(3, 4).train()
    nn.init.normal_(norm.norm.weight)
    nn.init.normal_(norm.norm.bias)
    x = torch.randn(5, 3, 16, 6) * 3 + 1
    expected = torch.empty_like(x)
    for channel in range(3):
        for band in range(4):
            part = x[:, channel, band * 4 : band * 4 + 4, :]
            k = channel * 4 + band
            unit = (part - part.mean()) / (part.var(correction=0) + 1e-5).sqrt()
            expected[:, channel, band * 4 : band * 4 + 4, :] = unit * norm.norm.weight[k] + norm.norm.bias[k]
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-4)


def test_resnorm_is_a_share_of_the_input_plus_frequency_wise_normalisation():
    x = torch.randn(3, 5, 4, 7) * 2 + 1
    expected = torch.empty_like(x)
    for b in range(3):
        for f in range(4):
            part = x[b, :, f, :]
            expected[b, :, f, :] = 0.1 * part + (part - part.mean()) / (part.var(correction=0) + 1e-8).sqrt()
    norm = ResNorm(0.1)
    torch.testing.assert_close(norm(x), expected, atol=1e-5, rtol=1e-4)
    assert not list(norm.parameters())


@pytest.mark.parametrize(("channels", "hidden"), [(20, 10), (10, 6), (15, 8), (25, 12)])
def test_the_gate_squeezes_to_half_the_channels_an_odd_half_raised_by_one(channels, hidden):
    gate = FrequencyChannelGate(channels)
    assert gate.squeeze.out_channels == hidden
    x = torch.randn(2, channels, 3, 5)
    mean = x.mean(dim=3)
    inner = torch.einsum("oc,bcf->bof", gate.squeeze.weight[:, :, 0, 0], mean).relu()
    weight = torch.einsum("oc,bcf->bof", gate.excite.weight[:, :, 0, 0], inner).sigmoid()
    torch.testing.assert_close(gate(x), x * weight[..., None])


def test_the_attention_unit_gates_every_slice_and_passes_on_the_gated_one():
    unit = awake(attention_unit(16, 4))
    x = torch.randn(2, 16, 8, 6)
    parts = x.split(4, dim=1)
    outputs = [unit.operators[0](parts[0])]
    for i in (1, 2, 3):
        conv, norm, relu, gate = unit.operators[i]
        inputs = parts[i] if i == 1 else parts[i] + outputs[-1]
        outputs.append(gate(relu(norm(conv(inputs)))))
    torch.testing.assert_close(unit(x), torch.cat(outputs, dim=1))
    assert isinstance(unit.operators[0], FrequencyChannelGate)


@pytest.mark.parametrize("make", [bcresnet_block, bcres2net_block])
def test_a_block_adds_its_maps_and_the_input_and_a_transition_does_not(make):
    config = ModelConfig(width=8)
    normal, transition = awake(make(16, 16, config)), awake(make(8, 16, config))
    x = torch.randn(2, 16, 8, 5)
    two_d = normal.frequency(x)
    one_d = normal.temporal(two_d.mean(dim=2, keepdim=True))
    torch.testing.assert_close(normal(x), normal.output(x + two_d + one_d.expand(-1, -1, 8, -1)))
    x = torch.randn(2, 8, 8, 5)
    inner = transition.transition(x)
    two_d = transition.frequency(inner)
    one_d = transition.temporal(two_d.mean(dim=2, keepdim=True))
    torch.testing.assert_close(transition(x), transition.output(two_d + one_d))
    assert not normal.is_transition
    assert transition.is_transition


def by_hand(network, config, x):
    """The network of Table 1 once more, as functions of its weights."""
    w = network.state_dict()

    def conv(x, name, **kw):
        return functional.conv2d(x, w[f"{name}.weight"], **kw)

    def norm(x, name, eps=1e-6):
        p = [w[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *p, training=False, eps=eps)

    def sub_spectral(x, name):
        b, c, f, t = x.shape
        return norm(x.reshape(b, c * 4, f // 4, t), f"{name}.norm", eps=1e-5).reshape(b, c, f, t)

    def split(x, op, first=lambda x: x):
        parts = list(x.chunk(4, dim=1))
        y = [first(parts[0]), op(parts[1], 1)]
        for i in (2, 3):
            y.append(op(parts[i] + y[-1], i))
        return torch.cat(y, dim=1)

    def gate(x, name):
        return x * conv(conv(x.mean(3, keepdim=True), f"{name}.squeeze").relu(), f"{name}.excite").sigmoid()

    def attention(x, name):
        def op(x, i):
            o = f"{name}.operators.{i}"
            return gate(norm(conv(x, f"{o}.0", padding=1, groups=x.shape[1]), f"{o}.1").relu(), f"{o}.3")

        return split(x, op, lambda x: gate(x, f"{name}.operators.0"))

    def block(x, name, kind=config.block):
        identity = x
        if f"{name}.transition.0.weight" in w:
            x = norm(conv(x, f"{name}.transition.0"), f"{name}.transition.1").relu()
            identity = 0
        c = x.shape[1]
        if kind == "bcresnet":
            two = sub_spectral(conv(x, f"{name}.frequency.0", padding=(1, 0), groups=c), f"{name}.frequency.1")
            one = conv(two.mean(2, keepdim=True), f"{name}.temporal.0", padding=(0, 1), groups=c)
            one = conv(functional.silu(norm(one, f"{name}.temporal.1")), f"{name}.temporal.3")
            return (two + one + identity).relu()
        f2, f1 = f"{name}.frequency.operators", f"{name}.temporal.0.operators"
        two = split(x, lambda x, i: sub_spectral(conv(x, f"{f2}.{i}.0", padding=(1, 0), groups=c // 4), f"{f2}.{i}.1"))
        one = split(
            two.mean(2, keepdim=True), lambda x, i: conv(x, f"{f1}.{i}.0", padding=(0, 1), groups=c // 4).relu()
        )
        return norm(two + conv(one, f"{name}.temporal.1") + identity, f"{name}.output.0").relu()

    x = norm(conv(x, "stem.0", stride=2, padding=2), "stem.1").relu()
    x = attention(x, "stem.3")
    stages = []
    for i, blocks in enumerate((2, 2, 2, 3)):
        if i in (1, 2):
            x = functional.max_pool2d(x, 2, ceil_mode=True)
        for b in range(blocks):
            x = block(x, f"stages.{i}.{b}")
        x = ResNorm(0.1)(x)
        if config.mfa:
            x = attention(x, f"stages.{i}.{blocks + 1}")
        stages.append(x)
    if not config.fpm:
        return conv(x, "classifier").mean(dim=(2, 3))
    p = [conv(s, f"pyramid.lateral.{i}") for i, s in enumerate(stages)]
    p[2] = p[2] + p[3]
    for low in (1, 0):
        up = functional.pixel_shuffle(conv(p[low + 1], f"pyramid.upsample.{low}.0"), 2)
        p[low] = p[low] + up[:, :, : p[low].shape[2], : p[low].shape[3]]
    pooled = torch.cat([block(q, f"pyramid.smooth.{i}", "bcres2net").mean(dim=(2, 3)) for i, q in enumerate(p)], dim=1)
    return pooled @ w["classifier.weight"].T + w["classifier.bias"]


@pytest.mark.parametrize(("block", "mfa", "fpm"), TOGGLES)
def test_the_network_equals_its_written_out_form(block, mfa, fpm):
    config = ModelConfig(block=block, width=16, mfa=mfa, fpm=fpm)
    network = awake(Network(config))
    x = torch.randn(2, 1, 64, 19)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), by_hand(network, config, x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "params", "macs"),
    [
        ({"block": "bcresnet", "mfa": False, "fpm": False}, 88_140, 16_107_680),
        ({"mfa": False, "fpm": False}, 85_830, 15_890_180),
        ({"mfa": True, "fpm": False}, 93_580, 17_057_320),
        ({"mfa": False, "fpm": True}, 118_840, 25_595_790),
        ({"mfa": True, "fpm": True}, 126_590, 26_762_930),
        ({"block": "bcresnet", "mfa": False, "fpm": False, "stem_attention": False}, 85_880, 14_796_840),
        ({"mfa": False, "fpm": False, "stem_attention": False}, 83_570, 14_579_340),
        ({"mfa": False, "fpm": True, "stem_attention": False}, 116_580, 24_284_950),
    ],
)
def test_the_measured_counts_come_out_to_the_last_integer(settings, params, macs):
    counted = count_complexity(ModelConfig(**settings), 256, 32)
    assert (counted.params, counted.macs, counted.model_bytes) == (params, macs, 4 * params)


def test_plain_bcresnet_80_has_the_size_that_its_authors_print():
    counted = count_complexity(
        ModelConfig(block="bcresnet", width=80, mfa=False, fpm=False, stem_attention=False), 256, 32
    )
    assert round(counted.params / 1000, 1) == 315.0


@pytest.mark.parametrize(("block", "mfa", "fpm"), TOGGLES)
@pytest.mark.parametrize("width", [8, 24, 80])
def test_the_counting_rule_is_torchinfos(block, mfa, fpm, width):
    config = ModelConfig(block=block, width=width, mfa=mfa, fpm=fpm)
    told = summary(Network(config).eval(), input_size=(1, 1, 64, 32), verbose=0)
    counted = count_complexity(config, 64, 32)
    assert (counted.params, counted.macs) == (told.total_params, told.total_mult_adds)


@pytest.mark.parametrize(
    ("settings", "n_mels", "frames"),
    [
        ({"width": 16, "scale": 2, "sub_bands": 2}, 48, 7),
        ({"width": 48, "scale": 8, "stem_attention": False}, 256, 313),
        ({"width": 12, "scale": 3, "sub_bands": 1, "block": "bcresnet"}, 40, 33),
        ({"width": 20, "scale": 5, "fpm": False}, 96, 1),
    ],
)
def test_the_counting_rule_is_torchinfos_for_other_slices_bands_and_clips(settings, n_mels, frames):
    config = ModelConfig(**settings)
    told = summary(Network(config).eval(), input_size=(1, 1, n_mels, frames), verbose=0)
    counted = count_complexity(config, n_mels, frames)
    assert (counted.params, counted.macs) == (told.total_params, told.total_mult_adds)
    assert count_layers(config, n_mels, frames) == counted


@pytest.mark.parametrize("frames", [32, 63, 157, 313])
@pytest.mark.parametrize(("block", "mfa", "fpm"), TOGGLES)
def test_clips_of_1_2_5_and_10_seconds_pass(block, mfa, fpm, frames):
    network = Network(ModelConfig(block=block, width=8, mfa=mfa, fpm=fpm)).eval()
    with torch.inference_mode():
        assert network(torch.randn(2, 1, 32, frames)).shape == (2, 10)


def test_stage_outputs_have_the_sizes_of_table_1():
    network = Network(ModelConfig()).eval()
    shapes = []
    for stage in network.stages:
        stage.register_forward_hook(lambda m, i, o: shapes.append(tuple(o.shape[1:])))
    with torch.inference_mode():
        network(torch.randn(1, 1, 256, 32))
    assert shapes == [(40, 128, 16), (60, 64, 8), (80, 32, 4), (100, 32, 4)]


def test_body_parameters_are_all_but_the_classifiers():
    for fpm in (False, True):
        network = Network(ModelConfig(width=8, fpm=fpm))
        classifier = {id(p) for p in network.classifier.parameters()}
        body = {id(p) for p in network.body_parameters()}
        assert body | classifier == {id(p) for p in network.parameters()}
        assert not body & classifier
