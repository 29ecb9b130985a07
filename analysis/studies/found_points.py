"""What a search found: its drawn points with what each reached, its best, and its Pareto front of log loss and MACs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.formats import fixed, plural
from analysis.paper.families import family_keys
from asc_sweeps.config.search_space import OBJECTIVES
from asc_sweeps.sweep.searches.importance import importances
from asc_sweeps.workspace.records import StudyRecord

SCORES = ("validation_log_loss", "validation_accuracy")


@dataclass(frozen=True)
class Found:
    """One search with what its trials reached."""

    record: StudyRecord
    evidence: Evidence

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for and drawn (`StudyRecord.search`)."""
        return self.record.search or {}

    @property
    def name(self) -> str:
        """The study's."""
        return self.record.name

    @property
    def objective(self) -> str:
        """The first of them."""
        return self.asked["objectives"][0]

    @property
    def parameters(self) -> list[str]:
        """Names of the drawn settings."""
        return [p["name"] for p in self.asked["parameters"]]

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row a drawn point: number, state, signature, reason, a column an objective, `macs`, `validation_log_loss`.

        And a column a drawn setting, None where it was not drawn.
        """
        rows = []
        for point in self.asked["points"]:
            result = self.evidence.by_signature.get(point["signature"])
            micro = result.micro("validation") if result else None
            own = {name: point[name] for name in ("number", "state", "signature", "reason")}
            own["macs"] = result.complexity.macs if result else float("nan")
            own["validation_log_loss"] = micro.log_loss if micro else float("nan")
            values = point["values"] or [float("nan")] * len(self.asked["objectives"])
            own |= dict(zip(self.asked["objectives"], values, strict=True))
            rows.append(own | {name: point["params"].get(name) for name in self.parameters})
        columns = ["number", "state", "signature", "reason", "macs", "validation_log_loss"]
        columns = list(dict.fromkeys([*columns, *self.asked["objectives"], *self.parameters]))
        frame = pd.DataFrame(rows, columns=columns, dtype=object)  # so that None stays None
        numbers = ["macs", "validation_log_loss", *self.asked["objectives"]]
        return frame.astype({"number": int, **dict.fromkeys(numbers, float)})

    @cached_property
    def done(self) -> pd.DataFrame:
        """The points that reached an end, those of one trial once."""
        done = self.points[self.points["state"] == "done"]
        return done[done[self.objective].notna()].drop_duplicates("signature")

    @cached_property
    def generated(self) -> bool:
        """Whether its data were generated."""
        its = self.evidence.frame[self.evidence.frame["signature"].isin(self.points["signature"])]
        return bool(its["generated"].any())

    @property
    def maximize(self) -> bool:
        """Whether more of the first objective is better."""
        return OBJECTIVES[self.objective] == "maximize"

    @cached_property
    def best_first(self) -> pd.DataFrame:
        """The finished points, the best by the first objective on top."""
        return self.done.sort_values([self.objective, "number"], ascending=[not self.maximize, True])

    @cached_property
    def front(self) -> pd.DataFrame:
        """The finished points that no other beats in both MACs and validation log loss, by MACs."""
        return pareto_front(self.done.dropna(subset=["macs", "validation_log_loss"]))

    @property
    def scores(self) -> list[str]:
        """Of its best: the score that chose them, where a score did, and log loss."""
        return list(dict.fromkeys(s for s in (self.objective, "validation_log_loss") if s in SCORES))

    @cached_property
    def tried(self) -> int:
        """How many trials its best were chosen from; those that were stopped early were candidates, too."""
        ended = self.points["state"].isin(["done", "stopped"])
        return self.points.loc[ended, "signature"].nunique()

    @cached_property
    def fresh(self) -> pd.DataFrame:
        """One row a trial of exactly a point's settings and data, but of another seed and not drawn by the search.

        `signature` is the point's; with the scores of the other trial, which did not take part in choosing the point.
        """
        trials = self.evidence.frame[["signature", "seed", *SCORES]].assign(key=self.evidence.cached(_all_but_the_seed))
        drawn = trials["signature"].isin(self.points["signature"])
        pairs = trials.loc[drawn, ["signature", "seed", "key"]].merge(
            trials[~drawn].drop(columns="signature").dropna(), on="key", suffixes=("", "_fresh")
        )
        return pairs.loc[pairs["seed"] != pairs["seed_fresh"], ["signature", *SCORES]]

    def confirmed(self, signature: str, score: str) -> str:
        """What a point's score is worth by its fresh seeds, in words."""
        values = self.fresh.loc[self.fresh["signature"] == signature, score]
        return f"{fixed(values.mean(), 3)} ({plural(len(values), 'new seed')})" if len(values) else "not confirmed"

    def seed_deviation(self, score: str) -> float:
        """Standard deviation between the fresh seeds of a point, pooled over all points; NaN where no point has two."""
        by_point = self.fresh.groupby("signature")[score]
        freedom = len(self.fresh) - by_point.ngroups
        apart = self.fresh[score] - by_point.transform("mean")
        return math.sqrt((apart**2).sum() / freedom) if freedom else float("nan")

    @cached_property
    def importances(self) -> pd.DataFrame:
        """Of the drawn settings for the first objective (`importance.importances`)."""
        done = set(self.done["number"])
        drawn = [p["params"] for p in self.asked["points"] if p["number"] in done]
        return importances(self.asked["parameters"], drawn, self.done[self.objective].tolist(), self.maximize)


def _all_but_the_seed(frame: pd.DataFrame) -> pd.Series:
    return family_keys(frame, ())


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Rows that no other beats in both `macs` and `validation_log_loss`, both the fewer the better, by MACs."""
    ordered = points.sort_values(["macs", "validation_log_loss", "number"])
    best = ordered["validation_log_loss"].cummin()
    first = ordered["validation_log_loss"] < best.shift(fill_value=float("inf"))
    return ordered[first]
