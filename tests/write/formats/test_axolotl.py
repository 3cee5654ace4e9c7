"""Axolotl's own prompt strategies read every row, and train on the answers alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.write.formats.consumers import exported, lines, part_of

CHAT = "axolotl.prompt_strategies.chat_template"
PAIRS = "axolotl.prompt_strategies.dpo.chat_template"


class Settings(dict):  # type: ignore[type-arg]
    """A configuration as Axolotl has it: what is not set is `None`."""

    def __getattr__(self, name: str) -> Any:
        return self.get(name)


def words() -> Any:
    pytest.importorskip("transformers")
    from tests.write.formats.tiny import tokenizer

    return tokenizer()


@pytest.mark.slow
def test_chat_template_trains_on_every_answer(tmp_path: Path) -> None:
    strategies = part_of("axolotl", CHAT)
    path, own = exported("axolotl_chat", "sft", tmp_path), words()
    settings = Settings(chat_template="tokenizer_default", sequence_len=8192)
    declared = {"type": "chat_template", "path": str(path), "roles_to_train": ["assistant"]}
    strategy = strategies.load(own, settings, ds_cfg=declared)
    for record in lines(path):
        (made,) = (strategy.tokenize_prompt(record),)
        trained = [
            t for t, label in zip(made["input_ids"], made["labels"], strict=True) if label >= 0
        ]
        answers = [m["content"] for m in record["messages"] if m["role"] == "assistant"]
        assert own.decode(trained) == "".join(f"{answer}<eos>" for answer in answers)


@pytest.mark.slow
def test_its_dpo_form_has_both_sides(tmp_path: Path) -> None:
    strategies = part_of("axolotl", PAIRS)
    path, own = exported("axolotl_dpo", "preference", tmp_path), words()
    settings = Settings(
        chat_template="tokenizer_default",
        datasets=[Settings(type="chat_template.default", path=str(path))],
    )
    read, _ = strategies.default(settings)
    records = lines(path)
    assert len(records) > 1
    for record in records:
        made = read(record, tokenizer=own)
        assert made["prompt"].endswith(record["messages"][-1]["content"] + "<|assistant|>")
        for side in ("chosen", "rejected"):
            assert made[side].removesuffix("<eos>").strip() == record[side]["content"].strip()
