"""What a sweep tells TensorBoard, MLflow and Weights & Biases, each asked for by one line of a study's YAML.

The doors to the three, whose packages are optional. Results never depend on them: one that fails is told of and left alone.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from asc_sweeps.config.request import Study
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.plan import PlannedTrial
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_result

METRICS = ("train_loss", "validation_log_loss", "validation_accuracy", "learning_rate", "drop_rate", "seconds")
"""Of an epoch; the step is the epoch, counted over all phases of a trial."""
MLFLOW_STATUS = {"done": "FINISHED", "failed": "FAILED", "stopped": "KILLED", "interrupted": "KILLED"}
PACKAGES = {"tensorboard": "tensorboardX", "mlflow": "mlflow", "wandb": "wandb"}


class Tracker(Protocol):
    """One study's place in one of the three."""

    def begin(self, trial: PlannedTrial) -> None:
        """A trial is about to report; it may have before, in an earlier sweep."""

    def log(self, config: TrialConfig, metrics: Mapping[str, float], step: int) -> None:
        """Some numbers of a trial at a step."""

    def end(self, config: TrialConfig, state: str, note: str) -> None:
        """A trial has ended: `done`, `failed`, `stopped` or `interrupted`; `note` says why it failed."""


class Trackers:
    """The trackers of a sweep's studies. A start that several studies need is logged by all of them."""

    def __init__(self, studies: Sequence[Study], workspace: Workspace, say: Callable[[str], None]) -> None:
        """Raise WorkspaceError for a package that is not installed, or a place that cannot be reached."""
        self._workspace, self._say = workspace, say
        self._trackers: dict[tuple[str, str], Tracker] = {}
        for study in studies:
            for kind, place in study.space.track:
                if importlib.util.find_spec(PACKAGES[kind]) is None:
                    raise WorkspaceError(
                        f"track.{kind} of {study.name}: needs a package that is not installed: "
                        f"pip install 'asc_sweeps[{kind}]', or leave the line away"
                    )
                try:
                    self._trackers[study.space.study, kind] = KINDS[kind](study.record_name, place, workspace)
                except Exception as error:  # whatever three other projects raise
                    raise WorkspaceError(
                        f"track.{kind} of {study.name}: {error}; mend it, or leave the line away"
                    ) from None
        self._begun: dict[str, PlannedTrial] = {}

    def on_row(self, trial: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Take one report of a trial: an epoch's or its end's."""
        if not self._trackers or row.get("state") in ("reused", "repeated"):
            return
        config, state = trial.config, row.get("state")
        if config.signature not in self._begun:
            self._begun[config.signature] = trial
            self._tell(trial, lambda tracker: tracker.begin(trial))
        if not state:
            metrics = {name: float(row[name]) for name in METRICS if row.get(name) is not None}
            self._tell(trial, lambda tracker: tracker.log(config, metrics, row["epochs_done"]))
            return
        result = load_result(self._workspace, config.signature) if state == "done" else None
        if result:
            scores = {split: micro for split in ("validation", "test") if (micro := result.micro(split))}
            ends = {f"{split}_log_loss": micro.log_loss for split, micro in scores.items()}
            ends |= {f"{split}_accuracy": micro.accuracy for split, micro in scores.items()}
            self._tell(trial, lambda tracker: tracker.log(config, ends, len(result.history)))
        note = f"{row['cause']}: {row['message']}" if state == "failed" else ""
        self._end(trial, state, note)

    def close(self) -> None:
        """The sweep ends; what has begun and not ended was interrupted."""
        for trial in list(self._begun.values()):
            self._end(trial, "interrupted", "")

    def _end(self, trial: PlannedTrial, state: str, note: str) -> None:
        self._tell(trial, lambda tracker: tracker.end(trial.config, state, note))
        self._begun.pop(trial.config.signature)

    def _tell(self, trial: PlannedTrial, tell: Callable[[Tracker], None]) -> None:
        for (study, kind), tracker in list(self._trackers.items()):
            if study in trial.studies or not trial.studies:
                try:
                    tell(tracker)
                except Exception as error:
                    del self._trackers[study, kind]
                    self._say(f"track.{kind} of {study}: {error}; the sweep goes on without it")


class TensorBoard:
    """One folder a trial, below that of the study."""

    def __init__(self, study: str, place: str, workspace: Workspace) -> None:
        folder = Path("tensorboard") if workspace.url else workspace.root / "tensorboard"
        self._folder = Path(place or folder) / study
        self._writers: dict[str, Any] = {}

    def begin(self, trial: PlannedTrial) -> None:
        """Open the trial's event file."""
        from tensorboardX import SummaryWriter

        c = trial.config
        writer = self._writers[c.signature] = SummaryWriter(str(self._folder / f"{c.system}-{c.signature}"))
        writer.add_text("settings", "\n\n".join(f"{name} = {value}" for name, value in _settings(trial).items()))

    def log(self, config: TrialConfig, metrics: Mapping[str, float], step: int) -> None:
        """Scalars by their names."""
        for name, value in metrics.items():
            self._writers[config.signature].add_scalar(name, value, step)
        self._writers[config.signature].flush()

    def end(self, config: TrialConfig, state: str, note: str) -> None:
        """Close the event file."""
        writer = self._writers.pop(config.signature)
        writer.add_text("end", f"{state} {note}".strip())
        writer.close()


class Mlflow:
    """One run a trial, found again by its tag `signature`, in an experiment named after the study."""

    def __init__(self, study: str, place: str, workspace: Workspace) -> None:
        from mlflow import MlflowClient

        own = f"sqlite:///{Path('mlflow.db').resolve() if workspace.url else workspace.root / 'mlflow.db'}"
        self._client = MlflowClient(place or os.environ.get("MLFLOW_TRACKING_URI") or own)
        found = self._client.get_experiment_by_name(study)
        self._experiment = found.experiment_id if found else self._client.create_experiment(study)
        self._runs: dict[str, str] = {}

    def begin(self, trial: PlannedTrial) -> None:
        """Open the trial's run, or that of an earlier sweep again."""
        from mlflow.entities import Param

        c = trial.config
        known = self._client.search_runs([self._experiment], f"tags.signature = '{c.signature}'", max_results=1)
        if known:
            self._runs[c.signature] = known[0].info.run_id
            self._client.update_run(known[0].info.run_id, status="RUNNING")
            return
        tags = {"signature": c.signature, "system": c.system, "phase": c.phase}
        run = self._client.create_run(self._experiment, tags=tags, run_name=f"{c.system} {c.signature}")
        self._runs[c.signature] = run.info.run_id
        self._client.log_batch(
            run.info.run_id, params=[Param(name, str(value)) for name, value in _settings(trial).items()]
        )

    def log(self, config: TrialConfig, metrics: Mapping[str, float], step: int) -> None:
        """Metrics by their names."""
        from mlflow.entities import Metric
        from mlflow.utils.time import get_current_time_millis

        now = get_current_time_millis()
        rows = [Metric(name, value, now, step) for name, value in metrics.items()]
        self._client.log_batch(self._runs[config.signature], metrics=rows)

    def end(self, config: TrialConfig, state: str, note: str) -> None:
        """Close the run."""
        run = self._runs.pop(config.signature)
        self._client.set_tag(run, "end", f"{state} {note}".strip())
        self._client.set_terminated(run, MLFLOW_STATUS[state])


class Wandb:
    """One run a trial, its id the signature, in a group named after the study."""

    def __init__(self, study: str, place: str, workspace: Workspace) -> None:
        self._study, self._project = study, place or "asc-sweeps"
        self._folder = Path() if workspace.url else workspace.root
        self._runs: dict[str, Any] = {}

    def begin(self, trial: PlannedTrial) -> None:
        """Open the trial's run, or that of an earlier sweep again."""
        import wandb

        c = trial.config
        self._runs[c.signature] = wandb.init(
            project=self._project,
            group=self._study,
            id=f"{self._study}-{c.signature}",
            name=f"{c.system} {c.signature}",
            config=_settings(trial),
            dir=str(self._folder),
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, config: TrialConfig, metrics: Mapping[str, float], step: int) -> None:
        """Metrics by their names."""
        self._runs[config.signature].log(dict(metrics), step=step)

    def end(self, config: TrialConfig, state: str, note: str) -> None:
        """Close the run."""
        run = self._runs.pop(config.signature)
        run.summary["end"] = f"{state} {note}".strip()
        run.finish(exit_code=0 if state == "done" else 1)


KINDS: Mapping[str, Callable[[str, str, Workspace], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": Mlflow,
    "wandb": Wandb,
}


def _settings(trial: PlannedTrial) -> dict[str, Any]:
    """A trial's settings under their dotted names, with what is counted of its network."""

    def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in values.items():
            found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        return found

    sizes = {"params": trial.complexity.params, "macs": trial.complexity.macs}
    return {**flat(trial.config.model_dump(mode="json")), **sizes}
