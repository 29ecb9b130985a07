"""Each way to add something that CONTRIBUTING.md lists, done to a copy of the code as a contributor would, and seen to work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent
SIGNATURES = json.loads((ROOT / "tests" / "signatures.json").read_text())


def insert_before(path: Path, anchor: str, text: str) -> None:
    """Add lines to a file before the first line that begins with `anchor`."""
    lines = path.read_text().split("\n")
    at = next(i for i, line in enumerate(lines) if line.startswith(anchor))
    path.write_text("\n".join([*lines[:at], *text.split("\n"), *lines[at:]]))


def python(copy: Path, *arguments: str) -> str:
    """Standard output of Python in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_setting_is_one_field_and_leaves_old_signatures_as_they_are(copy):
    field = '    groups: int = setting(1, "Groups of the 1x1 convolutions, beyond the paper", ge=1)'
    insert_before(copy / "asc_sweeps" / "config" / "setting_groups.py", "    block: Literal", field)
    assert "model.groups" in python(copy, "-m", "asc_sweeps", "settings")
    code = (
        "import json, sys; from asc_sweeps.config.trial_config import TrialConfig; from asc_sweeps.config.setting_groups import *; "
        "print(TrialConfig().signature, TrialConfig(model=ModelConfig(width=48)).signature, "
        "TrialConfig(model=ModelConfig(groups=2)).signature)"
    )
    default, wider, grouped = python(copy, "-c", code).split()
    known = {json.dumps(row["settings"]): row["signature"] for row in SIGNATURES}
    assert (default, wider) == (known["{}"], known['{"model.width": 48}'])
    assert grouped not in known.values()


BLOCK = '''
def plain_block(channels_in: int, channels_out: int, config: ModelConfig) -> nn.Module:
    """Two pointwise convolutions."""
    return nn.Sequential(pointwise(channels_in, channels_out), nn.GELU(), pointwise(channels_out, channels_out))


BLOCKS = {"plain": plain_block, "bcresnet": bcresnet_block, "bcres2net": bcres2net_block}
'''


def test_a_block_is_one_function_and_its_name_its_counts_follow_from_its_layers_and_the_compiled_form_declines_it(copy):
    blocks, groups = copy / "asc_sweeps" / "models" / "blocks.py", copy / "asc_sweeps" / "config" / "setting_groups.py"
    insert_before(blocks, "BLOCKS = ", BLOCK)
    code = blocks.read_text()
    last = code.rindex("\nBLOCKS = ")
    blocks.write_text(code[:last] + code[code.index("\n", last + 1) :])
    groups.write_text(groups.read_text().replace('block: Literal["bcresnet",', 'block: Literal["plain", "bcresnet",'))
    words = ("--set", "model.block=plain", "--set", "model.mfa=false", "--set", "model.fpm=false", "--json")
    counted = json.loads(python(copy, "-m", "asc_sweeps", "complexity", *words))
    code = (
        "import torch; from asc_sweeps.training.build_network import build_network; from asc_sweeps.models.cpu import compiled; "
        "from asc_sweeps.config.setting_groups import ModelConfig; compiled.MIN_STEM_VALUES = 0; "
        "network, x = build_network(ModelConfig(block='plain', mfa=False, fpm=False)), torch.randn(2, 1, 64, 16); "
        "known = build_network(ModelConfig(mfa=False, fpm=False)); network(x).sum().backward(); "
        "print(compiled.can_run(known, x), compiled.can_run(network, x), sum(p.numel() for p in network.parameters()))"
    )
    known_taken, taken, params = python(copy, "-c", code).split()
    assert (known_taken, taken, int(params)) == ("True", "False", counted["params"])


POLISH_SETTINGS = '''
class PolishConfig(Settings):
    """Train on at a small learning rate."""

    epochs: Count = setting(2, "Epochs, beyond the paper")
    batch_size: Positive = setting(64, "Segments of a mini-batch, beyond the paper")
    learning_rate: Rate = setting(1e-5, "Fixed learning rate of AdamW, beyond the paper")
    weight_decay: Rate = setting(0.0, "Weight decay of AdamW, beyond the paper")

'''
POLISH = '''"""Training on at a small learning rate."""

from asc_sweeps.config.setting_groups import PolishConfig
from asc_sweeps.training.loop import Phase, Session, run_phases


def polish(session: Session, config: PolishConfig) -> None:
    """Train the session's network on."""
    run_phases(session, Phase("polish", config))
'''


def test_a_phase_is_a_group_of_settings_a_module_and_its_line(copy):
    config, training = copy / "asc_sweeps" / "config", copy / "asc_sweeps" / "training"
    insert_before(config / "setting_groups.py", "class EvaluateConfig", POLISH_SETTINGS)
    insert_before(
        config / "trial_settings.py", "    evaluate: EvaluateConfig", "    polish: PolishConfig | None = None"
    )
    insert_before(config / "trial_settings.py", "    QuantizeConfig,", "    PolishConfig,")
    phases = (
        (config / "trial_settings.py")
        .read_text()
        .replace('"quantize", "evaluate")', '"quantize", "polish", "evaluate")')
    )
    (config / "trial_settings.py").write_text(phases)
    (training / "polish.py").write_text(POLISH)
    insert_before(
        training / "run_trial.py", "from asc_sweeps.training.pretrain", "from asc_sweeps.training.polish import polish"
    )
    insert_before(training / "run_trial.py", "    QuantizeConfig,", "    PolishConfig,")
    insert_before(training / "run_trial.py", "    QuantizeConfig: quantize,", "    PolishConfig: polish,")
    small = [
        "data.dataset=synthetic-tiny",
        "features.n_mels=32",
        "features.hop=1024",
        "model.width=8",
        "model.mfa=false",
    ]
    small += [
        "model.fpm=false",
        "pretrain.epochs=1",
        "pretrain.warmup_epochs=0",
        "pretrain.batch_size=64",
        "polish.epochs=1",
    ]
    python(copy, "-m", "asc_sweeps", "train", *(word for setting in small for word in ("--set", setting)))
    results = [json.loads(path.read_text()) for path in (copy / "workspace" / "trials").glob("*/result.json")]
    assert sorted(row["phase"] for result in results for row in result["history"]) == ["polish", "pretrain"]


def test_a_study_is_one_yaml_file(copy):
    study = "study: my_widths\nsettings:\n  data.dataset: synthetic-tiny\ngrid:\n  model.width: [8, 16]\nseeds: [0]\n"
    (copy / "search_spaces" / "my_widths.yaml").write_text(study)
    plan = json.loads(python(copy, "-m", "asc_sweeps", "plan", "my_widths", "--json"))
    assert len(plan["trials"]) == 2


SECTION = '''"""How many trials there are."""

from analysis.evidence.loading import Evidence
from analysis.page.elements import Section, Text


def section(evidence: Evidence) -> Section:
    """One sentence."""
    return Section("counted", "Counted", [Text(f"{len(evidence.results)} trials were counted.")])
'''


def test_a_section_of_the_report_is_one_function_and_its_line(copy):
    report = copy / "analysis" / "report.py"
    (copy / "analysis" / "studies" / "counted.py").write_text(SECTION)
    insert_before(report, "from analysis.studies import", "from analysis.studies import counted")
    insert_before(report, "    effects_section.section,", "    counted.section,")
    (copy / "workspace").mkdir()
    python(
        copy, "-m", "asc_sweeps", "report", "--workspace", str(copy / "workspace"), "--out", str(copy / "report.html")
    )
    assert "0 trials were counted." in (copy / "report.html").read_text()
