"""The five kinds of step, and what their authors write.

A step is a frozen dataclass whose fields are JSON data: equal fields make equal steps, and YAML and
Python are the same thing. Fields made with `rule()` (thresholds, counts) decide but do not score,
so they are not part of the fingerprint: changing one asks no model again.

    Filter     score(row), keep(score)                  sees one row
    Generate   make(row)                                sees one row
    Whole      sketch(row), decide(positions, sketches) sees the dataset through arrays
    Gather     key(row), make(rows)                     sees one group
    Grow       pool(rows), propose(sample, random)      sees a growing pool

`score`, `make`, `sketch` and `propose` may be generators: `reply = yield Ask(...)`, or a list of
requests for a list of replies. Steps import no client and know nothing of retries and rates.
Adding an operator is one file in `curate/steps/<family>/`, named like its class in snake_case.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, Self, dataclass_transform

from curate.ask import Reply, Yielded
from curate.row import KINDS, Record, Row

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from curate.chunk import Chunk

Asking = Generator[Yielded, Any, Any]
Readers = Sequence[Callable[[], "pa.Table"]]
# The type of a sketch column in which a `Whole` gives a text and gets its vector.
EMBEDDING = "embedding"


def snake_case(name: str) -> str:
    """Return the name of an operator, and of its file, from that of its class."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def rule(default: Any = None) -> Any:
    """Declare a dataclass field that only decides: it is left out of the step's fingerprint."""
    return field(default=default, metadata={"rule": True})


class Scored(NamedTuple):
    """A filter's score with the evidence for it (`detail` is written to the ledger as JSON)."""

    value: float | None
    detail: Mapping[str, Any] | None = None


class Scores(NamedTuple):
    """The scores of a chunk: float64 `values` (NaN stands for none) and optional details."""

    values: np.ndarray
    details: list[Mapping[str, Any] | None] | None = None


class Made(NamedTuple):
    """A made record with the evidence for it.

    `score` is kept under the step's label, where `by=` of later steps finds it if the step says
    `scores_made`; `detail` is written to the ledger as JSON.
    """

    record: Record
    score: float | None = None
    detail: Mapping[str, Any] | None = None


class Drop(NamedTuple):
    """A refusal: of the row that a `Generate` was given, or of the made `record`.

    A `Gather` refuses the whole group, or with `row` (an id) one member of it. `partner` is the id
    of the kept row that explains the refusal (a duplicate's witness).
    """

    reason: str
    score: float | None = None
    record: Record | None = None
    detail: Mapping[str, Any] | None = None
    partner: str | None = None
    row: str | None = None


class Failed(NamedTuple):
    """A made row that failed by itself: what else was made is not touched by it.

    `error` is the exception, or a text. `record` is what was to be made, where that much is known;
    `reply` is the one that could not be used: it is kept, and `--retry-failed` asks for it again.
    """

    error: Exception | str
    record: Record | None = None
    reply: Reply | None = None


class Figures(NamedTuple):
    """Numbers about one row or group; a `Generate`'s row that passes has `detail` in its ledger."""

    values: Mapping[str, float]
    detail: Mapping[str, Any] | None = None


class FigureTotal(NamedTuple):
    """The exact sum of one figure over the rows or groups that have it, and how many these are."""

    sum: float
    rows: int


# What a step that makes rows may return, alone or in a list.
Product = Row | Record | Made | Drop | Failed | Figures


@dataclass
class Verdicts:
    """What a `Whole` decided. Every array is aligned with the `positions` it was given.

    `code`: index into `reasons`, or -1 where the row is kept. `partner`: index into `positions` of
    the row *kept by this step* that explains the drop, or -1. `score`: float64, NaN for none.
    `repeats` (whole numbers from 1): how many times a kept row is there from now on; copies are
    rows made of it. `details` and `notes` hold JSON data per row; notes travel with the row.
    `remarks` are sentences about the decision as a whole (a recall that was measured), and
    `figures` its numbers by name (an agreement, an entropy), for the report.
    """

    code: np.ndarray
    reasons: tuple[str, ...] = ()
    score: np.ndarray | None = None
    partner: np.ndarray | None = None
    repeats: np.ndarray | None = None
    details: Sequence[Mapping[str, Any] | None] | None = None
    notes: Sequence[Mapping[str, Any] | None] | None = None
    remarks: tuple[str, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)


class Memo(Protocol):
    """What a step derived from its sketches at some cost, kept for other decisions."""

    def __call__(
        self, key: str, find: Callable[[], Sequence[np.ndarray] | None]
    ) -> Sequence[np.ndarray] | None:
        """Return the arrays kept under `key`, or what `find` returns, which is kept.

        `key` names all that decides the arrays; `None` is not kept.
        """
        ...


class Decider(Protocol):
    """A `Whole` that decides on rows as they come, in source order."""

    def decide(self, sketches: pa.Table) -> Verdicts:
        """Return verdicts on the next rows; a `partner` counts from the first row of all."""
        ...


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(rule, field))
@dataclass(frozen=True, kw_only=True)
class Step:
    """Hold what all kinds of step share; authors subclass one of the five kinds below.

    `only` names record kinds or sources: other rows pass the step untouched, and unseen.
    """

    label: str | None = None
    only: tuple[str, ...] = rule(())

    name: ClassVar[str] = ""
    version: ClassVar[int] = 1
    source: ClassVar[str] = ""
    extra: ClassVar[str | None] = None
    packages: ClassVar[tuple[str, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = tuple(KINDS)
    # Whether the rows that the step makes may carry its score (`Made`), for `by=` of later steps.
    scores_made: ClassVar[bool] = False
    judges: ClassVar[bool | None] = None  # whether its score is a judgement (`catalog.is_judge`)
    # Of a step from a file: what the recipe calls it, and the digest of the file.
    address: ClassVar[str | None] = None
    file_digest: ClassVar[str | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Name the step after its class, in snake_case."""
        super().__init_subclass__(**kwargs)
        cls.name = snake_case(cls.__name__)

    @property
    def title(self) -> str:
        """The label in ledgers and reports: `label`, or the step's name."""
        return self.label or self.name

    def with_sources(self, sources: Mapping[str, Sequence[str]]) -> Self:
        """Return the step as it is for a run that reads these files, by the names of inputs."""
        return self

    def fields(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, without the label, as YAML writes."""
        out = {}
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            default = item.default
            if item.default_factory is not dataclasses.MISSING:
                default = item.default_factory()
            if item.name != "label" and value != default:
                out[item.name] = list(value) if isinstance(value, tuple) else value
        return out

    def rules(self) -> tuple[str, ...]:
        """Return the names of the fields that only decide."""
        return tuple(f.name for f in dataclasses.fields(self) if f.metadata.get("rule"))

    def fingerprint(self) -> dict[str, Any]:
        """Return name, version and every field that is not a rule: what the score depends on.

        A step that reads texts from files (prompts) adds these, or their hash.
        """
        rules = self.rules()
        names = [f.name for f in dataclasses.fields(self) if f.name not in rules]
        own = {name: getattr(self, name) for name in names}
        file = {"file": self.file_digest} if self.file_digest else {}
        return {"step": self.name, "version": self.version, **file, **own}

    def kinds_seen(self, kinds: frozenset[str]) -> frozenset[str]:
        """Return which of the record kinds that arrive the step may see, given its `only`."""
        by_source = any(name not in KINDS for name in self.only)
        return kinds if by_source or not self.only else kinds.intersection(self.only)

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str] | None:
        """Return the record kinds that leave, given those that the step sees; `None`: unknown."""
        return kinds

    def kinds_after(self, kinds: frozenset[str] | None) -> frozenset[str] | None:
        """Return the record kinds after the step, given those that arrive; `None`: unknown."""
        if kinds is None:
            return None
        seen = self.kinds_seen(kinds)
        made = self.kinds_made(seen)
        passing = kinds if any(name not in KINDS for name in self.only) else kinds - seen
        return None if made is None else made | passing

    def check(self) -> None:
        """Raise `ValueError` when fields contradict each other; types are checked before this."""

    def prepare(self) -> None:
        """Raise `ValueError`, before a run only, where a file that it needs cannot be used."""

    def data_digest(self) -> str | None:
        """Return a digest of the files read besides the rows, after `prepare`, for `run.yaml`."""
        return None

    def reads_scores(self) -> tuple[str, ...]:
        """Return the labels of earlier steps whose scores this one reads (its `by=`)."""
        by = getattr(self, "by", None)
        return (by,) if isinstance(by, str) else ()

    def reads_models(self) -> tuple[str, ...]:
        """Return the names in the recipe's `models` or `encoders` that this step asks."""
        names = (getattr(self, "model", None), getattr(self, "encoder", None))
        return tuple(name for name in names if isinstance(name, str))

    def reply_limit(self) -> int | None:
        """Return the `max_tokens` of this step's requests, `None` where the model's are taken."""
        return getattr(self, "max_tokens", None)

    def embeds(self) -> bool:
        """Return whether the step asks its `encoder`; then one left at `None` is filled in."""
        return False

    def figures(self, found: Mapping[str, FigureTotal]) -> Mapping[str, float]:
        """Return the figures for the report, given totals of `Figures`; by default their means."""
        return {name: own.sum / own.rows for name, own in found.items()}

    def remarks(self, found: Mapping[str, FigureTotal]) -> tuple[str, ...]:
        """Return sentences for the report, given totals of `Figures`, of none, too."""
        return ()


@dataclass(frozen=True, kw_only=True)
class Filter(Step):
    """Score one row, then keep it or name the reason of the drop."""

    # Judges may share one reply between equal requests: it saves money and changes nothing.
    shares_replies: ClassVar[bool] = True

    def score(self, row: Row) -> float | Scored | Asking | None:
        """Return the row's score; the step's rules play no part in it."""
        raise NotImplementedError

    def keep(self, score: float | None) -> str | None:
        """Return `None` to keep the row, or the reason of the drop (a short, countable text)."""
        raise NotImplementedError

    def compared_texts(self) -> Sequence[str]:
        """Return texts whose vectors the step wants once, before any row, by its `encoder`."""
        return ()

    def with_vectors(self, vectors: np.ndarray, read: np.ndarray) -> Self:
        """Return the step with the vectors of `compared_texts`, a float32 row each.

        `read` (int64) is 0 for a text that the encoder read in whole, else a hash of the tokens
        that it read; a text that it cannot read has zeros for a vector.
        """
        return self

    def score_many(self, chunk: Chunk) -> Scores | None:
        """Return a large chunk's scores, equal to `score` row by row; `None`: not vectorised."""
        return None


@dataclass(frozen=True, kw_only=True)
class Generate(Step):
    """Make rows from one row, which becomes *used*, or stays with `keep_parent`."""

    keep_parent: bool = False

    # Two rows with the same prompt must not share one sampled reply.
    shares_replies: ClassVar[bool] = False

    def make(self, row: Row) -> Product | Iterable[Product] | Asking | None:
        """Return records (as they are, or as `Made`), drops, failures, or `row` itself.

        The row passes if it is returned unchanged, is used if anything else is made of it, and is
        dropped if nothing is.
        """
        raise NotImplementedError

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str] | None:
        """Return the record kinds that leave, given those that the step sees; `None`: unknown."""
        return None

    def make_many(self, chunk: Chunk) -> list[list[Product]] | None:
        """Return what `make` would for every row of a large chunk; `None`: not vectorised.

        An empty inner list stands for a row that passes unchanged, so that untouched rows cost
        nothing; a drop of the parent is a `Drop`.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class Whole(Step):
    """Decide on the dataset as a whole, through one small sketch per row."""

    shares_replies: ClassVar[bool] = True

    def sketch_types(self) -> dict[str, str]:
        """Return the columns of a sketch and their Arrow types (`float64`, `list<uint64>` ...).

        In a column of the type `embedding` a sketch gives a text, and `decide` finds the vector
        that the step's `encoder` makes of it: float32, a line of zeros for an empty text or `None`.
        """
        raise NotImplementedError

    def embeds(self) -> bool:
        """Return whether a column of the sketch holds texts that become vectors."""
        return EMBEDDING in self.sketch_types().values()

    def compares_with(self) -> str | None:
        """Return the dataset (its `against`) whose rows are sketched, too, for `decide`.

        Their sketches then follow those of the step's own rows, which `positions` counts, and
        a column `origin` names file and record of each.
        """
        against = getattr(self, "against", None)
        return against if isinstance(against, str) else None

    def sketch(self, row: Row) -> dict[str, Any] | Asking:
        """Return one row's sketch, a value per column of `sketch_types`."""
        raise NotImplementedError

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        """Return the sketches of a large chunk, equal to `sketch`; `None`: not vectorised."""
        return None

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Return verdicts on all rows, in source order; rows whose sketch failed are absent.

        `positions`: int64, the rows' places in the step's input; `sketches`: a table with one row
        for each of them (`curate.chunk.vectors` reads a column of embeddings as a matrix).
        """
        raise NotImplementedError

    def decide_with(self, positions: np.ndarray, sketches: pa.Table, memo: Memo) -> Verdicts:
        """Return what `decide` does; what serves further decisions, too, may be kept in `memo`."""
        return self.decide(positions, sketches)

    def decide_by_part(self, parts: Readers, others: Readers) -> Verdicts | None:
        """Return what `decide` does, reading sketches part by part; `None`: memory holds them."""
        return None

    def sampled(self, part: float) -> Whole | None:
        """Return the step that does to a `part` of the rows what this one does to all of them.

        It is for estimates. `None`: what happens to a part says nothing of what happens to all.
        """
        return None

    def decider(self) -> Decider | None:
        """Return what decides on rows as they come, or `None`: only the whole dataset tells.

        It is for rules under which a row's fate depends on rows before it alone. Such a step waits
        for nothing and holds no rows back; its verdicts must be those of `decide`.
        """
        return None


@dataclass(frozen=True, kw_only=True)
class Gather(Step):
    """Make rows from each group of rows that share a key.

    With a `group_size`, groups need not be whole: as many rows of one key as come next are one
    group (the last one may be smaller), which is made while later rows are still on their way.
    """

    keep_parent: bool = False
    group_size: int | None = None

    shares_replies: ClassVar[bool] = False

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str] | None:
        """Return the record kinds that leave, given those that the step sees; `None`: unknown."""
        return None

    def expects(self, row: Row) -> int | None:
        """Return how many rows the group of `row` must have; `None`: any number.

        A group of another size (a member failed, or is missing) fails, and `make` is not called.
        """
        return None

    def key(self, row: Row) -> str:
        """Return the key of the row's group."""
        raise NotImplementedError

    def make(self, rows: Sequence[Row]) -> Product | Iterable[Product] | Asking | None:
        """Return what is made of a group, which is given in source order.

        A member that no made row names as parent is dropped, unless `keep_parent`; `Drop(reason,
        row=ID)` says why one member is, and a drop without `row` and `record` why they all are.
        """
        raise NotImplementedError


class Pool(Protocol):
    """The memory of a `Grow` step: it decides, one candidate after the other, what is new."""

    def accept(self, record: Record, row_id: str) -> Drop | Scored | None:
        """Join `record` to the pool under `row_id`, or say why not.

        `Scored` joins it with a score and the evidence for it.
        """
        ...

    def sample(self, random: random.Random) -> Sequence[Row]:
        """Return the rows that one request shows the model, from the pool as it stands."""
        ...


@dataclass(frozen=True, kw_only=True)
class Grow(Step):
    """Grow a pool in rounds of sample, generate, accept, until a target or a budget.

    The rows that flow in are the starting pool and pass on (`keep_pool`), or become *used*.
    `round_size` requests make a round; a round samples from the pool at its start and accepts in
    the order asked. `patience` rounds in a row without one accepted row mean that the model only
    repeats itself.
    """

    round_size: int = 8
    keep_pool: bool = True
    target: int | None = rule(100)
    budget: int | None = rule(None)
    patience: int = rule(3)

    shares_replies: ClassVar[bool] = False

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str] | None:
        """Return the record kinds that leave, given those that the step sees; `None`: unknown."""
        return None

    def pool(self, rows: Sequence[Row]) -> Pool:
        """Return the pool at its start, made of the rows that flow in."""
        raise NotImplementedError

    def brings(self) -> int:
        """Return how many rows a request asks for: an estimate before the first round needs it."""
        return 1

    def propose(self, sample: Sequence[Row], random: random.Random) -> Iterable[Product] | Asking:
        """Return the candidates of one request: records, `Made`, refused or `Failed` ones."""
        raise NotImplementedError
