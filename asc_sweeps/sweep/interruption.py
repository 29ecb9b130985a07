"""Interruption: SIGTERM, as batch systems send it, saves what Ctrl-C saves."""

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
    """Make SIGTERM interrupt this process as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))


@functools.cache
def force_exit_after_sigterm() -> None:
    """Exit with status 130 at the latest SECONDS_TO_EXIT after a SIGTERM.

    A batch system signals Ray's processes too, and Ray waits a minute for lost ones while Python runs no signal handlers. The
    wakeup file descriptor still reaches a thread then.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)

    def wait_and_exit() -> None:
        with reader, writer:
            while reader.recv(1) != bytes([signal.SIGTERM]):
                pass
            time.sleep(SECONDS_TO_EXIT)
        sys.stderr.write("\ninterrupted; finished epochs are saved; rerun the same command to resume\n")
        sys.stderr.flush()
        os._exit(130)

    threading.Thread(target=wait_and_exit, daemon=True).start()
