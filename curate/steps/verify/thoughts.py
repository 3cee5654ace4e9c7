"""Check what models think before they answer, and move it where it is wanted."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.kernels.text.repetition import repeated_shares, score_of
from curate.kernels.text.words import words
from curate.prompts.replies.thought_tags import (
    KEYS,
    BrokenThought,
    apart,
    families,
    inline,
    thought_of,
    without,
)
from curate.prompts.replies.usable_text import is_loop
from curate.row import Candidate, Message, Record, Row
from curate.step import Drop, Generate, Made, Product, rule

# The template's variable by which a row says whether its answer thinks.
SWITCHES = "chat_template_kwargs"
# The turns that are to be learnt; a worse answer may think as badly as it likes.
_LEARNT = ("messages", "chosen", "completion")
_MIN_WORDS = 50


@dataclass(frozen=True, kw_only=True)
class Thoughts(Generate):
    """Drop rows whose reasoning is malformed, too short, too long or a loop; optionally move it.

    Reasoning is in a turn's `reasoning_content` (`reasoning`, `thinking`), or in its text between
    the tags of a model family (`think`, `thinking`, `mistral`, `kimi`, `seed`, `gpt_oss`,
    `granite`). A row is dropped if its reasoning has no end, occurs twice, has no answer after it,
    or loops a few words. `required` drops rows whose last answer has no reasoning. `min_words` and
    `max_words` are limits for its number of words (empty reasoning counts as none).
    `max_repetition` is the limit for its repetition, in units of Gopher's limits, as in the step
    `repetition`. All this looks at the answers to be learnt, in a pair the chosen one.

    `to` moves the reasoning of all assistant turns: `apart` into a key of the turn, `inline` into
    the text between tags; `none` removes it, and `both` makes two rows, one with reasoning apart
    and one without. `key` is that key. `tags` is the family whose tags are used (by default the
    original ones, else `<think>`). `switch` names the variable of the chat template that turns
    reasoning on and off, such as `enable_thinking` for Qwen3 and SmolLM3 or `thinking` for Granite
    and DeepSeek-V3.1; each row's column `chat_template_kwargs` records its value for the last
    answer. The score of a moved row is the number of words of its last answer's reasoning.
    """

    to: Literal["apart", "inline", "none", "both"] | None = None
    key: Literal["reasoning_content", "reasoning", "thinking"] = "reasoning_content"
    tags: str | None = None
    switch: str | None = None
    required: bool = rule(False)
    min_words: int | None = rule(None)
    max_words: int | None = rule(None)
    max_repetition: float | None = rule(None)

    scores_made: ClassVar[bool] = True
    kinds: ClassVar[tuple[str, ...]] = ("sft", "preference", "ranked", "unpaired")
    source: ClassVar[str] = (
        "common; limits of repetition: Rae et al. 2021 (Gopher), arXiv 2112.11446, table A1; both "
        "ways of answering in one set: SmolLM3's recipe, 2025"
    )

    def check(self) -> None:
        """Reject families that nobody knows, and windows that no thought fits into."""
        if self.tags is not None and self.tags not in families():
            raise ValueError(f"tags is {self.tags!r}; it must be one of {', '.join(families())}")
        if self.tags is not None and self.to != "inline":
            raise ValueError("tags belongs to to: inline")
        if self.key != KEYS[0] and self.to not in ("apart", "both"):
            raise ValueError("key belongs to to: apart or both")
        if self.switch is not None and not self.switch.isidentifier():
            raise ValueError(f"switch is {self.switch!r}; a template's variable is a name")
        for name in ("min_words", "max_words", "max_repetition"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} is {value:g}; it must be 0 or more")
        least, most = self.min_words, self.max_words
        if least is not None and most is not None and least > most:
            raise ValueError(f"min_words ({least}) is above max_words ({most}): no thought fits")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Rows stay what they are."""
        return kinds

    def make(self, row: Row) -> Product | list[Product]:
        """Return the row itself, what it becomes, or why it is dropped."""
        try:
            taken = _turned(row, apart)
        except BrokenThought as broken:
            return Drop(broken.fault, detail={"found": str(broken)})
        refused = self._refusal(row._replace(fields=taken))
        if refused is not None:
            return refused
        length = float(len(words(_last_thought(row._replace(fields=taken)))))
        ways = {
            "apart": (lambda turn: apart(turn, self.key),),
            "inline": (lambda turn: inline(turn, self.tags),),
            "none": (without,),
            "both": (lambda turn: apart(turn, self.key), without),
            None: (lambda turn: turn,),
        }[self.to]
        made: list[Product] = []
        for way in ways:
            fields = _turned(row, way)
            extra = self._with_switch(row._replace(fields=fields))
            if self.to != "both" and (fields, extra) == (dict(row.fields), row.extra):
                return row
            thinks = length if _thinks(row._replace(fields=fields)) else 0.0
            made.append(Made(Record(row.kind, fields, extra), thinks))
        # A row without thoughts is the same in both ways.
        return made[:1] if self.to == "both" and not length else made

    def _refusal(self, row: Row) -> Drop | None:
        """Return why a row, its thoughts apart, is dropped."""
        learnt = [turn for name in _LEARNT if name in row.fields for turn in row.fields[name]]
        thoughts = [
            (turn, thought) for turn in learnt if (thought := (thought_of(turn) or "").strip())
        ]
        if self.required and row.kind != "ranked" and not _last_thought(row):
            return Drop("no thoughts")
        for turn, thought in thoughts:
            if not turn.content.strip() and not turn.attached:
                return Drop("no answer behind the thoughts")
            if is_loop(thought):
                return Drop("thoughts are a loop", detail={"found": thought[-200:]})
            count = len(words(thought))
            if self.min_words is not None and count < self.min_words:
                return Drop(f"thoughts of fewer than {self.min_words} words", float(count))
            if self.max_words is not None and count > self.max_words:
                return Drop(f"thoughts of more than {self.max_words} words", float(count))
            if self.max_repetition is not None:
                repeated = score_of(repeated_shares(thought, _MIN_WORDS))
                if repeated > self.max_repetition:
                    limits = f"{self.max_repetition:g} limits"
                    return Drop(f"thoughts repeat themselves beyond {limits}", repeated)
        return None

    def _with_switch(self, row: Row) -> str | None:
        """Return the extra columns of a row, which say whether its last answer thinks."""
        switch = self.switch or ("enable_thinking" if self.to == "both" else None)
        if switch is None:
            return row.extra
        columns = json.loads(row.extra) if row.extra else {}
        given = columns.get(SWITCHES) or {}
        if not isinstance(given, dict):
            raise ValueError(f"column '{SWITCHES}' must be an object, found {given!r:.60}")
        columns[SWITCHES] = {**given, switch: _thinks(row)}
        return json.dumps(columns, ensure_ascii=False)


def _turned(row: Row, way: Callable[[Message], Message]) -> dict[str, Any]:
    """Return a row's fields with `way` applied to every turn of the assistant's."""

    def turned(turns: Sequence[Message]) -> tuple[Message, ...]:
        return tuple(way(turn) if turn.role == "assistant" else turn for turn in turns)

    fields: dict[str, Any] = {}
    for name, value in row.fields.items():
        if name == "candidates":
            fields[name] = tuple(c._replace(messages=turned(c.messages)) for c in value)
        else:
            fields[name] = turned(value) if isinstance(value, tuple | list) else value
    return fields


def _answers(row: Row) -> Iterator[Message]:
    """Yield the last answers of a row that are to be learnt: of ranked ones all."""
    if row.kind == "ranked":
        candidates: tuple[Candidate, ...] = row.candidates
        yield from (c.messages[-1] for c in candidates if c.messages)
        return
    name = next(name for name in _LEARNT if name in row.fields)
    turns = [turn for turn in row.fields[name] if turn.role == "assistant"]
    yield from turns[-1:]


def _last_thought(row: Row) -> str:
    """Return what the last answer of a row, its thoughts apart, thinks; of ranked rows nothing."""
    if row.kind == "ranked":
        return ""
    return "".join((thought_of(turn) or "").strip() for turn in _answers(row))


def _thinks(row: Row) -> bool:
    """Tell whether the last answer of a row thinks, wherever its thoughts stand."""
    return any((thought_of(apart(turn)) or "").strip() for turn in _answers(row))
