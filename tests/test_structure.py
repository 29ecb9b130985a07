"""The structure of the code: order of packages, unique names, short modules and functions.

The order of the packages and the only importer of each library are contracts of import-linter in pyproject.toml.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CODE = sorted([*(ROOT / "asc_sweeps").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")])
COMPILED = ROOT / "asc_sweeps" / "models" / "cpu"
GENERATED = ROOT / "asc_sweeps" / "data" / "synthetic"


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_imports_keep_the_contracts(copy):
    done = lint_imports(copy)
    assert done.returncode == 0, done.stdout


PLANTED = {
    "upwards": ("asc_sweeps/config/settings.py", "import asc_sweeps.workspace.records"),
    "upwards, in a function": ("asc_sweeps/data/labels.py", "def f():\n    import asc_sweeps.sweep.plan"),
    "upwards, for types alone": (
        "asc_sweeps/workspace/status.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import asc_sweeps.training.loop",
    ),
    "upwards in the analysis": ("analysis/page/formats.py", "import analysis.paper.table2"),
    "between packages that do not know each other": ("asc_sweeps/sweep/plan.py", "import asc_sweeps.deploy.predict"),
    "in a circle": ("asc_sweeps/data/labels.py", "import asc_sweeps.data.cache"),
    "of the guest": ("asc_sweeps/models/network.py", "import asc_sweeps.models.cpu.compiled"),
    "of a library past its door": ("asc_sweeps/training/loop.py", "import ray"),
    "of plotly past its door": ("analysis/paper/table2.py", "import plotly.graph_objects"),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_an_import_that_breaks_the_contracts_is_found(kind, copy):
    file, line = PLANTED[kind]
    with open(copy / file, "a") as code:
        code.write(f"\n{line}\n")
    done = lint_imports(copy)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("module", ["analysis.report", "asc_sweeps.data.prepare"])
def test_the_analysis_and_the_preparing_of_data_import_neither_torch_nor_ray(module):
    code = (
        "import importlib, sys; importlib.import_module(sys.argv[1]); "
        "found = {'torch', 'ray', 'optuna', 'torchaudio'} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code, module], cwd=ROOT, check=False).returncode == 0


def test_ray_accepts_the_cluster_file_and_the_one_of_its_comments_for_machines_of_ones_own():
    text = (ROOT / "cluster.yaml").read_text()
    cloud = yaml.safe_load(text)
    own = "\n".join(line.removeprefix("# ") for line in text[text.index("# provider:") :].splitlines())
    without = {key: value for key, value in cloud.items() if key not in ("available_node_types", "head_node_type")}
    code = (
        "import json, sys; from ray.autoscaler._private.util import prepare_config, validate_config; "
        "validate_config(prepare_config(json.load(sys.stdin)))"
    )
    for config in (cloud, {**without, **yaml.safe_load(own)}):
        found = subprocess.run(
            [sys.executable, "-c", code], input=json.dumps(config), text=True, capture_output=True, check=False
        )
        assert found.returncode == 0, found.stderr
        starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
        assert all("RAY_AUTH_MODE=token" in line for line in starts if "ray start" in line)


def test_no_two_files_share_a_name():
    names = [path.name for path in CODE if path.name not in ("__init__.py", "__main__.py")]
    assert sorted(names) == sorted(set(names))


def test_no_two_public_classes_share_a_name():
    found = defaultdict(list)
    for path in CODE:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(name_of(path))
    assert not {name: paths for name, paths in found.items() if len(paths) > 1}


def test_no_two_constants_of_one_name_have_different_values():
    found = defaultdict(dict)
    for path in CODE:
        for node in ast.parse(path.read_text()).body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            for target in targets:
                if isinstance(target, ast.Name) and target.id.isupper() and node.value is not None:
                    found[target.id][name_of(path)] = ast.unparse(node.value)
    assert not {name: values for name, values in found.items() if len(set(values.values())) > 1}


def test_functions_and_classes_are_short_outside_of_the_compiled_form():
    """Complexity is ruff's C901."""
    long = {}
    for path in CODE:
        if COMPILED in path.parents:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                length = node.end_lineno - first + 1
                if length > (60 if isinstance(node, ast.FunctionDef) else 150):
                    long[f"{name_of(path)}: {node.name}"] = length
    assert not long


def test_the_analysis_has_at_most_eight_entries():
    entries = [path.name for path in (ROOT / "analysis").iterdir() if path.name != "__pycache__"]
    assert len([name for name in entries if name != "README.md"]) <= 8


def test_no_code_file_is_longer_than_400_lines():
    long = {name_of(p): n for p in CODE if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_weights_are_never_unpickled():
    assert not [name_of(p) for p in CODE if "weights_only=False" in p.read_text()]
