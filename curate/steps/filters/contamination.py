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
    forget_remote,
    item_texts,
    normal_words,
    stamp_of,
    test_index,
)
from curate.kernels.text.turns import turns_of
from curate.kernels.text.windows import window_lengths, windows
from curate.row import FIELD_TYPES, Row
from curate.step import Asking, Filter, Scored, Scores, rule

if TYPE_CHECKING:
    import numpy as np

    from curate.chunk import Chunk
    from curate.kernels.vectors.nearest_rows import NearestRows


# How much of an item and of a window stands in the detail.
_SHOWN = 200
# The two ways of looking; `ngram` is how some write the first one.
Mode = Literal["ngrams", "ngram", "semantic"]


@dataclass(frozen=True, kw_only=True)
class Contamination(Filter):
    """Drop rows that share word n-grams, or their meaning, with the items of test sets.

    `against` lists test sets: any path that an input may be, as `path` or `name=path`, of any
    shape; a finished run counts with the prompts of its kept rows, a file of conversations or
    pairs with the user's turns. `field` names the column with the questions, if it is not one of
    the usual ones. `mode` selects how items are found: `ngrams`,
    `semantic`, or both, as `[ngrams, semantic]`.

    By n-grams, the score is the share of an item's words that the row's turns cover with n-grams of
    `n` words, for the item covered most. Rows above `max` are dropped: by default any match drops
    (`max: 0`); `n: 8, max: 0.5` drops rows that cover more than half of an item. A match names the
    test set, the item's index from 0 (`item`) and its first 200 characters (`text`). Words are
    those of `near`: each Chinese, Japanese, Korean, Thai, Lao, Khmer or Burmese character is one.
    An item shorter than `n` words matches only if a whole turn equals it.

    Rephrased items share no n-grams: `mode: semantic` scores the cosine of the closest item with
    the closest text of the row, both as vectors of `encoder`. Rows whose cosine is at least
    `similarity` are dropped. The texts are the row's turns, or the one text that `on` names. Unless
    `windows: false`, they also include windows of consecutive sentences about as long as the items,
    so that an item inside a longer turn or in an answer is found. `prefilter` selects the
    arithmetic that proposes candidates for float64 to decide on, and changes no score (`auto` is
    `float32`, by FAISS). In the detail, `cut` means that the encoder read only the beginning of a
    text without windows, and `unread` that it could not read one; then only an equal item matches.
    With both modes, the score is 1 plus the coverage if any n-gram is shared (the row is then
    dropped), and otherwise the cosine.
    """

    against: tuple[str, ...] = ()
    field: str | None = None
    mode: Mode | tuple[Mode, ...] = "ngrams"
    n: int = 13
    on: Literal["turns", "instruction", "response", "whole"] = "turns"
    windows: bool = True
    encoder: str | None = None
    max: float | None = rule(0.0)
    similarity: float | None = rule(0.8)
    prefilter: Literal["auto", "float32", "bfloat16"] = rule("auto")

    version: ClassVar[int] = 4
    source: ClassVar[str] = "Brown et al. 2020 (GPT-3), arXiv 2005.14165, appendix C: 13-grams"

    def check(self) -> None:
        """Reject a step without test sets, and numbers out of range."""
        if not self.against:
            raise ValueError("against lists no test set; give files, as in [gsm8k=test.jsonl]")
        if not self.mode:
            raise ValueError("mode lists nothing; give ngrams, semantic or both")
        if not self.by_meaning:
            given = {"encoder": self.encoder is not None, "on": self.on != "turns"}
            given["windows"] = not self.windows
            for name in (name for name, there in given.items() if there):
                raise ValueError(
                    f"{name} is for mode: semantic; n-grams are looked for in every turn"
                )
        if self.by_words and self.by_meaning and self.max != 0:
            raise ValueError(
                f"max is {self.max}; where both modes look at once any shared n-gram drops (max: "
                "0): raise n, or give two steps, one for each mode"
            )
        if self.n < 1:
            raise ValueError(f"n is a number of words, at least 1, not {self.n}")
        if self.similarity is not None and not 0 < self.similarity <= 1:
            raise ValueError(
                f"similarity is {self.similarity}; a cosine must be above 0 and at most 1"
            )

    @property
    def by_words(self) -> bool:
        """Whether n-grams are looked for."""
        return self.mode in ("ngrams", "ngram") or "ngrams" in self.mode or "ngram" in self.mode

    @property
    def by_meaning(self) -> bool:
        """Whether meanings are compared."""
        return self.mode == "semantic" or "semantic" in self.mode

    def prepare(self) -> None:
        """Read the test sets, or reject one that is not there or cannot be read."""
        self.__dict__.pop("_stamp", None)  # they may have changed since the last run
        forget_remote(self.against)
        if self.by_words:
            self.index()
        self.items()

    def data_digest(self) -> str:
        """Return a digest of the test items."""
        return digest_of(self.items())

    def embeds(self) -> bool:
        """Tell whether texts become vectors."""
        return self.by_meaning

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
        if not self.by_meaning:
            return self._coverage(row)
        if self.by_words and (covered := self._coverage(row)).value:
            return Scored(1 + covered.value, covered.detail)
        return self._closeness(row)

    def _coverage(self, row: Row) -> Scored:
        match = self.index().match(turn.content for turn in turns_of(row))
        if match is None:
            return Scored(0.0)
        name, place, words = match.item
        by = f"{self.n}-gram" if len(words) >= self.n else "whole turn"
        # The index has the items in their order: each of them holds a word.
        text = self.items()[match.number].text[:_SHOWN]
        return Scored(match.coverage, {"test_set": name, "item": place, "by": by, "text": text})

    def _closeness(self, row: Row) -> Asking:
        import numpy as np

        from curate.kernels.vectors.nearest_rows import NearestRows

        texts = self._texts(row)
        if not texts:
            return Scored(None)
        names = list(texts)
        replies = yield [Embed(texts=(text,), model=self.encoder) for text in names]
        unread = {number for number, reply in enumerate(replies) if not any(reply.values[0])}
        # A turn that has windows is read in these, however long it is.
        finest = [number for number, text in enumerate(names) if not texts[text]]
        detail: dict[str, Any] = {}
        if unread.intersection(finest):
            detail["unread"] = True
        elif any(replies[number].cut for number in finest):
            detail["cut"] = True
        near = self._vectors
        if near is None:  # nobody gave them: so it is where rows are only looked at
            asked = yield [Embed(texts=(t,), model=self.encoder) for t in self.compared_texts()]
            own = np.array([r.values[0] for r in asked], np.float32)
            own_read = np.array([dict(r.read).get(0, 0) for r in asked], np.int64)
            near = NearestRows(own, self.prefilter, own_read)
        best, found = -2.0, dict[str, Any]()
        for number, (text, reply) in enumerate(zip(names, replies, strict=True)):
            # Of two texts that are not read, or of which the same is read, only equality is known.
            partly = number in unread or reply.read
            item, cosine = self._places.get(text) if partly else None, 1.0
            if item is None:
                rows, cosines = near.nearest(reply.values[0], 1, dict(reply.read).get(0, 0))
                if not len(rows):
                    continue
                item, cosine = int(rows[0]), min(float(cosines[0]), 1.0)
            if cosine > best:
                name, place, said = self.items()[item]
                best, found = cosine, {"test_set": name, "item": place, "by": "cosine"}
                found["text"] = said[:_SHOWN]
                if texts[text] is None:
                    found["window"] = text[:_SHOWN]
        return Scored(best, {**found, **detail}) if found else Scored(None, detail or None)

    def _texts(self, row: Row) -> dict[str, bool | None]:
        """Return the texts of a row that are compared: `None` for a window, whether a turn has any.

        A text that stands in it several times is compared once.
        """
        given = [turn.content for turn in turns_of(row)]
        found: dict[str, bool | None] = {}
        for text in given if self.on == "turns" else [row.text(self.on)]:
            if text.strip():
                parts = list(windows(text, self._lengths)) if self.windows else []
                found[text] = bool(parts)
                for part in parts:
                    found.setdefault(part, None)
        return found

    @functools.cached_property
    def _lengths(self) -> tuple[int, ...]:
        """The lengths of windows, in words: those of the items."""
        return window_lengths(len(normal_words(item.text)) for item in self.items())

    def compared_texts(self) -> tuple[str, ...]:
        """Return the questions of all items, where their meaning is compared."""
        if not self.by_meaning:
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
        if self.by_meaning:
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
        if not self.by_meaning:
            if score is None or self.max is None or score <= self.max:
                return None
            if self.max == 0:
                return f"shares {self.n}-grams with a test set"
            return f"{self.n}-grams cover more than {self.max:g} of a test item"
        if score is not None and score > 1:
            return f"shares {self.n}-grams with a test set"
        near = score is not None and self.similarity is not None and score >= self.similarity
        return "means nearly the same as a test item" if near else None
