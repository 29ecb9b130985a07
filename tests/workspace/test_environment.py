"""A result says from which state of the code it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import asc_sweeps

STATE = "import json; from asc_sweeps.workspace.environment import git_state; print(json.dumps(git_state()))"


def _state(folder, **environment):
    words = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", STATE], env=words, cwd=folder, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def _git(folder, *words):
    who = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    return subprocess.run(["git", *who, *words], cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def _copy_of_the_code(folder):
    package = Path(asc_sweeps.__file__).parent
    shutil.copytree(package, folder / "asc_sweeps", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_a_clean_a_changed_and_a_shallow_checkout_are_told_apart(tmp_path):
    checkout = _copy_of_the_code(tmp_path / "code")
    _git(checkout, "init", "-q")
    _git(checkout, "add", "-A")
    _git(checkout, "commit", "-qm", "one")
    head = _git(checkout, "rev-parse", "HEAD")
    assert _state(checkout) == {"git_commit": head, "git_dirty": False}
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "-q", "--depth=1", f"file://{checkout}", shallow], check=True)
    assert _state(shallow) == {"git_commit": head, "git_dirty": False}
    (checkout / "asc_sweeps" / "errors.py").open("a").write("# changed\n")
    assert _state(checkout) == {"git_commit": head, "git_dirty": True}


def test_without_git_or_a_checkout_of_ours_nothing_is_claimed(tmp_path):
    nothing = {"git_commit": None, "git_dirty": None}
    somebodys = tmp_path / "somebodys"
    somebodys.mkdir()
    _git(somebodys, "init", "-q")
    _git(somebodys, "commit", "-q", "--allow-empty", "-m", "theirs")
    code = _copy_of_the_code(somebodys / "venv")
    assert _state(code) == nothing
    assert _state(code, PATH="") == nothing
