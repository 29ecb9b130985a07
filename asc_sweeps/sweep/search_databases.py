"""Where searches keep their Optuna studies, opened by one process at a time; imports Optuna only if there is a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from asc_sweeps.config.request import Study
from asc_sweeps.errors import StoreError, WorkspaceError
from asc_sweeps.workspace.lease import acquire
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:
    from asc_sweeps.sweep.searches.search_study import SearchStudy


@contextmanager
def open_searches(studies: Sequence[Study], workspace: Workspace, url: str | None) -> Iterator[list[SearchStudy]]:
    """The searches among studies on resolved data, each resumed in its database.

    Raises WorkspaceError naming the process that runs one of them already.
    """
    with ExitStack() as opened:
        yield [opened.enter_context(_open_search(s, workspace, url)) for s in studies if s.space.search]


@contextmanager
def _open_search(study: Study, workspace: Workspace, url: str | None) -> Iterator[SearchStudy]:
    """One search, under its lease; the workspace's own database is sent to the object store, if there is one, at each end."""
    from asc_sweeps.sweep.searches.search_study import SearchStudy

    path, name = _database(workspace, study.record_name), study.record_name

    def refuse(owner: str) -> None:
        raise WorkspaceError(f"search '{name}' is being run by {owner}; wait for it, or stop it")

    with acquire(workspace, workspace.studies / f".{name}.lease", refuse) as lease:
        if not url:
            workspace.storage.fetch(path)

        def send() -> None:
            if not url and not lease.is_lost():
                workspace.storage.push(path)

        def send_if_possible() -> None:
            with suppress(StoreError):  # the next one sends it all
                send()

        search = SearchStudy(study, url or f"sqlite:///{path}", lease.check, send_if_possible)
        try:
            yield search
        finally:
            send()


def plan_searches(studies: Sequence[Study], workspace: Workspace, url: str | None) -> list[dict[str, Any]]:
    """What the searches among some studies will sample, and have sampled, for `plan`; changes no database."""
    return [
        {
            "study": study.space.study,
            "sampler": search.sampler,
            "objectives": list(search.objectives),
            "limits": dict(search.limits),
            "trials": search.trials,
            "drawn": _sampled(workspace, study.record_name, url),
        }
        for study in studies
        if (search := study.space.search)
    ]


def _sampled(workspace: Workspace, name: str, url: str | None) -> int:
    """How many points a search has sampled; a database in an object store is copied to look, since a sweep may run here."""
    from asc_sweeps.sweep.searches.optuna_storage import count_sampled

    path = _database(workspace, name)
    if url or not workspace.url:
        return count_sampled(url or f"sqlite:///{path}", name)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(workspace.storage.read(path) or b"")
        return count_sampled(f"sqlite:///{copy}", name) if copy.stat().st_size else 0


def _database(workspace: Workspace, name: str) -> Path:
    # Two machines cannot write one SQLite file, so in an object store each search has its own.
    return workspace.root / (f"optuna-{name}.db" if workspace.url else "optuna.db")
