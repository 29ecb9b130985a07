"""The stamp that says a data set is generated, and what may be done to a folder because of it.

Only a folder that is missing, empty or stamped is ours; knows nothing of how the files are made.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from asc_sweeps.data.synthetic.layout import DatasetPlan
from asc_sweeps.data.tau import GENERATED_STAMP
from asc_sweeps.errors import DataError

VERSION = 2  # of the sound and of the plan's rules: raise it when the files of a seed or their bytes change

_NOTE = (
    "Procedurally generated sound in the layout of TAU Urban Acoustic Scenes 2022 Mobile. It is not TAU and holds no "
    "real recording: no figure measured on it says anything about real recordings."
)
_ASKED_FOR = ("generated", "generator", "plan", "seed")


def make_stamp(plan: DatasetPlan, seed: int, segments: int) -> dict[str, Any]:
    """What stands in the stamp of a data set."""
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
    """`GENERATED.json` for programs and a `README.md` for people."""
    readme = (
        f"# Generated sound, not TAU\n\n{stamp['note']}\n\n"
        f"Written by `{stamp['generator']}`, plan `{stamp['plan']}`, seed {stamp['seed']}: "
        f"{stamp['sizes']['segments']} segments. `{GENERATED_STAMP}` says it to programs; keep both with the data.\n"
    )
    (folder / "README.md").write_text(readme, encoding="utf-8", newline="\n")
    (folder / GENERATED_STAMP).write_text(json.dumps(stamp, indent=2) + "\n", encoding="utf-8", newline="\n")


def count_finished(folder: Path, stamp: dict[str, Any]) -> int | None:
    """The segments of the set if the folder holds it, None if it is free; a folder with anything else is refused."""
    if not folder.exists():
        return None
    if not folder.is_dir():
        raise DataError(f"{folder}: is a file; a generated data set needs a folder of its own; name another")
    if not any(folder.iterdir()):
        if os.path.ismount(folder):
            raise DataError(f"{folder}: is a mount point, which nothing can be renamed to; name a folder inside it")
        return None
    found = _read_stamp(folder / GENERATED_STAMP)
    if found.get("generated") is not True:
        raise DataError(
            f"{folder}: is not empty and holds no generated data set; generated sound is written only to a folder "
            "of its own, so that it never mixes with real recordings; name another folder"
        )
    if not _is_asked_for(found, stamp):
        there, asked = (", ".join(f"{key} {s.get(key)}" for key in ("plan", "seed", "version")) for s in (found, stamp))
        raise DataError(
            f"{folder}: holds another generated data set ({there}) than the one asked for ({asked}); "
            "name another folder, or delete this one"
        )
    count = found["sizes"]["segments"]
    check_count(folder, count)
    return count


def check_count(folder: Path, expected: int) -> None:
    """Refuse a set whose audio files are not as many as its plan's."""
    audio = folder / "audio"
    found = sum(1 for _ in audio.iterdir()) if audio.is_dir() else 0
    if found != expected:
        raise DataError(
            f"{audio}: holds {found} files, not the {expected} of its plan; delete {folder}, generate it again"
        )


def _is_asked_for(found: dict[str, Any], stamp: dict[str, Any]) -> bool:
    """Whether the found stamp is of the set that `stamp` asks for, as this version or an earlier one makes it."""
    if any(found.get(key) != stamp[key] for key in _ASKED_FOR):
        return False
    if found.get("version") == VERSION:
        return found.get("sizes") == stamp["sizes"]
    # A set of an earlier version is used as it lies, whole by its own count: trials belong to their data's content,
    # so those that a workspace has on it stay valid, and writing the set anew would mean to train them all again.
    sizes = found.get("sizes")
    return found.get("version") in range(1, VERSION) and isinstance(sizes, dict) and "segments" in sizes


def _read_stamp(file: Path) -> dict[str, Any]:
    """The stamp, or nothing where there is none that can be read."""
    try:
        stamp = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}
