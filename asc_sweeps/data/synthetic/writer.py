"""Writes a generated data set, completely or not at all.

Each recording has its own random numbers, so the number of processes does not affect any byte.
"""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from asc_sweeps.data.labels import PIECES
from asc_sweeps.data.synthetic.devices import record
from asc_sweeps.data.synthetic.folder import atomic_folder
from asc_sweeps.data.synthetic.layout import PLANS, DatasetPlan, Recording, SegmentFile, plan_recordings
from asc_sweeps.data.synthetic.sound import render_recording
from asc_sweeps.data.synthetic.stamp import check_count, finished_segments, make_stamp, write_stamp
from asc_sweeps.data.tab_separated import as_tsv
from asc_sweeps.data.wav import write_wav
from asc_sweeps.errors import DataError, did_you_mean
from asc_sweeps.workspace.paths import cores

SEGMENT_BYTES = 132_344  # per file: header of 44, 44,100 samples of 3
PERCENTAGES = (5, 10, 25, 50, 100)


def synthesize(
    folder: Path,
    plan: str | DatasetPlan = "small",
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a generated data set and return its number of segments.

    A finished one with the same plan and seed is kept, even if an earlier version wrote it.
    `workers`: processes, by default one per core, fewer for a small plan. `progress`: called with finished segments and total.
    """
    plan = _find_plan(plan)
    if seed < 0:
        raise DataError(f"seed: must be 0 or more, not {seed}")
    if workers is not None and workers < 1:
        raise DataError(f"workers: must be 1 or more, not {workers}")
    folder = Path(folder).resolve()
    recordings = plan_recordings(plan)
    segments = [segment for recording in recordings for segment in recording.segments()]
    stamp = make_stamp(plan, seed, len(segments))
    finished = finished_segments(folder, stamp)
    if finished is not None:
        return finished

    workers = workers or _default_workers(len(recordings))
    with atomic_folder(folder, SEGMENT_BYTES * len(segments)) as unfinished:
        (unfinished / "audio").mkdir()
        done = 0
        for written in _write_all(recordings, unfinished, seed, workers):
            done += written
            if progress is not None:
                progress(done, len(segments))
        _write_lists(segments, unfinished)
        write_stamp(stamp, unfinished)
        check_count(unfinished, len(segments))
    return len(segments)


def write_recording(recording: Recording, folder: Path, seed: int) -> int:
    """Render a recording with all its devices and write the files; returns their number."""
    count = 0
    for device, segments in record(render_recording(recording, seed), recording, seed):
        for piece in range(PIECES):
            file = folder / recording.filename(device, piece)
            write_wav(file, segments[piece])
            count += 1
    return count


def _find_plan(plan: str | DatasetPlan) -> DatasetPlan:
    if isinstance(plan, DatasetPlan):
        return plan
    if plan not in PLANS:
        raise DataError(f"plan: unknown plan {plan!r}, choose from {', '.join(PLANS)}{did_you_mean(plan, PLANS)}")
    return PLANS[plan]


def _default_workers(recordings: int) -> int:
    return min(cores(), 1 + recordings // 8)  # starting a process costs as much as a few recordings


def _write_all(recordings: Sequence[Recording], folder: Path, seed: int, workers: int) -> Iterator[int]:
    """Write all recordings; yields the number of files of each."""
    write = partial(write_recording, folder=folder, seed=seed)
    if workers == 1:
        yield from map(write, recordings)
        return
    # Not forked: the caller may have started torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent) as pool:
        yield from pool.map(write, recordings, chunksize=2)


def _die_with_parent() -> None:
    """Without this, the processes of a killed run would write into the folder of the next."""
    parent = multiprocessing.parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _write_lists(segments: Sequence[SegmentFile], folder: Path) -> None:
    """Write `meta.csv`, the three lists of the split and the subsets."""
    train = [s for s in segments if s.part == "train"]
    test = [s for s in segments if s.part == "test"]
    labeled = ("filename", "scene_label")
    _write_table(folder / "meta.csv", (*labeled, "identifier", "source_label"), segments)
    (folder / "evaluation_setup").mkdir()
    _write_table(folder / "evaluation_setup/fold1_train.csv", labeled, train)
    _write_table(folder / "evaluation_setup/fold1_test.csv", labeled[:1], test)
    _write_table(folder / "evaluation_setup/fold1_evaluate.csv", labeled, test)
    for percent in PERCENTAGES:
        _write_table(folder / f"evaluation_setup/split{percent}.csv", labeled, _subset(train, percent))


def _subset(train: Sequence[SegmentFile], percent: int) -> list[SegmentFile]:
    """The segments of this percentage of each scene's recordings; nested, as the lists of the 2024 challenge."""
    recordings: dict[str, dict[str, list[SegmentFile]]] = {}
    for segment in train:
        name = "-".join(segment.filename.split("-")[:4]) + segment.source_label
        recordings.setdefault(segment.scene_label, {}).setdefault(name, []).append(segment)
    chosen: set[str] = set()
    for of_scene in recordings.values():
        shuffled = sorted(of_scene, key=lambda name: hashlib.sha256(name.encode()).digest())
        for name in shuffled[: math.ceil(len(of_scene) * percent / 100)]:
            chosen |= {segment.filename for segment in of_scene[name]}
    return [segment for segment in train if segment.filename in chosen]


def _write_table(file: Path, columns: Sequence[str], segments: Iterable[SegmentFile]) -> None:
    rows = ([getattr(segment, column) for column in columns] for segment in segments)
    file.write_text(as_tsv([columns, *rows]), encoding="utf-8", newline="\n")
