"""Studies on opened data: their plan and their records; no Ray."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from asc_sweeps.config import TrialConfig
from asc_sweeps.data.catalog import Progress, dataset_folder, open_dataset
from asc_sweeps.errors import DataError
from asc_sweeps.plan import Plan, distinct_models, make_plan
from asc_sweeps.request import Request, Study
from asc_sweeps.results import StudyRecord, TrialFailure, load_failure, now, save_failure, save_study
from asc_sweeps.trial import find_result
from asc_sweeps.workspace import Workspace


def bind(trials: Sequence[TrialConfig], workspace: Workspace, progress: Progress) -> list[TrialConfig]:
    """The trials on their opened data; generated data are made first. Raises DataError where data are not at hand."""
    opened = {name: open_dataset(name, workspace, progress) for name in dict.fromkeys(t.data.dataset for t in trials)}
    for config in trials:
        data, wanted = opened[config.data.dataset], config.data.fingerprint
        if wanted and wanted != data.fingerprint:
            folder = dataset_folder(config.data.dataset, workspace)
            raise DataError(f"{folder}: has fingerprint {data.fingerprint}, but data.fingerprint asks for {wanted}")
    return [t.bound(opened[t.data.dataset].name, opened[t.data.dataset].fingerprint) for t in trials]


def bind_studies(studies: Sequence[Study], workspace: Workspace, progress: Progress) -> list[Study]:
    """The studies with their trials on opened data, each data set opened once; raises as `bind`."""
    bound = iter(bind([t for study in studies for t in study.trials], workspace, progress))
    return [replace(study, trials=tuple(next(bound) for _ in study.trials)) for study in studies]


def plan_studies(studies: Sequence[Study], workspace: Workspace) -> Plan:
    """The plan of some studies."""
    return make_plan({study.space.study: study.trials for study in studies}, workspace)


def note_failures(plan: Plan, failed: dict[str, tuple[str, str]], workspace: Workspace) -> None:
    """Write down the failures that no trial could write down itself: its start's, or its process's end."""
    for trial in plan.todo:
        c = trial.config
        if c.signature in failed:
            written = load_failure(workspace, c.signature)
            if written is None or (written.cause, written.message) != failed[c.signature]:
                cause, message = failed[c.signature]
                save_failure(workspace, TrialFailure(c.signature, c.system, c.phase, cause, message, now()))


def record_studies(request: Request, studies: Sequence[Study], plan: Plan, workspace: Workspace) -> list[StudyRecord]:
    """Write down how each study of a request stands now, by what the workspace holds."""
    return [_record(request, study, plan, workspace) for study in studies]


def _record(request: Request, study: Study, plan: Plan, workspace: Workspace) -> StudyRecord:
    trials = [t for t in plan.trials if study.space.study in t.studies]
    rows = []
    for t in trials:
        c = t.config
        done = find_result(c, workspace) is not None
        state = "done" if done else "failed" if load_failure(workspace, c.signature) else "planned"
        sizes = {"params": t.complexity.params, "macs": t.complexity.macs}
        rows.append(
            {"signature": c.signature, "system": c.system, "phase": c.phase, "seed": c.seed, "state": state, **sizes}
        )
    states = {row["state"] for row in rows}
    record = StudyRecord(
        study=study.space.study,
        mini=study.space.mini,
        command=request.command(study.name),
        trials=rows,
        counts=distinct_models([*study.full_size, *(t.config for t in trials)]),
        state="interrupted" if "planned" in states else "failures" if "failed" in states else "complete",
        ended_at=now(),
    )
    save_study(workspace, record)
    return record
