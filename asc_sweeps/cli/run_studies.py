"""One sweep from request to exit code: plan the studies, train what is left on Ray, record and print how they ended."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from asc_sweeps.cli.output import search_lines, sweep_lines
from asc_sweeps.cli.progress import ProgressLine, SweepProgress
from asc_sweeps.config.request import Cluster, Request, Study, load_studies
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # imported once the studies' files are known to be valid
    from asc_sweeps.sweep.halving import Halving
    from asc_sweeps.sweep.plan import Plan
    from asc_sweeps.sweep.searches.search_study import SearchStudy

COMPLETE, FAILED, INTERRUPTED = 0, 1, 130
"""Exit codes."""


def run_studies(
    request: Request, workspace: Workspace, cluster: Cluster, in_full: bool = False, storage: str | None = None
) -> int:
    """Run the studies of a request; returns the exit code."""
    studies = load_studies(request)
    from asc_sweeps.sweep.studies import halving_by_study, open_searches, plan_studies, record_studies, resolve_studies

    line = ProgressLine()
    workspace.pull()
    studies = resolve_studies(studies, workspace, line.clips)
    plan = plan_studies(studies, workspace, in_full)
    with open_searches(studies, workspace, storage) as searches:
        earlier = [t for search in searches for t in search.planned_trials(workspace)]
        record_studies(request, studies, [*plan.trials, *earlier], workspace, searches=searches)
        progress = SweepProgress(plan, line, sum(search.remaining for search in searches))
        if plan.todo or progress.to_sample:
            halvings = {} if in_full else halving_by_study(studies, plan, workspace)
            _train(studies, plan, searches, halvings, workspace, cluster, progress, line)
        sampled = {t.config.signature: t for search in searches for t in search.planned_trials(workspace)}
        left = {search.study: search.remaining for search in searches if not search.early_end}
        trials = [*plan.trials, *sampled.values()]
        records = record_studies(request, studies, trials, workspace, progress.stopped, progress.failed, left, searches)
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
    workspace: Workspace, cluster: Cluster, progress: SweepProgress, line: ProgressLine,
) -> None:  # fmt: skip
    """Train on Ray what a plan and its searches have left."""
    from asc_sweeps.sweep.ray_environment import prepare_ray
    from asc_sweeps.sweep.studies import record_failures
    from asc_sweeps.sweep.trackers import Trackers

    finished = sum(t.finished for t in plan.trials)
    samples = f", up to {progress.to_sample} more to be sampled by searches" if progress.to_sample else ""
    line.say(f"starting Ray: {len(plan.todo)} trials to train, {finished} already finished{samples}")
    trackers = Trackers(studies, workspace, line.say)
    prepare_ray(cluster)
    from asc_sweeps.sweep.on_ray.run_sweep import run_sweep

    def on_row(signature: str, row: dict[str, Any]) -> None:
        progress.on_row(signature, row)
        if signature in progress.trials:
            trackers.on_row(progress.trials[signature], row)

    try:
        run_sweep(plan, workspace, cluster, on_row, progress.on_planned, searches, halvings)
    finally:
        trackers.close()
    line.end()
    workspace.pull()
    for unwritten in record_failures(progress.trials.values(), progress.failed, workspace):
        line.say(unwritten)
