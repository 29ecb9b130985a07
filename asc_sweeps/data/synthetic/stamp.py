"""The stamp of a generated data set, which keeps generated and real data apart.

Only missing, empty and stamped folders are written to.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from asc_sweeps.data.synthetic.layout import DatasetPlan
from asc_sweeps.data.tau import GENERATED_STAMP
from asc_sweeps.errors import DataError

VERSION = 2  # increase it when the files of a seed or their bytes change

_NOTE = (
    "Procedurally generated sound in the layout of TAU Urban Acoustic Scenes 2022 Mobile. It is not TAU and holds no "
    "real recording: no figure measured on it says anything about real recordings."
)
_REQUESTED = ("generated", "generator", "plan", "seed")


def make_stamp(plan: DatasetPlan, seed: int, segments: int) -> dict[str, Any]:
    """The stamp of a data set."""
    sizes = {
        "scenes": list(plan.scenes),
        "train_locations": plan.train_locations,
        "test_locations": plan.test_locations,
        "recordings": plan.recordings,
        "segments": segments,
    }
    return {
        "generated": True,
        "generator": "asc_sweeps data synthesize",
        "version": VERSION,
        "plan": plan.name,
        "sizes": sizes,
        "seed": seed,
        "note": _NOTE,
    }


def write_stamp(stamp: dict[str, Any], folder: Path) -> None:
    """Write `GENERATED.json` for programs and `README.md` for people."""
    readme = (
        f"# Generated sound, not TAU\n\n{stamp['note']}\n\n"
        f"Written by `{stamp['generator']}`, plan `{stamp['plan']}`, seed {stamp['seed']}: "
        f"{stamp['sizes']['segments']} segments. `{GENERATED_STAMP}` says it to programs; keep both with the data.\n"
    )
    (folder / "README.md").write_text(readme, encoding="utf-8", newline="\n")
    (folder / GENERATED_STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8", newline="\n")


def finished_segments(folder: Path, stamp: dict[str, Any]) -> int | None:
    """The number of segments if the folder contains this data set, None if it is missing or empty; others are refused."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; give a folder for the generated data set")
    if not any(folder.iterdir()):
        if os.path.ismount(folder):
            raise DataError(f"{folder}: is a mount point, which cannot be replaced; give a folder inside it")
        return None
    existing = _read_stamp(folder / GENERATED_STAMP)
    if existing.get("generated") is not True:
        raise DataError(
            f"{folder}: is not empty and contains no generated data set; generated sound needs a folder of its own, "
            "so that it never mixes with real recordings; use another folder"
        )
    if not _matches(existing, stamp):
        present, requested = (
            ", ".join(f"{key} {s.get(key)}" for key in ("plan", "seed", "version")) for s in (existing, stamp)
        )
        raise DataError(
            f"{folder}: contains another generated data set ({present}) than requested ({requested}); "
            "use another folder, or delete this one"
        )
    count = existing["sizes"]["segments"]
    check_count(folder, count)
    return count


def check_count(folder: Path, expected: int) -> None:
    """Raise DataError unless the folder contains the expected number of audio files."""
    audio = folder / "audio"
    existing = sum(1 for _ in audio.iterdir()) if audio.is_dir() else 0
    if existing != expected:
        raise DataError(
            f"{audio}: contains {existing} files instead of {expected}; delete {folder} and generate it again"
        )


def _matches(existing: dict[str, Any], stamp: dict[str, Any]) -> bool:
    """Whether a folder's stamp is that of the requested data set, written by this version or an earlier one."""
    if any(existing.get(key) != stamp[key] for key in _REQUESTED):
        return False
    if existing.get("version") == VERSION:
        return existing.get("sizes") == stamp["sizes"]
    # A data set of an earlier version is kept: trials belong to its content, and all would have to be trained again.
    sizes = existing.get("sizes")
    return existing.get("version") in range(1, VERSION) and isinstance(sizes, dict) and "segments" in sizes


def _read_stamp(file: Path) -> dict[str, Any]:
    """The stamp; empty if it is missing or damaged."""
    try:
        stamp = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}
