"""Rows as what a trainer sees: tokens of one answer or of several, cut to the length allowed.

One form serves every method: an example has answers to one prompt, each a whole conversation with
its labels. SFT has one answer, a pair two, a ranking K; KTO adds a label, reinforcement has none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.models.inprocess.chat import Chat, TemplateRefused, Tokens, turns_for
from curate.read.shapes.record_fields import rendering_options
from curate.row import Message, Row
from curate.train.data import extras, prompt_turns
from curate.train.settings import Method, TrainingSettings

# The words by which an answer is asked for, in Chain of Hindsight and in conditioned cloning.
WANTED, UNWANTED = "Give a good answer.", "Give a bad answer."


class Example(NamedTuple):
    """One row as tokens. `scores` order the answers, best first; `turns` are what is asked."""

    row: str
    answers: tuple[Tokens, ...]
    scores: tuple[float, ...] = ()
    label: bool | None = None
    weight: float = 1.0
    p_chosen: float | None = None
    margin: float | None = None
    turns: tuple[Mapping[str, Any], ...] = ()
    options: Mapping[str, Any] = {}
    # What a reward is told of the prompt's row, by name.
    columns: Mapping[str, Any] = {}
    prompt_length: int = 0


class Defect(NamedTuple):
    """What is wrong with a row: the code of `findings.yaml`, and a detail."""

    code: str
    detail: str = ""


def conversations(
    row: Row, method: Method
) -> list[tuple[tuple[Message, ...], tuple[Message, ...]]]:
    """Return prompt and answer of each conversation that `method` learns of a row, best first."""
    if method.online:
        return []
    if row.kind == "sft":
        return [((), row.messages)]
    if row.kind == "unpaired":
        ask = row.prompt
        if method.name == "cloning":
            ask = _asking_for(row.prompt, WANTED if row.fields["label"] else UNWANTED)
        return [(ask, row.completion)]
    answers = answers_of(row)
    if method.name == "coh":
        if len(answers) < 2:
            return []
        # The best and the worst in one conversation, in an order of the row's own.
        sides = [(WANTED, answers[0]), (UNWANTED, answers[-1])]
        row.random("coh").shuffle(sides)
        (first, one), (second, two) = sides
        return [(_asking_for(row.prompt, first), (*one, Message("user", second), *two))]
    return [(row.prompt, answer) for answer in answers]


def answers_of(row: Row) -> list[tuple[Message, ...]]:
    """Return a preference or ranked row's answers, best first; those without score left out."""
    if row.kind == "preference":
        return [row.chosen, row.rejected]
    scored = [c for c in row.candidates if c.score is not None]
    return [c.messages for c in sorted(scored, key=lambda c: -(c.score or 0.0))]


def _asking_for(prompt: Sequence[Message], words: str) -> tuple[Message, ...]:
    """Return a prompt whose last turn of the user ends in `words`."""
    turns = list(prompt)
    for index in range(len(turns) - 1, -1, -1):
        if turns[index].role == "user":
            content = f"{turns[index].content}\n\n{words}".strip()
            turns[index] = turns[index]._replace(content=content)
            return tuple(turns)
    return (*turns, Message("user", words))


def example_of(
    row: Row, chat: Chat, method: Method, settings: TrainingSettings
) -> tuple[Example | None, list[Defect]]:
    """Return a row as an example, and what is wrong with it; no example where nothing is left."""
    problems: list[Defect] = []
    try:
        options = rendering_options(extras(row))
        if method.online:
            return _asked(row, chat, settings, options)
        # A reward is read where the template ends, as whoever scores with the model will read it.
        whole = method.name == "reward"
        talks = conversations(row, method)
        if row.kind == "sft" and settings.learn == "last":
            last = max((n for n, m in enumerate(row.messages) if m.role == "assistant"), default=0)
            talks = [(row.messages[:last], row.messages[last:])]
        encoded = [
            chat.encode(turns_for((*prompt, *answer)), len(prompt), whole=whole, **options)
            for prompt, answer in talks
        ]
    except (TemplateRefused, ValueError) as refused:
        return None, [Defect("template_refuses", str(refused))]
    except RecursionError:
        return None, [Defect("template_refuses", "it is nested too deeply")]
    answers = tuple(encoded)
    scores: tuple[float, ...] = (1.0, 0.0) if row.kind == "preference" else ()
    if row.kind == "ranked":
        given = (c.score for c in row.candidates if c.score is not None)
        scores = tuple(sorted(given, reverse=True))
    if not answers or (scores and len(set(scores)) < 2):
        return None, [Defect("too_few_answers")]
    if any(not tokens.supervised for tokens in answers):
        return None, [Defect("no_answer", "no turn of the assistant is there to learn")]
    if row.kind == "ranked" and (missing := len(row.candidates) - len(scores)):
        problems.append(Defect("score_missing", f"{missing:,} of {len(row.candidates):,}"))
    cut = _cut(answers, method, settings, problems)
    if cut is None:
        return None, problems
    try:
        weight = weight_of(row, method, settings)
    except ValueError as error:
        return None, [*problems, Defect("weight_unusable", str(error))]
    example = Example(
        row.id,
        cut,
        scores,
        row.fields.get("label"),
        weight,
        row.fields.get("p_chosen"),
        row.fields.get("margin"),
        prompt_length=cut[0].prompt_length,
    )
    return example, problems


def weight_of(row: Row, method: Method, settings: TrainingSettings) -> float:
    """Return how much a row counts in the loss; null says nothing, as does a missing column.

    Raises:
        ValueError: the column holds no number from 0 on.
    """
    if method.name == "cloning" and not row.fields["label"]:
        return float(settings.loss["unwanted"])
    given = extras(row).get("weight") if "weight" in method.uses else None
    if given is None:
        return 1.0
    try:
        # Text, as a CSV file has it, may well be a number; true and false are none.
        weight = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise ValueError(f"its weight is {given!r:.40}")
    return weight


def _asked(
    row: Row, chat: Chat, settings: TrainingSettings, options: Mapping[str, Any]
) -> tuple[Example | None, list[Defect]]:
    """Return what reinforcement starts from: a prompt, as turns and as tokens."""
    turns = turns_for(prompt_turns(row))
    if not turns or not any(turn["content"] for turn in turns):
        return None, [Defect("no_answer", "its prompt is empty")]
    length = len(chat.asked(turns, **options))
    example = Example(
        row.id,
        (),
        turns=tuple(turns),
        options=options,
        columns=extras(row),
        prompt_length=length,
    )
    problems = []
    if length >= settings.max_length:
        problems.append(Defect("prompt_over_limit", f"{length:,} tokens"))
        return None, problems
    return example, problems


def _cut(
    answers: tuple[Tokens, ...], method: Method, settings: TrainingSettings, problems: list[Defect]
) -> tuple[Tokens, ...] | None:
    """Return answers within the length allowed, or `None` for a row that has none left."""
    limit = settings.max_length
    # `bfd_split` cuts nothing: what is over goes into the next pack.
    if settings.packing == "bfd_split" or all(len(tokens.ids) <= limit for tokens in answers):
        return answers
    longest = f"{max(len(tokens.ids) for tokens in answers):,} tokens"
    if max(tokens.prompt_length for tokens in answers) >= limit:
        single = len(answers) == 1 and method.name in ("sft", "cloning")
        problems.append(Defect("answer_cut_off" if single else "prompt_over_limit", longest))
        return None
    # A reward is read at the last token, which a cut one does not have.
    if settings.too_long == "drop" or method.name == "reward":
        problems.append(Defect("too_long_left_out", longest))
        return None
    problems.append(Defect("end_cut", longest))
    cut = tuple(tokens.cut(limit) for tokens in answers)
    if len(cut) > 1 and cut[0].ids == cut[1].ids and answers[0].ids != answers[1].ids:
        problems.append(Defect("equal_when_cut", longest))
    return cut


def check_examples(examples: Sequence[Example]) -> None:
    """Raise `UsageError` with the row's id for labels of another length, or none to learn from.

    This is the last look before training: TRL trusts labels that it is given.
    """
    for example in examples:
        for ids, labels in example.answers:
            if len(ids) != len(labels):
                raise UsageError(
                    f"row {example.row}: {len(labels):,} labels for {len(ids):,} tokens; a label "
                    "belongs to each token"
                )
            if not Tokens(ids, labels).supervised:
                raise UsageError(
                    f"row {example.row}: no token is supervised, so that nothing is learnt from "
                    "it; drop the row, or give its conversation an answer"
                )


def check_together(examples: Sequence[Example], method: Method, settings: TrainingSettings) -> None:
    """Raise `UsageError` for settings that what the rows say leaves no way to follow."""
    if settings.packing != "none" and any(example.weight != 1 for example in examples):
        raise UsageError("rows have weights, which packing loses: set `packing: none`")
    if method.name == "dpo":
        from curate.train.losses import own_pair_loss

        soft = any(example.p_chosen not in (None, 1.0) for example in examples)
        own_pair_loss(settings.loss, soft=soft)


def class_weights(examples: Sequence[Example], loss: Mapping[str, Any]) -> tuple[float, float]:
    """Return KTO's weights: those given, else the rarer class counts as much as the other."""
    wanted = sum(bool(example.label) for example in examples)
    unwanted = max(1, len(examples) - wanted)
    rarer = (max(1.0, unwanted / max(1, wanted)), max(1.0, wanted / unwanted))
    given = (loss["wanted"], loss["unwanted"])
    if all(value is None for value in given):
        return rarer
    return tuple(1.0 if value is None else float(value) for value in given)  # type: ignore[return-value]


def interleaved(examples: Sequence[Example], seed: int) -> list[Example]:
    """Return KTO's examples with both classes spread evenly, in an order that `seed` decides.

    Each class is shuffled and laid out at equal distances, so that batches hold both.
    """
    import random

    placed = []
    for wanted in (True, False):
        one_class = [example for example in examples if example.label is wanted]
        random.Random(f"{seed} {wanted}").shuffle(one_class)
        placed += [((n + 0.5) / len(one_class), wanted, e) for n, e in enumerate(one_class)]
    return [example for _, _, example in sorted(placed, key=lambda item: item[:2])]
