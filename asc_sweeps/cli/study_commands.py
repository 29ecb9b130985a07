"""Commands that run studies and show what came out: demo, sweep, report."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from asc_sweeps.cli.options import (
    accelerator_option,
    also_option,
    data_option,
    existing_workspace,
    from_option,
    mini_option,
    named_or_from,
    seeds_option,
    set_option,
    storage_option,
    workspace_option,
)
from asc_sweeps.config.gc_pause import gc_paused
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from analysis.page.images import Form
    from asc_sweeps.cli.progress import ProgressLine, SweepProgress
    from asc_sweeps.config.request import Cluster, Request, Study
    from asc_sweeps.sweep.plan import Plan
    from asc_sweeps.sweep.searches.search_study import SearchStudy

IN_A_JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""What Ray sets for a command that was submitted to a cluster as a job."""
MINI_STUDIES = ("table2_ablation", "table3_durations", "table4_drop_rate", "section6_extras", "figure3_widths")


@click.command()
@workspace_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The report's file.  [default: WORKSPACE/report.html, or ./report.html]",
)
@click.option("--workers", type=click.IntRange(1), help="Trials at once.  [default: one a core]")
def demo(place: str, out: Path | None, workers: int | None) -> None:
    """Run everything once, small, on generated data.

    The paper's five studies at their small size, then the report.
    """
    from asc_sweeps.config.request import Cluster, Request

    workspace = Workspace.at(place)
    code = _sweep(Request(MINI_STUDIES, mini=True, options=_options()), workspace, Cluster(workers=workers))
    if code != 130:
        _report([workspace], out)
        _tell_precision(workspace)
    sys.exit(code)


@click.command()
@click.argument("spaces", nargs=-1, metavar="SPACE...")
@from_option
@mini_option
@data_option
@set_option
@seeds_option
@workspace_option
@accelerator_option
@click.option(
    "--address",
    metavar="HOST:PORT|auto",
    help="A Ray cluster; auto is that of this node. Without it a Ray of its own runs here, or in a Ray job that of the job.",
)
@click.option(
    "--wait",
    type=click.FloatRange(0),
    default=0,
    metavar="MINUTES",
    help="For nodes that a cluster has still to start.",
)
@click.option("--allow-open-cluster", is_flag=True, help="Join a cluster that asks for no token.")
@click.option("--workers", type=click.IntRange(1), help="Trials at once on a Ray of its own.  [default: one a core]")
@click.option("--cpus-per-trial", type=click.IntRange(1), default=1, show_default=True, help="CPU cores of a trial.")
@click.option(
    "--step-minutes",
    type=click.FloatRange(0, min_open=True),
    default=30,
    show_default=True,
    help="A trial that makes no step for so long hangs: it is ended.",
)
@storage_option
@click.option("--in-full", is_flag=True, help="Stop nothing early; what was stopped goes on.")
@click.option(
    "--gpus-per-trial", type=click.FloatRange(0), help="GPUs of a trial, a fraction shares.  [default: 1 if any]"
)
def sweep(
    spaces: tuple[str, ...], report: Path | None, mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None,
    place: str, accelerator: str, address: str | None, wait: float, workers: int | None, cpus_per_trial: int,
    step_minutes: float, gpus_per_trial: float | None, storage: str | None, in_full: bool, allow_open_cluster: bool,
) -> None:  # fmt: skip
    """Run studies on Ray Tune.

    SPACE is a shipped study (table2_ablation, table3_durations, table4_drop_rate, ...) or a YAML file. The same command again
    continues where the last one ended.
    """
    from asc_sweeps.config.request import Cluster, read_request

    named_or_from(spaces, report)
    request = read_request(spaces, mini, data, sets, seeds, _options(), report)
    address = address or ("auto" if IN_A_JOB in os.environ else None)
    cluster = Cluster(address, workers, cpus_per_trial, gpus_per_trial, wait, allow_open_cluster)
    workspace = Workspace.at(place, accelerator=accelerator, step_seconds=60 * step_minutes)
    sys.exit(_sweep(request, workspace, cluster, in_full, storage))


@click.command()
@workspace_option
@also_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="The report's file.  [default: WORKSPACE/report.html, or ./report.html]",
)
@click.option(
    "--static",
    type=click.Choice(["png", "svg", "pdf"]),
    help="Write each figure as a file, too; needs a Chrome or Chromium.",
)
def report(place: str, others: tuple[str, ...], out: Path | None, static: Form | None) -> None:
    """Render the results as one HTML file."""
    _report([existing_workspace(one) for one in (place, *others)], out, static)


def _options() -> tuple[str, ...]:
    """The options that were given and that `sweep` takes, as words of a command; --mini is the request's own."""
    context, words = click.get_current_context(), list[str]()
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    for option in (p for p in sweep.params if isinstance(p, click.Option) and p.name != "mini"):
        if context.get_parameter_source(option.name) not in given:
            continue
        value = context.params[option.name]
        for one in value if option.multiple else [value]:
            words += [option.opts[0], *([] if option.is_flag else [str(one)])]
    return tuple(words)


def _sweep(
    request: Request, workspace: Workspace, cluster: Cluster, in_full: bool = False, storage: str | None = None
) -> int:
    """Plan, run and count; the exit code: 0 all done, 1 some failed, 130 interrupted."""
    from asc_sweeps.config.request import load_studies

    studies = load_studies(request)  # a mistake in a file is told before anything slow is imported
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.sweep.studies import open_searches, plan_studies, resolve_studies

    line = ProgressLine()
    workspace.pull()
    studies = resolve_studies(studies, workspace, line.clips)
    plan = plan_studies(studies, workspace, in_full)
    with open_searches(studies, workspace, storage) as searches:
        return _run(request, studies, plan, searches, workspace, cluster, in_full, line)


def _run(
    request: Request, studies: list[Study], plan: Plan, searches: list[SearchStudy], workspace: Workspace, cluster: Cluster,
    in_full: bool, line: ProgressLine,
) -> int:  # fmt: skip
    from asc_sweeps.cli.progress import SweepProgress
    from asc_sweeps.sweep.ray_environment import prepare_ray
    from asc_sweeps.sweep.studies import halving_by_study, record_failures, record_studies
    from asc_sweeps.sweep.trackers import Trackers

    to_draw = sum(search.remaining for search in searches)
    before = [t for search in searches for t in search.planned_trials(workspace)]
    drawn_before = [t.finished for t in before]
    record_studies(request, studies, [*plan.trials, *before], workspace, searches=searches)
    progress = SweepProgress(plan, line, to_draw)
    if plan.todo or to_draw:
        done = sum(t.finished for t in plan.trials)
        draws = f", and {to_draw} that searches draw" if to_draw else ""
        line.say(f"starting Ray for {len(plan.todo)} trials ({done} are finished already){draws}")
        trackers = Trackers(studies, workspace, line.say)
        prepare_ray(cluster)
        from asc_sweeps.sweep.on_ray.run_sweep import run_sweep

        halvings = {} if in_full else halving_by_study(studies, plan, workspace)

        def on_row(signature: str, row: dict[str, Any]) -> None:
            progress.on_row(signature, row)
            if signature in progress.asked:
                trackers.on_row(progress.asked[signature], row)

        try:
            run_sweep(plan, workspace, cluster, on_row, progress.on_planned, searches, halvings)
        finally:
            trackers.close()
        line.end()
        workspace.pull()
        for unwritten in record_failures(progress.asked.values(), progress.failed, workspace):
            line.say(unwritten)
    drawn = {t.config.signature: t for search in searches for t in search.planned_trials(workspace)}
    trials = [*plan.trials, *drawn.values()]
    left = {search.study: search.remaining for search in searches if not search.early_end}
    records = record_studies(request, studies, trials, workspace, progress.stopped, progress.failed, left, searches)
    _count(plan, progress, drawn_before)
    for search in searches:
        _tell_search(search)
    if progress.unfinished or any(left.values()):
        again = shlex.join(["asc-sweeps", *sys.argv[1:]])
        click.echo(f"interrupted; finished epochs are kept. To go on:\n  {again}", err=True)
        return 130
    for record in records:
        click.echo(f"{record.name}: {record.state}")
    return 1 if progress.failed else 0


def _count(plan: Plan, progress: SweepProgress, drawn_before: list[bool]) -> None:
    """The line that says what was trained, and what was not trained again.

    `drawn_before`: for each trial that searches drew in earlier runs, whether it is finished.
    """
    todo = {t.config.signature for t in plan.todo}
    planned = plan.listed + len(drawn_before) + sum(not t.studies for t in plan.trials)
    not_again = drawn_before.count(False) + sum(t.stopped for t in plan.trials)
    reused = planned - not_again - len(todo) + progress.reused + len(progress.taken_over)
    planned += len(progress.asked.keys() - todo) + progress.reused
    stopped = progress.stopped.values()
    ends = {"failed": len(progress.failed), "stopped early": len(stopped), "unfinished": len(progress.unfinished)}
    ends["failed or stopped before"] = not_again
    tail = "".join(f", {name} {number}" for name, number in ends.items() if number)
    click.echo(f"planned {planned}, reused {reused}, trained {len(progress.trained)}{tail}")
    if stopped:
        run, whole = (sum(numbers) for numbers in zip(*stopped, strict=True))
        click.echo(
            f"stopping early saved {whole - run} of the {whole} epochs of those trials; --in-full runs them to the end"
        )


def _tell_search(search: SearchStudy) -> None:
    """What a search has found so far."""
    from asc_sweeps.config.search_space import SIZES

    click.echo(
        f"{search.name}: {search.sampled} of {search.search.trials} trials drawn, {search.rejected} points refused"
    )
    if search.early_end:
        click.echo(f"{search.name}: {search.early_end}", err=True)
    best = search.best()[:10]
    for signature, values, drawn in best:
        pairs = zip(search.search.objectives, values, strict=True)
        ends = ", ".join(f"{name} {value:,.0f}" if name in SIZES else f"{name} {value:.4f}" for name, value in pairs)
        settings = ", ".join(f"{n}={v:.4g}" if isinstance(v, float) else f"{n}={v}" for n, v in drawn.items())
        click.echo(f"  best {signature}: {ends}; {settings}")
    if best:
        click.echo(
            f"  chosen from {search.sampled} trials by one seed each, so optimistic: confirm with other seeds "
            "(the same settings in a grid with seeds: [1, 2, 3])"
        )


def _tell_precision(workspace: Workspace) -> None:
    """What the numbers in the report can tell, so that nobody sees a winner in noise."""
    from analysis.evidence.loading import load_evidence
    from analysis.paper.precision import precision

    for line in precision(load_evidence(workspace)):
        click.echo(line)


def _report(workspaces: Sequence[Workspace], out: Path | None, static: Form | None = None) -> None:
    workspace = workspaces[0]
    out = out or (Path("report.html") if workspace.url else workspace.root / "report.html")
    if out.is_dir():
        raise WorkspaceError(f"--out {out}: is a folder; name a file, e.g. {out / 'report.html'}")
    try:
        with gc_paused():
            from analysis.report import images_of, write_report

            write_report(workspaces, out, static)
            gc.freeze()  # nor is it looked for at the end of the process
    finally:
        if out.exists():  # images may have failed after it
            click.echo(f"report: {out}")
    if static:
        click.echo(f"images: {images_of(out)}")
