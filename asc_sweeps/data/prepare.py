"""The training cache: every listed WAV as one second of 16 kHz int16, level kept, in one memory-mapped array.

Found by the files' names, sizes and times; named by their content. So a changed file is never answered from an old cache,
and a copied folder is never trained twice. All trials of a node share the one mapped array.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import soundfile
import torch
from filelock import FileLock

from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.data.tau import FRAMES, NO_FILE, UNREADABLE, Findings, Segment, header_problem, read_folder, stamp_of
from asc_sweeps.data.torchaudio_door import Resample
from asc_sweeps.errors import DataError
from asc_sweeps.files import write_bytes, write_json
from asc_sweeps.workspace import cores

RATE = 16_000
CHUNK = 256
"""Segments converted, flushed and recorded together: what a killed run loses at most, for each thread."""
FORMAT = 1
"""Raised when the conversion changes; part of a cache's name."""

JOURNAL = "converted.jsonl"

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Prepared:
    """A data set ready for training."""

    folder: Path
    name: str
    """`tau2022`, or `synthetic-<plan>` for generated data."""
    fingerprint: str
    """Hash over names, labels, splits and the WAV files' bytes."""
    generated: bool
    filenames: tuple[str, ...]
    locations: np.ndarray
    recordings: np.ndarray
    splits: np.ndarray
    """`train` or `test`, one for each segment."""
    scenes: np.ndarray
    """Index into SCENES."""
    devices: np.ndarray
    """Index into DEVICES."""

    @cached_property
    def waveforms(self) -> np.ndarray:
        """int16, shape [segments, 16000], memory-mapped."""
        return np.load(self.folder / "waveforms.npy", mmap_mode="r")


def prepare(folder: Path, caches: Path, progress: Progress | None = None) -> Prepared:
    """Make, finish or find the cache of a data set's folder under `caches`.

    Raises DataError for a folder that breaks the layout's rules, and for WAVs that cannot be read, naming them.
    """
    findings = Findings()
    segments = [s for s in read_folder(folder, findings) if s.split != "unused"]
    findings.refuse_fatal(folder)
    segments.sort(key=lambda s: (s.split == "test", s.filename))
    key = _stat_key(folder, segments)
    index = caches / "index" / f"{key}.json"
    caches.mkdir(parents=True, exist_ok=True)
    with FileLock(caches / f".{key}.lock"):
        if index.exists():
            target = caches / json.loads(index.read_text())["cache"]
            if (target / "manifest.json").exists():
                return open_prepared(target)
        target = _build(folder, segments, caches, key, progress)
        write_json(index, {"folder": str(folder), "cache": target.name})
    return open_prepared(target)


def find_prepared(caches: Path, fingerprint: str) -> Prepared:
    """The cache of a data set by its content; raises DataError when this workspace has none."""
    target = caches / _cache_name(fingerprint)
    if not (target / "manifest.json").exists():
        raise DataError(f"{caches}: no prepared data with fingerprint {fingerprint}; run `asc-sweeps data prepare DIR`")
    return open_prepared(target)


def open_prepared(target: Path) -> Prepared:
    """Read a finished cache's manifest and segments."""
    manifest = json.loads((target / "manifest.json").read_text())
    rows = [line.split("\t") for line in (target / "segments.tsv").read_text().splitlines()[1:]]
    filenames, scenes, locations, recordings, devices, splits = zip(*rows, strict=True)
    return Prepared(
        folder=target,
        name=manifest["name"],
        fingerprint=manifest["fingerprint"],
        generated=manifest["generated"],
        filenames=filenames,
        locations=np.array(locations),
        recordings=np.array(recordings),
        splits=np.array(splits),
        scenes=np.array([SCENES.index(scene) for scene in scenes]),
        devices=np.array([DEVICES.index(device) for device in devices]),
    )


def _stat_key(folder: Path, segments: list[Segment]) -> str:
    """Changes when a list, a file's size or its times change; needs no file to be read."""
    digest = hashlib.sha256(f"{FORMAT}\0{stamp_of(folder)}".encode())
    missing = Findings()
    for s in segments:
        try:
            stat = os.stat(folder / s.filename)
        except OSError:
            missing.add(NO_FILE, s.filename)
            continue
        row = f"{s.filename}\0{s.scene}\0{s.split}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}\n"
        digest.update(row.encode())
    missing.refuse_fatal(folder)
    return digest.hexdigest()[:16]


def _cache_name(fingerprint: str) -> str:
    return f"{fingerprint[:16]}-v{FORMAT}"


def _build(folder: Path, segments: list[Segment], caches: Path, key: str, progress: Progress | None) -> Path:
    building = caches / f".building-{key}"
    building.mkdir(exist_ok=True)
    digests = _convert_all(folder, segments, building, progress)
    rows = [f"{s.filename}\t{s.scene}\t{s.device}\t{s.split}\t{d}" for s, d in zip(segments, digests, strict=True)]
    fingerprint = hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()[:32]
    target = caches / _cache_name(fingerprint)
    if (target / "manifest.json").exists():  # the same content under other times: an equal cache is there already
        shutil.rmtree(building)
        return target
    header = "filename\tscene\tlocation\trecording\tdevice\tsplit\n"
    table = "".join(f"{s.filename}\t{s.scene}\t{s.location}\t{s.recording}\t{s.device}\t{s.split}\n" for s in segments)
    write_bytes(building / "segments.tsv", (header + table).encode())
    stamp = stamp_of(folder)
    manifest = {
        "name": f"synthetic-{stamp['plan']}" if stamp else "tau2022",
        "generated": bool(stamp),
        "fingerprint": fingerprint,
        "rate": RATE,
        "segments": len(segments),
        "stamp": stamp,
    }
    write_json(building / "manifest.json", manifest)
    (building / JOURNAL).unlink()
    shutil.rmtree(target, ignore_errors=True)
    os.replace(building, target)
    return target


def _convert_all(folder: Path, segments: list[Segment], building: Path, progress: Progress | None) -> list[str]:
    """Fill `waveforms.npy`; returns the SHA-256 of each WAV. Chunks that an earlier run recorded are not read again."""
    array, digests = _open_array(building, len(segments))
    chunks = [segments[at : at + CHUNK] for at in range(0, len(segments), CHUNK)]
    todo = [i for i in range(len(chunks)) if i not in digests]
    done = len(segments) - sum(len(chunks[i]) for i in todo)
    resample = Resample(44_100, RATE)
    bad = Findings()

    def convert(i: int) -> tuple[int, list[str]]:
        digests, waveforms = zip(*(_read_wav(folder, segment, bad) for segment in chunks[i]), strict=True)
        for at in range(0, len(waveforms), 16):  # few at a time stay in the processor's cache
            part = resample(torch.from_numpy(np.stack(waveforms[at : at + 16])))
            row = i * CHUNK + at
            array[row : row + len(part)] = (part * 32768).round_().clamp_(-32768, 32767).to(torch.int16).numpy()
        return i, list(digests)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the pool's threads share the cores already
    try:
        with ThreadPoolExecutor(cores()) as pool, open(building / JOURNAL, "a") as journal:
            for i, digests[i] in pool.map(convert, todo):
                array.flush()  # before the journal says that they are there
                if not len(bad):
                    journal.write(json.dumps({"chunk": i, "sha256": digests[i]}) + "\n")
                    journal.flush()
                done += len(chunks[i])
                if progress:
                    progress(done, len(segments))
    finally:
        torch.set_num_threads(threads)
    bad.refuse_fatal(folder)
    return [digest for i in range(len(chunks)) for digest in digests[i]]


def _open_array(building: Path, segments: int) -> tuple[np.ndarray, dict[int, list[str]]]:
    """The array under construction and the chunks of it that are done."""
    path, journal = building / "waveforms.npy", building / JOURNAL
    if path.exists() and journal.exists():
        array = np.lib.format.open_memmap(path, mode="r+")
        if array.shape == (segments, RATE):
            return array, _read_journal(journal)
    journal.unlink(missing_ok=True)
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.int16, shape=(segments, RATE)), {}


def _read_journal(path: Path) -> dict[int, list[str]]:
    """Chunk number -> digests; a last line torn by a kill does not count."""
    text = path.read_text()
    rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return {row["chunk"]: row["sha256"] for row in rows}


def _read_wav(folder: Path, segment: Segment, bad: Findings) -> tuple[str, np.ndarray]:
    """SHA-256 of the file and its waveform, float32 [44100]; what cannot be read goes to `bad`."""
    content = (folder / segment.filename).read_bytes()
    waveform = np.zeros(FRAMES, np.float32)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            problem = header_problem(file)
            if not problem:
                waveform = file.read(dtype="float32")
    except soundfile.LibsndfileError as error:
        problem = UNREADABLE, f"{len(content):,} bytes, {error.error_string}"
    if problem:
        bad.add(problem[0], f"{segment.filename}: {problem[1]}")
    return hashlib.sha256(content).hexdigest(), waveform
