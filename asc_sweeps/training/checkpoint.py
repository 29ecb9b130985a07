"""The last state of an unfinished trial, and the one before: written whole, checked by SHA-256, never unpickled."""

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


def save_checkpoint(
    storage: Storage, folder: Path, state: dict[str, Any], name: str, progress: dict[str, Any] | None = None
) -> None:
    """Make `state` the folder's checkpoint; `name` differs from the one before (`finetune-0003`), which is kept beside it.

    `progress` stands in the pointer, for those who ask how far the trial is without reading its weights.
    """
    before = _before(folder, f"{name}.pt")
    digest = save_state(storage, folder / f"{name}.pt", flatten(state))
    # The pointer is what counts: until it is renamed into place the checkpoint before is the valid one.
    pointer = {"file": f"{name}.pt", "sha256": digest, "before": before, **(progress or {})}
    storage.write_json(folder / CHECKPOINT, pointer)
    kept = {f"{name}.pt", before["file"] if before else ""}
    storage.remove(*(old for old in folder.glob("*-*.pt") if old.name not in kept))


def fetch_checkpoint(storage: Storage, folder: Path) -> None:
    """Have the folder's checkpoint on this machine, if there is one. `load_checkpoint` tells of a pointer that is not readable."""
    storage.fetch(folder / CHECKPOINT)
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        storage.fetch(*(path for path, _ in _kept(folder)))


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint, or None where there is none; the one before where it is damaged, TrialError where both are."""
    if not (folder / CHECKPOINT).exists():
        return None
    try:
        (path, digest), *before = _kept(folder)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrialError("damaged", f"{folder / CHECKPOINT}: not readable ({error}); delete it to train anew") from None
    try:
        return _load(path, digest)
    except TrialError:
        for path, digest in before:
            with suppress(TrialError):
                return _load(path, digest)
        raise


def _load(path: Path, digest: str) -> dict[str, Any]:
    state = load_state(path, digest)
    try:
        return unflatten(state)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise TrialError(
            "damaged", f"{path}: no checkpoint of this version ({error!r}); delete {path.parent} to train anew"
        ) from None


def _kept(folder: Path) -> list[tuple[Path, str]]:
    """Path and SHA-256 of the checkpoints that the pointer names, the last one first."""
    with filename_in_errors(folder / CHECKPOINT):
        pointer = json.loads((folder / CHECKPOINT).read_text())
    rows = [pointer, pointer.get("before")]
    return [(folder / Path(row["file"]).name, row["sha256"]) for row in rows if row]


def _before(folder: Path, name: str) -> dict[str, str] | None:
    """File and SHA-256 of the last checkpoint that does not have this name; None where there is none."""
    try:
        rows = [{"file": path.name, "sha256": digest} for path, digest in _kept(folder)]
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return next((row for row in rows if row["file"] != name), None)


def clear_checkpoint(storage: Storage, folder: Path) -> None:
    """Remove a finished trial's checkpoint."""
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
    """Read what `save_state` wrote, if it still is that; tensors on the CPU. Raises TrialError otherwise."""
    try:
        with filename_in_errors(path):
            content = path.read_bytes()
    except FileNotFoundError as error:  # one that only cannot be read now is not to be deleted
        raise TrialError("damaged", f"{path}: {error.strerror}; delete {path.parent} to train anew") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise TrialError("damaged", f"{path}: its content is not what was written; delete {path.parent} to train anew")
    try:
        return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise TrialError(
            "damaged",
            f"{path}: holds more than tensors and plain values, so it is not ours; delete {path.parent} to train anew",
        ) from None
