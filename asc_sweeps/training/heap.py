"""Keeps freed memory in the process while it trains on a CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_THRESHOLDS = (-1, -3)
"""M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's mallopt."""


@contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Let the allocator reuse what a training step frees; at the end it is returned to the system.

    By default glibc returns large blocks as they are freed, and gets them back page by page, which takes 10 to 20 % of a step.
    Has no effect with other C libraries.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield
        return
    for threshold in _THRESHOLDS:
        library.mallopt(threshold, 2**31 - 1)
    try:
        yield
    finally:
        for threshold in _THRESHOLDS:
            library.mallopt(threshold, 128 * 1024)  # glibc's default
        library.malloc_trim(0)
