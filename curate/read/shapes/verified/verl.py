"""verl's records: `data_source`, `prompt`, `ability`, `reward_model` and `extra_info`.

The gold answer stands in `reward_model.ground_truth`; `data_source` chooses verl's own scorer, and
`extra_info` reaches a scorer of one's own (`custom_reward_function`). What was written here names
its checker in `extra_info.verifier`; a dataset of somebody else keeps its columns beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.record_fields import dumps, kind_of, listed, messages_of, turns_of
from curate.read.shapes.shape import Shape
from curate.read.shapes.verified.gold import GOLD, VERIFIER, VerifiedBy, gold_in, verified_by
from curate.row import Record, Row

_OWN = ("data_source", "ability", "reward_model", "extra_info")
_ABILITIES = {
    **dict.fromkeys(("number", "math"), "math"),
    "code": "code",
    "instructions": "instruction_following",
    "task": "reasoning",
}


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has a prompt of messages and a reward model with a gold answer."""
    reward = data.get("reward_model")
    prompt = listed(data.get("prompt"))
    return isinstance(reward, Mapping) and GOLD in reward and isinstance(prompt, list)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the record as a prompt with its gold answer; other columns stay beside it."""
    reward, info = data.get("reward_model"), data.get("extra_info") or {}
    if not isinstance(reward, Mapping) or reward.get(GOLD) is None:
        raise ValueError(f"reward_model must have a '{GOLD}', found {kind_of(reward)}")
    if not isinstance(info, Mapping):
        raise ValueError(f"column 'extra_info' must be an object, found {kind_of(info)}")
    columns = {name: value for name, value in data.items() if name != "prompt"}
    for name in (GOLD, VERIFIER):
        if name in columns:
            raise ValueError(f"column '{name}' stands beside reward_model and extra_info; drop it")
    columns[GOLD] = gold_in(reward[GOLD])
    verifier = info.get(VERIFIER)
    if isinstance(verifier, str):
        columns[VERIFIER] = verifier
        ours = _columns(VerifiedBy(columns[GOLD], verifier, {}))
        for name in _OWN:
            if columns.get(name) == ours[name]:
                del columns[name]
    messages = messages_of(data.get("prompt"), "prompt")
    return Record("prompt", {"prompt": messages}, dumps(columns))


def from_row(row: Row) -> dict[str, Any]:
    """Return a prompt in verl's columns; what else it has goes along."""
    found = verified_by(row)
    rest = {name: value for name, value in found.rest.items() if name not in _OWN}
    if "prompt" in rest:
        raise ValueError("its extra column 'prompt' would be lost: the shape has one as well")
    columns = {"prompt": turns_of(row.prompt), **_columns(found)}
    return {**{name: columns[name] for name in ("data_source", "prompt", *_OWN[1:])}, **rest}


def _columns(found: VerifiedBy) -> dict[str, Any]:
    """Return verl's columns but the prompt; those that a row has from verl stay as they are."""
    given = found.rest
    for name in ("reward_model", "extra_info"):
        if not isinstance(given.get(name) or {}, Mapping):
            raise ValueError(f"its column '{name}' must be an object: {given[name]!r:.60}")
    return {
        "data_source": given.get("data_source", f"curate/{found.checker}"),
        "ability": given.get("ability", _ABILITIES.get(found.checker, "qa")),
        "reward_model": {
            "style": "rule",
            **(given.get("reward_model") or {}),
            GOLD: found.gold_text,
        },
        "extra_info": {**(given.get("extra_info") or {}), VERIFIER: found.verifier},
    }


SHAPES = (
    Shape(
        "verl",
        "prompt",
        __doc__ or "",
        (("prompt", "reward_model"),),
        detect,
        to_record,
        from_row,
    ),
)
