"""One sweep from request to exit code: plan the studies, train what is left on Ray, record and print how they ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from asc_sweeps.cli.output import search_lines, sweep_lines
from asc_sweeps.cli.progress import ProgressLine, SweepProgress
from asc_sweeps.config.request import Cluster, Request, Study, load_studies
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # imported once the studies' files are known to be valid
    from asc_sweeps.sweep.halving import Halving
    from asc_sweeps.sweep.plan import Plan
    from asc_sweeps.sweep.searches.search_study import SearchStudy
    from asc_sweeps.sweep.trial_events import SweepEvent
    from asc_sweeps.training.finished import FinishedTrials

COMPLETE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes."""


def run_studies(
    request: Request, workspace: Workspace, cluster: Cluster, in_full: bool = False, storage: str | None = None
) -> int:
    """Run the studies of a request; returns the exit code."""
    studies = load_studies(request)
    from asc_sweeps.sweep.search_databases import open_searches
    from asc_sweeps.sweep.studies import halving_by_study, plan_studies, record_studies, resolve_studies
    from asc_sweeps.training.finished import FinishedTrials

    line = ProgressLine()
    workspace.pull()
    studies = resolve_studies(studies, workspace, line.clips)
    finished = FinishedTrials(workspace)
    plan = plan_studies(studies, finished, in_full)
    with open_searches(studies, workspace, storage) as searches:
        earlier = [t for search in searches for t in search.planned_trials(finished)]
        record_studies(request, studies, [*plan.trials, *earlier], finished, searches=searches)
        progress = SweepProgress(plan, line, sum(search.remaining for search in searches))
        if plan.todo or progress.to_sample:
            halvings = {} if in_full else halving_by_study(studies, plan)
            _train(studies, plan, searches, halvings, finished, cluster, progress, line)
        sampled = {t.config.signature: t for search in searches for t in search.planned_trials(finished)}
        left = {search.study: search.remaining for search in searches if not search.early_end}
        trials = [*plan.trials, *sampled.values()]
        records = record_studies(request, studies, trials, finished, progress.stopped, progress.failed, left, searches)
        for text in sweep_lines(plan, progress, [t.finished for t in earlier]):
            click.echo(text)
        for search in searches:
            click.echo("\n".join(search_lines(search)))
            if search.early_end:
                click.echo(f"{search.name}: {search.early_end}", err=True)
        if progress.unfinished or any(left.values()):
            command = shlex.join(["asc-sweeps", *sys.argv[1:]])
            click.echo(f"interrupted; finished epochs are saved. To resume:\n  {command}", err=True)
            return INTERRUPTED
        for record in records:
            click.echo(f"{record.name}: {record.state}")
        return FAILED if progress.failed else COMPLETE


def _train(
    studies: Sequence[Study], plan: Plan, searches: Sequence[SearchStudy], halvings: Mapping[str, Halving],
    finished: FinishedTrials, cluster: Cluster, progress: SweepProgress, line: ProgressLine,
) -> None:  # fmt: skip
    """Train on Ray what a plan and its searches have left."""
    from asc_sweeps.sweep.ray_environment import prepare_ray
    from asc_sweeps.sweep.studies import record_failures
    from asc_sweeps.sweep.trackers import Trackers

    samples = f", up to {progress.to_sample} more to be sampled by searches" if progress.to_sample else ""
    line.say(
        f"starting Ray: {len(plan.todo)} trials to train, {sum(t.finished for t in plan.trials)} already finished{samples}"
    )
    trackers = Trackers(studies, finished, line.say)
    prepare_ray(cluster)
    from asc_sweeps.sweep.on_ray.run_sweep import run_sweep

    def on_event(event: SweepEvent) -> None:
        progress.on_event(event)
        if event.signature in progress.trials:
            trackers.on_event(progress.trials[event.signature], event)

    try:
        run_sweep(plan, finished, cluster, on_event, progress.on_planned, searches, halvings)
    finally:
        trackers.close()
    line.end()
    finished.workspace.pull()
    for unwritten in record_failures(progress.trials.values(), progress.failed, finished):
        line.say(unwritten)
