"""Plan for which values rows are to be made: a topic, a level, a length, a reader."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from curate.row import Row, seed_of
from curate.step import Verdicts, Whole
from curate.steps.generate._samplers import (
    MOST_CELLS,
    files_of,
    path_name,
    samplers_at_hand,
    samplers_of,
)

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True)
class Attributes(Whole):
    """Plan attribute values for rows that a later step makes, with exact counts per value.

    `cells` maps each attribute to a sampler. `{categories: [a, b]}` has equal values, `{categories:
    {a: 3, b: 1}}` weighted ones. `{given: topic, categories: {law: [rent, wills], art: [oil]}}`
    depends on an earlier attribute. `{range: [1, 10]}` is a number, `{column: level}` the row's own
    column, `{file: cities.csv, column: city, weight: people, given: country}` a value from a file.
    `{texts: {terse: Be terse}}` (or a prompt file with items) gives long texts under short names.
    Counts are not drawn: every value gets its share of all rows, rounded up or down, and a range is
    filled evenly; only which row gets which value is random. `rows` is the number of rows planned
    per seed. With `distinct: true`, these have different values. `seeds` is the number of
    consecutive input rows that form one seed. The plan is stored as a note of each row, which
    `compose` and `vary` use; no row is dropped. The figures are the planned counts by value, for a
    dependent attribute as `topic/subtopic=law/rent`; `cell_coverage` counts what was made. A note
    takes about 100 bytes of memory per attribute and row.
    """

    cells: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 1
    seeds: int = 1

    source: ClassVar[str] = (
        "attributed prompts: Yu et al. 2023, arXiv 2306.15895; systematic sampling: Madow 1949"
    )

    def check(self) -> None:
        """Reject samplers that are not written as such."""
        if not self.cells:
            raise ValueError("cells must name an attribute or more, as in topic: {categories: [a]}")
        for name in ("rows", "seeds"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be 1 or more")
        samplers_of(self.cells, read=False)

    def prepare(self) -> None:
        """Read the files that samplers name, and see that there is enough to choose from."""
        for one in samplers_of(self.cells).values():
            if one.distinct and len(one.options or ()) < self.rows:
                raise ValueError(
                    f"cells.{one.name} is distinct and has {len(one.options or ())} values for "
                    f"{self.rows} rows of each seed"
                )

    def data_digest(self) -> str | None:
        """Return a digest of the files that samplers read."""
        texts = [path.read_bytes() for path in files_of(self.cells)]
        if not texts:
            return None
        return "-".join(hashlib.blake2b(text, digest_size=16).hexdigest() for text in texts)

    def sampled(self, part: float) -> Whole:
        """Plan for a part as for all: what is planned are shares."""
        return self

    def sketch_types(self) -> dict[str, str]:
        """Keep a seed, and the row's own columns that samplers take."""
        return {"seed": "uint64", "columns": "string"}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the columns that samplers take from the row."""
        samplers = samplers_at_hand(self.cells)
        wanted = {s.name: s.column for s in samplers.values() if s.column}
        columns = json.loads(row.extra) if row.extra and wanted else {}
        missing = [column for column in wanted.values() if columns.get(column) is None]
        if missing:
            raise ValueError(f"the row has no column '{missing[0]}'")
        own = {name: columns[column] for name, column in wanted.items()}
        for sampler in samplers.values():
            if sampler.given in own and own[sampler.given] not in (sampler.tables or {}):
                raise ValueError(
                    f"cells.{sampler.name} has nothing for {sampler.given} = {own[sampler.given]!r}"
                )
        seed = seed_of(row.id, self.title, row.run_seed)
        return {"seed": seed, "columns": json.dumps(own, ensure_ascii=False) if own else ""}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Give every attribute its values, one attribute after the other."""
        import numpy as np

        count, samplers = len(positions), samplers_of(self.cells)
        groups = math.ceil(count / self.seeds)
        own = [json.loads(t) if t else {} for t in sketches.column("columns").to_pylist()]
        slots: list[dict[str, Any]] = [
            dict(own[group * self.seeds]) for group in range(groups) for _ in range(self.rows)
        ]
        seed = sketches.column("seed")[0].as_py() if count else 0
        dice = random.Random(seed_of(seed, count))
        for sampler in samplers.values():
            if sampler.column is None:
                values = sampler.draw(slots, self.rows, dice)
                for slot, value in zip(slots, values, strict=True):
                    slot[sampler.name] = value
        planned = [{name: slot[name] for name in samplers} for slot in slots]
        figures = {"rows": float(len(slots))}
        for name, sampler in samplers.items():
            if sampler.range is not None:
                total = math.fsum(float(cell[name]) for cell in planned)
                figures[f"{name} mean"] = total / max(1, len(planned))
                continue
            path = [name]
            while (parent := samplers[path[0]].given) is not None:
                path.insert(0, parent)
            counts = Counter(path_name(path, cell) for cell in planned)
            if sampler.options is not None:
                counts.update({path_name([name], {name: value}): 0 for value in sampler.options})
            if len(counts) <= MOST_CELLS:
                figures |= {cell: float(counts[cell]) for cell in sorted(counts)}
        texts = {name: one.texts for name, one in samplers.items() if one.texts}
        notes = []
        for group in range(groups):
            cells = planned[group * self.rows : (group + 1) * self.rows]
            note: dict[str, Any] = {"group": group, "cells": cells}
            if texts:
                note["texts"] = [
                    {name: known[cell[name]] for name, known in texts.items()} for cell in cells
                ]
            notes += [note] * min(self.seeds, count - group * self.seeds)
        return Verdicts(code=np.full(count, -1), notes=notes, figures=figures)
