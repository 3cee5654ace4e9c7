"""Errors at the edge: what the user reads, and the exit code the shell gets."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from curate.errors import CeilingReached, CurateError, StepFailed, StoppedShort

# Where the flag --debug is kept for the handler, which is outside the command.
DEBUG = "curate.debug"
ERROR = "error:"


@contextmanager
def reported(ctx: Any) -> Iterator[None]:
    """Turn exceptions into one message on stderr and an exit code; `--debug` adds a traceback."""
    try:
        yield
        sys.stdout.flush()
    except CurateError as error:
        _say(ctx, f"{ERROR} {error}")
        # After a step that failed, the same command would only fail again.
        if isinstance(error, CeilingReached | StoppedShort) and not isinstance(error, StepFailed):
            say("nothing that was paid for is lost: the same command continues")
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt as error:
        _say(ctx, "interrupted; the same command continues")
        if threading.active_count() > 1:
            leave(130)
        raise SystemExit(130) from error
    except BrokenPipeError as error:
        # Whoever read the output has seen enough. Python must not flush into the pipe again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from error
    except (SystemExit, typer.Exit, typer.Abort):
        raise
    except Exception as error:
        # Typer shows errors about arguments itself, with the usage and exit code 2.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            takes_steps = ctx.invoked_subcommand in ("filter", "preview")
            if takes_steps and type(error).__name__ == "NoSuchOption":
                error.message += (  # type: ignore[attr-defined]
                    "; a field of a step follows it behind a colon, as in length:min=3,on=whole"
                )
            raise
        from curate.system.posix import no_room

        if no_room(error):
            where = getattr(error, "filename", None)
            there = f" for {where}" if where else ""
            _say(ctx, f"{ERROR} no room left on the disk{there}: free some")
            say("nothing that was paid for is lost: the same command continues")
            raise SystemExit(4) from error
        said = f"unexpected {type(error).__name__}: {error}"
        _say(ctx, f"{ERROR} {said} (run again with --debug for the traceback)")
        raise SystemExit(4) from error


def leave(code: int) -> NoReturn:
    """Leave at once, without waiting for a thread or a worker in the middle of a slow row.

    A run survives a kill at any instant, so it survives this, too.
    """
    workers = sys.modules.get("multiprocessing")
    for child in workers.active_children() if workers else ():
        child.terminate()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def say(text: str) -> None:
    """Write a line for people to stderr; stdout is for results."""
    from curate.row import printable
    from curate.system.credentials import without_secrets

    said = "\n".join(map(printable, without_secrets(text).split("\n")))
    if said.startswith(ERROR):
        # Where stderr is not a terminal, echo takes the colour away.
        said = typer.style(ERROR, fg="red", bold=True) + said.removeprefix(ERROR)
    typer.echo(said, err=True)


def _say(ctx: Any, text: str) -> None:
    if ctx.meta.get(DEBUG):
        import traceback

        from curate.system.credentials import without_secrets

        sys.stderr.write(without_secrets(traceback.format_exc()))
    say(text)
