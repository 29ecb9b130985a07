"""What a sweep logs to TensorBoard, MLflow and Weights & Biases, each enabled by one line of a study's YAML.

The doors to the three, whose packages are optional. Results never depend on them: a failing tracker is reported and disabled.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from asc_sweeps.config.dotted_names import flatten_settings
from asc_sweeps.config.request import Study
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep import trial_events as events
from asc_sweeps.sweep.plan import PlannedTrial
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.paths import Workspace

EPOCH_METRICS = ("train_loss", "validation_log_loss", "validation_accuracy", "learning_rate", "drop_rate", "seconds")
"""Logged at each epoch, counted over all phases of a trial."""
MLFLOW_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "interrupted": "KILLED"}
TRACKER_PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


class Tracker(Protocol):
    """One study in one of the three; each trial is one of its runs."""

    def open(self, trial: PlannedTrial) -> Any:
        """A trial's run, continued if an earlier sweep began it."""

    def log(self, run: Any, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics by name."""

    def close(self, run: Any, state: str, note: str) -> None:
        """End a run: `done`, `failed`, `stopped` or `interrupted`; `note` is the state with the reason of a failure."""


class Trackers:
    """The trackers of a sweep's studies. A trial that no study lists, since others only build on it, is logged by all."""

    def __init__(self, studies: Sequence[Study], finished: FinishedTrials, say: Callable[[str], None]) -> None:
        """Raise WorkspaceError for a package that is not installed, or a server that cannot be used."""
        self._finished, self._say = finished, say
        self._trackers: dict[tuple[str, str], Tracker] = {}
        self._runs: dict[tuple[str, str], dict[str, Any]] = {}
        self._begun: dict[str, PlannedTrial] = {}
        for study in studies:
            for kind, target in study.space.track:
                if importlib.util.find_spec(TRACKER_PACKAGES[kind]) is None:
                    raise WorkspaceError(
                        f"track.{kind} of {study.name}: requires a package that is not installed: "
                        f"pip install 'asc_sweeps[{kind}]', or remove the line"
                    )
                try:
                    tracker = TRACKER_KINDS[kind](study.record_name, target, finished.workspace)
                except Exception as error:  # whatever three other projects raise
                    raise WorkspaceError(f"track.{kind} of {study.name}: {error}; fix or remove the line") from None
                self._trackers[study.space.study, kind], self._runs[study.space.study, kind] = tracker, {}

    def on_event(self, trial: PlannedTrial, event: events.SweepEvent) -> None:
        """Log one event of a trial."""
        if not self._trackers or isinstance(event, events.PointReused | events.PointRepeated):
            return
        signature = trial.config.signature
        if signature not in self._begun:
            self._begun[signature] = trial
            self._each(trial, lambda tracker, runs: runs.update({signature: tracker.open(trial)}))
        match event:
            case events.EpochFinished():
                values = {name: event.metrics.get(name) for name in EPOCH_METRICS}
                self._log(trial, {n: v for n, v in values.items() if isinstance(v, float | int)}, event.epochs_done)
            case events.TrialFinished():
                if result := self._finished.find(trial.config):
                    scores = [(split, result.micro_scores.get(split)) for split in ("validation", "test")]
                    metrics = {f"{split}_log_loss": score.log_loss for split, score in scores if score}
                    metrics |= {f"{split}_accuracy": score.accuracy for split, score in scores if score}
                    self._log(trial, metrics, len(result.validation_log_losses))
                self._close(trial, "done")
            case events.TrialFailed():
                self._close(trial, "failed", f"failed {event.cause}: {event.message}")
            case events.TrialStopped():
                self._close(trial, "stopped")

    def close(self) -> None:
        """End the sweep: runs that are still open were interrupted."""
        for trial in list(self._begun.values()):
            self._close(trial, "interrupted")

    def _log(self, trial: PlannedTrial, metrics: Mapping[str, float], step: int) -> None:
        self._each(trial, lambda tracker, runs: tracker.log(runs[trial.config.signature], metrics, step))

    def _close(self, trial: PlannedTrial, state: str, note: str = "") -> None:
        signature = self._begun.pop(trial.config.signature).config.signature
        self._each(trial, lambda tracker, runs: tracker.close(runs.pop(signature), state, note or state))

    def _each(self, trial: PlannedTrial, act: Callable[[Tracker, dict[str, Any]], None]) -> None:
        """Act on each tracker of a trial with its open runs."""
        for (study, kind), tracker in list(self._trackers.items()):
            if study in trial.studies or not trial.studies:
                try:
                    act(tracker, self._runs[study, kind])
                except Exception as error:
                    del self._trackers[study, kind]
                    self._say(f"track.{kind} of {study}: disabled for this sweep after an error: {error}")


class TensorBoard:
    """One folder per trial, below that of the study."""

    def __init__(self, study: str, folder: str, workspace: Workspace) -> None:
        default = Path("tensorboard") if workspace.url else workspace.root / "tensorboard"
        self._folder = Path(folder or default) / study

    def open(self, trial: PlannedTrial) -> Any:
        from tensorboardX import SummaryWriter

        writer = SummaryWriter(str(self._folder / f"{trial.config.system}-{trial.config.signature}"))
        writer.add_text("settings", "\n\n".join(f"{name} = {value}" for name, value in _settings(trial).items()))
        return writer

    def log(self, run: Any, metrics: Mapping[str, float], step: int) -> None:
        for name, value in metrics.items():
            run.add_scalar(name, value, step)
        run.flush()

    def close(self, run: Any, state: str, note: str) -> None:
        run.add_text("end", note)
        run.close()


class Mlflow:
    """An experiment named after the study; a trial's run is found again by its tag `signature`."""

    def __init__(self, study: str, uri: str, workspace: Workspace) -> None:
        from mlflow import MlflowClient

        own = f"sqlite:///{Path('mlflow.db').resolve() if workspace.url else workspace.root / 'mlflow.db'}"
        self._client = MlflowClient(uri or os.environ.get("MLFLOW_TRACKING_URI") or own)
        found = self._client.get_experiment_by_name(study)
        self._experiment = found.experiment_id if found else self._client.create_experiment(study)

    def open(self, trial: PlannedTrial) -> str:
        from mlflow.entities import Param

        c = trial.config
        known = self._client.search_runs([self._experiment], f"tags.signature = '{c.signature}'", max_results=1)
        if known:
            self._client.update_run(known[0].info.run_id, status="RUNNING")
            return known[0].info.run_id
        tags = {"signature": c.signature, "system": c.system, "phase": c.phase}
        run = self._client.create_run(self._experiment, tags=tags, run_name=f"{c.system} {c.signature}").info.run_id
        self._client.log_batch(run, params=[Param(name, str(value)) for name, value in _settings(trial).items()])
        return run

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        self._client.log_batch(run, metrics=[Metric(name, value, now, step) for name, value in metrics.items()])

    def close(self, run: str, state: str, note: str) -> None:
        self._client.set_tag(run, "end", note)
        self._client.set_terminated(run, MLFLOW_STATUS[state])


class Wandb:
    """One run per trial, its id from the signature, in a group named after the study."""

    def __init__(self, study: str, project: str, workspace: Workspace) -> None:
        self._study, self._project = study, project or "asc-sweeps"
        self._folder = Path() if workspace.url else workspace.root

    def open(self, trial: PlannedTrial) -> Any:
        import wandb

        c = trial.config
        return wandb.init(
            project=self._project, group=self._study, id=f"{self._study}-{c.signature}", name=f"{c.system} {c.signature}",
            config=_settings(trial), dir=str(self._folder), resume="allow", reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip

    def log(self, run: Any, metrics: Mapping[str, float], step: int) -> None:
        run.log(dict(metrics), step=step)

    def close(self, run: Any, state: str, note: str) -> None:
        run.summary["end"] = note
        run.finish(exit_code=0 if state == "done" else 1)


TRACKER_KINDS: Mapping[str, Callable[[str, str, Workspace], Tracker]]
TRACKER_KINDS = {"tensorboard": TensorBoard, "mlflow": Mlflow, "wandb": Wandb}


def _settings(trial: PlannedTrial) -> dict[str, Any]:
    """A trial's settings by their dotted names, and the size of its network."""
    sizes = {"params": trial.complexity.params, "macs": trial.complexity.macs}
    return {**flatten_settings(trial.config.model_dump(mode="json")), **sizes}
