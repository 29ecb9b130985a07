"""What commands share: their options, and a group that knows the nearest command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from asc_sweeps.errors import WorkspaceError, did_you_mean
from asc_sweeps.workspace.paths import Workspace


def _named(ctx: click.Context, option: click.Parameter, value: str) -> str:
    if Path(value) == Path():  # an empty word, too
        raise click.BadParameter("must name a folder; '.' would mix data and results with what lies here")
    return value


def workspace_option(command: Any) -> Any:
    """`--workspace PLACE`, handed on as `place`."""
    return click.option(
        "--workspace",
        "place",
        metavar="DIR|URL",
        callback=_named,
        default="workspace",
        envvar="ASC_SWEEPS_WORKSPACE",
        show_default=True,
        help="Where data, trials and results are: a folder, or an object store (s3://bucket/workspace).",
    )(command)


def existing_workspace(place: str, accelerator: str = "auto") -> Workspace:
    """The workspace at `place`, with what others have written; raises WorkspaceError where there is none."""
    workspace = Workspace.at(place, accelerator=accelerator)
    workspace.pull()
    if not workspace.root.is_dir():
        raise WorkspaceError(
            f"{place}: there is no such workspace; `asc-sweeps demo` or a sweep makes one, --workspace names it"
        )
    return workspace


also_option = click.option(
    "--also",
    "others",
    multiple=True,
    metavar="DIR|URL",
    help="Another workspace whose results are read, too; may be repeated.",
)
set_option = click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="A setting, e.g. model.width=48.")
data_option = click.option("--data", metavar="DIR", help="Folder of the data set (meta.csv, audio/).")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
mini_option = click.option("--mini", is_flag=True, help="The small size of the study, on generated data.")
seeds_option = click.option("--seeds", metavar="N|A,B,..", help="Number of seeds, or a list of them.")
storage_option = click.option(
    "--storage", metavar="URL", help="Optuna's database of searches.  [default: SQLite in the workspace]"
)
from_option = click.option(
    "--from",
    "report",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="REPORT",
    help="Run the studies of a report again, trial by trial; all of them, or those that are named.",
)
accelerator_option = click.option(
    "--accelerator",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="What computes.",
)


def named_or_from(spaces: tuple[str, ...], report: Path | None) -> None:
    """Refuse a command that names no study."""
    if not spaces and report is None:
        raise click.UsageError("Missing argument 'SPACE...'.")


class Commands(click.Group):
    """A group that names the nearest command when there is no such one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of this name; otherwise an error with the nearest name."""
        if self.get_command(ctx, args[0]) is None:
            known = self.list_commands(ctx)
            ctx.fail(f"no such command '{args[0]}'{did_you_mean(args[0], known) or '; known: ' + ', '.join(known)}")
        return super().resolve_command(ctx, args)
