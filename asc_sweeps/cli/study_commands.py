"""Commands about studies: demo, plan, sweep, report."""

from __future__ import annotations

import json
import shlex
import sys
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
    workspace_option,
)
from asc_sweeps.workspace import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from asc_sweeps.request import Cluster, Request

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
@click.option("--workers", type=click.IntRange(1), help="Trials at once on a Ray of its own.  [default: one a core]")
@click.option("--cpus-per-trial", type=click.IntRange(1), default=1, show_default=True, help="CPU cores of a trial.")
@click.option(
    "--gpus-per-trial", type=click.FloatRange(0), help="GPUs of a trial, a fraction shares.  [default: 1 if any]"
)
def sweep(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path,
    accelerator: str, address: str | None, workers: int | None, cpus_per_trial: int, gpus_per_trial: float | None,
) -> None:  # fmt: skip
    """Run studies on Ray Tune.

    SPACE is a shipped study (table2_ablation, table4_drop_rate, figure3_widths) or a YAML file. The same command again
    continues where the last one ended.
    """
    from asc_sweeps.request import Cluster

    request = _request(spaces, mini, data, sets, seeds)
    cluster = Cluster(address, workers, cpus_per_trial, gpus_per_trial)
    sys.exit(_sweep(request, Workspace(root, accelerator), cluster))


@click.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE...")
@mini_option
@data_option
@set_option
@seeds_option
@workspace_option
@json_option
def plan(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Print the trials of studies; train nothing.

    Signature, system, params, MACs, and what is finished already. The data are part of a signature: they are opened, which
    generates or prepares them once where that is still to do.
    """
    from asc_sweeps.errors import MissingDataError
    from asc_sweeps.request import load_studies

    studies = load_studies(_request(spaces, mini, data, sets, seeds))
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.studies import bind_studies, plan_studies

    workspace, note = Workspace(root), ""
    try:
        studies = bind_studies(studies, workspace, ProgressLine().clips)
    except MissingDataError as error:
        if any(c.data.dataset != "tau2022" for study in studies for c in study.trials):
            raise
        note = f"{error}\nUntil the data are there, the signatures are of the settings alone."
    made = plan_studies(studies, workspace)
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
        click.echo(json.dumps({"trials": rows, "totals": totals, "note": note or None}, indent=1))
        return
    head = f"{'signature':<13} {'system':<28} {'phase':<30} {'seed':>4} {'params':>9} {'MACs':>12}  state"
    click.echo(head)
    for r in rows:
        state = "cached" if r["cached"] else "to train" + ("" if r["studies"] else " (as a start)")
        click.echo(
            f"{r['signature']:<13} {r['system']:<28} {r['phase']:<30} {r['seed']:>4} "
            f"{r['params']:>9,} {r['macs']:>12,}  {state}"
        )
    click.echo(
        f"{totals['listed']} trials listed, {totals['trials']} different, {totals['cached']} cached, "
        f"{totals['to_train']} to train ({totals['epochs_to_train']:,} epochs)"
    )
    if note:
        click.echo(note, err=True)


@click.command()
@workspace_option
@click.option("--out", type=click.Path(path_type=Path), help="The report's file.  [default: WORKSPACE/report.html]")
def report(root: Path, out: Path | None) -> None:
    """Render the results as one HTML file."""
    _report(Workspace(root), out)


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
            words += [option.opts[0], str(one)]
    return tuple(words)


def _sweep(request: Request, workspace: Workspace, cluster: Cluster) -> int:
    """Plan, run and count; the exit code: 0 all done, 1 some failed, 130 interrupted."""
    from asc_sweeps.request import load_studies

    studies = load_studies(request)  # a mistake in a file is told before anything slow is imported
    from asc_sweeps.console import ProgressLine, SweepProgress
    from asc_sweeps.ray_environment import prepare_ray
    from asc_sweeps.studies import bind_studies, note_failures, plan_studies, record_studies

    line = ProgressLine()
    studies = bind_studies(studies, workspace, line.clips)
    plan = plan_studies(studies, workspace)
    record_studies(request, studies, plan, workspace)
    progress = SweepProgress(plan, line)
    if plan.todo:
        line.say(f"starting Ray for {len(plan.todo)} trials ({len(plan.trials) - len(plan.todo)} are finished already)")
        prepare_ray(cluster)
        from asc_sweeps.sweeps import run_sweep

        run_sweep(plan, workspace, cluster, progress.on_row)
        note_failures(plan, progress.failed, workspace)
        line.end()
    records = record_studies(request, studies, plan, workspace)
    planned = plan.listed + sum(not t.studies for t in plan.trials)
    trained, failed = len(progress.trained), len(progress.failed)
    unfinished = len(plan.todo) - trained - failed
    tail = (f", failed {failed}" if failed else "") + (f", unfinished {unfinished}" if unfinished else "")
    click.echo(f"planned {planned}, reused {planned - len(plan.todo)}, trained {trained}{tail}")
    if unfinished:
        again = shlex.join(["asc-sweeps", *sys.argv[1:]])
        click.echo(f"interrupted; finished epochs are kept. To go on:\n  {again}", err=True)
        return 130
    for record in records:
        click.echo(f"{record.name}: {record.state}")
    return 1 if failed else 0


def _report(workspace: Workspace, out: Path | None) -> None:
    from analysis.report import write_report

    path = write_report(workspace, out or workspace.root / "report.html")
    click.echo(f"report: {path}")
