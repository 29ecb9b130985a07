"""Options of several commands, each named after the parameter that the command gets; a group that suggests commands."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from asc_sweeps.errors import WorkspaceError, did_you_mean
from asc_sweeps.workspace.paths import Workspace

PER_CORE = "one per CPU core"


def _refuse_current_folder(context: click.Context, option: click.Parameter, value: str) -> str:
    if Path(value) == Path():  # an empty string, too
        raise click.BadParameter("must name a folder other than '.', which would mix the workspace with other files")
    return value


location = click.option(
    "--workspace", "location", metavar="DIR|URL", callback=_refuse_current_folder, default="workspace",
    envvar="ASC_SWEEPS_WORKSPACE", show_envvar=True,
    help="Workspace for data, trials and results: a folder or an object store (s3://bucket/workspace).",
)  # fmt: skip
also = click.option(
    "--also", multiple=True, metavar="DIR|URL", help="Additional workspace to read results from (repeatable)."
)
sets = click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Setting to override, e.g. model.width=48 (repeatable)."
)
data = click.option("--data", metavar="DIR", help="Data set folder, with meta.csv and audio/.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
storage = click.option(
    "--storage", metavar="URL", show_default="SQLite in the workspace", help="Database for Optuna's searches."
)
accelerator = click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    help="Hardware; auto: CUDA if available.",
)
_STUDY_OPTIONS = (
    click.argument("spaces", nargs=-1, metavar="SPACE..."),
    click.option(
        "--from", "report", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="REPORT",
        help="Report whose studies to repeat, trial by trial: those named by SPACE, or all.",
    ),
    click.option("--mini", is_flag=True, help="Use the mini size of the studies, on generated data."),
    data,
    sets,
    click.option("--seeds", metavar="N|A,B,..", help="Number of seeds (3: seeds 0, 1, 2) or a list of seeds (0,4,7)."),
    location,
)  # fmt: skip


def count(name: str, text: str, least: int = 1, **more: Any) -> Callable[..., Any]:
    """An option that takes a whole number of at least `least`."""
    return click.option(name, type=click.IntRange(least), metavar="N", help=text, **more)


def out(text: str, default: str, dir_okay: bool = False) -> Callable[..., Any]:
    """`--out FILE`; `default` says which file is written without it."""
    path = click.Path(path_type=Path, dir_okay=dir_okay)
    return click.option("--out", type=path, metavar="FILE", show_default=default, help=text)


def studies(command: Callable[..., None]) -> Callable[..., None]:
    """Add SPACE... and the options that choose and change studies; the command gets them as one `request`."""

    @functools.wraps(command)
    def with_request(
        spaces: tuple[str, ...], report: Path | None, mini: bool, data: str | None, sets: tuple[str, ...],
        seeds: str | None, **others: Any,
    ) -> None:  # fmt: skip
        if not spaces and report is None:
            raise click.UsageError("name at least one study (SPACE), or a report with --from REPORT")
        from asc_sweeps.config.request import read_request

        command(read_request(spaces, mini, data, sets, seeds, report=report), **others)

    for add in reversed(_STUDY_OPTIONS):
        with_request = add(with_request)
    return with_request


def existing_workspace(location: str, accelerator: str = "auto") -> Workspace:
    """The workspace at a folder or URL, with what other machines have written; raises WorkspaceError if there is none."""
    workspace = Workspace.at(location, accelerator=accelerator)
    workspace.pull()
    if not workspace.root.is_dir():
        raise WorkspaceError(
            f"{location}: no such workspace; create one with `asc-sweeps demo` or `asc-sweeps sweep`, "
            "or name another with --workspace"
        )
    return workspace


class CommandGroup(click.Group):
    """Lists its commands in the order of their use, and suggests the nearest one for an unknown name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order in which they were added."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of this name; otherwise an error with the nearest name."""
        if self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            ctx.fail(f"no such command '{args[0]}'{did_you_mean(args[0], known) or '; known: ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)
