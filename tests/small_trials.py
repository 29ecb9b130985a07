"""Fixtures for real trials that take a second: a small data set and settings to train on it."""

from __future__ import annotations

import pytest

from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace

SMALL = {
    "features.n_mels": 32,
    "features.hop": 1024,
    "model.width": 8,
    "model.mfa": False,
    "model.fpm": False,
    "pretrain.epochs": 2,
    "pretrain.warmup_epochs": 1,
    "pretrain.batch_size": 32,
}


TUNED = {"finetune.epochs": 1, "finetune.head_epochs": 1, "finetune.batch_size": 32}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    return Workspace(tmp_path_factory.mktemp("trials"))


@pytest.fixture(scope="module")
def data(workspace):
    synthesize(workspace.data / "set", DatasetPlan("mini", 2, 4, 1, scenes=SCENES[:3]), workers=1)
    return prepare(workspace.data / "set", workspace.prepared)


@pytest.fixture(scope="module")
def config_of(data):
    def make(**settings):
        chosen = {**SMALL, **{k.replace("__", "."): v for k, v in settings.items()}}
        return make_config([Setting(k, v) for k, v in chosen.items()]).with_resolved_data(data.name, data.fingerprint)

    return make


@pytest.fixture(scope="module")
def tuned(config_of, workspace):
    config = config_of(**TUNED)
    return config, run_trial(config, workspace)
