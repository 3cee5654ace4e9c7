"""A model's thoughts apart from its answer: `reasoning_content` of a turn, or tags in its text.

Servers, chat templates and trainers read thoughts in a key of their own; datasets and raw replies
hold them in the text, between the tags of a family of models (`thought_tags.yaml`). Both are one
turn here, taken apart and put together without a character lost: what is not as the family's own
template writes it is noted in the turn.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.system import plain_yaml

# The keys in which turns hold thoughts: the first is what DeepSeek, Qwen and most templates read,
# the others are those of OpenRouter and newer vLLM, and of gpt-oss.
KEYS = ("reasoning_content", "reasoning", "thinking")
# Where a turn notes how its thoughts were written, for the way back.
WRITTEN_AS = "thought_as"
STANDARD = "think"


class ThoughtTags(NamedTuple):
    """What a family writes around thoughts; `spaces` are before and behind the two tags."""

    open: str
    close: str
    spaces: tuple[str, str, str, str]
    opened_by_template: bool = False


class ThoughtAndAnswer(NamedTuple):
    """A text taken apart: `tags` names the family, `spaces` is the white space around the tags.

    Where the chat template opened the thought there is no opening tag, and `opened` is false.
    """

    thought: str
    answer: str
    tags: str = STANDARD
    spaces: tuple[str, str, str, str] | None = None
    opened: bool = True

    @property
    def as_usual(self) -> bool:
        """Whether it is written just as the standard family's template writes it."""
        usual = self.spaces in (None, families()[self.tags].spaces)
        return self.tags == STANDARD and usual and self.opened

    def text(self) -> str:
        """Return thought and answer as one text."""
        own = families()[self.tags]
        before, behind, ending, after = self.spaces or own.spaces
        opening = own.open if self.opened else ""
        return f"{before}{opening}{behind}{self.thought}{ending}{own.close}{after}{self.answer}"


class BrokenThought(ValueError):
    """A text whose thought and answer cannot be told apart; `fault` is its name, for reasons."""

    def __init__(self, fault: str, text: str) -> None:
        self.fault = fault
        super().__init__(f"{fault}: {' '.join(text.split())[:80]!r}")


@functools.cache
def families() -> Mapping[str, ThoughtTags]:
    """Return the tags of every family, by its name."""
    text = Path(__file__).with_name("thought_tags.yaml").read_text(encoding="utf-8")
    found = plain_yaml.load(text).items()
    return {n: ThoughtTags(**{**own, "spaces": tuple(own["spaces"])}) for n, own in found}


def taken_apart(text: str) -> ThoughtAndAnswer | None:
    """Return the thought that a text begins with and the answer behind it; `None` without one.

    Raises:
        BrokenThought: the thought has no end, or there are several.
    """
    for name, own in families().items():
        head, closed, rest = text.partition(own.close)
        begun = head.lstrip()
        opened = begun.startswith(own.open)
        if opened and not closed:
            raise BrokenThought("a thought without an end", text)
        if not closed:
            continue
        by_template = own.opened_by_template and head.endswith("\n") and rest.startswith("\n")
        if not opened and not by_template:
            # The tag is only mentioned.
            continue
        if head.count(own.open) > opened or own.open in rest or own.close in rest:
            raise BrokenThought("several thoughts", text)
        before = head[: len(head) - len(begun)] if opened else ""
        inner = begun[len(own.open) :] if opened else head
        _, behind, ending, _ = own.spaces
        # Where it is written as the family writes it, what goes beyond is the thought's own: then a
        # thought that was put into a text comes out of it as it was.
        if behind and inner.startswith(behind) and inner[len(behind) :].endswith(ending):
            thought = inner[len(behind) : len(inner) - len(ending)]
        else:
            thought = inner.strip()
            start = inner.find(thought) if thought else len(inner)
            behind, ending = inner[:start], inner[start + len(thought) :]
        answer = rest.removeprefix(own.spaces[3])
        if answer == rest:
            answer = rest.lstrip()
        spaces = (before, behind, ending, rest[: len(rest) - len(answer)])
        return ThoughtAndAnswer(thought, answer, name, spaces, opened)
    return None


def thought_of(turn: Message) -> str | None:
    """Return what the turn keeps as its thoughts apart from its text, or `None`."""
    if turn.parts is None or not any(f'"{key}"' in turn.parts for key in KEYS):
        return None
    known = json.loads(turn.parts)
    return next((known[key] for key in KEYS if isinstance(known.get(key), str)), None)


def apart(turn: Message, key: str = KEYS[0]) -> Message:
    """Return an assistant's turn with its thoughts under `key`, and only the answer as its text.

    Raises:
        BrokenThought: they cannot be told apart, or stand in both places.
    """
    known: dict[str, Any] = json.loads(turn.parts) if turn.parts else {}
    there = next((name for name in KEYS if isinstance(known.get(name), str)), None)
    found = taken_apart(turn.content)
    if found is None:
        if there is None or there == key:
            return turn
        return _with(turn, {key if name == there else name: v for name, v in known.items()})
    if there is not None and known[there]:
        raise BrokenThought("several thoughts", turn.content)
    known.pop(there or "", None)
    known[key] = found.thought
    if not found.as_usual:
        known[WRITTEN_AS] = {
            "tags": found.tags,
            "spaces": list(found.spaces or ()),
            **({} if found.opened else {"opened": False}),
        }
    return _with(turn._replace(content=found.answer), known)


def inline(turn: Message, tags: str | None = None) -> Message:
    """Return an assistant's turn with its thoughts in its text.

    They are between the tags of the family `tags`, or as they were read, or else as most families
    write them.
    """
    known: dict[str, Any] = json.loads(turn.parts) if turn.parts else {}
    there = next((name for name in KEYS if isinstance(known.get(name), str)), None)
    noted = known.pop(WRITTEN_AS, None) or {}
    if there is None:
        found = None if tags is None else taken_apart(turn.content)
        if found is None or tags is None or found.tags == tags:
            return turn
        return turn._replace(content=ThoughtAndAnswer(found.thought, found.answer, tags).text())
    written = ThoughtAndAnswer(known.pop(there), turn.content, tags or noted.get("tags", STANDARD))
    if noted and tags in (None, noted.get("tags")):
        spaces = tuple(noted["spaces"])
        written = written._replace(spaces=spaces, opened=noted.get("opened", True))
    return _with(turn._replace(content=written.text()), known)


def without(turn: Message) -> Message:
    """Return an assistant's turn with its answer alone."""
    turn = apart(turn)
    if thought_of(turn) is None:
        return turn
    known: dict[str, Any] = json.loads(turn.parts or "{}")
    return _with(turn, {k: v for k, v in known.items() if k not in (*KEYS, WRITTEN_AS)})


def _with(turn: Message, parts: Mapping[str, Any]) -> Message:
    text = json.dumps(parts, ensure_ascii=False, separators=(",", ":")) if parts else None
    return turn._replace(parts=text)


def answer_turn(reply: Reply) -> Message:
    """Return a reply as the assistant's turn; what the server gave apart as thoughts stays apart.

    Raises:
        UnusableReply: it was cut off, or is empty.
    """
    text = reply.whole()
    if not text.strip():
        raise UnusableReply("the answer is empty", key=reply.key)
    turn = Message("assistant", text)
    return _with(turn, {KEYS[0]: reply.reasoning}) if reply.reasoning else turn
