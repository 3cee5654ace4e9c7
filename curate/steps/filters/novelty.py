"""Novelty: accept a row only if it is unlike everything accepted before it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.text.words import Tokens
from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Novelty(Whole):
    r"""Drop every row whose text is too similar, by ROUGE-L, to one accepted before it.

    Rows are visited in source order. The score is the ROUGE-L F-measure (from the longest common
    subsequence of words, as the package `rouge_score` computes it) with the most similar row
    accepted before. `against` is a dataset, such as the seeds, or a finished run (its kept rows),
    with which rows are compared as well; its rows are not compared with each other. A row is
    dropped if and only if its score is above `max` (Self-Instruct's 0.7: a row at exactly 0.7 is
    kept); the verdict names the most similar row, the first on a tie. `tokens` are the words of
    `near`, so that Chinese or Thai texts can be compared, or with `rouge_score` those of that
    package, which reads only a-z and 0-9. `neighbours` is the number of most similar rows to list
    in the detail, with the mean over all, for every row; this compares every pair (about 20 million
    short ones per second), which the decision alone does not. The step holds 16 bytes per word in
    memory while it decides.
    """

    on: On = "instruction"
    tokens: Tokens = "words"
    against: str | None = None
    neighbours: int = 0
    max: float | None = rule(0.7)

    source: ClassVar[str] = "Wang et al. 2022 (Self-Instruct), arXiv 2212.10560, section 2.2"

    def check(self) -> None:
        """Reject numbers out of range, and a step that would do nothing."""
        if self.neighbours < 0:
            raise ValueError(f"neighbours is {self.neighbours}; it must be 0 or more")
        if self.max is not None and not 0 <= self.max <= 1:
            raise ValueError(f"max is {self.max}; ROUGE-L lies between 0 and 1")
        if self.max is None and not self.neighbours:
            raise ValueError("max is null and neighbours is 0: there is nothing to do; set one")

    def sketch_types(self) -> dict[str, str]:
        """Return the hashes of the words, in order, and ids where rows are listed by name."""
        return {"words": "list<uint64>"} | ({"id": "binary16"} if self.neighbours else {})

    def sketch(self, row: Row) -> dict[str, Any]:
        """Hash the words of one row."""
        from curate.kernels.sets.rouge import token_hashes

        own = {"id": bytes.fromhex(row.id)} if self.neighbours else {}
        return {"words": token_hashes(row.text(self.on), self.tokens), **own}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Hash the words of a large chunk in one compiled pass."""
        if not chunk.large:
            return None
        from curate.kernels.sets.shingles_compiled import word_column

        own = {"id": chunk.column("id")} if self.neighbours else {}
        return {"words": word_column(chunk.texts(self.on), self.tokens), **own}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Walk the rows; accept what is novel."""
        import numpy as np

        from curate.chunk import ORIGIN
        from curate.kernels.sets.novelty import novel

        count = len(positions)
        found = novel(sketches.column("words"), count, self.max, self.neighbours)
        elsewhere = found.partner >= count
        # Which row of `against` a row is too similar to, and the most similar of all.
        details: list[dict[str, Any]] = [{} for _ in range(count)]
        origins = sketches.column(ORIGIN) if sketches.num_rows > count else None
        for place, other in enumerate(found.partner.tolist()):
            if origins is not None and found.rejected[place] and other >= count:
                details[place]["against"] = origins[other].as_py()
        if found.similar is not None:
            names = [value.hex() for value in sketches.column("id").to_pylist()]
            if origins is not None:
                names[count:] = origins.to_pylist()[count:]
            for place, one in enumerate(found.similar):
                listed = [[names[o], f] for o, f in zip(one.places, one.scores, strict=True)]
                details[place] |= {"most_similar": listed, "mean": one.mean}
        return Verdicts(
            code=np.where(found.rejected, elsewhere.astype(np.int64), -1),
            reasons=("similar to an accepted row", f"similar to a row of {self.against}"),
            score=found.score,
            partner=np.where(found.rejected & ~elsewhere, found.partner, -1),
            details=[detail or None for detail in details],
        )
