"""Conversations as tokens and labels, for any chat template.

TRL can mask a conversation only where the template marks its answers or is one that it knows. Here
the template is asked: where does the text of turn i begin and end, if that turn holds a marker
instead? So answers are found in the finished text of the whole conversation, whatever the template
does to earlier turns. An answer is supervised with the token that ends its turn and without the
newline after it. The price is a few renderings per answer, some 0.1 ms each.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.models.inprocess.chat_rendering import render_turns
from curate.read.shapes.record_fields import turns_of, without_nulls
from curate.row import Message

IGNORED = -100
# Private-use characters, which no template looks for; the letters keep filters like `trim` away.
_MARKER = "\ue000answer\ue001"


class Tokens(NamedTuple):
    """Token ids and their labels: the id itself where supervised, `IGNORED` elsewhere."""

    ids: list[int]
    labels: list[int]

    @property
    def supervised(self) -> int:
        """The number of tokens that count in the loss."""
        return sum(label != IGNORED for label in self.labels)

    @property
    def prompt_length(self) -> int:
        """The number of tokens before the first supervised one."""
        return next((n for n, label in enumerate(self.labels) if label != IGNORED), len(self.ids))

    def cut(self, length: int) -> Tokens:
        """Return the first `length` tokens."""
        return Tokens(self.ids[:length], self.labels[:length])


class AnswerSpan(NamedTuple):
    """Where an answer stands in a text: its first character, its last one, and the turn's end.

    `stop` is `end` where the template ends the turn with no special token.
    """

    start: int
    end: int
    stop: int


class TemplateRefused(Exception):
    """The chat template cannot render a conversation, or not so that its answers are found."""


class Chat:
    """A tokenizer and its chat template."""

    def __init__(self, tokenizer: Any, template: str | None = None) -> None:
        """Take `template` (Jinja) instead of the tokenizer's own where it is given."""
        self.tokenizer = tokenizer
        self.template = template or tokenizer.chat_template

    @functools.cached_property
    def control_tokens(self) -> tuple[str, ...]:
        """The texts of special tokens, longest first."""
        added = getattr(self.tokenizer, "added_tokens_decoder", {}).values()
        special = {str(token) for token in added if token.special}
        special |= set(self.tokenizer.all_special_tokens)
        return tuple(sorted(filter(None, special), key=len, reverse=True))

    @functools.cached_property
    def end_of_turn(self) -> str:
        """What ends an answer; empty where the template ends it with no special token."""
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        text = self.render(turns)
        answer = self._answer(text, turns, 1, {})
        return text[answer.end : answer.stop]

    def render(
        self, turns: Sequence[Mapping[str, Any]], *, ask: bool = False, **options: Any
    ) -> str:
        """Return the text of a conversation; with `ask`, up to where the next answer begins.

        Raises:
            TemplateRefused: the template raises an error, for example over a role.
        """
        from jinja2 import TemplateError

        try:
            # Of several templates the tokenizer takes the one for the options, as for tools.
            own = self.template if isinstance(self.template, str) else None
            return render_turns(self.tokenizer, turns, template=own, ask=ask, options=options)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise TemplateRefused(str(error)) from error

    def asked(self, turns: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """Return the tokens of a conversation up to where the next answer begins."""
        text = self.render(turns, ask=True, **options)
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def answers(
        self, text: str, turns: Sequence[Mapping[str, Any]], first: int = 0, **options: Any
    ) -> list[AnswerSpan]:
        """Return where the assistant's turns from index `first` on stand in `text`."""
        return [
            self._answer(text, turns, index, options)
            for index, turn in enumerate(turns)
            if index >= first and turn["role"] == "assistant"
        ]

    def _answer(
        self,
        text: str,
        turns: Sequence[Mapping[str, Any]],
        index: int,
        options: Mapping[str, Any],
    ) -> AnswerSpan:
        """Return where turn `index` stands in `text`, the rendering of all `turns`."""
        before, after = self._around(text, turns, index, options)
        start = before
        asking = self.render(turns[:index], ask=True, **options)
        if text.startswith(asking) and len(asking) < before:
            # What the template writes into an answer by itself, like an empty thought, is learnt
            # too; a header is not, in templates that know no generation prompt.
            prompts = asking != self.render(turns[:index], **options)
            if prompts or not text[len(asking) : before].strip():
                start = len(asking)
        end = len(text) - len(after)
        if not start <= end:
            raise TemplateRefused(f"turn {index + 1} does not stand where the template puts it")
        gap = len(after) - len(after.lstrip())
        closing = next((t for t in self.control_tokens if after.startswith(t, gap)), None)
        return AnswerSpan(start, end, end if closing is None else end + gap + len(closing))

    def _around(
        self, text: str, turns: Sequence[Mapping[str, Any]], index: int, options: Mapping[str, Any]
    ) -> tuple[int, str]:
        """Return how long the text before turn `index` is, and the text after it."""
        marked = [*turns[:index], {"role": "assistant", "content": _MARKER}, *turns[index + 1 :]]
        try:
            before, marker, after = self.render(marked, **options).partition(_MARKER)
        except TemplateRefused:
            # A tool's turn may be allowed after a call only: then nothing but what follows is lost.
            before = marker = after = ""
        if marker and text.startswith(before) and text.endswith(after):
            return len(before), after
        asking = self.render(turns[:index], ask=True, **options)
        until = self.render(turns[: index + 1], **options)
        if not text.startswith(asking) or not text.startswith(until):
            raise TemplateRefused(
                f"the template renders turn {index + 1} differently when other turns follow"
            )
        answer = until[len(asking) :].rstrip()
        ending = next((t for t in self.control_tokens if answer.endswith(t)), "")
        return len(asking), text[len(asking) + len(answer) - len(ending) :]

    def encode(
        self,
        turns: Sequence[Mapping[str, Any]],
        first: int = 0,
        *,
        whole: bool = False,
        **options: Any,
    ) -> Tokens:
        """Return a conversation up to its last answer; answers from turn `first` on are labels.

        The `whole` of it goes on to where the template ends, as classifiers read it.

        Raises:
            TemplateRefused: the template cannot render it, or its answers are not found.
        """
        text = self.render(turns, **options)
        spans = [(a.start, a.stop) for a in self.answers(text, turns, first, **options)]
        found = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ids, places = list(found["input_ids"]), found["offset_mapping"]
        labels = [IGNORED] * len(ids)
        at, last = 0, 0
        for number, (begin, finish) in enumerate(places):
            while at < len(spans) and begin >= spans[at][1]:
                at += 1
            if at < len(spans) and begin >= spans[at][0] and begin < finish <= spans[at][1]:
                labels[number] = ids[number]
                last = number + 1
        # Nothing is learnt from what follows the last answer.
        return Tokens(ids[:last], labels[:last]) if last and not whole else Tokens(ids, labels)


def turns_for(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Return messages as templates read them: texts only, arguments of calls as objects."""
    turns = []
    for message, turn in zip(messages, turns_of(messages), strict=True):
        turn = {**without_nulls(turn), "content": message.content}
        for call in turn.get("tool_calls") or ():
            function = call.get("function", call) if isinstance(call, dict) else {}
            if isinstance(text := function.get("arguments"), str):
                # A text that holds no object stays a text.
                with contextlib.suppress(ValueError):
                    found = json.loads(text)
                    function["arguments"] = found if isinstance(found, dict) else text
        turns.append(turn)
    return turns
