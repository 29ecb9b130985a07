"""Commands that take trained networks and what they say out of a workspace: export, predict, submission."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from asc_sweeps.cli.options import accelerator_option, existing_workspace, json_option, workspace_option
from asc_sweeps.errors import ConfigError, DataError


@click.command()
@click.argument("trial", metavar="SIGNATURE")
@click.option("--format", "form", type=click.Choice(["onnx", "onnx-int8", "pt2"]), default="onnx", show_default=True)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The file.  [default: SIGNATURE.onnx or .pt2]"
)
@click.option(
    "--segments",
    type=click.IntRange(2),
    default=500,
    show_default=True,
    help="Test segments to check the file on, at most.",
)
@click.option("--device", help="Whose network, of a trial with one for each device; else the one for all.")
@workspace_option
@json_option
def export(
    trial: str, form: str, out: Path | None, segments: int, device: str | None, place: str, as_json: bool
) -> None:
    """Write a trial's network for another runtime.

    It takes a log-mel batch, [B, 1, mel bands, frames], and gives logits, [B, 10]. The file is run at once on test segments and
    compared with the trainer's own predictions.
    """
    from asc_sweeps.data.labels import SEEN_DEVICES
    from asc_sweeps.deploy.export import SUFFIXES, export_trial, finished_trial_config

    if device is not None and device not in SEEN_DEVICES:
        raise ConfigError([f"--device must be one of {', '.join(SEEN_DEVICES)}; got '{device}'"])
    workspace = existing_workspace(place)
    config = finished_trial_config(workspace, trial)
    path = out or Path(f"{trial}{SUFFIXES[form]}")
    found = export_trial(config, workspace, form, path, segments, lambda line: click.echo(line, err=True), device)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(found), "path": str(found.path)}))
        return
    click.echo(f"{found.path}: {found.bytes:,} bytes")
    click.echo(
        f"on {found.segments:,} test segments: log loss {found.log_loss:.4f}, the trainer's {found.trainers_log_loss:.4f}; same "
        f"scene for {found.same_scene:.1%}; log probabilities differ by at most {found.largest_difference:.2g}"
    )


@click.command()
@click.argument("trial", metavar="SIGNATURE")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The table.  [default: SIGNATURE.output.csv]"
)
@workspace_option
@accelerator_option
def predict(trial: str, folder: Path, out: Path | None, place: str, accelerator: str) -> None:
    """Predict the scenes of unlabelled files.

    DIR is an evaluation set: audio/ and, where it has one, evaluation_setup/fold1_test.csv. Killed and run again, it continues.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.deploy.export import finished_trial_config
    from asc_sweeps.deploy.predict import format_predictions, predict_folder
    from asc_sweeps.workspace.atomic_files import write_bytes

    workspace = existing_workspace(place, accelerator=accelerator)
    config, line = finished_trial_config(workspace, trial), ProgressLine()
    names, probabilities = predict_folder(
        config,
        workspace,
        folder,
        lambda done, total: line.update("predicting", done / total, f"{done:,} of {total:,} files"),
    )
    path = out or Path(f"{trial}.output.csv")
    write_bytes(path, format_predictions(names, probabilities).encode())
    click.echo(f"{path}: {len(names):,} files")


@click.command()
@click.argument("trial", metavar="SIGNATURE")
@click.option("--predictions", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, metavar="FILE",
              help="What `asc-sweeps predict` wrote.")  # fmt: skip
@click.option("--label", required=True, help="Lastname_INST_task1_N.")
@click.option("--name", required=True, help="Of the system, for the result table.")
@click.option("--abbreviation", required=True, help="Of the system, at most 10 signs.")
@click.option("--author", "authors", multiple=True, required=True, metavar="'FIRST; LAST; E-MAIL; AFFILIATION'",
              help="May be repeated; the first one corresponds.")  # fmt: skip
@click.option(
    "--files", type=click.IntRange(1), default=118_800, show_default=True, help="Files of the evaluation set."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The ZIP.  [default: LABEL.zip]")
@workspace_option
def submission(
    trial: str, predictions: Path, label: str, name: str, abbreviation: str, authors: tuple[str, ...], files: int,
    out: Path | None, place: str,
) -> None:  # fmt: skip
    """Pack a challenge submission.

    The ZIP of DCASE 2022 task 1: output and meta file, checked by the challenge's rules before it is written.
    """
    from asc_sweeps.deploy.export import finished_trial_config
    from asc_sweeps.deploy.submission import (
        check_complexity,
        check_label,
        check_output,
        parse_author,
        read_output,
        submission_meta,
        submission_zip,
    )
    from asc_sweeps.workspace.atomic_files import write_bytes
    from asc_sweeps.workspace.results import load_result

    check_label(label, abbreviation)
    people = [parse_author(text) for text in authors]
    workspace = existing_workspace(place)
    config, result = finished_trial_config(workspace, trial), load_result(workspace, trial)
    if result is None:
        raise DataError(f"{trial}: its result has gone")
    check_complexity(result)
    output = read_output(predictions)
    problems = check_output(output, files)
    if problems:
        more = f"\n  ... and {len(problems) - 10:,} more" if len(problems) > 10 else ""
        raise DataError(f"{predictions}: not what the challenge takes\n  " + "\n  ".join(problems[:10]) + more)
    meta = submission_meta(result, config, workspace, label, name, abbreviation, people)
    note = f"asc-sweeps trial {trial}, {result.data['name']}" + (", generated data" if result.data["generated"] else "")
    path = out or Path(f"{label}.zip")
    write_bytes(path, submission_zip(label, output, meta, note))
    click.echo(f"{path}: {files:,} files, {result.complexity.params:,} parameters, {result.complexity.macs:,} MACs")
