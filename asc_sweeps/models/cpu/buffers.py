"""Memory of hundreds of megabytes in pages of two, and kept from one training step to the next.

With the usual pages of 4 KB an operation on a map of many planes waits for where each page is (a sixth of a training step), and the
system hands out each page anew at each step.
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
"""Bytes that are left to torch."""
_free: list[mmap.mmap] = []
_keepers = 0


def empty(numbers: int, dtype: torch.dtype) -> Tensor:
    """So many numbers, of any value."""
    size = numbers * dtype.itemsize
    if size < _SMALL or not hasattr(mmap, "MADV_HUGEPAGE"):
        return torch.empty(numbers, dtype=dtype)
    fitting = [block for block in _free if size + _PAGE <= len(block)]
    if fitting:
        block = min(fitting, key=len)
        _free.remove(block)
    else:
        _free.clear()  # too small for what is asked for now
        pages = math.ceil(size / _PAGE + 1)
        block = mmap.mmap(-1, pages * _PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # shared ones are seldom large
        block.madvise(mmap.MADV_HUGEPAGE)
    whole = np.frombuffer(block, np.uint8)
    first = -whole.ctypes.data % _PAGE
    array = whole[first : first + size]
    weakref.finalize(array, _give_back, block)
    return torch.from_numpy(array).view(dtype)


def _give_back(block: mmap.mmap) -> None:
    if _keepers:
        _free.append(block)


def keep_for(owner: object) -> None:
    """What is freed stays for the next that asks, as long as `owner` lives: a network, which asks for as much at its next step."""
    global _keepers
    _keepers += 1
    weakref.finalize(owner, _let_go)


def _let_go() -> None:
    global _keepers
    _keepers -= 1
    if not _keepers:
        _free.clear()
