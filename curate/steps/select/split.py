"""Mark rows as training or test rows, so that nothing leaks from one to the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import allowed_of, draw_of
from curate.row import On, Row, seed_of
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Split(Whole):
    r"""Mark rows as `train` or `test`, near-duplicates and equal prompts on the same side.

    No row is dropped: each gets the note `split`. Rows are linked, also through other rows, if
    their instructions have the same words or if their texts are similar. `similarity` is the
    Jaccard similarity from which texts are (`null`: only equal instructions are linked). `shingle`
    is the number of words of the n-grams compared, with words as in `near`. Whole groups, drawn
    from their first row's own seed, form the test side. `share` is the maximum share of test rows
    (0.02; at least one of several rows). `count` is their maximum number instead. The score is 1
    for a test row.
    """

    on: On = "whole"
    shingle: int = 3
    similarity: float | None = rule(0.8)
    share: float | None = rule(0.02)
    count: int | None = rule(None)

    version: ClassVar[int] = 3
    source: ClassVar[str] = "Xu et al. 2024 (Magpie), arXiv 2406.08464: 2 % held out; groups ours"

    def check(self) -> None:
        """Reject impossible amounts and thresholds."""
        from curate.kernels.sets.jaccard import threshold_of

        if self.similarity is not None:
            threshold_of(self.similarity)
        if self.shingle < 1:
            raise ValueError(f"shingle is a number of words, at least 1, not {self.shingle}")
        if self.share is not None and not 0 <= self.share <= 1:
            raise ValueError(f"share is a number from 0 to 1, not {self.share}")
        if self.count is not None and self.count < 0:
            raise ValueError(f"count must not be negative, and is {self.count}")

    def sketch_types(self) -> dict[str, str]:
        """Keep hashes of the instruction and of the text's shingles, and a draw."""
        return {"prompt": "uint64", "shingles": "list<uint64>", "draw": "float64"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Hash one row."""
        from curate.kernels.sets.shingles import shingle_set

        return {
            "prompt": _prompt_key(row.instruction),
            "shingles": shingle_set(row.text(self.on), self.shingle),
            "draw": draw_of(row.id, self.title, row.run_seed),
        }

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Hash the shingles of a large chunk in one compiled pass."""
        if not chunk.large:
            return None
        import pyarrow as pa

        from curate.kernels.sets.shingles_compiled import shingle_column

        prompts = [_prompt_key(text) for text in chunk.texts("instruction").to_pylist()]
        ids = chunk.column("id").to_pylist()
        draws = [draw_of(row_id.hex(), self.title, chunk.run_seed) for row_id in ids]
        return {
            "prompt": pa.array(prompts, pa.uint64()),
            "shingles": shingle_column(chunk.texts(self.on), self.shingle),
            "draw": pa.array(draws, pa.float64()),
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Link the rows, then fill the test side group by group."""
        import numpy as np

        from curate.kernels.sets.components import Links, link_equal, link_similar

        links = Links(len(positions))
        link_equal(links, np.asarray(sketches.column("prompt").to_numpy()))
        if self.similarity is not None:
            link_similar(links, sketches.column("shingles"), self.similarity)
        roots = np.array([links.root(place) for place in range(len(positions))], np.int64)
        draws = np.asarray(sketches.column("draw").to_numpy())
        count = self.count
        if count is None:
            count = allowed_of(len(positions), None, self.share or 0.0)
            # At least one, but of a single row nothing would be left to train on.
            count = count if self.share == 1 else min(count, len(positions) - 1)
        # Whole groups that fit in, in the order of their roots' draws.
        groups, sizes = np.unique(roots, return_counts=True)
        test = np.zeros(len(roots), np.bool_)
        order = np.lexsort((groups, draws[groups])) if len(groups) else groups
        for group, size in zip(groups[order].tolist(), sizes[order].tolist(), strict=True):
            if size <= count:
                test[group], count = True, count - size
            if not count:
                break
        test = test[roots]
        # The same two for all rows: a million of their own would take 200 MB.
        train, held_out = {"split": "train"}, {"split": "test"}
        notes = [held_out if one else train for one in test.tolist()]
        kept = np.full(len(positions), -1)
        return Verdicts(kept, score=test.astype(np.float64), notes=notes)


def _prompt_key(text: str) -> int:
    """Return a hash of the words of an instruction (else of its signs), or 0 where it is blank."""
    from curate.kernels.sets.benchmarks import normal_words
    from curate.kernels.text.words import composed

    tokens = normal_words(text) or tuple(composed(text).split())
    return seed_of(*tokens) if tokens else 0
