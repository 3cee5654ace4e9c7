"""Make a choice, and measure it beside as many random and as many of the longest rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from curate.errors import CurateError
from curate.kernels.text.words import words
from curate.row import RESPONSE_FIELD, On, Row
from curate.step import EMBEDDING, Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

_OWN = {"beside words": "int64", "beside vector": EMBEDDING}


@dataclass(frozen=True, kw_only=True)
class Beside(Whole):
    """Make a selection by another step, and compare it with random rows and the longest rows.

    `choice` is a selecting step as a recipe writes it, `{top: {by: alpagasus, at_least: 4.5}}`:
    this step keeps and drops what that one would, with its reasons and scores. Without it, nothing
    is dropped. The report then has the same figures for the selection, for random selections of its
    size from the same rows (mean and standard deviation), and for equally many of the longest
    answers: the mean number of words, the mean score if the selection uses one, the mean distance
    to the nearest other row, the Vendi score, and the share of the selection in each. `draws` is
    the number of random selections. `seed` draws them. `encoder` makes the vectors for distances
    and Vendi scores. The ledger records which rows are in the first random selection and among the
    longest (`in`), so that each can be trained on.
    """

    choice: Mapping[str, Any] = field(default_factory=dict)
    on: On = "instruction"
    encoder: str | None = None
    draws: int = 5
    seed: int = 0

    source: ClassVar[str] = (
        "our own, after Xia et al. 2024, arXiv 2410.09335 (random at scale), and Zhao et al. 2024, "
        "2402.04833 (longest)"
    )

    def check(self) -> None:
        """Reject a choice that is not a selecting step, or needs what this one cannot give it."""
        if self.draws < 1 or self.seed < 0:
            raise ValueError(f"draws is {self.draws}, seed {self.seed}; at least 1, and at least 0")
        self.chooser()

    def chooser(self) -> Whole | None:
        """Return the selecting step, with this one's encoder.

        Raises:
            ValueError: `choice` does not write one.
        """
        from curate.recipe.fields import freeze

        return _chooser(freeze(self.choice), self.encoder) if self.choice else None

    def prepare(self) -> None:
        """Prepare the selecting step."""
        step = self.chooser()
        if step is not None:
            step.prepare()

    def reads_scores(self) -> tuple[str, ...]:
        """Return the labels whose scores the selecting step reads."""
        step = self.chooser()
        return () if step is None else step.reads_scores()

    def sketch_types(self) -> dict[str, str]:
        """Keep what the selecting step keeps, the length of the answer, and a vector."""
        step = self.chooser()
        scores = {f"beside score {n}": "float64" for n in range(len(self.reads_scores()))}
        return {**({} if step is None else step.sketch_types()), **scores, **_OWN}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Sketch the row for the selecting step, and measure it."""
        step = self.chooser()
        found: Any = {} if step is None else step.sketch(row)
        if not isinstance(found, dict):
            raise ValueError(f"{self.choice} asks a model for each row: let it stand before this")
        answer = row.response if row.kind in RESPONSE_FIELD else row.whole
        scores = {f"beside score {n}": row.scores.get(s) for n, s in enumerate(self.reads_scores())}
        own = {"beside words": len(words(answer)), "beside vector": row.text(self.on)}
        return {**found, **scores, **own}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Let the selecting step decide, and measure its choice beside the others."""
        import numpy as np

        from curate.chunk import vectors
        from curate.select.baselines import arms_of, by_arm, figures_of, table_of

        step = self.chooser()
        verdicts = Verdicts(np.full(len(positions), -1))
        if step is not None:
            verdicts = step.decide(positions, sketches.select([*step.sketch_types()]))
        size = len(positions)
        score = np.full(size, np.nan)
        if self.reads_scores():
            score = np.array(sketches.column("beside score 0").to_pylist(), np.float64)
        length = np.array(sketches.column("beside words").to_pylist(), np.int64)
        choice = np.asarray(verdicts.code) < 0
        arms = arms_of(choice, length, self.draws, self.seed)
        if size:
            every = vectors(sketches, "beside vector")
            measure = [
                figures_of(arm, choice, length, score, every)
                for arm in (choice, arms.longest, *arms.random)
            ]
            own = {"rows": float(choice.sum()), **by_arm(measure)}
            verdicts.figures = {**verdicts.figures, **own}
            verdicts.remarks = (*verdicts.remarks, *table_of(own))
        details: list[Any] = list(verdicts.details or [None] * size)
        for row in np.flatnonzero(arms.random[0] | arms.longest).tolist():
            names = [("random", arms.random[0]), ("longest", arms.longest)]
            inside = [name for name, arm in names if arm[row]]
            details[row] = {**(details[row] or {}), "in": inside}
        verdicts.details = details
        return verdicts


# It is asked for with every row.
@functools.lru_cache(maxsize=64)
def _chooser(choice: Mapping[str, Any], encoder: str | None) -> Whole:
    """Return the step that `choice` writes, which reads vectors by `encoder`."""
    from curate.recipe import catalog
    from curate.recipe.fields import checked

    if len(choice) != 1:
        raise ValueError(f"choice is one step, and names {list(choice)}")
    ((name, given),) = choice.items()
    if given is not None and not isinstance(given, Mapping):
        raise ValueError(f"choice is {name} with {given!r:.60}; its fields are a mapping")
    try:
        cls = catalog.find(name)
        step = checked(cls(**(given or {})))
    except (CurateError, TypeError) as error:
        raise ValueError(f"choice: {error}") from None
    if not isinstance(step, Whole) or step.compares_with() or isinstance(step, Beside):
        raise ValueError(f"choice is {name}, which does not choose among all rows, as top does")
    own = getattr(step, "encoder", None)
    if own is not None and own != encoder:
        raise ValueError(f"the encoder of {name} is this step's: give it here, not there")
    if set(step.reads_models()) - {own}:
        raise ValueError(f"choice is {name}, which asks a model: let it stand before this step")
    return step
