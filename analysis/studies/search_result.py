"""The result of a search: its sampled points with their scores, the best of them, and the Pareto front of log loss and MACs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.formats import fixed, plural
from analysis.paper.families import family_keys
from analysis.statistics import NAN
from asc_sweeps.config.search_space import OBJECTIVES
from asc_sweeps.sweep.searches.importance import importances
from asc_sweeps.workspace.records import SearchRecord

LOSS = "validation_log_loss"
SEARCH_SCORES = (LOSS, "validation_accuracy")


@dataclass(frozen=True)
class SearchResult:
    """A search with the results of its trials."""

    name: str
    """Of the study."""
    search: SearchRecord
    evidence: Evidence

    @property
    def objective(self) -> str:
        """The first objective, which ranks the points."""
        return self.search["objectives"][0]

    @property
    def parameters(self) -> list[str]:
        """Names of the sampled settings."""
        return [parameter["name"] for parameter in self.search["parameters"]]

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row per sampled point: number, state, signature, reason, `macs`, `validation_log_loss`, objectives, settings.

        Settings that were not sampled at a point are None.
        """
        objectives = self.search["objectives"]
        rows = []
        for point in self.search["points"]:
            result = self.evidence.by_signature.get(point["signature"] or "")
            micro = result.micro("validation") if result else None
            row = {"number": point["number"], "state": point["state"], "signature": point["signature"]}
            row |= {"reason": point["reason"], "macs": result.complexity.macs if result else NAN}
            row |= {LOSS: micro.log_loss if micro else NAN}
            row |= dict(zip(objectives, point["values"] or [NAN] * len(objectives), strict=True))
            rows.append(row | {name: point["params"].get(name) for name in self.parameters})
        frame = pd.DataFrame(rows, dtype=object)  # keeps None
        return frame.astype({"number": int, **dict.fromkeys(["macs", LOSS, *objectives], float)})

    @cached_property
    def finished(self) -> pd.DataFrame:
        """The points with a score, one for each trial."""
        done = self.points[self.points["state"] == "done"]
        return done[done[self.objective].notna()].drop_duplicates("signature")

    @cached_property
    def generated(self) -> bool:
        """Whether the trials used generated data."""
        trials = self.evidence.frame[self.evidence.frame["signature"].isin(self.points["signature"])]
        return bool(trials["generated"].any())

    @property
    def maximize(self) -> bool:
        """Whether larger values of the first objective are better."""
        return OBJECTIVES[self.objective] == "maximize"

    @cached_property
    def ranked(self) -> pd.DataFrame:
        """The finished points, best first."""
        return self.finished.sort_values([self.objective, "number"], ascending=[not self.maximize, True])

    @cached_property
    def front(self) -> pd.DataFrame:
        """The Pareto front of MACs and validation log loss, by MACs."""
        return pareto_front(self.finished.dropna(subset=["macs", LOSS]))

    @property
    def scores(self) -> list[str]:
        """Validation scores to show: the first objective, if it is one, and log loss."""
        return list(dict.fromkeys(name for name in (self.objective, LOSS) if name in SEARCH_SCORES))

    @cached_property
    def candidates(self) -> int:
        """Number of trials from which the best were chosen, including those stopped early."""
        ended = self.points["state"].isin(["done", "stopped"])
        return self.points.loc[ended, "signature"].nunique()

    @cached_property
    def new_seeds(self) -> pd.DataFrame:
        """One row per trial with the settings and data of a point, but with another seed and not sampled by the search.

        The point's `signature` and the other trial's scores, which had no part in choosing the point.
        """
        keys = self.evidence.cached(_seedless_keys)
        trials = self.evidence.frame[["signature", "seed", *SEARCH_SCORES]].assign(key=keys)
        sampled = trials["signature"].isin(self.points["signature"])
        others = trials[~sampled].drop(columns="signature").dropna()
        pairs = trials.loc[sampled, ["signature", "seed", "key"]].merge(others, on="key", suffixes=("", "_new"))
        return pairs.loc[pairs["seed"] != pairs["seed_new"], ["signature", *SEARCH_SCORES]]

    def new_seeds_text(self, signature: str, score: str) -> str:
        """Mean score of a point's new seeds."""
        values = self.new_seeds.loc[self.new_seeds["signature"] == signature, score]
        return f"{fixed(values.mean(), 3)} ({plural(len(values), 'new seed')})" if len(values) else "not tested"

    def seed_deviation(self, score: str) -> float:
        """Standard deviation between new seeds of the same point, pooled over points; NaN unless a point has two."""
        by_point = self.new_seeds.groupby("signature")[score]
        freedom = len(self.new_seeds) - by_point.ngroups
        deviations = self.new_seeds[score] - by_point.transform("mean")
        return math.sqrt((deviations**2).sum() / freedom) if freedom else NAN

    @cached_property
    def importances(self) -> pd.DataFrame:
        """Importance of the sampled settings for the first objective (`importance.importances`)."""
        numbers = set(self.finished["number"])
        settings = [point["params"] for point in self.search["points"] if point["number"] in numbers]
        return importances(self.search["parameters"], settings, self.finished[self.objective].tolist(), self.maximize)


def search_results(evidence: Evidence) -> list[SearchResult]:
    """The searches of the workspaces that have sampled points."""
    searches = [(record.name, record.search) for record in evidence.studies if record.search]
    return [SearchResult(name, search, evidence) for name, search in searches if search["points"]]


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """The rows for which no other has fewer `macs` and a lower `validation_log_loss`, by MACs."""
    ordered = points.sort_values(["macs", LOSS, "number"])
    best_before = ordered[LOSS].cummin().shift(fill_value=float("inf"))
    return ordered[ordered[LOSS] < best_before]


def _seedless_keys(frame: pd.DataFrame) -> pd.Series:
    return family_keys(frame, ())
