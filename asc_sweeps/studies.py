"""Studies on opened data: their plan and their records; no Ray."""

from __future__ import annotations

from asc_sweeps.config import TrialConfig
from asc_sweeps.data.catalog import Progress, dataset_folder, open_dataset
from asc_sweeps.errors import DataError
from asc_sweeps.plan import Plan, distinct_models, make_plan
from asc_sweeps.request import Request
from asc_sweeps.results import StudyRecord, TrialFailure, load_failures, now, save_failure, save_study
from asc_sweeps.space import SearchSpace, load_space
from asc_sweeps.trial import find_result
from asc_sweeps.workspace import Workspace


def bind(trials: list[TrialConfig], workspace: Workspace, progress: Progress) -> list[TrialConfig]:
    """The trials on their opened data; generated data are made first. Raises DataError where data are not at hand."""
    opened = {name: open_dataset(name, workspace, progress) for name in dict.fromkeys(t.data.dataset for t in trials)}
    for config in trials:
        data, wanted = opened[config.data.dataset], config.data.fingerprint
        if wanted and wanted != data.fingerprint:
            folder = dataset_folder(config.data.dataset, workspace)
            raise DataError(f"{folder}: has fingerprint {data.fingerprint}, but data.fingerprint asks for {wanted}")
    return [t.bound(opened[t.data.dataset].name, opened[t.data.dataset].fingerprint) for t in trials]


def plan_studies(
    spaces: list[SearchSpace], trials: list[list[TrialConfig]], workspace: Workspace
) -> tuple[Plan, dict[str, list[TrialConfig]]]:
    """The plan of some studies, and their own trials by study."""
    studies = {space.study: configs for space, configs in zip(spaces, trials, strict=True)}
    return make_plan(studies, workspace), studies


def note_failures(plan: Plan, failed: dict[str, tuple[str, str]], workspace: Workspace) -> None:
    """Write down the failures that no trial could write down itself: its start's, or its process's end."""
    written = {f.signature for f in load_failures(workspace)}
    for trial in plan.todo:
        c = trial.config
        if c.signature in failed and c.signature not in written:
            cause, message = failed[c.signature]
            save_failure(workspace, TrialFailure(c.signature, c.system, c.phase, cause, message, now()))


def record_studies(request: Request, spaces: list[SearchSpace], plan: Plan, workspace: Workspace) -> list[StudyRecord]:
    """Write down how each study of a request stands now, by what the workspace holds."""
    failures = {f.signature for f in load_failures(workspace)}
    records = []
    for name, space in zip(dict.fromkeys(request.spaces), spaces, strict=True):
        rows = []
        for t in plan.trials:
            if space.study in t.studies:
                c = t.config
                done = find_result(c, workspace) is not None
                state = "done" if done else "failed" if c.signature in failures else "planned"
                sizes = {"params": t.complexity.params, "macs": t.complexity.macs}
                who = {"signature": c.signature, "system": c.system, "phase": c.phase, "seed": c.seed}
                rows.append({**who, "state": state, **sizes})
        states = {row["state"] for row in rows}
        state = "interrupted" if "planned" in states else "failures" if "failed" in states else "complete"
        full_size = load_space(name, mini=False).trials()
        record = StudyRecord(
            study=space.study,
            mini=space.mini,
            command=request.command(name),
            trials=rows,
            counts=distinct_models([*full_size, *(t.config for t in plan.trials if space.study in t.studies)]),
            state=state,
            ended_at=now(),
        )
        save_study(workspace, record)
        records.append(record)
    return records
