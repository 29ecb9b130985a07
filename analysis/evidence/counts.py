"""Counted parameters and MACs against the printed ones: exact within the printed digits. Needs no training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.page.formats import millions, signed, thousands
from analysis.published import MACS_PRECISION, PARAMS_PRECISION, TABLE2, WIDTH, AblationRow
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.workspace.records import StudyRecord

SIZE_SETTINGS = ("model.width", "model.scale", "model.sub_bands", "features.n_mels", "features.hop")
"""What a count depends on besides the system; at their defaults they are the paper's."""


def counts_at_paper_size(studies: Sequence[StudyRecord], frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Networks counted at the paper's size: by the studies, and by finished trials of that size.

    Rows: system, block, width, mfa, fpm, stem_attention, params, macs; each network once, the latest study's first.
    """
    paper_size = {name: setting_fields()[name].default for name in SIZE_SETTINGS}
    rows = [row for study in sorted(studies, key=lambda s: s.ended_at, reverse=True) for row in study.counts]
    trials = frame[
        frame[list(paper_size)].eq(pd.Series(paper_size)).all(axis=1) & ~frame["evaluated"]
    ]  # clips are longer
    columns = {f"model.{name}": name for name in ("block", "width", "mfa", "fpm", "stem_attention")}
    rows += trials[["system", *columns, "params", "macs"]].rename(columns=columns).to_dict("records")
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        # A study's row may say its size in more detail; what it leaves out is the paper's.
        if all(row.get(name.rpartition(".")[2], usual) == usual for name, usual in paper_size.items()):
            found.setdefault((row["block"], row["mfa"], row["fpm"], row["stem_attention"]), row)
    return list(found.values())


@dataclass(frozen=True)
class Verdict:
    """Whether a counted number is the printed one, in words with a sign."""

    fits: bool
    text: str


def params_verdict(printed: int, counted: int) -> Verdict:
    """Parameters against the paper's, which are printed to 0.1 K.

    >>> params_verdict(88_100, 88_140).text, params_verdict(123_600, 93_580).text
    ('= fits', '≠ differs by −30.0K')
    """
    difference = counted - printed
    fits = abs(difference) <= PARAMS_PRECISION
    return Verdict(fits, "= fits" if fits else f"≠ differs by {signed(difference / 1e3, 1)}K")


def macs_verdict(printed: int, counted: int) -> Verdict:
    """MACs against the paper's, which are printed to 0.01 M.

    >>> macs_verdict(26_760_000, 26_762_930).text, macs_verdict(17_210_000, 16_108_000).text
    ('= fits', '≠ differs by −1.10M')
    """
    difference = counted - printed
    fits = abs(difference) <= MACS_PRECISION
    return Verdict(fits, "= fits" if fits else f"≠ differs by {signed(difference / 1e6, 2)}M")


def count_of(row: AblationRow, counts: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The counted network of a row of Table 2, the stem's attention unit kept."""
    wanted = {"block": row.block, "mfa": row.mfa, "fpm": row.fpm, "width": WIDTH, "stem_attention": True}
    return next((c for c in counts if all(c[name] == value for name, value in wanted.items())), None)


def remark(row: AblationRow, counted: dict[str, Any]) -> str:
    """What is to be said of a count that differs from its row: whose printed count it is, and what is known of it."""
    if _fits(row, counted):
        return ""
    twins = [other for other in TABLE2 if other is not row and _fits(other, counted)]
    printed = [f"Equals the row printed “{t.label}” ({thousands(t.params)} / {millions(t.macs)})." for t in twins]
    return " ".join([*printed, row.note]).strip()


def _fits(row: AblationRow, counted: dict[str, Any]) -> bool:
    return params_verdict(row.params, counted["params"]).fits and macs_verdict(row.macs, counted["macs"]).fits
