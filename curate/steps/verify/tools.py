"""Check tool calls against the tools that a row offers, and each call's answer."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from curate.kernels.text.pii import find_personal
from curate.kernels.text.tool_schemas import Tool, offered, tool_of
from curate.row import Message, Row
from curate.step import Drop, Generate, Made, Product

# In the order in which they name the reason of a drop: what explains others comes first.
FAULTS = (
    "empty_turn",
    "call_not_expected",
    "no_call",
    "bad_schema",
    "broken_call",
    "unknown_tool",
    "broken_arguments",
    "missing_argument",
    "extra_argument",
    "wrong_type",
    "wrong_value",
    "secret",
    "repeated_id",
    "missing_id",
    "early_answer",
    "answered_twice",
    "unmatched_id",
    "out_of_order",
    "unanswered_call",
)
_EXPECT = ("call", "none")
_SHOWN = 20
# Where the turns to check stand; of pairs and ranked answers only the good side has to be right.
_FIELDS = {
    "prompt": ("prompt",),
    "sft": ("messages",),
    "preference": ("prompt", "chosen"),
    "ranked": ("prompt",),
    "unpaired": ("prompt", "completion"),
}


class Fault(NamedTuple):
    """A fault in a turn (numbered from 0; `None`: in the row), with what was found."""

    name: str
    turn: int | None
    found: str


class Call(NamedTuple):
    """A tool call as it stands in a turn; `id` is empty where it has none."""

    turn: int
    id: str
    name: str
    arguments: Any
    broken: str = ""


@dataclass(frozen=True, kw_only=True)
class Tools(Generate):
    """Drop rows whose tool calls do not match the offered tools, or lack proper results.

    A row offers tools in its column `tools` (or `functions`), in the format of OpenAI, Anthropic or
    BFCL. Each call must name one, with arguments that are valid under its JSON Schema, without
    extra ones, and without keys and tokens (`secret`); each must have one result, in order, under
    its id. If neither calls nor results have ids, results follow the order of the calls. Calls of
    the last turn may have no result: they are what is to be learnt. `expect` says what every row
    must have, `none` (no tool fits) or `call`; a row's own column `expect` takes precedence.
    `faults` lists those that drop a row (all by default); the score of a drop is their number, the
    reason is the first of them in the order of that list, and the ledger names each with its turn.
    `repair: ids` gives the calls and results of a turn matching ids if only one pairing is
    possible; a repaired row is a new row. In a preference, the prompt and the chosen answer are
    checked, in ranked rows the prompt; an answer labelled false is not checked.
    """

    expect: Literal["call", "none"] | None = None
    faults: tuple[str, ...] = FAULTS
    repair: Literal["ids"] | None = None

    version: ClassVar[int] = 2
    source: ClassVar[str] = (
        "JSON Schema 2020-12; Patil et al. 2025 (BFCL): its types and categories"
    )

    def check(self) -> None:
        """Reject faults nobody looks for."""
        for name in self.faults:
            if name not in FAULTS:
                raise ValueError(f"unknown fault '{name}'; allowed are {', '.join(FAULTS)}")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """A mended row is of its parent's kind."""
        return kinds

    def make(self, row: Row) -> Product:
        """Return the row itself, the row with its ids mended, or why it is dropped."""
        extra = json.loads(row.extra) if row.extra else {}
        names = _FIELDS[row.kind]
        if row.kind == "unpaired" and row.fields.get("label") is False:
            names = names[:1]
        turns = tuple(turn for name in names for turn in row.fields[name])
        expect = extra.get("expect", self.expect)
        if expect is not None and expect not in _EXPECT:
            raise ValueError(
                f"column 'expect' holds {expect!r:.40}; allowed are {', '.join(_EXPECT)}"
            )
        tools = offered(extra)
        mended = with_ids(turns) if self.repair else turns
        ids = [n for n, (one, two) in enumerate(zip(turns, mended, strict=True)) if one != two]
        found = [f for f in faults_of(mended, tools, expect) if f.name in self.faults]
        if found:
            reason = min(found, key=lambda fault: FAULTS.index(fault.name)).name.replace("_", " ")
            detail = {"faults": [fault._asdict() for fault in found[:_SHOWN]]}
            return Drop(reason, float(len(found)), detail=detail)
        if not ids:
            return row
        fields: dict[str, Any] = {}
        for name in names:
            count = len(row.fields[name])
            fields[name], mended = mended[:count], mended[count:]
        return Made(row.rewrite(**fields), 0.0, {"ids_mended_in_turns": ids})


def faults_of(turns: Sequence[Message], tools: Sequence[str], expect: str | None) -> list[Fault]:
    """Return all faults of a conversation; `tools` are JSON texts, as `offered` returns them."""
    found = [
        Fault("empty_turn", n, turn.role)
        for n, turn in enumerate(turns)
        if not turn.content.strip() and not turn.attached
    ]
    known: dict[str, Tool] = {}
    for text in tools:
        tool = tool_of(text)
        error = tool.error or (f"'{tool.name}' is offered twice" if tool.name in known else "")
        if error:
            found.append(Fault("bad_schema", None, error))
        known.setdefault(tool.name, tool)
    calls = [call for n, turn in enumerate(turns) for call in calls_of(turn, n)]
    if expect == "none":
        found += (Fault("call_not_expected", call.turn, call.name) for call in calls)
    elif expect == "call" and not calls:
        found.append(Fault("no_call", None, "the row calls no tool"))
    for call in calls:
        found += _call_faults(call, known)
    return [*found, *_answer_faults(turns, calls)]


def calls_of(turn: Message, number: int) -> list[Call]:
    """Return the calls of a turn, in OpenAI's forms, the older one included."""
    beside = json.loads(turn.parts) if turn.parts else {}
    listed = beside.get("tool_calls") or []
    if beside.get("function_call"):
        listed = [*listed, {"function": beside["function_call"]}]
    out = []
    for one in listed if isinstance(listed, list) else [listed]:
        call: dict[str, Any] = one if isinstance(one, dict) else {}
        inner: Any = call.get("function", call.get("custom", call))
        name = inner.get("name") if isinstance(inner, dict) else None
        if not isinstance(name, str) or not name:
            broken = json.dumps(one, ensure_ascii=False)[:80]
            out.append(Call(number, str(call.get("id") or ""), "", None, broken))
            continue
        arguments = inner.get("arguments", inner.get("input", {}))
        out.append(Call(number, str(call.get("id") or ""), name, arguments))
    return out


def _call_faults(call: Call, known: dict[str, Tool]) -> list[Fault]:
    """Return what is wrong with one call by itself."""
    from curate.read.strict_json import parse

    if call.broken:
        return [Fault("broken_call", call.turn, call.broken)]
    arguments, found = call.arguments, list[Fault]()
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    if any(find_personal(text, ("key",))):
        found.append(Fault("secret", call.turn, f"a key or token in the arguments of {call.name}"))
    tool = known.get(call.name)
    if tool is None:
        names = ", ".join(known) or "nothing"
        found.append(Fault("unknown_tool", call.turn, f"{call.name}; offered: {names}"))
    if isinstance(arguments, str):
        try:
            arguments = parse(arguments) if arguments.strip() else {}
        except (ValueError, RecursionError) as error:
            return [*found, Fault("broken_arguments", call.turn, f"{call.name}: {error}")]
    if not isinstance(arguments, dict):
        kind = type(arguments).__name__
        return [*found, Fault("broken_arguments", call.turn, f"{call.name}: a {kind}, no object")]
    if tool is None or tool.error:
        return found
    try:
        misfits = tool.misfits(arguments)
    except ValueError as error:
        return [*found, Fault("bad_schema", call.turn, str(error))]
    return [*found, *(Fault(m.fault, call.turn, f"{call.name} {m.found}") for m in misfits)]


def _answer_id(turn: Message) -> str:
    beside = json.loads(turn.parts) if turn.parts else {}
    return str(beside.get("tool_call_id") or "")


def _is_answer(turn: Message) -> bool:
    return turn.role in ("tool", "function")


def _answer_faults(turns: Sequence[Message], calls: Sequence[Call]) -> list[Fault]:
    """Return what is wrong between calls and their answers."""
    found: list[Fault] = []
    # Calls that the turns just before made, and those that another turn has come in between.
    waiting, late, answered = list[Call](), list[Call](), set[str]()
    early: set[str] = set()
    begun = False
    for number, turn in enumerate(turns):
        if not _is_answer(turn):
            late += waiting
            waiting = [c for c in calls if c.turn == number and (not c.id or c.id not in early)]
            begun = begun or any(c.turn == number for c in calls)
            ids = [call.id for call in waiting if call.id]
            found += (Fault("repeated_id", number, id_) for id_ in set(ids) if ids.count(id_) > 1)
            continue
        own = _answer_id(turn)
        if not own:
            if waiting:
                if waiting[0].id:
                    found.append(Fault("missing_id", number, f"answers {waiting[0].id}?"))
                waiting.pop(0)
            elif late:
                found.append(Fault("out_of_order", number, f"answers {late.pop(0).name} too late?"))
            else:
                later = not begun and any(c.turn > number for c in calls)
                name = "early_answer" if later else "unmatched_id"
                found.append(Fault(name, number, "it has no id, and no call waits for it"))
        elif any(call.id == own for call in waiting):
            place = next(n for n, call in enumerate(waiting) if call.id == own)
            if place:
                found.append(Fault("out_of_order", number, f"{own} before {waiting[0].id}"))
            waiting.pop(place)
            answered.add(own)
        elif any(call.id == own for call in late):
            found.append(Fault("out_of_order", number, f"{own} is answered after another turn"))
            late.pop(next(n for n, call in enumerate(late) if call.id == own))
            answered.add(own)
        elif any(c.turn > number and c.id == own for c in calls) and own not in answered:
            found.append(Fault("early_answer", number, own))
            early.add(own)
        elif own in answered or own in early:
            found.append(Fault("answered_twice", number, own))
        elif any(not call.id for call in waiting):
            place = next(n for n, call in enumerate(waiting) if not call.id)
            found.append(Fault("missing_id", waiting.pop(place).turn, f"a call; answered as {own}"))
        else:
            found.append(Fault("unmatched_id", number, own))
    end = len(turns) - 1
    left = [call for call in (*late, *waiting) if call.turn != end]
    return [*found, *(Fault("unanswered_call", c.turn, f"{c.name} {c.id}".strip()) for c in left)]


def with_ids(turns: Sequence[Message]) -> tuple[Message, ...]:
    """Return turns in which calls and the answers right behind them share ids.

    Only what one pairing explains is changed: calls and answers that no id pairs yet must be one
    each, or as many answers without ids as calls, whose names (where answers have them) agree.
    """
    out = list(turns)
    known = {call.id for n, turn in enumerate(turns) for call in calls_of(turn, n)}
    for number, turn in enumerate(turns):
        calls = calls_of(turn, number)
        # The older form of a call has no place for an id.
        if (
            not calls
            or any(call.broken for call in calls)
            or '"function_call"' in (turn.parts or "")
        ):
            continue
        end = number + 1
        while end < len(turns) and _is_answer(turns[end]):
            end += 1
        ids = [call.id for call in calls if call.id]
        if len(set(ids)) < len(ids):
            continue
        answers = {n: _answer_id(turns[n]) for n in range(number + 1, end)}
        if len(set(filter(None, answers.values()))) < len(list(filter(None, answers.values()))):
            continue
        open_calls = [n for n, c in enumerate(calls) if not c.id or c.id not in answers.values()]
        open_answers = [n for n, own in answers.items() if not own or own not in ids]
        if len(open_calls) != len(open_answers) or not open_calls:
            continue
        given = [answers[n] for n in open_answers]
        if len(open_calls) > 1 and any(given):
            continue
        # An id that another turn's call has says that the answer belongs there.
        if any(own in known for own in given if own):
            continue
        if all(not calls[n].id for n in open_calls) and not any(given) and not ids:
            continue
        names = [json.loads(turns[n].parts or "{}").get("name") for n in open_answers]
        if any(a and a != calls[n].name for a, n in zip(names, open_calls, strict=True)):
            continue
        for place, answer in zip(open_calls, open_answers, strict=True):
            fresh = (new for n in itertools.count(1) if (new := f"call_{n}") not in known)
            own = calls[place].id or answers[answer] or next(fresh)
            known.add(own)
            if not calls[place].id:
                listed = json.loads(out[number].parts or "{}").get("tool_calls", [])
                named = [{**c, "id": own} if n == place else c for n, c in enumerate(listed)]
                out[number] = _with_part(out[number], "tool_calls", named)
            out[answer] = _with_part(out[answer], "tool_call_id", own)
    return tuple(out)


def _with_part(turn: Message, key: str, value: Any) -> Message:
    parts = {**json.loads(turn.parts or "{}"), key: value}
    return turn._replace(parts=json.dumps(parts, ensure_ascii=False, separators=(",", ":")))
