"""CPU seconds of a report of thousands of trials, by stage: `python -m tests.benchmarks.report --trials 5000`.

Writes a workspace of which half are trials of a grid and half of a search, each with a history and no predictions.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import gc
import itertools
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from asc_sweeps.config.setting_groups import ModelConfig, PretrainConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import non_defaults
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import save_result, save_study
from asc_sweeps.workspace.records import Complexity, Score
from tests.planted import record, trial

EPOCHS, WORKERS, SEEDS = 10, 8, 5
FIRST = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
PARAMETERS = [
    {"name": "model.width", "when": None, "low": 16, "high": 80, "log": False},
    {"name": "model.mfa", "when": None, "choices": [True, False]},
    {"name": "model.fpm", "when": None, "choices": [True, False]},
    {"name": "pretrain.learning_rate", "when": None, "low": 1e-3, "high": 3e-2, "log": True},
]


def plant(workspace, trials):
    """Two studies: a grid of half of the trials, with five seeds per point, and a search of the other half."""
    random.seed(0)
    grid = itertools.product(range(16, 96, 8), (True, False), (True, False), range(1, trials), range(SEEDS))
    configs = [
        config(w, mfa, fpm, 1e-4 * rate, seed) for w, mfa, fpm, rate, seed in itertools.islice(grid, trials // 2)
    ]
    rows = [save(workspace, c, position) for position, c in enumerate(configs)]
    save_study(workspace, record(study="grid", command="asc-sweeps sweep grid.yaml", trials=rows))
    points, rows = [], []
    for number in range(trials - trials // 2):
        width, rate = random.randrange(16, 81, 8), 10 ** random.uniform(-3, -1.53)
        drawn = (width, random.random() < 0.5, random.random() < 0.5, rate)
        rows.append(save(workspace, config(*drawn, seed=0), number))
        end = {"state": "done", "signature": rows[-1]["signature"], "values": [rows[-1]["loss"]], "reason": ""}
        params = dict(zip([p["name"] for p in PARAMETERS], drawn, strict=True))
        points.append({"number": number, "params": params, **end})
    asked = {"sampler": "tpe", "seed": 0, "objectives": ["validation_log_loss"], "limits": {"macs": 30_000_000}}
    search = {**asked, "trials": len(points), "parameters": PARAMETERS, "points": points}
    made = record(study="search", command="asc-sweeps sweep search.yaml", trials=rows)
    save_study(workspace, dataclasses.replace(made, search=search))


def config(width, mfa, fpm, learning_rate, seed):
    """A trial with these settings."""
    pretrain = PretrainConfig(epochs=EPOCHS, warmup_epochs=0, learning_rate=learning_rate)
    return TrialConfig(seed=seed, model=ModelConfig(width=width, mfa=mfa, fpm=fpm), pretrain=pretrain)


def save(workspace, config, position):
    """Save the result of a trial; returns its row in the record of its study."""
    loss = 2.2 - config.model.width / 100 - 0.1 * config.model.mfa - 0.15 * config.model.fpm + random.gauss(0, 0.05)
    history = [
        {"phase": "pretrain", "epoch": epoch, "train_loss": loss * fall, "validation_log_loss": loss * fall + 0.1}
        for epoch, fall in enumerate((1 + math.exp(-i / 3) for i in range(EPOCHS)), start=1)
    ]
    began = FIRST + datetime.timedelta(seconds=700 * (position // WORKERS))
    ends = {"began_at": began.isoformat(), "ended_at": (began + datetime.timedelta(seconds=600)).isoformat()}
    made = trial(config, accuracy=1 - loss / 3, log_loss=loss, history=history)
    macs = 8_000 * config.model.width**2
    result = dataclasses.replace(
        made,
        scores=[*made.scores, Score("validation", "overall", "micro", 1_000, loss, 0.5)],
        complexity=Complexity(macs // 200, macs, macs // 50),
        work_intervals=[{"worker": f"host:{position % WORKERS}", **ends}],
    )
    save_result(workspace, result)
    who = {"signature": result.signature, "system": result.system, "phase": result.phase, "seed": config.seed}
    bound = non_defaults(config.with_resolved_data("tau2022", "fingerprint of tau2022"))
    return {**who, "state": "done", "epochs": EPOCHS, "needs": {}, "settings": bound, "loss": loss}


def stages(workspace):
    """Yield the name of each stage of a report once it is done."""
    from analysis import report

    evidence = report.load_evidence(workspace)
    yield "reading"
    evidence.frame  # noqa: B018  (made on first use)
    yield "frame of the trials"
    sections = []
    for section in report.SECTIONS:
        sections.append(section(evidence))
        yield f"section “{sections[-1].title}”"
    report._page(evidence, sections)
    yield "page, its exports and packing"


def timed(*arguments):
    """Wall and CPU seconds of a Python process."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    clock, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=5_000)
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        plant(workspace, parser.parse_args().trials)
        clock, whole = timed("-m", "asc_sweeps", "report", "--workspace", folder)
        print(f"{timed('-c', 'import analysis.report')[1]:7.2f} s  imports")
        gc.disable()  # as the command does
        last = time.process_time()
        for name in stages(workspace):
            print(f"{time.process_time() - last:7.2f} s  {name}")
            last = time.process_time()
        size = Path(folder, "report.html").stat().st_size
    print(f"{whole:7.2f} s  whole command, {clock:.2f} s wall time; {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
