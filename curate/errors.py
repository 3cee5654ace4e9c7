"""Every error that `curate` raises on purpose, and the exit code each one means.

    CurateError                 something the user must know            exit 4 unless said otherwise
    ├── UsageError              recipe, arguments or input are wrong    exit 2, nothing spent
    │   ├── RecipeError         ... in a recipe: file, line and step
    │   │   └── MissingExtra    ... a step needs a package that is not installed
    │   ├── InputError          ... in a data file
    │   │   └── NoRows          ... which is empty
    │   ├── ShapeMisfit         ... a row that the shape of a file has no place for
    │   └── FolderTaken         ... the run folder holds another run
    ├── CeilingReached          --max-cost or --max-requests            exit 3
    ├── StoppedShort            the run cannot go on                    exit 4
    │   ├── DiskFull            no room for the store or the run folder
    │   └── StoreError          the store cannot be read or written
    └── ModelError              one request failed
        ├── TemporaryFault      ... worth another try (429, 5xx, time-out)
        ├── UnusableReply       ... a reply came and was paid, but no step can use it
        └── PermanentFault      ... no second try will help (400, 401, 404)
            └── NotSent         ... refused before it was sent

A message says what was found, what is allowed and what to do next. Failures of one row are not
raised to the user: the engine turns them into a *failed* row, whatever the exception's class.
"""

from __future__ import annotations

from pathlib import Path


class CurateError(Exception):
    """Say what went wrong and end the command with `exit_code`."""

    exit_code = 4


class UsageError(CurateError):
    """Reject arguments, a recipe or input before anything is spent."""

    exit_code = 2


class RecipeError(UsageError):
    """Reject a recipe, naming its file, line and step where they are known."""

    def __init__(
        self,
        message: str,
        *,
        file: str | None = None,
        line: int | None = None,
        step: str | None = None,
    ) -> None:
        """Prefix `message` with `file:line` and the step's label."""
        self.message, self.file, self.line, self.step = message, file, line, step
        where = f"{file}:{line}: " if file and line else f"{file}: " if file else ""
        super().__init__(where + (f"step '{step}': " if step else "") + message)


class MissingExtra(RecipeError):
    """Name the extra that a step needs and the command that installs it."""


class InputError(UsageError):
    """Reject an input that holds nothing readable, or whose shape is unknown."""


class NoRows(InputError):
    """Reject a file without a row; among other files of an input it is one with none to read."""


class ShapeMisfit(UsageError):
    """A row that has something for which the shape of a file has no place."""


class FolderTaken(UsageError):
    """Reject a run folder that holds another run; the command line adds the commands that help."""

    def __init__(self, path: Path, found: str) -> None:
        """Say what the folder at `path` holds, and what may be done about it."""
        self.path, self.found = path, f"{path} holds a run of other {found}"
        super().__init__(
            f"{self.found}; give this run a folder of its own (--run RUN), or add --replace (the "
            "store makes it cheap)"
        )


class CeilingReached(CurateError):
    """Stop because the next request could pass the user's ceiling."""

    exit_code = 3


class StoppedShort(CurateError):
    """Stop because the run cannot go on; the same command continues later."""


class StepFailed(StoppedShort):
    """Stop because a step failed at what concerns all rows; it or its input must change first."""


class DiskFull(StoppedShort):
    """Stop because a disk has no room left."""


class StoreError(StoppedShort):
    """Stop because the store cannot be read or written."""


class ModelError(CurateError):
    """Fail one request."""


class TemporaryFault(ModelError):
    """Fail one attempt of a request that may succeed when it is tried again."""

    def __init__(
        self, message: str, *, cause: str = "error", retry_after: float | None = None
    ) -> None:
        """Keep the `cause` (one word, counted) and the server's `retry_after` seconds."""
        super().__init__(message)
        self.cause, self.retry_after = cause, retry_after


class PermanentFault(ModelError):
    """Fail a request that no second try can save."""

    def __init__(self, message: str, *, for_all: bool = False) -> None:
        """Keep whether every other request to this model would meet the same."""
        super().__init__(message)
        self.for_all = for_all


class NotSent(PermanentFault):
    """Fail a request that the model cannot be sent; it costs nothing and counts as no attempt."""


class UnusableReply(ModelError):
    """Fail a row whose reply was received and paid for, but cannot be used."""

    def __init__(self, message: str, *, key: str = "") -> None:
        """Keep the reply's `key`, which tells `--retry-failed` which one of several was bad."""
        super().__init__(message)
        self.key = key
