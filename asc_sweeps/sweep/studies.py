"""Studies on opened data: their plan and their records; no Ray."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from asc_sweeps.config.request import Request, Study
from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import non_defaults
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.catalog import Progress, dataset_folder, open_dataset
from asc_sweeps.data.subsets import has_subset, store_subset
from asc_sweeps.errors import DataError, StoreError, WorkspaceError
from asc_sweeps.sweep.halving import Halving
from asc_sweeps.sweep.plan import Plan, PlannedTrial, distinct_models, make_plan, with_dependencies
from asc_sweeps.training.finished import find_result
from asc_sweeps.workspace.lease import Lease, acquire
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_failure, load_study, save_failure, save_study
from asc_sweeps.workspace.records import StudyRecord, TrialFailure, utc_now

if TYPE_CHECKING:  # brings Optuna, which a grid does not need
    from asc_sweeps.sweep.searches.search_study import SearchStudy


def resolve_data(trials: Sequence[TrialConfig], workspace: Workspace, progress: Progress) -> list[TrialConfig]:
    """The trials on their opened data; generated data are made first. Raises DataError where data are not at hand."""
    opened = {name: open_dataset(name, workspace, progress) for name in dict.fromkeys(t.data.dataset for t in trials)}
    subset = cache(partial(_subset, workspace, opened))
    responses = cache(partial(_responses, workspace))
    bound = []
    for config in trials:
        data, wanted = opened[config.data.dataset], config.data.fingerprint
        if wanted and wanted != data.fingerprint:
            folder = dataset_folder(config.data.dataset, workspace)
            raise DataError(f"{folder}: has fingerprint {data.fingerprint}, but data.fingerprint asks for {wanted}")
        a = config.augment
        heard = responses(a.impulse_responses, a.impulse_responses_content) if a.impulse_response_probability else ""
        bound.append(config.with_resolved_data(data.name, data.fingerprint, subset(config.data), heard))
    return bound


def _subset(workspace: Workspace, opened: Mapping[str, Prepared], config: DataConfig) -> str:
    """The content of the list that a trial's subset is, brought to the workspace; nothing where it learns from all of train."""
    if config.subset == 100:
        return ""
    folder, wanted = dataset_folder(config.dataset, workspace), config.subset_content
    if wanted and has_subset(wanted, workspace):
        return wanted
    content = store_subset(folder, config.subset, opened[config.dataset], workspace)
    if wanted and wanted != content:
        raise DataError(
            f"{folder}: its list of {config.subset} % is {content}, but data.subset_content asks for {wanted}"
        )
    return content


def _responses(workspace: Workspace, folder: str, wanted: str) -> str:
    """The content of a folder of impulse responses, brought to the workspace; or those that are there already."""
    from asc_sweeps.data.impulse import load_responses, store_responses  # brings torch

    if not folder:
        load_responses(wanted, workspace)
        return wanted
    content = store_responses(folder, workspace)
    if wanted and wanted != content:
        raise DataError(f"{folder}: its content is {content}, but augment.impulse_responses_content asks for {wanted}")
    return content


def resolve_studies(studies: Sequence[Study], workspace: Workspace, progress: Progress) -> list[Study]:
    """The studies with their trials on opened data, each data set opened once; raises as `resolve_data`."""
    bound = iter(resolve_data([t for study in studies for t in (*study.trials, *study.probes)], workspace, progress))
    return [
        replace(study, trials=tuple(next(bound) for _ in study.trials), probes=tuple(next(bound) for _ in study.probes))
        for study in studies
    ]


def plan_studies(studies: Sequence[Study], workspace: Workspace, in_full: bool = False) -> Plan:
    """The plan of some studies; trials that a scheduler stopped in an earlier run stay so, unless asked for `in_full`."""
    stopped = {}
    for study in studies:
        record = load_study(workspace, study.record_name) if study.space.scheduler and not in_full else None
        if record:
            stopped[study.space.study] = {row["signature"] for row in record.trials if row["state"] == "stopped"}
    return make_plan({study.space.study: study.trials for study in studies}, workspace, stopped)


@contextmanager
def open_searches(studies: Sequence[Study], workspace: Workspace, url: str | None) -> Iterator[list[SearchStudy]]:
    """The searches among some studies that are bound to their data, each continued in its database.

    Each is held while it is open: raises WorkspaceError naming the process that holds one already.
    """
    with ExitStack() as held:
        searches = []
        for study in studies:
            if study.space.search:
                lease = held.enter_context(_hold(workspace, study.record_name))
                searches.append(held.enter_context(_opened(study, workspace, url, lease)))
        yield searches


@contextmanager
def _opened(study: Study, workspace: Workspace, url: str | None, lease: Lease) -> Iterator[SearchStudy]:
    """A search in its database; the workspace's own is sent to the object store, where there is one, at each trial's end."""
    from asc_sweeps.sweep.searches.search_study import SearchStudy

    path = _database(workspace, study.record_name)
    if not url:
        workspace.storage.fetch(path)

    def send() -> None:
        if not url and not lease.is_lost():
            workspace.storage.push(path)

    def send_if_possible() -> None:
        with suppress(StoreError):  # what is not sent now goes with the next
            send()

    search = SearchStudy(study, url or f"sqlite:///{path}", lease.check, send_if_possible)
    try:
        yield search
    finally:
        send()


@contextmanager
def _hold(workspace: Workspace, name: str) -> Iterator[Lease]:
    """Be the only one that runs a search."""

    def refuse(who: str) -> None:
        raise WorkspaceError(f"search '{name}' is being run by {who}; wait for it, or end it")

    with acquire(workspace, workspace.studies / f".{name}.lease", refuse) as lease:
        yield lease


def plan_searches(studies: Sequence[Study], workspace: Workspace, url: str | None) -> list[dict[str, Any]]:
    """What the searches among some studies will draw, and have drawn, for `plan`; changes no database."""
    return [
        {
            "study": study.space.study,
            "sampler": search.sampler,
            "objectives": list(search.objectives),
            "limits": dict(search.limits),
            "trials": search.trials,
            "drawn": _drawn(workspace, study.record_name, url),
        }
        for study in studies
        if (search := study.space.search)
    ]


def _drawn(workspace: Workspace, name: str, url: str | None) -> int:
    """How many points a search has drawn; a database in an object store is looked at in a copy, since a sweep may run here."""
    from asc_sweeps.sweep.searches.search_study import count_sampled

    path = _database(workspace, name)
    if url or not workspace.url:
        return count_sampled(url or f"sqlite:///{path}", name)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(workspace.storage.read(path) or b"")
        return count_sampled(f"sqlite:///{copy}", name) if copy.stat().st_size else 0


def _database(workspace: Workspace, name: str) -> Path:
    """Where the workspace keeps a search."""
    # Two machines cannot write one SQLite file: in an object store each search has its own.
    return workspace.root / (f"optuna-{name}.db" if workspace.url else "optuna.db")


def halving_by_study(studies: Sequence[Study], plan: Plan, workspace: Workspace) -> dict[str, Halving]:
    """The early stopping of the studies that have a scheduler, with what their finished trials reached."""
    found = {}
    for study in studies:
        if study.space.scheduler:
            halving = found[study.space.study] = Halving(study.space.scheduler)
            for t in plan.trials:
                result = find_result(t.config, workspace) if study.space.study in t.studies else None
                if result:
                    halving.remember(result.signature, [row["validation_log_loss"] for row in result.history])
    return found


def record_failures(
    trials: Iterable[PlannedTrial], failed: dict[str, tuple[str, str]], workspace: Workspace
) -> list[str]:
    """Write down the failures that no trial could write down itself: its start's, or its process's end.

    Returns a line for each that cannot be written.
    """
    unwritten = []
    for trial in trials:
        c = trial.config
        if c.signature in failed and find_result(c, workspace) is None:  # another sweep may have finished it since
            written = load_failure(workspace, c.signature)
            if written is None or (written.cause, written.message) != failed[c.signature]:
                cause, message = failed[c.signature]
                try:
                    save_failure(workspace, TrialFailure(c.signature, c.system, c.phase, cause, message, utc_now()))
                except (
                    OSError,
                    StoreError,
                ) as error:  # its folder may be why it failed; the study's record says "failed" anyway
                    why = error.strerror if isinstance(error, OSError) else error
                    unwritten.append(f"{workspace.trial(c.signature)}: its failure cannot be written down ({why})")
    return unwritten


def record_studies(
    request: Request,
    studies: Sequence[Study],
    trials: Sequence[PlannedTrial],
    workspace: Workspace,
    stopped: Collection[str] = (),
    failed: Collection[str] = (),
    left: Mapping[str, int] = MappingProxyType({}),
    searches: Sequence[SearchStudy] = (),
) -> list[StudyRecord]:
    """Write down how each study of a request stands now, by what the workspace holds.

    `trials`: those of the plan and those that searches asked for. `stopped` and `failed`: signatures of trials that ended so
    in this run. `left`: how many trials each search has still to draw, by study.
    """
    drawn = {search.study: search.as_record() for search in searches}
    records = []
    for study in studies:
        its = [t for t in trials if study.space.study in t.studies]
        # A repetition lists the trials of a search without being one: what the search was stays known.
        old = load_study(workspace, study.record_name) if request.report else None
        rows = [_row(t, workspace, t.config.signature in stopped, t.config.signature in failed) for t in its]
        states = {row["state"] for row in rows}
        end = "failures" if "failed" in states else "complete"
        record = StudyRecord(
            study=study.space.study,
            mini=study.space.mini,
            command=request.command(study.name),
            trials=rows,
            counts=distinct_models([*study.full_size, *(t.config for t in its)]),
            state="interrupted" if "planned" in states or left.get(study.space.study) else end,
            ended_at=utc_now(),
            search=drawn.get(study.space.study) or (old and old.search),
            scheduler=asdict(study.space.scheduler) if study.space.scheduler else old and old.scheduler,
        )
        save_study(workspace, record)
        records.append(record)
    return records


def _row(trial: PlannedTrial, workspace: Workspace, stopped: bool, failed: bool) -> dict[str, Any]:
    """How a trial stands in its study's record."""
    c = trial.config
    if find_result(c, workspace) is not None:
        state = "done"
    elif trial.stopped or stopped:
        state = "stopped"
    else:
        state = "failed" if failed or load_failure(workspace, c.signature) is not None else "planned"
    sizes = {"params": trial.complexity.params, "macs": trial.complexity.macs}
    who = {"signature": c.signature, "system": c.system, "phase": c.phase, "seed": c.seed, "state": state}
    needs = {needed.signature: needed.epochs for needed in with_dependencies(c)[:-1]}
    return {**who, **sizes, "epochs": c.epochs, "needs": needs, "settings": non_defaults(c)}
