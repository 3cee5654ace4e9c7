"""Rewards of verified answers, each by the gold answer and the checker that its own row names.

What `--as grpo`, `verl` and `open_instruct` write is read here by the trainers themselves: TRL
calls `verified_reward`, verl `compute_score` (its `custom_reward_function`). An answer that its
checker cannot read is worth 0, as a wrong one is: a policy that has not learnt to answer must be
told so. A gold answer that cannot be read is an error.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from curate.errors import UsageError
from curate.read.shapes.record_fields import messages_of
from curate.read.shapes.verified.gold import gold_in
from curate.row import Message
from curate.steps.verify._checked_answers import verifier_of
from curate.train.rewards import StepReward

Turns = str | Sequence[Mapping[str, Any]]


def verified_reward(
    prompts: Sequence[Turns],
    completions: Sequence[Turns],
    *,
    ground_truth: Sequence[Any],
    verifier: Sequence[str],
    **columns: Sequence[Any],
) -> list[float]:
    """Return the share that each completion passes of its own row's checker, as TRL asks for it.

    Raises:
        UsageError: a row names no checker that there is, or its gold answer cannot be read.
    """
    given = zip(prompts, completions, ground_truth, verifier, strict=True)
    found = []
    for number, (prompt, completion, gold, name) in enumerate(given):
        own = {key: values[number] for key, values in columns.items() if isinstance(values, list)}
        turns = _turns(prompt, "user")
        answer = "\n".join(turn.content for turn in _turns(completion, "assistant"))
        found.append(reward_of(turns, answer, gold, name, own))
    return found


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: Mapping[str, Any] | None = None,
    **_: Any,
) -> float:
    """Return the share that a solution passes, as verl asks for it.

    Raises:
        UsageError: `extra_info` names no checker, or the gold answer cannot be read.
    """
    info = extra_info or {}
    name = info.get("verifier") or data_source.removeprefix("curate/")
    return reward_of((), solution_str, gold_in(ground_truth), name, info)


def reward_of(
    prompt: Sequence[Message],
    answer: str,
    gold: Any,
    verifier: str,
    columns: Mapping[str, Any],
) -> float:
    """Return the share that an answer passes; its thoughts, if it has any, are not looked at."""
    reward = _reward(verifier)
    own = {key: value for key, value in columns.items() if value is not None}
    own[reward.gold] = gold
    return reward.of((*prompt, Message("assistant", answer)), own)


def _turns(given: Turns, role: str) -> tuple[Message, ...]:
    if isinstance(given, str):
        return (Message(role, given),)
    return messages_of(list(given), "messages") if given else ()


@functools.lru_cache(maxsize=256)
def _reward(text: str) -> StepReward:
    """Return the reward that a column names, by its checker or as JSON with its fields."""
    try:
        if not isinstance(text, str):
            raise ValueError("it names no checker")
        found = verifier_of(json.loads(text) if text.startswith("{") else text)
        if found.allow_code:
            # What a row says is data: it cannot decide that the programs of replies run.
            raise ValueError("a row cannot allow code; only a recipe can")
    except ValueError as error:
        raise UsageError(f"the column 'verifier' holds {text!r:.60}: {error}") from None
    return StepReward(found)
