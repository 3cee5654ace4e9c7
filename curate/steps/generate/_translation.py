"""What the steps that translate share: what they ask, and what a translation must keep.

A translation is checked by what needs no second model: code, addresses, variables and numbers are
those of its source, and its prose is in the language asked for. Prose of a few words has no
language that could be told, so where all turns of a side (the user's, or the answers) are short,
they are judged together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from curate.ask import Ask, Reply
from curate.errors import CurateError, UnusableReply
from curate.kernels.text.languages import detector, is_code
from curate.kernels.text.protected import differences, protected
from curate.kernels.text.words import ALONE
from curate.prompts import prompt as prompts
from curate.prompts.prompt import PromptItem
from curate.prompts.replies.usable_text import written
from curate.row import Message, Row

# Letters from which on the language of a text can be told; a character that is a word counts four.
_LETTERS, _AS_WORD = 20, 4
_LOOKED_AT = 1000
# Where languages are listed: their codes and their names.
LANGUAGES = "translate"


def check_languages(languages: Sequence[str], least: float | None, source: str | None) -> None:
    """Raise `ValueError` for no languages, one named twice, no code, and a limit out of range."""
    if not languages:
        raise ValueError("languages is empty; give codes, as in [de, fr]")
    if len(set(languages)) < len(languages):
        raise ValueError(f"languages names one twice: {', '.join(languages)}")
    # In a language that nothing is in, every row would be dropped.
    if source is not None and not is_code(source):
        raise ValueError(
            f"source_language: '{source}' is not a language code; give one, as in en, or null"
        )
    if least is not None and not 0 <= least <= 1:
        raise ValueError(f"min is a probability from 0 to 1, not {least}")


def check_prompt(name: str, languages: Sequence[str], complete: bool) -> None:
    """Raise `ValueError` when a prompt cannot be filled in, or lacks a language."""
    try:
        found = prompts.load_with(name, ("text", "language", "mark"))
    except CurateError as error:
        raise ValueError(str(error)) from None
    if complete and found.system is not None:
        raise ValueError(f"complete sends no system prompt, but {found.name} has one")
    known = [item.id for item in found.items]
    if unknown := [code for code in languages if code not in known]:
        raise ValueError(
            f"languages names {unknown}; the prompt '{found.name}' has {', '.join(known)}: add "
            "yours to its items in a file of your own"
        )


def language_named(code: str, prompt: str = LANGUAGES) -> PromptItem:
    """Return a language of a prompt's list by its code."""
    return prompts.load(prompt).item(code)


def asked_translation(
    text: str,
    code: str,
    *,
    prompt: str,
    model: str | None,
    complete: bool,
    temperature: float | None,
    max_tokens: int | None,
) -> Ask:
    """Return the request for a translation of `text` into the language `code`.

    Raises:
        ValueError: the text has several lines, where only one can be completed.
    """
    if complete and "\n" in text.strip():
        raise ValueError("the text has several lines, and complete ends with the first")
    form = prompts.load(prompt)
    values = {"text": text, "language": form.item(code), "mark": prompts.mark_of(text)}
    filled = form.render_from(values)
    return Ask(
        model=model,
        messages=() if complete else (Message("user", filled.text),),
        prompt=filled.text if complete else None,
        stop=("\n",) if complete else (),
        system=filled.system,
        temperature=temperature,
        max_tokens=max_tokens,
    )


def translated(reply: Reply, source: str) -> str:
    """Return a translation of `source`, with the white space around it.

    Raises:
        UnusableReply: it is not text, or its code, URLs, variables or numbers are not the source's;
            the message names the kinds.
    """
    text = written(reply, "the translation")
    if found := differences(source, text):
        said = "; ".join(f"{kind} {' '.join(spans)[:80]}" for kind, spans in found.items())
        raise UnusableReply(f"the translation changes {', '.join(found)}: {said}", key=reply.key)
    head = source[: len(source) - len(source.lstrip())]
    return head + text + source[len(source.rstrip()) :]


def chance_of(texts: Iterable[str], code: str) -> float | None:
    """Return how likely the prose of `texts` is in a language; `None`: too short to tell."""
    prose = " ".join(protected(text).prose for text in texts)
    letters = sum(_AS_WORD if ALONE.match(c) else 1 for c in prose if c.isalpha())
    if letters < _LETTERS:
        return None
    guesses = detector()(" ".join(prose.split())[:_LOOKED_AT])
    return round(min(1.0, sum(chance for found, chance in guesses if found == code)), 3)


def check_sides(
    turns: Sequence[Message], code: str, least: float | None, keys: Sequence[str]
) -> dict[str, float | None]:
    """Return how likely each side of a conversation is in a language: its unlikeliest turn is.

    `keys` are those of the replies that the turns are, in their order.

    Raises:
        UnusableReply: a side is less likely so than `least`. It has the key of that side's
            unlikeliest turn, or of its longest where they are judged together.
    """
    sides: dict[str, list[tuple[str, str]]] = {}
    for turn, key in zip(turns, keys, strict=True):
        sides.setdefault(turn.role, []).append((turn.content, key))
    found: dict[str, float | None] = {}
    blamed: dict[str, str] = {}
    for role, side in sides.items():
        told = [(p, key) for text, key in side if (p := chance_of([text], code)) is not None]
        if told:
            found[role], blamed[role] = min(told)
        else:
            found[role] = chance_of((text for text, _ in side), code)
            blamed[role] = max(side, key=lambda one: len(one[0]))[1]
    wrong = [role for role, p in found.items() if p is not None and least is not None and p < least]
    if wrong:
        said = ", ".join(f"{role} {found[role]:g}" for role in wrong)
        raise UnusableReply(f"the translation is not in {code}: {said}", key=blamed[wrong[0]])
    return found


def check_plain(turns: Iterable[Message]) -> None:
    """Raise `ValueError` when a turn holds more than text: that could not be translated with it."""
    for turn in turns:
        if turn.attached or (
            turn.parts and isinstance(json.loads(turn.parts).get("content"), list)
        ):
            raise ValueError(
                "the row has tool calls, media or parts, and only texts are translated"
            )


def with_translation(row: Row, method: str, source: str | None, code: str) -> str:
    """Return the row's extra columns with one that says how its text came into its language.

    Raises:
        ValueError: the row has such a column already. Steps call this before they ask, so that
            nobody pays for a row that fails by it.
    """
    columns: dict[str, Any] = json.loads(row.extra or "{}")
    if "translation" in columns:
        raise ValueError(
            "the row has a column 'translation' already, which would be lost; rename it"
        )
    columns["translation"] = {"method": method, "from": source, "to": code}
    return json.dumps(columns, ensure_ascii=False)
