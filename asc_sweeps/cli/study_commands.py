"""Commands that run studies and report their results: demo, sweep, report."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from asc_sweeps.cli import options
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.paths import Workspace

if TYPE_CHECKING:  # a command imports what it needs when it runs
    from analysis.page.images import ImageFormat
    from asc_sweeps.config.request import Request

JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set by Ray for a command that was submitted to a cluster as a job."""
DEMO_STUDIES = ("table2_ablation", "table3_durations", "table4_drop_rate", "section6_extras", "figure3_widths")

report_option = options.out(
    "Report file.", "report.html in the workspace folder; ./report.html for an object store", dir_okay=True
)


@click.command()
@options.location
@report_option
@options.count("--workers", "Number of trials to run at once.", show_default=options.PER_CORE)
def demo(location: str, out: Path | None, workers: int | None) -> None:
    """Run a small end-to-end example on generated data.

    Trains the paper's five studies at their mini size, then writes the report.
    """
    from asc_sweeps.cli.run_studies import INTERRUPTED, run_studies
    from asc_sweeps.config.request import Cluster, Request

    workspace = Workspace.at(location)
    request = Request(DEMO_STUDIES, mini=True, options=_given_options())
    code = run_studies(request, workspace, Cluster(workers=workers))
    if code != INTERRUPTED:
        from analysis.evidence.loading import load_evidence
        from analysis.paper.precision import precision

        _write_report([workspace], out)
        for line in precision(load_evidence(workspace)):  # so that nobody mistakes noise for a winner
            click.echo(line)
    sys.exit(code)


@click.command()
@options.studies
@options.accelerator
@click.option(
    "--address", metavar="HOST:PORT|auto", show_default="a new local Ray; in a Ray job, its cluster",
    help="Ray cluster to join; auto is the cluster that this node belongs to.",
)  # fmt: skip
@click.option(
    "--wait", type=click.FloatRange(0), default=0, metavar="MINUTES", help="Time to wait for autoscaled nodes."
)
@click.option("--allow-open-cluster", is_flag=True, help="Join a cluster without token authentication.")
@options.count("--workers", "Number of trials to run at once, without --address.", show_default=options.PER_CORE)
@options.count("--cpus-per-trial", "CPU cores per trial.", default=1)
@click.option(
    "--step-minutes", type=click.FloatRange(0, min_open=True), default=30, metavar="MINUTES",
    help="Time without progress after which a trial is killed as hung.",
)  # fmt: skip
@options.storage
@click.option("--in-full", is_flag=True, help="Disable early stopping, and resume trials that it stopped.")
@click.option(
    "--gpus-per-trial", type=click.FloatRange(0), metavar="N", show_default="1 if there are GPUs",
    help="GPUs per trial; with a fraction, trials share a GPU.",
)  # fmt: skip
def sweep(
    request: Request, location: str, accelerator: str, address: str | None, wait: float, allow_open_cluster: bool,
    workers: int | None, cpus_per_trial: int, step_minutes: float, storage: str | None, in_full: bool,
    gpus_per_trial: float | None,
) -> None:  # fmt: skip
    """Train the trials of studies on Ray Tune.

    SPACE is a YAML file or the name of a shipped study (table2_ablation, table3_durations, table4_drop_rate, ...). Finished
    trials are reused; after an interruption, the same command resumes.
    """
    from asc_sweeps.cli.run_studies import run_studies
    from asc_sweeps.config.request import Cluster

    request = replace(request, options=_given_options())
    address = address or ("auto" if JOB_VARIABLE in os.environ else None)
    cluster = Cluster(address, workers, cpus_per_trial, gpus_per_trial, wait, allow_open_cluster)
    workspace = Workspace.at(location, accelerator=accelerator, step_seconds=60 * step_minutes)
    sys.exit(run_studies(request, workspace, cluster, in_full, storage))


@click.command()
@options.location
@options.also
@report_option
@click.option(
    "--static", type=click.Choice(["png", "svg", "pdf"]),
    help="Format of image files to write as well, one per figure; requires Chrome or Chromium.",
)  # fmt: skip
def report(location: str, also: tuple[str, ...], out: Path | None, static: ImageFormat | None) -> None:
    """Write all results as one HTML file."""
    _write_report([options.existing_workspace(each) for each in (location, *also)], out, static)


def _given_options() -> tuple[str, ...]:
    """The given options that `sweep` accepts, as words of a command line; without --mini, which is the request's own."""
    context, words = click.get_current_context(), list[str]()
    given = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT)
    for option in sweep.params:
        if (
            isinstance(option, click.Option)
            and option.name != "mini"
            and context.get_parameter_source(option.name) in given
        ):
            value = context.params[option.name]
            for each in value if option.multiple else [value]:
                words += [option.opts[0], *([] if option.is_flag else [str(each)])]
    return tuple(words)


def _write_report(workspaces: Sequence[Workspace], out: Path | None, static: ImageFormat | None = None) -> None:
    from asc_sweeps.config.gc_pause import gc_paused

    workspace = workspaces[0]
    out = out or (Path("report.html") if workspace.url else workspace.root / "report.html")
    if out.is_dir():
        raise WorkspaceError(f"--out {out}: is a folder; name a file, e.g. {out / 'report.html'}")
    try:
        with gc_paused():
            from analysis.report import images_folder, write_report

            write_report(workspaces, out, static)
            gc.freeze()  # the collector skips these objects at exit, too
    finally:
        if out.exists():  # even if writing the images failed
            click.echo(f"report: {out}")
    if static:
        click.echo(f"images: {images_folder(out)}")
