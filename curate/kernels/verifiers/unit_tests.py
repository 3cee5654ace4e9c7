"""Check a reply's Python program by unit tests, in a confined process."""

from __future__ import annotations

import errno
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from curate.kernels.verifiers import code_harness
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification, VerifyOptions
from curate.system.confined.program import ProgramEnd, ProgramLimits, run_confined, why_not_confined

_HARNESS = Path(code_harness.__file__)
# What a refusal by the confinement looks like from inside.
_REFUSED = {
    errno.ENETDOWN: "network refused",
    errno.EAGAIN: "processes refused",
    errno.ESRCH: "other processes refused",
    errno.EACCES: "files outside refused",
    errno.EFBIG: "file too large",
    errno.ENOMEM: "memory limit",
}
_LIMITS = {"time": "time limit", "files": "files too large", "output": "too much output"}
_SHOWN = 20


class UnitTests(NamedTuple):
    """What a gold asks of a program: texts that raise where it is wrong, or inputs and outputs."""

    texts: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    setup: str = ""
    prompt: str = ""
    entry_point: str = ""


def verify_code(reply: str, gold: Any, options: VerifyOptions) -> Verification:
    """Return the share of the unit tests that a reply's program passes."""
    if not options.allow_code:
        raise ValueError("checker: code runs the programs of replies; allow it (allow_code: true)")
    if (why := why_not_confined()) is not None:
        raise ValueError(f"programs of replies cannot be run here: {why}")
    tests = unit_tests_in(gold)
    limits = ProgramLimits(options.seconds, options.memory_mb)
    told = {
        "reply": reply,
        "prompt": tests.prompt,
        "entry_point": tests.entry_point,
        "setup": tests.setup,
        "tests": tests.texts,
        "only_program": bool(tests.pairs),
    }
    secret = secrets.token_hex(code_harness.SECRET // 2)
    given = json.dumps(told).encode() + b"\n" + secret.encode()
    ended = run_confined("", limits, given=given, script=_HARNESS)
    # The harness's own lines: a program may have written others.
    heard = [json.loads(line) for line in ended.output.splitlines() if secret in line]
    first, results = heard[0] if heard else None, heard[1:]
    if first is not None and first["program"] is None:
        raise UnreadableAnswer("reply", f"the reply holds no Python program: {reply[-80:]!r}")
    if tests.pairs:
        if first is None:
            return _verification([_of_process(ended)] * len(tests.pairs))
        return _verification([_printed(first["program"], *pair, limits) for pair in tests.pairs])
    if first is None or first["raised"] is not None:
        why = _of_process(ended) if first is None else _of_raised(first["raised"])
        return _verification([f"before the tests: {why}"] * len(tests.texts))
    reasons = [None if one["raised"] is None else _of_raised(one["raised"]) for one in results]
    reasons += [_of_process(ended)] * (len(tests.texts) - len(results))
    return _verification(reasons)


def _printed(program: str, given: str, wanted: str, limits: ProgramLimits) -> str | None:
    """Return why a program does not print what is wanted; `None`: it does."""
    ended = run_confined(program, limits, given=given.encode())
    if ended.passed_limit is not None or ended.status != 0:
        return _of_process(ended)
    got, right = (
        [line.rstrip() for line in text.rstrip().splitlines()] for text in (ended.output, wanted)
    )
    return None if got == right else "other output"


def _of_raised(raised: Mapping[str, Any]) -> str:
    """Return the reason of a failed test, the confinement's refusals by their names."""
    said = f"{raised['type']}: {raised['said']}" if raised["said"] else raised["type"]
    named = _REFUSED.get(raised["errno"])
    if raised["type"] == "MemoryError":
        named = "memory limit"
    if "can't start new thread" in said:
        named = "processes refused"
    return f"{named} ({said})" if named else said


def _of_process(ended: ProgramEnd) -> str:
    """Return why a process told nothing more."""
    if ended.passed_limit is not None:
        return _LIMITS[ended.passed_limit]
    last = (ended.errors.strip().splitlines() or [""])[-1][:200]
    if "MemoryError" in last:
        return f"memory limit ({last})"
    for number, named in _REFUSED.items():
        if f"[Errno {number}]" in last:
            return f"{named} ({last})"
    return f"ended with status {ended.status}" + (f" ({last})" if last else "")


def _verification(reasons: Sequence[str | None]) -> Verification:
    """Return the share of tests without a reason against them."""
    passed = sum(reason is None for reason in reasons)
    failed = [{"test": n, "reason": r} for n, r in enumerate(reasons) if r is not None]
    shown = {"passed": passed, "tests": len(reasons), "failures": failed[:_SHOWN]}
    return Verification(passed / len(reasons), shown)


def unit_tests_in(gold: Any) -> UnitTests:
    """Return the tests that a gold holds.

    A text or a list of texts: assertions (MBPP, KodCode). An object: `test` and `entry_point`, and
    the `prompt` that a completion goes on with (HumanEval); `test_list` with `test_setup_code`; or
    `inputs` and `outputs`, what the program reads and prints. All of that may be JSON text.
    """
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except ValueError:
            gold = [gold]
    if isinstance(gold, str):
        gold = [gold]
    if isinstance(gold, list):
        listed = all(isinstance(one, str) for one in gold)
        gold = {"test_list": gold} if listed else _as_columns(gold)
    if not isinstance(gold, Mapping):
        _refuse(f"{type(gold).__name__} is not an object, list or text")
    texts = _texts(gold, "test_list") or ([gold["test"]] if gold.get("test") else [])
    entry_point = gold.get("entry_point") or ""
    if gold.get("test") and entry_point:
        texts = [f"{gold['test']}\n\ncheck({entry_point})\n"]
    setup, prompt = gold.get("test_setup_code") or "", gold.get("prompt") or ""
    inputs, outputs = _texts(gold, "inputs"), _texts(gold, "outputs")
    named = (*texts, *inputs, *outputs, setup, prompt, entry_point)
    if not all(isinstance(one, str) for one in named):
        _refuse("tests, inputs, outputs, test_setup_code, prompt and entry_point must be strings")
    if len(inputs) != len(outputs) or bool(texts) == bool(inputs):
        _refuse("it needs test, test_list, or inputs and as many outputs")
    return UnitTests(
        tuple(texts), tuple(zip(inputs, outputs, strict=True)), setup, prompt, entry_point
    )


def _texts(gold: Mapping[str, Any], name: str) -> list[Any]:
    """Return a list of texts; a text is that list as JSON, or the only one."""
    value = gold.get(name) or []
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except ValueError:
            found = None
        listed = isinstance(found, list) and all(isinstance(one, str) for one in found)
        value = found if listed else [value]
    if not isinstance(value, list):
        _refuse(f"{name} is {type(value).__name__}, not a list of texts")
    return value


def _as_columns(pairs: list[Any]) -> dict[str, list[Any]]:
    """Return a list of objects with `input` and `output` as two lists."""
    if not all(isinstance(one, Mapping) and {"input", "output"} <= set(one) for one in pairs):
        _refuse("a list must hold texts, or objects with input and output")
    return {name + "s": [one[name] for one in pairs] for name in ("input", "output")}


def _refuse(message: str) -> NoReturn:
    raise UnreadableAnswer("gold", f"the gold holds no unit tests: {message}")
