"""Put a program together from a reply, and run unit tests on it: a script for a confined process.

It reads one line of JSON and a secret that follows. Results go to where standard output was, each
with the secret, which is read only after the program has been loaded: one that ends early, or
prints results of its own, has passed no test. What the program prints is thrown away. It imports
nothing but Python's own modules, because it runs without the package.
"""

from __future__ import annotations

import ast
import json
import os
import re
import sys
import warnings
from typing import Any

_FENCE = re.compile(r"```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:```|\Z)", re.S)
SECRET = 32


def program_of(reply: str, prompt: str, entry_point: str) -> str | None:
    """Return the program that a reply gives; `None`: there is none in it.

    It is what stands in the fences of Python, or all of the reply. One that does not define
    `entry_point` goes on with `prompt`, as HumanEval's completions do; of another one the prompt
    brings the imports.
    """
    blocks = _FENCE.findall(reply)
    marked = [code for language, code in blocks if language.lower() in ("python", "py", "python3")]
    codes = marked or [code for language, code in blocks if not language] or [reply]
    sound = [code for code in codes if _parsed(code) is not None]
    # Of several fences, one may hold what it prints.
    code = "\n".join(sound) if sound else codes[-1]
    if entry_point and prompt:
        if not _defines(code, entry_point):
            if _defines(prompt + code, entry_point):
                return prompt + code
        elif _parsed(prompt) is not None:
            return f"{prompt}\n\n{code}"
    return code if blocks or sound else None


def _parsed(code: str) -> ast.Module | None:
    if not code.strip():
        return None
    try:
        return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(code: str, name: str) -> bool:
    """Return whether a program gives `name` a value at its top level."""
    found = _parsed(code)
    if found is None:
        return False
    names: set[str] = set()
    for node in found.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(one.id for one in node.targets if isinstance(one, ast.Name))
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names.update(alias.asname or alias.name for alias in node.names)
    return name in names


def raised_by(code: str, namespace: dict[str, Any]) -> dict[str, Any] | None:
    """Run a text in `namespace` and return what it raised."""
    try:
        exec(compile(code, "program.py", "exec"), namespace)
    except BaseException as error:  # a program may raise anything, or exit
        number = error.errno if isinstance(error, OSError) else None
        try:
            said = " ".join(str(error).split())[:200]
        except BaseException:  # even that may be the program's
            said = ""
        return {"type": type(error).__name__, "errno": number, "said": said}
    return None


def main() -> None:
    """Read what to test, test it, and write what came of it."""
    results = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    warnings.simplefilter("ignore")
    # Unbuffered: the secret is not in memory while the program loads.
    line = bytearray()
    while not line.endswith(b"\n"):
        line += os.read(0, 1)
    told = json.loads(line)
    program = program_of(told["reply"], told["prompt"], told["entry_point"])
    namespace: dict[str, Any] = {"__name__": "program"}
    raised = None
    if program is not None and not told["only_program"]:
        raised = raised_by(f"{told['setup']}\n{program}" if told["setup"] else program, namespace)
    secret = os.read(0, SECRET).decode()

    def tell(**values: Any) -> None:
        os.write(results, json.dumps({"secret": secret, **values}).encode() + b"\n")

    tell(program=program if told["only_program"] or program is None else "", raised=raised)
    if program is not None and raised is None:
        for number, test in enumerate(told["tests"]):
            tell(test=number, raised=raised_by(test, dict(namespace)))
    os._exit(0)


if __name__ == "__main__":
    sys.setrecursionlimit(5000)
    main()
