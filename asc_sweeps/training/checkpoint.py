"""The last state of an unfinished trial: written whole, checked by its SHA-256, never unpickled."""

from __future__ import annotations

import hashlib
import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from asc_sweeps.errors import TrialError
from asc_sweeps.shared_files import SharedFiles
from asc_sweeps.workspace import CHECKPOINT


def save_checkpoint(
    files: SharedFiles, folder: Path, state: dict[str, Any], name: str, progress: dict[str, Any] | None = None
) -> None:
    """Keep `state` as the folder's only checkpoint; `name` differs from the one before (`finetune-0003`).

    `progress` stands in the pointer, for those who ask how far the trial is without reading its weights.
    """
    digest = save_state(files, folder / f"{name}.pt", state)
    # The pointer is what counts: until it is renamed into place the checkpoint before is the valid one.
    files.write_json(folder / CHECKPOINT, {"file": f"{name}.pt", "sha256": digest, **(progress or {})})
    files.remove(*(old for old in folder.glob("*-*.pt") if old.name != f"{name}.pt"))


def fetch_checkpoint(files: SharedFiles, folder: Path) -> None:
    """Have the folder's checkpoint on this machine, if there is one. `load_checkpoint` tells of a pointer that is not readable."""
    files.fetch(folder / CHECKPOINT)
    with suppress(OSError, ValueError, KeyError, TypeError):
        files.fetch(folder / Path(json.loads((folder / CHECKPOINT).read_text())["file"]).name)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The folder's checkpoint, or None where there is none. Raises TrialError when it is damaged."""
    if not (folder / CHECKPOINT).exists():
        return None
    try:
        pointer = json.loads((folder / CHECKPOINT).read_text())
        path, digest = folder / Path(pointer["file"]).name, pointer["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise TrialError("damaged", f"{folder / CHECKPOINT}: not readable ({error}); delete it to train anew") from None
    return load_state(path, digest)


def clear_checkpoint(files: SharedFiles, folder: Path) -> None:
    """Remove a finished trial's checkpoint."""
    files.remove(folder / CHECKPOINT)
    files.remove_all(folder, "*-*.pt")


def save_state(files: SharedFiles, path: Path, state: dict[str, Any]) -> str:
    """Write tensors and plain values; returns the SHA-256 of the file."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    files.write(path, content)
    return hashlib.sha256(content).hexdigest()


def load_state(path: Path, digest: str) -> dict[str, Any]:
    """Read what `save_state` wrote, if it still is that; tensors on the CPU. Raises TrialError otherwise."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrialError("damaged", f"{path}: {error.strerror}; delete {path.parent} to train anew") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise TrialError("damaged", f"{path}: its content is not what was written; delete {path.parent} to train anew")
    return torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
