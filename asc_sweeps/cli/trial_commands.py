"""Commands on single trials: train, complexity, settings."""

from __future__ import annotations

import dataclasses
import json
import math

import click

from asc_sweeps.cli import options
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import EpochRow, as_stored


@click.command()
@options.sets
@options.data
@options.location
@options.accelerator
@options.count("--threads", "Number of CPU threads.", show_default=options.PER_CORE)
@options.as_json
def train(
    sets: tuple[str, ...], data: str | None, location: str, accelerator: str, threads: int | None, as_json: bool
) -> None:
    """Train one trial without Ray.

    The default trial is the paper's pretraining of BC-Res2Net-40 w/ MFA & FPM; any setting finetune.* adds the fine-tuning.
    """
    from asc_sweeps.config.request import parse_overrides
    from asc_sweeps.config.settings import make_config

    config = make_config(parse_overrides(sets, data))
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.sweep.studies import resolve_data
    from asc_sweeps.training.run_trial import run_trial
    from asc_sweeps.workspace.paths import cores

    line = ProgressLine()
    workspace = Workspace.at(location, accelerator=accelerator, threads=threads or cores())
    (config,) = resolve_data([config], workspace, line.clips)

    def on_row(row: EpochRow) -> None:
        text = f"epoch {row['epoch']} (total {row['epochs_done']} of {row['epochs_total']})"
        if row["train_loss"] is not None:
            text += f", loss {row['train_loss']:.4f}"
        if row["validation_log_loss"] is not None:
            text += f", validation log loss {row['validation_log_loss']:.4f}, accuracy {row['validation_accuracy']:.1%}"
        line.update(row["phase"], row["epochs_done"] / row["epochs_total"], text)

    result = run_trial(config, workspace, on_row)
    if as_json:
        click.echo(json.dumps(as_stored(result), indent=1))
        return
    click.echo(f"{result.signature}  {result.system}, {result.phase}, seed {config.seed}, on {result.data['name']}")
    click.echo(f"{result.complexity.params:,} params, {result.complexity.macs:,} MACs")
    for row in result.scores:
        if row.by == "overall" and row.name == "micro":
            click.echo(
                f"{row.split}: log loss {row.log_loss:.4f}, accuracy {row.accuracy:.2%} ({row.segments:,} segments)"
            )
    click.echo(f"saved in {workspace.location}/trials/{result.signature}")


@click.command()
@options.sets
@click.option(
    "--seconds", type=click.FloatRange(0.1, 60), default=1.0, metavar="SECONDS", help="Duration of the input clip."
)
@options.as_json
def complexity(sets: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Count the params and MACs of a network."""
    from asc_sweeps.config.request import parse_overrides
    from asc_sweeps.config.settings import make_config

    config = make_config(parse_overrides(sets, None))
    if not math.isfinite(seconds):
        raise click.BadParameter("must be a number of seconds, e.g. 10", param_hint="--seconds")
    from asc_sweeps.models.complexity import MACS_LIMIT, PARAMS_LIMIT
    from asc_sweeps.training.finished import complexity_of

    counts = complexity_of(config, seconds)
    shape = [1, config.features.n_mels, config.features.frames(seconds)]
    if as_json:
        click.echo(json.dumps({"system": config.system, "input": shape, **dataclasses.asdict(counts)}))
        return
    click.echo(f"{config.system}, input {' x '.join(map(str, shape))}")
    for name, value, limit in (("params", counts.params, PARAMS_LIMIT), ("MACs", counts.macs, MACS_LIMIT)):
        verdict = "within" if value <= limit else "over"
        click.echo(f"{name:<7} {value:>12,}   {verdict} the challenge's limit of {limit:,}")


@click.command()
def settings() -> None:
    """List every setting with its default and source."""
    from asc_sweeps.config.trial_settings import setting_fields

    for name, field in setting_fields().items():
        click.echo(f"{name} = {json.dumps(field.default)}\n    {field.description}")
