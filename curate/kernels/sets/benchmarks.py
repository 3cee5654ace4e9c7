r"""Test sets and their word n-grams: what training data must not hold.

Words are those by which texts are compared (`kernels.text.words`). An
item shorter than n words has no n-gram; it is found where a whole turn equals it.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import UsageError
from curate.kernels.text.words import compared_words
from curate.row import digest

if TYPE_CHECKING:
    from curate.read import Read
    from curate.read.shapes.shape import Shape

# Where the common benchmarks keep their questions, the most telling name first.
QUESTION_FIELDS = (
    *("question", "problem", "prompt", "instruction", "query", "turns", "text", "input"),
)


class Item(NamedTuple):
    """One item of a test set: the set's name, its place in the set (from 0) and its words."""

    test_set: str
    place: int
    words: tuple[str, ...]


class Match(NamedTuple):
    """The item that a text holds most of, and the share of the item's words that it holds.

    `number` is the item's place among those of the index.
    """

    item: Item
    coverage: float
    number: int


class TestIndex:
    """The n-grams of test items, looked up by the texts that might hold them."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    def __init__(self, items: Iterable[Item], n: int) -> None:
        """Index `items` by their n-grams, and those shorter than `n` words as a whole."""
        self.items, self.n = tuple(item for item in items if item.words), n
        self.grams: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for number, item in enumerate(self.items):
            size = min(n, len(item.words))
            for start in range(len(item.words) - size + 1):
                self.grams[item.words[start : start + size]].append((number, start))

    def match(self, turns: Iterable[str]) -> Match | None:
        """Return the item best covered by the turns together; the earlier one where two tie."""
        covered: dict[int, set[int]] = defaultdict(set)
        for turn in turns:
            tokens = normal_words(turn)
            size = min(self.n, len(tokens))
            for start in range(len(tokens) - size + 1) if size else ():
                for number, place in self.grams.get(tokens[start : start + size], ()):
                    covered[number].update(range(place, place + size))
        if not covered:
            return None
        shares = {n: len(places) / len(self.items[n].words) for n, places in covered.items()}
        best = min(shares, key=lambda number: (-shares[number], number))
        # Rounded up, so that no hit becomes nothing.
        return Match(self.items[best], math.ceil(shares[best] * 1000) / 1000, best)


def normal_words(text: str) -> tuple[str, ...]:
    """Return the words by which texts are compared."""
    return tuple(compared_words(text))


class ItemText(NamedTuple):
    """The question of a test item, the set's name, and its place in the set (from 0)."""

    test_set: str
    place: int
    text: str


Stamp = tuple[tuple[str, int, int], ...]


def stamp_of(against: tuple[str, ...]) -> Stamp:
    """Return what tells whether test sets that lie here have changed: name, time and size."""
    from curate.read.paths import expand
    from curate.read.remote import is_remote

    found: list[tuple[str, int, int]] = []
    for _, path in map(set_path, against):
        if not is_remote(path):
            with contextlib.suppress(UsageError, OSError):  # whoever reads it will say so
                for file in expand(path):
                    found.append((str(file), file.stat().st_mtime_ns, file.stat().st_size))
    return tuple(found)


@functools.lru_cache(maxsize=8)
def item_texts(
    against: tuple[str, ...], field: str | None, stamp: Stamp = ()
) -> tuple[ItemText, ...]:
    """Return the items of test sets, each given as `path` or `name=path`, that hold any text."""
    return tuple(item for spec in against for item in _texts(spec, field))


@functools.lru_cache(maxsize=8)
def test_index(against: tuple[str, ...], field: str | None, n: int, stamp: Stamp = ()) -> TestIndex:
    """Return the index of test sets."""
    items = item_texts(against, field, stamp)
    return TestIndex((Item(name, place, normal_words(text)) for name, place, text in items), n)


test_index.__test__ = False  # type: ignore[attr-defined]


def forget_remote(against: tuple[str, ...]) -> None:
    """Read test sets at addresses anew, of which no time and size tell whether they changed."""
    from curate.read.remote import is_hub, is_remote

    if any(is_remote(path) and not is_hub(path) for _, path in map(set_path, against)):
        item_texts.cache_clear()
        test_index.cache_clear()


def digest_of(items: Iterable[ItemText]) -> str:
    """Return a hash of test items: another one is another test."""
    return digest(repr(tuple(items)).encode("utf-8", "surrogatepass")).hex()


def set_path(spec: str) -> tuple[str, str]:
    """Return the name and the path of a test set; a path that is there goes before a name."""
    name, equals, path = spec.partition("=")
    there = Path(spec).exists() or (glob.has_magic(spec) and glob.glob(spec, recursive=True))
    return (name, path) if equals and not there else ("", spec)


def read_items(spec: str, field: str | None = None) -> Iterator[Item]:
    """Yield the items of a test set; `field` names the question's column where it is unusual."""
    for name, place, text in _texts(spec, field):
        yield Item(name, place, normal_words(text))


def _texts(spec: str, field: str | None) -> Iterator[ItemText]:
    """Yield the questions of a test set's files that hold a word; reject a file without one.

    With a name all files are one set, and places count on; without, each has the name of its file.
    """
    from curate.read import open_records

    name, path = set_path(spec)
    start = 0
    try:
        for file, reads in open_records(path):
            items = list(reads)
            form = None if field else _shape_of(items, file)
            texts = [_question(read, field, file, n, form) for n, read in enumerate(items, 1)]
            if not any(map(compared_words, texts)):
                first = f" (the first holds {texts[0]!r:.40})" if texts else ""
                found = f"no item has a text with a word{first}" if texts else "it holds no item"
                raise ValueError(
                    f"test set {file}: {found}; an item is a text, a list of texts, or an object "
                    "with one of them in its question's column, which field= names"
                )
            own = name or Path(file).name.split(".")[0]
            for place, text in enumerate(texts, start):
                if compared_words(text):
                    yield ItemText(own, place, text)
            start += len(texts) if name else 0
    except UsageError as error:
        raise ValueError(f"test set {error}") from error


def _shape_of(reads: Sequence[Read], file: str) -> Shape | None:
    """Return the shape of conversations or pairs, which have no column of questions alone."""
    from curate.read.shapes import shape
    from curate.read.sniff import SNIFFED, guess

    records = [read.record for read in reads if isinstance(read.record, dict)][:SNIFFED]
    if any(name in record for record in records for name in QUESTION_FIELDS):
        return None
    with contextlib.suppress(UsageError):  # whoever looks for the column says what is wrong
        return shape(guess(records, file)) if records else None
    return None


def _question(
    read: Read, field: str | None, file: str, number: int, form: Shape | None = None
) -> str:
    """Return the question of an item, all its turns in one; empty where it holds nothing.

    With `form`, these are the turns of the user in a record of that shape.
    """
    record = read.record
    if isinstance(record, str):
        return record
    if read.error is not None and record is None:
        line = f":{read.line}" if read.line else f", item {number}"
        raise ValueError(f"test set {file}{line}: {read.error}")
    where = f"test set {file}, item {number}"
    if not isinstance(record, dict):
        raise ValueError(f"{where}: an item must be an object or a text, found {record!r:.40}")
    if form is not None:
        try:
            fields = form.read(record).fields
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: as {form.name}, {error}") from error
        turns = fields.get("prompt") or fields.get("messages") or ()
        return "\n".join(turn.text for turn in turns if turn.role == "user")
    names = [field] if field else QUESTION_FIELDS
    held = next((name for name in names if name in record), None)
    if held is None:
        raise ValueError(
            f"{where}: no column {' or '.join(names)}, only {', '.join(map(str, record))}; name "
            "the question's column with field="
        )
    question = "" if record[held] is None else record[held]
    parts: list[Any] = [
        part.get("content") if isinstance(part, dict) else part
        for part in (question if isinstance(question, list) else [question])
    ]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(
            f"{where}: {held} must be a string or a list of strings or messages, found "
            f"{question!r:.40}; name another column with field="
        )
    return "\n".join(parts)
