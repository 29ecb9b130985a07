"""The command that computes how many seeds an effect needs: power."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asc_sweeps.cli import options
from asc_sweeps.errors import did_you_mean

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from analysis.studies.power import TargetEffect


@click.command()
@click.argument("names", nargs=-1, metavar="[EFFECT]...")
@options.location
@options.also
@click.option("--effect", type=float, metavar="SIZE", help="Size of an effect of your own; 0.015 is 1.5 % of accuracy.")
@click.option(
    "--measure", type=click.Choice(["log_loss", "accuracy", "accuracy_devices", "accuracy_unseen"]),
    show_default="all measures; log_loss with --effect", help="Measure of the effects.",
)  # fmt: skip
@click.option("--published", is_flag=True, help="Use published standard deviations instead of the workspace's.")
@options.count("--places", "Number of recording places in the test split.", least=2, show_default="the workspace's")
@click.option(
    "--power", "wanted", type=click.FloatRange(0.05, 0.999), default=0.8, metavar="P",
    help="Probability of detecting the effect.",
)  # fmt: skip
@click.option(
    "--level",
    type=click.FloatRange(1e-6, 0.5),
    default=0.05,
    metavar="P",
    help="Significance level of the two-sided test.",
)
@options.count("--tests", "Number of tests to divide the level by (Bonferroni correction).", default=1)
@options.as_json
def power(
    names: tuple[str, ...], location: str, also: tuple[str, ...], effect: float | None, measure: str | None, published: bool,
    places: int | None, wanted: float, level: float, tests: int, as_json: bool,
) -> None:  # fmt: skip
    """Compute how many seeds the effects of the paper need.

    EFFECT names an effect (e.g. drop-0.9, res2net, mfa); the default is all. The standard deviation over seeds is estimated from
    the workspace's trials if the rows of a table share enough seeds, otherwise a published one is used. r is the correlation
    between systems that start from the same pretrained models.
    """
    from analysis.evidence.loading import load_evidence
    from analysis.studies.power import measured_spreads, power_table, text_lines

    targets = _targets(names, effect, measure)
    spreads = {}
    if not published and (also or location != "workspace" or Path(location).is_dir()):  # otherwise there is none yet
        workspaces = [options.existing_workspace(each) for each in (location, *also)]
        spreads = measured_spreads(load_evidence(*workspaces))
    table = power_table(targets, spreads, level / tests, wanted, places)
    if places and table["places"].isna().all():
        raise click.UsageError(
            "--places needs a workspace whose trials have stored test predictions for several shared seeds; omit it"
        )
    if as_json:
        click.echo(table.to_json(orient="records", indent=1))
        return
    click.echo("\n".join(text_lines(table)))
    click.echo(
        f"\nSeeds per system for {wanted:.0%} power, two-sided test at level {level / tests:.2g}. “+ places”: if the result is to "
        "hold for other test places, too. —: no number is enough, or unknown."
    )


def _targets(names: tuple[str, ...], effect: float | None, measure: str | None) -> list[TargetEffect]:
    from analysis.studies.power import TargetEffect, paper_effects

    if effect is not None:
        if names:
            raise click.UsageError("give names of effects or --effect, not both")
        if effect == 0 or not math.isfinite(effect):
            raise click.BadParameter(f"must be a finite number other than 0; got {effect:g}", param_hint="--effect")
        return [TargetEffect("--effect", "", measure or "log_loss", effect)]
    targets = paper_effects()
    known = list(dict.fromkeys(target.name for target in targets))
    for name in names:
        if name not in known:
            near = did_you_mean(name, known) or f"; known: {', '.join(known)}"
            raise click.UsageError(f"unknown effect '{name}'{near}")
    targets = [t for t in targets if (not names or t.name in names) and measure in (None, t.measure)]
    if not targets:
        raise click.UsageError(f"the paper has no {measure} for {', '.join(names)}; omit --measure")
    return targets
