"""Checkpoints of unfinished trials: the last one and the one before, written atomically, verified by SHA-256, never unpickled."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from asc_sweeps.errors import TrialError
from asc_sweeps.training.flat_state import flatten, unflatten
from asc_sweeps.workspace.atomic_files import filename_in_errors
from asc_sweeps.workspace.paths import CHECKPOINT
from asc_sweeps.workspace.storage import Storage

INVALID_POINTER = (ValueError, KeyError, TypeError, AttributeError)


def save_checkpoint(
    storage: Storage, folder: Path, state: dict[str, Any], name: str, progress: dict[str, Any] | None = None
) -> None:
    """Make `state` the folder's checkpoint, under a `name` of its own (`finetune-0003`); the previous one is kept beside it.

    `progress` is stored in the pointer file, where it can be read without the weights.
    """
    file = f"{name}.pt"
    rows: list[tuple[Path, str]] = []
    with suppress(FileNotFoundError, *INVALID_POINTER):
        rows = _pointed_files(folder)
    previous = next(({"file": path.name, "sha256": digest} for path, digest in rows if path.name != file), None)
    digest = save_state(storage, folder / file, flatten(state))
    # Until the pointer is replaced, the previous checkpoint is the valid one.
    pointer = {"file": file, "sha256": digest, "before": previous, **(progress or {})}
    storage.write_json(folder / CHECKPOINT, pointer)
    kept = {file, previous["file"] if previous else ""}
    storage.remove(*(path for path in folder.glob("*-*.pt") if path.name not in kept))


def fetch_checkpoint(storage: Storage, folder: Path) -> None:
    """Get the folder's checkpoint, if there is one; an invalid pointer is left for `load_checkpoint` to report."""
    storage.fetch(folder / CHECKPOINT)
    with suppress(OSError, *INVALID_POINTER):
        storage.fetch(*(path for path, _ in _pointed_files(folder)))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint, None if there is none; the previous one if it is damaged, TrialError if both are."""
    if not (folder / CHECKPOINT).exists():
        return None
    try:
        (path, digest), *previous = _pointed_files(folder)
    except INVALID_POINTER as error:
        raise _damaged(folder / CHECKPOINT, f"invalid ({error})", folder / CHECKPOINT) from None
    try:
        return _load(path, digest)
    except TrialError:
        for path, digest in previous:
            with suppress(TrialError):
                return _load(path, digest)
        raise


def clear_checkpoint(storage: Storage, folder: Path) -> None:
    """Remove a finished trial's checkpoints."""
    storage.remove(folder / CHECKPOINT)
    storage.remove_matching(folder, "*-*.pt")


def save_state(storage: Storage, path: Path, state: dict[str, Any]) -> str:
    """Write tensors and plain values; returns the SHA-256 of the file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    storage.write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_state(path: Path, digest: str) -> dict[str, Any]:
    """Read what `save_state` wrote, to the CPU. Raises TrialError if it is missing or damaged."""
    try:
        with filename_in_errors(path):
            content = path.read_bytes()
    except FileNotFoundError as error:  # other OSErrors may pass: the file must not be deleted for them
        raise _damaged(path, str(error.strerror)) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(path, "its content does not match the stored SHA-256")
    try:
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise _damaged(path, "foreign file with other content than tensors and plain values") from None


def _load(path: Path, digest: str) -> dict[str, Any]:
    state = load_state(path, digest)
    try:
        return unflatten(state)
    except (*INVALID_POINTER, RuntimeError) as error:
        raise _damaged(path, f"not a checkpoint of this version ({error!r})") from None


def _damaged(path: Path, problem: str, remedy: Path | None = None) -> TrialError:
    return TrialError("damaged", f"{path}: {problem}; delete {remedy or path.parent} to train again")


def _pointed_files(folder: Path) -> list[tuple[Path, str]]:
    """Path and SHA-256 of the checkpoints in the pointer file, the last one first."""
    with filename_in_errors(folder / CHECKPOINT):
        pointer = json.loads((folder / CHECKPOINT).read_text())
    rows = [pointer, pointer.get("before")]
    return [(folder / Path(row["file"]).name, row["sha256"]) for row in rows if row]
