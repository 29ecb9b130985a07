"""The layout of the code: one door a library, imports downwards only, modules that a person can hold in the head."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CLI = ("__init__", "options", "study_commands", "look_commands", "power_command", "export_commands", "trial_commands")
CLI += ("data_commands",)
CODE = sorted([*(ROOT / "asc_sweeps").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")])
DOORS = {
    "ray": {f"asc_sweeps/{name}.py" for name in ("sweeps", "tuning", "ray_changes")},
    "optuna": {"asc_sweeps/search.py", "analysis/importance.py"},
    "torchaudio": {"asc_sweeps/data/torchaudio_door.py"},
    "yaml": {"asc_sweeps/yaml_nodes.py"},
    "onnxruntime": {"asc_sweeps/models/export.py"},
    "onnxscript": {"asc_sweeps/models/export.py"},
    "kaleido": {"analysis/images.py"},
    "choreographer": {"analysis/images.py"},
    "numba": {"asc_sweeps/models/fast/vectors.py"},
    "threadpoolctl": {"asc_sweeps/data/convert.py"},
    "llvmlite": {"asc_sweeps/models/fast/vectors.py"},
    "scipy": {"analysis/statistics.py"},
    "tensorboardX": {"asc_sweeps/trackers.py"},
    "mlflow": {"asc_sweeps/trackers.py"},
    "wandb": {"asc_sweeps/trackers.py"},
    "pyarrow": {"asc_sweeps/shared_files.py"},
    "click": {f"asc_sweeps/cli/{name}.py" for name in CLI},
    "pydantic": {f"asc_sweeps/{name}.py" for name in ("config", "groups", "settings", "results")},
    "pydantic_core": {f"asc_sweeps/{name}.py" for name in ("config", "groups", "settings", "results", "packing")},
}
LAYERS = [
    "__main__",
    "analysis",
    "cli",
    "console",
    "sweeps",
    "tuning",
    "ray_changes",
    "status",
    "doctor",
    "ray_environment",
    "cost",
    "trackers",
    "submission",
    "predict",
    "export",
]
LAYERS += ["studies", "search", "halving", "plan", "trial", "lease"]
LAYERS += ["training", "finished", "models", "data", "results", "request", "repeat", "space_file", "space"]
LAYERS += ["yaml_nodes", "settings", "conditions", "config", "groups"]
LAYERS += [
    "workspace",
    "shared_files",
    "files",
    "provenance",
    "watchdog",
    "interruption",
    "packing",
    "garbage",
    "errors",
]


def imported(path):
    """(module, whether at the top of the file) of every import of a file."""
    tree = ast.parse(path.read_text())
    top = set(tree.body)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node in top


def name_of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library):
    importers = {name_of(p) for p in CODE for module, _ in imported(p) if module.split(".")[0] == library}
    assert importers <= DOORS[library]


def test_plotly_is_imported_by_the_analysis_alone():
    assert not [p for p in CODE if "asc_sweeps" in p.parts for m, _ in imported(p) if m.split(".")[0] == "plotly"]


@pytest.mark.parametrize("module", ["analysis.report", "asc_sweeps.data.prepare"])
def test_the_analysis_and_the_preparing_of_data_import_neither_torch_nor_ray(module):
    code = (
        "import importlib, sys; importlib.import_module(sys.argv[1]); "
        "found = {'torch', 'ray', 'optuna', 'torchaudio'} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code, module], cwd=ROOT, check=False).returncode == 0


def test_only_the_command_line_knows_the_analysis():
    importers = {
        name_of(p) for p in CODE if "asc_sweeps" in p.parts for m, _ in imported(p) if m.startswith("analysis")
    }
    assert importers == {f"asc_sweeps/cli/{name}.py" for name in ("study_commands", "look_commands", "power_command")}


def test_a_module_imports_only_from_layers_below_its_own():
    def layer(module):
        parts = module.removeprefix("asc_sweeps.").split(".")
        return LAYERS.index(parts[0]) if parts[0] in LAYERS else len(LAYERS)

    modules = {p.stem for p in (ROOT / "asc_sweeps").glob("*.py")} | {p.parent.name for p in CODE}
    assert modules - {"__init__", "asc_sweeps", "templates", "synthetic", "fast", "analysis"} == set(LAYERS) - {
        "analysis"
    }
    wrong = []
    for path in CODE:
        if "asc_sweeps" in path.parts:
            here = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
            wrong += [
                f"{name_of(path)} imports {module}"
                for module, _ in imported(path)
                if module.startswith("asc_sweeps.") and layer(module) < here
            ]
    assert not wrong


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


def test_no_code_file_is_longer_than_400_lines():
    long = {name_of(p): n for p in CODE if (n := len(p.read_text().splitlines())) > 400}
    assert not long


def test_weights_are_never_unpickled():
    assert not [name_of(p) for p in CODE if "weights_only=False" in p.read_text()]
