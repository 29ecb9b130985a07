"""Segments of a prepared data set as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.data.cache import Prepared

SHARE = 0.25
"""Of a GPU's free memory that all waveforms may take when a process first asks: other trials share the GPU."""

SEGMENTS_PER_COPY = 4096
"""Segments that are sent to a GPU at a time."""

_resident: dict[tuple[str, str], Tensor | None] = {}
"""The waveforms of the data set that this process trains on, by content and GPU; None where they do not fit."""


def fetch(data: Prepared, rows: np.ndarray, accelerator: str) -> Tensor:
    """Waveforms of some rows as float32 in -1..1, shape [rows, 16000]; of clips, [clips, seconds], the pieces one after the other.

    A GPU that has room for all of them has them from the first call on, and is sent row numbers alone.
    """
    stored = _on_gpu(data, accelerator) if accelerator != "cpu" else None
    return _take(data, rows, accelerator, stored)


def _take(data: Prepared, rows: np.ndarray, accelerator: str, stored: Tensor | None) -> Tensor:
    if stored is None:
        chosen = torch.from_numpy(data.waveforms[rows.ravel()]).to(accelerator)
    else:
        chosen = stored[torch.from_numpy(rows.ravel()).to(accelerator)]
    return chosen.view(len(rows), -1).float() / 32768


def _on_gpu(data: Prepared, accelerator: str) -> Tensor | None:
    key = data.content, accelerator
    if key not in _resident:
        _resident.clear()
        _resident[key] = _copy(data, accelerator, torch.cuda.mem_get_info(accelerator)[0])
    return _resident[key]


def _copy(data: Prepared, accelerator: str, free: int) -> Tensor | None:
    """All waveforms, int16 [segments, 16000], in the memory of which `free` bytes are left; None where that is too little."""
    if data.waveforms.nbytes > SHARE * free:
        return None
    stored = torch.empty(data.waveforms.shape, dtype=torch.int16, device=accelerator)
    for at in range(0, len(stored), SEGMENTS_PER_COPY):
        stored[at : at + SEGMENTS_PER_COPY] = torch.from_numpy(np.array(data.waveforms[at : at + SEGMENTS_PER_COPY]))
    return stored
