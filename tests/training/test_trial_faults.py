"""Disks that are full, broken or gone, and kills, planted at every step of a trial: told with the path, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from faulting import Outcome, PreloadedProcess, small_disk
from sweeping import SMALL_STUDY, run

from analysis.studies.costs import work_intervals
from asc_sweeps.cli.progress import ProgressLine
from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.settings import Setting, make_config
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.errors import REMEDIES
from asc_sweeps.sweep.searches.search_study import SearchStudy
from asc_sweeps.training import loop
from asc_sweeps.training.run_trial import run_trial
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.status import StudyStatus, TrialStatus

pytestmark = pytest.mark.slow

SMALL = {
    "features.n_mels": 32,
    "features.hop": 1024,
    "model.width": 8,
    "model.block": "bcresnet",
    "model.mfa": "false",
    "model.fpm": "false",
    "pretrain.warmup_epochs": 0,
    "pretrain.batch_size": 128,
}
TRIAL = ("train", "--threads", "1", *(f"--set={name}={value}" for name, value in SMALL.items()))


@dataclass(frozen=True)
class Lab:
    """One trial that many workspaces run; `whole` is the one that nothing happened to."""

    preloaded: PreloadedProcess
    folder: Path
    epochs: int

    @property
    def whole(self) -> Path:
        return self.folder / f"whole-{self.epochs}"

    def train(self, root: Path, inject: str = "") -> Outcome:
        """Run the trial in a workspace."""
        root.mkdir(exist_ok=True)
        if not (root / "prepared").exists():
            (root / "prepared").symlink_to(self.folder / "prepared")
        where = ("--data", str(self.folder / "set"), "--workspace", str(root))
        return self.preloaded.run(*TRIAL, f"--set=pretrain.epochs={self.epochs}", *where, inject=inject)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One data set, and the cache that all workspaces share."""
    made = tmp_path_factory.mktemp("lab")
    synthesize(made / "set", DatasetPlan("mini", 2, 5, 1, scenes=SCENES[:1]), workers=1)
    (made / "prepared").mkdir()
    return made


@pytest.fixture(scope="session")
def lab(preloaded: PreloadedProcess, folder: Path) -> Lab:
    """A trial of two epochs, so that a checkpoint follows another."""
    return with_whole(Lab(preloaded, folder, 2))


@pytest.fixture(scope="session")
def short(preloaded: PreloadedProcess, folder: Path) -> Lab:
    """A trial of one epoch, for the longer loops."""
    return with_whole(Lab(preloaded, folder, 1))


def with_whole(made: Lab) -> Lab:
    ended = made.train(made.whole)
    assert ended.code == 0, ended.stderr
    return made


def trial_of(root: Path) -> Path:
    (folder,) = (root / "trials").iterdir()
    return folder


def numbers(root: Path) -> dict:
    """What counts of a result: scores and losses, and the weights' bytes."""
    result = json.loads((trial_of(root) / "result.json").read_text())
    history = [{name: value for name, value in row.items() if name != "seconds"} for row in result["history"]]
    return {
        "scores": result["scores"],
        "history": history,
        "model": (trial_of(root) / "model.pt").read_bytes(),
        "predictions": (trial_of(root) / "test_predictions.npz").read_bytes(),
    }


def refuse_half_files(root: Path) -> None:
    """Every file that is visible is whole."""
    for path in (p for p in root.glob("trials/*/*") if not p.name.startswith(".")):
        if path.suffix == ".json":
            json.loads(path.read_text())
        else:
            assert zipfile.ZipFile(path).testzip() is None, path


def goes_on(lab: Lab, root: Path) -> None:
    """The cause is gone: the same command ends as if nothing had happened, and leaves nothing behind."""
    refuse_half_files(root)
    finished = list(root.glob("trials/*/result.json"))
    ended = lab.train(root)
    assert ended.code == 0, ended.stderr
    assert numbers(root) == numbers(lab.whole)
    if not finished:  # a finished trial is not touched again: a checkpoint that was not removed stays
        # A killed owner may leave the empty file of its lock.
        left, whole = ({p.name for p in trial_of(r).iterdir() if p.suffix != ".lock"} for r in (root, lab.whole))
        assert left == whole


def is_told(ended: Outcome, root: Path, error: int) -> None:
    """One line: the file, the system's reason, what to do; no traceback."""
    assert ended.code == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert f"{root}/" in line
    assert f"{os.strerror(error)}; {REMEDIES[error]}; " in line
    assert "run the same command to resume" in line


def at_every(lab: Lab, tmp_path: Path, fault: str, when: str = "{n}") -> Iterator[tuple[Path, Outcome]]:
    """The trial with a fault at its first call of a kind, then at its second, and so on until there is none."""
    for n in range(1, 100):
        root = tmp_path / str(n)
        ended = lab.train(root, f"{fault}:when={when.format(n=n)}")
        if ended.code == 0:
            assert n > 7, f"only {n - 1} calls had the fault {fault}"
            return
        yield root, ended


def test_a_disk_that_is_full_from_any_write_on_is_told_and_once_there_is_room_the_same_command_goes_on(
    lab: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for root, ended in at_every(lab, tmp_path, "write:error=ENOSPC", "{n}+"):
        is_told(ended, root, errno.ENOSPC)
        goes_on(lab, root)


@pytest.mark.slow
def test_a_disk_that_fails_to_flush_at_any_moment_is_told_and_the_same_command_goes_on(
    short: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for root, ended in at_every(short, tmp_path, "fsync:error=EIO"):
        is_told(ended, root, errno.EIO)
        if (trial_of(root) / "failure.json").exists():
            failure = json.loads((trial_of(root) / "failure.json").read_text())
            assert failure["cause"] == "disk"
            assert REMEDIES[errno.EIO] in failure["message"]
        goes_on(short, root)


@pytest.mark.slow
def test_a_rename_that_is_refused_is_told_with_its_reason_and_its_way_out(
    short: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    reasons = ("EDQUOT", "EROFS", "EACCES", "ESTALE", "EIO", "EPERM")
    for n in range(1, 8):
        root, reason = tmp_path / str(n), reasons[n % len(reasons)]
        is_told(short.train(root, f"rename:error={reason}:when={n}+"), root, getattr(errno, reason))
        goes_on(short, root)


@pytest.mark.parametrize("call", ["write", pytest.param("rename", marks=pytest.mark.slow)])
def test_a_trial_that_is_killed_at_any_step_ends_as_one_that_never_was(
    call: str, lab: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for root, ended in at_every(lab, tmp_path, f"{call}:signal=KILL"):
        assert ended.code == -signal.SIGKILL
        goes_on(lab, root)


@pytest.mark.slow
def test_a_trial_that_is_killed_at_any_flush_ends_as_one_that_never_was(
    short: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for root, ended in at_every(short, tmp_path, "fsync:signal=KILL"):
        assert ended.code == -signal.SIGKILL
        goes_on(short, root)


def test_a_disk_of_any_size_is_filled_told_and_gone_on_with_once_it_is_larger(lab: Lab, tmp_path: Path) -> None:
    for n in range(1, 40):
        root = tmp_path / "disk" / "workspace"
        with small_disk(tmp_path / "disk", 128_000 * n) as remount:
            ended = lab.train(root)
            if ended.code == 0:
                assert n > 2, "nothing was ever full"
                return
            is_told(ended, root, errno.ENOSPC)
            remount("size=16m")
            goes_on(lab, root)
    pytest.fail("no disk was large enough")


def test_a_disk_that_may_only_be_read_is_told_and_a_finished_trial_is_answered_from_it(
    lab: Lab, tmp_path: Path
) -> None:
    root = tmp_path / "disk" / "workspace"
    with small_disk(tmp_path / "disk", 16_000_000) as remount:
        remount("ro")
        ended = lab.preloaded.run(*TRIAL, "--data", str(lab.folder / "set"), "--workspace", str(root))
        assert ended.code == 2
        assert f"{root}" in ended.stderr
        assert "Read-only file system" in ended.stderr
        assert "Traceback" not in ended.stderr
        remount("rw")
        assert lab.train(root).code == 0
        remount("ro")
        assert lab.train(root).code == 0
        assert numbers(root) == numbers(lab.whole)


def test_after_a_kill_and_a_torn_last_checkpoint_the_one_before_is_gone_on_from(
    lab: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    # Killed when the test predictions are renamed into place: both epochs have their checkpoint.
    assert lab.train(tmp_path / "killed", "rename:signal=KILL:when=7").code == -signal.SIGKILL
    *_, last = sorted(trial_of(tmp_path / "killed").glob("pretrain-*.pt"))
    for cut in (0, 1, last.stat().st_size // 2, last.stat().st_size - 1):
        root = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "killed", root, symlinks=True)
        os.truncate(trial_of(root) / last.name, cut)
        (
            trial_of(root) / "lease.json"
        ).unlink()  # in a copied folder nobody knows that its owner is dead: not before 30 s
        assert lab.train(root).code == 0
        assert numbers(root) == numbers(lab.whole)


@pytest.mark.slow
def test_a_disk_that_cannot_be_read_is_told_by_its_path_or_does_no_harm(
    short: Lab, traceable: PreloadedProcess, tmp_path: Path
) -> None:
    for n in range(2, 17):  # the first one is this test's own word to go; the last ones are in the cache
        root = tmp_path / str(n)
        ended = short.train(root, f"read:error=EIO:when={n}")
        assert "Traceback" not in ended.stderr
        if ended.code:
            assert ended.code == 2, ended.stderr
            assert f"error: {short.folder}" in ended.stderr
            assert os.strerror(errno.EIO) in ended.stderr
            assert "delete" not in ended.stderr  # what cannot be read now may be whole
    goes_on(short, tmp_path / "2")


@pytest.mark.slow
def test_a_report_that_finds_no_room_is_told_and_the_one_before_stays(lab: Lab, tmp_path: Path) -> None:
    out = tmp_path / "disk" / "report.html"
    with small_disk(out.parent, 500_000) as remount:
        out.write_text("the report before")
        ended = lab.preloaded.run("report", "--workspace", str(lab.whole), "--out", str(out))
        assert ended.code == 2, ended.stderr
        assert f"error: {out}: No space left on device; {REMEDIES[errno.ENOSPC]}; " in ended.stderr
        assert "Traceback" not in ended.stderr
        assert out.read_text() == "the report before"
        assert [path.name for path in out.parent.iterdir()] == [out.name]
        remount("size=16m")
        assert lab.preloaded.run("report", "--workspace", str(lab.whole), "--out", str(out)).code == 0
        assert out.stat().st_size > 500_000


@pytest.mark.slow
def test_a_sweep_that_fills_its_disk_ends_with_a_clear_word_and_goes_on_once_there_is_room(
    short: Lab, tmp_path: Path
) -> None:
    path, disk = tmp_path / "full.yaml", tmp_path / "disk"
    path.write_text(
        f"study: full\n{SMALL_STUDY.format(folder=short.folder / 'set', epochs=1)}\n"
        "grid:\n  finetune: null\n  seed: [0, 1, 2]\n"
    )
    with small_disk(disk, 60_000) as remount:
        (disk / "workspace").mkdir()
        (disk / "workspace" / "prepared").symlink_to(short.folder / "prepared")
        command = ("sweep", str(path), "--workers", "1")
        full = run(*command, cwd=disk, code=130)
        assert f"disk full: {disk}/workspace/trials/" in full.stderr
        assert "No space left on device; free space on that disk" in full.stderr
        assert f"To resume:\n  asc-sweeps sweep {path} --workers 1" in full.stderr
        assert "unfinished" in full.stdout  # those that had not begun were not
        assert "Traceback" not in full.stderr
        assert json.loads((disk / "workspace" / "studies" / "full.json").read_text())["state"] == "interrupted"
        refuse_half_files(disk / "workspace")
        remount("size=32m")
        assert "trained 3\n" in run(*command, cwd=disk).stdout
        assert len(list(disk.glob("workspace/trials/*/result.json"))) == 3
        assert not list(disk.glob("workspace/trials/*/failure.json"))


LOCK = """
import sqlite3, sys, time
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
time.sleep(float(sys.argv[2]))
database.execute("COMMIT")
"""
SEARCH = """
study: locked
search:
  trials: 2
  parameters:
    finetune.reg_lambda: {low: 0.01, high: 1, log: true}
"""


@pytest.mark.slow
def test_a_search_waits_for_a_database_that_another_process_has_locked_and_loses_no_trial(tmp_path: Path) -> None:
    (tmp_path / "locked.yaml").write_text(SEARCH)
    (study,) = load_studies(Request((str(tmp_path / "locked.yaml"),), mini=False))
    study = replace(study, probes=tuple(probe.with_resolved_data("synthetic-tiny", "f") for probe in study.probes))
    url = f"sqlite:///{tmp_path / 'optuna.db'}"
    search = SearchStudy(study, url)
    first = search.ask()
    # Longer than SQLite waits by itself, which is 5 s.
    command = [sys.executable, "-c", LOCK, str(tmp_path / "optuna.db"), "5.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "locked\n"
        began = time.monotonic()
        search.tell_failed(first.number, "nan", "the loss is nan")
        assert time.monotonic() - began > 5
    second = search.ask()
    search.tell_stopped(second.number, 1)
    assert search.ask() is None
    states = [t.state.name for t in optuna.load_study(study_name="locked", storage=url).trials]
    assert states == ["FAIL", "PRUNED"]


# A clock that is set. Seconds of epochs and trials, ETAs, patience and beats come from the monotonic clock, which no setting
# moves; only moments that people read, and the order of studies in a report, come from the clock on the wall.


def test_a_clock_that_is_set_back_while_a_trial_runs_leaves_its_stretch_of_work_as_long_as_it_was(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = iter(range(28, 0, -1))
    monkeypatch.setattr(loop, "utc_now", lambda timespec="seconds": f"2026-03-{next(days):02d}T00:00:00.000+00:00")
    data = prepare(lab.folder / "set", lab.folder / "prepared")
    settings = [Setting(name, {"false": False}.get(str(value), value)) for name, value in SMALL.items()]
    config = make_config([*settings, Setting("pretrain.epochs", 2)]).with_resolved_data(data.name, data.fingerprint)
    (tmp_path / "prepared").symlink_to(lab.folder / "prepared")
    began = time.monotonic()
    result = run_trial(config, Workspace(tmp_path))
    (sitting,) = result.work_intervals
    worked = datetime.fromisoformat(sitting["ended_at"]) - datetime.fromisoformat(sitting["began_at"])
    assert 0 < worked.total_seconds() <= time.monotonic() - began
    assert all(row["seconds"] > 0 for row in result.history)


def test_a_stretch_of_work_that_ended_before_it_began_counts_as_none() -> None:
    backwards = {"worker": "a:1", "began_at": "2026-01-02T03:04:05+00:00", "ended_at": "2026-01-01T00:00:00+00:00"}
    study = StudyStatus("s", "", [status(work_intervals=[backwards])])
    frame = work_intervals(SimpleNamespace(results=[], failures=[], unfinished=study.trials))
    assert list(frame["ended"] - frame["began"]) == [timedelta(0)]


def test_an_eta_is_never_negative(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert StudyStatus("s", "", [status(epochs_done=9, epochs_total=3), status()]).seconds_left == pytest.approx(
        2 * 2 / 2
    )
    monkeypatch.setattr(ProgressLine, "SECONDS_BETWEEN_LOG_LINES", 0.0)
    line = ProgressLine()
    for share in (0.5, 0.2, 0.4, 0.6, 0.999):  # searches draw more than was foreseen
        line.update("training", share, "")
        time.sleep(0.3)
    said = capsys.readouterr().err
    assert "ETA " in said
    assert "ETA -" not in said


def status(**facts: object) -> TrialStatus:
    usual = {"epochs_done": 1, "epochs_total": 3, "validation_log_loss": None, "seconds_per_epoch": 2.0, "message": ""}
    return TrialStatus("0" * 12, "S", "pretraining", 0, "running", **(usual | facts))
