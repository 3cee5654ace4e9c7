"""Axolotl's `chat_template` data and its DPO form `chat_template.default`; extra goes along."""

from __future__ import annotations

from typing import Any

from curate.row import Row
from curate.write.formats import (
    Format,
    chat_of,
    check_prompt,
    judgement_of,
    with_chat_extra,
    with_system_column,
)


def _pair(row: Row) -> dict[str, Any]:
    """Return the prompt as messages, each side as the one message behind it."""
    check_prompt(row)
    out: dict[str, Any] = {"messages": chat_of(row.prompt)}
    for name in ("chosen", "rejected"):
        if len(row.fields[name]) != 1:
            count = len(row.fields[name])
            raise ValueError(f"the {name} side must be a single turn, and it has {count}")
        out[name] = chat_of(row.fields[name])[0]
    return with_chat_extra(out | judgement_of(row), row)


FORMATS = {
    "axolotl_chat": Format(
        "sft", lambda row: with_chat_extra({"messages": chat_of(row.messages)}, row)
    ),
    "axolotl_alpaca": Format("sft", with_system_column),
    "axolotl_dpo": Format("preference", _pair),
}
