"""Report how consistent the style of each source is, in linguistic form and in surprisal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from curate.kernels.arrays.groups import check_groups, group_of, groups_of, shown_group
from curate.kernels.text.style_features import FEATURES, opening, style_counts, style_features
from curate.row import On, Row
from curate.step import Verdicts, Whole

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk
    from curate.kernels.arrays.form_space import FormSpace, Plane

# All features but the number of words, whose effect on them is taken out.
FORM = FEATURES[1:]
MOST_SOURCES = 20
_DIGITS = 6


@dataclass(frozen=True, kw_only=True)
class StyleReport(Whole):
    """Measure mean, spread and consistency of style per source, and draw a map of it.

    No row is dropped. `per` defines the sources: `source`, or a column, as in `balance`, or the
    combinations of several (`[origin, source]`). Linguistic form consists of the features of
    `style` except the number of words. With `control_length`, a linear effect of the logarithm of
    the number of words is removed from each, and the figures show how much of its variance that
    was. `by` names an earlier `surprisal` step, whose score is the second dimension, treated in the
    same way.

    The figures of each source are: mean and standard deviation of every feature and of the
    surprisal; `form spread`, the root mean variance of the form in units of all rows; the
    consistency of both dimensions, 1 minus the variance of the source divided by that of all rows
    (1: all rows alike, 0: as different as all rows); and `alike openings`, the share of pairs of
    rows that begin with the same three words. Features of short texts vary more, so compare sources
    by the spreads at the `same lengths`, for which rows are weighted until all sources have the
    same distribution of lengths. The score of a row is the distance of its form from the mean of
    its source: about 1 is typical, and high values are outliers. `curate report RUN --png DIR`
    draws the map (principal components of the form; a missing feature counts as the mean) and
    writes its data. `min_words` is the number of words that MTLD needs.
    """

    on: On = "response"
    per: tuple[str, ...] = ("source",)
    by: str | None = None
    control_length: bool = True
    min_words: int = 50

    source: ClassVar[str] = (
        "Li et al. 2024 (SCAR), arXiv 2406.10882, section 3: consistency is a low standard "
        "deviation; what is done about length is our own"
    )
    extra: ClassVar[str | None] = "figures"
    packages: ClassVar[tuple[str, ...]] = ("sklearn", "matplotlib")

    def check(self) -> None:
        """Reject a limit that every text meets."""
        if self.min_words < 1:
            raise ValueError(f"min_words is {self.min_words}; it must be 1 or more")
        if not self.per:
            raise ValueError("per is empty; name source, or a column")

    def sketch_types(self) -> dict[str, str]:
        """Keep a row's source, features, surprisal and opening."""
        numbers = dict.fromkeys((*FEATURES, "surprisal"), "float64")
        return {"group": "list<string>", "opening": "string", **numbers}

    def sketch(self, row: Row) -> dict[str, Any]:
        """Count one text."""
        import numpy as np

        text = row.text(self.on)
        features = style_features(np.array([style_counts(text)]), self.min_words)[0].tolist()
        known = (value if value == value else None for value in features)
        return {
            "group": [group_of(row, name) for name in self.per],
            "opening": opening(text),
            **dict(zip(FEATURES, known, strict=True)),
            "surprisal": row.scores.get(self.by) if self.by else None,
        }

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Count a large chunk in one compiled pass."""
        if not chunk.large:
            return None
        import numpy as np
        import pyarrow as pa

        from curate.kernels.text.style_compiled import openings, style_of

        column = style_of(chunk, self.on)
        features = style_features(column.counts, self.min_words).T
        surprisal = chunk.scores(self.by) if self.by else np.full(len(chunk), np.nan)
        numbers = zip((*FEATURES, "surprisal"), (*features, surprisal), strict=True)
        return {
            "group": pa.array(
                zip(*(groups_of(chunk, name).to_pylist() for name in self.per), strict=True),
                pa.list_(pa.string()),
            ),
            "opening": pa.array(openings(column), pa.string()),
            **{name: pa.array(values, mask=np.isnan(values)) for name, values in numbers},
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Measure the sources, and place every row on the map."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.chunk import one_array
        from curate.kernels.arrays import form_space as forms

        kept = Verdicts(np.full(len(positions), -1))
        if not len(positions):
            return kept
        shown = _sources(sketches, self.per)
        encoded = pa.array(shown, pa.string()).dictionary_encode()
        codes, names = np.asarray(encoded.indices), encoded.dictionary.to_pylist()
        if len(names) > MOST_SOURCES:
            raise ValueError(
                f"per: {', '.join(self.per)} names {len(names):,} different sources; a map shows "
                f"{MOST_SOURCES} at most"
            )
        numbers = {
            name: np.asarray(sketches.column(name).to_numpy(), np.float64)
            for name in (*FEATURES, "surprisal")
        }
        words, surprisal, share = numbers["words"], numbers["surprisal"], 0.0
        form = np.stack([numbers[name] for name in FORM], axis=1)
        space = forms.form_space(form, words, control_length=self.control_length)
        if self.control_length:
            surprisal, share = forms.at_equal_length(surprisal, words)
        drawn, weights = forms.plane(space), forms.length_weights(words, codes)
        kept.figures = _axes(space, drawn, share)
        kept.score = np.full(len(positions), np.nan)
        openings = one_array(sketches.column("opening"))
        has_opening = np.asarray(pc.not_equal(openings, ""))
        every = forms.weighted_variance(surprisal)
        for code, name in enumerate(names):
            members = codes == code
            kept.score[members] = space.distances(space.centre(members))[members]
            spread, variance = space.spread(members), forms.weighted_variance(surprisal[members])
            found = _figures(numbers, members) | {
                "form spread": spread,
                "form consistency": 1 - spread**2,
                "surprisal consistency": 1 - variance / every if every > 0 else math.nan,
            }
            own = pc.value_counts(openings.filter(pa.array(members & has_opening)))
            found["alike openings"] = forms.same_pairs(own.field("counts"))
            if len(names) > 1:
                matched = forms.weighted_variance(surprisal[members], weights[members])
                found |= {
                    "lengths in common": weights[members].sum(),
                    "form spread, same lengths": space.spread(members, weights),
                    "surprisal spread, same lengths": math.sqrt(matched),
                }
            kept.figures |= {f"{name}: {k}": float(v) for k, v in found.items() if v == v}
        places = (drawn.places.round(_DIGITS) + 0.0).tolist()
        values = np.stack([*numbers.values()], axis=1).tolist()
        kept.details = [
            {"group": group, "x": x, "y": y}
            | {k: round(v, 4) for k, v in zip(numbers, own, strict=True) if v == v}
            for group, (x, y), own in zip(shown, places, values, strict=True)
        ]
        return kept


def _sources(sketches: pa.Table, per: Sequence[str]) -> list[str]:
    """Return the name of each row's source, or raise `ValueError` where no row has a column."""
    import pyarrow as pa

    sources = sketches.column("group").to_pylist()
    for number, name in enumerate(per):
        own = [parts[number] for parts in sources]
        check_groups(pa.chunked_array([pa.array(own, pa.string())]), name)
    return [", ".join(shown_group(part) or "none" for part in parts) for parts in sources]


def _axes(space: FormSpace, drawn: Plane, surprisal: float) -> dict[str, float]:
    """Return what the map is made of, and how much of each feature length explains."""
    named = zip(FORM, space.explained.tolist(), strict=True)
    explained = {f"length explains {name}": share for name, share in named if share}
    if surprisal:
        explained["length explains surprisal"] = surprisal
    axes = {}
    for number, (loadings, share) in enumerate(zip(drawn.loadings, drawn.shares, strict=True), 1):
        axes[f"axis {number}: share of variance"] = float(share)
        for name, loading in zip(FORM, loadings.tolist(), strict=True):
            if loading:
                axes[f"axis {number}: loading of {name}"] = loading
    return explained | axes


def _figures(numbers: dict[str, np.ndarray], members: np.ndarray) -> dict[str, float]:
    """Return the rows of a source, and mean and spread of each number over those that have it."""
    found = {"rows": float(members.sum())}
    for name, values in numbers.items():
        own = values[members]
        own = own[own == own]
        if len(own):
            found |= {name: own.mean(), f"{name}, spread": own.std()}
            if len(own) < found["rows"]:
                found[f"{name}, rows"] = float(len(own))
    return found
