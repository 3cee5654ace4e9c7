"""What a style ranker learns from: an instruction with a human, a referenced and a direct answer.

A triple is a `ranked` row whose candidates say in their `extra` where they are from, as the step
`scar_pairs` makes them: `{"origin": "human"}`, `referenced` (a model rewrote the human answer) or
`direct` (a model answered by itself). A candidate's score is its quality. Two of the three are
enough for the ordering between them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from curate.errors import UsageError
from curate.models.turns import instruction_and_answer
from curate.row import Row, seed_of
from curate.train.data import TrainingData
from curate.train.settings import RankerSettings

ORIGINS = ("human", "referenced", "direct")
# The better answer of each pair, and the worse one.
ORDERINGS = {
    "direct_referenced": ("direct", "referenced"),
    "referenced_human": ("referenced", "human"),
    "direct_human": ("direct", "human"),
}
_SHOWN = 3


class Triple(NamedTuple):
    """An instruction with its answers and their quality, by origin; a row has two or three."""

    row: str
    instruction: str
    answers: Mapping[str, str]
    quality: Mapping[str, float | None]


class Sides(NamedTuple):
    """Triples to learn from, to choose a checkpoint by, and to test on."""

    train: list[Triple]
    validation: list[Triple]
    test: list[Triple]


def triple_of(row: Row) -> Triple:
    """Return a row as a triple.

    Raises:
        ValueError: an answer does not say where it is from, or two are from one place.
    """
    answers: dict[str, str] = {}
    quality: dict[str, float | None] = {}
    instruction = ""
    for candidate in row.candidates:
        said = json.loads(candidate.extra) if candidate.extra else {}
        origin = said.get("origin")
        if origin not in ORIGINS:
            raise ValueError(f"a candidate's `origin` is {origin!r}, and not {', '.join(ORIGINS)}")
        if origin in answers:
            raise ValueError(f"two candidates are of the origin '{origin}'")
        instruction, answers[origin] = instruction_and_answer((*row.prompt, *candidate.messages))
        quality[origin] = candidate.score
    if len(answers) < 2:
        raise ValueError("it has fewer than two answers")
    return Triple(row.id, instruction, answers, quality)


def counted(
    triple: Triple, better: str, worse: str, quality: tuple[float, float] | None = None
) -> bool:
    """Tell whether a pair is learnt: both answers are there, differ, and are good enough.

    Good enough means a quality strictly between the two numbers of `quality` (5 and 10 in the
    authors' code, whose scale ends at 9); `None` leaves the constraint out.
    """
    texts = [triple.answers.get(origin) for origin in (better, worse)]
    if None in texts or texts[0] == texts[1]:
        return False
    if quality is None:
        return True
    low, high = quality
    scores = [triple.quality[origin] for origin in (better, worse)]
    return all(score is not None and low < score < high for score in scores)


def triples_of(rows: Sequence[Row], settings: RankerSettings) -> list[Triple]:
    """Return rows as triples.

    Raises:
        UsageError: a row is not a triple, or has no quality where the constraint needs it.
    """
    found: list[Triple] = []
    wrong: dict[str, list[str]] = {}
    for row in rows:
        try:
            triple = triple_of(row)
        except ValueError as error:
            wrong.setdefault(str(error), []).append(row.id)
            continue
        if settings.quality is not None and None in triple.quality.values():
            what = "a candidate has no score, and the quality constraint reads it"
            wrong.setdefault(what, []).append(row.id)
        found.append(triple)
    if wrong:
        lines = [
            f"{len(ids):,} rows: {what} (first: {', '.join(ids[:_SHOWN])})"
            for what, ids in wrong.items()
        ]
        raise UsageError(
            "scar learns from triples as `scar_pairs` makes them (`ranked` rows whose candidates "
            "say `origin`: human, referenced or direct, and have their quality as score); "
            "`quality: null` leaves the constraint out\n  " + "\n  ".join(lines)
        )
    return found


def sides_of(data: TrainingData, settings: RankerSettings) -> Sides:
    """Return the triples of `data` on three sides; those of one instruction are on one side.

    Instructions are drawn by a hash of their text and the seed, so that order changes nothing. A
    run that was split has its test side already.

    Raises:
        UsageError: a side has no triple.
    """
    rows, held_out = (triples_of(side, settings) for side in (data.rows, data.held_out))
    instructions = sorted(
        {one.instruction for one in rows},
        key=lambda text: (seed_of("scar split", text, settings.seed), text),
    )
    tested = 0 if held_out else round(settings.test * len(instructions))
    chosen = round(settings.validation * len(instructions))
    place = {
        text: 2 if n < tested else 1 if n < tested + chosen else 0
        for n, text in enumerate(instructions)
    }
    sides: tuple[list[Triple], list[Triple], list[Triple]] = ([], [], [])
    for one in rows:
        sides[place[one.instruction]].append(one)
    found = Sides(sides[0], sides[1], [*sides[2], *held_out])
    learnt = [
        one
        for one in found.train
        if any(counted(one, *ORDERINGS[name], settings.quality) for name in settings.orderings)
    ]
    if not learnt:
        raise UsageError(
            f"no pair of the {len(found.train):,} triples to learn from counts: answers are equal, "
            f"or their quality is not between {settings.quality}; `quality: null` learns from all"
        )
    if not any(counted(one, *pair) for one in found.validation for pair in ORDERINGS.values()):
        raise UsageError(
            f"{len(instructions):,} instructions leave no pair to choose a checkpoint by; scar "
            "needs 10 or more, or a larger `validation`"
        )
    return found._replace(train=learnt)


def figures_of_triples(sides: Sides, settings: RankerSettings) -> dict[str, float]:
    """Return how many triples and pairs there are, and how many pairs the constraint leaves."""
    figures: dict[str, float] = {
        f"{name} triples": len(side) for name, side in zip(Sides._fields, sides, strict=True)
    }
    for name, pair in ORDERINGS.items():
        there = [one for one in sides.train if counted(one, *pair)]
        figures[f"{name} pairs"] = len(there)
        figures[f"{name} pairs learnt"] = sum(counted(o, *pair, settings.quality) for o in there)
    return figures
