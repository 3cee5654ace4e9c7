"""Keep rows that hold no test item of a benchmark, word for word or in other words."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.ask import Embed
from curate.kernels.sets.benchmarks import (
    ItemText,
    Stamp,
    TestIndex,
    digest_of,
    item_texts,
    stamp_of,
    test_index,
)
from curate.kernels.text.turns import turns_of
from curate.row import FIELD_TYPES, On, Row
from curate.step import Asking, Filter, Scored, Scores, rule

if TYPE_CHECKING:
    import numpy as np

    from curate.chunk import Chunk
    from curate.kernels.vectors.nearest_rows import NearestRows


@dataclass(frozen=True, kw_only=True)
class Contamination(Filter):
    """Drop rows that share word n-grams, or their meaning, with the items of test sets.

    `against` lists test sets: whatever an input may be (`path`, or `name=path`), of any shape;
    `field` names the column of their questions where it is not one of the usual; a finished run is
    one, with what its kept rows ask. The score is the
    share of the item's words that the row's turns cover with n-grams of `n` words, for the item
    covered most; a hit names it. By default any hit drops (`max: 0`); `n: 8, max: 0.5` drops what
    covers over half. Words are those of `near`: each Chinese, Japanese, Korean,
    Thai, Lao, Khmer or Burmese character is one. An item shorter than `n` words hits where a whole
    turn equals it. Rephrased items share no n-grams: `mode: semantic` scores the cosine of the
    row's text `on` with the closest item, both as vectors of `encoder`, and drops from `similarity`
    on; `prefilter` finds the candidates that float64 decides on, and changes no score (`auto` is
    `float32`, by FAISS); `cut` in the detail says that of this row's text the encoder read only the
    beginning, `unread` that it cannot read it: then only an equal item hits.
    """

    against: tuple[str, ...] = ()
    field: str | None = None
    mode: Literal["ngrams", "semantic"] = "ngrams"
    n: int = 13
    on: On = "instruction"
    encoder: str | None = None
    max: float | None = rule(0.0)
    similarity: float | None = rule(0.8)
    prefilter: Literal["auto", "float32", "bfloat16"] = rule("auto")

    version: ClassVar[int] = 2
    source: ClassVar[str] = "Brown et al. 2020 (GPT-3), arXiv 2005.14165, appendix C: 13-grams"

    def check(self) -> None:
        """Reject a step without test sets, and numbers out of range."""
        if not self.against:
            raise ValueError("against lists no test set; give files, as in [gsm8k=test.jsonl]")
        if self.mode == "ngrams" and (self.on != "instruction" or self.encoder):
            name = "encoder" if self.encoder else "on"
            raise ValueError(f"{name} is for mode: semantic; n-grams are looked for in every turn")
        if self.n < 1:
            raise ValueError(f"n is a number of words, at least 1, not {self.n}")
        if self.similarity is not None and not 0 < self.similarity <= 1:
            raise ValueError(
                f"similarity is {self.similarity}; a cosine must be above 0 and at most 1"
            )

    def prepare(self) -> None:
        """Read the test sets, or reject one that is not there or cannot be read."""
        self.__dict__.pop("_stamp", None)  # they may have changed since the last run
        if self.mode == "ngrams":
            self.index()
        self.items()

    def data_digest(self) -> str:
        """Return a digest of the test items."""
        return digest_of(self.items())

    def embeds(self) -> bool:
        """Tell whether texts become vectors."""
        return self.mode == "semantic"

    def index(self) -> TestIndex:
        """Return the n-grams of the test sets, read once."""
        return test_index(self.against, self.field, self.n, self._stamp)

    def items(self) -> tuple[ItemText, ...]:
        """Return the questions of the test sets, read once."""
        return item_texts(self.against, self.field, self._stamp)

    @functools.cached_property
    def _stamp(self) -> Stamp:
        return stamp_of(self.against)

    def score(self, row: Row) -> Scored | Asking:
        """Return how much of a test item the row holds, or how close it comes to one."""
        return self._closeness(row) if self.mode == "semantic" else self._coverage(row)

    def _coverage(self, row: Row) -> Scored:
        match = self.index().match(turn.content for turn in turns_of(row))
        if match is None:
            return Scored(0.0)
        name, place, words = match.item
        by = f"{self.n}-gram" if len(words) >= self.n else "whole turn"
        return Scored(match.coverage, {"test_set": name, "item": place, "by": by})

    def _closeness(self, row: Row) -> Asking:
        import numpy as np

        from curate.kernels.vectors.nearest_rows import NearestRows

        if not row.text(self.on).strip():
            return Scored(None)
        text = row.text(self.on)
        reply = yield Embed(texts=(text,), model=self.encoder)
        unread = not any(reply.values[0])
        detail = {"unread": True} if unread else {"cut": True} if reply.cut else {}
        # Of two texts that are not read, or of which the same is read, only equality is known.
        equal = self._places.get(text) if unread or reply.read else None
        if equal is not None:
            name, place, _ = self.items()[equal]
            return Scored(1.0, {"test_set": name, "item": place, "by": "cosine", **detail})
        near = self._vectors
        if near is None:  # nobody gave them: so it is where rows are only looked at
            replies = yield [Embed(texts=(t,), model=self.encoder) for t in self.compared_texts()]
            vectors = np.array([r.values[0] for r in replies], np.float32)
            read = np.array([dict(r.read).get(0, 0) for r in replies], np.int64)
            near = NearestRows(vectors, self.prefilter, read)
        rows, cosines = near.nearest(reply.values[0], 1, dict(reply.read).get(0, 0))
        if not len(rows):
            return Scored(None, detail or None)
        name, place, _ = self.items()[int(rows[0])]
        found = {"test_set": name, "item": place, "by": "cosine", **detail}
        return Scored(float(cosines[0]), found)

    def compared_texts(self) -> tuple[str, ...]:
        """Return the questions of all items, where their meaning is compared."""
        if self.mode == "ngrams":
            return ()
        return tuple(item.text for item in self.items())

    def with_vectors(self, vectors: np.ndarray, read: np.ndarray) -> Contamination:
        """Return the step with the vectors of the items."""
        from curate.kernels.vectors.nearest_rows import NearestRows

        own = dataclasses.replace(self)
        own.__dict__["_vectors"] = NearestRows(vectors, self.prefilter, read)
        return own

    @functools.cached_property
    def _vectors(self) -> NearestRows | None:
        """The vectors of all items, where they were given."""
        return None

    @functools.cached_property
    def _places(self) -> Mapping[str, int]:
        """The first place of each item's text."""
        items = self.items()
        return {items[place].text: place for place in reversed(range(len(items)))}

    def score_many(self, chunk: Chunk) -> Scores | None:
        """Score the rows for which a pass of hashes finds anything."""
        if self.mode == "semantic":
            return None
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.chunk import rows_of
        from curate.kernels.sets.ngrams_compiled import suspects

        index = self.index()
        # Ranked rows are few and nested: they are all compared.
        suspect = np.asarray(pc.equal(chunk.column("kind"), "ranked")).copy()
        for name, type_ in FIELD_TYPES.items():
            if type_ == "messages" and name in chunk.table.column_names:
                column = chunk.column(name)
                turns = suspects(column.flatten().field("content"), index)
                suspect[np.asarray(pc.list_parent_indices(column))[turns]] = True
        hits = np.flatnonzero(suspect)
        values = np.zeros(len(chunk))
        details: list[Mapping[str, Any] | None] = [None] * len(chunk)
        rows = rows_of(chunk.table.take(pa.array(hits, pa.int64())))
        for place, row in zip(hits.tolist(), rows, strict=True):
            scored = self._coverage(row)
            values[place], details[place] = scored.value or 0.0, scored.detail
        return Scores(values, details if len(hits) else None)

    def keep(self, score: float | None) -> str | None:
        """Compare the coverage with `max`, or the cosine with `similarity`."""
        if self.mode == "semantic":
            near = score is not None and self.similarity is not None and score >= self.similarity
            return "means nearly the same as a test item" if near else None
        if score is None or self.max is None or score <= self.max:
            return None
        if self.max == 0:
            return f"shares {self.n}-grams with a test set"
        return f"{self.n}-grams cover more than {self.max:g} of a test item"
