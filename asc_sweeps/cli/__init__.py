"""The command line: thin, and slow to import nothing that a command does not need."""

from __future__ import annotations

import errno
import os
import sys

import click

from asc_sweeps import __version__
from asc_sweeps.cli import data_commands, export_commands, power_commands, show_commands, study_commands, trial_commands
from asc_sweeps.cli.options import Commands
from asc_sweeps.cli.progress import make_output_inert
from asc_sweeps.errors import AscSweepsError, describe_os_error
from asc_sweeps.sweep.interruption import sigterm_as_sigint


def main() -> None:
    """Run a command; a user's mistake is told in a line or a few, without a traceback."""
    make_output_inert()
    sigterm_as_sigint()
    try:
        sys.exit(cli(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("interrupted; what was finished is kept, the same command goes on", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AscSweepsError as error:
        for line in str(error).splitlines():
            click.echo(line if line.startswith(" ") else f"error: {line}", err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno == errno.EPIPE:  # the reader of our output, e.g. `head`, has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        if error.errno is None:  # not the system's answer about a file, but a library's
            raise
        click.echo(
            f"error: {describe_os_error(error)}; nothing that was finished is lost, the same command goes on", err=True
        )
        sys.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asc-sweeps")
def cli() -> None:
    """Studies of low-complexity acoustic scene classification on Ray Tune.

    `asc-sweeps demo` runs everything once, small, on generated data.
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
