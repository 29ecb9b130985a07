"""What is wrong with a data set's folder: each broken rule once, counted, with the first places. Knows no rule itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from asc_sweeps.errors import DataError


@dataclass
class Finding:
    """One rule that a folder breaks: how often, and the first places."""

    rule: str
    fatal: bool
    """Whether training is refused; otherwise the folder is usable, but not what was published."""
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = f" (and {self.count - len(self.examples):,} more)" if self.count > len(self.examples) else ""
        return f"{self.rule}: {self.count:,}\n    " + "\n    ".join(self.examples) + more


class Findings:
    """Collects broken rules, each with its count and first examples."""

    EXAMPLES = 5

    def __init__(self) -> None:
        self._found: dict[str, Finding] = {}

    def add(self, rule: str, example: str, fatal: bool = True) -> None:
        """Count one more place that breaks `rule`."""
        finding = self._found.setdefault(rule, Finding(rule, fatal))
        finding.count += 1
        if len(finding.examples) < self.EXAMPLES:
            finding.examples.append(printable(example))

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found.values())

    def __len__(self) -> int:
        return len(self._found)

    @property
    def fatal(self) -> bool:
        """Whether one of them keeps the folder from training."""
        return any(finding.fatal for finding in self)

    def refuse_fatal(self, folder: Path) -> None:
        """Raise DataError with all fatal findings, if there are any."""
        if self.fatal:
            fatal = "\n  ".join(str(finding) for finding in self if finding.fatal)
            raise DataError(f"{printable(folder)}: cannot be used as a data set\n  {fatal}")


def printable(text: object, longest: int = 300) -> str:
    r"""A text from a file, safe in a terminal: control signs and bytes that are no text are escaped, long lines are cut.

    >>> printable("audio/\x1b[31m.wav")
    'audio/\\x1b[31m.wav'
    """
    text = str(text)
    text = text if len(text) <= longest else text[:longest] + " ..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
