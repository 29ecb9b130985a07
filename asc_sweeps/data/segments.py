"""Segments of a prepared data set as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.data.cache import Prepared

MAX_MEMORY_SHARE = 0.25  # share of a GPU's free memory that the waveforms may occupy: other trials use the same GPU
SEGMENTS_PER_COPY = 4096

_resident: dict[tuple[str, str], Tensor | None] = {}
"""Waveforms of this process's data set, by content and GPU; None if they do not fit."""


def fetch(data: Prepared, rows: np.ndarray, accelerator: str) -> Tensor:
    """Waveforms of some rows as float32 in -1..1, shape [rows, 16000]; for clips, [clips, seconds], their segments concatenated.

    A GPU with enough memory stores all waveforms from the first call on; later calls send only row numbers.
    """
    stored = _on_gpu(data, accelerator) if accelerator != "cpu" else None
    return _take(data, rows, accelerator, stored)


def _take(data: Prepared, rows: np.ndarray, accelerator: str, stored: Tensor | None) -> Tensor:
    if stored is None:
        waveforms = torch.from_numpy(data.waveforms[rows.ravel()]).to(accelerator)
    else:
        waveforms = stored[torch.from_numpy(rows.ravel()).to(accelerator)]
    return waveforms.view(len(rows), -1).float() / 32768


def _on_gpu(data: Prepared, accelerator: str) -> Tensor | None:
    key = data.content, accelerator
    if key not in _resident:
        _resident.clear()
        _resident[key] = _copy(data, accelerator, torch.cuda.mem_get_info(accelerator)[0])
    return _resident[key]


def _copy(data: Prepared, accelerator: str, free_bytes: int) -> Tensor | None:
    """All waveforms, int16 [segments, 16000], on an accelerator; None if they need too much of its free memory."""
    if data.waveforms.nbytes > MAX_MEMORY_SHARE * free_bytes:
        return None
    stored = torch.empty(data.waveforms.shape, dtype=torch.int16, device=accelerator)
    for start in range(0, len(stored), SEGMENTS_PER_COPY):
        chunk = slice(start, start + SEGMENTS_PER_COPY)
        stored[chunk] = torch.from_numpy(np.array(data.waveforms[chunk]))
    return stored
