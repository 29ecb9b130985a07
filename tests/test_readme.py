"""The README and the pages it links to are true: commands, files, examples, tables and figures."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from asc_sweeps.cli import cli
from asc_sweeps.config.setting_groups import NOT_IN_PAPER, ModelConfig
from asc_sweeps.config.space_file import load_sizes, shipped_spaces
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.errors import ConfigError
from asc_sweeps.models.complexity import count_complexity
from tests.benchmarks.__main__ import ARGUMENTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = {
    name: (ROOT / name).read_text()
    for name in (
        *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "search_spaces/README.md", "analysis/README.md"),
        *(
            "asc_sweeps/README.md",
            "tests/README.md",
            "tests/faults.md",
            "docs/clusters.md",
            "docs/data.md",
            "docs/statistics.md",
        ),
    )
}
ALL = "\n".join(PAGES.values())
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", ALL, flags=re.M | re.S)
COMMANDS = [
    line.partition("#")[0].strip()
    for kind, block in BLOCKS
    if kind == "sh"
    for line in block.splitlines()
    if line.startswith("asc-sweeps")
] + re.findall(r"^\| `(asc-sweeps [^`]*)` \|", README, flags=re.M)
COMMANDS += [command for command in re.findall(r"`(asc-sweeps [^`]*)`", ALL) if command not in COMMANDS]


def test_the_front_page_is_short_and_links_to_pages_that_exist():
    assert len(README.encode()) <= 9_000
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)#]+)\)", text):
            assert (ROOT / page).parent.joinpath(link).exists(), f"{page}: {link}"
    for page in set(PAGES) - {"README.md", "tests/faults.md"}:
        assert f"]({page})" in README, page


def test_ci_runs_the_readmes_test_command_and_checks_the_code():
    installs = [line for line in README.splitlines() if line.startswith("python3") and "pip install" in line]
    assert len(installs) == 2
    ci = (ROOT / ".ci" / "run").read_text()
    positions = [ci.index(f"\n{step}\n") for step in installs[1].split(" && ")]
    assert positions == sorted(positions)
    assert all(f"\n.venv/bin/{check}" in ci for check in ("ruff check", "ruff format", "lint-imports", "mypy"))


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_of_the_readme_exists_with_its_options(line):
    words = shlex.split(line)[1:]
    command: click.Command = cli
    while words and isinstance(command, click.Group):
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    options = {o for p in command.params for o in p.opts}
    used = [w for w in words if w.startswith("--")]
    assert set(used) <= options, line
    for word in words:
        if command.name in ("plan", "sweep") and re.fullmatch(r"[a-z0-9_]+", word):
            assert word in shipped_spaces(), line
        if re.fullmatch(r"[a-z]+\.[a-z_]+=.*", word):
            assert word.partition("=")[0] in setting_fields(), line


def test_every_command_stands_in_the_readme():
    named = {tuple(c.split()[1:3]) for c in COMMANDS}
    for name, command in cli.commands.items():
        for inner in getattr(command, "commands", {"": None}):
            assert any(n[0] == name and (not inner or inner in n) for n in named), f"{name} {inner}"


def test_the_files_that_the_readme_names_exist():
    tree = next(block for _, block in BLOCKS if block.startswith("asc_sweeps/cli/"))
    for line in tree.splitlines():
        for name in re.split(r",\s+", re.split(r"\s{3,}", line)[0]):
            assert any((base / name).exists() for base in (ROOT, ROOT / "asc_sweeps")), name
    for name in re.findall(r"`((?:tests|search_spaces|asc_sweeps|analysis|docs)/[\w./]*)`", ALL):
        assert (ROOT / name).exists(), name


def test_every_test_that_promises_are_shown_by_exists():
    there = {
        name for path in (ROOT / "tests").rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())
    }
    faults = (ROOT / "tests" / "faults.md").read_text()
    assert len(re.findall(r"^\| \d+ \|", faults, flags=re.M)) == 36
    assert set(re.findall(r"`(test_\w+)`", ALL)) - {path.stem for path in (ROOT / "tests").rglob("test_*.py")} <= there


def test_every_benchmark_is_run_by_their_one_command_and_has_its_row():
    modules = {path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py")}
    assert set(ARGUMENTS) == modules - {"__init__", "__main__"}
    table = PAGES["tests/README.md"].partition("## Speed, measured")[2].partition("\n## ")[0]
    assert set(re.findall(r"\| `([a-z_]+)` \|$", table, flags=re.M)) == set(ARGUMENTS)


def test_the_example_of_a_search_space_is_one(tmp_path):
    yaml, search = [block for kind, block in BLOCKS if kind == "yaml"]
    (tmp_path / "search.yaml").write_text(search)
    assert load_sizes(str(tmp_path / "search.yaml"))[False].search.trials == 40
    (tmp_path / "my_study.yaml").write_text(yaml)
    assert len(load_sizes(str(tmp_path / "my_study.yaml"))[False].trials()) == 12
    assert len(load_sizes(str(tmp_path / "my_study.yaml"))[True].trials()) == 4


def test_the_example_of_an_error_is_what_is_printed(tmp_path):
    (shown,) = [block for _, block in BLOCKS if block.startswith("error: ")]
    path = tmp_path / "my_study.yaml"
    path.write_text("study: s\nsettings:\n  seed: 0\n  model.width: 42\ngrid:\n  finetune.max_drop_rat: [0.5]\n")
    with pytest.raises(ConfigError) as caught:
        load_sizes(str(path))
    assert caught.value.problems == [line.removeprefix("error: ") for line in shown.splitlines()]


def test_every_setting_that_the_paper_is_silent_about_has_its_row():
    rows = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| ([^|]*) \|", ALL, flags=re.M))
    silent = {name: json.dumps(f.default) for name, f in setting_fields().items() if NOT_IN_PAPER in f.description}
    assert rows == silent


def test_the_counts_of_the_readme_are_counted():
    rows = re.findall(r"^\| (BC-[^|]*?) \| ([\d,]+) \| ([\d,]+) \|", README, flags=re.M)
    assert len(rows) == 5
    for system, params, macs in rows:
        block = "bcresnet" if system.startswith("BC-ResNet") else "bcres2net"
        counted = count_complexity(ModelConfig(block=block, mfa="MFA" in system, fpm="FPM" in system), 256, 32)
        assert (f"{counted.params:,}", f"{counted.macs:,}") == (params, macs)
