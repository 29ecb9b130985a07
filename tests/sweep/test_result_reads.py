"""The driver of a sweep reads each result from disk once, whoever asks: plan, queue, searches, early stopping, trackers, records."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from sweeping import results

pytestmark = pytest.mark.slow

COUNTED = """
import json, sys
reads = {}

def count(event, args):
    if event == "open" and str(args[0]).endswith("/result.json") and str(args[1]).startswith("r"):
        reads[str(args[0])] = reads.get(str(args[0]), 0) + 1

sys.addaudithook(count)
from asc_sweeps.cli import main
try:
    main()
finally:
    with open("reads.json", "w") as file:
        json.dump(reads, file)
"""
SEARCH = """
search:
  trials: 5
  parameters: {finetune.reg_lambda: [0.04, 0.4]}
scheduler: {name: asha, grace_epochs: 1, reduction: 2}
track: {tensorboard: true}
"""


def test_a_sweep_and_its_repetition_read_each_result_once(study, tmp_path):
    grid, search = study("grid", "  finetune: null\n  seed: [0, 1]\n"), study("search", "")
    Path(search).write_text(Path(search).read_text().replace("grid:\n", SEARCH))
    for _ in range(2):  # trained, then all answered from disk
        command = [sys.executable, "-c", COUNTED, "sweep", grid, search]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        reads = json.loads((tmp_path / "reads.json").read_text())
        assert set(reads.values()) == {1}
        assert {Path(path).parent.name for path in reads} == results(tmp_path).keys()
