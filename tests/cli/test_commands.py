"""The commands as a user types them: output, errors without traceback, exit codes, and what is not imported."""

import ast
import contextlib
import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from asc_sweeps.cli import cli
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.synthetic import DatasetPlan, synthesize

pytestmark = pytest.mark.slow

SLOW_TO_IMPORT = ("torch", "torchaudio", "ray", "optuna", "plotly", "pandas")


def run(*arguments, cwd, code=0, env=None):
    command = [sys.executable, "-m", "asc_sweeps", *arguments]
    environment = {**os.environ, **(env or {})}
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def misspelled(tmp_path):
    (tmp_path / "my.yaml").write_text("study: s\nsettings:\n  modle.width: 40\ngrid:\n  model.width: [40, 42]\n")
    return "./my.yaml"


@pytest.mark.parametrize("words", [["plan"], ["sweep"], ["sweep", "--mini"]])
def test_an_error_in_a_yaml_file_is_reported_at_once_without_slow_imports(words, misspelled, tmp_path):
    script = (
        "import sys; from asc_sweeps.cli import main; sys.argv[1:] = %r\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code, [m for m in %r if m in sys.modules])"
    )
    if "--mini" not in words:
        began = time.monotonic()
        done = run(*words, misspelled, cwd=tmp_path, code=2)
        assert time.monotonic() - began < 10  # a second on an idle machine; the imports below are what is promised
        assert "error: my.yaml:3:3: unknown setting 'modle.width'; did you mean 'model.width'?" in done.stderr
    code = script % ([*words, misspelled], SLOW_TO_IMPORT)
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2 []"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["complexity", "--set", "model.width=42"], "--set model.width=42: model.width must be a multiple of 8"),
        (["complexity", "--set", "model.widht=40"], "did you mean 'model.width'?"),
        (["complexity", "--set", "model.width"], "--set model.width: must be NAME=VALUE"),
        (["train", "--set", "pretrain.epochs=0"], "pretrain.epochs must be at least 1; got 0"),
        (["plan", "table2"], "unknown study 'table2'; did you mean 'table2_ablation'?"),
        (["plan", "table2_ablation", "--seeds", "x"], "--seeds x: must be a number of seeds"),
        (["sweeep"], "no such command 'sweeep'; did you mean 'sweep'?"),
        (["data", "chek"], "no such command 'chek'; did you mean 'check'?"),
        (["sweep", "table2_ablation", "--min"], "--mini"),
        (["data", "check", "nowhere"], "nowhere: no such folder"),
        (["data", "prepare", "nowhere"], "nowhere: no such folder"),
        (["data", "synthesize", "x", "--plan", "smal"], "did you mean"),
        (["sweep", "table2_ablation"], "data set 'tau2022': no such folder"),
        (["sweep", "table2_ablation", "--data", "nowhere"], "no such folder"),
        (["train"], "give the folder that contains meta.csv and audio/ with --data DIR"),
    ],
)
def test_a_usage_error_exits_with_2_and_says_what_to_do(words, message, tmp_path):
    assert message in run(*words, cwd=tmp_path, code=2).stderr


def test_every_command_and_option_that_a_text_of_the_product_names_exists():
    root, options, names = Path(__file__).parents[2], set(), set()

    def collect(command):
        options.update(option for parameter in command.params for option in parameter.opts)
        for name, inner in getattr(command, "commands", {}).items():
            names.add(name)
            collect(inner)

    collect(cli)
    others = {"--help", "--error-unmatch", "--porcelain"}  # git's, too
    for path in [*root.glob("asc_sweeps/**/*.py"), *root.glob("analysis/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", node.value)) <= options | others, path
                assert set(re.findall(r"\basc-sweeps ([a-z]+)", node.value)) <= names | {"trial"}, path


@pytest.mark.parametrize("words", [["sweep", "--help"], ["settings"], ["data", "check", "set"]])
def test_help_settings_and_data_check_import_nothing_slow(words, tmp_path):
    synthesize(tmp_path / "set", DatasetPlan("mini", 1, 1, 1, scenes=SCENES[:1]), workers=1)
    code = (
        f"import sys; from asc_sweeps.cli import cli; cli({words!r}, standalone_mode=False); "
        f"print([m for m in {SLOW_TO_IMPORT!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_complexity_prints_exact_integers_as_json(tmp_path):
    values = json.loads(run("complexity", "--set", "model.width=40", "--json", cwd=tmp_path).stdout)
    assert values == {
        "system": "BC-Res2Net-40 w/ MFA & FPM",
        "input": [1, 256, 32],
        "params": 126_590,
        "macs": 26_762_930,
        "model_bytes": 506_360,
    }
    plain = ["--set", "model.mfa=false", "--set", "model.fpm=false"]
    text = run("complexity", *plain, "--set", "model.width=80", "--seconds", "10", cwd=tmp_path).stdout
    assert "BC-Res2Net-80, input 1 x 256 x 313" in text
    assert "over the challenge's limit of 128,000" in text


def test_a_plan_without_the_data_says_that_its_signatures_will_change(tmp_path):
    done = run("plan", "table4_drop_rate", "--seeds", "1", "--json", cwd=tmp_path)
    values = json.loads(done.stdout)
    assert values["trials"][0]["phase"] == "pretraining"
    assert [t["params"] for t in values["trials"]] == [126_590] * 5
    assert [t["macs"] for t in values["trials"]] == [26_762_930] * 5
    assert {t["start"] for t in values["trials"][1:]} == {values["trials"][0]["signature"]}
    assert "These signatures do not include the data yet" in values["note"]
    assert values["totals"]["epochs_to_train"] == 300 + 4 * 55


def test_a_corrupt_wav_stops_the_sweep_before_any_training_and_is_named(tmp_path):
    synthesize(tmp_path / "set", DatasetPlan("mini", 1, 1, 1, scenes=SCENES[:2]), workers=1)
    broken = sorted((tmp_path / "set" / "audio").glob("*.wav"))[3]
    broken.write_bytes(broken.read_bytes()[:1000])
    done = run("train", "--data", "set", "--set", "model.width=8", cwd=tmp_path, code=2)
    assert broken.name in done.stderr
    assert not list((tmp_path / "workspace").glob("trials/*"))


def test_settings_are_listed_with_default_and_source(tmp_path):
    text = run("settings", cwd=tmp_path).stdout
    assert "finetune.reg_lambda = 0.4\n    Lambda of Eq. 3 (Sec. 4.2)" in text


def in_a_terminal(*words, cwd):
    """The output of a command in a terminal, where it may rewrite and colour lines."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(cwd)
        os.execv(sys.executable, [sys.executable, "-m", "asc_sweeps", *words])
    written = b""
    with contextlib.suppress(OSError):  # raised once the command has closed the terminal
        while part := os.read(terminal, 65536):
            written += part
    os.waitpid(pid, 0)
    os.close(terminal)
    return written.decode()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["plan", "\x1b[31mred.yaml"], r"\x1b[31mred.yaml: no such search space file"),
        (["plan", "red.yaml"], r"red.yaml:3:3: unknown setting 'mo\x1b[31mdel'"),
        (["plan", "table4_drop_rate", "--set", "a\x07b\x1b]0;title\x07=1"], r"--set a\x07b\x1b]0;title\x07=1: unknown"),
        (["status"], r"\x1b[2Jred"),
        (["status", "--workspace", "no\u202ewhere"], r"no\u202ewhere"),
        (["\x1b[31mred"], r"no such command '\x1b[31mred'"),
    ],
)
def test_no_name_controls_the_terminal(words, shown, tmp_path):
    (tmp_path / "red.yaml").write_text('study: s\ngrid:\n  "mo\\e[31mdel": [1]\n')
    studies = tmp_path / "workspace" / "studies"
    studies.mkdir(parents=True)
    (tmp_path / "workspace" / "trials").mkdir()
    record = {"study": "\x1b[2Jred", "mini": False, "command": "", "trials": [], "counts": [], "state": "complete"}
    (studies / "red.json").write_text(json.dumps({**record, "ended_at": "2026-01-01T00:00:00+00:00", "format": 1}))
    written = in_a_terminal(*words, cwd=tmp_path)
    assert shown in written
    assert not set(written) & {"\x1b", "\x07", "\u202e"}


POOR = {"HOME": "/proc/1", "LC_ALL": "C", "PYTHONUTF8": "0", "TERM": "dumb", "PATH": "/nowhere", "COLUMNS": "20"}
"""Home is not writable, the locale is ASCII, there is no terminal, and no other program is found."""


@pytest.mark.parametrize("words", [["plan", "a.yaml"], ["report"], ["status"], ["complexity"], ["doctor"], ["--help"]])
def test_no_home_locale_terminal_or_other_program_is_needed(words, tmp_path):
    (tmp_path / "a.yaml").write_text("study: widths_äö\nabout: Größe\ngrid:\n  model.width: [8]\n".replace("_äö", ""))
    (tmp_path / "workspace" / "studies").mkdir(parents=True)
    done = run(*words, cwd=tmp_path, env=POOR)
    assert "\r" not in done.stdout + done.stderr
