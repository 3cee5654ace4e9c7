"""Write dialogues: one reply with both sides of a chat (Baize), or two models that take turns."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError, UnusableReply
from curate.prompts import prompt as prompts
from curate.prompts.replies.usable_text import written
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Generate

# A marker opens a turn where it begins a line; anywhere else outside code it is a slip.
_MARKER = re.compile(r"\[(Human|AI)\]")
_ROLES = {"Human": "user", "AI": "assistant"}
_FENCE = re.compile(r"^\s*(```|~~~)", re.MULTILINE)
END = "[END]"
# What a model that plays the human is shown before the first message: chats begin with a user turn.
_BEGIN = "(The conversation begins. Write your first message.)"


class Turn(NamedTuple):
    """One side's turn of a transcript, and whether a marker stands inside its text."""

    role: str
    text: str
    marker_inside: bool


@dataclass(frozen=True, kw_only=True)
class SelfChat(Generate):
    """Write a chat on a row's topic: both sides in one reply, or two models taking turns.

    The topic is the row's instruction; it steers the chat and is not part of it. Without a second
    model, `model` writes the whole transcript in one reply, with strict markers for the two sides.
    `user_model` plays the human instead, and `model` answers, until the human ends the chat.
    `persona` describes that human. `exchanges` is the number of exchanges to write. `prompt` is the
    name or path of the prompt for the human's side (`self_chat`, or `self_chat_user` with two
    models). A transcript without markers or cut off at `max_tokens` fails the row; one whose sides
    do not alternate, that begins with the assistant, ends with the human, has an empty turn, a
    marker inside a turn or text before the first marker is dropped. `complete` sends the prompt for
    one model as raw text, whose last line begins the transcript, to be completed up to a blank
    line, for small models that do not follow instructions. `temperature` and `max_tokens` (per
    reply) override those of the model.
    """

    model: str | None = None
    user_model: str | None = None
    prompt: str | None = None
    persona: str | None = None
    complete: bool = False
    exchanges: int = 4
    temperature: float | None = None
    max_tokens: int | None = 2048

    source: ClassVar[str] = "Xu et al. 2023 (Baize), arXiv 2304.01196, section 2"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")

    def check(self) -> None:
        """Reject a step that asks nobody, or whose persona nobody plays."""
        check_asking(self.model, max_tokens=self.max_tokens)
        if self.exchanges < 1:
            raise ValueError(f"exchanges is {self.exchanges}; it must be 1 or more")
        if self.persona is not None and self.user_model is None:
            raise ValueError("persona is played by user_model; name that model, too")
        if self.complete and self.user_model is not None:
            raise ValueError("complete is for a transcript in one reply; leave user_model out")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        given = ("topic", "persona") if self.user_model else ("topic", "exchanges")
        try:
            found = prompts.load_with(self._prompt(), given)
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.complete and found.system is not None:
            raise ValueError(f"complete sends no system prompt, but {found.name} has one")

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that write."""
        return tuple(name for name in (self.model, self.user_model) if name)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another step under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self._prompt())}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Chats are conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for a chat on the row's topic."""
        topic = row.instruction.strip()
        if not topic:
            raise ValueError("the row has no instruction to take as a topic")
        if self.user_model is not None:
            return (yield from self._in_turns(row, topic))
        prompt = prompts.load(self._prompt())
        values = {"topic": topic, "exchanges": self.exchanges}
        filled = prompt.render_from(values)
        reply = yield self._ask(self.model, (Message("user", filled.text),), filled.system)
        head = filled.text.rpartition("\n")[2] if self.complete else ""
        turns = transcript(reply, head)
        reason = broken_rule(turns)
        if reason is not None:
            return Drop(reason)
        messages = tuple(Message(turn.role, turn.text) for turn in turns)
        return Record("sft", {"messages": messages}, row.extra)

    def _in_turns(self, row: Row, topic: str) -> Asking:
        """Let one model play the human and the other answer; each sees itself as the assistant."""
        filled = prompts.load(self._prompt()).render(topic=topic, persona=self.persona)
        seen: tuple[Message, ...] = (Message("user", _BEGIN),)
        chat: tuple[Message, ...] = ()
        for _ in range(self.exchanges):
            reply = yield self._ask(self.user_model, seen, filled.text)
            said = written(reply, "the human's message")
            if said == END:
                break
            if END in said or _MARKER.search(said):
                return Drop("a marker inside the human's message")
            chat += (Message("user", said),)
            reply = yield self._ask(self.model, chat, None)
            answer = written(reply, "the answer")
            chat += (Message("assistant", answer),)
            seen += (Message("assistant", said), Message("user", answer))
        if not chat:
            return Drop("the human ended the chat before it began")
        return Record("sft", {"messages": chat}, row.extra)

    def _ask(self, model: str | None, messages: tuple[Message, ...], system: str | None) -> Ask:
        return Ask(
            model=model,
            messages=() if self.complete else messages,
            prompt=messages[0].content if self.complete else None,
            stop=("\n\n",) if self.complete else (),
            system=system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )

    def _prompt(self) -> str:
        return self.prompt or ("self_chat_user" if self.user_model else "self_chat")


def transcript(reply: Reply, head: str = "") -> list[Turn]:
    """Return the turns of a transcript; a marker inside a fenced block of code is part of it.

    A text before the first marker becomes a turn of the role "", which no rule allows. `head` is
    how the transcript begins, where the reply goes on from there.

    Raises:
        UnusableReply: the reply is not a whole text, or holds no marker.
    """
    text = f"{head} {written(reply, 'the transcript')}".strip()
    fences = [match.start() for match in _FENCE.finditer(text)]
    if len(fences) % 2:
        # A fence that is never closed would hide every marker behind it.
        fences.append(len(text))
    spans = list(zip(fences[::2], fences[1::2], strict=True))
    markers = [
        match
        for match in _MARKER.finditer(text)
        if not any(begin <= match.start() < end for begin, end in spans)
    ]
    opening = [m for m in markers if not text[: m.start()].rpartition("\n")[2].strip()]
    if not opening:
        raise UnusableReply(
            "the reply is not a transcript: no line begins with [Human] or [AI]", key=reply.key
        )
    inside = {m.start() for m in markers} - {m.start() for m in opening}
    turns = [Turn("", head, False)] if (head := text[: opening[0].start()].strip()) else []
    ends = [m.start() for m in opening[1:]] + [len(text)]
    for match, end in zip(opening, ends, strict=True):
        slip = any(match.end() <= place < end for place in inside)
        turns.append(Turn(_ROLES[match[1]], text[match.end() : end].lstrip(" :").strip(), slip))
    return turns


def broken_rule(turns: list[Turn]) -> str | None:
    """Return the rule that a transcript breaks, or `None`."""
    roles = [turn.role for turn in turns]
    if roles[0] == "":
        return "text before the first turn"
    if any(turn.marker_inside for turn in turns):
        return "a marker inside a turn"
    if roles[0] != "user":
        return "begins with the assistant"
    if any(one == other for one, other in itertools.pairwise(roles)):
        return "roles do not alternate"
    if any(not turn.text for turn in turns):
        return "an empty turn"
    if roles[-1] != "assistant":
        return "ends with the human"
    return None
