"""What a run will ask and what that costs, from a sample of its rows and what the store has.

Sampled rows of the first part go through the steps; what a step would ask is measured, looked up in
the store, and not sent. Where a reply is missing a filter lets its row pass, and a step that makes
rows is given a text of the expected length, so that the steps behind it have something to ask
about. Of the steps that need all rows those that take out an amount do so in proportion; the others
are passed over. A step that grows a pool asks its next round so many times. After it, and after one
that makes rows of groups, nothing can be known, and the estimate says that it ends there.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import inspect
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from curate.ask import Ask, Choose, Likelihood, Reply, Request, Reward
from curate.chunk import one_array, rows_of
from curate.engine.kinds.grow import rounds_to_come
from curate.engine.kinds.reference_data import sketches_against
from curate.engine.kinds.whole import decide
from curate.engine.partition import picked
from curate.engine.segment import Segment, asks, cut_at_wholes, run_segment
from curate.engine.state import PartitionState, Settings, load
from curate.errors import RecipeError
from curate.models.model import ModelInfo, info_of
from curate.requests.encode import Found
from curate.requests.rate_limit import BYTES_PER_TOKEN
from curate.requests.resolve import Resolver
from curate.requests.session import Outcome, RowTask
from curate.step import Filter, Gather, Grow, Step, Whole
from curate.store.budget import PICO, cost, output_bound, prompt_bytes
from curate.store.faiss_index import is_index
from curate.store.replies import find
from curate.store.store import Store
from curate.store.vectors import MISSING

if TYPE_CHECKING:
    from curate.recipe.recipe import Recipe

SAMPLE_ROWS = 256
# A job that has asked so often for nothing the store has is not followed any further.
MOST_WAVES = 16
# What a reply without max_tokens is taken for.
USUAL_TOKENS = 256
# From so many stored replies on, their mean length stands for the others.
ENOUGH_REPLIES = 8


@dataclass
class Estimate:
    """What the sampled rows ask. `ends_at` is the step behind which nothing is known.

    `once` is what is asked whatever the number of rows. `batch` holds what batch jobs take off the
    price of each model that is asked in them.
    """

    rows: int = 0
    requests: float = 0.0
    stored: int = 0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    cost: float | None = 0.0
    ends_at: str | None = None
    batch: dict[str, dict[str, Any]] = field(default_factory=dict)
    once: Estimate | None = None

    def plus(self, other: Estimate, times: float = 1.0) -> Estimate:
        """Return what this one and `other`, so many times, ask together."""
        known = self.cost is not None and other.cost is not None
        return dataclasses.replace(
            self,
            requests=self.requests + times * other.requests,
            stored=self.stored + round(times * other.stored),
            input_tokens=self.input_tokens + times * other.input_tokens,
            output_tokens=self.output_tokens + times * other.output_tokens,
            cost=(self.cost or 0.0) + times * (other.cost or 0.0) if known else None,
            batch={**self.batch, **other.batch},
        )

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
            **({"batch": batch} if batch else {}),
        }


class RowSample:
    """The rows with the lowest ids of all parts that were shown to it, in source order.

    An id is a hash: so they are as good as drawn by lot, from all files, and the same every time.
    """

    def __init__(self) -> None:
        self.rows: pa.Table | None = None

    def add(self, state: PartitionState) -> None:
        """Look at the rows of one more part."""
        table = load(state.rows)
        if self.rows is not None:
            table = pa.concat_tables([self.rows, table], promote_options="default")
        ids = one_array(table.column("id"))
        first = np.frombuffer(ids.buffers()[1], ">u8")[2 * ids.offset :: 2][: len(ids)]
        lowest = np.argsort(first, kind="stable")[:SAMPLE_ROWS]
        self.rows = table.take(np.sort(lowest))


def asks_while_reading(recipe: Recipe) -> bool:
    """Tell whether anything is asked before all rows are read, so that an estimate cannot wait."""
    first = cut_at_wholes(recipe.steps)[0]
    return any(asks(step) for step in (*first.steps, first.cut) if step is not None)


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
    with _sampler(recipe, store_folder) as asker:
        part = count / max(1, count, all_rows)
        ends_at, grown = _through(recipe, state, settings, asker, part)
    found = asker.total()
    found.rows, found.ends_at, found.once = count, ends_at, once.plus(grown)
    return found


def asked_once(recipe: Recipe, store_folder: Path) -> Estimate:
    """Return what steps ask for whatever the rows: for the texts that they compare rows with."""
    settings = Settings(run_seed=recipe.seed, large=False, chunk_rows=SAMPLE_ROWS)
    with _sampler(recipe, store_folder) as asker:
        driver: Any = asker
        for step in recipe.steps:
            if isinstance(step, Filter) and (texts := step.compared_texts()):
                asker.embed(getattr(step, "encoder", None), texts)
            elif isinstance(step, Whole) and asks(step):
                path = step.compares_with()
                if path is not None and not is_index(path):
                    sketches_against(step, settings, driver)
    return asker.total()


@contextlib.contextmanager
def _sampler(recipe: Recipe, store_folder: Path) -> Iterator[_Sampler]:
    with contextlib.ExitStack() as stack:
        # No store is made for an estimate.
        there = (store_folder / "store.db").exists()
        yield _Sampler(recipe, stack.enter_context(Store.open(store_folder)) if there else None)


def _through(
    recipe: Recipe, state: PartitionState, settings: Settings, asker: _Sampler, part: float
) -> tuple[str | None, Estimate]:
    """Take the sample, a `part` of all rows, through the steps.

    Returns the step that it cannot pass, and what that asks if it grows a pool.
    """
    steps: list[Step] = []
    for step in recipe.steps:
        if isinstance(step, Filter) and (texts := step.compared_texts()):
            # It compares with those texts whose vectors there are.
            vectors = asker.stored_vectors(getattr(step, "encoder", None), texts)
            step = step.with_vectors(vectors, np.zeros(len(texts), np.int64))
        steps.append(step)
    for segment in cut_at_wholes(steps):
        driver: Any = asker
        state = run_segment(Segment(segment.steps, None), state, settings, driver=driver)
        cut = segment.cut
        if isinstance(cut, Grow):
            return cut.title, _grown(cut, state, settings, asker)
        if isinstance(cut, Gather):
            return cut.title, Estimate()
        if cut is not None and asks(cut):
            # Its sketches ask; without their replies the rows would fail, so they go on as before.
            run_segment(Segment((), cut), PartitionState(0, state.rows), settings, driver=driver)
        elif cut is not None and (own := cut.sampled(part)) is not None:
            state = run_segment(Segment((), own), state, settings)
            decide(own, [state])
    return None, Estimate()


def _grown(step: Grow, state: PartitionState, settings: Settings, asker: _Sampler) -> Estimate:
    """Return what a pool asks until it has grown: a round's requests, so many times."""
    table = load(state.rows)
    seen = table.filter(pa.array(picked(table, step.only)))
    rows = list(rows_of(seen, settings.run_seed))
    own = asker.fresh()
    try:
        tasks, rounds = rounds_to_come(step, rows, own.infos, settings.run_seed, own.store)
    except Exception:
        # The pool is the step's own code: the run says what is wrong with it.
        return Estimate()
    own.run(tasks)
    return Estimate().plus(own.total(), rounds)


@dataclass
class _Asked:
    """The requests to one model: prompt bytes and longest replies of those that are missing."""

    prompts: list[int] = field(default_factory=list)
    longest: list[int] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    # Texts to embed, of how many characters; they are prompts of their own.
    texts: int = 0
    characters: int = 0


class _Sampler:
    """Answer jobs as a driver does, from the store alone, and note what they ask."""

    def __init__(self, recipe: Recipe, store: Store | None) -> None:
        specs = {**(recipe.models or {}), **(recipe.encoders or {})}
        infos = {name: info_of(spec, name=name) for name, spec in specs.items()}
        self._store, self._resolver = store, Resolver(infos)
        self._asked: dict[str, _Asked] = defaultdict(_Asked)
        self._seen: set[str] = set()

    @property
    def infos(self) -> Mapping[str, ModelInfo]:
        """What is known of the recipe's models."""
        return self._resolver.infos

    @property
    def store(self) -> Store | None:
        """The store, if there is one yet."""
        return self._store

    def fresh(self) -> _Sampler:
        """Return a sampler of the same models and store that has noted nothing."""
        other = copy.copy(self)
        other._asked, other._seen = defaultdict(_Asked), set()
        return other

    def run(self, jobs: Sequence[RowTask]) -> list[Outcome]:
        """Return an outcome for each job; one that cannot be known is `None` and no failure."""
        return [self._follow(job) for job in jobs]

    def total(self) -> Estimate:
        """Return everything asked so far."""
        found = Estimate()
        for name, asked in self._asked.items():
            count, info = len(asked.prompts), self._resolver.infos[name]
            if info.discount is not None:
                found.batch[name] = {
                    "discount": info.discount.share,
                    "source": info.discount.source,
                }
            prompts = sum(asked.prompts) / BYTES_PER_TOKEN
            outputs = float(sum(asked.longest))
            if len(asked.replies) >= ENOUGH_REPLIES:
                outputs = count * sum(r.output_tokens for r in asked.replies) / len(asked.replies)
            batches = max(asked.texts / info.embed_texts, asked.characters / info.embed_characters)
            found.requests += count - asked.texts + batches
            found.stored += len(asked.replies)
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

    def embed(self, name: str | None, texts: Sequence[str]) -> Found:
        """Note the texts that have no vector yet; none is made, and none is missed."""
        sent = self._resolver.resolve_texts(name, texts)
        asked, keys = self._asked[sent.model], sent.keys
        places = np.zeros(len(keys), np.int64)
        if self._store is not None:
            places = self._store.vectors.find(keys)
        for number in np.flatnonzero(places == MISSING).tolist():
            if (key := keys[number].hex()) not in self._seen:
                self._seen.add(key)
                asked.texts += 1
                asked.characters += len(texts[number])
                asked.prompts.append(len(sent.texts[number].encode()))
                asked.longest.append(0)
        return Found(np.zeros(len(keys), np.int64), {})

    def _follow(self, job: RowTask) -> Outcome:
        """Take one job from wave to wave, as far as replies or stand-ins for them are known.

        A step that judges by a stand-in has judged nothing: its outcome is not known.
        """
        assumed = False
        try:
            value = job.start()
            if not inspect.isgenerator(value):
                return Outcome(value)
            payload: Any = None
            yielded: Any
            for _ in range(MOST_WAVES):
                yielded = value.send(payload)
                wave = [yielded] if isinstance(yielded, Request) else list(yielded)
                found = [self._reply(request, job) for request in wave]
                replies = [reply for reply, _ in found]
                if None in replies:
                    break
                assumed = assumed or not all(stored for _, stored in found)
                payload = replies[0] if isinstance(yielded, Request) else replies
            value.close()
        except StopIteration as stop:
            return Outcome() if assumed and job.shares else Outcome(stop.value)
        except RecipeError:
            raise
        except Exception:
            # What stands for a reply need not be something that the step can read.
            return Outcome()
        return Outcome()

    def _reply(self, request: Request, job: RowTask) -> tuple[Reply | None, bool]:
        """Note a request; return its stored reply, or a stand-in, and whether it is the former.

        Each stand-in for a text is another text, as replies would be: what is asked about two of
        them later is two requests. Those of judges have none: they would have to be readable.
        """
        asked = self._resolver.resolve(request, job)
        key, noted, sent = asked.key, self._asked[asked.model], asked.request
        stored = {} if self._store is None else find(self._store, {key: asked.wanted()})
        longest = output_bound(sent)
        longest = USUAL_TOKENS if longest is None else longest
        if key not in self._seen:
            self._seen.add(key)
            if key in stored:
                noted.replies.append(stored[key].reply)
            else:
                noted.prompts.append(prompt_bytes(sent))
                noted.longest.append(longest)
        if key in stored:
            return stored[key].reply, True
        if isinstance(sent, Choose):
            even = -math.log(len(sent.options))
            return Reply(values=(even,) * len(sent.options), mass=1.0), False
        if isinstance(sent, Likelihood):
            return Reply(values=(-1.0,) * (1 + len(sent.answer) // BYTES_PER_TOKEN)), False
        if isinstance(sent, Reward):
            return Reply(values=(0.0,)), False
        shares = job.shares if request.share is None else request.share
        if shares or not isinstance(sent, Ask) or sent.schema is not None:
            return None, False
        # Words, of which the first is the request's own.
        words = (f"{key[:8]} " + "word " * max(1, longest))[: max(8, longest * BYTES_PER_TOKEN)]
        return Reply(text=words.strip()), False


def compared(expected: dict[str, Any], sent: int, cost_usd: float) -> dict[str, Any]:
    """Return an estimate with how far it was off: 0.1 says that a tenth more came."""
    actual = {"requests": sent, "cost_usd": cost_usd}
    off = {
        name: round(value / expected[name] - 1, 4) if expected[name] else None
        for name, value in actual.items()
    }
    return {**expected, "actual": actual, "off": off}
