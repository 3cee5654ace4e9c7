"""What a run will ask and what that costs, from a sample of its rows and what the store has.

Sampled rows go through the steps; what a step would ask is measured, looked up in the store and not
sent. Where a reply is missing a filter lets its row pass, and a step that makes rows is given a
text of the expected length, so that later steps have something to ask about. Whether a step asks
again (a tie, a revision), and whether its row fails or is dropped, depends on replies: where the
store has those of enough rows, their share counts for the others. Else a choice is taken to fall
either way and no row to fail, and the estimate says so. Of the steps that need all rows those that
take out an amount do so in proportion; the others are passed over. Groups are made of the sample's
rows and counted for all. A step that grows a pool asks its next round so many times; nothing is
known of the rows that it makes, and the estimate says that it ends there.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.ask import Embed, Reply, Request
from curate.chunk import one_array, rows_of
from curate.engine.follow import Noted, follow
from curate.engine.kinds.gather import gather, gather_as_they_come
from curate.engine.kinds.grow import rounds_to_come
from curate.engine.kinds.reference_data import sketches_against
from curate.engine.kinds.whole import decide
from curate.engine.partition import picked
from curate.engine.reading import SAMPLE_ROWS, rows_in_groups
from curate.engine.segment import Segment, asks, cut_at_wholes, run_segment
from curate.engine.state import PartitionState, Settings, load
from curate.errors import StoppedShort, UnusableReply
from curate.models.model import ModelInfo, info_of
from curate.requests.encode import Found
from curate.requests.rate_limit import BYTES_PER_TOKEN
from curate.requests.resolve import Resolver
from curate.requests.session import Outcome, RowTask
from curate.step import Drop, Failed, Figures, Filter, Gather, Grow, Scored, Step, Whole
from curate.store.budget import PICO, cost
from curate.store.faiss_index import is_index
from curate.store.store import Store
from curate.store.vectors import MISSING

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe

# From so many stored replies on, their mean length stands for the others; so do, from so many rows
# on whose replies are all stored, the requests that those rows made.
ENOUGH_REPLIES = 8
# The numbers of a row's `seq` that say which row of the source it was or is made of.
_SOURCE = 3


@dataclass
class Estimate:
    """What the sampled rows ask. `ends_at` is the step behind which nothing is known.

    `all_failed` is the error of that step, where all sampled rows failed in it. With `none_fails`
    requests were counted that only rows with a usable reply make, and as if all had one. `once` is
    what is asked whatever the number of rows. `batch` holds what batch jobs take off the price of
    each model that is asked in them, `models` how many requests and tokens of replies fall to each
    model, and `examples` a request to each.
    """

    rows: int = 0
    requests: float = 0.0
    stored: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    cost: float | None = 0.0
    ends_at: str | None = None
    all_failed: str | None = None
    none_fails: bool = False
    batch: dict[str, dict[str, Any]] = field(default_factory=dict)
    once: Estimate | None = None
    models: dict[str, tuple[float, float]] = field(default_factory=dict)
    examples: dict[str, Request] = field(default_factory=dict)

    def plus(self, other: Estimate, times: float = 1.0) -> Estimate:
        """Return what this one and `other`, so many times, ask together."""
        known = self.cost is not None and other.cost is not None
        return dataclasses.replace(
            self,
            requests=self.requests + times * other.requests,
            stored=self.stored + times * other.stored,
            input_tokens=self.input_tokens + times * other.input_tokens,
            output_tokens=self.output_tokens + times * other.output_tokens,
            cost=(self.cost or 0.0) + times * (other.cost or 0.0) if known else None,
            batch={**self.batch, **other.batch},
            models=_sum_of(self.models, other.models, times),
            examples={**other.examples, **self.examples},
        )

    def by_model(self, rows: int) -> dict[str, tuple[float, float]]:
        """Return how many requests and tokens of replies each model has for so many rows."""
        once = self.once.models if self.once else {}
        return _sum_of(once, self.models, rows / self.rows if self.rows else 0.0)

    def scaled(self, rows: int) -> dict[str, Any]:
        """Return the figures for so many rows, as JSON data."""
        factor, once = rows / self.rows if self.rows else 0.0, self.once or Estimate()
        requests = self.requests * factor + once.requests
        known = self.cost is not None and once.cost is not None
        money = (self.cost or 0.0) * factor + (once.cost or 0.0)
        batch = {**once.batch, **self.batch}
        return {
            "requests": max(round(requests), int(requests > 0)),
            "replayed": round(self.stored * factor),
            "input_tokens": round(self.input_tokens * factor + once.input_tokens),
            "output_tokens": round(self.output_tokens * factor + once.output_tokens),
            "cost_usd": round(money / PICO, 6) if known else None,
            "sampled_rows": self.rows,
            "ends_at": self.ends_at,
            **({"all_failed": self.all_failed} if self.all_failed else {}),
            **({"none_fails": True} if self.none_fails and requests else {}),
            **({"batch": batch} if batch else {}),
        }


def _sum_of(
    first: Mapping[str, tuple[float, float]],
    second: Mapping[str, tuple[float, float]],
    times: float,
) -> dict[str, tuple[float, float]]:
    """Return the pairs of `first`, and those of `second` so many times, added by name."""
    return {
        name: (one[0] + times * two[0], one[1] + times * two[1])
        for name in {**first, **second}
        for one, two in [(first.get(name, (0.0, 0.0)), second.get(name, (0.0, 0.0)))]
    }


def asks_while_reading(recipe: Recipe) -> bool:
    """Tell whether anything is asked before all rows are read, so that an estimate cannot wait."""
    first = cut_at_wholes(recipe.steps)[0]
    early: list[Step] = [*first.steps]
    if isinstance(first.cut, Whole) or (isinstance(first.cut, Gather) and first.cut.group_size):
        early.append(first.cut)
    return any(asks(step) for step in early)


def estimate(
    recipe: Recipe,
    rows: pa.Table,
    store_folder: Path,
    all_rows: int,
    once: Estimate | None = None,
) -> Estimate:
    """Return what a sample of `rows` asks for, and what is asked `once`.

    `all_rows` is about how many rows there are: a step that takes out an amount needs to know.
    """
    once, count = once or asked_once(recipe, store_folder), rows.num_rows
    state = PartitionState(0, rows)
    settings = Settings(run_seed=recipe.seed, large=False, chunk_rows=SAMPLE_ROWS)
    with _counter(recipe, store_folder) as counter:
        part = count / max(1, count, all_rows)
        state, ends_at, grown = _through(recipe, state, settings, counter, part)
    found = counter.total()
    found.rows, found.ends_at, found.once = count, ends_at, once.plus(grown)
    found.none_fails = counter.none_fails
    for place, step in enumerate(recipe.steps):
        tally = state.tallies.get(step.title)
        if tally is None or not tally.failed or tally.kept or tally.dropped:
            continue
        # No row is left that a later step could ask about: that is not a forecast of nothing.
        ended = [load(table).select(["step", "error"]).to_pylist() for table in state.gone]
        errors = [
            one["error"] for one in chain(*ended) if one["step"] == step.title and one["error"]
        ]
        [(error, _)] = Counter(errors).most_common(1)
        asking = {earlier.title for earlier in recipe.steps[:place] if asks(earlier)}
        if asking.intersection(step.reads_scores()):
            # It goes by scores that are made of replies, and these are still to come.
            if any(asks(later) for later in recipe.steps[place + 1 :]):
                found.ends_at = step.title
        elif not error.startswith(UnusableReply.__name__):
            found.ends_at, found.all_failed = step.title, error
        elif any(asks(later) for later in recipe.steps[place + 1 :]):
            # A step that reads no stand-in for its replies; rows may do better.
            found.ends_at = step.title
    return found


def asked_once(recipe: Recipe, store_folder: Path) -> Estimate:
    """Return what steps ask for whatever the rows: for the texts that they compare rows with."""
    settings = Settings(run_seed=recipe.seed, large=False, chunk_rows=SAMPLE_ROWS)
    with _counter(recipe, store_folder) as counter:
        driver: Any = counter
        for step in recipe.steps:
            if isinstance(step, Filter) and (texts := step.compared_texts()):
                counter.embed(getattr(step, "encoder", None), texts)
            elif isinstance(step, Whole) and asks(step):
                path = step.compares_with()
                if path is not None and not is_index(path):
                    sketches_against(step, settings, driver)
    return counter.total()


@contextlib.contextmanager
def _counter(recipe: Recipe, store_folder: Path) -> Iterator[RequestCounter]:
    with contextlib.ExitStack() as stack:
        # No store is made for an estimate.
        there = (store_folder / "store.db").exists()
        yield RequestCounter(
            recipe, stack.enter_context(Store.open_to_read(store_folder)) if there else None
        )


def _through(
    recipe: Recipe, state: PartitionState, settings: Settings, counter: RequestCounter, part: float
) -> tuple[PartitionState, str | None, Estimate]:
    """Take the sample, a `part` of all rows, through the steps.

    Returns what is left of it, the step that it cannot pass, and what that asks if it grows a pool.
    """
    in_groups = rows_in_groups(recipe)
    steps: list[Step] = []
    for step in recipe.steps:
        if isinstance(step, Filter) and (texts := step.compared_texts()):
            # It compares with those texts whose vectors there are.
            vectors = counter.stored_vectors(getattr(step, "encoder", None), texts)
            step = step.with_vectors(vectors, np.zeros(len(texts), np.int64))
        steps.append(step)
    for segment in cut_at_wholes(steps):
        driver: Any = counter
        cut = segment.cut
        grouping = cut if isinstance(cut, Gather) else None
        state = run_segment(Segment(segment.steps, grouping), state, settings, driver=driver)
        if isinstance(cut, Grow):
            return state, cut.title, _grown(cut, state, settings, counter)
        if isinstance(cut, Gather):
            if in_groups is None or cut.title != in_groups.title or cut.group_size is not None:
                more = groups_of_all(cut, state, part)
                counter.weight, part = counter.weight * more, part / more
            if cut.group_size is None:
                gather(cut, [state], driver, settings.run_seed)
            else:
                state = full_groups(cut, state, part)
                [state] = gather_as_they_come(cut, [state], driver, settings.run_seed)
        elif cut is not None and asks(cut):
            # Its sketches ask; without their replies the rows would fail, so they go on as before.
            run_segment(Segment((), cut), PartitionState(0, state.rows), settings, driver=driver)
        elif cut is not None and (own := cut.sampled(part)) is not None:
            sketched = run_segment(Segment((), own), state, settings)
            try:
                decide(own, [sketched])
                state = sketched
            except StoppedShort as error:
                # It may name what no row of the sample is; any other error is one of the run, too.
                if not isinstance(error.__cause__, ValueError):
                    raise
    return state, None, Estimate()


def groups_of_all(step: Gather, state: PartitionState, part: float) -> float:
    """Return for how many groups one of the sample stands, if a row stands for one row.

    Rows that were made of one row of the source are sampled together. If no group holds rows of
    several ones, groups count as rows do. Else the groups that the sample missed are estimated from
    those that it met once and twice (Chao, "Nonparametric estimation of the number of classes in a
    population", 1984, bias-corrected); with a `group_size`, a key has as many groups as its rows
    fill.
    """
    assert state.sketches is not None
    keys = one_array(load(state.sketches).column("key")).to_pylist()
    table = load(state.rows)
    origins: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    sizes: dict[str, int] = defaultdict(int)
    seqs = table.column("seq").filter(pa.array(picked(table, step.only))).to_pylist()
    for key, seq in zip(keys, seqs, strict=True):
        origins[key].add(tuple(seq[:_SOURCE]))
        sizes[key] += 1
    met = [len(own) for own in origins.values()]
    if part >= 1 or max(met, default=0) < 2:
        return 1.0
    if step.group_size is not None:
        made = sum(size // step.group_size for size in sizes.values())
        made = made or len(sizes)
        filled = sum(math.ceil(size / part / step.group_size) for size in sizes.values())
        return filled * part / made
    once, twice = met.count(1), met.count(2)
    every = min(len(met) + once * (once - 1) / (2 * (twice + 1)), len(met) / part)
    return every * part / len(met)


def _grown(
    step: Grow, state: PartitionState, settings: Settings, counter: RequestCounter
) -> Estimate:
    """Return what a pool asks until it has grown: a round's requests, so many times."""
    table = load(state.rows)
    seen = table.filter(pa.array(picked(table, step.only)))
    rows = list(rows_of(seen, settings.run_seed))
    own = counter.fresh()
    try:
        tasks, rounds = rounds_to_come(step, rows, own.infos, settings.run_seed, own.store)
    except Exception:
        # The pool is the step's own code: the run says what is wrong with it.
        return Estimate()
    own.run(tasks)
    return Estimate().plus(own.total(), rounds)


def full_groups(step: Gather, state: PartitionState, part: float) -> PartitionState:
    """Return a part of all rows without the groups that its rows do not fill, if any are full."""
    assert state.sketches is not None and step.group_size is not None
    if part >= 1:
        return state
    table, sketches = load(state.rows), load(state.sketches)
    keys = np.asarray(one_array(sketches.column("key")).dictionary_encode().indices)
    sizes, places = np.bincount(keys), np.empty(len(keys), np.int64)
    order = np.argsort(keys, kind="stable")
    places[order] = np.arange(len(keys)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    full = places < (sizes - sizes % step.group_size)[keys]
    if full.all() or not full.any():
        return state
    staying = ~picked(table, step.only)
    staying[~staying] = full
    return dataclasses.replace(
        state, rows=table.filter(pa.array(staying)), sketches=sketches.filter(pa.array(full))
    )


@dataclass
class _Asked:
    """The requests to one model: their number, prompt bytes and longest replies, where missing."""

    count: float = 0.0
    prompts: float = 0.0
    longest: float = 0.0
    stored: float = 0.0
    replies: list[Reply] = field(default_factory=list)
    example: Request | None = None
    # Texts to embed, of how many characters; they are prompts of their own.
    texts: float = 0.0
    characters: float = 0.0


class RequestCounter:
    """Answer jobs as a driver does, from the store alone, and note what they ask."""

    def __init__(self, recipe: Recipe, store: Store | None) -> None:
        specs = {**(recipe.models or {}), **(recipe.encoders or {})}
        infos = {name: info_of(spec, name=name) for name, spec in specs.items()}
        self._store, self._resolver = store, Resolver(infos)
        self._asked: dict[str, _Asked] = defaultdict(_Asked)
        self._seen: set[str] = set()
        # For how many requests one of the sample stands, if a row stands for one row.
        self.weight = 1.0
        # Whether requests were counted that only usable replies lead to, as if all were usable.
        self.none_fails, self._unknown = False, False

    @property
    def infos(self) -> Mapping[str, ModelInfo]:
        """What is known of the recipe's models."""
        return self._resolver.infos

    @property
    def store(self) -> Store | None:
        """The store, if there is one yet."""
        return self._store

    def fresh(self) -> RequestCounter:
        """Return a sampler of the same models and store that has noted nothing."""
        other = copy.copy(self)
        other._asked, other._seen, other.weight = defaultdict(_Asked), set(), 1.0
        return other

    def run(self, jobs: Sequence[RowTask]) -> list[Outcome]:
        """Return an outcome for each job; one that cannot be known is `None` and no failure."""
        followed = [follow(job, self._resolver, self._store) for job in jobs]
        whole = [one for one in followed if one.answered]
        whole = whole if len(whole) >= ENOUGH_REPLIES else []
        lacking = [n for n, one in enumerate(followed) if one.waves and not one.answered]
        if lacking and not whole:
            later = any(len(followed[n].waves) > followed[n].certain for n in lacking)
            self.none_fails, self._unknown = self.none_fails or self._unknown or later, True
        for one in followed:
            for noted in chain.from_iterable(one.waves[: one.certain if whole else None]):
                # Counted once for all that share its reply; a vector is that of its text.
                keys = {noted.key}
                if isinstance(noted.request, Embed):
                    texts = self._resolver.resolve_texts(noted.model, noted.request.texts)
                    keys = {key.hex() for key in texts.keys}
                if keys <= self._seen:
                    continue
                self._seen |= keys
                if noted.reply is None:
                    self._count(noted, self.weight)
                else:
                    self._asked[noted.model].stored += self.weight
                    self._asked[noted.model].replies.append(noted.reply)
        # Later waves of jobs that lack replies are as those of the jobs that lack none.
        ends = [one.certain for one in followed if not one.answered]
        for one in whole:
            for place, wave in enumerate(one.waves):
                share = sum(end <= place for end in ends) / len(whole)
                for noted in wave:
                    self._count(noted, share * self.weight)
        outcomes = [one.outcome for one in followed]
        # And as many of them end their rows, or score as high.
        for place, number in enumerate(lacking if whole else ()):
            like = whole[(2 * place + 1) * len(whole) // (2 * len(lacking))].outcome
            if _holds_for_others(like):
                outcomes[number] = like
        return outcomes

    def _count(self, noted: Noted, weight: float) -> None:
        """Count a request as one that is still to be sent, `weight` times."""
        asked = self._asked[noted.model]
        asked.count += weight
        asked.prompts += weight * noted.prompt
        asked.longest += weight * noted.longest
        asked.example = asked.example or noted.request

    def total(self) -> Estimate:
        """Return everything asked so far."""
        found = Estimate()
        for name, asked in self._asked.items():
            count, info = asked.count, self._resolver.infos[name]
            if info.discount is not None:
                found.batch[name] = {
                    "discount": info.discount.share,
                    "source": info.discount.source,
                }
            prompts, outputs = asked.prompts / BYTES_PER_TOKEN, asked.longest
            if len(asked.replies) >= ENOUGH_REPLIES:
                outputs = count * sum(r.output_tokens for r in asked.replies) / len(asked.replies)
            batches = max(asked.texts / info.embed_texts, asked.characters / info.embed_characters)
            found.requests += count - asked.texts + batches
            found.models[name] = (count - asked.texts + batches, outputs)
            if asked.example is not None:
                found.examples[name] = asked.example
            found.stored += asked.stored
            found.input_tokens += prompts
            found.output_tokens += outputs
            if count and (info.price is None or found.cost is None):
                found.cost = None
            elif found.cost is not None:
                found.cost += cost(info.price, round(prompts), round(outputs))
        return found

    def stored_vectors(self, name: str | None, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of texts that have one, zeros for the others."""
        if self._store is None:
            return np.zeros((len(texts), 1), np.float32)
        vectors = self._store.vectors
        return vectors.read(vectors.find(self._resolver.resolve_texts(name, texts).keys))

    def embed(self, name: str | None, texts: Sequence[str], step: str = "") -> Found:
        """Note the texts that have no vector yet; none is made, and none is missed."""
        sent = self._resolver.resolve_texts(name, texts)
        asked, keys = self._asked[sent.model], sent.keys
        places = np.zeros(len(keys), np.int64)
        if self._store is not None:
            places = self._store.vectors.find(keys)
        for number in np.flatnonzero(places == MISSING).tolist():
            if (key := keys[number].hex()) not in self._seen:
                self._seen.add(key)
                asked.texts += self.weight
                asked.characters += self.weight * len(texts[number])
                bytes_sent = len(sent.texts[number].encode())
                self._count(Noted(sent.model, key, bytes_sent, 0, None), self.weight)
        return Found(np.zeros(len(keys), np.int64), {})


def _holds_for_others(outcome: Outcome) -> bool:
    """Tell whether an outcome has no text of its row's: an error, a score, or a row that ended."""
    made = outcome.value if isinstance(outcome.value, list) else [outcome.value]
    return outcome.error is not None or all(
        one is None
        or isinstance(one, float | int | Scored | Failed | Figures)
        or (isinstance(one, Drop) and one.row is None)
        for one in made
    )


def compared(expected: dict[str, Any], sent: int, cost_usd: float) -> dict[str, Any]:
    """Return an estimate with how far it was off: 0.1 says that a tenth more came."""
    actual = {"requests": sent, "cost_usd": cost_usd}
    off = {
        name: round(value / expected[name] - 1, 4) if expected[name] else None
        for name, value in actual.items()
    }
    return {**expected, "actual": actual, "off": off}
