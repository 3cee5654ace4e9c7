"""Guard generated data against collapse: share, diversity and length beside human rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from curate.kernels.arrays.groups import check_groups, draw_of, group_of, groups_of, shown_group
from curate.row import On, Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

# Runs of words that are compared: pairs, as in distinct-2 (Li et al. 2016, arXiv 1510.03055).
PAIR = 2


class _Measured(NamedTuple):
    """A generation: rows, mean characters, their spread, and different among so many word pairs."""

    rows: int
    length: float
    spread: float
    diversity: float


@dataclass(frozen=True, kw_only=True)
class Collapse(Whole):
    """Compare generations of rows with a human reference, and stop a run that has collapsed.

    `per` defines the generations: a value of `source` or of a column, as in `balance`, in the order
    of their first rows. No row is dropped. `against` is the human reference, a dataset (any path
    that an input may be). The figures of each are rows, mean length in characters and its standard
    deviation, diversity, and the ratios of length and diversity to the reference. Diversity is the
    share of distinct word bigrams among an equal number, from rows drawn by their own seeds.
    `pairs` is the maximum number of bigrams. `human` lists the values of `per` that people wrote,
    and the share of synthetic rows is then reported, too. The run stops, and nothing is published,
    if a limit is exceeded. `most_synthetic` is the maximum share of synthetic rows.
    `least_diversity` is the minimum diversity of a generation, relative to the reference.
    `most_length_change` is the maximum relative difference of its mean length.
    """

    on: On = "response"
    per: str = "source"
    against: str | None = None
    human: tuple[str, ...] = rule(())
    pairs: int = rule(20_000)
    most_synthetic: float | None = rule(None)
    least_diversity: float | None = rule(None)
    most_length_change: float | None = rule(None)

    source: ClassVar[str] = (
        "Shumailov et al. 2024 (model collapse), arXiv 2305.17493; Li et al. 2016 (distinct-n), "
        "arXiv 1510.03055"
    )

    def check(self) -> None:
        """Reject limits that have nothing to be compared with."""
        if self.pairs < 1:
            raise ValueError(f"pairs is {self.pairs}; it must be 1 or more")
        if self.most_synthetic is not None and not self.human:
            raise ValueError("most_synthetic needs human: which values of per people wrote")
        limits = (self.least_diversity, self.most_length_change)
        if self.against is None and any(limit is not None for limit in limits):
            raise ValueError("least_diversity and most_length_change need against: human rows")
        if any(limit is not None and limit < 0 for limit in (self.most_synthetic, *limits)):
            raise ValueError("a limit must not be negative")

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's generation, length, draw, and the hashes of its pairs of words."""
        return {
            "group": "string",
            "length": "int64",
            "draw": "float64",
            "pairs": "list<uint64>",
        }

    def sketch(self, row: Row) -> dict[str, Any]:
        """Measure one row."""
        from curate.kernels.sets.shingles import shingle_set

        text = row.text(self.on)
        return {
            "group": group_of(row, self.per),
            "length": len(text),
            "draw": draw_of(row.id, self.title, row.run_seed),
            "pairs": shingle_set(text, PAIR),
        }

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Measure a large chunk, its pairs in one compiled pass."""
        if not chunk.large:
            return None
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.kernels.sets.shingles_compiled import shingle_column

        texts = chunk.texts(self.on)
        ids = chunk.column("id").to_pylist()
        draws = [draw_of(row_id.hex(), self.title, chunk.run_seed) for row_id in ids]
        return {
            "group": groups_of(chunk, self.per),
            "length": pc.utf8_length(texts).cast(pa.int64()),
            "draw": pa.array(draws, pa.float64()),
            "pairs": shingle_column(texts, PAIR),
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Measure every generation, and stop where one is beyond a limit."""
        import numpy as np
        import pyarrow.compute as pc

        from curate.chunk import one_array
        from curate.kernels.sets.shingles import different_share

        count, kept = len(positions), Verdicts(np.full(len(positions), -1))
        if not count:
            return kept
        own = sketches.slice(0, count).column("group")
        check_groups(own, self.per)
        encoded = one_array(own).dictionary_encode()
        codes = np.asarray(encoded.indices)
        members = {
            shown_group(name) or "none": np.flatnonzero(codes == code)
            for code, name in enumerate(encoded.dictionary.to_pylist())
        }
        if sketches.num_rows > count:
            members["reference"] = np.arange(count, sketches.num_rows)
        if unknown := [name for name in self.human if name not in members]:
            raise ValueError(f"human names '{unknown[0]}', of which there is no row: {[*members]}")
        pairs = one_array(sketches.column("pairs"))
        sizes = np.asarray(pc.list_value_length(pairs))
        compared = min(self.pairs, *(int(sizes[rows].sum()) for rows in members.values()))
        lengths = np.asarray(sketches.column("length").to_numpy())
        draws = np.asarray(sketches.column("draw").to_numpy())
        found = {
            name: _Measured(
                len(rows),
                float(lengths[rows].mean()),
                float(lengths[rows].std()),
                different_share(pairs, rows[np.argsort(draws[rows], kind="stable")], compared),
            )
            for name, rows in members.items()
        }
        kept.figures = {"pairs compared": float(compared)}
        if self.human:
            human = sum(found[name].rows for name in self.human)
            kept.figures["synthetic share"] = 1 - human / count
        reference = found.get("reference")
        for name, one in found.items():
            values = one._asdict()
            if reference is not None and one is not reference:
                values["length ratio"] = _ratio(one.length, reference.length)
                values["diversity ratio"] = _ratio(one.diversity, reference.diversity)
            kept.figures |= {f"{name}: {what}": float(value) for what, value in values.items()}
        if broken := self._broken(list(found), kept.figures):
            raise ValueError("; ".join(broken))
        return kept

    def _broken(self, generations: list[str], figures: Mapping[str, float]) -> list[str]:
        """Return which limits are broken; people's own rows are compared with none."""
        broken: list[str] = []
        share = figures.get("synthetic share", 0.0)
        if self.most_synthetic is not None and share > self.most_synthetic:
            broken.append(f"{share:.3f} of the rows are synthetic, above {self.most_synthetic:g}")
        for name in generations:
            length = figures.get(f"{name}: length ratio")
            if length is None or name in self.human:
                continue
            diversity, least = figures[f"{name}: diversity ratio"], self.least_diversity
            if least is not None and diversity < least:
                broken.append(
                    f"the diversity of '{name}' is {diversity:.3f} of the reference's, below "
                    f"{least:g}"
                )
            change = self.most_length_change
            if change is not None and abs(length - 1) > change:
                broken.append(
                    f"the mean length of '{name}' is {length:.3f} of the reference's, which "
                    f"differs by more than {change:g}"
                )
        return broken


def _ratio(value: float, reference: float) -> float:
    return value / reference if reference else 0.0
