"""Samplers: what a recipe says about the values that rows are to be made for."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import CurateError
from curate.kernels.arrays.quotas import spread, spread_distinct, strata
from curate.prompts import prompt as prompts

_KINDS = ("categories", "texts", "range", "column", "file")
_WITH = {
    "categories": ("given", "distinct"),
    "texts": ("weights", "distinct"),
    "range": (),
    "column": (),
    "file": ("column", "weight", "given", "distinct"),
}
# Names that templates have for something else.
TAKEN = ("instruction", "response", "seeds", "mark", "items")
# More values than a table can show are not cells of a coverage.
MOST_CELLS = 200

Options = Mapping[Any, float]


class AttributeSampler(NamedTuple):
    """One attribute: its options with their weights, those by the value of `given`, or a range.

    `texts` are what the options stand for, by their ids; `column` is the row's own that is taken.
    """

    name: str
    options: Options | None = None
    given: str | None = None
    tables: Mapping[Any, Options] | None = None
    range: tuple[float, float] | None = None
    column: str | None = None
    texts: Mapping[str, str] | None = None
    distinct: bool = False

    def draw(self, slots: Sequence[Mapping[str, Any]], size: int, dice: random.Random) -> list[Any]:
        """Return a value for each slot, given those drawn before; `size` slots are of one seed."""
        if self.range is not None:
            return strata(*self.range, len(slots), dice)
        if self.options is not None:
            names, weights = list(self.options), list(self.options.values())
            if self.distinct:
                numbers = spread_distinct(weights, len(slots) // size, size, dice)
            else:
                numbers = spread(weights, len(slots), dice)
            return [names[number] for number in numbers]
        places: dict[Any, list[int]] = {}
        for place, slot in enumerate(slots):
            places.setdefault(slot[self.given or ""], []).append(place)
        found: list[Any] = [None] * len(slots)
        for value, own in places.items():
            options = (self.tables or {})[value]
            names = list(options)
            for place, number in zip(
                own, spread(list(options.values()), len(own), dice), strict=True
            ):
                found[place] = names[number]
        return found


# The latest ones alone: one step at a time reads its rows.
_AT_HAND: dict[tuple[str, tuple[int, ...]], dict[str, AttributeSampler]] = {}


def samplers_of(cells: Mapping[str, Any], *, read: bool = True) -> dict[str, AttributeSampler]:
    """Return the samplers that a recipe's `cells` write; unless files are `read`, without theirs.

    Raises:
        ValueError: one is not written as samplers are; the message names it and what is allowed.
    """
    found: dict[str, AttributeSampler] = {}
    for name, given in cells.items():
        if not name.isidentifier() or name in TAKEN:
            raise ValueError(f"'{name}' is not a name for an attribute: letters, digits and _ make "
                             f"one, and {', '.join(TAKEN)} are taken")  # fmt: skip
        try:
            found[name] = _sampler(name, given, found, read)
        except ValueError as error:
            raise ValueError(f"cells.{name}: {error}") from None
    return found


def samplers_at_hand(cells: Mapping[str, Any]) -> dict[str, AttributeSampler]:
    """Return what `samplers_of` does, read once for many rows while no file changes."""
    # As JSON the numbers 1 and "1" would be one name.
    key = (repr(cells), tuple(path.stat().st_mtime_ns for path in files_of(cells)))
    found = _AT_HAND.get(key)
    if found is None:
        found = samplers_of(cells)
        _AT_HAND.clear()
        _AT_HAND[key] = found
    return found


def files_of(cells: Mapping[str, Any]) -> list[Path]:
    """Return the files that samplers read."""
    given = [one for one in cells.values() if isinstance(one, Mapping)]
    paths = [Path(one["file"]) for one in given if isinstance(one.get("file"), str)]
    named = [one["texts"] for one in given if isinstance(one.get("texts"), str)]
    return [*paths, *map(prompts.find, named)]


def _sampler(
    name: str, given: Any, before: Mapping[str, AttributeSampler], read: bool
) -> AttributeSampler:
    kinds = [kind for kind in _KINDS if isinstance(given, Mapping) and kind in given]
    kinds = ["file"] if "file" in kinds else kinds
    if len(kinds) != 1:
        raise ValueError(f"must be a mapping with one of {', '.join(_KINDS)}, found {given!r:.60}")
    (kind,) = kinds
    value, parent = given[kind], given.get("given")
    distinct = given.get("distinct", False) is True
    unknown = [key for key in given if key not in (kind, *_WITH[kind])]
    if unknown:
        allowed = ", ".join(_WITH[kind]) or "nothing"
        raise ValueError(f"has {unknown}; beside {kind} it may have {allowed}")
    if parent is not None and (parent not in before or before[parent].range is not None):
        known = [one for one, sampler in before.items() if sampler.range is None]
        raise ValueError(f"given is {parent!r}; it must be one of those before it: {known}")
    if parent is not None and distinct:
        raise ValueError("distinct and given do not go together")
    if kind == "range":
        return AttributeSampler(name, range=_range_in(value))
    if not isinstance(value, str) and kind in ("column", "file"):
        raise ValueError(f"{kind} must be a string, found {value!r:.60}")
    if kind == "column":
        return AttributeSampler(name, column=value)
    if kind == "texts":
        if isinstance(value, str) and not read:
            return AttributeSampler(name)
        texts = _texts(value)
        weights = given.get("weights") or {}
        if not isinstance(weights, Mapping) or set(weights) - set(texts):
            raise ValueError(f"weights must be a mapping of {list(texts)}, found {weights!r:.60}")
        options = options_of({id_: weights.get(id_, 1) for id_ in texts})
        return AttributeSampler(name, options=options, texts=texts, distinct=distinct)
    if kind == "file" and not read:
        return AttributeSampler(name, given=parent)
    tables = _tables_of(given, name)
    if parent is None:
        return AttributeSampler(name, options=tables[None], distinct=distinct)
    above = before[parent]
    listed = [above.options] if above.options is not None else (above.tables or {}).values()
    possible = [value for table in listed for value, weight in table.items() if weight]
    if lacking := [one for one in possible if one not in tables]:
        raise ValueError(f"has nothing for {parent} = {lacking[0]!r}; it has {list(tables)}")
    return AttributeSampler(name, given=parent, tables=tables)


def _range_in(value: Any) -> tuple[float, float]:
    pair = isinstance(value, list | tuple) and len(value) == 2
    if not pair or any(isinstance(n, bool) or not isinstance(n, int | float) for n in value):
        raise ValueError(f"range must be [low, high], two numbers, found {value!r:.60}")
    if value[0] > value[1]:
        raise ValueError(f"range begins at {value[0]} and ends at {value[1]}: low goes first")
    return value[0], value[1]


def _tables_of(given: Mapping[str, Any], name: str) -> dict[Any, Options]:
    """Return the options of categories or a file, by the value of what they are given."""
    parent, path = given.get("given"), given.get("file")
    if path is not None:
        if not Path(path).is_file():
            raise ValueError(f"there is no file {path}")
        own = (given.get("column", name), given.get("weight"), parent)
        return _tables_in(Path(path), Path(path).stat().st_mtime_ns, *own)
    value = given["categories"]
    if parent is None:
        return {None: options_of(value)}
    if not isinstance(value, Mapping):
        raise ValueError(f"categories must map each value of {parent} to its own categories")
    return {one: options_of(options) for one, options in value.items()}


def options_of(given: Any) -> Options:
    """Return options with their weights: a list of equals, or a mapping to weights."""
    found = given
    if isinstance(given, list | tuple):
        found = dict.fromkeys(given, 1)
        if len(found) < len(given):
            raise ValueError(f"names one twice; give weights instead: {given!r:.60}")
    if not isinstance(found, Mapping) or not found:
        raise ValueError(f"must be a list, or a mapping to weights, of one or more: {given!r:.60}")
    for value, weight in found.items():
        number = isinstance(weight, int | float) and not isinstance(weight, bool)
        if not isinstance(value, str | int | float) or not number or not 0 <= weight < math.inf:
            raise ValueError(f"has {value!r} with the weight {weight!r}; weights are 0 or more")
    if not sum(found.values()):
        raise ValueError("has only weights of 0")
    return dict(found)


def _texts(given: Any) -> dict[str, str]:
    """Return texts by their ids: a mapping, or the items of a prompt file."""
    if isinstance(given, str):
        try:
            items = prompts.load(given).items
        except CurateError as error:
            raise ValueError(str(error)) from None
        found = {item.id: str(item.values.get("text", "")) for item in items}
    else:
        found = dict(given) if isinstance(given, Mapping) else {}
    if not found or not all(isinstance(text, str) and text.strip() for text in found.values()):
        raise ValueError("texts must map ids to texts, or name a prompt file whose items have one")
    return found


@functools.lru_cache(maxsize=64)
def _tables_in(
    path: Path, modified: int, column: str, weight: str | None, parent: str | None
) -> dict[Any, Options]:
    from curate.read.inputs import open_records

    tables: dict[Any, dict[Any, float]] = {}
    try:
        for _, reads in open_records(str(path)):
            for number, one in enumerate(reads, 1):
                record = one.record if isinstance(one.record, Mapping) else {}
                wanted = [name for name in (column, weight, parent) if name is not None]
                missing = [name for name in wanted if record.get(name) in (None, "")]
                if missing:
                    raise ValueError(f"record {number} of {path} has no '{missing[0]}'")
                table = tables.setdefault(record[parent] if parent else None, {})
                try:
                    more = float(record[weight]) if weight else 1.0
                except (TypeError, ValueError):
                    more = math.nan
                if not 0 <= more < math.inf:
                    raise ValueError(
                        f"record {number} of {path} has the {weight} {record[weight]!r:.60}; "
                        "weights are numbers from 0"
                    )
                table[record[column]] = table.get(record[column], 0.0) + more
    except CurateError as error:
        raise ValueError(str(error)) from None
    return {value: options_of(table) for value, table in tables.items()}


def path_name(path: Sequence[str], values: Mapping[str, Any]) -> str:
    """Return what tables call a cell: `topic/subtopic=law/rent`."""
    shown = (values.get(name) for name in path)
    texts = (v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in shown)
    return f"{'/'.join(path)}={'/'.join(texts)}"
