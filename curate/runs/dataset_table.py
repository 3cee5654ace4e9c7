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
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import CurateError

if TYPE_CHECKING:
    import numpy as np
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
_JUDGES = ("score", "pairs")
_AGREEMENT = re.compile(r"agree|kappa|both orders", re.IGNORECASE)
_ANNOTATOR = re.compile(r"annotator_?\d+")


class Dataset(NamedTuple):
    """The rows that are compared, and the `report.json` of the run that read or made them."""

    rows: Rows
    summary: Mapping[str, Any]


class _Texts(NamedTuple):
    """The texts of a dataset as they are measured; `draws` puts the rows into a random order."""

    draws: np.ndarray
    instructions: pa.ListArray
    pairs: dict[str, pa.ListArray]


def dataset_table(one: Dataset, other: Dataset) -> dict[str, dict[str, list[float | None]]]:
    """Return the measures of two datasets by group and name, `None` where one has no data."""
    both = (one, other)
    found: list[dict[str, Cells]] = []
    texts = []
    for dataset in both:
        chunks = list(_chunks(dataset.rows))
        found.append(
            {
                "scale": _scale(chunks, dataset.summary),
                "cost": _cost(dataset.summary, len(dataset.rows)),
                "quality": _quality(chunks, dataset.summary),
                "preference": _preference(chunks, dataset.summary),
                "writing style": _style(chunks),
            }
        )
        texts.append(_texts_of(chunks))
    for cells, own, theirs in zip(found, texts, reversed(texts), strict=True):
        cells["creativity"] = _creativity(own, theirs)
        cells["diversity"] = {}
        for on in own.pairs:
            compared = min(PAIRS, *(len(side.pairs[on].flatten()) for side in texts))
            if compared:
                share = _different(own.pairs[on], own.draws, compared)
                cells["diversity"][f"{on}: different pairs among {compared:,}"] = share
    return {
        group: {
            name: [cells[group].get(name) for cells in found]
            for name in dict.fromkeys(name for cells in found for name in cells[group])
        }
        for group in GROUPS
    }


def _chunks(rows: Rows) -> Iterator[Chunk]:
    from curate.chunk import Chunk

    for table in rows.tables():
        yield Chunk(table, large=True)


def _column(chunks: Sequence[Chunk], on: On) -> pa.StringArray:
    """Return one text of all rows."""
    import pyarrow as pa

    return pa.concat_arrays([pa.array([], pa.string()), *(chunk.texts(on) for chunk in chunks)])


def _scale(chunks: Sequence[Chunk], summary: Mapping[str, Any]) -> Cells:
    """Return the rows, by kind, those that failed, and the lengths of their texts in words."""
    import numpy as np

    from curate.kernels.text.counts_compiled import count_texts

    cells = {"rows": float(sum(map(len, chunks)))}
    kinds = Counter[str]()
    for chunk in chunks:
        kinds.update(chunk.column("kind").to_pylist())
    cells |= {f"{kind} rows": float(count) for kind, count in sorted(kinds.items())}
    cells["failed rows"] = float(summary["failed"])
    texts: tuple[On, ...] = ("instruction", "response")
    for on in texts:
        words = np.concatenate([np.zeros(0), *(count_texts(chunk, on).words for chunk in chunks)])
        if words.any():
            cells[f"words of the {on}, mean"] = float(words.mean())
            cells[f"words of the {on}, median"] = float(np.median(words))
    return cells


def _cost(summary: Mapping[str, Any], rows: int) -> Cells:
    """Return what a run asked and paid; nothing of one that asked nobody, or of a file."""
    if not any(summary["requests"].values()):
        return {}
    cells = {
        "requests": float(summary["requests"]["sent"]),
        "input tokens": float(summary["tokens"]["input"]),
        "output tokens": float(summary["tokens"]["output"]),
        "USD": float(summary["cost_usd"]),
    }
    return cells | ({"USD per 1,000 rows": cells["USD"] / rows * 1000} if rows else {})


def _quality(chunks: Sequence[Chunk], summary: Mapping[str, Any]) -> Cells:
    """Return the mean of each judge's scores, and of those that candidates came with."""
    import numpy as np

    from curate.recipe import catalog

    cells: Cells = {}
    for step in summary["steps"]:
        family = ""
        # A step of a file or of an absent package is no judge that we know.
        with contextlib.suppress(CurateError):
            family = catalog.find(step["name"]).__module__.split(".")[-2]
        if family not in _JUDGES or step["name"].startswith("style"):
            continue
        scores = np.concatenate([chunk.scores(step["label"]) for chunk in chunks] or [np.zeros(0)])
        scores = scores[~np.isnan(scores)]
        if len(scores):
            cells[f"{step['label']}, mean"] = float(scores.mean())
            cells[f"{step['label']}, spread"] = float(scores.std())
    best = [
        max(scores)
        for chunk in chunks
        if "ranked" in chunk.kinds
        for row in chunk.rows()
        if (scores := [one.score for one in row.candidates if one.score is not None])
    ]
    return cells | ({"best candidate's score, mean": float(np.mean(best))} if best else {})


def _preference(chunks: Sequence[Chunk], summary: Mapping[str, Any]) -> Cells:
    """Return how far annotators and judges agree, and how often the longer answer was chosen."""
    cells: Cells = {}
    for label, figures in summary.get("figures", {}).items():
        cells |= {f"{label}: {k}": v for k, v in figures.items() if _AGREEMENT.search(k)}
    longer, agree, sure = list[float](), list[float](), list[float]()
    for chunk in chunks:
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


def _style(chunks: Sequence[Chunk]) -> Cells:
    """Return mean and spread of the features of the answers, over those that have them."""
    import pyarrow.compute as pc

    from curate.kernels.arrays.form_space import same_pairs
    from curate.kernels.text.style_compiled import count_style, openings
    from curate.kernels.text.style_features import FEATURES, style_features

    answers = _column(chunks, "response")
    counted = count_style(answers.filter(pc.not_equal(answers, "")))
    cells: Cells = {}
    for name, values in zip(FEATURES, style_features(counted.counts, 50).T, strict=True):
        own = values[values == values]
        if len(own) and name != "words":
            cells |= {f"{name}, mean": float(own.mean()), f"{name}, spread": float(own.std())}
    alike = same_pairs([*Counter(filter(None, openings(counted))).values()])
    return cells | ({"alike openings": alike} if alike == alike else {})


def _texts_of(chunks: Sequence[Chunk]) -> _Texts:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    from curate.kernels.arrays.groups import draw_of
    from curate.kernels.sets.shingles_compiled import shingle_column, word_column

    ids = [one.hex() for chunk in chunks for one in chunk.column("id").to_pylist()]
    texts: tuple[On, ...] = ("instruction", "response")
    columns = {on: _column(chunks, on) for on in texts}
    words = word_column(columns["instruction"], "words")
    return _Texts(
        np.array([draw_of(one, "compare", 0) for one in ids]),
        words.filter(pc.greater(pc.list_value_length(words), 0)),
        {on: pa.array(shingle_column(column, WIDTH)) for on, column in columns.items()},
    )


def _different(sets: pa.ListArray, draws: np.ndarray, count: int) -> float:
    """Return the share of different ones among as many pairs of words, of rows in random order."""
    import numpy as np

    from curate.kernels.sets.shingles import different_share

    return different_share(sets, np.argsort(draws, kind="stable"), count)


def _creativity(own: _Texts, theirs: _Texts) -> Cells:
    """Return the shares of instructions that are novel in their dataset, and beside the other."""
    import pyarrow as pa

    from curate.kernels.sets.novelty import novel

    count = len(own.instructions)
    if not count:
        return {}
    alone = novel(pa.chunked_array([own.instructions]), count, NOVEL)
    cells = {f"novel instructions (ROUGE-L <= {NOVEL})": 1 - float(alone.rejected.mean())}
    if len(theirs.instructions):
        both = novel(pa.chunked_array([own.instructions, theirs.instructions]), count, NOVEL)
        cells["novel beside the other dataset, too"] = 1 - float(both.rejected.mean())
    return cells
