"""Steps from a file: `./mine.py:Shouting` in a recipe or on the command line.

The file is Python and runs, so it is only ever named by the recipe that the user runs: no data, no
prompt and no run folder of somebody else can name one. Its digest is part of the step's
fingerprint and of `run.yaml`: a changed file is another step.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from curate.errors import RecipeError, UsageError
from curate.step import Step

# What follows a second colon on the command line are the step's fields.
ADDRESS = re.compile(r"(?P<file>.+\.py):(?P<name>[^\W\d]\w*)")


def load(address: str) -> type[Step]:
    """Return the class that `address` names, from the file as it is now.

    Raises:
        RecipeError: the file or the class is not there, or the file cannot be imported.
    """
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise RecipeError(f"'{address}' is not a step: a step from a file is FILE.py:Class")
    path = Path(found["file"]).expanduser()
    if not path.is_file():
        raise RecipeError(
            f"there is no file {path} for the step '{address}' (seen from {Path.cwd()})"
        )
    module = _imported(path.resolve(), path.read_bytes())
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    own = [one for one in classes if issubclass(one, Step) and one.__module__ == module.__name__]
    steps = {one.__name__: one for one in own}
    if found["name"] not in steps:
        listed = ", ".join(steps) or "none; derive one from Filter, Generate, Whole, Gather or Grow"
        raise RecipeError(f"{path} holds no step '{found['name']}'; its steps: {listed}")
    step = steps[found["name"]]
    step.address, step.file_digest = address, module.__name__.rpartition("_")[2]
    return step


def check_unchanged(run: Mapping[str, Any]) -> None:
    """Raise where `run.yaml` names a file of steps that is not, here and now, the one it was.

    Raises:
        UsageError: a file is not there or has changed.
    """
    for step in run["recipe"]["steps"]:
        name = step if isinstance(step, str) else next(iter(step))
        found = ADDRESS.fullmatch(name)
        if found is None:
            continue
        path, wanted = Path(found["file"]).expanduser(), run.get("data", {}).get(name)
        if not path.is_file() or digest_of(path.read_bytes()) != wanted:
            raise UsageError(
                f"this run was made with the step '{name}', and {path} is not that file now; put "
                "it back, or run the recipe again"
            )


def digest_of(text: bytes) -> str:
    """Return the digest by which `run.yaml` knows a file of steps."""
    return hashlib.blake2b(text, digest_size=16).hexdigest()


@functools.lru_cache(maxsize=64)
def _imported(path: Path, text: bytes) -> ModuleType:
    # One module per content, so that equal recipes hold equal classes.
    name = f"curate_step_file_{digest_of(text)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their annotations up in it.
    sys.modules[name] = module
    try:
        exec(compile(text, path, "exec"), vars(module))
    except Exception as error:
        del sys.modules[name]
        frames = [f.lineno for f in traceback.extract_tb(error.__traceback__)]
        line = error.lineno if isinstance(error, SyntaxError) else frames[-1] if frames else None
        where = path if line is None else f"{path}:{line}"
        said = f"{where} cannot be imported: {type(error).__name__}: {error}"
        raise RecipeError(said) from error
    return module
