"""Cut conversations that are too long at their turns, and say what was cut."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from curate.encoders.tokenizer import token_counter
from curate.kernels.text.tool_schemas import offered
from curate.prompts.replies.thought_tags import thought_of
from curate.row import Message, Record, Row
from curate.step import Drop, Generate, Made, Product

# The column in which a row that was cut says what is left of which.
COLUMN = "cut"
# What English has with the byte-pair tokenizers of today's models; code has more tokens.
BYTES_PER_TOKEN = 4
# What templates write around a turn: a header of two or three tokens, and the end of the turn.
TURN_TOKENS = 4


@dataclass(frozen=True, kw_only=True)
class CutTurns(Generate):
    """Shorten long conversations at turn boundaries, never within a turn.

    `max_tokens` is the number of tokens to fit into. `tokenizer` (a folder, or a model on the Hub)
    counts them; without it, a token is about four bytes. Reasoning, calls and the offered tools
    count, plus four tokens per turn for the template. The rest begins with the system prompt and
    the first user turn, ends with an assistant turn, and has no tool result without its call.
    `keep` selects the `start` (as many turns as fit), the `end`, or `windows`, rows of consecutive
    turns that together cover all turns; one that would begin after a tool call repeats that call.
    Each shortened row records in its column `cut` which turns of how many it has, and of how many
    tokens; a row that fits passes. A row is dropped if not even one answer fits.
    """

    max_tokens: int = 8192
    keep: Literal["start", "end", "windows"] = "start"
    tokenizer: str | None = None

    kinds: ClassVar[tuple[str, ...]] = ("sft",)
    scores_made: ClassVar[bool] = True
    source: ClassVar[str] = "common practice for traces of agents"

    def check(self) -> None:
        """Reject a limit that nothing fits."""
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens is {self.max_tokens}; it must be 1 or more")

    def prepare(self) -> None:
        """Load the tokenizer, where one is named."""
        self._count("")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Conversations stay what they are."""
        return kinds

    def _count(self, text: str) -> int:
        """Return how many tokens a text has, or about has."""
        if self.tokenizer is not None:
            return token_counter(self.tokenizer)(text)
        return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)

    def make(self, row: Row) -> Product | list[Product]:
        """Return the row itself, the rows that it is cut into, or why it is dropped."""
        turns, extra = row.messages, json.loads(row.extra) if row.extra else {}
        tools = sum(self._count(tool) for tool in offered(extra))
        said = [(t.content, thought_of(t) or "", t.attached) for t in turns]
        sizes = [TURN_TOKENS + sum(self._count(text) for text in texts if text) for texts in said]
        whole = tools + sum(sizes)
        if whole <= self.max_tokens:
            return row
        if COLUMN in extra:
            raise ValueError(f"the row has a column '{COLUMN}' already; rename it")
        first = next((n for n, turn in enumerate(turns) if turn.role == "user"), None)
        if first is None:
            return Drop("no turn of the user to begin with", float(whole))
        room = self.max_tokens - tools - sum(sizes[: first + 1])
        pieces = _pieces(turns, sizes, first + 1, room, self.keep)
        if not pieces:
            return Drop(f"no answer within {self.max_tokens} tokens", float(whole))
        made: list[Product] = []
        for start, end in pieces:
            tokens = self.max_tokens - room + sum(sizes[start:end])
            left = {
                "turns": [start + 1, end],
                "of": len(turns),
                "tokens": tokens,
                "tokens_of": whole,
            }
            columns = json.dumps({**extra, COLUMN: left}, ensure_ascii=False)
            kept = {"messages": (*turns[: first + 1], *turns[start:end])}
            made.append(Made(Record("sft", kept, columns), float(tokens), left))
        return made


def _pieces(
    turns: Sequence[Message], sizes: Sequence[int], begin: int, room: int, keep: str
) -> list[tuple[int, int]]:
    """Return which turns from `begin` on are kept, as pairs of start and end.

    A piece ends behind an answer, and begins at no answer of a tool.
    """
    ends = [n + 1 for n in range(begin, len(turns)) if turns[n].role == "assistant"]
    starts = [n for n in range(begin, len(turns)) if turns[n].role not in ("tool", "function")]

    before = [0, *itertools.accumulate(sizes)]

    def fits(start: int, end: int) -> bool:
        return start < end and before[end] - before[start] <= room

    if keep == "end":
        return [(start, ends[-1]) for start in starts if ends and fits(start, ends[-1])][:1]
    found: list[tuple[int, int]] = []
    start = begin
    while start < len(turns):
        end = max((one for one in ends if fits(start, one)), default=None)
        if end is not None:
            found.append((start, end))
        if keep == "start" or not ends or end == ends[-1]:
            break
        if end is None:
            # A turn that fits nowhere: the next one that may begin a piece goes on.
            later = [n for n in starts if n > start]
        else:
            # What answers a call needs the call before it.
            calls = "tool_calls" in (turns[end - 1].parts or "")
            later = [n for n in starts if n > start and n >= (end - 1 if calls else end)]
        if not later:
            break
        start = later[0]
    return found
