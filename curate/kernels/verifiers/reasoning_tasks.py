"""Check answers to generated tasks by the scoring rule of their family (reasoning-gym)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from curate.kernels.text.final_answers import final_answer
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification, VerifyOptions
from curate.recipe.catalog import closest
from curate.system.confined.program import why_not_confined
from curate.system.killable import JobKilled, killable_pool

POOL_FUNCTION = "curate.kernels.verifiers.task_scores:score"
_TAGGED = re.compile(r"<answer>(.*?)</answer>", re.S)
# Its rule gives every answer the full score.
_LAX = ("game_of_life_halting",)


def verify_task(reply: str, gold: Any, options: VerifyOptions) -> Verification:
    """Return the score, from 0 to 1, that a task's family gives the answer in a reply.

    The gold is the entry that the family made: `answer` and `metadata`, which names the family
    (`source_dataset`); either may be JSON text. The answer is what the last `<answer>` holds, or
    what is marked, or all of the reply.
    """
    if (why := why_not_confined()) is not None:
        raise ValueError(f"some families evaluate the answer, so it must be confined: {why}")
    entry = _entry_in(gold)
    family = entry["metadata"]["source_dataset"]
    answer = _answer_in(reply)
    pool = killable_pool(POOL_FUNCTION, options.seconds, options.memory_mb)
    try:
        found = pool.call({"family": family, "answer": answer, "entry": entry})
    except JobKilled as error:
        raise ValueError(f"the answer could not be scored: {error}") from None
    if "families" in found:
        _refuse(f"unknown family '{family}'{closest(family, found['families'])}")
    if found["own"] is not None and found["own"] < 1:
        # As with arc_agi, whose grids are no longer tuples once they were JSON.
        _refuse(f"the family '{family}' gives the entry's own answer {found['own']:g}")
    shown = {"family": family, "found": answer[:200], "score": found["score"]}
    return Verification(min(1.0, max(0.0, found["score"])), shown)


def _answer_in(reply: str) -> str:
    if tagged := _TAGGED.findall(reply):
        answer = str(tagged[-1]).strip()
    else:
        marked = final_answer(reply)
        answer = (reply if marked is None else marked).strip()
    if not answer:
        raise UnreadableAnswer("reply", f"the reply holds no answer: {reply[-80:]!r}")
    return answer


def _entry_in(gold: Any) -> dict[str, Any]:
    """Return a gold as an entry with `answer` and `metadata`, the family in `source_dataset`."""
    entry = _object(gold, "the gold")
    metadata = _object(entry.get("metadata"), "metadata")
    family = metadata.get("source_dataset")
    if not isinstance(family, str):
        _refuse("metadata names no source_dataset")
    if family in _LAX:
        _refuse(f"the family '{family}' accepts any answer")
    if "answer" not in entry:
        _refuse("it has no answer")
    return {**entry, "metadata": metadata}


def _object(value: Any, what: str) -> dict[str, Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            _refuse(f"{what} is not JSON: {value[:80]!r}")
    if not isinstance(value, Mapping):
        _refuse(f"{what} is {type(value).__name__}, not an object")
    return dict(value)


def _refuse(message: str) -> NoReturn:
    raise UnreadableAnswer("gold", f"the gold holds no task: {message}")
