"""Commands that use trained networks outside of studies: export, predict, submission."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import click

from asc_sweeps.cli import options
from asc_sweeps.errors import ConfigError, DataError

signature_argument = click.argument("signature", metavar="SIGNATURE")


@click.command()
@signature_argument
@click.option(
    "--format", "form", type=click.Choice(["onnx", "onnx-int8", "pt2"]), default="onnx", help="Format of the file."
)
@options.out("File to write.", "SIGNATURE.onnx or SIGNATURE.pt2")
@options.count("--segments", "Largest number of test segments to check it on.", least=2, default=500)
@click.option(
    "--device", metavar="DEVICE", show_default="the general network",
    help="Recording device whose network to export, for a trial with one network per device.",
)  # fmt: skip
@options.location
@options.as_json
def export(
    signature: str, form: str, out: Path | None, segments: int, device: str | None, location: str, as_json: bool
) -> None:
    """Export a trial's network to ONNX or PyTorch's pt2.

    Input: a batch of log-mel spectrograms, [B, 1, mel bands, frames]; output: logits, [B, 10]. The file is run on test segments
    and compared with the original network. ONNX needs pip install 'asc_sweeps[onnx]'.
    """
    from asc_sweeps.data.labels import SEEN_DEVICES
    from asc_sweeps.deploy.export import SUFFIXES, export_trial, finished_trial_config

    if device is not None and device not in SEEN_DEVICES:
        raise ConfigError([f"--device must be one of {', '.join(SEEN_DEVICES)}; got '{device}'"])
    workspace = options.existing_workspace(location)
    config = finished_trial_config(workspace, signature)
    path = out or Path(f"{signature}{SUFFIXES[form]}")
    exported = export_trial(config, workspace, form, path, segments, lambda line: click.echo(line, err=True), device)
    if as_json:
        click.echo(json.dumps({**dataclasses.asdict(exported), "path": str(exported.path)}))
        return
    click.echo(f"{exported.path}: {exported.bytes:,} bytes")
    click.echo(
        f"on {exported.segments:,} test segments: log loss {exported.log_loss:.4f} (original {exported.trainers_log_loss:.4f}), "
        f"same scene predicted for {exported.same_scene:.1%}, log probabilities differ by at most "
        f"{exported.largest_difference:.2g}"
    )


@click.command()
@signature_argument
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@options.out("File of predictions to write.", "SIGNATURE.output.csv")
@options.location
@options.accelerator
def predict(signature: str, folder: Path, out: Path | None, location: str, accelerator: str) -> None:
    """Predict the scenes of unlabelled audio files.

    DIR holds audio/ and optionally the list evaluation_setup/fold1_test.csv. After an interruption, the same command resumes.
    """
    from asc_sweeps.cli.progress import ProgressLine
    from asc_sweeps.deploy.export import finished_trial_config
    from asc_sweeps.deploy.predict import format_predictions, predict_folder
    from asc_sweeps.workspace.atomic_files import write_bytes

    workspace = options.existing_workspace(location, accelerator=accelerator)
    config, line = finished_trial_config(workspace, signature), ProgressLine()

    def show(done: int, total: int) -> None:
        line.update("predicting", done / total, f"{done:,} of {total:,} files")

    names, probabilities = predict_folder(config, workspace, folder, show)
    path = out or Path(f"{signature}.output.csv")
    write_bytes(path, format_predictions(names, probabilities).encode())
    click.echo(f"{path}: predictions for {len(names):,} files")


@click.command()
@signature_argument
@click.option(
    "--predictions", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True, metavar="FILE",
    help="File written by `asc-sweeps predict`.",
)  # fmt: skip
@click.option("--label", required=True, metavar="LABEL", help="Submission label, e.g. Lee_HYU_task1_1.")
@click.option("--name", required=True, metavar="NAME", help="System name for the results table.")
@click.option("--abbreviation", required=True, metavar="NAME", help="Abbreviated system name, at most 10 characters.")
@click.option(
    "--author", "authors", multiple=True, required=True, metavar="'FIRST; LAST; E-MAIL; AFFILIATION'",
    help="Author (repeatable); the first one is the corresponding author.",
)  # fmt: skip
@options.count("--files", "Number of files in the evaluation set.", default=118_800)
@options.out("ZIP file to write.", "LABEL.zip")
@options.location
def submission(
    signature: str, predictions: Path, label: str, name: str, abbreviation: str, authors: tuple[str, ...], files: int,
    out: Path | None, location: str,
) -> None:  # fmt: skip
    """Build a challenge submission (DCASE 2022 task 1).

    Checks the predictions and the system against the challenge's rules, then writes the ZIP with the output and meta files.
    """
    from asc_sweeps.data.tab_separated import read_text
    from asc_sweeps.deploy import submission as rules
    from asc_sweeps.deploy.export import finished_trial_config
    from asc_sweeps.workspace.atomic_files import write_bytes
    from asc_sweeps.workspace.record_store import load_result

    rules.check_label(label, abbreviation)
    people = [rules.parse_author(text) for text in authors]
    workspace = options.existing_workspace(location)
    config, result = finished_trial_config(workspace, signature), load_result(workspace, signature)
    if result is None:
        raise DataError(f"{signature}: result not found")
    rules.check_complexity(result)
    output = read_text(predictions)
    problems = rules.check_output(output, files)
    if problems:
        more = f"\n  ... and {len(problems) - 10:,} more" if len(problems) > 10 else ""
        raise DataError(f"{predictions}: breaks the challenge's rules\n  " + "\n  ".join(problems[:10]) + more)
    meta = rules.submission_meta(result, config, workspace, label, name, abbreviation, people)
    generated = ", generated data" if result.data["generated"] else ""
    note = f"asc-sweeps trial {signature}, {result.data['name']}{generated}"
    path = out or Path(f"{label}.zip")
    write_bytes(path, rules.submission_zip(label, output, meta, note))
    click.echo(f"{path}: {files:,} files, {result.complexity.params:,} params, {result.complexity.macs:,} MACs")
