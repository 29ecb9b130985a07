"""Overhead of a sweep over its training: `python -m tests.benchmarks.overhead --trials 50 --seconds 4`.

Runs the same short trials with `asc-sweeps sweep`, with bare Ray Tune (one function per trial) and with plain Optuna (several
processes on one SQLite file), each with one trial per core. The ratio is wall time divided by the total time of the trials per
worker; 1.00 means no overhead.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from asc_sweeps.config.request import Request, load_studies
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.synthetic import DatasetPlan, synthesize
from asc_sweeps.workspace.paths import Workspace, cores
from asc_sweeps.workspace.record_store import load_contents
from tests.sweeping import SMALL_STUDY

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "RAY_AIR_NEW_OUTPUT": "0"}


def by_asc_sweeps(study: Path, configs: list[TrialConfig], folder: Path) -> None:
    """Run the trials with the command."""
    command = [sys.executable, "-m", "asc_sweeps", "sweep", str(study), "--workspace", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _tune(configs: list[str], folder: Path) -> None:
    os.environ.update(QUIET, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="9" * 64)
    import ray
    from ray import tune

    def trainable(drawn: dict[str, str]) -> None:
        from asc_sweeps.training.run_trial import run_trial

        run_trial(TrialConfig.model_validate_json(drawn["trial"]), Workspace(folder))
        tune.report({"done": 1})

    ray.init(address="local", num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    place = tune.RunConfig(storage_path=str(folder / "ray"), verbose=0)
    space = {"trial": tune.grid_search(configs)}
    tune.Tuner(tune.with_resources(trainable, {"cpu": 1}), param_space=space, run_config=place).fit()
    ray.shutdown()


def by_ray_tune(study: Path, configs: list[TrialConfig], folder: Path) -> None:
    """Run the trials with Ray Tune, as in its getting-started guide."""
    _apart(1, _tune, [config.model_dump_json() for config in configs], folder)


def _optimize(configs: list[str], folder: Path) -> None:
    import optuna
    from optuna.study import MaxTrialsCallback

    from asc_sweeps.training.run_trial import run_trial

    def objective(trial: optuna.Trial) -> float:
        result = run_trial(TrialConfig.model_validate_json(configs[trial.number % len(configs)]), Workspace(folder))
        return result.scores[0].log_loss

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.load_study(storage=f"sqlite:///{folder}/o.db", study_name="o")
    study.optimize(objective, n_trials=len(configs), callbacks=[MaxTrialsCallback(len(configs))])


def by_optuna(study: Path, configs: list[TrialConfig], folder: Path) -> None:
    """Run the trials with Optuna, as in its guide to parallel runs."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    optuna.create_study(storage=f"sqlite:///{folder}/o.db", study_name="o")
    _apart(cores(), _optimize, [config.model_dump_json() for config in configs], folder)


def _apart(processes: int, work: Callable[..., None], *arguments: object) -> None:
    """Run the work in new processes, which import what they need as a script would."""
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=work, args=arguments) for _ in range(processes)]
    for process in running:
        process.start()
    for process in running:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a worker process failed with exit code {process.exitcode}")


def seconds_an_epoch(path: Path, study: str, root: Path) -> float:
    """Seconds per epoch of the small network, with one trial per core at once; the first epoch is not counted."""
    path.write_text(f"study: pace\n{study}\ngrid:\n  finetune: null\n  seed: {list(range(cores()))}\n")
    folder = root / "pace"
    folder.mkdir()
    (folder / "prepared").symlink_to(root / "prepared")
    by_asc_sweeps(path, [], folder)
    return statistics.mean(
        row["seconds"] for result in load_contents(Workspace(folder)).results for row in result.history[1:]
    )


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=4, help="approximate seconds per trial")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        synthesize(root / "set", DatasetPlan("mini", 2, 5, 1), workers=1)
        data = prepare(root / "set", root / "prepared")
        path = root / "overhead.yaml"
        seeds = f"  finetune: null\n  seed: {list(range(given.trials))}\n"
        pace = seconds_an_epoch(path, SMALL_STUDY.format(folder=root / "set", epochs=3), root)
        epochs = max(1, round(given.seconds / pace))
        settings = SMALL_STUDY.format(folder=root / "set", epochs=epochs)
        path.write_text(f"study: overhead\n{settings}\ngrid:\n{seeds}")
        (study,) = load_studies(Request((str(path),), mini=False))
        configs = [config.with_resolved_data(data.name, data.fingerprint) for config in study.trials]
        print(f"{given.trials} trials of {epochs} epochs on {cores()} workers")
        print("| run by | wall, s | training / workers, s | ratio |\n|---|---|---|---|")
        for kind, run in (("asc-sweeps sweep", by_asc_sweeps), ("Ray Tune", by_ray_tune), ("Optuna", by_optuna)):
            folder = root / run.__name__
            folder.mkdir()
            (folder / "prepared").symlink_to(root / "prepared")
            began = time.monotonic()
            run(path, configs, folder)
            wall = time.monotonic() - began
            results = load_contents(Workspace(folder)).results
            if len(results) != given.trials:
                raise RuntimeError(f"{kind}: {len(results)} of {given.trials} trials have a result")
            trained = sum(result.seconds for result in results) / cores()
            print(f"| {kind} | {wall:.0f} | {trained:.0f} | {wall / trained:.2f} |", flush=True)


if __name__ == "__main__":
    main()
