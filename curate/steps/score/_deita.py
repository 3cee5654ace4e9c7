"""What DEITA's scorers share: the exchanges of a row, and the expected score of a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from curate.ask import Choose, Reply
from curate.errors import CurateError, UnusableReply
from curate.prompts import prompt as prompts
from curate.row import RESPONSE_FIELD, Message, Row
from curate.step import Asking, Filter, Scored, rule
from curate.steps.score._judge import shown_turn

# The score tokens of both scorers (Liu et al. 2023, arXiv 2312.15685, section 2.2).
SCORES = ("1", "2", "3", "4", "5", "6")
SHOWN = ("instruction", "response", "options", "mark")


class AnsweredTurn(NamedTuple):
    """A user's turn and the assistant's answer to it, empty where there is none."""

    instruction: str
    response: str


class Expectation(NamedTuple):
    """The mean of the scores under a model's probabilities, and the mass they held together."""

    value: float
    mass: float | None


def exchanges_of(row: Row, *, answered: bool) -> list[AnsweredTurn]:
    """Return the exchanges of a row in order; system turns take no part.

    Raises:
        ValueError: there is none, one has no text, or (with `answered`) has no answer.
    """
    turns = row.messages if row.kind == "sft" else row.prompt
    if row.kind in RESPONSE_FIELD and row.kind != "sft":
        turns = (*turns, *row.fields[RESPONSE_FIELD[row.kind]])
    found: list[tuple[list[Message], list[Message]]] = []
    for turn in turns:
        if turn.role == "user" and (not found or found[-1][1]):
            found.append(([], []))
        if found and turn.role in ("user", "assistant"):
            found[-1][turn.role == "assistant"].append(turn)
    if not found:
        raise ValueError("the row has no turn of a user to score")
    exchanges = [AnsweredTurn(*("\n".join(map(shown_turn, part)) for part in one)) for one in found]
    for number, (instruction, response) in enumerate(exchanges, 1):
        if not instruction.strip():
            raise ValueError(f"user turn {number} of {len(exchanges)} has no text to score")
        if answered and not response.strip():
            raise ValueError(f"user turn {number} of {len(exchanges)} has no answer to score")
    return exchanges


def check_prompt(given: str, *, complete: bool) -> None:
    """Raise `ValueError` when a scorer cannot fill in the prompt `given`, or send it as text."""
    try:
        prompt = prompts.load_with(given, SHOWN)
    except CurateError as error:
        raise ValueError(str(error)) from None
    if complete and prompt.system is not None:
        raise ValueError(f"complete sends no system prompt, but {prompt.name} has one")


def choice_of_score(
    model: str | None,
    given: str,
    exchange: AnsweredTurn,
    *,
    complete: bool,
    scores: tuple[str, ...] = SCORES,
) -> Choose:
    """Return the request for one score of an exchange, by the prompt `given`."""
    prompt = prompts.load(given)
    mark = prompts.mark_of(*exchange)
    values = {**exchange._asdict(), "options": scores, "mark": mark}
    filled = prompt.render_from(values)
    return Choose(
        model=model,
        messages=None if complete else (Message("user", filled.text),),
        prompt=filled.text if complete else None,
        system=filled.system,
        options=scores,
    )


def expected_of(reply: Reply, scores: Sequence[str] = SCORES) -> Expectation:
    """Return the expectation of the scores, 1 and on, under the probabilities of their tokens.

    The probabilities are those of the scores alone (a softmax over their logits). DEITA's code
    takes 3.0 where it finds no token of them; here that is not a score.

    Raises:
        UnusableReply: the model gave no log-probabilities, or not of all of them.
    """
    if len(reply.values) != len(scores):
        raise UnusableReply(
            f"the model returned no log-probabilities of the scores 1 to {scores[-1]}, so that "
            "nothing can be weighed; ask one that does (local, hf:, vllm:, a server with logprobs)",
            key=reply.key,
        )
    missing = [scores[n] for n, value in enumerate(reply.values) if not math.isfinite(value)]
    missing += [scores[n] for n in reply.floored]
    if missing:
        named = ", ".join(sorted(missing, key=int))
        raise UnusableReply(
            f"the server's list of likely tokens lacks the score {named}; "
            "their probability is unknown: ask a model that lists more (local, hf:, vllm:)",
            key=reply.key,
        )
    chances = enumerate(reply.chances(scores), 1)
    return Expectation(math.fsum(score * chance for score, chance in chances), reply.mass)


@dataclass(frozen=True, kw_only=True)
class DeitaScorer(Filter):
    """Score every exchange of a row from 1 to 6, as the expectation over the score tokens.

    Attributes:
        model: A name in the recipe's models.
        prompt: The name or path of the prompt that asks for one score.
        turns: The score of a dialogue is the sum of its exchanges' scores, or their mean.
        complete: The prompt is sent as raw text that the score token follows.
        at_least: Rows that score below it are dropped.
    """

    model: str | None = None
    prompt: str = ""
    turns: Literal["sum", "mean"] = "sum"
    complete: bool = False
    at_least: float | None = rule(None)

    def check(self) -> None:
        """Reject a step that asks nobody."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        check_prompt(self.prompt, complete=self.complete)

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def exchanges(self, row: Row) -> list[AnsweredTurn]:
        """Return the exchanges that are scored."""
        raise NotImplementedError

    def score(self, row: Row) -> Asking:
        """Ask for the scores of all exchanges at once."""
        replies: Sequence[Reply] = yield [
            choice_of_score(self.model, self.prompt, exchange, complete=self.complete)
            for exchange in self.exchanges(row)
        ]
        found = [expected_of(reply) for reply in replies]
        values = [one.value for one in found]
        total = math.fsum(values)
        detail = {"turns": values, "mass": [one.mass for one in found]}
        return Scored(total if self.turns == "sum" else total / len(values), detail)

    def keep(self, score: float | None) -> str | None:
        """Compare with `at_least`."""
        if score is not None and self.at_least is not None and score < self.at_least:
            return f"scored below {self.at_least:g}"
        return None
