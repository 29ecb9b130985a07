"""Problems of a data set folder: each broken rule with its count and first examples. The rules are in `check` and `wav`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asc_sweeps.errors import DataError

MAX_EXAMPLES = 5


@dataclass
class Finding:
    """One broken rule."""

    rule: str
    fatal: bool  # whether training is refused; otherwise the folder is usable but differs from the published data set
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = f" (and {self.count - len(self.examples):,} more)" if self.count > len(self.examples) else ""
        return f"{self.rule}: {self.count:,}\n    " + "\n    ".join(self.examples) + more


class Findings:
    """The broken rules of a folder."""

    def __init__(self) -> None:
        self._by_rule: dict[str, Finding] = {}

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._by_rule.values())

    def __len__(self) -> int:
        return len(self._by_rule)

    def add(self, rule: str, example: str, fatal: bool = True) -> None:
        """Count one more violation of `rule`."""
        finding = self._by_rule.setdefault(rule, Finding(rule, fatal))
        finding.count += 1
        if len(finding.examples) < MAX_EXAMPLES:
            finding.examples.append(printable(example))

    @property
    def fatal(self) -> bool:
        """Whether the folder cannot be used for training."""
        return any(finding.fatal for finding in self)

    def raise_if_fatal(self, folder: Path, use: str = "a data set") -> None:
        """Raise DataError with all fatal findings, if there are any."""
        if self.fatal:
            fatal = "\n  ".join(str(finding) for finding in self if finding.fatal)
            raise DataError(f"{printable(folder)}: cannot be used as {use}\n  {fatal}")


def printable(text: object, max_length: int = 300) -> str:
    r"""A text from a file, safe for a terminal: control and undecodable characters are escaped, long texts are truncated.

    >>> printable("audio/\x1b[31m.wav")
    'audio/\\x1b[31m.wav'
    """
    text = str(text)
    text = text if len(text) <= max_length else text[:max_length] + " ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
