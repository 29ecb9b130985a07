"""Training and prediction speed of the compiled networks on a CPU, compared with their plain layers.

    python -m tests.benchmarks.networks [--batch 64] [--threads 1] [--seconds 30]

First checks that both forms have equal outputs and gradients for the same weights. Then each form runs in its own process, and they
take turns. Times are CPU times over the threads, medians over the turns: other programs affect them less than wall time.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch
from torch import Tensor, nn

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.complexity import count_complexity
from asc_sweeps.models.cpu import compiled
from asc_sweeps.models.network import Network
from asc_sweeps.training.build_network import build_network

NETWORKS = {
    "BC-ResNet-40": {"block": "bcresnet", "mfa": False, "fpm": False},
    "BC-Res2Net-40": {"mfa": False, "fpm": False},
    "BC-Res2Net-40 w/ MFA & FPM": {},
}
N_MELS, FRAMES = 256, 32
CLOSE = 1e-4


def awake(module: nn.Module) -> nn.Module:
    """Randomize weights and norm statistics, so that no error cancels out."""
    for m in module.modules():
        if isinstance(m, nn.BatchNorm2d):
            nn.init.normal_(m.running_mean)
            nn.init.uniform_(m.running_var, 0.5, 2)
            nn.init.normal_(m.weight, 1, 0.3)
            nn.init.normal_(m.bias)
        elif isinstance(m, nn.Conv2d | nn.Linear):
            nn.init.normal_(m.weight, 0, 0.3)
    return module


def differences(config: ModelConfig, x: Tensor, training: bool) -> tuple[float, str]:
    """The largest relative difference between both forms, and its name.

    Compares outputs, gradients (of the input and of each parameter) and running statistics.
    """
    compiled.MIN_STEM_VALUES = 0
    compiled.DTYPES = (
        torch.float32,
        torch.float64,
    )  # where the last digit decides nothing: see tests/models/test_compiled_networks.py
    plain = awake(Network(config)).to(x.dtype)
    ours = build_network(config).to(x.dtype)
    ours.load_state_dict(plain.state_dict())
    found = []
    weights = torch.randn(len(x), 10, dtype=x.dtype)
    for network in (plain, ours):
        network.train(training)
        inputs = x.clone().requires_grad_()
        outputs = network(inputs)
        (outputs * weights).sum().backward()
        values = {"outputs": outputs.detach(), "gradient of the input": inputs.grad}
        values |= {f"gradient of {name}": p.grad for name, p in network.named_parameters()}
        found.append(values | {name: value.to(x.dtype) for name, value in network.named_buffers()})
    pairs = {name: (value, found[1][name]) for name, value in found[0].items()}
    relative = {
        name: float((a - b).abs().max() / a.abs().max().clamp_min(1e-6)) for name, (a, b) in pairs.items() if a.numel()
    }
    worst = max(relative, key=relative.__getitem__)
    return relative[worst], worst


def work(
    pipe: Connection, form: Callable[[ModelConfig], Network], settings: dict[str, Any], batch: int, threads: int
) -> None:
    """Process that answers each "train" or "eval" with the CPU seconds of a step."""
    torch.set_num_threads(threads)
    network, x = form(ModelConfig(**settings)), torch.randn(batch, 1, N_MELS, FRAMES)
    while (mode := pipe.recv()) != "end":
        began = time.process_time()
        with torch.inference_mode(mode == "eval"):
            outputs = network.train(mode == "train")(x)
        if mode == "train":
            network.zero_grad(set_to_none=True)
            outputs.square().sum().backward()
        pipe.send(time.process_time() - began)


def measure(settings: dict[str, Any], batch: int, threads: int, seconds: float) -> dict[str, list[float]]:
    """Median CPU seconds of a step by mode, plain and compiled, without the first three turns."""
    context = multiprocessing.get_context("spawn")
    pipes, taken = [], {}
    for form in (Network, build_network):
        pipe, end = context.Pipe()
        context.Process(target=work, args=(end, form, settings, batch, threads), daemon=True).start()
        pipes.append(pipe)
    for mode in ("train", "eval"):
        times: list[list[float]] = [[] for _ in pipes]
        until = time.monotonic() + seconds
        while len(times[0]) < 6 or time.monotonic() < until:
            for pipe, found in zip(pipes, times, strict=True):
                pipe.send(mode)
                found.append(pipe.recv())
        taken[mode] = [statistics.median(found[3:]) for found in times]
    for pipe in pipes:
        pipe.send("end")
    return taken


def matmul_rate() -> float:
    """GFLOP/s of a large matrix product, the best of several."""
    n = 2048
    a, b = torch.randn(n, n), torch.randn(n, n)
    times = []
    for _ in range(8):
        began = time.process_time()
        torch.mm(a, b)
        times.append(time.process_time() - began)
    return 2 * n**3 / min(times) / 1e9


def main() -> None:
    """Check that both forms agree, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--seconds", type=float, default=30, help="seconds to measure each network's training and prediction"
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    rate = matmul_rate()
    print(f"float32 matmul: {rate:.0f} GFLOP/s of CPU time; batch {options.batch}, {options.threads} thread(s)\n")
    print(f"{'segments/s':28}{'':8}{'plain':>8}{'ours':>8}{'ratio':>8}{'of matmul':>11}")
    for name, settings in NETWORKS.items():
        x = torch.randn(4, 1, N_MELS, FRAMES).double()
        for training in (True, False):
            worst, where = differences(ModelConfig(dropout=0.0, **settings), x, training)
            if worst > CLOSE:
                raise SystemExit(f"{name}: {where} differs by {worst:.1e}")
        macs = count_complexity(ModelConfig(**settings), N_MELS, FRAMES).macs
        for mode, taken in measure(settings, options.batch, options.threads, options.seconds).items():
            plain, ours = (options.batch * options.threads / t for t in taken)
            share = {"train": 3, "eval": 1}[mode] * 2 * macs * ours / 1e9 / (rate * options.threads)
            print(f"{name:28}{mode:8}{plain:8.1f}{ours:8.1f}{ours / plain:7.2f}x{share:11.0%}", flush=True)


if __name__ == "__main__":
    main()
