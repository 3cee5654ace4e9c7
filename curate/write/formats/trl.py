"""TRL's dataset types, in their conversational form; extra columns go along.

Hugging Face TRL, "Dataset formats and types". The trainers apply the model's own chat template.
"""

from __future__ import annotations

from typing import Any

from curate.row import Row
from curate.write.formats import Format, chat_of, check_prompt, judgement_of, with_chat_extra


def _columns(row: Row, *names: str, **beside: Any) -> dict[str, Any]:
    """Return the row's turns as columns of these names, with `beside` behind them."""
    return with_chat_extra({n: chat_of(row.fields[n]) for n in names} | beside, row)


def _pair(row: Row, *, implicit: bool = False) -> dict[str, Any]:
    """Return a pair and, where it is known, its margin; an `implicit` prompt begins each side."""
    if implicit:
        sides = {n: chat_of(row.prompt + row.fields[n]) for n in ("chosen", "rejected")}
        return with_chat_extra(sides | judgement_of(row), row)
    check_prompt(row)
    return _columns(row, "prompt", "chosen", "rejected", **judgement_of(row))


FORMATS = {
    "trl_sft": Format("sft", lambda row: _columns(row, "messages")),
    "trl_prompt": Format("prompt", lambda row: _columns(row, "prompt")),
    "trl_dpo": Format("preference", _pair),
    "trl_reward": Format("preference", lambda row: _pair(row, implicit=True)),
    "trl_kto": Format(
        "unpaired", lambda row: _columns(row, "prompt", "completion", label=row.fields["label"])
    ),
}
