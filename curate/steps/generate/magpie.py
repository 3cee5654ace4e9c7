"""Let an aligned model write the instruction itself, from nothing but its template (MAGPIE)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from curate.ask import Ask, Reply, Reward
from curate.errors import CurateError, UnusableReply
from curate.kernels.text.phrase_lists import listed_search
from curate.kernels.text.repetition import repeated_shares, score_of
from curate.kernels.text.words import words
from curate.prompts import prompt as prompts
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Failed, Generate, Made, Product

# Rules for a turn, by the names that ledgers show.
BOTH_SIDES = "both sides in one turn"
MARKS = "holds marks of a chat template"
CONTROL = "holds control characters"
LOOPS = "repeats itself"
REFUSES = "a refusal in the user's place"
# A line that is a role and nothing else: the header of the next turn, its marks lost.
_HEADER = re.compile(r"(?im)^[ \t]*(?:assistant|user|system|human|model|ai)[ \t]*:?[ \t]*$")
_MARKS = re.compile(r"<\|[^|<>\s]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<\uff5c[^<>]{1,40}>")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
# The same few characters fifty times in a row, spaces or not.
_LOOP = re.compile(r"(\S.{0,7}?)\1{49}")
# In units of Gopher's limits on repetition: lists and code go beyond one of them by nature.
LOOP_SCORE, LOOP_WORDS = 2.0, 50
STOPS_OF_BASE = ("\n# Query", "\n# Answer")


@dataclass
class Dialogue:
    """One conversation as far as it is written: `whole` turns of it are finished exchanges."""

    sample: int
    turns: tuple[Message, ...]
    exchanges: int = 0
    whole: int = 0
    # What ended it before its time: a failed or a refused turn.
    end: Failed | Drop | None = None
    rewards: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Magpie(Generate):
    """Make conversations from nothing: a chat model writes the user's turn, too, and answers it.

    `model` is given its own chat template up to the header of the user's turn, and writes what a
    user would. It must complete raw text: `local`, `hf:`, `vllm:`, or a server with a `template` or
    `tokenizer`. `responder` is the model that answers (`model` by default). Blank rows (an input
    `{count: N}`) start from nothing, as in the paper; any other row is a conversation to continue.
    `prompt` is the name or path of a prompt file with the variable `seed`, which is filled with a
    row's instruction; the text becomes the system prompt for the user's turn. `system` is such a
    system prompt for all rows. Neither becomes part of the row. `turns` is the number of exchanges
    to write. `follow_up` is the system prompt from the second exchange on, unless there is another.
    `samples` is the number of conversations per row. `to: prompt` omits the last answer.

    User's turns are sampled at `temperature` and `top_p`. Answers are sampled at
    `answer_temperature`. `max_tokens` limits each turn. A turn ends at the template's special
    tokens, and before any text of `stop`. A turn that is empty or was cut off fails on its own; one
    that writes both sides, contains template tokens or control characters, repeats itself, or
    refuses instead of asking is dropped with that reason; the exchanges before it are kept.
    `scorer` is a reward model, and the reward of a conversation becomes the row's score. `base` is
    a pretrained model, and the ledger records the difference of the reward to that of its answer.
    `base_prompt` is the prompt for that model.
    """

    model: str | None = None
    responder: str | None = None
    turns: int = 1
    samples: int = 1
    to: Literal["sft", "prompt"] = "sft"
    system: str | None = None
    prompt: str | None = None
    follow_up: str = "magpie_follow_up"
    stop: tuple[str, ...] = ()
    temperature: float | None = 1.0
    top_p: float | None = 1.0
    answer_temperature: float | None = 0.0
    max_tokens: int | None = 2048
    scorer: str | None = None
    base: str | None = None
    base_prompt: str = "magpie_base"

    source: ClassVar[str] = "Xu et al. 2024 (MAGPIE), arXiv 2406.08464, section 2"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, for nothing, or twice for the same."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        for name in ("turns", "samples", "max_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be 1 or more")
        if self.temperature == 0:
            raise ValueError("at temperature 0 every row would begin alike; raise it")
        if self.system is not None and self.prompt is not None:
            raise ValueError("system and prompt both are the system prompt; give one of them")
        if self.scorer is not None and self.to == "prompt":
            raise ValueError("scorer judges answers, and to: prompt leaves out the last one")
        if self.base is not None and (self.scorer is None or self.turns > 1):
            raise ValueError("base needs a scorer, and turns: 1: one answer is compared with its")

    def prepare(self) -> None:
        """Read the prompts, and reject those that take other variables."""
        try:
            prompts.load_with(self.follow_up, ())
            prompts.load_with(self.base_prompt, ("instruction",))
            if self.prompt is not None:
                prompts.load_with(self.prompt, ("seed",))
        except CurateError as error:
            raise ValueError(str(error)) from None

    def reads_models(self) -> tuple[str, ...]:
        """Return the names of the models that write, answer and score."""
        named = (self.model, self.responder, self.scorer, self.base)
        return tuple(dict.fromkeys(name for name in named if name))

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        names = (self.follow_up, self.base_prompt, *filter(None, (self.prompt,)))
        return {**super().fingerprint(), "prompt_text": prompts.digest(*names)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations, or all become prompts."""
        return frozenset({self.to}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Write the conversations of one row, side by side."""
        begun, system = self._begun(row)
        chats = [Dialogue(sample, begun) for sample in range(self.samples)]
        if begun and begun[-1].role == "user":
            # At temperature 0 all samples open with one answer, which is paid once.
            once = chats[:1] if self.answer_temperature == 0 else chats
            yield from self._written(once, row, "assistant", None)
            if once[0].end is not None and self.answer_temperature == 0:
                chats = once
            for chat in chats[len(once) :]:
                chat.turns = once[0].turns
            for chat in chats:
                if chat.end is None and self.to == "sft":
                    chat.exchanges, chat.whole = 1, len(chat.turns)
        own = any(turn.role == "system" for turn in begun)
        for number in range(self.turns):
            if number and system is None and not own:
                system = prompts.load(self.follow_up).render().text
            yield from self._written(chats, row, "user", system)
            if number + 1 < self.turns or self.to == "sft":
                yield from self._written(chats, row, "assistant", None)
            for chat in chats:
                if chat.end is None:
                    chat.exchanges += 1
                    answered = self.to == "prompt" and chat.turns[-1].role == "assistant"
                    chat.whole = len(chat.turns) - answered  # a prompt ends with the user
        if self.scorer is not None:
            yield from self._scored(row, [chat for chat in chats if chat.exchanges])
        # Of each conversation its finished exchanges, and what ended it.
        products: list[Product] = []
        for chat in chats:
            if chat.exchanges:
                record = self._record(row, chat.turns[: chat.whole])
                detail = {"sample": chat.sample, "exchanges": chat.exchanges, **chat.rewards}
                products.append(Made(record, chat.rewards.get("reward"), detail))
            if chat.end is not None:
                products.append(chat.end)
        return products

    def _begun(self, row: Row) -> tuple[tuple[Message, ...], str | None]:
        """Return the turns that a row's conversations begin with, and their system prompt."""
        if self.prompt is not None:
            seed = row.instruction.strip()
            if not seed:
                raise ValueError("the row has no instruction to fill in the prompt's seed with")
            return (), prompts.load(self.prompt).render(seed=seed).text
        turns = tuple(row.messages if row.kind == "sft" else row.prompt)
        if any(turn.attached for turn in turns):
            raise ValueError("the row has tool calls or media, and only texts can be gone on with")
        own = any(turn.role == "system" for turn in turns)
        return turns, None if own else self.system

    def _written(
        self, chats: Sequence[Dialogue], row: Row, side: Literal["user", "assistant"], system: Any
    ) -> Asking:
        """Ask for the next turn of all conversations that go on, and add it or end them."""
        going = [chat for chat in chats if chat.end is None]
        if not going:
            return
        users = side == "user"
        replies: Sequence[Reply] = yield [
            Ask(
                model=self.model if users else self.responder or self.model,
                sample=chat.sample,
                messages=chat.turns,
                system=system,
                turn=side,
                temperature=self.temperature if users else self.answer_temperature,
                top_p=self.top_p if users else None,
                max_tokens=self.max_tokens,
                stop=self.stop if users else (),
            )
            for chat in going
        ]
        for chat, reply in zip(going, replies, strict=True):
            text = reply.text.strip()
            turns = (*chat.turns, *((Message(side, text),) if text else ()))
            record = self._record(row, turns)
            try:
                if not reply.whole().strip():
                    name = "the user's turn" if users else "the answer"
                    raise UnusableReply(f"{name} is empty", key=reply.key)
            except UnusableReply as error:
                chat.end = Failed(error, record, reply)
                continue
            if reason := broken_rule(text, side):
                chat.end = Drop(reason, record=record, detail={"turn": len(turns), "side": side})
                continue
            chat.turns = turns

    def _scored(self, row: Row, chats: Sequence[Dialogue]) -> Asking:
        """Add the reward of each conversation, and that of the base model's answer."""
        if not chats:
            return
        replies: Sequence[Reply] = yield [
            Reward(model=self.scorer, messages=chat.turns[: chat.whole]) for chat in chats
        ]
        for chat, reply in zip(chats, replies, strict=True):
            chat.rewards["reward"] = float(reply.values[0])
        if self.base is None:
            return
        form = prompts.load(self.base_prompt)
        replies = yield [
            Ask(
                model=self.base,
                sample=chat.sample,
                prompt=form.render(instruction=chat.turns[-2].content).text,
                temperature=self.answer_temperature,
                max_tokens=self.max_tokens,
                stop=STOPS_OF_BASE,
            )
            for chat in chats
        ]
        compared: list[tuple[Dialogue, Message]] = []
        for chat, reply in zip(chats, replies, strict=True):
            try:
                answer = reply.whole().strip()
                if not answer:
                    raise UnusableReply("the answer of the base model is empty", key=reply.key)
                compared.append((chat, Message("assistant", answer)))
            except UnusableReply as error:
                chat.exchanges, chat.end = 0, Failed(error, self._record(row, chat.turns), reply)
        if not compared:
            return
        replies = yield [
            Reward(model=self.scorer, messages=(*chat.turns[:-1], answer))
            for chat, answer in compared
        ]
        for (chat, _), reply in zip(compared, replies, strict=True):
            theirs = float(reply.values[0])
            chat.rewards |= {
                "base_reward": theirs,
                "reward_difference": chat.rewards["reward"] - theirs,
            }

    def _record(self, row: Row, turns: tuple[Message, ...]) -> Record:
        return Record(self.to, {"messages" if self.to == "sft" else "prompt": turns}, row.extra)


def broken_rule(text: str, side: str) -> str | None:
    """Return the rule that a turn of `side` (user, assistant) breaks, or `None`."""
    if _MARKS.search(text):
        return MARKS
    if side == "user" and _HEADER.search(text):
        return BOTH_SIDES
    if _CONTROL.search(text):
        return CONTROL
    if _LOOP.search(text) or (
        len(words(text)) >= LOOP_WORDS and score_of(repeated_shares(text, LOOP_WORDS)) > LOOP_SCORE
    ):
        return LOOPS
    if side == "user" and listed_search("refusal", ()).count(text):
        return REFUSES
    return None
