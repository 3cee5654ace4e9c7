"""Votes: a prompt, two answers, and what one person said of them.

A vote reads as a preference with the better answer as `chosen`; how much better it is stands in its
margin, which is 0 for a tie. The person's name comes to stand in the column `annotator`, where
`aggregate` looks for it, and a group, where the mapping names one, in `group`. A table is told
apart by a column of annotators and two of answers (`response_a` and `response_b`, `answer1` and
`answer2`); any other is read by `--columns prompt=,first=,second=,vote=`, with `annotator`,
`group`, `strength` and `scale` (as 1-7) where there are such.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from itertools import product
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.read.shapes import output_pair, pandalm, safe_rlhf
from curate.read.shapes.people.vote_values import (
    Scale,
    VoteValue,
    number_in,
    parse_scale,
    question_among,
    sides_among,
    strength_of,
    vote_value,
)
from curate.read.shapes.record_fields import (
    extra_columns,
    extra_of,
    kind_of,
    listed,
    mark,
    shared_turns,
)
from curate.read.shapes.shape import Shape
from curate.read.shapes.sides import side_from, side_to
from curate.row import Message, Record, Row

PROMPTS = ("prompt", "instruction", "question", "query", "input", "context")
ANNOTATORS = ("annotator", "annotator_id", "worker_id", "worker", "user_id", "judge")
_VOTES = ("vote", "preference", "choice", "winner", "label", "verdict", "preferred", "better")
# What a mapping of votes may name; the scale is stated, the others are columns.
KEYS = ("prompt", "first", "second", "vote", "annotator", "group", "strength", "scale")
_NEEDED = ("first", "second", "vote")


class Roles(NamedTuple):
    """Which column of a record holds what; without a `prompt` both answers begin with it."""

    first: str
    second: str
    vote: str
    prompt: str | None = None
    annotator: str | None = None
    group: str | None = None
    strength: str | None = None
    scale: Scale | None = None

    @property
    def sides(self) -> tuple[str, str]:
        """The columns of the two answers."""
        return (self.first, self.second)


def prompt_among(names: Mapping[str, Any]) -> str | None:
    """Return the column that holds what was asked, or `None`.

    Raises:
        ValueError: several columns may.
    """
    found = [name for name in PROMPTS if name in names]
    if len(found) > 1:
        raise ValueError(
            f"the columns {' and '.join(found)} can both hold what was asked; say which does with "
            "--columns prompt=COLUMN,first=COLUMN,second=COLUMN,vote=COLUMN"
        )
    return found[0] if found else None


def roles_among(data: Mapping[str, Any]) -> Roles:
    """Return which columns of a table's record hold what.

    Raises:
        ValueError: that is unclear; the message says between what.
    """
    given = [name for name, value in data.items() if isinstance(listed(value), str | list)]
    who = [name for name in ANNOTATORS if name in data]
    if len(who) != 1:
        raise ValueError(f"one column must hold the annotator, found {who or 'none'}")
    sides = sides_among([name for name in given if name not in (*ANNOTATORS, *_VOTES)])
    votes = [name for name in _VOTES if name in data]
    if not votes:
        # Label Studio calls the column after the control that was used; a number is many things.
        others = {n: [v] for n, v in data.items() if n not in (*sides, *who)}
        texts = {n: v for n, v in others.items() if number_in(v[0]) is None}
        with contextlib.suppress(ValueError):
            votes = [question_among(texts, sides)]
    if len(votes) != 1:
        raise ValueError(
            f"one column must hold the vote, found {', '.join(votes) or 'none'}; say which does "
            "with --columns prompt=COLUMN,first=COLUMN,second=COLUMN,vote=COLUMN"
        )
    return Roles(*sides, votes[0], prompt_among(data), who[0])


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is one person's vote on two answers, and has no shape of its own."""
    if any(own.detect(data) for own in (output_pair, pandalm, safe_rlhf)):
        return False
    try:
        return bool(roles_among(data))
    except ValueError:
        return False


def record_of(
    data: Mapping[str, Any],
    fields: Mapping[str, Any],
    roles: Roles,
    verdict: VoteValue,
    **known: Any,
) -> Record:
    """Return a vote on two of `fields`; all of `data` is extra, and what is `known` of the vote."""
    texts = {name: _side(fields, name, "assistant") for name in roles.sides}
    forms = {name: form for name, (_, form) in texts.items() if form != "text"}
    sides = [texts[name][0] for name in roles.sides]
    if roles.prompt is None:
        count = shared_turns(*sides)
        prompt, sides = sides[0][:count], [side[count:] for side in sides]
    else:
        prompt, form = _side(fields, roles.prompt, "user")
        forms |= {} if form == "text" else {roles.prompt: form}
    if verdict.wins < 0:
        sides.reverse()
    pair = {"prompt": prompt, "chosen": sides[0], "rejected": sides[1]}
    marks = {"read_as": {**known, "wins": verdict.wins, **({"forms": forms} if forms else {})}}
    return Record(
        "preference",
        {**pair, "margin": verdict.strength, "p_chosen": None},
        extra_of(data, (), **marks),
    )


def _side(fields: Mapping[str, Any], name: str, role: str) -> tuple[tuple[Message, ...], str]:
    if name not in fields:
        raise ValueError(f"column '{name}' is missing")
    return side_from(fields[name], name, role)


def texts_of(row: Row, roles: Roles) -> dict[str, Any]:
    """Return the fields of a vote, as `record_of` found them."""
    read = mark(row, "read_as")
    read = read if isinstance(read, dict) else {}
    sides, forms = [row.chosen, row.rejected], read.get("forms", {})
    if read.get("wins", 1) < 0:
        sides.reverse()
    out: dict[str, Any] = {}
    head = row.prompt if roles.prompt is None else ()
    if roles.prompt is not None:
        out[roles.prompt] = side_to(row.prompt, forms.get(roles.prompt, "text"), "user")
    for name, side in zip(roles.sides, sides, strict=True):
        out[name] = side_to((*head, *side), forms.get(name, "text"), "assistant")
    return out


def texts_as_read(row: Row, source: str) -> dict[str, Any]:
    """Return the texts of a vote under the columns of the `source` that it was read from.

    Raises:
        ValueError: it was read from something else.
    """
    read = mark(row, "read_as")
    if not isinstance(read, dict) or not isinstance(read.get("columns"), list):
        raise ValueError(f"it was read from no {source}; only such rows have this shape")
    *prompt, first, second = read["columns"]
    return texts_of(row, Roles(first, second, "", prompt[0] if prompt else None))


def to_record(data: Mapping[str, Any], roles: Roles | None = None) -> Record:
    """Return a table's record as a vote."""
    roles = roles or roles_among(data)
    missing = next((n for n in roles if isinstance(n, str) and n not in data), None)
    if missing is not None:
        raise ValueError(f"column '{missing}' is missing")
    verdict = vote_value(data[roles.vote], roles.sides, roles.scale)
    if roles.strength is not None and verdict.wins:
        verdict = verdict._replace(strength=strength_of(data[roles.strength]))
        verdict = verdict if verdict.strength else VoteValue(0, 0.0)
    rest = dict(data)
    named = {"annotator": roles.annotator, "group": roles.group}
    for name, column in named.items():
        if column is not None:
            if isinstance(data[column], bool) or not isinstance(data[column], str | int):
                raise ValueError(
                    f"column '{column}' must name someone, found {kind_of(data[column])}"
                )
            rest = {name if key == column else key: value for key, value in rest.items()}
    taken = (*roles.sides, roles.prompt)
    clash = next((n for n, c in named.items() if c not in (None, n) and n in data), None)
    if clash is not None:
        raise ValueError(f"column '{clash}' would be lost beside '{named[clash]}'; rename it first")
    rest = {name: value for name, value in rest.items() if name not in taken}
    known = {k: v for k, v in roles._asdict().items() if k != "scale" and v is not None}
    return record_of(rest, data, roles, verdict, **known)


def from_row(row: Row) -> dict[str, Any]:
    """Return a vote in the columns that it was read from."""
    read = mark(row, "read_as")
    if not isinstance(read, dict) or not all(key in read for key in _NEEDED):
        raise ValueError("it was read from no table of votes; only such rows have this shape")
    roles = Roles(**{key: read[key] for key in KEYS if key in read})
    back = {"annotator": roles.annotator, "group": roles.group}
    extra = {back.get(name) or name: own for name, own in extra_columns(row).items()}
    return checked(texts_of(row, roles) | extra, row, roles.vote)


def checked(data: dict[str, Any], row: Row, vote: str) -> dict[str, Any]:
    """Return what is written of a row, or raise where its vote no longer says what the row does."""
    wins = (mark(row, "read_as") or {}).get("wins")
    if (wins == 0) != (row.fields.get("margin") == 0) or row.fields.get("p_chosen") is not None:
        raise ValueError(f"what '{vote}' says is no longer the row's own; use 'preference'")
    return data


def votes_shape(name: str, columns: Mapping[str, Any]) -> Shape:
    """Return the shape of a mapping that names a vote.

    Raises:
        UsageError: a key is unknown, or one that is needed is missing.
    """
    strange = [key for key, own in columns.items() if key not in KEYS or not own]
    missing = [key for key in _NEEDED if key not in columns]
    if strange or missing:
        what = f"unknown part '{strange[0]}'" if strange else f"'{missing[0]}' is missing"
        what = f"'{strange[0]}' names no column" if strange and strange[0] in KEYS else what
        raise UsageError(
            f"columns of votes: {what}; they are first, second and vote, and where there are such "
            "prompt, annotator, group, strength, and scale (as 1-7)"
        )
    try:
        scale = parse_scale(columns["scale"]) if "scale" in columns else None
    except ValueError as error:
        raise UsageError(f"columns of votes: {error}") from None
    named = {key: str(own) for key, own in columns.items() if key != "scale"}
    roles = Roles(**named)._replace(scale=scale)  # type: ignore[arg-type]
    needed = tuple(one for one in roles if isinstance(one, str))

    def read(data: Mapping[str, Any]) -> Record:
        return to_record(data, roles)

    def fits(data: Mapping[str, Any]) -> bool:
        try:
            return bool(read(data))
        except (ValueError, TypeError):
            return False

    return Shape(name, "preference", __doc__ or "", (needed,), fits, read, from_row)._replace(
        for_reading=True
    )


SHAPES = (
    Shape(
        "votes",
        "preference",
        __doc__ or "",
        (*product(ANNOTATORS, PROMPTS), *product(ANNOTATORS)),
        detect,
        to_record,
        from_row,
        for_reading=True,
    ),
)
