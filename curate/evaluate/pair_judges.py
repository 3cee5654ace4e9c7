"""What each kind of judge says of labelled pairs: comparisons, scores of both sides, whole lists.

Any step that tells a better answer from a worse one can be measured on pairs. One that compares
(`prefer`, a tournament of `rank`) says it of the two together, in one order or both; one that ranks
a list says it of every two of its places; and one that scores (any filter or whole step for
conversations, `ultrafeedback` and `deita_joint` for candidates) gives the better one the higher
score, without ever seeing both, so that places cannot move it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, combinations
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.pipeline import Result
from curate.row import Row
from curate.runs.ledger_scores import ledger_details, scores_by_row
from curate.step import Filter, Step, Whole
from curate.steps.pairs._comparison import Opinion, Preference, mean, verdict_of
from curate.steps.pairs.prefer import Prefer
from curate.steps.pairs.rank import Rank, RankedList
from curate.steps.pairs.unpack import Unpack
from curate.steps.score.deita_joint import DeitaJoint
from curate.steps.score.ultrafeedback import Ultrafeedback

# What `prefer` and `rank` have in common.
_SHARED = (
    "model", "models", "prompt", "principles", "options", "orders", "reason", "complete",
    "temperature", "max_tokens",
)  # fmt: skip


class View(NamedTuple):
    """What a judge said of answers `i` and `j` of a row; 1 means that `i` is better.

    `given`: with `i` shown first; `swapped`: with `j` shown first; `alone`: by scores of each.
    """

    row: str
    i: int
    j: int
    given: float | None = None
    swapped: float | None = None
    alone: float | None = None
    mass: float | None = None


class Judgements(NamedTuple):
    """All that a run's judges said of its labelled rows.

    `scores` are those of single answers, by row and place in it; `lists` the ranked lists of a row.
    """

    views: list[View]
    scores: dict[tuple[str, int], float]
    lists: dict[str, list[RankedList]]


def pair_judges(step: Step | None = None) -> tuple[Step, ...]:
    """Return the steps that judge labelled rows, made of the one that is to be measured.

    Preferences are judged by `prefer`, candidates by `rank`; a step that prefers in a way of its
    own judges both, of candidates two. A step that scores conversations scores every answer, each
    in a conversation of its own. Labels stay: nothing changes sides, and the rows as they came are
    kept beside those made. In preferences the chosen answer stands first, and candidates may be
    listed best first, so `orders: given` becomes `drawn`: it would show the judge the labels.

    Raises:
        UsageError: the step judges no answers.
    """
    if step is None:
        step = Prefer(model="judge", at_least=None, drop_ties=True)
    if isinstance(step, Prefer | Rank):
        orders = "drawn" if step.orders == "given" else step.orders
        if isinstance(step, Rank) and step.method == "listwise":
            return (replace(step, orders=orders, keep_parent=True, only=("ranked",)),)
        own = {name: getattr(step, name) for name in _SHARED}
        own["prompt"] = own["prompt"] or "compare_answers"
        prefer = replace(
            step if isinstance(step, Prefer) else Prefer(**own),
            orders=orders,
            sides="given",
            at_least=None,
            drop_ties=False,
            keep_parent=True,
            only=("preference",),
        )
        if type(prefer) is not Prefer:
            return (replace(prefer, only=()),)
        rank = step if isinstance(step, Rank) else Rank(**own)
        return prefer, replace(rank, orders=orders, keep_parent=True, only=("ranked",))
    if isinstance(step, DeitaJoint):
        # Candidates are answers; instructions have no better and worse side.
        step = replace(step, on="response")
    if isinstance(step, Ultrafeedback | DeitaJoint):
        return (replace(step, keep_parent=True, only=("ranked",)),)
    if step.reads_scores():
        raise UsageError(
            f"'{step.name}' reads the scores of earlier steps, and judges nothing by itself; "
            "measure those steps"
        )
    if not isinstance(step, Filter | Whole) or "sft" not in step.kinds:
        raise UsageError(
            f"'{step.name}' judges no answers; measure a step that compares two (prefer, rank), or "
            "one that scores a conversation (rubric, alpagasus, reward_score, scar ...)"
        )
    return Unpack(keep_parent=True), replace(step, only=("sft",))


def judgements_of(result: Result, judges: Sequence[Step], rows: Mapping[str, Row]) -> Judgements:
    """Return what the steps of `pair_judges` said in a run of its labelled `rows`, by their ids."""
    found = Judgements([], {}, {})
    for judge, label in zip(judges, result.recipe["labels"], strict=True):
        if isinstance(judge, Prefer | Rank):
            for parent, detail in ledger_details(result.folder, label):
                if parent not in rows:
                    continue
                lists = [RankedList(**one) for one in detail.get("lists", ())]
                if lists:
                    found.lists[parent] = lists
                found.views.extend(_views(parent, judge, detail, lists))
        elif isinstance(judge, Ultrafeedback | DeitaJoint):
            for row in result.kept:
                if len(row.parents) == 1 and row.parents[0] in rows:
                    scored = enumerate(row.candidates)
                    found.scores.update(
                        {(row.parents[0], n): c.score for n, c in scored if c.score is not None}
                    )
        elif not isinstance(judge, Unpack):
            scores = scores_by_row(result.folder, label)
            for row in chain(result.kept, result.dropped):
                if row.id in scores and len(row.parents) == 1 and row.parents[0] in rows:
                    found.scores[row.parents[0], row.seq[-1]] = scores[row.id]
    places: dict[str, list[int]] = {}
    for row_id, place in found.scores:
        places.setdefault(row_id, []).append(place)
    for row_id, own in places.items():
        for i, j in combinations(sorted(own), 2):
            gap = found.scores[row_id, i] - found.scores[row_id, j]
            found.views.append(View(row_id, i, j, alone=0.5 if gap == 0 else float(gap > 0)))
    return found


def _views(
    row: str, judge: Prefer | Rank, detail: Mapping[str, Any], lists: Sequence[RankedList]
) -> Iterator[View]:
    """Yield what a judge said of every two answers of a row, together or by their places."""
    for one in detail.get("pairs") or ([detail] if "opinions" in detail else []):
        opinions = [Opinion(**{"principle": None, **own}) for own in one["opinions"]]
        said = Preference(tuple(opinions))
        said = judge.counted(said) if isinstance(judge, Prefer) else said
        masses = [own.mass for own in opinions if own.mass is not None]
        i, j = one.get("pair", (0, 1))
        mass = mean(masses) if masses else None
        yield View(row, i, j, said.order(False), said.order(True), mass=mass)
    for i, j in combinations(range(len(lists[0].ranks)), 2) if lists else ():
        views: dict[bool, list[float]] = {True: [], False: []}
        for own in lists:
            better = 0.5 + (own.ranks[j] - own.ranks[i]) / 2
            views[own.shown.index(i) < own.shown.index(j)].append(verdict_of(better))
        given, swapped = (mean(side) if side else None for side in (views[True], views[False]))
        yield View(row, i, j, given, swapped)


def list_effects(
    lists: Mapping[str, Sequence[RankedList]], labels: Mapping[str, Sequence[float | None]]
) -> dict[str, Any]:
    """Return what places do to a judge of lists, as JSON data.

    For each place of a list: how often the judge ranks first what is shown there, how often what
    the labels rank first is shown there, and how often it would be by chance (a shared first rank
    counts in shares). `labels` are the scores of each row's candidates; lists without any count for
    nothing. `orders_agree` is the share
    of pairs of candidates that a list and its reverse, by the same model, put in the same order.
    """
    places: dict[int, list[tuple[float, float, float]]] = {}
    agree: list[float] = []
    count = 0
    for row_id, own in lists.items():
        known = labels[row_id]
        most = max((one for one in known if one is not None), default=None)
        best = [n for n, one in enumerate(known) if one is not None and one == most]
        if not best:
            continue
        by_model: dict[str, list[RankedList]] = {}
        for one in own:
            count += 1
            by_model.setdefault(one.model, []).append(one)
            for place, candidate in enumerate(one.shown):
                seen = (one.wins_at(place), (candidate in best) / len(best), 1 / len(one.shown))
                places.setdefault(place + 1, []).append(seen)
        for pair in by_model.values():
            agree += [pair[0].agreement(pair[1])] if len(pair) == 2 else []
    found: dict[str, Any] = {
        "lists": count,
        "places": {
            place: dict(
                zip(("judge", "labels", "chance"), map(mean, zip(*seen, strict=True)), strict=True)
            )
            | {"lists": len(seen)}
            for place, seen in sorted(places.items())
        },
    }
    return found | ({"orders_agree": mean(agree)} if agree else {})
