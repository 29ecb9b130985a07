"""Impulse responses of microphones: a folder of WAVs becomes one small array in the workspace, named by its content."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.findings import Findings, printable
from asc_sweeps.data.torchaudio_door import Resample
from asc_sweeps.data.wav import read_any_wav
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.paths import Workspace

LEAD = SAMPLE_RATE // 20
"""Samples that are kept from before a response's peak."""


def store_responses(folder: str, workspace: Workspace) -> str:
    """Put the responses of a folder's WAVs into the workspace and return their content's name.

    Raises DataError for a folder without WAVs, and for files that are no impulse responses, naming them.
    """
    place = Path(folder).expanduser().resolve()
    try:
        paths = sorted(p for p in place.rglob("*") if p.suffix.lower() == ".wav")
    except OSError as error:
        raise DataError(f"{printable(place)}: cannot be read ({error.strerror})") from None
    if not paths:
        what = "holds no WAV file" if place.is_dir() else "there is no such folder"
        raise DataError(f"augment.impulse_responses: {printable(place)}: {what}")
    responses, findings = [], Findings()
    for path in paths:
        try:
            responses.append(_read(path))
        except (OSError, ValueError) as error:
            findings.add("must be an impulse response", f"{path.relative_to(place)}: {error}")
    if findings.fatal:
        listed = "\n  ".join(map(str, findings))
        raise DataError(f"{printable(place)}: cannot be used as impulse responses\n  {listed}")
    bank = np.unique(np.stack(responses), axis=0)  # neither a file's name nor its copy counts
    content = hashlib.sha256(bank.tobytes()).hexdigest()[:32]
    buffer = io.BytesIO()
    np.save(buffer, bank)
    if not has_responses(content, workspace):
        workspace.storage.write(_path(content, workspace), buffer.getvalue())
    return content


def has_responses(content: str, workspace: Workspace) -> bool:
    """Whether the workspace holds these responses."""
    path = _path(content, workspace)
    workspace.storage.fetch(path)
    return path.exists()


def load_responses(content: str, workspace: Workspace) -> Tensor:
    """Spectra of the responses of this content, complex64 [responses, 16001]. Raises DataError where they are not at hand.

    Each is of a window of two seconds, in which the peak stands first and what was before it last: multiplied with the spectrum
    of a second and silence, nothing comes round, and the sound stays where it was.
    """
    try:
        if not has_responses(content, workspace):
            raise ValueError("not there")
        bank = np.load(_path(content, workspace), allow_pickle=False)
        if hashlib.sha256(bank.tobytes()).hexdigest()[:32] != content:
            raise ValueError("damaged")
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"{workspace.location}: the impulse responses {content} are not at hand ({printable(error)}); name their folder again "
            "with --set augment.impulse_responses=DIR"
        ) from None
    padded = torch.nn.functional.pad(torch.from_numpy(bank), (0, SAMPLE_RATE))
    return torch.fft.rfft(padded.roll(-LEAD, dims=1))


def _read(path: Path) -> np.ndarray:
    """One response: 16 kHz, one channel, one second with its peak at `LEAD`, of unit energy: noise keeps its level."""
    samples, rate = read_any_wav(path)
    response = torch.from_numpy(samples.mean(axis=1))
    if not len(response) or not bool(response.isfinite().all()) or not float(response.abs().max()) > 0:
        raise ValueError("holds no sound, or no finite one")
    if rate != SAMPLE_RATE:
        response = Resample(rate, SAMPLE_RATE)(response)
    peak = int(response.abs().argmax())
    found = torch.zeros(SAMPLE_RATE)
    piece = response[max(peak - LEAD, 0) : peak - LEAD + SAMPLE_RATE]
    at = max(LEAD - peak, 0)
    found[at : at + len(piece)] = piece[: SAMPLE_RATE - at]
    return (found / found.square().sum().sqrt()).numpy()


def _path(content: str, workspace: Workspace) -> Path:
    return workspace.prepared / f"impulse-responses-{content}.npy"
