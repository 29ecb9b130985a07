"""How the report writes numbers: K and M, percent, signs. Independent of what they measure."""

from __future__ import annotations

import math
from collections.abc import Sequence

MISSING = "—"


def thousands(params: float) -> str:
    """Parameters as the paper prints them, e.g. `88.1K`."""
    return f"{params / 1e3:.1f}K"


def millions(macs: float) -> str:
    """MACs as the paper prints them, e.g. `26.76M`."""
    return f"{macs / 1e6:.2f}M"


def percent(share: float, digits: int = 1) -> str:
    """A fraction (0..1) in percent; the unit is in the column header.

    >>> percent(0.608), percent(float("nan"))
    ('60.8', '—')
    """
    return fixed(100 * share, digits)


def fixed(value: float, digits: int) -> str:
    """A number with this many decimals, or a dash for NaN."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def signed(value: float, digits: int) -> str:
    """A difference with its sign, using a true minus.

    >>> signed(-0.084, 3), signed(1.8, 1), signed(-0.0001, 1)
    ('−0.084', '+1.8', '0.0')
    """
    text = f"{value:+.{digits}f}"
    return text[1:] if float(text) == 0 else text.replace("-", "−")


def spread(half: float, digits: int, values: Sequence[float] = ()) -> str:
    """Shown below a mean over seeds: half the interval, or each seed's value where there is no interval.

    >>> spread(0.0123, 3), spread(float("nan"), 3, (1.17, 1.19)), spread(float("nan"), 3, (1.17,))
    ('± 0.012', '1.170, 1.190', '')
    """
    if not math.isnan(half):
        return f"± {half:.{digits}f}"
    shown = len(values) > 1 and not any(map(math.isnan, values))
    return ", ".join(fixed(value, digits) for value in values) if shown else ""


def duration(seconds: float) -> str:
    """A duration in seconds, minutes or hours.

    >>> duration(42), duration(600), duration(90_000)
    ('42 s', '10.0 min', '25.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def listed(words: list[str]) -> str:
    """An enumeration: `a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else MISSING


def plural(count: int, word: str) -> str:
    """A count with its noun, e.g. `1 trial`, `3 trials`, `2 studies`."""
    several = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{count:,} {word if count == 1 else several}"
