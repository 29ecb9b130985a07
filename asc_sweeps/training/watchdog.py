"""Ends a process whose trial hangs: a deadlock or a stalled disk makes no step, reports nothing and would wait for ever."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

GRACE = 60.0
"""Seconds in which a hang must have been written down; storage that hangs itself ends the process without a word."""

_last_step = 0.0


def record_progress() -> None:
    """Say that the trial has made a step: a mini-batch trained, or a batch predicted."""
    global _last_step
    _last_step = time.monotonic()


@contextmanager
def watchdog(seconds: float, tell: Callable[[str], None]) -> Iterator[None]:
    """End the process when the calling thread does not say that it is `alive()` for so long.

    `tell` is handed the place where that thread stands, as a traceback, before the process ends with exit status 1.
    """
    record_progress()
    ended, watched_thread = threading.Event(), threading.get_ident()

    def watch() -> None:
        looked = time.monotonic()
        while not ended.wait(min(seconds / 4, 5.0)):
            moment = time.monotonic()
            if moment - looked > seconds / 2:  # we were stopped ourselves: nothing is known of that time
                record_progress()
            looked = moment
            if moment - _last_step > seconds:
                faulthandler.dump_traceback_later(GRACE, exit=True, file=sys.__stderr__)
                frame = sys._current_frames().get(watched_thread)
                try:
                    tell("".join(traceback.format_stack(frame)) if frame else "")
                finally:
                    os._exit(1)

    watcher = threading.Thread(target=watch, name="watchdog", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
