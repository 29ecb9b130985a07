"""Commands about data sets: synthesize, check, prepare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from asc_sweeps.cli.options import Commands, workspace_option
from asc_sweeps.workspace.paths import Workspace


@click.group(cls=Commands)
def data() -> None:
    """Make, check and prepare data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--plan", default="small", show_default=True, metavar="tiny|small|medium", help="How large.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def synthesize(folder: Path, plan: str, seed: int, workers: int | None) -> None:
    """Write a generated miniature.

    In the layout of TAU Urban Acoustic Scenes 2022 Mobile, stamped as generated.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.synthetic import synthesize as write

    line = ProgressLine()
    count = write(folder, plan, seed, workers, lambda done, total: line.clips("generating", done, total))
    click.echo(
        f"{folder}: {count:,} clips of generated sound (plan {plan}, seed {seed}); not TAU, for trying things out"
    )


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def check(folder: Path) -> None:
    """Say what is wrong with a folder; exit 2."""
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.check import check_audio, read_folder
    from asc_sweeps.data.findings import Findings, printable
    from asc_sweeps.data.tau import read_stamp

    findings, line = Findings(), ProgressLine()
    kind = "generated data (not TAU)" if read_stamp(folder) else "TAU Urban Acoustic Scenes 2022 Mobile layout"
    segments = read_folder(folder, findings)
    check_audio(folder, segments, findings, lambda done, total: line.clips("checking", done, total))
    counts = {split: sum(s.split == split for s in segments) for split in ("train", "test", "unused")}
    click.echo(
        f"{printable(folder)}: {kind}; {counts['train']:,} train, {counts['test']:,} test, "
        f"{counts['unused']:,} in neither list"
    )
    for finding in findings:
        click.echo(f"- {finding}")
    if len(findings):
        verdict = "it cannot be trained on" if findings.fatal else "it can be trained on, but is not what was published"
        click.echo(f"{len(findings)} rule{'s' if len(findings) > 1 else ''} broken: {verdict}", err=True)
        sys.exit(2)
    click.echo("nothing wrong")


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@workspace_option
def prepare(folder: Path, place: str) -> None:
    """Make the training cache.

    16 kHz, int16, memory-mapped. Killed and run again, it continues.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.catalog import prepare_in_workspace

    made = prepare_in_workspace(folder, Workspace.at(place), ProgressLine().clips)
    click.echo(f"{made.folder}: {len(made.filenames):,} segments of {made.name}, fingerprint {made.fingerprint}")
