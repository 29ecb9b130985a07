"""The command that says how many seeds an effect needs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from asc_sweeps.cli.options import also_option, json_option, workspace_option
from asc_sweeps.errors import WorkspaceError, did_you_mean
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from analysis.evidence.loading import Evidence
    from analysis.studies.power import Question


@click.command()
@click.argument("names", nargs=-1, metavar="[EFFECT]...")
@workspace_option
@also_option
@click.option("--effect", type=float, help="The size of an effect of your own; accuracies 0..1, 0.015 is 1.5 points.")
@click.option(
    "--measure",
    type=click.Choice(["log_loss", "accuracy", "accuracy_devices", "accuracy_unseen"]),
    help="Restrict to one measure; with --effect, log_loss by default.",
)
@click.option("--published", is_flag=True, help="Use published standard deviations, whatever the workspace holds.")
@click.option("--places", type=click.IntRange(2), help="Places of the test split.  [default: those of the workspace]")
@click.option(
    "--power",
    "wanted",
    type=click.FloatRange(0.05, 0.999),
    default=0.8,
    show_default=True,
    help="Chance to find the effect.",
)
@click.option(
    "--level",
    type=click.FloatRange(1e-6, 0.5),
    default=0.05,
    show_default=True,
    help="Significance level of the two-sided test.",
)
@click.option(
    "--tests", type=click.IntRange(1), default=1, show_default=True, help="Divide the level by so many tests."
)
@json_option
def power(
    names: tuple[str, ...], place: str, others: tuple[str, ...], effect: float | None, measure: str | None, published: bool,
    places: int | None, wanted: float, level: float, tests: int, as_json: bool,
) -> None:  # fmt: skip
    """Say how many seeds each effect of the paper needs.

    EFFECT names some of them (e.g. drop-0.9, res2net, mfa); without one, all. The seed-to-seed standard deviation is that of the
    workspace's trials where the rows of a table share enough seeds, else a published one. r is the correlation over seeds of systems
    that share a start; unpaired systems share none.
    """
    from analysis.studies.power import lines, measured_spreads, power_table

    questions = _questions(names, effect, measure)
    spreads = {} if published else measured_spreads(_evidence(place, others))
    table = power_table(questions, spreads, level / tests, wanted, places)
    if places and table["places"].isna().all():
        raise click.UsageError(
            "--places needs a workspace whose trials have stored test predictions of several shared seeds; leave it out"
        )
    if as_json:
        click.echo(table.to_json(orient="records", indent=1))
        return
    for line in lines(table):
        click.echo(line)
    click.echo(
        f"\nseeds of each system for {wanted:.0%} power, two-sided test at {level / tests:.2g}; “+ places”: for other places, too; "
        "—: no number suffices, or unknown"
    )


def _questions(names: tuple[str, ...], effect: float | None, measure: str | None) -> list[Question]:
    from analysis.studies.power import Question, questions_of_the_paper

    if effect is not None:
        if names:
            raise click.UsageError("name effects of the paper or give --effect, not both")
        if effect == 0 or not math.isfinite(effect):
            raise click.BadParameter(f"must be a number other than 0, got {effect:g}", param_hint="--effect")
        return [Question("--effect", "", measure or "log_loss", effect)]
    questions = questions_of_the_paper()
    known = list(dict.fromkeys(question.name for question in questions))
    for name in names:
        if name not in known:
            near = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise click.UsageError(f"unknown effect '{name}'{near}")
    questions = [q for q in questions if (not names or q.name in names) and measure in (None, q.measure)]
    if not questions:
        raise click.UsageError(f"the paper prints no {measure} of {', '.join(names)}; leave out --measure")
    return questions


def _evidence(place: str, others: tuple[str, ...]) -> Evidence:
    from analysis.evidence.loading import load_evidence

    workspaces = []
    for one in (place, *others):
        workspace = Workspace.at(one)
        workspace.pull()
        if not workspace.root.is_dir() and one != "workspace":
            raise WorkspaceError(f"{one}: there is no such workspace; leave out --workspace for published spreads")
        workspaces.append(workspace)
    return load_evidence(*workspaces)
