"""Commands that look at studies and run nothing: plan, status, table."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asc_sweeps.cli.options import (
    also_option,
    data_option,
    existing_workspace,
    from_option,
    json_option,
    mini_option,
    named_or_from,
    seeds_option,
    set_option,
    storage_option,
    workspace_option,
)
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from asc_sweeps.workspace.status import StudyStatus


@click.command()
@click.argument("spaces", nargs=-1, metavar="SPACE...")
@from_option
@mini_option
@data_option
@set_option
@seeds_option
@workspace_option
@storage_option
@json_option
def plan(
    spaces: tuple[str, ...], report: Path | None, mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None,
    place: str, storage: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Print the trials of studies; train nothing.

    Signature, system, params, MACs, and what is finished already. The data are part of a signature: they are opened, which
    generates or prepares them once where that is still to do.
    """
    from asc_sweeps.config.request import load_studies, read_request
    from asc_sweeps.errors import MissingDataError

    named_or_from(spaces, report)
    studies = load_studies(read_request(spaces, mini, data, sets, seeds, report=report))
    from asc_sweeps.cli.progress import ProgressLine, clock
    from asc_sweeps.sweep.cost import estimate_cost
    from asc_sweeps.sweep.studies import plan_searches, plan_studies, resolve_studies

    workspace, note = Workspace.at(place), ""
    workspace.pull()
    try:
        studies = resolve_studies(studies, workspace, ProgressLine().clips)
    except MissingDataError as error:
        if any(c.data.dataset != "tau2022" for study in studies for c in (*study.trials, *study.probes)):
            raise
        note = f"{error}\nUntil the data are there, the signatures are of the settings alone."
    made, searches = plan_studies(studies, workspace), plan_searches(studies, workspace, storage)
    cost = None if note else estimate_cost(made, workspace, lambda line: click.echo(line, err=True))
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
        "epochs": sum(t.config.epochs for t in made.trials),
        "naive_epochs": made.naive_epochs,
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
    lines = [head]
    for r in rows:
        state = "to train" + ("" if r["studies"] else " (as a start)")
        state = "cached" if r["cached"] else "stopped early" if r["stopped"] else state
        lines.append(
            f"{r['signature']:<13} {r['system']:<28} {r['phase']:<30} {r['seed']:>4} "
            f"{r['params']:>9,} {r['macs']:>12,}  {state}"
        )
    click.echo("\n".join(lines))
    click.echo(
        f"{totals['listed']} trials listed, {totals['trials']} different, {totals['cached']} cached, "
        f"{totals['to_train']} to train ({totals['epochs_to_train']:,} epochs)"
    )
    if totals["naive_epochs"] > totals["epochs"] > 0:
        share = totals["epochs"] / totals["naive_epochs"]
        click.echo(
            f"in all {totals['epochs']:,} epochs: {share:.0%} of the {totals['naive_epochs']:,} of training each listed trial "
            "on its own"
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
@click.argument("names", nargs=-1, metavar="[STUDY...]")
@workspace_option
@click.option("--watch", is_flag=True, help="Print again every two seconds, until nothing runs.")
@json_option
def status(names: tuple[str, ...], place: str, watch: bool, as_json: bool) -> None:
    """Say how studies stand: states, best so far, ETA, failures.

    Reads the workspace's files alone, so it works beside a running sweep and after it.
    """
    from asc_sweeps.cli.progress import clear_screen
    from asc_sweeps.workspace.status import study_statuses

    workspace = existing_workspace(place)
    while True:
        studies = study_statuses(workspace, names)
        if as_json:
            click.echo(json.dumps([study.as_json() for study in studies], indent=1))
        else:
            if watch and sys.stdout.isatty():
                clear_screen()
            _tell_status(studies)
        if not watch or not any("running" in study.counts for study in studies):
            return
        time.sleep(2)
        workspace.pull()


def _tell_status(studies: list[StudyStatus]) -> None:
    from asc_sweeps.cli.progress import clock

    if not studies:
        click.echo("no study was run in this workspace")
    for study in studies:
        counts = ", ".join(f"{number} {state}" for state, number in study.counts.items())
        eta = f"; ETA {clock(study.seconds_left)}" if study.seconds_left is not None else ""
        click.echo(f"{study.name}: {counts or 'no trial yet'}{eta}")
        if study.best:
            best = study.best
            click.echo(
                f"  best so far (unconfirmed)  {best.signature}  {best.system}, {best.phase}: "
                f"validation log loss {best.validation_log_loss:.4f}"
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


@click.command()
@click.argument("which", type=click.Choice(["effects", "2", "3", "4", "section6", "figure3"]))
@workspace_option
@also_option
@click.option(
    "--format",
    "form",
    type=click.Choice(["markdown", "latex", "csv", "json"]),
    default="markdown",
    show_default=True,
    help="As the report shows it (markdown, latex), or every number in full (csv, json).",
)
def table(which: str, place: str, others: tuple[str, ...], form: str) -> None:
    """Print one of the paper's tables, filled.

    effects is what each change does, 2 the ablation, 3 the durations of test clips, 4 the drop rates, section6 the INT8 networks,
    figure3 the points of the curves: the paper's numbers and the measured ones.
    """
    from analysis.paper.text_tables import print_table

    workspaces = [existing_workspace(one) for one in (place, *others)]
    click.echo(print_table(workspaces, which, form), nl=False)


@click.command()
@workspace_option
@json_option
def doctor(place: str, as_json: bool) -> None:
    """Look for what is wrong with this machine and the workspace.

    Versions and their known holes, endpoints that answer anybody, storage, data, results. Exit 2 where something fails.
    """
    from asc_sweeps.cli.doctor import examine

    findings = []
    for found in examine(Workspace.at(place)):
        findings.append(found)
        if not as_json:
            click.echo(f"{found.state:<5} {found.about:<10} {found.text}")
    if as_json:
        click.echo(json.dumps([asdict(found) for found in findings], indent=1))
    if any(found.state == "fail" for found in findings):
        sys.exit(2)
