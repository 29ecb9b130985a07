"""Impulse responses of microphones: the WAV files of a folder become one small array in the workspace, named by its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.torchaudio_door import Resample
from asc_sweeps.data.wav import read_any_wav
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.array_bytes import npy_bytes
from asc_sweeps.workspace.paths import Workspace

LEAD = SAMPLE_RATE // 20  # samples kept before a response's peak


def store_responses(folder: str, workspace: Workspace) -> str:
    """Store the impulse responses of a folder's WAV files in the workspace and return the name of their content.

    Raises DataError for a folder without WAV files, and for files that are not impulse responses, filename_in_errors them.
    """
    root = Path(folder).expanduser().resolve()
    try:
        paths = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".wav")
    except OSError as error:
        raise DataError(f"{printable(root)}: cannot be read ({error.strerror})") from None
    if not paths:
        problem = "contains no WAV files" if root.is_dir() else "no such folder"
        raise DataError(f"augment.impulse_responses: {printable(root)}: {problem}")
    responses, findings = [], Findings()
    for path in paths:
        try:
            responses.append(_read(path))
        except (OSError, ValueError) as error:
            findings.add("must be an impulse response", f"{path.relative_to(root)}: {error}")
    findings.raise_if_fatal(root, "impulse responses")
    bank = np.unique(np.stack(responses), axis=0)  # independent of file names and duplicates
    content = _name(bank)
    if not _fetch(content, workspace).exists():
        workspace.storage.write(_path(content, workspace), npy_bytes(bank))
    return content


def load_responses(content: str, workspace: Workspace) -> Tensor:
    """Spectra of the impulse responses with this content, complex64 [responses, 16001]. Raises DataError if they are missing.

    Each is taken over two seconds, with the peak at the start and what precedes it wrapped to the end: multiplying the spectrum of
    one zero-padded second convolves without wrap-around and without delay.
    """
    try:
        bank = np.load(_fetch(content, workspace), allow_pickle=False)
        if _name(bank) != content:
            raise ValueError("damaged")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{workspace.location}: the impulse responses {content} cannot be loaded ({printable(error)}); give their folder again "
            "with --set augment.impulse_responses=DIR"
        ) from None
    padded = torch.nn.functional.pad(torch.from_numpy(bank), (0, SAMPLE_RATE))
    return torch.fft.rfft(padded.roll(-LEAD, dims=1))


def _read(path: Path) -> np.ndarray:
    """One second at 16 kHz, mono, with the peak at `LEAD` and unit energy, which keeps the level of noise."""
    samples, rate = read_any_wav(path)
    response = torch.from_numpy(samples.mean(axis=1))
    if not len(response) or not bool(response.isfinite().all()) or not float(response.abs().max()) > 0:
        raise ValueError("is silent, empty or not finite")
    if rate != SAMPLE_RATE:
        response = Resample(rate, SAMPLE_RATE)(response)
    peak = int(response.abs().argmax())
    start = max(LEAD - peak, 0)
    window = response[max(peak - LEAD, 0) : peak - LEAD + SAMPLE_RATE][: SAMPLE_RATE - start]
    aligned = torch.zeros(SAMPLE_RATE)
    aligned[start : start + len(window)] = window
    return (aligned / aligned.square().sum().sqrt()).numpy()


def _name(bank: np.ndarray) -> str:
    return hashlib.sha256(bank.tobytes()).hexdigest()[:32]


def _fetch(content: str, workspace: Workspace) -> Path:
    workspace.storage.fetch(_path(content, workspace))
    return _path(content, workspace)


def _path(content: str, workspace: Workspace) -> Path:
    return workspace.prepared / f"impulse-responses-{content}.npy"
