"""Commands on data sets: synthesize, check, prepare."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from asc_sweeps.cli import options
from asc_sweeps.workspace.paths import Workspace

folder_argument = click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")


@click.group(cls=options.CommandGroup)
def data() -> None:
    """Generate, check and prepare data sets."""


@data.command()
@folder_argument
@click.option("--plan", default="small", metavar="tiny|small|medium", help="Size of the data set.")
@options.count("--seed", "Random seed.", least=0, default=0)
@options.count("--workers", "Number of processes to use.", show_default=options.PER_CORE)
def synthesize(folder: Path, plan: str, seed: int, workers: int | None) -> None:
    """Generate a small synthetic data set.

    It has the layout of TAU Urban Acoustic Scenes 2022 Mobile and is marked as generated.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.synthetic import synthesize as write

    line = ProgressLine()
    count = write(folder, plan, seed, workers, lambda done, total: line.clips("generating", done, total))
    click.echo(
        f"{folder}: {count:,} clips of generated sound (plan {plan}, seed {seed}); not TAU, for trying things out"
    )


@data.command()
@folder_argument
def check(folder: Path) -> None:
    """Validate a data set folder.

    Prints each broken rule with its count and first examples, and exits with 2 if there is any.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.check import check_audio, read_folder
    from asc_sweeps.data.findings import Findings, printable
    from asc_sweeps.data.tau import read_stamp

    findings, line = Findings(), ProgressLine()
    kind = "generated data (not TAU)" if read_stamp(folder) else "layout of TAU Urban Acoustic Scenes 2022 Mobile"
    segments = read_folder(folder, findings)
    check_audio(folder, segments, findings, lambda done, total: line.clips("checking", done, total))
    counts = {split: sum(s.split == split for s in segments) for split in ("train", "test", "unused")}
    click.echo(
        f"{printable(folder)}: {kind}; segments: {counts['train']:,} train, {counts['test']:,} test, "
        f"{counts['unused']:,} in neither list"
    )
    for finding in findings:
        click.echo(f"- {finding}")
    if len(findings):
        verdict = "cannot be used for training" if findings.fatal else "usable for training, but not as published"
        click.echo(f"{len(findings)} rule{'s' if len(findings) > 1 else ''} broken: {verdict}", err=True)
        sys.exit(2)
    click.echo("OK: no problems found")


@data.command()
@folder_argument
@options.location
def prepare(folder: Path, location: str) -> None:
    """Build the training cache of a data set.

    The cache is 16 kHz, int16, memory-mapped. Studies build it themselves if needed. After an interruption, the same command
    resumes.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.data.catalog import prepare_in_workspace

    prepared = prepare_in_workspace(folder, Workspace.at(location), ProgressLine().clips)
    click.echo(
        f"{prepared.folder}: {len(prepared.filenames):,} segments of {prepared.name}, fingerprint {prepared.fingerprint}"
    )
