"""TRL's dataset types, in their conversational form; extra columns go along.

Hugging Face TRL, "Dataset formats and types". The trainers apply the model's own chat template.
"""

from __future__ import annotations

from typing import Any

from curate.row import Row
from curate.write.formats import Format, chat_of, check_prompt, judgement_of, with_chat_extra


def _chat(row: Row) -> dict[str, Any]:
    return with_chat_extra({"messages": chat_of(row.messages)}, row)


def _prompt(row: Row) -> dict[str, Any]:
    return with_chat_extra({"prompt": chat_of(row.prompt)}, row)


def _pair(row: Row) -> dict[str, Any]:
    check_prompt(row)
    sides = {n: chat_of(row.fields[n]) for n in ("prompt", "chosen", "rejected")}
    return with_chat_extra(sides | judgement_of(row), row)


def _reward(row: Row) -> dict[str, Any]:
    """Return the pair with an implicit prompt and, where it is known, the margin."""
    sides = {n: chat_of(row.prompt + row.fields[n]) for n in ("chosen", "rejected")}
    return with_chat_extra(sides | judgement_of(row), row)


def _unpaired(row: Row) -> dict[str, Any]:
    sides = {name: chat_of(row.fields[name]) for name in ("prompt", "completion")}
    return with_chat_extra({**sides, "label": row.fields["label"]}, row)


FORMATS = {
    "trl_sft": Format("sft", _chat),
    "trl_prompt": Format("prompt", _prompt),
    "trl_dpo": Format("preference", _pair),
    "trl_reward": Format("preference", _reward),
    "trl_kto": Format("unpaired", _unpaired),
}
