"""The command `curate`: one module per command, imported when the command is called.

Listing the commands must cost no more than typer itself, so their one-line helps are here, beside
the names; a test holds them equal to the docstrings.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from curate.cli import WHOLE_RUN
from curate.cli.failures import reported
from curate.system.lazy_pandas import set_up_pyarrow

COMMANDS = {
    "run": "Run a recipe: read the inputs, apply every step, write a run folder.",
    "filter": "Apply one or more steps to the rows of an input, and write those that are kept.",
    "generate": "Generate rows with one step, from an input or from nothing, and write them.",
    "preview": "Show a few rows, each next to what the steps did to it.",
    "steps": "List the operators, or describe one.",
    "models": "List the kinds of models, or check one with live requests.",
    "report": "Show what a run did: its funnel, reasons, scores and spending.",
    "explain": "Show a row's history: where it came from, and why it was kept, dropped or failed.",
    "similar": "Show the rows nearest in meaning to a text or a row, with their cosines.",
    "compare": "Compare two runs: counts, reasons, and the rows that ended differently.",
    "export": "Write the kept rows of a run, or the rows of a file, in another shape.",
    "push": "Push the kept rows of a run, or the rows of a file, to the Hugging Face Hub.",
    "review": "Look at rows in a browser and label them, alone or with several people at once.",
    "train": "Train a model on a run or a file: SFT, DPO, reward models, RL, SCAR rankers.",
    "prove": "Train on curated, random, longest and all rows, and report if the curation helped.",
    "evaluate": "Measure judges, preference data and models: agreement, biases, win rates.",
    "store": "Inspect and clean up the store of replies.",
    "doctor": "Check the installation, the machine and the store.",
    "agent": "Print everything that a coding agent needs to know, in one read.",
}
_ON_TABLES = (
    "run", "filter", "generate", "preview", "explain", "similar", "compare", "export", "push",
    "review",
)  # fmt: skip


# They say themselves what to do instead of giving an address, which depends on the option.
_REFUSE_ADDRESSES = ("run", "filter", "generate", "train")


class Commands(TyperGroup):
    """A group whose commands are modules of this package."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        # The names serve suggestions; `get_command` fills the values.
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order in which a reader meets them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the command `cmd_name`."""
        if cmd_name not in COMMANDS:
            return None
        if self.commands[cmd_name] is None:
            self.commands[cmd_name] = load(cmd_name)
        return self.commands[cmd_name]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors become a message and an exit code."""
        with reported(ctx):
            return super().invoke(ctx)


class Command(TyperCommand):
    """A command whose usage line is plain: what is in brackets may be left out, all else not."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; where it works on tables, with pyarrow set up for that."""
        if ctx.info_name in _ON_TABLES:
            set_up_pyarrow()
        fetch_runs(ctx)
        if ctx.info_name not in _REFUSE_ADDRESSES:
            refuse_addresses(ctx)
        return super().invoke(ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line, without braces around what must be given."""
        pieces = super().collect_usage_pieces(ctx)
        return [re.sub(r"^\{(.*)\}(\.*)$", r"\1\2", piece) for piece in pieces]


def fetch_runs(ctx: Any) -> None:
    """Put a copy on this machine in the place of a RUN that is published at an address."""
    if ctx.params.get("kind") == WHOLE_RUN:
        return
    for parameter in ctx.command.params:
        given, metavar = ctx.params.get(parameter.name), parameter.metavar or ""
        if parameter.param_type_name != "argument" or "RUN" not in metavar:
            continue
        if not isinstance(given, str | Path) or ":/" not in str(given):
            continue
        from curate.publish.run_copy import local_run
        from curate.system.credentials import address_of, is_address
        from curate.system.remote_run import may_be_run, published_run

        where = address_of(given)
        if is_address(given) and (metavar == "RUN" or (may_be_run(where) and published_run(where))):
            ctx.params[parameter.name] = type(given)(local_run(where))


def refuse_addresses(ctx: Any) -> None:
    """Raise `UsageError` where an option that takes a path of this machine has an address."""
    for parameter in ctx.command.params:
        given = ctx.params.get(parameter.name)
        # A `Path` has lost a slash: the folder `s3:` would be made here.
        if isinstance(given, Path) and ":/" in str(given):
            from curate.system.credentials import refuse_address

            name = parameter.opts[0] if parameter.opts[0].startswith("-") else parameter.metavar
            refuse_address(given, name, "name a path of this machine, and copy it afterwards")


def load(name: str) -> Any:
    """Return the command `name`, built from its module."""
    module = importlib.import_module(f"curate.cli.commands.{name}")
    if hasattr(module, "app"):
        command = typer.main.get_command(module.app)
    else:
        single = typer.Typer(
            add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
        )
        single.command(name, cls=Command)(module.command)
        command = typer.main.get_command(single)
    command.name = name
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"curate {version('curate-align')}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def curate(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Turn raw instructions, conversations and samples into datasets that can be defended.

    Exit codes: 0 done; 1 more rows failed than allowed; 2 recipe, arguments or input wrong, nothing
    spent; 3 a ceiling was reached; 4 stopped short; 130 interrupted. After 3, 4 and 130 the same
    command continues where it stopped.
    """


def main() -> None:
    """Run the command line."""
    # https://no-color.org: set to anything, it means no colour; otherwise the terminal decides.
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    color = False if plain else None
    # Look for no cycles at the very end: that frees nothing, and takes 60 ms with numba loaded. The
    # bindings of triton, which comes with vLLM, print whatever is left then as leaked.
    for stream in (sys.stdout, sys.stderr):
        # What a terminal or a pipe cannot show is replaced; it ends no run.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    atexit.register(lambda: None if "triton" in sys.modules else gc.freeze())
    typer.main.get_command(app).main(prog_name="curate", color=color)
