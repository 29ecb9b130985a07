"""Being asked to end: what Ctrl-C keeps, a batch system's SIGTERM keeps too."""

from __future__ import annotations

import functools
import os
import signal
import socket
import sys
import threading
import time

SECONDS_TO_EXIT = 10


def sigterm_as_sigint() -> None:
    """From now on SIGTERM interrupts as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))


@functools.cache
def force_exit_after_sigterm() -> None:
    """SECONDS_TO_EXIT after a SIGTERM this process has gone, with exit status 130, whatever it waits for.

    A batch system asks Ray's processes as well, and Ray waits a minute for those that have gone, at times where Python answers no
    signal. The system's own answer to it reaches a thread even then.
    """
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)

    def leave() -> None:
        with told, tell:
            while told.recv(1) != bytes([signal.SIGTERM]):
                pass
            time.sleep(SECONDS_TO_EXIT)
        sys.stderr.write("\ninterrupted; finished epochs are kept, the same command goes on from here\n")
        sys.stderr.flush()
        os._exit(130)

    threading.Thread(target=leave, daemon=True).start()
