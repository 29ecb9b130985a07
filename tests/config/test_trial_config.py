"""Settings: identity, validation, and the words of their errors."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from asc_sweeps.config.setting_groups import FinetuneConfig, ModelConfig
from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import non_defaults, setting_fields
from asc_sweeps.config.yaml_nodes import read_scalar
from asc_sweeps.errors import ConfigError


def problems_of(*settings):
    with pytest.raises(ConfigError) as caught:
        make_config([s if isinstance(s, Setting) else Setting(*s) for s in settings])
    return caught.value.problems


def test_the_default_trials_signatures_stay_as_they_are():
    # A default changed: raise RECIPE in config.py, then write the new signatures here.
    assert TrialConfig().signature == "d176e63008ac"
    assert TrialConfig(finetune=FinetuneConfig()).signature == "d3e25278a08a"


def test_no_default_changes_unseen():
    # As above: results of before were computed with the defaults of before. What was added since is off by default.
    later = {
        "mixstyle_probability",
        "mixstyle_alpha",
        *(n for n in type(TrialConfig().augment).model_fields if "response" in n),
    }
    added = {"augment": later, "data": {"subset", "subset_content"}, "compute": True}
    defaults = TrialConfig(finetune=FinetuneConfig()).model_dump_json(exclude_none=True, exclude=added)
    assert hashlib.sha256(defaults.encode()).hexdigest()[:12] == "f7c287928e09"


def test_the_defaults_are_the_papers_values():
    config = TrialConfig(finetune=FinetuneConfig())
    pre, fine, model, augment = config.pretrain, config.finetune, config.model, config.augment
    assert (pre.epochs, pre.batch_size, pre.learning_rate, pre.weight_decay) == (300, 512, 0.01, 0.05)
    assert (pre.warmup_epochs, pre.warmup_learning_rate, pre.mixup_alpha) == (10, 1e-8, 0.3)
    assert (fine.learning_rate, fine.weight_decay, fine.reg_lambda, fine.max_drop_rate) == (1e-5, 1e-8, 0.4, 0.9)
    assert (model.width, model.scale, model.sub_bands, model.resnorm) == (40, 4, 4, 0.1)
    assert (config.features.n_mels, config.features.window, config.features.hop) == (256, 2048, 512)
    assert (augment.frequency_masks, augment.frequency_mask_bands) == (2, 40)
    assert (augment.time_masks, augment.time_mask_frames) == (2, 4)
    assert (augment.roll_seconds, augment.roll_probability, augment.mask_probability) == (0.5, 0.8, 0.8)


OTHER_VALUES = {
    "compute.precision": "bfloat16",
    "compute.parts": 2,
    "data.dataset": "synthetic-tiny",
    "data.fingerprint": "abc",
    "features.n_mels": 128,
    "model.block": "bcresnet",
    "model.width": 48,
    "model.scale": 2,
    "model.sub_bands": 2,
    "distill.teachers": "seed=1",
    "evaluate.crops": "first",
    "data.subset": 25,
    "data.subset_content": "abc",
    "augment.impulse_responses": "/some",
    "augment.impulse_responses_content": "abc",
}
BESIDE = {"augment.impulse_response_probability": [Setting("augment.impulse_responses", "/some")]}


@pytest.mark.parametrize("name", list(setting_fields()))
def test_every_setting_changes_the_signature(name):
    field = setting_fields()[name]
    value = OTHER_VALUES.get(name)
    if value is None:
        value = (not field.default) if isinstance(field.default, bool) else field.default / 2 or 1
        value = int(value) if isinstance(field.default, int) and not isinstance(field.default, bool) else value
    base = [Setting("finetune.max_drop_rate", 0.9)] if name.startswith("finetune.") else BESIDE.get(name, [])
    assert make_config([*base, Setting(name, value)]).signature != make_config(base).signature


def test_the_signature_does_not_depend_on_the_order_or_the_spelling_of_numbers():
    one = make_config([Setting("seed", 3), Setting("finetune.reg_lambda", 1), Setting("model.width", 48)])
    two = make_config([Setting("model.width", 48), Setting("finetune.reg_lambda", 1.0), Setting("seed", 3)])
    assert one.signature == two.signature


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("finetune.reg_lambda", [0, 0.0, -0.0, "0e5", "-0"]),
        ("finetune.reg_lambda", [1, 1.0, "1e0", "10e-1", "1.000", "+1"]),
        ("pretrain.learning_rate", [0.003, "3e-3", "0.0030", "30E-4"]),
    ],
)
def test_a_number_has_one_signature_however_it_is_written(name, same):
    values = [read_scalar(value) if isinstance(value, str) else value for value in same]
    assert len({make_config([Setting(name, value)]).signature for value in values}) == 1


def test_signatures_are_those_of_every_version_before():
    """`signatures.json` is only ever added to; a changed one would orphan what people have trained."""
    golden = json.loads((Path(__file__).parents[1] / "signatures.json").read_text())
    assert len(golden) > 150
    for row in golden:
        config = make_config([Setting(name, value) for name, value in row["settings"].items()])
        assert config.signature == row["signature"], row


def test_every_setting_stands_among_the_golden_signatures():
    golden = json.loads((Path(__file__).parents[1] / "signatures.json").read_text())
    assert {name for row in golden for name in row["settings"]} >= set(setting_fields())


def test_a_setting_written_with_its_default_is_no_difference():
    assert make_config([Setting("model.width", 40), Setting("pretrain.weight_decay", 5e-2)]) == TrialConfig()
    assert non_defaults(TrialConfig()) == {}


def test_settings_survive_json_with_their_signature():
    config = make_config([Setting("finetune.max_drop_rate", 0.5), Setting("pretrain.learning_rate", 1e-3)])
    again = TrialConfig.model_validate_json(json.dumps(config.model_dump(mode="json")))
    assert again == config
    assert again.signature == config.signature


def test_the_start_of_a_fine_tuning_is_the_trial_without_it():
    tuned = make_config([Setting("finetune.max_drop_rate", 0.9), Setting("seed", 2)])
    assert tuned.start() == make_config([Setting("seed", 2)])
    assert tuned.start().start() is None


def test_finetune_null_keeps_fine_tuning_off_whatever_else_is_said():
    assert make_config([Setting("finetune", None), Setting("finetune.epochs", 3)]) == TrialConfig()
    assert make_config([Setting("finetune.epochs", 3)]).finetune.epochs == 3


@pytest.mark.parametrize(
    ("model", "system"),
    [
        ({"block": "bcresnet", "mfa": False, "fpm": False}, "BC-ResNet-40"),
        ({"mfa": False, "fpm": False, "width": 80}, "BC-Res2Net-80"),
        ({"fpm": False}, "BC-Res2Net-40 w/ MFA"),
        ({}, "BC-Res2Net-40 w/ MFA & FPM"),
        ({"stem_attention": False}, "BC-Res2Net-40 w/ MFA & FPM w/o stem attention"),
    ],
)
def test_systems_are_named_as_in_the_papers_tables(model, system):
    assert TrialConfig(model=ModelConfig(**model)).system == system


def test_all_mistakes_are_told_at_once_with_place_rule_value_and_suggestion():
    problems = problems_of(
        ("model.width", 42, "a.yaml:3:4"),
        ("modle.width", 40, "a.yaml:4:4"),
        ("model.block", "bcresnet2", "a.yaml:5:4"),
        ("pretrain.epochs", "ten", "a.yaml:6:4"),
        ("finetune.max_drop_rate", 1.5, "a.yaml:7:4"),
        ("features.n_mels", 100, "a.yaml:8:4"),
    )
    text = "\n".join(problems)
    assert len(problems) == 6
    assert "a.yaml:3:4: model.width must be a multiple of 8" in text
    assert "got 42, nearest: 40 or 48" in text
    assert "a.yaml:4:4: unknown setting 'modle.width'; did you mean 'model.width'?" in text
    assert (
        "a.yaml:5:4: model.block must be 'bcresnet' or 'bcres2net'; got \"bcresnet2\"; did you mean 'bcresnet'?" in text
    )
    assert 'a.yaml:6:4: pretrain.epochs must be a whole number; got "ten"' in text
    assert "a.yaml:7:4: finetune.max_drop_rate must be at most 1.0; got 1.5" in text
    assert "a.yaml:8:4: features.n_mels must be a multiple of 32" in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("seed", True),
        ("seed", -1),
        ("seed", 1.5),
        ("model.mfa", "yes"),
        ("model.width", 0),
        ("pretrain.learning_rate", float("nan")),
        ("pretrain.learning_rate", float("inf")),
        ("pretrain.learning_rate", "1e-3"),
        ("pretrain.warmup_epochs", 301),
        ("features.f_max", 9000.0),
        ("data.validation_share", 0.9),
        ("data.dataset", "tau2021"),
    ],
)
def test_a_value_of_the_wrong_type_or_range_is_refused_by_name(name, value):
    (problem,) = problems_of((name, value, "here"))
    assert problem.startswith("here: ")
    assert name in problem


def test_a_group_is_not_a_setting():
    (problem,) = problems_of(("model", 3, "here"))
    assert problem == "here: 'model' is a group of settings; set one of its members, e.g. 'model.block'"


def test_every_setting_says_what_it_means_and_whence():
    for name, field in setting_fields().items():
        assert field.description, name
        told = re.search(r"Sec\. |Table |Eq\. |not specified in the paper|beyond the paper", field.description)
        ours = name in ("seed", "data.dataset", "data.fingerprint", "data.split_seed")
        assert told or ours, f"{name} names no source"
