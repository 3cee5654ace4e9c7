"""Start a run from the command line and say how it ended."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from curate.cli.failures import say
from curate.cli.flags import Flags
from curate.cli.text_layout import headed, json_text, table
from curate.errors import FolderTaken, UsageError
from curate.system.credentials import is_address, refuse_address

if TYPE_CHECKING:
    from curate.pipeline import Pipeline, Result


def start(pipeline: Pipeline, flags: Flags, **options: Any) -> Result:
    """Run `pipeline` as `flags` (and `options`, which win) say, showing progress."""
    from curate.cli.progress import listening
    from curate.models.model import check_specs

    pipeline, told = flags.applied(pipeline)
    pipeline.check()
    check_specs(pipeline)
    if flags.save_as is not None:
        save(flags.as_read(pipeline), flags.save_as)
    with listening() as listener:
        try:
            result = pipeline.run(**flags.options(progress=listener, **options))
        except FolderTaken as taken:
            raise UsageError(next_commands(taken, options.get("output"), sys.argv[1:])) from taken
    for line in told:
        say(line)
    return result


def next_commands(taken: FolderTaken, output: Path | None, arguments: Sequence[str]) -> str:
    """Return what a folder holds, and the whole commands that keep both runs, or the new one.

    `arguments` are those of the command that was refused.
    """
    path, given = taken.path, list(arguments)
    if output is not None and output.exists() and output.stem.split(".")[0] == path.name:
        # Beside the folder the file of the other run would be replaced, too.
        free = _free(output)
        both = [str(free) if _names(word, output) else word for word in given]
    else:
        free = _free(path)
        both = [str(free) if _names(word, path) else word for word in given]
        for number, (before, word) in enumerate(itertools.pairwise(given), 1):
            # The run that is worked on in this folder is published there.
            if before == "-o" and is_address(word):
                both[number] = word.rstrip("/") + free.name.removeprefix(path.name)
        both += ["--run", str(free)] if both == given else []
    return (
        f"{taken.found}\n"
        f"  to keep both:        {shlex.join(['curate', *both])}\n"
        f"  to replace that one: {shlex.join(['curate', *given, '--replace'])}"
    )


def _names(word: str, path: Path) -> bool:
    return not word.startswith("-") and Path(word) == path


def _free(path: Path) -> Path:
    """Return the first of `path-2`, `path-3` and so on that is not there."""
    stem, dot, ending = path.name.partition(".")
    names = (path.with_name(f"{stem}-{number}{dot}{ending}") for number in itertools.count(2))
    return next(name for name in names if not name.exists())


def save(pipeline: Pipeline, path: Path) -> None:
    """Write the recipe to `path`, unless another one is there.

    Raises:
        UsageError: something else is there, nothing can be written there, or it is an address.
    """
    from curate.system.posix import no_room, write_atomically

    refuse_address(path, "--save-as", "choose a file of this machine, and copy it afterwards")
    text = pipeline.to_yaml()
    try:
        if path.exists() and path.read_bytes() != text.encode():
            raise UsageError(
                f"--save-as {path}: the file is there and differs; delete or rename it"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        if no_room(error):
            raise
        raise UsageError(
            f"--save-as {path}: cannot be written ({error.strerror}); name another file"
        ) from None


def finish(
    result: Result,
    flags: Flags,
    written: Sequence[str] = (),
    *,
    to_stderr: bool = False,
    as_json: bool = False,
) -> None:
    """Print what the run did and which files it has `written`, and leave with its exit code."""
    if flags.dry_run:
        # A person reads the plan, a program parses it.
        people = sys.stdout.isatty() and not as_json
        typer.echo(plan(result.summary) if people else json_text(result.summary))
        return
    message, code = result.message, result.exit_code
    if message is None and code == 1:
        failed = result.summary["failed"]
        rows = "row" if failed == 1 else "rows"
        message = (
            f"{failed:,} {rows} failed, more than --allow-failed {flags.allow_failed:g} allows; "
            f"`curate explain {result.folder}` shows some, {result.folder}/failed holds them"
        )
    if as_json:
        found = {
            "run": str(result.folder),
            "exit_code": code,
            "message": message,
            "written": list(written),
            "report": result.summary,
        }
        typer.echo(json_text(found))
    else:
        lines = [headed(result.report()), f"\nrun        {result.folder}"]
        for number, path in enumerate(written):
            lines.append(f"{'' if number else 'kept rows':<11}{path}")
        if result.summary["dropped"] or result.summary["failed"]:
            lines.append(f"reasons    curate explain {result.folder}")
        typer.echo("\n".join(lines), err=to_stderr)
    if message:
        say(message)
    if code:
        raise typer.Exit(code)


def plan(summary: Mapping[str, Any]) -> str:
    """Return the plan of a dry run as text for people."""
    inputs = [
        [f"  {entry['input']}", entry["file"], entry["shape"], f"{entry['size']:,} bytes"]
        for entry in summary["inputs"]
    ]
    steps = [
        [
            f"  {number}",
            step["label"],
            step["name"] if step["name"] != step["label"] else "",
            "asks a model" if step["asks"] else "",
        ]
        for number, step in enumerate(summary["steps"], 1)
    ]
    parts = [f"would read {' and '.join(summary['kinds'])} rows of"]
    parts += [table([], inputs) if inputs else "  rows in memory", "would do"]
    parts += [table([], steps)]
    if "estimate" in summary:
        parts.append(expected(summary["estimate"]))
        from curate.cli.progress import clock

        parts += [
            f"'{name}' would take about {clock(one['seconds'])} ({one['basis']})"
            for name, one in summary.get("time", {}).items()
        ]
        return "\n".join([*parts, "nothing was sent"])
    parts.append("nothing was read beyond the first records, and nothing was sent")
    return "\n".join(parts)


def expected(estimate: Mapping[str, Any]) -> str:
    """Return what a run would ask, and for how much, in a line."""
    price = estimate["cost_usd"]
    money = f"for about ${price:.4g}" if price else "for $0"
    money = "for a price that is not known" if price is None else money
    end = f", as far as step '{estimate['ends_at']}'" if estimate["ends_at"] else ""
    if "all_failed" in estimate:
        end += f", in which all sampled rows failed ({estimate['all_failed']})"
    batches = "".join(
        f"; {batch['discount']:.0%} off in batch jobs of '{name}' ({batch['source']})"
        for name, batch in estimate.get("batch", {}).items()
    )
    if estimate.get("none_fails"):
        end += ", as if no reply failed: a row whose reply is cut off or unusable asks no more"
    stored = f"{estimate['replayed']:,} more" if estimate["replayed"] else "none of them"
    return (
        f"would ask about {estimate['requests']:,} requests (the store has {stored}), "
        f"{estimate['input_tokens']:,} + {estimate['output_tokens']:,} tokens, "
        f"{money}{end}; from a sample of {estimate['sampled_rows']:,} rows{batches}"
    )
