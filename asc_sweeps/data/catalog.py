"""From a data set's name to its folder and its prepared form; generated ones are made when asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_sweeps.data.cache import MANIFEST, Prepared, cache_folder, load_prepared
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.tau import FOLDER_NAME
from asc_sweeps.errors import MissingDataError
from asc_sweeps.workspace.file_lock import FileLock
from asc_sweeps.workspace.paths import Workspace

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many clips are done and how many there are."""

GENERATED = "synthetic-"


def dataset_folder(dataset: str, workspace: Workspace) -> Path:
    """Where a data set lies: the workspace's data/ for names, the folder itself for paths."""
    if dataset == "tau2022":
        return workspace.data / FOLDER_NAME
    return workspace.data / dataset if dataset.startswith(GENERATED) else Path(dataset).expanduser().resolve()


def open_dataset(dataset: str, workspace: Workspace, progress: Progress = lambda what, done, total: None) -> Prepared:
    """A data set ready for training, generated and prepared first where it is not yet.

    Raises MissingDataError when a real data set's folder is not there, DataError when it breaks the layout's rules.
    """
    folder = dataset_folder(dataset, workspace)
    if dataset.startswith(GENERATED):
        from asc_sweeps.data.synthetic import synthesize  # brings soundfile, which real data do not need

        plan = dataset.removeprefix(GENERATED)
        with FileLock(workspace.data / f".{dataset}.lock"):  # of two sweeps that start at once, one writes, one waits
            synthesize(folder, plan, progress=lambda done, total: progress("generating", done, total))
    elif not folder.is_dir():
        raise missing(dataset, folder)
    return prepare_in_workspace(folder, workspace, progress)


def prepare_in_workspace(
    folder: Path, workspace: Workspace, progress: Progress = lambda what, done, total: None
) -> Prepared:
    """The training cache of a data set's folder, made and sent to the workspace's object store where it has one."""
    made = prepare(folder, workspace.prepared, lambda done, total: progress("preparing", done, total))

    def sent(done: int, total: int) -> None:
        progress("sending", len(made.filenames) * done // total, len(made.filenames))

    workspace.storage.push_folder(made.folder, MANIFEST, sent)
    return made


def fetch_prepared(workspace: Workspace, fingerprint: str) -> Prepared:
    """A prepared data set by its content, brought to this machine first where it is not here.

    Raises DataError when the workspace has none.
    """
    workspace.storage.fetch_folder(cache_folder(workspace.prepared, fingerprint), MANIFEST)
    return load_prepared(workspace.prepared, fingerprint)


def missing(dataset: str, folder: Path) -> MissingDataError:
    """The error of a data set that is not at hand."""
    return MissingDataError(
        f"data set '{dataset}': there is no folder {folder}; give the folder that holds meta.csv and audio/ with --data DIR, "
        "or run a small size on generated data with --mini"
    )
