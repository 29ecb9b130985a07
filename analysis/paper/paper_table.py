"""A table of scores as the paper prints it, and as a workspace's trials fill it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, TypeVar

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY, Measure
from analysis.paper import missing
from analysis.paper.families import Family, summarise
from analysis.paper.verdicts import ScoreVerdicts, judge_rows, scores_by_seed
from analysis.statistics import SeedSpread, seed_spread

R = TypeVar("R", bound=Hashable)
"""Key of a row."""


@dataclass(frozen=True)
class PaperTable(Generic[R]):
    """One of the paper's tables: which study repeats it, what the paper prints, and which trials fill it."""

    title: str
    study: str
    """Search space whose trials fill it."""
    printed: Mapping[R, Mapping[str, float]]
    """The paper's scores by row and by column of `frames.trials_frame`; NaN where it prints none."""
    family: Callable[[pd.DataFrame], Family | None]
    """Selects the trials that are shown."""
    measures: tuple[Measure, ...] = PRIMARY
    """Primary outcomes, the only ones with verdicts."""
    summarised: tuple[str, ...] = ("log_loss", "accuracy", "log_loss_macro")
    """Columns whose means over seeds the table holds."""
    groups: Mapping[R, Hashable] = field(default_factory=dict)
    """By row its group, where seeds of rows of different groups have nothing in common."""
    judged: Callable[[R], bool] = lambda row: True
    """Whether a row's scores have verdicts in this table."""
    open: bool = False
    """Whether trials may add rows that the paper does not have."""

    def measure(self, frame: pd.DataFrame) -> MeasuredTable[R]:
        """The table filled with trials."""
        family = self.family(frame)
        by_row: dict[Any, pd.DataFrame] = {} if family is None else dict(iter(family.trials.groupby("row")))
        added = [row for row in by_row if row not in self.printed] if self.open else []
        empty = frame.iloc[:0]
        return MeasuredTable(self, family, {row: by_row.get(row, empty) for row in (*self.printed, *added)})


@dataclass(frozen=True)
class MeasuredTable(Generic[R]):
    """A table of the paper filled with trials."""

    paper: PaperTable[R]
    family: Family | None
    """None without any trial."""
    rows: Mapping[R, pd.DataFrame]
    """Trials by row, the paper's rows first."""

    @property
    def compared(self) -> bool:
        """Whether scores are compared with the paper's: only on real data."""
        return self.family is not None and not self.family.generated

    @property
    def width(self) -> int | None:
        """Base channels of all networks, None where they differ."""
        return self.family.width if self.family else None

    def commands(self, evidence: Evidence) -> tuple[str, ...]:
        """The commands that fill its missing rows."""
        return missing.commands(self.paper.study, self.family.generated if self.family else None, evidence)

    @cached_property
    def verdicts(self) -> ScoreVerdicts[R]:
        """Verdicts on primary outcomes; none on generated data."""
        rows = {row: trials for row, trials in self.rows.items() if self.compared and self.paper.judged(row)}
        return judge_rows(rows, self.paper.printed, [m.column for m in self.paper.measures], self.paper.groups)

    def seed_spread(self, measure: Measure) -> SeedSpread:
        """Seed-to-seed spread of a measure, pooled over the rows."""
        return seed_spread(scores_by_seed(self.rows, measure.column, self.paper.groups))

    @property
    def filled(self) -> int:
        """Number of the paper's rows that have a trial."""
        return sum(len(self.rows[row]) > 0 for row in self.paper.printed)

    def numbers(self, row: R, **more: object) -> dict[str, Any]:
        """A row as columns: `paper_*` printed; means over seeds with their spread; `*_verdict`, `*_p`; seeds, `more`, signatures."""
        trials, verdicts = self.rows[row], self.verdicts
        columns = [measure.column for measure in self.paper.measures]
        printed = self.paper.printed.get(row, dict.fromkeys(next(iter(self.paper.printed.values())), float("nan")))
        return {
            **{f"paper_{column}": number for column, number in printed.items()},
            **summarise(trials, self.paper.summarised),
            **{f"{column}_verdict": verdicts.texts.get((row, column), "") for column in columns},
            **{f"{column}_p": verdicts.p_values.get((row, column), float("nan")) for column in columns},
            "seeds": len(trials),
            "seed_numbers": tuple(sorted(trials["seed"])),
            **more,
            "signatures": ", ".join(sorted(trials["signature"])),
        }
