"""Fixtures that several test modules share: generated data, a study, an object store; and the order of the tests."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import torch
from faulting import preloaded, traceable
from moto.server import ThreadedMotoServer
from sweeping import SMALL_STUDY

from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize

__all__ = ["preloaded", "traceable"]  # session fixtures

# Tests run in parallel processes: more threads than cores would slow them down.
torch.set_num_threads(1)

SMALL = DatasetPlan("mini", train_locations=2, test_locations=4, recordings=1, scenes=("airport", "metro_station"))


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The generated data set `tiny`: ten scenes, 650 segments. Read-only."""
    folder = tmp_path_factory.mktemp("data") / "tiny"
    synthesize(folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def tiny_prepared(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The cache of `tiny_folder`. Read-only."""
    return prepare(tiny_folder, tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session")
def _small_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "small"
    synthesize(folder, SMALL, workers=1)
    return folder


@pytest.fixture
def small_tree(_small_folder: Path, tmp_path: Path) -> Path:
    """A generated data set that a test may change: two scenes, all nine devices, 220 segments."""
    return shutil.copytree(_small_folder, tmp_path / "small")


@pytest.fixture(scope="session")
def three_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest data set that a sweep can train on: three scenes, tested on all nine devices. Read-only."""
    path = tmp_path_factory.mktemp("data") / "set"
    synthesize(path, DatasetPlan("mini", 2, 4, 1, scenes=SCENES[:3]), workers=1)
    return path


@pytest.fixture
def study(tmp_path: Path, three_scenes: Path) -> Callable[..., str]:
    """A function that writes the YAML file of a small study and returns its path: `study(name, grid, epochs)`."""

    def write(name: str, grid: str, epochs: int = 2) -> str:
        path = tmp_path / f"{name}.yaml"
        path.write_text(f"study: {name}\n{SMALL_STUDY.format(folder=three_scenes, epochs=epochs)}\ngrid:\n{grid}")
        return str(path)

    return write


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder with a copy of the product's code, for a test to change."""
    root = Path(__file__).parent.parent
    for name in ("asc_sweeps", "analysis", "search_spaces"):
        shutil.copytree(root / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Host and port of an S3 server on the loopback interface."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """URL of an empty workspace in a bucket of the S3 server."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    name = f"b{uuid.uuid4().hex[:12]}"
    boto3.client("s3", endpoint_url=f"http://{s3_server}", region_name="us-east-1").create_bucket(Bucket=name)
    return f"s3://{name}/lab/workspace?scheme=http&endpoint_override={s3_server}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Fast tests first: a mistake shows in seconds. Then the longest group, so that the other workers' tests run beside it."""

    def position(item: pytest.Item) -> int:
        group = item.get_closest_marker("xdist_group")
        return 0 if not item.get_closest_marker("slow") else 1 if group and "nodes" in group.args else 2

    items.sort(key=position)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """In CI a skipped test fails the run: a tool is missing and a promise was not checked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped") and exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
