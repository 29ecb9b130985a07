"""The training cache under faults: flipped and missing bytes, four builders at once, disks that fill while it is made."""

from __future__ import annotations

import errno
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faulting import PreloadedProcess, small_disk

from asc_sweeps.data.cache import Prepared, load_prepared
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.errors import DataError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data") / "set"
    synthesize(made, DatasetPlan("mini", 2, 5, 1, scenes=SCENES[:1]), workers=1)
    return made


@pytest.fixture
def made(folder: Path, tmp_path: Path) -> Prepared:
    return prepare(folder, tmp_path / "prepared")


def all_of(made: Prepared) -> list:
    """Everything that training and results take from a cache."""
    facts = [made.name, made.fingerprint, made.generated, made.content, made.filenames]
    columns = (made.locations, made.recordings, made.splits, made.scenes, made.devices)
    return [*facts, *(column.tolist() for column in columns), made.waveforms.tobytes()]


# Bytes that are not what was written


@pytest.mark.parametrize(("name", "flips"), [("manifest.json", 200), ("segments.tsv", 60), ("waveforms.npy", 60)])
def test_a_flipped_bit_anywhere_in_a_cache_is_never_trained_on(name: str, flips: int, made: Prepared) -> None:
    whole, draw = all_of(made), random.Random(name)
    path, found = made.folder / name, 0
    content = path.read_bytes()
    for _ in range(flips):
        at, bit = draw.randrange(len(content)), 1 << draw.randrange(8)
        with open(path, "r+b") as file:
            os.pwrite(file.fileno(), bytes([content[at] ^ bit]), at)
        try:
            assert all_of(load_prepared(made.folder.parent, made.fingerprint)) == whole, (at, bit)
        except DataError as error:
            assert "damaged training cache" in str(error)
            found += 1
        with open(path, "r+b") as file:
            os.pwrite(file.fileno(), content[at : at + 1], at)
    assert found > 0.9 * flips  # the others are in the names of what nobody reads
    assert all_of(load_prepared(made.folder.parent, made.fingerprint)) == whole


@pytest.mark.parametrize("name", ["manifest.json", "segments.tsv", "waveforms.npy"])
def test_a_cache_that_is_cut_anywhere_is_never_trained_on(name: str, made: Prepared) -> None:
    path = made.folder / name
    content = path.read_bytes()
    for cut in {0, 1, 127, 128, 129, *range(0, len(content), max(4096, len(content) // 25)), len(content) - 2}:
        if cut >= len(content) - 1:  # the last byte of a table is its line's end
            continue
        os.truncate(path, cut)
        with pytest.raises(DataError, match="damaged training cache"):
            load_prepared(made.folder.parent, made.fingerprint)
        path.write_bytes(content)
    assert np.array_equal(load_prepared(made.folder.parent, made.fingerprint).waveforms, made.waveforms)


# Four who build it at once

BUILDERS = """
import json, os, sys, time
from pathlib import Path
import torch
from asc_sweeps.data import convert
from asc_sweeps.data.cache import open_prepared
from asc_sweeps.data.prepare import prepare
folder, root, rounds = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
torch.set_num_threads(1)
convert.CHUNK = 16
for number in range(rounds):
    caches, go, builders = root / str(number), os.pipe(), []
    for builder in range(4):
        child = os.fork()
        if not child:
            opened = []
            sys.addaudithook(lambda event, args: event == "open" and str(args[0]).endswith(".wav") and opened.append(1))
            os.close(go[1])
            os.read(go[0], 1)  # all begin when the other end is closed
            made = prepare(folder, caches)
            line = json.dumps([number, len(opened), made.folder.name, made.content])
            os.write(1, f"{line}\\n".encode())  # in one piece, beside the others'
            os._exit(0)
        builders.append(child)
    os.close(go[1])
    looks = 0
    while builders:
        for seen in caches.glob("[!.]*-v*"):
            open_prepared(seen)  # raises for one that is not whole
            looks += 1
        builders = [child for child in builders if os.waitpid(child, os.WNOHANG) == (0, 0)]
        time.sleep(0.001)
    assert looks
    os.close(go[0])
"""


def test_of_four_who_build_a_cache_at_once_one_does_and_nobody_ever_sees_a_half_one(
    folder: Path, made: Prepared, tmp_path: Path
) -> None:
    rounds = 5
    command = [sys.executable, "-c", BUILDERS, str(folder), str(tmp_path / "rounds"), str(rounds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    for number in range(rounds):
        its = [row for row in rows if row[0] == number]
        assert sorted(opened for _, opened, _, _ in its) == [0, 0, 0, len(made.filenames)]
        assert {(name, content) for _, _, name, content in its} == {(made.folder.name, made.content)}
        assert not list((tmp_path / "rounds" / str(number)).glob(".building-*"))


# Disks


def test_a_disk_that_is_too_small_for_a_cache_is_told_and_larger_it_is_gone_on_with(
    folder: Path, made: Prepared, tmp_path: Path
) -> None:
    size = (made.folder / "waveforms.npy").stat().st_size
    for room in (size // 2, size + 4096, size + 20_000):  # for half of the array, for it alone, not for all of the rest
        caches = tmp_path / "disk" / "prepared"
        with small_disk(tmp_path / "disk", room) as remount:
            with pytest.raises(DataError, match=rf"^{caches}: the training cache cannot be written \(.*resumes"):
                prepare(folder, caches)
            assert not list(caches.glob("[!.]*-v*"))
            remount("size=64m")
            assert all_of(prepare(folder, caches)) == all_of(made)


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "error"), [("write:error=ENOSPC", "ENOSPC"), ("rename:error=EROFS", "EROFS")])
def test_a_cache_that_cannot_be_written_at_any_step_is_told_and_the_same_command_goes_on(
    fault: str, error: str, folder: Path, made: Prepared, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for n in range(1, 30):
        command = ("data", "prepare", str(folder), "--workspace", str(tmp_path / str(n)))
        ended = traceable.run(*command, inject=f"{fault}:when={n}+")
        if ended.code == 0:
            assert n > 4
            return
        assert ended.code == 2, ended.stderr
        assert f"error: {tmp_path / str(n)}/prepared: the training cache cannot be written (" in ended.stderr
        assert os.strerror(getattr(errno, error)) in ended.stderr
        assert "Traceback" not in ended.stderr
        assert traceable.run(*command).code == 0
        assert all_of(load_prepared(tmp_path / str(n) / "prepared", made.fingerprint)) == all_of(made)
