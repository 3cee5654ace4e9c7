"""Mix datasets: so many rows of each, in closed form."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.kernels.arrays.groups import check_groups, draw_of, group_of, groups_of, shown_group
from curate.recipe.catalog import closest
from curate.row import Row
from curate.step import Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.kernels.arrays.mixture import MixedTask


@dataclass(frozen=True, kw_only=True)
class Mix(Whole):
    """Build a mixture by taking a number of rows of each task, dropping and repeating rows.

    A task is a value of `per` (`source`, or a column, as in `balance`). Its rate is its number of
    rows, limited by a cap and raised to 1 / `temperature`. `cap` limits the rows of every task.
    `caps` sets limits by name. Tasks may form groups, the values of `within`; `caps` and `weights`
    then name groups, otherwise tasks. `weights` are the shares of the mixture by name. `count` is
    the number of rows of the mixture; without it, it is as large as caps and `repeat` allow.
    `repeat` is the average number of times that a row of a task may occur; copies are rows made
    from it. Which rows are kept, and which are repeated once more, is drawn from their own seeds.
    Without caps, weights and count, all rows pass: datasets are concatenated. `preset: flan2022`
    sets the caps and weights of FLAN 2022 for the groups flan2021, t0, niv2, cot and dialog, of
    which some may be absent.
    """

    per: str = "source"
    within: str | None = None
    preset: Literal["flan2022"] | None = rule(None)
    cap: int | None = rule(None)
    caps: Mapping[str, int] = field(default_factory=dict, metadata={"rule": True})
    weights: Mapping[str, float] = field(default_factory=dict, metadata={"rule": True})
    temperature: float = rule(1.0)
    count: int | None = rule(None)
    repeat: float = rule(1.0)

    source: ClassVar[str] = (
        "Raffel et al. 2020 (T5), arXiv 1910.10683, 3.5.2; Longpre et al. 2023 (FLAN), 2301.13688; "
        "Wang et al. 2023 (Tulu), 2306.04751"
    )

    def check(self) -> None:
        """Reject rates that are none."""
        for name, value in [("cap", self.cap), ("count", self.count), *self.caps.items()]:
            if value is not None and value < (0 if name == "count" else 1):
                raise ValueError(f"{name} is {value}; it must be a number of rows")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError("a weight must not be negative")
        if self.weights and not any(self.weights.values()):
            raise ValueError("all weights are 0, which leaves no row")
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature:g}; it must be above 0")
        if self.repeat < 1:
            raise ValueError(f"repeat is {self.repeat:g}; 1 takes each row once at most")

    def sampled(self, part: float) -> Whole | None:
        """Take a part of every amount; shares stay what they are, and so do a preset's caps."""
        if self.preset:
            return None
        return replace(
            self,
            cap=None if self.cap is None else math.ceil(self.cap * part),
            caps={name: math.ceil(cap * part) for name, cap in self.caps.items()},
            count=None if self.count is None else math.ceil(self.count * part),
        )

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's task, its group and its draw."""
        groups = {"group": "string"} if self.within else {}
        return {"task": "string", "draw": "float64", **groups}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Read the task, and draw a number from 0 to 1."""
        groups = {"group": group_of(row, self.within)} if self.within else {}
        draw = draw_of(row.id, self.title, row.run_seed)
        return {"task": group_of(row, self.per), "draw": draw, **groups}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array]:
        """Read whole columns."""
        import pyarrow as pa

        ids = chunk.column("id").to_pylist()
        draws = [draw_of(row_id.hex(), self.title, chunk.run_seed) for row_id in ids]
        groups = {"group": groups_of(chunk, self.within)} if self.within else {}
        return {
            "task": groups_of(chunk, self.per),
            "draw": pa.array(draws, pa.float64()),
            **groups,
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Take the lowest draws of each task, or take all and repeat the lowest draws."""
        import numpy as np

        from curate.kernels.arrays.mixture import mixture_counts, mixture_figures

        if not len(positions):
            return Verdicts(np.full(0, -1))
        codes, tasks = self._tasks(sketches)
        weights = {**(_preset()["weights"] if self.preset else {}), **self.weights}
        counts = mixture_counts(
            tasks,
            weights=weights or None,
            temperature=self.temperature,
            count=self.count,
            repeat=self.repeat,
        )
        draw = np.asarray(sketches.column("draw").to_numpy())
        order = np.lexsort((draw, codes))
        sizes, targets = np.array([task.size for task in tasks]), np.array(counts)
        rank = np.empty(len(codes), np.int64)
        rank[order] = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        times = (targets // sizes)[codes] + (rank < (targets % sizes)[codes])
        return Verdicts(
            np.where(times > 0, -1, 0),
            ("beyond its task's share",),
            score=draw,
            repeats=np.maximum(times, 1) if times.max(initial=0) > 1 else None,
            figures=mixture_figures(tasks, counts, grouped=self.within is not None),
        )

    def _tasks(self, sketches: pa.Table) -> tuple[np.ndarray, list[MixedTask]]:
        """Return the task of every row as a number, and the tasks in order of their first rows."""
        import numpy as np
        import pyarrow.compute as pc

        from curate.chunk import one_array
        from curate.kernels.arrays.mixture import MixedTask

        check_groups(sketches.column("task"), self.per)
        column = one_array(sketches.column("task"))
        if self.within:
            check_groups(sketches.column("group"), self.within)
            groups = one_array(sketches.column("group"))
            column = pc.binary_join_element_wise(groups, column, "\x1f")
        encoded = column.dictionary_encode()
        codes = np.asarray(encoded.indices).astype(np.int64)
        sizes = np.bincount(codes).tolist()
        caps = {**(_preset()["caps"] if self.preset else {}), **self.caps}
        tasks = []
        for name, size in zip(encoded.dictionary.to_pylist(), sizes, strict=True):
            group, _, task = name.rpartition("\x1f")
            task, group = shown_group(task), shown_group(group if self.within else task)
            tasks.append(MixedTask(task, group, size, caps.get(group, self.cap)))
        there = dict.fromkeys(task.group for task in tasks)
        for name in (*self.caps, *self.weights):
            if name not in there:
                raise ValueError(
                    f"caps or weights name '{name}', but no row is of it{closest(name, there)} "
                    f"(known: {', '.join(there)}; a run with --limit reads the first inputs first, "
                    "and may read none of the others)"
                )
        return codes, tasks


@functools.cache
def _preset() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(files(__package__).joinpath("flan2022.json").read_text())
    return found
