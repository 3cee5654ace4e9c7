"""Answers that a model gives to one prompt, each checked by `verify`: what rates and votes rest on.

The answers are those of `respond`, the checkers those of `verify`. An answer that cannot be read is
not wrong: it says why it failed, and whoever asked counts it apart.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from typing import Any, NamedTuple

from curate.ask import Reply, Yielded
from curate.errors import CurateError, UnusableReply
from curate.prompts.replies.thought_tags import BrokenThought, apart
from curate.recipe.fields import FieldProblem, checked
from curate.row import Candidate, Message, Record, Row
from curate.step import Failed
from curate.steps.generate.respond import Respond, prompt_of
from curate.steps.verify.verify import Verify


class CheckedAnswer(NamedTuple):
    """One answer, its thoughts apart: the share that it passes, or why it cannot be checked.

    `share` is `None` where nothing was to be checked, too.
    """

    turn: Message
    model: str | None
    reply: Reply
    share: float | None = None
    detail: Mapping[str, Any] | None = None
    error: Exception | None = None

    def failed(self) -> Failed:
        """Return the answer as a made row that failed, its reply to be asked for again."""
        return Failed(self.error or "the answer cannot be read", None, self.reply)

    def shown(self) -> dict[str, Any]:
        """Return what the ledger says of it."""
        if self.error is not None:
            return {"error": str(self.error)[:200]}
        detail = self.detail or {}
        own = {name: detail[name] for name in ("found", "errors") if detail.get(name)}
        return {"share": self.share, **own}


def verifier_of(given: str | Mapping[str, Any]) -> Verify:
    """Return the verifier that a step's field `verify` writes: a checker's name, or its fields.

    Raises:
        ValueError: it is not a verifier; the message says why.
    """
    fields = {"checker": given} if isinstance(given, str) else dict(given)
    for name in ("min", "label", "only"):
        if name in fields:
            raise ValueError(f"verify takes the fields of the step verify but {name}")
    try:
        return checked(Verify(**fields))
    except FieldProblem as error:
        raise ValueError(f"verify: {error}") from None
    except TypeError:
        known = [name for name in Verify.__dataclass_fields__ if name not in ("min", "label")]
        unknown = [name for name in fields if name not in known]
        raise ValueError(f"verify has no field {unknown}; it has {', '.join(known)}") from None


def respond_of(step: Any) -> Respond:
    """Return how a step's answers are asked for: by those of its fields that `respond` has."""
    names = ("model", "samples", "system", "temperature", "top_p", "max_tokens")
    return Respond(to="sft", **{name: getattr(step, name) for name in names})


def ranked_of(row: Row, answers: Iterable[tuple[CheckedAnswer, float | None]]) -> Record:
    """Return answers with their scores as the candidates of a row's prompt."""
    candidates = tuple(Candidate((one.turn,), score, one.model) for one, score in answers)
    return Record("ranked", {"prompt": prompt_of(row), "candidates": candidates}, row.extra)


def share_passed(verifier: Verify, row: Row, turn: Message, gold: Any = None) -> tuple[float, Any]:
    """Return the share that an answer to `row` passes, and the evidence; `gold` replaces its own.

    Raises:
        ValueError: answer or gold cannot be read.
    """
    extra = row.extra
    if gold is not None:
        columns = json.loads(extra) if extra else {}
        extra = json.dumps({**columns, verifier.gold: gold}, ensure_ascii=False)
    fields = {"messages": (Message("user", row.instruction), turn)}
    found = verifier.score(row._replace(kind="sft", fields=fields, extra=extra))
    if found.value is None:
        raise ValueError("the checker gave no score")
    return found.value, found.detail


def gold_of(row: Row, verifier: Verify) -> Any:
    """Return what stands in the verifier's gold column, else a conversation's own last answer.

    Raises:
        ValueError: the answer cannot be told from the thoughts before it.
    """
    columns = json.loads(row.extra) if row.extra else {}
    if columns.get(verifier.gold) is not None:
        return columns[verifier.gold]
    if row.kind == "sft" and row.messages and row.messages[-1].role == "assistant":
        return apart(row.messages[-1]).content or None
    return None


def checked_answers(
    respond: Respond, row: Row, verifier: Verify | None, gold: Any
) -> Generator[Yielded, Any, list[CheckedAnswer]]:
    """Ask for the answers that `respond` describes, and check each, in the order asked.

    Raises:
        UnusableReply, ValueError: no answer at all can be read; it is the first one's error.
    """
    asking = respond.make(row)
    asks: Any = next(asking)
    replies: list[Reply] = yield asks
    try:
        asking.send(replies)
        raise RuntimeError("respond asks once")
    except StopIteration as end:
        made = end.value
    answers = []
    for ask, reply, one in zip(asks, replies, made, strict=True):
        if isinstance(one, Failed):
            error = one.error if isinstance(one.error, Exception) else ValueError(one.error)
            answers.append(CheckedAnswer(Message("assistant", ""), ask.model, reply, error=error))
            continue
        turn = one.fields["messages"][-1]
        share, detail = None, None
        problem: Exception | None = None
        try:
            turn = apart(turn)
            if not turn.content.strip():
                raise UnusableReply("there are thoughts and no answer", key=reply.key)
            if verifier is not None:
                share, detail = share_passed(verifier, row, turn, gold)
        except BrokenThought as broken:
            problem = UnusableReply(str(broken), key=reply.key)
        except (ValueError, CurateError) as unread:
            problem = unread
        answers.append(CheckedAnswer(turn, ask.model, reply, share, detail, problem))
    if all(answer.error is not None for answer in answers):
        first = answers[0].error
        assert first is not None
        raise first
    return answers
