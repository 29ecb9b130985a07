"""From a data set's name to its folder and its training cache. Generated data sets are written on demand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from asc_sweeps.data.cache import MANIFEST, Prepared, cache_folder, load_prepared
from asc_sweeps.data.prepare import prepare
from asc_sweeps.data.tau import FOLDER_NAME
from asc_sweeps.errors import MissingDataError
from asc_sweeps.workspace.file_lock import FileLock
from asc_sweeps.workspace.paths import Workspace

Progress = Callable[[str, int, int], None]  # called with the activity, the number of finished segments and the total

GENERATED = "synthetic-"


def dataset_folder(dataset: str, workspace: Workspace) -> Path:
    """The folder of a data set, which is given by name or by path."""
    if dataset == "tau2022":
        return workspace.data / FOLDER_NAME
    return workspace.data / dataset if dataset.startswith(GENERATED) else Path(dataset).expanduser().resolve()


def open_dataset(dataset: str, workspace: Workspace, progress: Progress = lambda what, done, total: None) -> Prepared:
    """A data set ready for training; generated and prepared first if necessary.

    Raises MissingDataError if a real data set's folder does not exist, DataError if it breaks the rules of the layout.
    """
    folder = dataset_folder(dataset, workspace)
    if dataset.startswith(GENERATED):
        from asc_sweeps.data.synthetic import synthesize  # real data do not need it

        plan = dataset.removeprefix(GENERATED)
        with FileLock(workspace.data / f".{dataset}.lock"):  # concurrent sweeps: one writes, the others wait
            synthesize(folder, plan, progress=lambda done, total: progress("generating", done, total))
    elif not folder.is_dir():
        raise MissingDataError(
            f"data set '{dataset}': no such folder: {folder}; give the folder that contains meta.csv and audio/ with "
            "--data DIR, or use generated data: --mini of plan and sweep, or --set data.dataset=synthetic-small"
        )
    return prepare_in_workspace(folder, workspace, progress)


def prepare_in_workspace(
    folder: Path, workspace: Workspace, progress: Progress = lambda what, done, total: None
) -> Prepared:
    """The training cache of a data set's folder; uploaded to the workspace's object store if it has one."""
    data = prepare(folder, workspace.prepared, lambda done, total: progress("preparing", done, total))
    segments = len(data.filenames)
    workspace.storage.push_folder(
        data.folder, MANIFEST, lambda done, total: progress("sending", segments * done // total, segments)
    )
    return data


def fetch_prepared(workspace: Workspace, fingerprint: str) -> Prepared:
    """A prepared data set by its content, downloaded first if necessary. Raises NotPreparedError if the workspace has none."""
    workspace.storage.fetch_folder(cache_folder(workspace.prepared, fingerprint), MANIFEST)
    return load_prepared(workspace.prepared, fingerprint)
