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

    Rows are walked in source order. The score is the F of ROUGE-L (of the longest common
    subsequence of words, as the package `rouge_score` computes it) with the most similar row
    accepted before, or with a row of `against` (a dataset, such as the seeds, or a finished run:
    its kept rows; they are not compared with each other). A row is dropped if and only if that is
    above `max` (Self-Instruct's 0.7: a row at exactly 0.7 is kept); the verdict names the most
    similar one, the first on a tie. Words are those of `near`, so that Chinese or Thai texts are
    compared, too; `tokens: rouge_score` takes that package's, which reads a-z and 0-9 alone.
    `neighbours` lists the so many most similar in the detail, with the mean over all, for every
    row: it compares every pair (some 20 million short ones a second), which the decision alone does
    not. Cost otherwise: 16 bytes a word in memory while the step decides.
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
