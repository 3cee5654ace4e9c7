"""Name the topics of a dataset, and tell how many rows each has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

_SHOWN = 25  # topics in the report


@dataclass(frozen=True, kw_only=True)
class Topics(Whole):
    """Assign a topic to every row: a cluster, named by its distinctive words.

    No row is dropped. The vectors that `encoder` makes of the texts form at most `clusters` groups
    (spherical k-means), numbered by their first rows. `seed` draws the start of k-means. `terms` is
    the number of words that name a topic, the heaviest by class TF-IDF. Number and name are stored
    in the notes, the number is the score (`per: topics` balances by it), and the report shows how
    many rows each topic has. All texts are held in memory. An empty text has no topic.
    """

    on: On = "whole"
    encoder: str | None = None
    clusters: int = 50
    seed: int = 0
    terms: int = rule(5)

    source: ClassVar[str] = "Grootendorst 2022 (BERTopic), arXiv 2203.05794, equation 2 (c-TF-IDF)"

    def check(self) -> None:
        """Refuse no clusters and no terms."""
        for name in ("clusters", "terms"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is at least 1, not {getattr(self, name)}")
        if self.seed < 0:
            raise ValueError(f"seed is a number of at least 0, not {self.seed}")

    def sketch_types(self) -> dict[str, str]:
        """Return the vector and the text."""
        return {"vector": "embedding", "text": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Name the text of one row."""
        text = row.text(self.on)
        return {"vector": text, "text": text}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Name the texts of a chunk."""
        texts = chunk.texts(self.on)
        return {"vector": texts, "text": texts}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Form the clusters, and name them."""
        import numpy as np

        from curate import select
        from curate.chunk import vectors
        from curate.kernels.text.topic_terms import topic_terms

        of, cosine = select.clusters(vectors(sketches, "vector"), self.clusters, seed=self.seed)
        texts = (text.as_py() or "" for text in sketches.column("text"))
        names = {t: ", ".join(w) for t, w in topic_terms(texts, of.tolist(), self.terms).items()}
        # A line for each of the largest topics: its rows, and how close they lie together.
        counts = {topic: int((of == topic).sum()) for topic in names}
        order = sorted(names, key=lambda topic: (-counts[topic], topic))
        lines = [
            f"topic {topic} ({names[topic]}): {counts[topic]:,} rows, "
            f"{counts[topic] / len(of):.1%}, "
            f"mean cosine with its centre {np.mean(cosine[of == topic]):.2f}"
            for topic in order[:_SHOWN]
        ]
        if rest := order[_SHOWN:]:
            rows = sum(counts[topic] for topic in rest)
            lines.append(f"{len(rest)} smaller topics: {rows:,} rows, {rows / len(of):.1%}")
        # One object for all rows of a topic.
        notes = {topic: {"topic": topic, "name": name} for topic, name in names.items()}
        return Verdicts(
            np.full(len(of), -1),
            score=np.where(of >= 0, of, np.nan),
            notes=[notes.get(topic) for topic in of.tolist()],
            remarks=tuple(lines),
        )
