"""Argilla's records: fields with two or more answers, and what several people responded.

Every submitted response to the question that compares the answers reads as one vote (see `votes`),
its user as `annotator`; a ranking of several answers as a vote on every two of them. The question
is the only one whose values name an answer, a level or a tie, a ranking, or else two ratings that
are called after the two answers. Records of both versions are read as they are exported: version 2
nested (`to_json`) and flat (`to_datasets`, `QUESTION.responses`), version 1 nested and as a
`datasets` table (`QUESTION-suggestion`). Drafts and discarded responses are not votes, but the
nested export of version 2 leaves out which these are: export it flat where there are such.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, NamedTuple

from curate.read.shapes.people.vote_values import (
    VoteValue,
    question_among,
    rated,
    sides_among,
    vote_value,
)
from curate.read.shapes.people.votes import Roles, checked, prompt_among, record_of, texts_as_read
from curate.read.shapes.record_fields import extra_columns
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

_FLAT = ".responses"
_SUBMITTED = (None, "submitted")
_BESIDE = ("id", "external_id", "metadata", "status", "_server_id", "vectors")


class _Response(NamedTuple):
    """What one person responded to one question."""

    user: str
    value: Any


class _Entry(NamedTuple):
    """A record's fields and its submitted responses, by question."""

    fields: Mapping[str, Any]
    responses: dict[str, list[_Response]]


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has fields and responses, nested or flat."""
    return bool(_form_of(data))


def _form_of(data: Mapping[str, Any]) -> str:
    """Return how a record is written: `v2`, `v1`, `v2 flat`, `v1 flat`, or an empty text."""
    nested = data.get("responses")
    if isinstance(data.get("fields"), Mapping):
        if isinstance(nested, Mapping):
            return "v2"
        return "v1" if isinstance(nested, list) else ""
    if any(name.endswith(_FLAT) and f"{name}.users" in data for name in data):
        return "v2 flat"
    questions = [n.removesuffix("-suggestion") for n in data if n.endswith("-suggestion")]
    return "v1 flat" if any(isinstance(data.get(name), list) for name in questions) else ""


def _entry(data: Mapping[str, Any]) -> _Entry:
    """Return what a record of any form holds.

    Raises:
        ValueError: it is written otherwise.
    """
    form, found = _form_of(data), dict[str, list[_Response]]()

    def add(question: str, user: Any, value: Any, status: Any) -> None:
        if status in _SUBMITTED and value is not None:
            if user is None or user == "":
                raise ValueError(f"a response to '{question}' has no user, whose vote it would be")
            found.setdefault(question, []).append(_Response(str(user), value))

    if form == "v2":
        for question, given in data["responses"].items():
            for one in given or ():
                add(question, one["user_id"], one["value"], one.get("status"))
        return _Entry(data["fields"], found)
    if form == "v1":
        for one in data["responses"]:
            for question, value in (one.get("values") or {}).items():
                add(question, one.get("user_id"), value["value"], one.get("status"))
        return _Entry(data["fields"], found)
    if form == "v2 flat":
        questions = [n.removesuffix(_FLAT) for n in data if n.endswith(_FLAT)]
        for question in questions:
            for user, value, status in _flat_responses(data, question):
                add(question, user, value, status)
    else:
        questions = [n.removesuffix("-suggestion") for n in data if n.endswith("-suggestion")]
        for question in questions:
            for one in data.get(question) or ():
                add(question, one.get("user_id"), one["value"], one.get("status"))
    beside = {*_BESIDE, *questions}
    own = {
        name: value
        for name, value in data.items()
        if name not in beside
        and not any(name.startswith((f"{q}.", f"{q}-suggestion")) for q in questions)
        and isinstance(value, str | list)
        and value
    }
    return _Entry(own, found)


def _flat_responses(data: Mapping[str, Any], question: str) -> Iterator[tuple[Any, Any, Any]]:
    """Yield user, value and status of every response to a question whose columns are lists."""
    columns = [data.get(f"{question}{_FLAT}{end}") for end in ("", ".users", ".status")]
    values, users, statuses = (column or [] for column in columns)
    statuses = statuses or [None] * len(values)
    if not len(values) == len(users) == len(statuses):
        raise ValueError(f"'{question}' has {len(values)} responses of {len(users)} users")
    yield from zip(users, values, statuses, strict=True)


class _Vote(NamedTuple):
    """A vote of one person on two fields, and what the person said by which questions."""

    user: str
    sides: tuple[str, str]
    said: dict[str, Any]
    verdict: VoteValue


def _votes(entry: _Entry) -> list[_Vote]:
    """Return the votes of a record.

    Raises:
        ValueError: nobody has responded, or it is unclear which question compares the answers.
    """
    if not entry.responses:
        raise ValueError("nobody has submitted a response (drafts and discarded ones do not count)")
    found = []
    rankings = [
        question
        for question, own in entry.responses.items()
        if all(
            isinstance(one.value, list)
            and all(isinstance(v, Mapping) and {"rank", "value"} <= v.keys() for v in one.value)
            for one in own
        )
    ]
    if len(rankings) == 1:
        # A ranking holds a vote on every two answers.
        for user, ranks in entry.responses[rankings[0]]:
            if not all(type(one["rank"]) is int for one in ranks):
                raise ValueError(f"a response to '{rankings[0]}' leaves an answer without a rank")
            placed = sorted(ranks, key=lambda one: str(one["value"]))
            for first, second in combinations(placed, 2):
                ahead = second["rank"] - first["rank"]
                value = VoteValue((ahead > 0) - (ahead < 0), None if ahead else 0.0)
                sides = (str(first["value"]), str(second["value"]))
                found.append(_Vote(user, sides, {rankings[0]: [first, second]}, value))
        return found
    sides = sides_among([name for name in entry.fields if name not in entry.responses])
    by_user: dict[str, dict[str, Any]] = {}
    for question, own in entry.responses.items():
        for user, value in own:
            by_user.setdefault(user, {})[question] = value
    for user, said in by_user.items():
        if (gap := rated(said, sides)) is not None:
            ratings = {q: v for q, v in said.items() if any(s.lower() in q.lower() for s in sides)}
            found.append(_Vote(user, sides, ratings, gap))
    if found:
        return found
    values = {question: [one.value for one in own] for question, own in entry.responses.items()}
    question = question_among(values, sides)
    return [
        _Vote(user, sides, {question: value}, vote_value(value, sides))
        for user, value in entry.responses[question]
    ]


def instances(data: Any) -> list[Mapping[str, Any]]:
    """Return a record for each vote, with what that person responded alone."""
    try:
        return [_narrowed(data, vote) for vote in _votes(_entry(data))] or [data]
    except (ValueError, TypeError, KeyError, AttributeError):
        # It is not a vote, and says so when it is read.
        return [data]


def _narrowed(data: Mapping[str, Any], vote: _Vote) -> dict[str, Any]:
    """Return the record as if nobody else had responded, and to no other question."""
    form, out = _form_of(data), dict(data)
    if form == "v2":
        out["responses"] = {
            question: [
                {**one, "value": vote.said[question]}
                for one in given
                if str(one["user_id"]) == vote.user
            ]
            for question, given in data["responses"].items()
            if question in vote.said
        }
    elif form == "v1":
        out["responses"] = [
            {
                **one,
                "values": {
                    q: {**own, "value": vote.said[q]}
                    for q, own in one["values"].items()
                    if q in vote.said
                },
            }
            for one in data["responses"]
            if str(one.get("user_id")) == vote.user and one.get("values")
        ]
    elif form == "v2 flat":
        for question, said in vote.said.items():
            users = [str(user) for user in data[f"{question}{_FLAT}.users"]]
            at = users.index(vote.user)
            out[f"{question}{_FLAT}"] = [said]
            for end in (".users", ".status"):
                column = f"{question}{_FLAT}{end}"
                if data.get(column):
                    out[column] = [data[column][at]]
    else:
        for question, said in vote.said.items():
            out[question] = [
                {**one, "value": said}
                for one in data[question]
                if str(one.get("user_id")) == vote.user
            ]
    return out


def to_record(data: Mapping[str, Any]) -> Record:
    """Return a record with the response of one person as a vote."""
    try:
        entry = _entry(data)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"a response is written otherwise than Argilla does: {error!r}") from None
    votes = _votes(entry)
    if len(votes) != 1:
        raise ValueError(f"a row is one vote, and the record has {len(votes)}")
    [vote] = votes
    fields = entry.fields
    prompt = prompt_among(fields)
    roles = Roles(*vote.sides, next(iter(vote.said)), prompt)
    if "annotator" in data:
        raise ValueError("column 'annotator' would be lost beside the response's user; rename it")
    taken = {*vote.sides, prompt}
    rest = {n: v for n, v in data.items() if n not in taken} | {"annotator": vote.user}
    if isinstance(data.get("fields"), Mapping):
        rest["fields"] = {n: v for n, v in data["fields"].items() if n not in taken}
    columns = [n for n in (prompt, *vote.sides) if n is not None]
    return record_of(rest, fields, roles, vote.verdict, columns=columns)


def from_row(row: Row) -> dict[str, Any]:
    """Return a vote as the record of Argilla that it was read from."""
    texts, out = texts_as_read(row, "record of Argilla"), extra_columns(row)
    out.pop("annotator", None)
    if isinstance(out.get("fields"), dict):
        return checked({**out, "fields": {**texts, **out["fields"]}}, row, "its response")
    return checked(texts | out, row, "its response")


SHAPES = (
    Shape(
        "argilla",
        "preference",
        __doc__ or "",
        (("fields", "responses"), ("*.responses",), ("*-suggestion",)),
        detect,
        to_record,
        from_row,
        instances=instances,
        system=(),
        for_reading=True,
    ),
)
