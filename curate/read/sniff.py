"""Learn a file's shape from its first records, before anything is run.

A shape may claim a file only where no other column can be the other half of its records: pairs read
as bare prompts would be taken for copies of each other.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import InputError, NoRows
from curate.read.records import reads_of
from curate.read.shapes import names, shape, shapes
from curate.read.shapes.shape import ARRAY, Shape

SNIFFED = 20
# Of large records fewer are held.
_SNIFFED_BYTES = 4 << 20
# How many columns an error lists.
_SHOWN = 50
Records = Sequence[Mapping[str, Any]]

# What columns of answers are called, as the last word of their names.
_ANSWERS = frozenset(
    [
        *("answer", "output", "response", "completion", "reply", "solution", "generation"),
        *("target", "candidate", "chosen", "rejected", "prediction", "conversation", "message"),
    ]
)
# How names of columns begin that hold what an answer is compared with, not an answer to learn.
_GIVEN = frozenset(("canonical", "reference", "expected", "ground", "gold", "original", "num"))
# What columns of scores are called, as the last word of their names.
_SCORES = frozenset(("score", "rating", "reward"))
# What columns of questions are called, the likeliest first.
_ASKED = (
    *("instruction", "question", "prompt", "query", "problem", "task", "input", "request"),
    *("user", "text", "title"),
)
_WORDS = re.compile(r"[^\W\d_]+")
_END = re.compile(r"[.-]\w+$")
_NUMBERED = re.compile(r".*[^\W\d_][\s_-]*(?:\d+|[ab])", re.IGNORECASE)


def first_records(path: Path, form: str, name: str) -> list[Mapping[str, Any]]:
    """Return the first readable records of the file that its user calls `name`, or raise."""
    found: list[Mapping[str, Any]] = []
    lists: list[Mapping[str, Any]] = []
    first_error, size = None, 0
    with contextlib.closing(reads_of(path, form)) as reads:
        for number, read in enumerate(reads, 1):
            if isinstance(read.record, Mapping):
                found.append(read.record)
            elif isinstance(read.record, list) and read.record:
                lists.append({ARRAY: read.record})
            if first_error is None and read.error is not None:
                first_error = f"line {read.line}: {read.error}"
            size += 0 if read.record is None else read.size
            enough = number >= SNIFFED or size > _SNIFFED_BYTES
            if len(found) == SNIFFED or (found and enough) or len(lists) == SNIFFED:
                break
    if found:
        return found
    if any(shape("turn_list").detect(record) for record in lists):
        return lists
    if first_error is None:
        raise NoRows(f"{name}: it holds no rows")
    raise InputError(f"{name}: not one readable row; {first_error}{remedy(first_error)}")


def remedy(error: str) -> str:
    """Return what to do with a file none of whose rows can be read, given its first error."""
    wrong = "invalid UTF-8" in error and "iconv" not in error
    return "; convert the file: iconv -f ENCODING -t UTF-8" if wrong else ""


def guess(records: Records, file: str) -> str:
    """Return the shape that most of the first records of `file` have.

    Raises:
        InputError: none or several shapes fit equally, or the one that fits would leave half of
            each record unread; the message names the columns and how to say what they hold.
    """
    seen = {key for record in records for key in record}
    # Tools name columns after their users' questions: `*.responses` is any that ends so.
    seen |= {f"*{end[0]}" for end in map(_END.search, seen) if end}
    votes, matched = {}, {}
    for form in shapes().values():
        # Most shapes are ruled out by the columns alone.
        fitting = [set(columns) for columns in form.signatures if seen.issuperset(columns)]
        if fitting:
            votes[form.name] = sum(map(form.detect, records))
            matched[form.name] = max(fitting, key=len)
    most = max(votes.values(), default=0)
    best = [name for name, count in votes.items() if count == most and most]
    if most == len(records):
        # Of two that fit all records, the one that needs more of the columns says more; a bare
        # prompt is what is left where nothing else fits.
        best = [name for name in best if not any(matched[name] < matched[n] for n in best)]
        best = [name for name in best if shape(name).kind != "prompt"] or best
    if len(best) == 1:
        _check_claim(shape(best[0]), records, file)
        return best[0]
    named = list(dict.fromkeys(key for record in records for key in record))
    more = f" and {len(named) - _SHOWN} more" if len(named) > _SHOWN else ""
    columns = ", ".join(named[:_SHOWN]) + more
    if best:
        raise InputError(
            f"{file}: its columns ({columns}) fit several shapes: {', '.join(best)}; choose one "
            "with --shape SHAPE, or `shape:` in the recipe"
        )
    if renamed := _other_case(records):
        return renamed
    raise InputError(
        f"{file}: its columns ({columns}) fit no shape; {_proposal(records)}; or name a shape with "
        f"--shape SHAPE. Known shapes: {', '.join(names())}"
    )


def _check_claim(form: Shape, records: Records, file: str) -> None:
    """Raise when a column that the shape leaves unread can be the other half of a record."""
    if form.kind not in ("prompt", "sft") or form.lost:
        return
    columns = _columns(records).items()
    suspects = [name for name, values in columns if _can_answer(name, form, values)]
    needed = {name for columns in form.signatures for name in columns}
    suspects = [name for name in suspects if name not in needed]
    if form.kind == "prompt" and not suspects:
        # Columns with texts or lists that differ between records of equal prompt.
        first: dict[Any, Mapping[str, Any]] = {}
        differing: dict[str, None] = {}
        for record, read in zip(records, _read(form, records), strict=False):
            other = first.setdefault(read.fields["prompt"], record)
            for name, value in record.items():
                texts = isinstance(value, str) and len(value.split()) > 1
                lists = isinstance(value, list) and value and isinstance(value[0], str | Mapping)
                # What the shape asks for is none of its answers.
                if name not in needed and (texts or lists) and other.get(name) != value:
                    differing[name] = None
        suspects = list(differing)
    if not suspects:
        return
    unread = {key for r in _read(form, records) for key in json.loads(r.extra or "{}")}
    halves = [name for name in suspects if name in unread]
    if halves:
        those = ", ".join(f"'{name}'" for name in halves)
        raise InputError(
            f"{file}: the shape '{form.name}' fits, but would leave {those} unread, which can be "
            f"the other half of a record; {_proposal(records)}; or read it without with "
            f"--shape {form.name}"
        )


def _columns(records: Records) -> dict[str, list[Any]]:
    """Return the values of every column."""
    found: dict[str, list[Any]] = {}
    for record in records:
        for name, value in record.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return found


def _can_answer(name: str, form: Shape, values: Sequence[Any]) -> bool:
    """Tell whether a column's name and values are those of answers that `form` does not read."""
    words = [word.lower() for word in _WORDS.findall(name)]
    if words[:1] and words[0] in _GIVEN:
        return False
    pair = bool({*words[:1], *words[-1:]} & {"chosen", "rejected"})
    named = pair or _last_word(name) in _ANSWERS
    texts = [v for v in values if isinstance(v, str) and v.strip()]
    several = [v for v in values if isinstance(v, list) and v and isinstance(v[0], str | Mapping)]
    if form.kind == "prompt":
        return named and bool(texts or several)
    # An answer is read already: another one would have to stand beside it.
    numbered = bool(_NUMBERED.fullmatch(name)) and bool(texts)
    return named and ((pair and bool(texts or several)) or numbered or any(v[1:] for v in several))


def _read(form: Shape, records: Records) -> list[Any]:
    """Return the records that `form` can read."""
    out = []
    for record in records:
        with contextlib.suppress(ValueError, TypeError):
            out.append(form.read(record))
    return out


def _other_case(records: Records) -> str | None:
    """Return the shape of records whose columns are known ones in another spelling."""
    from curate.read.shapes.dialects import OWN
    from curate.read.shapes.mapped import columns_shape

    there = {
        re.sub(r"[\s_-]+", "_", name.strip().lower()): name for name in reversed(_columns(records))
    }
    for known in OWN:
        columns = {k: there[c] for k, c in known.items() if c in there}
        spelt = any(known[key] != column for key, column in columns.items())
        if spelt and not known.keys() - columns.keys() - {"input"}:
            system = next((there[n] for n in ("system", "system_prompt") if n in there), None)
            columns |= {"system": system} if system and system != system.lower() else {}
            found = columns_shape(columns)
            if any(map(shape(found).detect, records)):
                with contextlib.suppress(InputError):
                    _check_claim(shape(found), records, "")
                    return found
    return None


def _proposal(records: Records) -> str:
    """Propose the line that says which column holds what."""
    columns = _columns(records)
    texts = {
        name: sum(map(len, values)) / len(values)
        for name, values in columns.items()
        if all(isinstance(value, str) for value in values)
    }
    turns = [n for n, v in columns.items() if any(isinstance(x, list) and x for x in v)]
    # The column whose name ends with the first of the words that occurs.
    last = {_last_word(name): name for name in reversed(texts)}
    asked = next((last[word] for word in _ASKED if word in last), None)
    answers = [name for name in columns if _last_word(name) in _ANSWERS and name != asked]
    pair = {key: n for n in answers for key in ("chosen", "rejected") if key in n.lower()}
    if len(pair) == 2:
        found = ({"prompt": asked} if asked else {}) | pair
    elif asked and len([n for n in answers if n in texts]) > 1:
        found = {"prompt": asked, "candidates": "+".join(n for n in answers if n in texts)}
    elif asked and answers:
        found = {"instruction": asked, "response": answers[0]}
        if isinstance(columns[answers[0]][0], list):
            found = {"prompt": asked, "candidates": answers[0]}
            lists = [n for n, values in columns.items() if isinstance(values[0], list)]
            scores = [n for n in lists if _last_word(n) in _SCORES]
            found |= {"scores": scores[0]} if scores else {}
    elif turns and not (asked and len(texts) > 1):
        found = {"messages": turns[0]}
    else:
        longest = sorted(texts, key=lambda name: -texts[name])
        rest = [name for name in longest if name != asked]
        if asked is None and len(texts) == len(columns) == 2:
            # Nothing else is there, and files have the question first.
            asked, *rest = texts
        found = {"instruction": asked or "QUESTION", "response": rest[0] if rest else "ANSWER"}
    flag = ",".join(f"{key}={name}" for key, name in found.items())
    quoted = f"'{flag}'" if re.search(r"[^\w=,+.-]", flag) else flag
    lines = ", ".join(f"{k}: {_in_yaml(v)}" for k, v in found.items())
    return f"say which column holds what: --columns {quoted}, or columns: {{{lines}}} in the recipe"


def _in_yaml(column: str) -> str:
    if "+" in column:
        return f"[{', '.join(map(_in_yaml, column.split('+')))}]"
    return column if re.fullmatch(r"[A-Za-z_][\w ]*", column) else json.dumps(column)


def _last_word(name: str) -> str:
    """Return the last word of a column's name, in the singular; a letter only numbers it."""
    words = [word.lower() for word in _WORDS.findall(name)]
    words = words[:-1] if len(words) > 1 and len(words[-1]) == 1 else words
    return words[-1].removesuffix("s") if words else ""
