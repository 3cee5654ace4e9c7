r"""Test sets and their word n-grams: what training data must not hold.

Words are the lower-cased runs of `\w` (Unicode), so that punctuation and case hide nothing. An
item shorter than n words has no n-gram; it is found where a whole turn equals it.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
import json
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from curate.data import shipped

_WORD = re.compile(r"\w+")
# Where the common benchmarks keep their questions, the most telling name first.
QUESTION_FIELDS = (
    *("question", "problem", "prompt", "instruction", "query", "turns", "text", "input"),
)
FORMATS = (".jsonl", ".json", ".csv", ".tsv")


class Item(NamedTuple):
    """One item of a test set: the set's name, its place in the file (from 0) and its words."""

    test_set: str
    place: int
    words: tuple[str, ...]


class Match(NamedTuple):
    """The item that a text holds most of, and the share of the item's words that it holds."""

    item: Item
    coverage: float


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
        return Match(self.items[best], math.ceil(shares[best] * 1000) / 1000)


def normal_words(text: str) -> tuple[str, ...]:
    """Return the words by which texts are compared."""
    return tuple(_WORD.findall(text.lower()))


@functools.lru_cache(maxsize=8)
def test_index(against: tuple[str, ...], field: str | None, n: int) -> TestIndex:
    """Return the index of test sets, each given as `path` or `name=path`."""
    return TestIndex((item for spec in against for item in read_items(spec, field)), n)


test_index.__test__ = False  # type: ignore[attr-defined]


def set_path(spec: str) -> tuple[str, Path]:
    """Return the name and the file of a test set; a file of the whole text goes before a name."""
    name, _, path = spec.rpartition("=")
    first, _, rest = spec.partition("=")
    for named, whole in (("", spec), (first, rest)):
        if whole and Path(whole).is_file():
            name, path = named, whole
            break
    file = Path(shipped(path))
    return name or file.name.split(".")[0], file


def read_items(spec: str, field: str | None = None) -> Iterator[Item]:
    """Yield the items of a test set; `field` names the question's column where it is unusual."""
    name, path = set_path(spec)
    for place, text in _texts(path, field):
        yield Item(name, place, normal_words(text))


class ItemText(NamedTuple):
    """The question of a test item, the set's name, and its place in the file (from 0)."""

    test_set: str
    place: int
    text: str


@functools.lru_cache(maxsize=8)
def item_texts(against: tuple[str, ...], field: str | None) -> tuple[ItemText, ...]:
    """Return the items of test sets, each given as `path` or `name=path`, that hold any text."""
    named = [set_path(spec) for spec in against]
    return tuple(
        ItemText(name, place, text) for name, path in named for place, text in _texts(path, field)
    )


def _texts(path: Path, field: str | None) -> Iterator[tuple[int, str]]:
    """Yield the place and the question of each item that has a word; reject a file without one."""
    usable, first = False, "it is empty"
    for place, text in enumerate(_questions(path, field)):
        if _WORD.search(text):
            usable = True
            yield place, text
        elif not place:
            first = f"no item has a text with a word (the first holds {text!r:.40})"
    if not usable:
        raise ValueError(
            f"test set {path}: {first}; an item is a text, a list "
            "of texts, or an object with one of them in its question's column, which field= names"
        )


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"test set {path} cannot be read: {error}") from error


def _questions(path: Path, field: str | None) -> Iterator[str]:
    ending, text = path.name.removesuffix(".gz").rpartition(".")[2], _text(path)
    if ending == "tsv":  # FLAN: no header, no quoting, literal \n
        for line in filter(None, text.split("\n")):
            yield line.split("\t")[0].replace("\\n", "\n")
        return
    records: Iterable[Any]
    if ending == "csv":
        records = csv.DictReader(io.StringIO(text))
    elif ending == "json":
        found = _parsed(text, str(path))
        records = found if isinstance(found, list) else [found]
    else:
        lines = enumerate(text.split("\n"), 1)
        records = (_parsed(line, f"{path}:{number}") for number, line in lines if line.strip())
    for number, record in enumerate(records, 1):
        yield _question(record, field, f"{path}, item {number}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: broken JSON: {error}") from error


def _question(record: Any, field: str | None, where: str) -> str:
    """Return the question of an item, all its turns in one; empty where it holds nothing."""
    if isinstance(record, str):
        return record
    if not isinstance(record, dict):
        raise ValueError(f"{where}: an item must be an object or a text, found {record!r:.40}")
    names = [field] if field else QUESTION_FIELDS
    held = next((name for name in names if name in record), None)
    if held is None:
        raise ValueError(
            f"{where}: no column {' or '.join(names)}, only {', '.join(map(str, record))}; name "
            "the question's column with field="
        )
    question = "" if record[held] is None else record[held]
    turns = question if isinstance(question, list) else [question]
    if not all(isinstance(turn, str) for turn in turns):
        raise ValueError(
            f"{where}: {held} must be a text or a list of texts, found {question!r:.40}; name "
            "another column with field="
        )
    return "\n".join(turns)
