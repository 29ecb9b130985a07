"""Large memory blocks in pages of 2 MB, reused from one training step to the next.

With the usual pages of 4 KB, address translation takes a sixth of a training step, and the system provides each page anew at each
step.
"""

from __future__ import annotations

import math
import mmap
import weakref

import numpy as np
import torch
from torch import Tensor

_PAGE = 2**21
_SMALL = 2 * _PAGE
"""Smaller blocks, in bytes, are left to torch."""
_free: list[mmap.mmap] = []
_owners = 0


def empty(numbers: int, dtype: torch.dtype) -> Tensor:
    """Uninitialized numbers."""
    size = numbers * dtype.itemsize
    if size < _SMALL or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(numbers, dtype=dtype)
    fitting = [block for block in _free if size + _PAGE <= len(block)]
    if fitting:
        block = min(fitting, key=len)
        _free.remove(block)
    else:
        _free.clear()  # all are too small
        pages = math.ceil(size / _PAGE + 1)
        block = mmap.mmap(
            -1, pages * _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        )  # shared mappings rarely get large pages
        block.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(block, np.uint8)
    first = -whole.ctypes.data % _PAGE
    array = whole[first : first + size]
    weakref.finalize(array, _recycle, block)
    return torch.from_numpy(array).view(dtype)


def _recycle(block: mmap.mmap) -> None:
    if _owners:
        _free.append(block)


def recycle_for(owner: object) -> None:
    """Keep freed blocks for reuse while `owner`, a network, exists: its next step needs as much."""
    global _owners
    _owners += 1
    weakref.finalize(owner, _release)


def _release() -> None:
    global _owners
    _owners -= 1
    if not _owners:
        _free.clear()
