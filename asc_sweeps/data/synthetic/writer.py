"""A generated data set on disk: its files and lists; whole or not at all.

The work is split by recording, each drawn from its own random numbers: the number of processes changes no byte.
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
from asc_sweeps.data.synthetic.folder import whole_folder
from asc_sweeps.data.synthetic.layout import PLANS, DatasetPlan, Recording, SegmentFile, plan_recordings
from asc_sweeps.data.synthetic.sound import hear
from asc_sweeps.data.synthetic.stamp import check_count, count_finished, make_stamp, write_stamp
from asc_sweeps.data.wav import write_wav
from asc_sweeps.errors import DataError, did_you_mean

SEGMENT_BYTES = 132_344  # of a file: 44 of header, 44,100 samples of 3
PERCENTAGES = (5, 10, 25, 50, 100)


def synthesize(
    folder: Path,
    plan: str | DatasetPlan = "small",
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a generated data set and return its number of segments.

    A finished one of the same plan and seed is left as it is, also one that an earlier version wrote.
    `workers`: processes, by default one a core, fewer for a small plan. `progress`: called with segments done, all.
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
    there = count_finished(folder, stamp)
    if there is not None:
        return there

    workers = workers or _default_workers(len(recordings))
    with whole_folder(folder, SEGMENT_BYTES * len(segments)) as unfinished:
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
    """Render one recording by all its devices and write the files; returns their number."""
    count = 0
    for device, segments in record(hear(recording, seed), recording, seed):
        for piece in range(PIECES):
            file = folder / recording.filename(device, piece)
            write_wav(file, segments[piece])
            count += 1
    return count


def _find_plan(plan: str | DatasetPlan) -> DatasetPlan:
    if isinstance(plan, DatasetPlan):
        return plan
    if plan not in PLANS:
        raise DataError(f"plan: unknown plan {plan!r}, known are {', '.join(PLANS)}{did_you_mean(plan, PLANS)}")
    return PLANS[plan]


def _default_workers(recordings: int) -> int:
    # Cores this process may use, where the system tells. Starting a process costs as much as a few recordings.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + recordings // 8)


def _write_all(recordings: Sequence[Recording], folder: Path, seed: int, workers: int) -> Iterator[int]:
    """Write every recording; yields the number of files of each as they are done."""
    write = partial(write_recording, folder=folder, seed=seed)
    if workers == 1:
        yield from map(write, recordings)
        return
    # Not forked from this process: the caller may hold torch's threads.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent) as pool:
        yield from pool.map(write, recordings, chunksize=2)


def _die_with_parent() -> None:
    """Without this, the processes of a killed run live on and write into the folder of the next."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _write_lists(segments: Sequence[SegmentFile], folder: Path) -> None:
    """`meta.csv` and the three lists of the split, tab separated with a header."""
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
    """The segments of about this share of each scene's recordings, as the lists of the 2024 challenge: whole ones, nested."""
    recordings: dict[str, dict[str, list[SegmentFile]]] = {}
    for segment in train:
        name = "-".join(segment.filename.split("-")[:4]) + segment.source_label
        recordings.setdefault(segment.scene_label, {}).setdefault(name, []).append(segment)
    chosen = set()
    for its in recordings.values():
        in_order = sorted(its, key=lambda name: hashlib.sha256(name.encode()).digest())
        for name in in_order[: math.ceil(len(its) * percent / 100)]:
            chosen |= {segment.filename for segment in its[name]}
    return [segment for segment in train if segment.filename in chosen]


def _write_table(file: Path, columns: Sequence[str], segments: Iterable[SegmentFile]) -> None:
    rows = [columns, *([getattr(segment, column) for column in columns] for segment in segments)]
    file.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8", newline="\n")
