"""How a request becomes token ids, the same for every engine in this process.

A prompt begins with one begin-of-text token, where the model has one: a chat template that writes
it, or a raw prompt that begins with its text, is not given a second.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from curate.ask import Ask, Choose, Likelihood, TurnLikelihood
from curate.errors import PermanentFault
from curate.models.choice import spelt
from curate.models.inprocess.chat import IGNORED, Chat, TemplateRefused, turns_for
from curate.models.inprocess.chat_rendering import render_turns
from curate.models.turns import check_rendered, template_turns
from curate.row import Message

# Stands for a turn's content, so that its header can be cut off before it.
_HERE = "\ufffc\u2063here\u2063\ufffc"
# How chat templates mark turns: <|im_end|>, <end_of_turn>, [/INST].
_MARKER = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")


def prompt_tokens(tokenizer: Any, request: Ask | Choose) -> list[int]:
    """Return the token ids of a chat, by the model's own template, or of a raw prompt.

    A chat ends with the header of the turn that comes next, and with what the turn begins with.
    """
    if request.prompt is not None:
        return one_bos(tokenizer, list(tokenizer(request.prompt + request.prefill)["input_ids"]))
    turn = request.turn if isinstance(request, Ask) else "assistant"
    text = chat_text(tokenizer, request.chat, turn) + request.prefill
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def chat_text(
    tokenizer: Any, messages: Sequence[Message], turn: Literal["assistant", "user"]
) -> str:
    """Return a chat by the tokenizer's template, up to and including the header of `turn`."""
    require_template(tokenizer)
    turns = template_turns(messages)
    if turn == "assistant":
        text = _rendered(tokenizer, turns, ask=True)
    else:
        asked = [*turns, {"role": turn, "content": _HERE}]
        text, found, _ = _rendered(tokenizer, asked).partition(_HERE)
        if not found:
            raise PermanentFault("the model's chat template has no header for a user's turn")
    check_rendered(turns, text)
    return text


def _rendered(tokenizer: Any, turns: Sequence[Mapping[str, Any]], *, ask: bool = False) -> str:
    from jinja2 import TemplateError

    try:
        return render_turns(tokenizer, turns, ask=ask)
    except TemplateError as error:
        raise PermanentFault(f"the chat template refuses the turns: {error}") from error


def require_template(tokenizer: Any) -> None:
    """Raise `PermanentFault` where the tokenizer has no chat template."""
    if not tokenizer.chat_template:
        raise PermanentFault(
            "the model has no chat template; use an instruct model, or a step with raw prompts"
        )


def rendered(chat: Chat, turns: Sequence[Mapping[str, Any]], options: Mapping[str, Any]) -> str:
    """Return a conversation by the model's template, with what the row gives the template.

    Raises:
        PermanentFault: the template cannot render it.
    """
    try:
        return chat.render(turns, **options)
    except TemplateRefused as refused:
        raise template_fault(refused) from None


def template_fault(refused: TemplateRefused) -> PermanentFault:
    """Return the fault for a conversation that the template cannot render."""
    return PermanentFault(
        f"the model's chat template cannot render the conversation ({refused}); leave such rows "
        "out, or use a model whose template takes them"
    )


def turn_ends(tokenizer: Any) -> tuple[str, ...]:
    """Return the marks that the tokenizer's template sets behind a user's turn and before it.

    A text that holds one of them is no longer the user's: the turn has ended, or another begun. A
    template without marks ends the turn with the name of the next speaker, which then stands alone.
    """
    asked = [{"role": "user", "content": _HERE}]
    before, _, after = _rendered(tokenizer, asked, ask=True).partition(_HERE)
    marks = _MARKER.findall(after)
    if not marks:
        return (after.strip(),) if after.strip() else ()
    # What is before the last end of a turn is a system prompt, and no header.
    header = before.rpartition(marks[0])[2]
    bos = tokenizer.bos_token
    found = dict.fromkeys((*marks, *_MARKER.findall(header)))
    return tuple(mark for mark in found if mark in after or mark != bos)


def with_turn_ends(tokenizer: Any, request: Ask) -> Ask:
    """Return a request for a user's turn that ends where its template ends such a turn.

    A model that goes on would write both sides. Marks that are tokens of the model end the reply as
    tokens, others as texts.
    """
    if request.turn != "user" or request.prompt is not None:
        return request
    ends, known = turn_ends(tokenizer), tokenizer.get_added_vocab()
    tokens = [mark for mark in ends if mark in known]
    texts = [mark for mark in ends if mark not in known]
    return dataclasses.replace(
        request,
        stop=tuple(dict.fromkeys((*request.stop, *texts))),
        stop_tokens=tuple(dict.fromkeys((*request.stop_tokens, *tokens))),
    )


def ends_of_answers(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end an answer: a model may have more of them than its tokenizer."""
    given = model.generation_config.eos_token_id
    own = given if isinstance(given, list) else [given]
    return sorted({token for token in (*own, tokenizer.eos_token_id) if token is not None})


def one_bos(tokenizer: Any, ids: list[int]) -> list[int]:
    """Return token ids without a second begin-of-text token."""
    first = tokenizer.bos_token_id
    return ids[1:] if first is not None and ids[:2] == [first, first] else ids


def turn_tokens(chat: Chat, request: TurnLikelihood) -> tuple[list[int], Sequence[int]]:
    """Return the token ids of a conversation, and the places of those that training supervises.

    Raises:
        NotSent: it holds media, or calls that the template leaves out.
        PermanentFault: there is no template, or it cannot render the conversation.
    """
    require_template(chat.tokenizer)
    options, turns = request.template_options or {}, turns_for(request.messages)
    check_rendered(template_turns(request.messages), rendered(chat, turns, options))
    try:
        tokens = chat.encode(turns, request.first, **options)
    except TemplateRefused as refused:
        raise template_fault(refused) from None
    # Nothing is before the first token of all that would make it likely or not.
    places = [n for n, label in enumerate(tokens.labels) if label != IGNORED and n > 0]
    return tokens.ids, places


def answer_tokens(tokenizer: Any, request: Likelihood) -> tuple[list[int], Sequence[int]]:
    """Return all token ids, and the places of those that are the answer's and have a value.

    After a raw prompt the text is tokenised whole, as a server does. The first token of all has
    nothing before it that would make it likely or not.
    """
    if request.messages is not None:
        begin = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        if request.messages:
            text = chat_text(tokenizer, request.messages, "assistant")
            begin = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = list(tokenizer(request.answer, add_special_tokens=False)["input_ids"])
        return [*begin, *ids], range(max(len(begin), 1), len(begin) + len(ids))
    assert request.prompt is not None
    made = tokenizer(request.prompt + request.answer, return_offsets_mapping=True)
    ids, ends = list(made["input_ids"]), [end for _, end in made["offset_mapping"]]
    if (extra := len(ids) - len(one_bos(tokenizer, ids))) > 0:
        ids, ends = ids[extra:], ends[extra:]
    begin_at = next((n for n, end in enumerate(ends) if end > len(request.prompt)), len(ends))
    while len(ends) > begin_at and ends[-1] == 0:  # A closing token that the text does not hold.
        ends.pop()
    return ids[: len(ends)], range(max(begin_at, 1), len(ends))


def token_named(tokenizer: Any, name: str) -> int:
    """Return the id of the special token called `name`."""
    found = tokenizer.get_vocab().get(name)
    if found is None:
        special = ", ".join(tokenizer.get_added_vocab()) or "none"
        raise PermanentFault(
            f"the model has no token {name!r} to stop at; its special tokens are: {special}"
        )
    return int(found)


class Variants:
    """Which tokens of a vocabulary spell an option: found once, for all options."""

    def __init__(self, tokenizer: Any) -> None:
        """Decode every token of the vocabulary."""
        numbers = range(len(tokenizer))
        texts = tokenizer.batch_decode([[number] for number in numbers])
        self._by_text: dict[str, list[int]] = {}
        for number, text in zip(numbers, texts, strict=True):
            self._by_text.setdefault(spelt(text), []).append(number)

    def of(self, options: Sequence[str]) -> list[tuple[str, int]]:
        """Return each token that spells an option, beside the option."""
        found: list[tuple[str, int]] = []
        for option in options:
            ids = self._by_text.get(option.strip())
            if not ids:
                raise PermanentFault(
                    f"the option {option!r} is not a single token of this model: use short ones, "
                    "as letters or digits, or ask for a text"
                )
            found += [(option.strip(), number) for number in ids]
        return found
