"""Conditions over settings: what they mean, and that nothing else is accepted."""

import re

import pytest

from asc_sweeps.config.conditions import read_condition

SETTINGS = {"model.width": 40, "model.mfa": True, "model.block": "bcresnet", "pretrain.epochs": 10, "seed": 0}


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("model.width == 40", True),
        ("model.width < 40 or model.mfa", True),
        ("not (model.mfa and model.width >= 40)", False),
        ("model.block == 'bcresnet'", True),
        ("model.block in ['bcres2net', 'x']", False),
        ("8 <= model.width <= 48", True),
        ("model.width * 2 - 1 == 79 and model.width % 8 == 0", True),
        ("model.width / 0 > 1", False),
        ("model.mfa == true and seed == -0", True),
        ("finetune.max_drop_rate == null", True),
        ("finetune.max_drop_rate > 0.5", False),
        ("not finetune.max_drop_rate > 0.5", True),
        ("model.block > 3", False),
        ("model.block * 1000000000 == 'x'", False),
    ],
)
def test_a_condition_means_what_it_says(text, holds):
    assert read_condition(text).holds(SETTINGS) is holds


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model.widht > 3", "unknown setting 'model.widht'; did you mean 'model.width'?"),
        ("__import__('os').system('true')", "is not supported"),
        ("(lambda: 1)()", "is not supported"),
        ("[x for x in 'a']", "is not supported"),
        ("model.width ** 9", "is not supported"),
        ("model.width.__class__", "unknown setting"),
        ("().__class__", "is not supported"),
        ("model.width = 3", "not a condition"),
        ("", "not a condition"),
        ("1 +", "not a condition"),
        ("(" * 500, "not a condition"),
        ("x" * 5000, "longer than"),
        ("model.width is 3", "is not supported"),
        ("b'x' == seed", "is not supported"),
    ],
)
def test_anything_else_is_refused_with_what_is_supported(text, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        read_condition(text)
