"""Segments of a prepared data set as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.data.cache import Prepared


def fetch(data: Prepared, rows: np.ndarray, accelerator: str) -> Tensor:
    """Waveforms of some rows as float32 in -1..1, shape [rows, 16000]; of clips, [clips, seconds], the pieces one after the other."""
    return torch.from_numpy(data.waveforms[rows].reshape(len(rows), -1)).to(accelerator).float() / 32768
