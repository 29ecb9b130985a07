"""What can go wrong by a user's hand or a trial's fate, each with the text a person reads and the exit code of the command.

Every message names the thing, the rule, the value and the way out; the command line prints it without a traceback.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable

REMEDIES = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within the quota",
    errno.EROFS: "let it be written, or name another folder",
    errno.EACCES: "give this user the right to it",
    errno.EPERM: "give this user the right to it",
    errno.EIO: "the disk fails: the system's log says more",
    errno.ESTALE: "the server has lost the folder: mount it again",
}
"""What a person does about a disk that cannot be used, by the system's error."""
DISK_FULL = "disk full"
DISK_CAUSES = dict.fromkeys(REMEDIES, "disk") | {errno.ENOSPC: DISK_FULL, errno.EDQUOT: DISK_FULL}
"""The cause of a trial's failure by the system's error; what would fill a full disk further is not begun."""


class AscSweepsError(Exception):
    """Base of the errors that a person can mend; `exit_code` is what the command returns."""

    exit_code = 2


class ConfigError(AscSweepsError):
    """One or more wrong settings; holds all of them, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class DataError(AscSweepsError):
    """A data set folder, list or recording that breaks the rules of its layout."""


class MissingDataError(DataError):
    """A data set that is not at hand."""


class NotPreparedError(DataError):
    """Data that a workspace does not hold, or that this machine does not see."""


class WorkspaceError(AscSweepsError):
    """A workspace folder, stored result or cluster that cannot be used as it stands."""


class StoreError(WorkspaceError):
    """An object store that cannot be reached, or refuses; it may do better a little later."""


class LeaseLostError(AscSweepsError):
    """Another process has taken over what this one was doing."""


class SweepError(AscSweepsError):
    """A sweep that Ray ended; what is finished is kept."""

    exit_code = 1


class TrialError(AscSweepsError):
    """A trial that cannot be finished, with its cause in a word or two (`nan`, `damaged`, `start`, ...)."""

    exit_code = 1

    def __init__(self, cause: str, message: str) -> None:
        super().__init__(message)
        self.cause = cause

    def __reduce__(self) -> tuple[type[TrialError], tuple[str, str]]:
        # Exceptions travel between processes by their arguments; the default would lose `cause`.
        return type(self), (self.cause, str(self))


def describe_os_error(error: OSError) -> str:
    """What the system says of a file: its path, the reason, and what to do where that is known.

    >>> describe_os_error(OSError(errno.ENOSPC, "No space left on device", "/data/result.json"))
    '/data/result.json: No space left on device; make room on that disk'
    """
    where = ", ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    said = f"{where}: {error.strerror}" if where else str(error.strerror)
    return f"{said}; {REMEDIES[error.errno]}" if error.errno in REMEDIES else said


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """The end of an error message: the nearest choice, or nothing when none is near.

    >>> did_you_mean("bcresnet2", ["bcresnet", "bcres2net"])
    "; did you mean 'bcresnet'?"
    >>> did_you_mean("zebra", ["bcresnet"])
    ''
    """
    near = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.6)
    return f"; did you mean '{near[0]}'?" if near else ""
