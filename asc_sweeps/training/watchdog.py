"""Kills a process whose trial makes no progress: a deadlock or a stalled disk would otherwise block its worker forever."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

REPORT_TIMEOUT = 60.0
"""Seconds for reporting a hang; if that hangs too, the process ends without a report."""

_last_progress = 0.0


def record_progress() -> None:
    """Reset the watchdog: a mini-batch was trained or predicted."""
    global _last_progress
    _last_progress = time.monotonic()


@contextmanager
def watchdog(timeout: float, on_hang: Callable[[str], None]) -> Iterator[None]:
    """End the process with exit status 1 when `record_progress` is not called for `timeout` seconds.

    Before that, `on_hang` is called with the traceback of the thread that entered this context.
    """
    record_progress()
    ended, watched_thread = threading.Event(), threading.get_ident()

    def watch() -> None:
        polled = time.monotonic()
        while not ended.wait(min(timeout / 4, 5.0)):
            moment = time.monotonic()
            if moment - polled > timeout / 2:  # the process was suspended
                record_progress()
            polled = moment
            if moment - _last_progress > timeout:
                faulthandler.dump_traceback_later(REPORT_TIMEOUT, exit=True, file=sys.__stderr__ or sys.stderr)
                frame = sys._current_frames().get(watched_thread)
                try:
                    on_hang("".join(traceback.format_stack(frame)) if frame else "")
                finally:
                    os._exit(1)

    thread = threading.Thread(target=watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
