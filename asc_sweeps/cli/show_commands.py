"""Commands that show and check without training anything: plan, status, table, doctor."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from asc_sweeps.cli import options
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from asc_sweeps.config.request import Request


@click.command()
@options.studies
@options.storage
@options.as_json
def plan(request: Request, location: str, storage: str | None, as_json: bool) -> None:
    """List the trials of studies without training them.

    Shows signature, system, size and state of each trial, and what training the rest would cost. Signatures depend on the data:
    a data set that is not prepared yet is generated or prepared first.
    """
    from asc_sweeps.config.request import load_studies
    from asc_sweeps.errors import MissingDataError

    studies = load_studies(request)
    from asc_sweeps.cli.output import plan_lines, plan_values
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.sweep.cost import estimate_cost
    from asc_sweeps.sweep.search_databases import plan_searches
    from asc_sweeps.sweep.studies import plan_studies, resolve_studies
    from asc_sweeps.training.finished import FinishedTrials

    workspace, note = Workspace.at(location), ""
    workspace.pull()
    try:
        studies = resolve_studies(studies, workspace, ProgressLine().clips)
    except MissingDataError as error:
        if any(c.data.dataset != "tau2022" for study in studies for c in (*study.trials, *study.probes)):
            raise
        note = f"{error}\nThese signatures do not include the data yet; they will change once the data set is there."
    planned, searches = plan_studies(studies, FinishedTrials(workspace)), plan_searches(studies, workspace, storage)
    cost = None if note else estimate_cost(planned, workspace, lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(plan_values(planned, cost, searches, note), indent=1))
        return
    click.echo("\n".join(plan_lines(planned, cost, searches)))
    if note:
        click.echo(note, err=True)


@click.command()
@click.argument("names", nargs=-1, metavar="[STUDY...]")
@options.location
@click.option("--watch", is_flag=True, help="Refresh every two seconds until nothing is running.")
@options.as_json
def status(names: tuple[str, ...], location: str, watch: bool, as_json: bool) -> None:
    """Show study status, best trials, ETA and failures.

    Shows the named studies, or all. It only reads the workspace, so it works during a sweep and after it.
    """
    from asc_sweeps.cli.output import status_lines
    from asc_sweeps.cli.progress import clear_screen
    from asc_sweeps.workspace.status import study_statuses

    workspace = options.existing_workspace(location)
    while True:
        studies = study_statuses(workspace, names)
        if as_json:
            click.echo(json.dumps([study.as_json() for study in studies], indent=1))
        else:
            if watch and sys.stdout.isatty():
                clear_screen()
            lines = [line for study in studies for line in status_lines(study)]
            click.echo("\n".join(lines) or "no studies in this workspace yet")
        if not watch or not any("running" in study.counts for study in studies):
            return
        time.sleep(2)
        workspace.pull()


@click.command()
@click.argument("which", type=click.Choice(["effects", "2", "3", "4", "section6", "figure3"]))
@options.location
@options.also
@click.option(
    "--format", "form", type=click.Choice(["markdown", "latex", "csv", "json"]), default="markdown",
    help="Output format; markdown and latex are rounded as in the report, csv and json are not.",
)  # fmt: skip
def table(which: str, location: str, also: tuple[str, ...], form: str) -> None:
    """Print one of the paper's tables with the measured values.

    effects is the effect of each change, 2 the ablation, 3 the durations of test clips, 4 the drop rates, section6 the INT8
    networks, figure3 the points of the figure.
    """
    from analysis.paper.text_tables import print_table

    workspaces = [options.existing_workspace(each) for each in (location, *also)]
    click.echo(print_table(workspaces, which, form), nl=False)


@click.command()
@options.location
@options.as_json
def doctor(location: str, as_json: bool) -> None:
    """Diagnose this machine and the workspace.

    Checks package versions for known vulnerabilities, open endpoints, storage, data and results. Exits with 2 if a check fails.
    """
    from asc_sweeps.cli.doctor import examine

    findings = []
    for finding in examine(Workspace.at(location)):
        findings.append(finding)
        if not as_json:
            click.echo(f"{finding.state:<5} {finding.about:<10} {finding.text}")
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    if any(finding.state == "fail" for finding in findings):
        sys.exit(2)
