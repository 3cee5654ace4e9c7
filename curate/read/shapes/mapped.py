"""Shapes that are a mapping: which of a file's columns holds which part of a record.

`{instruction: question, response: answer}` makes conversations of two turns. A part may be a text,
a list of messages, of ShareGPT turns, of pairs or of texts, or such a list as JSON text; how it
came is marked in `extra` where it is not the usual form, so that rows leave as they came.
"""

from __future__ import annotations

import difflib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from curate.errors import UsageError
from curate.read.shapes import alpaca
from curate.read.shapes.completions import NAMES, truth_of
from curate.read.shapes.people.votes import votes_shape
from curate.read.shapes.record_fields import (
    dumps,
    extra_columns,
    extra_of,
    judged,
    kind_of,
    listed,
    mark,
    number_of,
    only_turn,
    shared_turns,
    with_extra,
)
from curate.read.shapes.shape import Shape
from curate.read.shapes.sides import side_from, side_to
from curate.row import Candidate, Message, Record, Row

if TYPE_CHECKING:
    import pyarrow as pa

PREFIX = "columns:"
# What a column can hold. `prompt` is another word for `instruction`, `completion` for `response`.
KEYS = (
    *("instruction", "input", "response", "prompt", "completion", "messages", "system", "tools"),
    *("chosen", "rejected", "margin", "p_chosen", "candidates", "scores", "models", "label"),
)
_SEVERAL = ("candidates", "scores", "models")
# A mapping that names one of these is one of people's votes.
_VOTE = frozenset(("first", "second", "vote"))
_KINDS = (
    "prompt: prompt or instruction (with input) · sft: messages, or prompt and response · "
    "preference: chosen and rejected (with prompt or messages) · ranked: prompt and candidates "
    "(with scores, models) · unpaired: label with messages, or with prompt and response; system "
    "and tools go with all of them; votes: first, second and vote (with prompt, annotator, group, "
    "strength, scale)"
)
# Texts that say whether an answer is wanted, where the user says that a column does.
_LABELS: Mapping[str, bool] = {**NAMES, "yes": True, "good": True, "no": False, "bad": False}
_ANSWERS = ("messages", "text", "response", "answer", "content", "output", "completion")
_SCORES, _MODELS = ("score", "reward", "rating", "rank"), ("model", "generator", "model_name")
Columns = Mapping[str, str | Sequence[str]]


def columns_shape(columns: Columns) -> str:
    """Return the name of the shape in which `columns` maps parts of a record to a file's columns.

    Raises:
        UsageError: a part is unknown, a column is not a name, or the parts make no record.
    """
    votes = isinstance(columns, Mapping) and _VOTE.intersection(columns)
    checked = dict(columns) if votes else _checked(columns)
    if votes:
        votes_shape("", checked)
    return PREFIX + json.dumps(checked, ensure_ascii=False, separators=(",", ":"))


def parse_columns(text: str) -> dict[str, str | list[str]]:
    """Return the mapping that `instruction=question,candidates=answer_a+answer_b` writes.

    Raises:
        UsageError: a piece is not written so.
    """
    found: dict[str, str | list[str]] = {}
    for piece in filter(None, (piece.strip() for piece in text.split(","))):
        key, equals, column = (part.strip() for part in piece.partition("="))
        if not equals or not key or not column:
            raise UsageError(
                f"--columns must be written PART=COLUMN,PART=COLUMN, for example "
                f"instruction=question,response=answer; found '{piece}'"
            )
        found[key] = column.split("+") if key in _SEVERAL and "+" in column else column
    return found


def _checked(columns: Any) -> dict[str, Any]:
    if not isinstance(columns, Mapping) or not columns:
        raise UsageError(
            "columns must map parts of a record to columns, for example {instruction: question, "
            f"response: answer}}; found {kind_of(columns)}"
        )
    out: dict[str, Any] = {}
    for key, column in columns.items():
        if key not in KEYS:
            near = difflib.get_close_matches(str(key), KEYS, 1)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            raise UsageError(f"columns: unknown part '{key}'{hint} Parts: {', '.join(KEYS)}")
        several = isinstance(column, list | tuple) and key in _SEVERAL
        names = list(column) if several else [column]
        if not names or not all(isinstance(name, str) and name for name in names):
            raise UsageError(f"columns: {key} must name a column, found {kind_of(column)}")
        out[key] = names if several else column
    for key, other in (("prompt", "instruction"), ("completion", "response")):
        if key in out and other in out:
            raise UsageError(f"columns: '{key}' and '{other}' mean the same; name one of them")
    _kind(set(out))
    return out


def _kind(keys: set[str]) -> str:
    """Return the kind of the records that have these parts."""
    asked = bool(keys & {"prompt", "instruction"})
    answered = bool(keys & {"completion", "response"})
    if {"chosen", "rejected"} <= keys:
        return "preference"
    if "candidates" in keys and (asked or "messages" in keys):
        return "ranked"
    if "label" in keys and ("messages" in keys or (asked and answered)):
        return "unpaired"
    if "messages" in keys or (asked and answered):
        return "sft"
    if asked and not keys - {"prompt", "instruction", "input", "system", "tools"}:
        return "prompt"
    raise UsageError(f"columns: {', '.join(sorted(keys))} make no record. {_KINDS}")


@functools.cache
def mapped_shape(name: str) -> Shape:
    """Return the shape that `columns_shape` named."""
    try:
        columns = json.loads(name.removeprefix(PREFIX))
    except ValueError as error:
        raise UsageError(f"'{name}': columns must be written as JSON: {error}") from error
    if isinstance(columns, Mapping) and _VOTE.intersection(columns):
        return votes_shape(name, columns)
    return shape_of(name, "Columns that a mapping names.", _checked(columns))


def shape_of(
    name: str,
    doc: str,
    columns: Columns,
    detect: Callable[[Mapping[str, Any]], bool] | None = None,
) -> Shape:
    """Return a shape by its mapping."""
    return _Mapped(columns).shape(name, doc, detect)


class _Reading:
    """One record under way: what is left of it, what was taken, and what is to be marked."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data: dict[str, Any] = dict(data)
        self.taken: set[str] = set()
        self.forms: dict[str, Any] = {}
        self.marks: dict[str, Any] = {}


class _Mapped:
    """The way there and back of one mapping."""

    def __init__(self, columns: Columns) -> None:
        self.columns = dict(columns)
        self.kind = _kind(set(columns))
        self.asked = next((k for k in ("instruction", "prompt", "messages") if k in columns), None)
        self.answered = next((k for k in ("response", "completion") if k in columns), None)

    def shape(
        self, name: str, doc: str, detect: Callable[[Mapping[str, Any]], bool] | None
    ) -> Shape:
        """Return it as a shape; texts alone are converted as whole columns."""
        needed = [k for k in self.columns if k not in ("system", "input", "tools", *_NUMBERS)]
        system = (self._column("system"),) if "system" in self.columns else None
        form = Shape(
            name=name,
            kind=self.kind,
            doc=doc,
            signatures=(tuple(n for k in needed for n in self._names(k)),),
            detect=detect or self._fits,
            to_record=self.to_record,
            from_row=self.from_row,
        )
        if system is not None:
            form = form._replace(system=system)
        if self.kind == "sft" and self.answered and "tools" not in self.columns:
            return form._replace(columns=self.arrow_columns, to_columns=self.to_columns)
        return form

    def _column(self, key: str) -> str:
        column = self.columns[key]
        return column if isinstance(column, str) else column[0]

    def _names(self, key: str) -> tuple[str, ...]:
        column = self.columns[key]
        return (column,) if isinstance(column, str) else tuple(column)

    def _fits(self, data: Mapping[str, Any]) -> bool:
        """Tell whether a record's columns hold what they are to hold."""
        try:
            self.to_record(data)
        except (ValueError, TypeError):
            return False
        return True

    # -- from a record ----------------------------------------------------------------------------

    def to_record(self, data: Mapping[str, Any]) -> Record:
        """Return the parts as a record; all other columns are extra."""
        reading = _Reading(data)
        fields = _READERS[self.kind](self, reading)
        if "tools" in self.columns and (name := self._column("tools")) in data:
            given = reading.data[name]
            reading.data = {key: v for key, v in reading.data.items() if key != name}
            reading.data["tools"] = given
        if reading.forms:
            reading.marks["read_as"] = reading.forms
        extra = extra_of(reading.data, tuple(reading.taken), **reading.marks)
        return Record(self.kind, fields, extra)

    def _side(self, key: str, reading: _Reading) -> tuple[Message, ...]:
        """Return the turns of one part."""
        name = self._column(key)
        if name not in reading.data:
            raise ValueError(f"column '{name}' is missing")
        role = "user" if key == self.asked else "assistant"
        turns, form = side_from(reading.data[name], name, role, alternating=key == "messages")
        reading.taken.add(name)
        if form != _USUAL.get(key, "text"):
            reading.forms[key] = form
        return turns

    def _before(self, reading: _Reading) -> tuple[Message, ...]:
        """Return the turns before the answer; an input joins the instruction."""
        turns = self._side(self.asked, reading) if self.asked else ()
        if "input" not in self.columns or not reading.data.get(self._column("input")):
            return turns
        name = self._column("input")
        task = {"instruction": only_turn(turns, "user"), "input": reading.data[name]}
        content, marks = alpaca.joined(task, "input")
        reading.marks |= marks
        reading.taken.add(name)
        return (Message("user", content),)

    def read_prompt(self, reading: _Reading) -> dict[str, Any]:
        """Return the fields of a prompt."""
        return {"prompt": self._before(reading)}

    def read_sft(self, reading: _Reading) -> dict[str, Any]:
        """Return the fields of a conversation."""
        asked = self._before(reading)
        answer = self._side(self.answered, reading) if self.answered else ()
        if reading.forms and answer:
            reading.marks["completion_turns"] = len(answer)
        return {"messages": asked + answer}

    def read_preference(self, reading: _Reading) -> dict[str, Any]:
        """Return the fields of a pair; without a prompt of its own, both sides begin with it."""
        asked = self._before(reading)
        pair = {name: self._side(name, reading) for name in ("chosen", "rejected")}
        if not self.asked:
            count = shared_turns(pair["chosen"], pair["rejected"])
            asked, pair = pair["chosen"][:count], {k: v[count:] for k, v in pair.items()}
        numbers: dict[str, float | None] = dict.fromkeys(_NUMBERS)
        for key in self.columns.keys() & set(_NUMBERS):
            numbers[key] = number_of(reading.data, self._column(key))
            reading.taken.add(self._column(key))
        return {"prompt": asked, **pair, **numbers}

    def read_ranked(self, reading: _Reading) -> dict[str, Any]:
        """Return the fields of a prompt with candidates.

        The row's extra columns keep what else is said of each, scores and models too.
        """
        asked = self._before(reading)
        names, data = self._names("candidates"), reading.data
        if isinstance(self.columns["candidates"], str):
            given = listed(data.get(names[0]))
            if not isinstance(given, list) or not given:
                raise ValueError(
                    f"column '{names[0]}' must be a list of answers, found {kind_of(given)}"
                )
        else:
            missing = [name for name in names if name not in data]
            if missing:
                raise ValueError(f"column '{missing[0]}' is missing")
            given = [data[name] for name in names]
        reading.taken |= set(names)
        answers, own = list(given), list[dict[str, Any]]({} for _ in given)
        if all(isinstance(entry, Mapping) for entry in given):
            key = next((k for k in _ANSWERS if all(k in entry for entry in given)), None)
            if key is None:
                raise ValueError(
                    f"the answers in '{names[0]}' must have one of {', '.join(_ANSWERS)}"
                )
            reading.forms["key"] = key
            answers = [entry[key] for entry in given]
            own = [{k: v for k, v in entry.items() if k != key} for entry in given]
            if isinstance(self.columns["candidates"], str) and any(own):
                reading.taken.discard(names[0])
                reading.data = {**data, names[0]: own}
        sides = [side_from(a, f"{names[0]}[{i}]", "assistant") for i, a in enumerate(answers)]
        if {form for _, form in sides} != {"text"}:
            reading.forms["candidates"] = sides[0][1]
        judged_ = zip(sides, *self._judgements(data, own), strict=True)
        candidates = tuple(Candidate(turns, score, model) for (turns, _), score, model in judged_)
        return {"prompt": asked, "candidates": candidates}

    def read_unpaired(self, reading: _Reading) -> dict[str, Any]:
        """Return the fields of a labelled answer: the last one of messages, or one of its own."""
        asked = self._before(reading)
        answer = self._side(self.answered, reading) if self.answered else ()
        if not answer:
            last = max((i for i, t in enumerate(asked) if t.role != "assistant"), default=-1) + 1
            asked, answer = asked[:last], asked[last:]
            if not asked or not answer:
                raise ValueError("a labelled conversation must end with the assistant's answer")
        name = self._column("label")
        label = reading.data.get(name)
        if _truth(label) is None:
            raise ValueError(
                f"column '{name}' must be true or false (or 1 and 0, or one of "
                f"{', '.join(_LABELS)}), found {label!r:.40}"
            )
        reading.taken.add(name)
        if not isinstance(label, bool):
            reading.marks["label_as"] = label
        return {"prompt": asked, "completion": answer, "label": _truth(label)}

    def _judgements(
        self, data: Mapping[str, Any], own: Sequence[Mapping[str, Any]]
    ) -> tuple[list[float | None], list[str | None]]:
        """Return the score and the model of each answer, which says something of `own` itself."""
        found: dict[str, list[Any]] = {
            "scores": [_of(entry, _SCORES) for entry in own],
            "models": [_of(entry, _MODELS) for entry in own],
        }
        for key in found:
            if key in self.columns:
                names = self._names(key)
                values: Any = [data.get(name) for name in names]
                values = listed(values[0]) if isinstance(self.columns[key], str) else values
                if not isinstance(values, list) or len(values) != len(own):
                    raise ValueError(f"column '{names[0]}' must hold {key}, one for each answer")
                found[key] = values
        numbers = [number_of({"score": score}, "score") for score in found["scores"]]
        return numbers, [model if isinstance(model, str) else None for model in found["models"]]

    # -- and back ---------------------------------------------------------------------------------

    def from_row(self, row: Row) -> dict[str, Any]:
        """Return a row in the columns of the mapping, in the forms that it was read from."""
        parts: dict[str, Sequence[Message]] = {}
        asked = row.messages if self.kind == "sft" else row.prompt
        if self.kind == "sft" and self.answered:
            turns = mark(row, "completion_turns")
            cut = max(1, len(asked) - (turns if isinstance(turns, int) else 1))
            asked, parts[self.answered] = asked[:cut], asked[cut:]
        elif self.kind == "preference":
            head = () if self.asked else asked
            parts |= {name: (*head, *row.fields[name]) for name in ("chosen", "rejected")}
        elif self.kind == "unpaired" and self.answered:
            parts[self.answered] = row.completion
        elif self.kind == "unpaired":
            asked = asked + row.completion
        out: dict[str, Any] = {}
        if self.asked:
            if "input" in self.columns and mark(row, "input_chars") is not None:
                text, given = alpaca.parted(row, only_turn(asked, "user"))
                asked, out[self._column("input")] = (Message("user", text),), given
            parts[self.asked] = asked
        forms = _forms(row)
        for key, turns_ in parts.items():
            role = "user" if key == self.asked else "assistant"
            form = forms.get(key, _USUAL.get(key, "text"))
            out[self._column(key)] = side_to(turns_, form, role)
        extra = extra_columns(row)
        out |= self._values(row, extra)
        return with_extra(out, row._replace(extra=dumps(extra) if extra else None))

    def _values(self, row: Row, extra: dict[str, Any]) -> dict[str, Any]:
        """Return what a record has beside its turns; `extra` loses what goes with them."""
        out: dict[str, Any] = {}
        if "tools" in self.columns and "tools" in extra:
            out[self._column("tools")] = extra.pop("tools")
        for key in _NUMBERS if self.kind == "preference" else ():
            value = row.fields.get(key)
            if key in self.columns:
                out[self._column(key)] = value
            elif value is not None:
                raise ValueError(f"the mapping names no column for '{key}'")
        if self.kind == "ranked":
            out |= self._written_candidates(row, extra)
        if self.kind == "unpaired":
            was, label = mark(row, "label_as"), row.fields["label"]
            out[self._column("label")] = was if was is not None and _truth(was) == label else label
        return out

    def _written_candidates(self, row: Row, extra: dict[str, Any]) -> dict[str, Any]:
        """Return the answers in their columns; `extra` loses what goes with them."""
        names, forms = self._names("candidates"), _forms(row)
        form, count = forms.get("candidates", "text"), len(row.candidates)
        answers = [side_to(c.messages, form, "assistant") for c in row.candidates]
        own: list[Any] = [{} for _ in answers]
        if isinstance(self.columns["candidates"], str):
            own = extra.pop(names[0], own)
            if not isinstance(own, list) or len(own) != count:
                raise ValueError(f"{len(own)} answers were read, and {count} are left")
            if key := forms.get("key"):
                answers = [{**rest, key: a} for rest, a in zip(own, answers, strict=True)]
            out: dict[str, Any] = {names[0]: answers}
        else:
            if len(names) != count:
                raise ValueError(f"the mapping holds {len(names)} answers, not {count}")
            out = dict(zip(names, answers, strict=True))
        scores, models = self._judgements(extra, own)
        if (*scores, *models) != judged(row):
            raise ValueError("its answers' scores or models are not those of its columns")
        return out

    # -- whole columns ----------------------------------------------------------------------------

    def arrow_columns(self) -> dict[str, pa.DataType]:
        """Return the columns of the vectorised form."""
        import pyarrow as pa

        keys = (self.asked, "input", self.answered)
        return {self._column(k): pa.string() for k in keys if k in self.columns}

    def to_columns(self, table: pa.Table) -> pa.Table | None:
        """Return `messages` and `extra` as columns, or `None` where a row needs a closer look."""
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.chunk import one_array

        texts = [one_array(table.column(name)) for name in self.arrow_columns()]
        odd = [pc.any(pc.starts_with(t, "[{")).as_py() for t in texts]
        if "input" in self.columns or any(t.null_count for t in texts) or any(odd):
            return None
        extra = pa.nulls(len(table), pa.string())
        return pa.table({"messages": alpaca.two_turns(*texts), "extra": extra})


def _forms(row: Row) -> dict[str, Any]:
    """Return the forms in which a row's parts came, where they were unusual."""
    forms = mark(row, "read_as")
    return forms if isinstance(forms, dict) else {}


_READERS: Mapping[str, Callable[[_Mapped, _Reading], dict[str, Any]]] = {
    "prompt": _Mapped.read_prompt,
    "sft": _Mapped.read_sft,
    "preference": _Mapped.read_preference,
    "ranked": _Mapped.read_ranked,
    "unpaired": _Mapped.read_unpaired,
}
_NUMBERS = ("margin", "p_chosen")
_USUAL = {"messages": "messages"}


def _truth(label: Any) -> bool | None:
    """Return whether a label says that an answer is wanted, or `None` where it says nothing."""
    return _LABELS.get(label.strip().lower()) if isinstance(label, str) else truth_of(label)


def _of(entry: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the first of some keys of an answer; a rank counts from the best."""
    name = next((name for name in names if entry.get(name) is not None), None)
    if name is None:
        return None
    return -entry[name] if name == "rank" and isinstance(entry[name], int | float) else entry[name]
