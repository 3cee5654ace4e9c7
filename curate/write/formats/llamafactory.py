"""LLaMA-Factory's Alpaca and ShareGPT data; extra columns go along.

Its loader skips a ShareGPT row whose turns do not take turns, so such a row is an error here.

A file is declared in its `dataset_info.json`: as `{"NAME": {"file_name": "FILE"}}` for Alpaca; for
the others with `"formatting": "sharegpt"` as well, and with `"columns": {"messages":
"conversations"}`. To the columns belong `"chosen": "chosen", "rejected": "rejected"` for dpo (and
beside them `"ranking": true`), `"kto_tag": "kto_tag"` for kto, and `"system": "system"` where rows
have a system prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from curate.prompts.replies.thought_tags import KEYS, WRITTEN_AS, ThoughtAndAnswer, thought_of
from curate.read.shapes.record_fields import dumps, with_extra
from curate.read.shapes.sharegpt import CALL, joined_results, turns_to, written_name
from curate.row import Message, Row
from curate.write.formats import Format, judgement_of, tools_of, with_system_column

_ASKING, _ANSWERING = ("user", "tool"), ("assistant",)


def _turns(messages: Sequence[Message], *, answered: bool) -> dict[str, Any]:
    """Return turns that alternate as the loader demands, the system prompt in its own column."""
    out: dict[str, Any] = {}
    if messages and messages[0].role == "system":
        out["system"], messages = messages[0].content, messages[1:]
    messages = joined_results(messages)
    for index, message in enumerate(messages):
        allowed = _ANSWERING if index % 2 else _ASKING
        if message.role not in allowed:
            raise ValueError(
                f"turn {index + 1} is the {message.role}'s, and LLaMA-Factory skips rows where it "
                f"is not the {' or '.join(allowed)}'s"
            )
    if not messages or (len(messages) % 2 == 0) != answered:
        wanted = "an assistant's" if answered else "a user's"
        raise ValueError(f"the last turn must be {wanted}")
    return {"conversations": _named(messages), **out}


def _named(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return turns by its speakers' names: it skips rows with those of other dialects.

    Its loader reads texts alone, and thoughts in them between the tags of its templates.
    """
    turns = turns_to(messages)
    for turn, message in zip(turns, messages, strict=True):
        if turn["from"] != CALL:
            turn["from"] = written_name(message.role, ("from", "value"))
        thought = thought_of(message)
        # What was read as it is written here has them in its text already.
        if thought is not None and any(turn.pop(key, None) is not None for key in KEYS):
            turn["value"] = ThoughtAndAnswer(thought, turn["value"]).text()
        turn.pop(WRITTEN_AS, None)
    return turns


def _with_tools(data: dict[str, Any], row: Row) -> dict[str, Any]:
    """Return `data` with the extra columns behind it; its loader takes functions as JSON text."""
    out = with_extra(data, row)
    tools = tools_of(out.get("tools"))
    if isinstance(tools, list):
        bare = [tool["function"] if set(tool) == {"type", "function"} else tool for tool in tools]
        out["tools"] = dumps(bare)
    return out


def _ranking(row: Row) -> dict[str, Any]:
    out = _turns(row.prompt, answered=False)
    for name in ("chosen", "rejected"):
        side = row.fields[name]
        if len(side) != 1 or side[0].role != "assistant":
            raise ValueError(f"the {name} side must be a single assistant's turn")
        out[name] = _named(side)[0]
    return _with_tools(out | judgement_of(row), row)


FORMATS = {
    "llamafactory_alpaca": Format("sft", with_system_column),
    "llamafactory_sharegpt": Format(
        "sft", lambda row: _with_tools(_turns(row.messages, answered=True), row)
    ),
    "llamafactory_dpo": Format("preference", _ranking),
    "llamafactory_kto": Format(
        "unpaired",
        lambda row: _with_tools(
            _turns(row.prompt + row.completion, answered=True) | {"kto_tag": row.fields["label"]},
            row,
        ),
    ),
}
