"""Label Studio's tasks: data with two answers, and annotations of several people.

Every annotation that was not cancelled reads as one vote (see `votes`), who completed it as
`annotator`. The vote is the only result that says which answer is better: a side (`Pairwise`), a
choice that names an answer, a level or a tie (`Choices`), or two ratings whose controls are called
after the two answers. Left is the answer that comes first by its column's name. The smaller export
(JSON_MIN, CSV) has a record for each annotation, and is read as `votes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.people.vote_values import (
    question_among,
    rated,
    sides_among,
    unwrapped,
    vote_value,
)
from curate.read.shapes.people.votes import Roles, checked, prompt_among, record_of, texts_as_read
from curate.read.shapes.record_fields import extra_columns, kind_of
from curate.read.shapes.shape import Shape
from curate.row import Record, Row

_LIST = "annotations"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record is a task with annotations."""
    return isinstance(data.get("data"), Mapping) and isinstance(data.get(_LIST), list)


def instances(data: Any) -> list[Mapping[str, Any]]:
    """Return a task for each annotation, with that one alone."""
    if not isinstance(data, Mapping) or not detect(data):
        return [data]
    done = [one for one in data[_LIST] if isinstance(one, Mapping) and not one.get("was_cancelled")]
    return [{**data, _LIST: [one]} for one in done] or [data]


def to_record(data: Mapping[str, Any]) -> Record:
    """Return a task with one annotation as a vote."""
    fields, given = data.get("data"), data.get(_LIST)
    if not isinstance(fields, Mapping) or not isinstance(given, list):
        raise ValueError("a task has an object 'data' and a list 'annotations'")
    done = [one for one in given if isinstance(one, Mapping) and not one.get("was_cancelled")]
    if len(done) != 1 or len(given) != 1:
        raise ValueError(
            f"a row is one annotation, and the task has {len(done)} that were not cancelled"
        )
    who = done[0].get("completed_by")
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    if isinstance(who, bool) or not isinstance(who, str | int):
        raise ValueError(f"'completed_by' must name a person, found {kind_of(who)}")
    if "annotator" in data:
        raise ValueError("column 'annotator' would be lost beside who completed it; rename it")
    sides = sides_among([n for n, value in fields.items() if isinstance(value, str | list)])
    result = done[0].get("result")
    if not isinstance(result, list) or not all(isinstance(one, Mapping) for one in result):
        raise ValueError(f"'result' must be a list of objects, found {kind_of(result)}")
    named = {str(one.get("from_name")): unwrapped(one.get("value")) for one in result}
    verdict = rated(named, sides)
    if verdict is None:
        question = question_among({name: [value] for name, value in named.items()}, sides)
        verdict = vote_value(named[question], sides)
    prompt = prompt_among(fields)
    taken = {*sides, prompt}
    rest = {**data, "data": {n: v for n, v in fields.items() if n not in taken}, "annotator": who}
    columns = [n for n in (prompt, *sides) if n is not None]
    return record_of(rest, fields, Roles(*sides, "", prompt), verdict, columns=columns)


def from_row(row: Row) -> dict[str, Any]:
    """Return a vote as the task that it was read from, with its one annotation."""
    texts, out = texts_as_read(row, "task of Label Studio"), extra_columns(row)
    if not isinstance(out.get("data"), dict):
        raise ValueError("it was read from no task of Label Studio; only such rows have this shape")
    out.pop("annotator", None)
    return checked({**out, "data": {**texts, **out["data"]}}, row, "its annotation")


SHAPES = (
    Shape(
        "label_studio",
        "preference",
        __doc__ or "",
        (("data", _LIST),),
        detect,
        to_record,
        from_row,
        instances=instances,
        system=(),
        for_reading=True,
    ),
)
