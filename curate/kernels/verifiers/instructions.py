"""Check which of the constraints of an instruction a reply follows (IFEval, IFBench).

The gold names them: `{"instruction_id_list": [...], "kwargs": [{...}, ...]}`, as both benchmarks
and open_instruct's data write it (there `instruction_id`), a list of such objects, or that as JSON
text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

# Imported for what they enter into the registry.
from curate.kernels.verifiers.constraints import ifbench, ifbench_custom, ifeval
from curate.kernels.verifiers.constraints.registry import CONSTRAINTS
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification
from curate.recipe.catalog import closest

FAMILIES = (ifeval, ifbench, ifbench_custom)
_NAMES = ("instruction_id_list", "instruction_id", "id")


def verify_instructions(reply: str, gold: Any) -> Verification:
    """Return the share of the constraints that a reply follows; an empty reply follows none."""
    followed = []
    for name, arguments in constraints_in(gold):
        try:
            passed = bool(reply.strip()) and CONSTRAINTS[name].check(reply, *arguments.values())
        except (TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
            _refuse(f"'{name}' cannot be checked with {json.dumps(arguments)}: {error}")
        followed.append({"constraint": name, "followed": bool(passed)})
    share = sum(one["followed"] is True for one in followed) / len(followed)
    return Verification(share, {"constraints": followed})


def constraints_in(gold: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the constraints that a gold names, with their arguments.

    Raises:
        UnreadableAnswer: there is none, one is unknown, or an argument is missing or unknown.
    """
    if isinstance(gold, str):
        try:
            gold = json.loads(gold)
        except ValueError:
            _refuse(f"it is not JSON: {gold[:80]!r}")
    found = False
    for entry in gold if isinstance(gold, list) else [gold]:
        if not isinstance(entry, Mapping):
            _refuse(f"{type(entry).__name__} is not an object with instruction_id_list and kwargs")
        ids = next((entry[name] for name in _NAMES if entry.get(name) is not None), None)
        given = entry.get("kwargs")
        ids, given = ([ids], [given]) if isinstance(ids, str) else (ids, given)
        if not isinstance(ids, list) or not isinstance(given, list) or len(ids) != len(given):
            _refuse("instruction_id_list and kwargs must be lists of one length")
        for name, arguments in zip(ids, given, strict=True):
            found = True
            yield name, _arguments(name, arguments)
    if not found:
        _refuse("it names no constraint")


def _arguments(name: Any, given: Any) -> dict[str, Any]:
    """Return a constraint's arguments: nulls stand for those of other constraints."""
    if name not in CONSTRAINTS:
        _refuse(f"unknown constraint '{name}'{closest(str(name), CONSTRAINTS)}")
    if not isinstance(given, Mapping | None):
        _refuse(f"the arguments of '{name}' are {type(given).__name__}, not an object")
    known = CONSTRAINTS[name].arguments
    told = {key: value for key, value in (given or {}).items() if value is not None}
    if set(told) != set(known):
        _refuse(
            f"'{name}' takes {', '.join(known) or 'nothing'}; given: {', '.join(told) or 'nothing'}"
        )
    # Tables write whole numbers as 5.0 where other rows have none.
    whole = {k: int(v) if isinstance(v, float) and v.is_integer() else v for k, v in told.items()}
    for key, type_ in known.items():
        if not CONSTRAINTS[name].takes(key, whole[key]):
            _refuse(f"{key} of '{name}' is {json.dumps(whole[key]):.60}; it must be {type_}")
    return {key: whole[key] for key in known}


def _refuse(message: str) -> NoReturn:
    raise UnreadableAnswer("gold", f"the gold holds no readable constraints: {message}")
