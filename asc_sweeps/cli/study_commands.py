"""Commands about studies: demo, plan, sweep, report."""

from __future__ import annotations

import json
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from asc_sweeps.cli.options import (
    accelerator_option,
    data_option,
    json_option,
    mini_option,
    seeds_option,
    set_option,
    storage_option,
    workspace_option,
)
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from asc_sweeps.console import ProgressLine, SweepProgress
    from asc_sweeps.plan import Plan
    from asc_sweeps.request import Cluster, Request, Study
    from asc_sweeps.search import SearchStudy
    from asc_sweeps.status import StudyStatus

MINI_STUDIES = ("table2_ablation", "table4_drop_rate", "figure3_widths")


@click.command()
@workspace_option
@click.option("--out", type=click.Path(path_type=Path), help="The report's file.  [default: WORKSPACE/report.html]")
@click.option("--workers", type=click.IntRange(1), help="Trials at once.  [default: one a core]")
def demo(root: Path, out: Path | None, workers: int | None) -> None:
    """Run everything once, small, on generated data.

    The three studies at their small size, then the report.
    """
    from asc_sweeps.request import Cluster, Request

    workspace = Workspace(root)
    code = _sweep(Request(MINI_STUDIES, mini=True, options=_options()), workspace, Cluster(workers=workers))
    if code != 130:
        _report(workspace, out)
    sys.exit(code)


@click.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE...")
@mini_option
@data_option
@set_option
@seeds_option
@workspace_option
@accelerator_option
@click.option("--address", metavar="HOST:PORT", help="A Ray cluster; without it a Ray of its own runs here.")
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
@storage_option
@click.option("--in-full", is_flag=True, help="Stop nothing early; what was stopped goes on.")
@click.option(
    "--gpus-per-trial", type=click.FloatRange(0), help="GPUs of a trial, a fraction shares.  [default: 1 if any]"
)
def sweep(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path,
    accelerator: str, address: str | None, wait: float, workers: int | None, cpus_per_trial: int, gpus_per_trial: float | None,
    storage: str | None, in_full: bool, allow_open_cluster: bool,
) -> None:  # fmt: skip
    """Run studies on Ray Tune.

    SPACE is a shipped study (table2_ablation, table4_drop_rate, figure3_widths) or a YAML file. The same command again
    continues where the last one ended.
    """
    from asc_sweeps.request import Cluster

    request = _request(spaces, mini, data, sets, seeds)
    cluster = Cluster(address, workers, cpus_per_trial, gpus_per_trial, wait, allow_open_cluster)
    sys.exit(_sweep(request, Workspace(root, accelerator), cluster, in_full, storage))


@click.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE...")
@mini_option
@data_option
@set_option
@seeds_option
@workspace_option
@storage_option
@json_option
def plan(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path,
    storage: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Print the trials of studies; train nothing.

    Signature, system, params, MACs, and what is finished already. The data are part of a signature: they are opened, which
    generates or prepares them once where that is still to do.
    """
    from asc_sweeps.errors import MissingDataError
    from asc_sweeps.request import load_studies

    studies = load_studies(_request(spaces, mini, data, sets, seeds))
    from asc_sweeps.console import ProgressLine, clock
    from asc_sweeps.cost import cost_of
    from asc_sweeps.studies import bind_studies, plan_searches, plan_studies

    workspace, note = Workspace(root), ""
    try:
        studies = bind_studies(studies, workspace, ProgressLine().clips)
    except MissingDataError as error:
        if any(c.data.dataset != "tau2022" for study in studies for c in study.trials):
            raise
        note = f"{error}\nUntil the data are there, the signatures are of the settings alone."
    made, searches = plan_studies(studies, workspace), plan_searches(studies, workspace, storage)
    cost = None if note else cost_of(made, workspace, lambda line: click.echo(line, err=True))
    rows = [
        {
            "signature": t.config.signature,
            "system": t.config.system,
            "phase": t.config.phase,
            "seed": t.config.seed,
            "params": t.complexity.params,
            "macs": t.complexity.macs,
            "model_bytes": t.complexity.model_bytes,
            "epochs": t.config.epochs,
            "cached": t.finished,
            "stopped": t.stopped,
            "start": start.signature if (start := t.config.start()) else None,
            "studies": list(t.studies),
        }
        for t in made.trials
    ]
    totals = {
        "listed": made.listed,
        "trials": len(rows),
        "cached": sum(r["cached"] for r in rows),
        "to_train": len(made.todo),
        "epochs_to_train": sum(t.config.epochs for t in made.todo),
    }
    if as_json:
        settings = {t.config.signature: t.config.model_dump(mode="json") for t in made.trials}
        rows = [{**row, "settings": settings[row["signature"]]} for row in rows]
        whole = {
            "trials": rows,
            "totals": totals,
            "cost": cost and asdict(cost),
            "searches": searches,
            "note": note or None,
        }
        click.echo(json.dumps(whole, indent=1))
        return
    head = f"{'signature':<13} {'system':<28} {'phase':<30} {'seed':>4} {'params':>9} {'MACs':>12}  state"
    click.echo(head)
    for r in rows:
        state = "to train" + ("" if r["studies"] else " (as a start)")
        state = "cached" if r["cached"] else "stopped early" if r["stopped"] else state
        click.echo(
            f"{r['signature']:<13} {r['system']:<28} {r['phase']:<30} {r['seed']:>4} "
            f"{r['params']:>9,} {r['macs']:>12,}  {state}"
        )
    click.echo(
        f"{totals['listed']} trials listed, {totals['trials']} different, {totals['cached']} cached, "
        f"{totals['to_train']} to train ({totals['epochs_to_train']:,} epochs)"
    )
    if cost:
        size = cost.bytes_on_disk / 1e6
        click.echo(
            f"{cost.segments:,} segments, {cost.macs:.2g} MACs, {size:,.0f} MB on disk; about {clock(3600 * cost.hours)} on this "
            f"machine (by the pace of {cost.measured_on})"
        )
    for search in searches:
        click.echo(
            f"{search['study']}: search ({search['sampler']}) for {', '.join(search['objectives'])}; "
            f"{search['trials']} trials, {search['drawn']} drawn so far"
        )
    if note:
        click.echo(note, err=True)


@click.command()
@workspace_option
@click.option("--out", type=click.Path(path_type=Path), help="The report's file.  [default: WORKSPACE/report.html]")
def report(root: Path, out: Path | None) -> None:
    """Render the results as one HTML file."""
    _report(_existing(root), out)


@click.command()
@click.argument("names", nargs=-1, metavar="[STUDY...]")
@workspace_option
@click.option("--watch", is_flag=True, help="Print again every two seconds, until nothing runs.")
@json_option
def status(names: tuple[str, ...], root: Path, watch: bool, as_json: bool) -> None:
    """Say how studies stand: states, best so far, ETA, failures.

    Reads the workspace's files alone, so it works beside a running sweep and after it.
    """
    from asc_sweeps.status import study_statuses

    workspace = _existing(root)
    while True:
        studies = study_statuses(workspace, names)
        if as_json:
            click.echo(json.dumps([study.as_json() for study in studies], indent=1))
        else:
            if watch and sys.stdout.isatty():
                click.clear()
            _tell_status(studies)
        if not watch or not any("running" in study.counts for study in studies):
            return
        time.sleep(2)


def _tell_status(studies: list[StudyStatus]) -> None:
    from asc_sweeps.console import clock

    if not studies:
        click.echo("no study was run in this workspace")
    for study in studies:
        counts = ", ".join(f"{number} {state}" for state, number in study.counts.items())
        eta = f"; ETA {clock(study.seconds_left)}" if study.seconds_left is not None else ""
        click.echo(f"{study.name}: {counts or 'no trial yet'}{eta}")
        if study.best:
            best = study.best
            click.echo(
                f"  best     {best.signature}  {best.system}, {best.phase}: validation log loss {best.validation_log_loss:.4f}"
            )
        for t in study.trials:
            if t.state in ("running", "begun", "stopped", "failed"):
                reached = f": epoch {t.epochs_done} of {t.epochs_total}" if t.epochs_done else ""
                reached += (
                    f", validation log loss {t.validation_log_loss:.4f}" if t.validation_log_loss is not None else ""
                )
                click.echo(f"  {t.state:<8} {t.signature}  {t.system}, {t.phase}, seed {t.seed}{reached}")
                if t.message:
                    click.echo(f"           {t.message}")


def _existing(root: Path) -> Workspace:
    workspace = Workspace(root)
    if not workspace.root.is_dir():
        raise WorkspaceError(
            f"{root}: there is no such workspace; `asc-sweeps demo` or a sweep makes one, --workspace names it"
        )
    return workspace


def _request(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None
) -> Request:
    from asc_sweeps.request import Request, overrides_of, parse_seeds

    return Request(spaces, mini, overrides_of(sets, data), parse_seeds(seeds) if seeds else None, _options())


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
    from asc_sweeps.request import load_studies

    studies = load_studies(request)  # a mistake in a file is told before anything slow is imported
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.studies import bind_studies, open_searches, plan_studies

    line = ProgressLine()
    studies = bind_studies(studies, workspace, line.clips)
    plan = plan_studies(studies, workspace, in_full)
    with open_searches(studies, workspace, storage) as searches:
        return _run(request, studies, plan, searches, workspace, cluster, in_full, line)


def _run(
    request: Request, studies: list[Study], plan: Plan, searches: list[SearchStudy], workspace: Workspace, cluster: Cluster,
    in_full: bool, line: ProgressLine,
) -> int:  # fmt: skip
    from asc_sweeps.console import SweepProgress
    from asc_sweeps.ray_environment import prepare_ray
    from asc_sweeps.studies import halvings_of, note_failures, record_studies

    to_draw = sum(search.left for search in searches)
    drawn_before = [t.finished for search in searches for t in search.planned(workspace)]
    record_studies(request, studies, plan.trials, workspace)
    progress = SweepProgress(plan, line, to_draw)
    if plan.todo or to_draw:
        done = sum(t.finished for t in plan.trials)
        draws = f", and {to_draw} that searches draw" if to_draw else ""
        line.say(f"starting Ray for {len(plan.todo)} trials ({done} are finished already){draws}")
        prepare_ray(cluster)
        from asc_sweeps.sweeps import run_sweep

        halvings = {} if in_full else halvings_of(studies, plan, workspace)
        run_sweep(plan, workspace, cluster, progress.on_row, progress.on_planned, searches, halvings)
        line.end()
        for unwritten in note_failures(progress.asked.values(), progress.failed, workspace):
            line.say(unwritten)
    drawn = {t.config.signature: t for search in searches for t in search.planned(workspace)}
    trials = [*plan.trials, *drawn.values()]
    left = {search.study: search.left for search in searches if not search.note}
    records = record_studies(request, studies, trials, workspace, progress.stopped, progress.failed, left)
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
    click.echo(f"{search.name}: {search.drawn} of {search.search.trials} trials drawn, {search.refused} points refused")
    if search.note:
        click.echo(f"{search.name}: {search.note}", err=True)
    for signature, values, drawn in search.best()[:10]:
        exact = ("params", "macs", "model_bytes")
        pairs = zip(search.search.objectives, values, strict=True)
        ends = ", ".join(f"{name} {value:,.0f}" if name in exact else f"{name} {value:.4f}" for name, value in pairs)
        settings = ", ".join(f"{n}={v:.4g}" if isinstance(v, float) else f"{n}={v}" for n, v in drawn.items())
        click.echo(f"  best {signature}: {ends}; {settings}")


def _report(workspace: Workspace, out: Path | None) -> None:
    from analysis.report import write_report

    out = out or workspace.root / "report.html"
    if out.is_dir():
        raise WorkspaceError(f"--out {out}: is a folder; name a file, e.g. {out / 'report.html'}")
    path = write_report(workspace, out)
    click.echo(f"report: {path}")
