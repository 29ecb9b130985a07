"""The command line: `asc-sweeps COMMAND`. Thin: a command reads its options, calls the packages below, prints.

`main` runs a command and turns errors into a line and an exit code: 0 done, 1 a trial failed, 2 usage or configuration error,
130 interrupted. Modules:

- study_commands (demo, sweep, report); run_studies is a sweep from request to exit code
- show_commands (plan, status, table, doctor), power_commands (power); doctor holds the checks
- trial_commands (train, complexity, settings), export_commands (export, predict, submission), data_commands (data ...)
- options: shared options; output: what is printed about plans, sweeps and studies; progress: progress lines

A command imports what it needs when it runs, so that `--help` and errors in a study's file come at once.
"""

from __future__ import annotations

import errno
import os
import sys

import click

from asc_sweeps import __version__
from asc_sweeps.cli import data_commands, export_commands, power_commands, show_commands, study_commands, trial_commands
from asc_sweeps.cli.options import CommandGroup
from asc_sweeps.cli.progress import escape_output
from asc_sweeps.errors import AscSweepsError, describe_os_error
from asc_sweeps.sweep.interruption import sigterm_as_sigint


def main() -> None:
    """Run a command; errors that a user can fix are printed without a traceback."""
    escape_output()
    sigterm_as_sigint()
    try:
        sys.exit(cli(prog_name="asc-sweeps", standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; finished work is saved, run the same command to resume", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AscSweepsError as error:
        for line in str(error).splitlines():
            click.echo(line if line.startswith(" ") else f"error: {line}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of our output, e.g. `head`, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        if error.errno is None:  # raised by a library, not by the operating system
            raise
        text = f"error: {describe_os_error(error)}; finished work is saved, run the same command to resume"
        click.echo(text, err=True)
        sys.exit(2)


@click.group(
    cls=CommandGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100},
    epilog="Exit codes: 0 done, 1 a trial failed, 2 usage or configuration error, 130 interrupted.",
)
@click.version_option(__version__, prog_name="asc-sweeps")
def cli() -> None:
    """Run studies of low-complexity acoustic scene classification on Ray Tune.

    To start, `asc-sweeps demo` runs a small end-to-end example on generated data.
    """


for command in (
    study_commands.demo,
    show_commands.plan,
    study_commands.sweep,
    show_commands.status,
    study_commands.report,
    show_commands.table,
    power_commands.power,
    show_commands.doctor,
    trial_commands.train,
    trial_commands.complexity,
    trial_commands.settings,
    export_commands.export,
    export_commands.predict,
    export_commands.submission,
    data_commands.data,
):
    cli.add_command(command)
