"""Counted parameters and MACs beside the printed ones: exact within the printed digits, without any training."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import pandas as pd

from analysis.page.formats import signed
from analysis.published import MACS_PRECISION, PARAMS_PRECISION, TABLE2, WIDTH, AblationRow, size_text
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.workspace.records import CountRow, StudyRecord

Size = Literal["params", "macs"]
PRECISIONS: dict[Size, tuple[int, float, int, str]] = {
    "params": (PARAMS_PRECISION, 1e3, 1, "K"),
    "macs": (MACS_PRECISION, 1e6, 2, "M"),
}
"""Half of the last printed digit; unit, decimals and letter of a difference."""
SIZE_SETTINGS = ("model.width", "model.scale", "model.sub_bands", "features.n_mels", "features.hop")
"""What a count depends on besides the system; the defaults are the paper's."""


def counts_at_paper_size(studies: Sequence[StudyRecord], frame: pd.DataFrame) -> list[CountRow]:
    """Networks counted at the paper's size, by studies and by finished trials: each network once, the latest study's first."""
    paper_size = {name: setting_fields()[name].default for name in SIZE_SETTINGS}
    rows = [row for study in sorted(studies, key=lambda s: s.ended_at, reverse=True) for row in study.counts]
    of_paper_size = frame[list(paper_size)].eq(pd.Series(paper_size)).all(axis=1)
    trials = frame[of_paper_size & ~frame["evaluated"]]  # longer clips have more MACs
    columns = {f"model.{name}": name for name in ("block", "width", "mfa", "fpm", "stem_attention")}
    records = trials[["system", *columns, "params", "macs"]].rename(columns=columns).to_dict("records")
    rows += [cast(CountRow, record) for record in records]  # pandas does not know the keys
    counts: dict[Hashable, CountRow] = {}
    for row in rows:
        # A study's row may state its size in more detail; what it does not state is as in the paper.
        if all(row.get(name.rpartition(".")[2], default) == default for name, default in paper_size.items()):
            counts.setdefault((row["block"], row["mfa"], row["fpm"], row["stem_attention"]), row)
    return list(counts.values())


@dataclass(frozen=True)
class SizeVerdict:
    """Whether a counted number matches the printed one, with a text that begins with a sign."""

    matches: bool
    text: str


def size_verdict(size: Size, printed: int, counted: int) -> SizeVerdict:
    """A counted number beside the paper's, which prints parameters to 0.1 K and MACs to 0.01 M.

    >>> size_verdict("params", 88_100, 88_140).text, size_verdict("params", 123_600, 93_580).text
    ('= matches', '≠ differs by −30.0K')
    >>> size_verdict("macs", 26_760_000, 26_762_930).text, size_verdict("macs", 17_210_000, 16_108_000).text
    ('= matches', '≠ differs by −1.10M')
    """
    precision, unit, digits, letter = PRECISIONS[size]
    difference = counted - printed
    if abs(difference) <= precision:
        return SizeVerdict(True, "= matches")
    return SizeVerdict(False, f"≠ differs by {signed(difference / unit, digits)}{letter}")


def size_verdicts(row: AblationRow, counted: CountRow) -> list[SizeVerdict]:
    """Verdicts on the parameters and MACs of a row of Table 2."""
    return [size_verdict("params", row.params, counted["params"]), size_verdict("macs", row.macs, counted["macs"])]


def count_of(row: AblationRow, counts: Sequence[CountRow]) -> CountRow | None:
    """The counted network of a row of Table 2, with the attention unit in the stem."""
    wanted = {"block": row.block, "mfa": row.mfa, "fpm": row.fpm, "width": WIDTH, "stem_attention": True}
    return next((count for count in counts if wanted.items() <= count.items()), None)


def count_remark(row: AblationRow, counted: CountRow) -> str:
    """Remark on a count that differs from its row: the row whose printed count it equals, and our explanation."""
    if _matches(row, counted):
        return ""
    twins = [other for other in TABLE2 if other is not row and _matches(other, counted)]
    printed = [f"Equals the row printed “{t.label}” ({size_text(t.params, t.macs)})." for t in twins]
    return " ".join([*printed, row.note]).strip()


def _matches(row: AblationRow, counted: CountRow) -> bool:
    return all(verdict.matches for verdict in size_verdicts(row, counted))
