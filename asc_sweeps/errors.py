"""Errors that a user can fix, each with its exit code; the command line prints the message without a traceback.

A message names the thing, the rule, the value and the way out.
"""

from __future__ import annotations

import difflib
import errno
import json
from collections.abc import Iterable

REMEDIES = {
    errno.ENOSPC: "free space on that disk",
    errno.EDQUOT: "free space within the quota",
    errno.EROFS: "make it writable, or choose another folder",
    errno.EACCES: "give this user permission",
    errno.EPERM: "give this user permission",
    errno.EIO: "see the system log",
    errno.ESTALE: "the server has lost the folder: mount it again",
}
"""What a user does about a disk that cannot be used, by the system's error number."""
DISK_FULL = "disk full"
DISK_CAUSES = dict.fromkeys(REMEDIES, "disk") | {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL}
"""The cause of a trial's failure by the system's error number; on a full disk, nothing new is started."""


class AscSweepsError(Exception):
    """Base of the errors that a user can fix; `exit_code` is the command's."""

    exit_code = 2


class ConfigError(AscSweepsError):
    """One or more invalid settings, each a line in `problems`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataError(AscSweepsError):
    """An invalid data set folder, list or recording."""


class MissingDataError(DataError):
    """A data set that does not exist."""


class NotPreparedError(DataError):
    """Data that are not prepared in the workspace, or that this machine cannot see."""


class WorkspaceError(AscSweepsError):
    """A workspace, stored result or cluster that cannot be used."""


class StoreError(WorkspaceError):
    """An object store that is unreachable or refuses a request; a later attempt may succeed."""


class LeaseLostError(AscSweepsError):
    """Another process has taken over the work of this one."""


class SweepError(AscSweepsError):
    """A sweep that Ray ended; finished work is saved."""

    exit_code = 1


class TrialError(AscSweepsError):
    """A trial that cannot be finished, with a `cause` of a word or two (`nan`, `damaged`, `start`, ...)."""

    exit_code = 1

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause

    def __reduce__(self) -> tuple[type[TrialError], tuple[str, str]]:
        # Exceptions are pickled by their arguments, which would lose `cause`.
        return type(self), (self.cause, str(self))


def describe_os_error(error: OSError) -> str:
    """The path, the system's reason and, where known, the remedy.

    >>> describe_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/result.json"))
    '/data/result.json: No space left on device; free space on that disk'
    """
    paths = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    reason = f"{paths}: {error.strerror}" if paths else str(error.strerror)
    return f"{reason}; {REMEDIES[error.errno]}" if error.errno in REMEDIES else reason


def show_value(value: object) -> str:
    """A value in an error message: as JSON, cut to 80 characters."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest choice, or nothing when none is near.

    >>> did_you_mean("bcresnet2", ["bcresnet", "bcres2net"])
    "; did you mean 'bcresnet'?"
    >>> did_you_mean("zebra", ["bcresnet"])
    ''
    """
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
