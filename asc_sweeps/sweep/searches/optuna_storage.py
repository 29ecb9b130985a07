"""The databases of searches: opening them, naming them in errors, counting their trials."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial, TrialState

from asc_sweeps.errors import AscSweepsError, WorkspaceError

SQLITE_SECONDS = 60.0
"""How long SQLite waits for another process that is writing; by default 5, then an error."""


def open_storage(url: str) -> optuna.storages.BaseStorage:
    """The database at this address."""
    if not url.startswith("sqlite"):
        return optuna.storages.get_storage(url)
    waiting = {"connect_args": {"timeout": SQLITE_SECONDS}}
    return optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=waiting))


@contextmanager
def naming_database(url: str) -> Iterator[None]:
    """Turn whatever Optuna, SQLAlchemy or the database's library raises into a WorkspaceError with its address."""
    try:
        yield
    except AscSweepsError:
        raise
    except Exception as error:
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise WorkspaceError(f"{url}: cannot be used as the database of searches ({text})") from error


def sampled_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were sampled, without those that an interruption cut off and that were, or will be, retried."""
    trials = study.get_trials(deepcopy=False)
    retried = {t.user_attrs.get("again") for t in trials}
    return [t for t in trials if t.state != TrialState.WAITING and t.number not in retried]


def counted_trials(study: optuna.Study) -> list[FrozenTrial]:
    """The sampled trials that were not rejected: those that count toward the number requested."""
    return [t for t in sampled_trials(study) if "rejected" not in t.user_attrs]


def count_sampled(url: str, name: str) -> int:
    """How many trials a search has sampled; none if there is no such search or database."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return 0  # opening it would create it
    with naming_database(url):
        try:
            return len(counted_trials(optuna.load_study(study_name=name, storage=open_storage(url))))
        except KeyError:
            return 0
