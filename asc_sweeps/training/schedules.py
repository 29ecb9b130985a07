"""Schedules as pure functions of the step: learning rate of pretraining, drop rate of fine-tuning."""

from __future__ import annotations

import math


def warmup_cosine(step: int, steps: int, warmup_steps: int, lowest: float, peak: float) -> float:
    """Learning rate at `step` of `steps`: linear from `lowest` to `peak`, then a cosine to zero (Sec. 4.2).

    >>> [round(warmup_cosine(s, 6, 2, 0.0, 1.0), 2) for s in range(6)]
    [0.0, 0.5, 1.0, 0.85, 0.5, 0.15]
    """
    if step < warmup_steps:
        return lowest + (peak - lowest) * step / warmup_steps
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / (steps - warmup_steps)))


def sigmoid_rise(step: int, steps: int, highest: float, steepness: float) -> float:
    """Drop rate at `step` of `steps`: exactly 0 at the first, exactly `highest` at the last, a sigmoid between (Sec. 3).

    A sigmoid reaches neither end by itself, so it is shifted and scaled. A single step is the last one.

    >>> sigmoid_rise(0, 101, 0.9, 10.0), sigmoid_rise(100, 101, 0.9, 10.0), round(sigmoid_rise(50, 101, 0.9, 10.0), 3)
    (0.0, 0.9, 0.45)
    """
    if steps < 2 or step >= steps - 1:
        return highest

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    lowest, top = sigmoid(-steepness / 2), sigmoid(steepness / 2)
    return highest * (sigmoid(steepness * (step / (steps - 1) - 0.5)) - lowest) / (top - lowest)
