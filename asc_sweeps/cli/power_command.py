"""The command that says how many seeds an effect needs."""

from __future__ import annotations

import click

from asc_sweeps.cli.options import also_option, json_option, workspace_option
from asc_sweeps.errors import WorkspaceError, did_you_mean
from asc_sweeps.workspace import Workspace


@click.command()
@click.argument("names", nargs=-1, metavar="[EFFECT]...")
@workspace_option
@also_option
@click.option("--effect", type=float, help="The size of an effect of your own; accuracies 0..1, 0.015 is 1.5 points.")
@click.option(
    "--measure",
    type=click.Choice(["log_loss", "accuracy", "accuracy_devices", "accuracy_unseen"]),
    help="Restrict to one measure; of --effect, log_loss by default.",
)
@click.option("--published", is_flag=True, help="Use published spreads, whatever the workspace holds.")
@click.option("--places", type=click.IntRange(2), help="Places of the test split.  [default: those of the workspace]")
@click.option(
    "--power", type=click.FloatRange(0.05, 0.999), default=0.8, show_default=True, help="Chance to find the effect."
)
@click.option(
    "--level", type=click.FloatRange(1e-6, 0.5), default=0.05, show_default=True, help="Of the two-sided test."
)
@click.option(
    "--tests", type=click.IntRange(1), default=1, show_default=True, help="Divide the level by so many tests."
)
@json_option
def power(
    names: tuple[str, ...], place: str, others: tuple[str, ...], effect: float | None, measure: str | None, published: bool,
    places: int | None, power: float, level: float, tests: int, as_json: bool,
) -> None:  # fmt: skip
    """Say how many seeds each effect of the paper needs.

    EFFECT names some of them (e.g. drop-0.9, res2net, mfa); without one, all. Seeds' spread is that of the workspace's trials where
    two rows of a table share two seeds, else a published one. `r` is the correlation over seeds of systems that share a start;
    `unpaired` systems share none.
    """
    from analysis.power import Question, lines, measured_spreads, power_table, questions_of_the_paper

    if effect is not None and names:
        raise click.UsageError("name effects of the paper or give --effect, not both")
    if effect is not None:
        if effect == 0:
            raise click.BadParameter("must not be 0: no number of seeds finds nothing", param_hint="--effect")
        questions = [Question("--effect", "", measure or "log_loss", effect)]
    else:
        questions = questions_of_the_paper()
        known = list(dict.fromkeys(question.name for question in questions))
        for name in names:
            if name not in known:
                raise click.UsageError(
                    f"unknown effect '{name}'{did_you_mean(name, known) or '; known: ' + ', '.join(known)}"
                )
        questions = [q for q in questions if (not names or q.name in names) and measure in (None, q.measure)]
        if not questions:
            raise click.UsageError(f"the paper prints no {measure} of {', '.join(names)}; leave out --measure")
    table = power_table(
        questions, {} if published else measured_spreads(_evidence(place, others)), level / tests, power, places
    )
    if as_json:
        click.echo(table.to_json(orient="records", indent=1))
        return
    for line in lines(table):
        click.echo(line)
    click.echo(
        f"\nseeds of each system for {power:.0%} power, two-sided test at {level / tests:.2g}; — no number is enough, or not known"
    )
    for source in table["source"].unique():
        click.echo(f"spread: {source}")


def _evidence(place: str, others: tuple[str, ...]):  # noqa: ANN202  (a type of `analysis`, which is imported when it is needed)
    from analysis.evidence import load_evidence

    workspaces = []
    for one in (place, *others):
        workspace = Workspace.at(one)
        workspace.pull()
        if not workspace.root.is_dir() and one != "workspace":
            raise WorkspaceError(f"{one}: there is no such workspace; leave out --workspace for published spreads")
        workspaces.append(workspace)
    return load_evidence(*workspaces)
