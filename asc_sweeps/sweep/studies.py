"""Studies on their data: resolved, planned and recorded; knows nothing of Ray."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from asc_sweeps.config.request import Request, Study
from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import non_defaults
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.catalog import Progress, dataset_folder, open_dataset
from asc_sweeps.data.subsets import has_subset, store_subset
from asc_sweeps.errors import DataError, StoreError
from asc_sweeps.sweep.halving import Halving
from asc_sweeps.sweep.plan import Plan, PlannedTrial, count_networks, make_plan, with_dependencies
from asc_sweeps.sweep.trial_events import TrialFailed
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_failure, load_study, save_failure, save_study
from asc_sweeps.workspace.records import StudyRecord, TrialFailure, TrialRow, utc_now

if TYPE_CHECKING:  # imports Optuna, which a grid does not need
    from asc_sweeps.sweep.searches.search_study import SearchStudy


def resolve_data(trials: Sequence[TrialConfig], workspace: Workspace, progress: Progress) -> list[TrialConfig]:
    """The trials on their opened data; generated data are made first. Raises DataError if data are missing."""
    names = dict.fromkeys(t.data.dataset for t in trials)
    opened = {name: open_dataset(name, workspace, progress) for name in names}
    subset, responses = cache(partial(_store_subset, workspace, opened)), cache(partial(_store_responses, workspace))
    resolved = []
    for config in trials:
        data, expected, a = opened[config.data.dataset], config.data.fingerprint, config.augment
        if expected and expected != data.fingerprint:
            folder = dataset_folder(config.data.dataset, workspace)
            raise DataError(f"{folder}: has fingerprint {data.fingerprint}, but data.fingerprint is {expected}")
        used = responses(a.impulse_responses, a.impulse_responses_content) if a.impulse_response_probability else ""
        resolved.append(config.with_resolved_data(data.name, data.fingerprint, subset(config.data), used))
    return resolved


def _store_subset(workspace: Workspace, opened: Mapping[str, Prepared], config: DataConfig) -> str:
    """Put the list of a trial's subset into the workspace and return its content; empty for all of train."""
    if config.subset == 100:
        return ""
    folder, expected = dataset_folder(config.dataset, workspace), config.subset_content
    if expected and has_subset(expected, workspace):
        return expected
    content = store_subset(folder, config.subset, opened[config.dataset], workspace)
    if expected and expected != content:
        raise DataError(f"{folder}: its list of {config.subset} % is {content}, but data.subset_content is {expected}")
    return content


def _store_responses(workspace: Workspace, folder: str, expected: str) -> str:
    """Put a folder of impulse responses into the workspace and return its content; without a folder it must be there already."""
    from asc_sweeps.data.impulse import load_responses, store_responses  # imports torch

    if not folder:
        load_responses(expected, workspace)
        return expected
    content = store_responses(folder, workspace)
    if expected and expected != content:
        raise DataError(f"{folder}: its content is {content}, but augment.impulse_responses_content is {expected}")
    return content


def resolve_studies(studies: Sequence[Study], workspace: Workspace, progress: Progress) -> list[Study]:
    """The studies with their trials on opened data, each data set opened once; raises as `resolve_data`."""
    trials = iter(resolve_data([t for s in studies for t in (*s.trials, *s.probes)], workspace, progress))
    return [
        replace(s, trials=tuple(next(trials) for _ in s.trials), probes=tuple(next(trials) for _ in s.probes))
        for s in studies
    ]


def plan_studies(studies: Sequence[Study], finished: FinishedTrials, in_full: bool = False) -> Plan:
    """The plan of some studies; trials stopped early in an earlier run stay stopped, unless `in_full`."""
    stopped = {}
    for study in studies:
        if study.space.scheduler and not in_full and (record := load_study(finished.workspace, study.record_name)):
            stopped[study.space.study] = {row["signature"] for row in record.trials if row["state"] == "stopped"}
    return make_plan({study.space.study: study.trials for study in studies}, finished, stopped)


def halving_by_study(studies: Sequence[Study], plan: Plan) -> dict[str, Halving]:
    """The early stopping of each study that has a scheduler, with what its finished trials reached."""
    halvings = {s.space.study: Halving(s.space.scheduler) for s in studies if s.space.scheduler}
    for trial in plan.trials:
        for study in set(trial.studies) & halvings.keys():
            if trial.result:
                halvings[study].remember(trial.config.signature, trial.result.validation_log_losses)
    return halvings


def record_failures(
    trials: Iterable[PlannedTrial], failed: Mapping[str, TrialFailed], finished: FinishedTrials
) -> list[str]:
    """Record the failures that no trial could record itself: its start's, or the end of its process.

    Returns a line for each that cannot be recorded.
    """
    problems, workspace = [], finished.workspace
    for c in (trial.config for trial in trials):
        end = failed.get(c.signature)
        if end is None or finished.find(c):  # another sweep may have finished it in the meantime
            continue
        known = load_failure(workspace, c.signature)
        if known and (known.cause, known.message) == (end.cause, end.message):
            continue
        try:
            save_failure(workspace, TrialFailure(c.signature, c.system, c.phase, end.cause, end.message, utc_now()))
        except (OSError, StoreError) as error:  # perhaps why it failed; the study's record says "failed" anyway
            reason = error.strerror if isinstance(error, OSError) else error
            problems.append(f"{workspace.trial(c.signature)}: its failure cannot be recorded ({reason})")
    return problems


def record_studies(
    request: Request, studies: Sequence[Study], trials: Sequence[PlannedTrial], finished: FinishedTrials,
    stopped: Collection[str] = (), failed: Collection[str] = (), remaining: Mapping[str, int] = MappingProxyType({}),
    searches: Sequence[SearchStudy] = (),
) -> list[StudyRecord]:  # fmt: skip
    """Record the current state of each study of a request.

    `trials`: those of the plan and of searches. `stopped` and `failed`: signatures of trials that ended so in this run.
    `remaining`: by study, the trials that a search has yet to sample.
    """
    search_records = {search.study: search.as_record() for search in searches}
    records = []
    for study in studies:
        name, scheduler = study.space.study, study.space.scheduler
        own = [t for t in trials if name in t.studies]
        rows = [_trial_row(t, finished, t.config.signature in stopped, t.config.signature in failed) for t in own]
        # A study repeated from a report lists a search's trials without being a search; its record keeps the search.
        old = load_study(finished.workspace, study.record_name) if request.report else None
        record = StudyRecord(
            study=name,
            mini=study.space.mini,
            command=request.command(study.name),
            trials=rows,
            counts=count_networks([*study.full_size, *(t.config for t in own)]),
            state=_study_state({row["state"] for row in rows}, remaining.get(name, 0)),
            ended_at=utc_now(),
            search=search_records.get(name) or (old.search if old else None),
            scheduler=asdict(scheduler) if scheduler else old.scheduler if old else None,
        )
        save_study(finished.workspace, record)
        records.append(record)
    return records


def _study_state(trial_states: set[str], remaining: int) -> str:
    if "planned" in trial_states or remaining:
        return "interrupted"
    return "failures" if "failed" in trial_states else "complete"


def _trial_row(trial: PlannedTrial, finished: FinishedTrials, stopped: bool, failed: bool) -> TrialRow:
    c = trial.config
    if finished.find(c):
        state = "done"
    elif trial.stopped or stopped:
        state = "stopped"
    else:
        state = "failed" if failed or load_failure(finished.workspace, c.signature) is not None else "planned"
    return {
        "signature": c.signature,
        "system": c.system,
        "phase": c.phase,
        "seed": c.seed,
        "state": state,
        "params": trial.complexity.params,
        "macs": trial.complexity.macs,
        "epochs": c.epochs,
        "needs": {dependency.signature: dependency.epochs for dependency in with_dependencies(c)[:-1]},
        "settings": non_defaults(c),
    }
