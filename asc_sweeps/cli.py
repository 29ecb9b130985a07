"""The command line: thin, and slow to import nothing that a command does not need."""

from __future__ import annotations

import dataclasses
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from asc_sweeps import __version__
from asc_sweeps.errors import AscSweepsError, did_you_mean
from asc_sweeps.workspace import Workspace

MINI_STUDIES = ("table2_ablation", "table4_drop_rate", "figure3_widths")


def main() -> None:
    """Run a command; a user's mistake is told in a line or a few, without a traceback."""
    try:
        sys.exit(cli(standalone_mode=False))
    except click.exceptions.Abort:
        sys.exit(130)
    except KeyboardInterrupt:
        click.echo("interrupted; the same command goes on from here", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AscSweepsError as error:
        click.echo(
            "\n".join(f"error: {line}" if not line.startswith(" ") else line for line in str(error).splitlines()),
            err=True,
        )
        sys.exit(error.exit_code)


def _workspace_option(command: Any) -> Any:
    return click.option(
        "--workspace",
        "root",
        type=click.Path(path_type=Path),
        default=Path("workspace"),
        envvar="ASC_SWEEPS_WORKSPACE",
        show_default=True,
        help="Folder of data, trials and results.",
    )(command)


_set_option = click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A setting, e.g. model.width=48.")
_data_option = click.option("--data", metavar="DIR", help="Folder of the data set (meta.csv, audio/).")
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_mini_option = click.option("--mini", is_flag=True, help="The small size of the study, on generated data.")
_seeds_option = click.option("--seeds", metavar="N|A,B,..", help="Number of seeds, or a list of them.")
_accelerator_option = click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What computes.",
)


class _Commands(click.Group):
    """A group that names the nearest command when there is no such one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            ctx.fail(f"no such command '{args[0]}'{did_you_mean(args[0], known) or '; known: ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asc-sweeps")
def cli() -> None:
    """Studies of low-complexity acoustic scene classification on Ray Tune.

    `asc-sweeps demo` runs everything once, small, on generated data.
    """


@cli.command()
@_workspace_option
@click.option("--out", type=click.Path(path_type=Path), help="The report's file.  [default: WORKSPACE/report.html]")
@click.option("--workers", type=click.IntRange(1), help="Trials at once.  [default: one a core]")
def demo(root: Path, out: Path | None, workers: int | None) -> None:
    """Run the three studies at their small size on generated data, and render the report."""
    from asc_sweeps.request import Cluster, Request

    workspace = Workspace(root)
    code = _sweep(Request(MINI_STUDIES, mini=True), workspace, Cluster(workers=workers))
    if code != 130:
        _report(workspace, out)
    sys.exit(code)


@cli.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE...")
@_mini_option
@_data_option
@_set_option
@_seeds_option
@_workspace_option
@_accelerator_option
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
    """Run studies on Ray Tune: shipped ones by name, or YAML files. The same command again continues."""
    request = _request(spaces, mini, data, sets, seeds, root)
    from asc_sweeps.request import load_spaces

    load_spaces(request)  # a mistake in a file is told before anything slow is imported
    from asc_sweeps.request import Cluster

    cluster = Cluster(address, workers, cpus_per_trial, gpus_per_trial)
    sys.exit(_sweep(request, Workspace(root, accelerator), cluster))


@cli.command()
@click.argument("spaces", nargs=-1, required=True, metavar="SPACE...")
@_mini_option
@_data_option
@_set_option
@_seeds_option
@_workspace_option
@_json_option
def plan(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path,
    as_json: bool,
) -> None:  # fmt: skip
    """Print the trials of studies: signature, system, params, MACs, and what is finished already."""
    request = _request(spaces, mini, data, sets, seeds, root)
    from asc_sweeps.request import load_spaces

    loaded, trials = load_spaces(request)
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.errors import DataError
    from asc_sweeps.plan import epochs_of
    from asc_sweeps.studies import bind, plan_studies

    workspace, note = Workspace(root), ""
    try:
        trials = [bind(configs, workspace, ProgressLine().clips) for configs in trials]
    except DataError as error:
        if any(c.data.dataset != "tau2022" for configs in trials for c in configs):
            raise
        note = f"{error}\nUntil the data are there, the signatures are of the settings alone."
    made, _ = plan_studies(loaded, trials, workspace)
    rows = [
        {
            "signature": t.config.signature,
            "system": t.config.system,
            "phase": t.config.phase,
            "seed": t.config.seed,
            "params": t.complexity.params,
            "macs": t.complexity.macs,
            "model_bytes": t.complexity.model_bytes,
            "epochs": epochs_of(t.config),
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
        "epochs_to_train": sum(epochs_of(t.config) for t in made.todo),
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


@cli.command()
@_set_option
@_data_option
@_workspace_option
@_accelerator_option
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: one a core]")
@_json_option
def train(
    sets: tuple[str, ...], data: str | None, root: Path, accelerator: str, threads: int | None, as_json: bool
) -> None:
    """Run one trial without Ray; the defaults are the paper's pretraining of BC-Res2Net-40 w/ MFA & FPM."""
    from asc_sweeps.config import make_config
    from asc_sweeps.request import overrides_of

    config = make_config(overrides_of(sets, data))
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.studies import bind
    from asc_sweeps.trial import run_trial
    from asc_sweeps.workspace import cores

    line = ProgressLine()
    workspace = Workspace(root, accelerator, threads or cores())
    (config,) = bind([config], workspace, line.clips)

    def on_row(row: dict[str, Any]) -> None:
        text = (
            f"epoch {row['epoch']}, {row['epochs_done']} of {row['epochs_total']} in all, loss {row['train_loss']:.4f}"
        )
        if row["validation_log_loss"] is not None:
            text += f", validation log loss {row['validation_log_loss']:.4f}, accuracy {row['validation_accuracy']:.1%}"
        line.update(row["phase"], row["epochs_done"] / row["epochs_total"], text)

    result = run_trial(config, workspace, on_row)
    if as_json:
        click.echo(json.dumps(dataclasses.asdict(result), indent=1))
        return
    click.echo(f"{result.signature}  {result.system}, {result.phase}, seed {config.seed}, on {result.data['name']}")
    click.echo(f"{result.complexity.params:,} params, {result.complexity.macs:,} MACs")
    for row in result.scores:
        if row.by == "overall" and row.name == "micro":
            click.echo(
                f"{row.split}: log loss {row.log_loss:.4f}, accuracy {row.accuracy:.2%} of {row.segments:,} segments"
            )
    click.echo(f"kept in {workspace.trial(result.signature)}")


@cli.command()
@_set_option
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=1.0, show_default=True, help="Length of the clip.")
@_json_option
def complexity(sets: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Count params and MACs of a network by the challenge's rule."""
    from asc_sweeps.config import make_config
    from asc_sweeps.request import overrides_of

    config = make_config(overrides_of(sets, None))
    from asc_sweeps.data.features import frames
    from asc_sweeps.models.complexity import MACS_LIMIT, PARAMS_LIMIT
    from asc_sweeps.trial import complexity_of

    n = complexity_of(config, seconds)
    shape = [1, config.features.n_mels, frames(config.features, seconds)]
    if as_json:
        click.echo(json.dumps({"system": config.system, "input": shape, **dataclasses.asdict(n)}))
        return
    click.echo(f"{config.system}, input {shape[0]} x {shape[1]} x {shape[2]}")
    for name, value, limit in (("params", n.params, PARAMS_LIMIT), ("MACs", n.macs, MACS_LIMIT)):
        verdict = "within" if value <= limit else "over"
        click.echo(f"{name:<7} {value:>12,}   {verdict} the challenge's {limit:,}")


@cli.command()
@_workspace_option
@click.option("--out", type=click.Path(path_type=Path), help="The report's file.  [default: WORKSPACE/report.html]")
def report(root: Path, out: Path | None) -> None:
    """Render all results of a workspace as one HTML file with the paper's tables and figures."""
    _report(Workspace(root), out)


@cli.command()
def settings() -> None:
    """List every setting with its default, its meaning and its source."""
    from asc_sweeps.config import setting_fields

    for name, field in setting_fields().items():
        click.echo(f"{name} = {json.dumps(field.default)}\n    {field.description}")


@cli.group(cls=_Commands)
def data() -> None:
    """Make, check and prepare data sets."""


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--plan", default="small", show_default=True, metavar="tiny|small|medium", help="How large.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Processes.  [default: one a core]")
def synthesize(folder: Path, plan: str, seed: int, workers: int | None) -> None:
    """Write a generated miniature of TAU Urban Acoustic Scenes 2022 Mobile, in its layout."""
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.data.synthetic import synthesize as write

    line = ProgressLine()
    count = write(folder, plan, seed, workers, lambda done, total: line.clips("generating", done, total))
    click.echo(
        f"{folder}: {count:,} clips of generated sound (plan {plan}, seed {seed}); not TAU, for trying things out"
    )


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
def check(folder: Path) -> None:
    """Say what is wrong with a data set's folder; exit 2 if anything is."""
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.data.tau import Findings, check_audio, read_folder, stamp_of

    findings, line = Findings(), ProgressLine()
    segments = read_folder(folder, findings)
    check_audio(folder, segments, findings, lambda done, total: line.clips("checking", done, total))
    counts = {split: sum(s.split == split for s in segments) for split in ("train", "test", "unused")}
    kind = "generated data (not TAU)" if stamp_of(folder) else "TAU Urban Acoustic Scenes 2022 Mobile layout"
    click.echo(
        f"{folder}: {kind}; {counts['train']:,} train, {counts['test']:,} test, {counts['unused']:,} in neither list"
    )
    for finding in findings:
        click.echo(f"- {finding}")
    if len(findings):
        click.echo(f"{len(findings)} rules broken", err=True)
        sys.exit(2)
    click.echo("nothing wrong")


@data.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@_workspace_option
def prepare(folder: Path, root: Path) -> None:
    """Make the training cache of a data set: 16 kHz, int16, memory-mapped. Killed and run again, it continues."""
    from asc_sweeps.console import ProgressLine
    from asc_sweeps.data.prepare import prepare as make

    line = ProgressLine()
    made = make(folder, Workspace(root).prepared, lambda done, total: line.clips("preparing", done, total))
    click.echo(f"{made.folder}: {len(made.filenames):,} segments of {made.name}, fingerprint {made.fingerprint}")


def _request(
    spaces: tuple[str, ...], mini: bool, data: str | None, sets: tuple[str, ...], seeds: str | None, root: Path
) -> Any:
    from asc_sweeps.request import Request, overrides_of, parse_seeds

    options = []
    for flag, value in (("--data", data), *(("--set", s) for s in sets), ("--seeds", seeds)):
        options += [flag, shlex.quote(value)] if value is not None else []
    if root != Path("workspace"):
        options += ["--workspace", shlex.quote(str(root))]
    return Request(spaces, mini, overrides_of(sets, data), parse_seeds(seeds) if seeds else None, tuple(options))


def _sweep(request: Any, workspace: Workspace, cluster: Any) -> int:
    """Plan, run and count; the exit code: 0 all done, 1 some failed, 130 interrupted."""
    from asc_sweeps.console import ProgressLine, SweepProgress
    from asc_sweeps.request import load_spaces
    from asc_sweeps.studies import bind, plan_studies, record_studies

    line = ProgressLine()
    spaces, trials = load_spaces(request)
    trials = [bind(configs, workspace, line.clips) for configs in trials]
    plan, _ = plan_studies(spaces, trials, workspace)
    record_studies(request, spaces, plan, workspace)
    progress = SweepProgress(plan, line)
    if plan.todo:
        line.say(f"starting Ray for {len(plan.todo)} trials ({len(plan.trials) - len(plan.todo)} are finished already)")
        from asc_sweeps.sweeps import run_sweep

        run_sweep(plan, workspace, cluster, progress.on_row)
        line.end()
    records = record_studies(request, spaces, plan, workspace)
    planned = plan.listed + sum(not t.studies for t in plan.trials)
    trained, failed = len(progress.trained), len(progress.failed)
    unfinished = len(plan.todo) - trained - failed
    tail = (f", failed {failed}" if failed else "") + (f", unfinished {unfinished}" if unfinished else "")
    click.echo(f"planned {planned}, reused {planned - len(plan.todo)}, trained {trained}{tail}")
    if unfinished:
        click.echo(f"interrupted; finished epochs are kept. To go on:\n  {request.command()}", err=True)
        return 130
    for record in records:
        click.echo(f"{record.name}: {record.state}")
    return 1 if failed else 0


def _report(workspace: Workspace, out: Path | None) -> None:
    from analysis.report import write_report

    path = write_report(workspace, out or workspace.root / "report.html")
    click.echo(f"report: {path}")
