"""Two datasets side by side: cost, quality, style, preference, scale, creativity, diversity.

It is the table that tells written data from generated ones. A cell without data is `None`: no cost
where nothing was asked, no quality where nothing was judged. What depends on how many rows there
are is measured on equally much of both.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

from curate.errors import CurateError

if TYPE_CHECKING:
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.row import On
    from curate.runs.rows import Rows

Cells = dict[str, float]
# Of each dataset, so many runs of two words are compared at most, drawn by the rows' own seeds.
PAIRS, WIDTH = 100_000, 2
# Self-Instruct's rule: a text is novel if ROUGE-L with all others is at most that.
NOVEL = 0.7
GROUPS = (
    "cost",
    "quality",
    "writing style",
    "preference",
    "scale",
    "creativity",
    "diversity",
)
_AGREEMENT = re.compile(r"agree|kappa|both orders", re.IGNORECASE)
_ANNOTATOR = re.compile(r"annotator_?\d+")


class Dataset:
    """The rows that are compared, and the `report.json` of the run that read or made them."""

    def __init__(self, rows: Rows, summary: Mapping[str, Any]) -> None:
        self.rows, self.summary = rows, summary

    @cached_property
    def chunks(self) -> list[Chunk]:
        """The rows as columns."""
        from curate.chunk import Chunk

        return [Chunk(table, large=True) for table in self.rows.tables()]

    def column(self, on: On) -> pa.StringArray:
        """Return one text of all rows."""
        import pyarrow as pa

        return pa.concat_arrays(
            [pa.array([], pa.string()), *(chunk.texts(on) for chunk in self.chunks)]
        )

    @cached_property
    def instructions(self) -> pa.ListArray:
        """The words of the instructions that have any, as hashes."""
        import pyarrow.compute as pc

        from curate.kernels.sets.shingles_compiled import word_column

        words = word_column(self.column("instruction"), "words")
        return words.filter(pc.greater(pc.list_value_length(words), 0))

    @cached_property
    def pairs(self) -> dict[On, pa.ListArray]:
        """The different pairs of words of each row's two texts, as hashes."""
        from curate.kernels.sets.shingles_compiled import shingle_column

        texts: tuple[On, ...] = ("instruction", "response")
        return {on: shingle_column(self.column(on), WIDTH) for on in texts}

    def cost(self) -> Cells:
        """Return what a run asked and paid; nothing of one that asked nobody, or of a file."""
        if not any(self.summary["requests"].values()):
            return {}
        cells = {
            "requests": float(self.summary["requests"]["sent"]),
            "input tokens": float(self.summary["tokens"]["input"]),
            "output tokens": float(self.summary["tokens"]["output"]),
            "USD": float(self.summary["cost_usd"]),
        }
        return cells | (
            {"USD per 1,000 rows": cells["USD"] / len(self.rows) * 1000} if len(self.rows) else {}
        )

    def quality(self) -> Cells:
        """Return the mean of each judge's scores, and of those that candidates came with."""
        import numpy as np

        from curate.recipe import catalog

        cells: Cells = {}
        for step in self.summary["steps"]:
            judges = False
            # A step of a file or of an absent package is not a judge that we know.
            with contextlib.suppress(CurateError):
                judges = catalog.is_judge(catalog.find(step["name"]))
            if not judges:
                continue
            scores = np.concatenate(
                [chunk.scores(step["label"]) for chunk in self.chunks] or [np.zeros(0)]
            )
            scores = scores[~np.isnan(scores)]
            if len(scores):
                cells[f"{step['label']}, mean"] = float(scores.mean())
                cells[f"{step['label']}, spread"] = float(scores.std())
        best = [
            max(known)
            for chunk in self.chunks
            if "ranked" in chunk.kinds
            for row in chunk.rows()
            if (known := [one.score for one in row.candidates if one.score is not None])
        ]
        return cells | ({"best candidate's score, mean": float(np.mean(best))} if best else {})

    def writing_style(self) -> Cells:
        """Return mean and spread of the features of the answers, over those that have them."""
        import pyarrow.compute as pc

        from curate.kernels.arrays.form_space import same_pairs
        from curate.kernels.text.style_compiled import count_style, openings
        from curate.kernels.text.style_features import FEATURES, style_features

        answers = self.column("response")
        counted = count_style(answers.filter(pc.not_equal(answers, "")))
        cells: Cells = {}
        for name, values in zip(FEATURES, style_features(counted.counts, 50).T, strict=True):
            own = values[values == values]
            if len(own) and name != "words":
                cells |= {f"{name}, mean": float(own.mean()), f"{name}, spread": float(own.std())}
        alike = same_pairs([*Counter(filter(None, openings(counted))).values()])
        return cells | ({"alike openings": alike} if alike == alike else {})

    def preference(self) -> Cells:
        """Return how far annotators and judges agree, and how often the longer one was chosen."""
        cells: Cells = {}
        for label, figures in self.summary.get("figures", {}).items():
            cells |= {f"{label}: {k}": v for k, v in figures.items() if _AGREEMENT.search(k)}
        longer, agree, sure = list[float](), list[float](), list[float]()
        for chunk in self.chunks:
            extras = chunk.column("extra")
            for extra in extras.to_pylist() if extras.null_count < len(extras) else ():
                votes = [
                    vote
                    for name, vote in (json.loads(extra) if extra else {}).items()
                    if _ANNOTATOR.fullmatch(name) and vote is not None
                ]
                agree += [float(one == two) for one, two in combinations(votes, 2)]
            for row in chunk.rows() if "preference" in chunk.kinds else ():
                sizes = [
                    len("\n".join(turn.content for turn in row.fields[side]).split())
                    for side in ("chosen", "rejected")
                ]
                longer.append(0.5 if sizes[0] == sizes[1] else float(sizes[0] > sizes[1]))
                p_chosen = row.fields.get("p_chosen")
                sure += [] if p_chosen is None else [abs(p_chosen - 0.5) + 0.5]
        named = {
            "annotators agree, share of pairs of votes": agree,
            "longer answer chosen, share of pairs": longer,
            "certainty of the choice, mean": sure,
        }
        return cells | {name: sum(own) / len(own) for name, own in named.items() if own}

    def scale(self) -> Cells:
        """Return the rows, by kind, those that failed, and the lengths of their texts in words."""
        import numpy as np

        from curate.kernels.text.counts_compiled import count_texts

        cells = {"rows": float(sum(map(len, self.chunks)))}
        kinds = Counter[str]()
        for chunk in self.chunks:
            kinds.update(chunk.column("kind").to_pylist())
        cells |= {f"{kind} rows": float(count) for kind, count in sorted(kinds.items())}
        cells["failed rows"] = float(self.summary["failed"])
        texts: tuple[On, ...] = ("instruction", "response")
        for on in texts:
            words = np.concatenate(
                [np.zeros(0), *(count_texts(chunk, on).words for chunk in self.chunks)]
            )
            if words.any():
                cells[f"words of the {on}, mean"] = float(words.mean())
                cells[f"words of the {on}, median"] = float(np.median(words))
        return cells

    def creativity(self, other: Dataset) -> Cells:
        """Return the shares of instructions that are novel, alone and beside the other's."""
        import pyarrow as pa

        from curate.kernels.sets.novelty import novel

        count = len(self.instructions)
        if not count:
            return {}
        alone = novel(pa.chunked_array([self.instructions]), count, NOVEL)
        cells = {f"novel instructions (ROUGE-L <= {NOVEL})": 1 - float(alone.rejected.mean())}
        if len(other.instructions):
            both = pa.chunked_array([self.instructions, other.instructions])
            rejected = novel(both, count, NOVEL).rejected
            cells["novel beside the other dataset, too"] = 1 - float(rejected.mean())
        return cells

    def diversity(self, other: Dataset) -> Cells:
        """Return the shares of different ones among as many pairs of words as the other has, too.

        The pairs are those of rows in a random order that their ids decide.
        """
        import numpy as np

        from curate.kernels.arrays.groups import draw_of
        from curate.kernels.sets.shingles import different_share

        ids = [one.hex() for chunk in self.chunks for one in chunk.column("id").to_pylist()]
        order = np.argsort([draw_of(one, "compare", 0) for one in ids], kind="stable")
        cells: Cells = {}
        for on, sets in self.pairs.items():
            compared = min(PAIRS, len(sets.flatten()), len(other.pairs[on].flatten()))
            if compared:
                share = different_share(sets, order, compared)
                cells[f"{on}: different pairs among {compared:,}"] = share
        return cells


def dataset_table(one: Dataset, other: Dataset) -> dict[str, dict[str, list[float | None]]]:
    """Return the measures of two datasets by group and name, `None` where one has no data."""
    table: dict[str, dict[str, list[float | None]]] = {}
    pair = (one, other)
    for group in GROUPS:
        measure = group.replace(" ", "_")
        # The last two compare with the other dataset.
        by_pair = group in ("creativity", "diversity")
        cells = [
            getattr(own, measure)(*([theirs] if by_pair else []))
            for own, theirs in zip(pair, reversed(pair), strict=True)
        ]
        names = dict.fromkeys(name for own in cells for name in own)
        table[group] = {name: [own.get(name) for own in cells] for name in names}
    return table
