"""Find the vectors of many texts at once: looked up together, what is missing asked in batches.

A step that sees the dataset through vectors needs one for each of a million rows. Asked row by row
each would cost a generator, a key over JSON and a lookup of its own; here a thousand texts share a
statement, and as many texts as the encoder takes at once share a request, sorted by length so that
a batch pads little.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curate.ask import Embed
from curate.errors import PermanentFault
from curate.models.model import Model, identity_for, with_defaults
from curate.requests.inflight import RequestCounts
from curate.requests.scheduler import model_named
from curate.requests.session import Outcome, RowTask
from curate.step import Asking
from curate.store.store import Store
from curate.store.vectors import MISSING, vector_keys


class Found(NamedTuple):
    """The places of vectors in the store, and the errors of texts that have none."""

    places: np.ndarray
    errors: dict[int, Exception]


class Encoder:
    """Find vectors for a driver, whose `run` carries out what must be asked."""

    def __init__(
        self,
        store: Store,
        models: Mapping[str, Model],
        counts: RequestCounts,
        run: Callable[[Sequence[RowTask]], list[Outcome]],
    ) -> None:
        self._store, self._models, self._counts, self._run = store, models, counts, run
        # One look for many vectors after the other, so that a text in two of them is asked once.
        self._lock = threading.Lock()

    def find(self, name: str | None, texts: Sequence[str]) -> Found:
        """Return where the vector of each text is, once the encoder called `name` has made it.

        A text that the encoder refuses has an error, and takes no other text with it.
        """
        model = model_named(self._models, name)
        asked = with_defaults(Embed(texts=tuple(texts)), model.defaults)
        assert isinstance(asked, Embed)
        keys = vector_keys(identity_for(model, asked), asked.texts)
        vectors = self._store.vectors
        places, errors = vectors.find(keys), dict[int, Exception]()
        if missing := np.flatnonzero(places <= MISSING).tolist():
            self._counts.texts += len(missing)
            with self._lock:
                places[missing] = vectors.find([keys[number] for number in missing])
                self._counts.encoded += int((places[missing] > MISSING).sum())
                errors = self._ask_for(name, model, texts, places)
                places[missing] = vectors.find([keys[number] for number in missing])
        failed = {number: e for number, e in errors.items() if places[number] <= MISSING}
        return Found(places, failed)

    def _ask_for(
        self, name: str | None, model: Model, texts: Sequence[str], places: np.ndarray
    ) -> dict[int, Exception]:
        """Ask for what has no place, in batches; return errors by the number of the text."""
        errors: dict[int, Exception] = {}
        missing = np.flatnonzero(places == MISSING).tolist()
        # The longest first: if memory runs out, it does so at once.
        missing.sort(key=lambda number: -len(texts[number]))
        batches = list(_cut(missing, texts, model))
        batches += [[number] for number in np.flatnonzero(places < MISSING).tolist()]
        while batches:
            work = [tuple(texts[number] for number in batch) for batch in batches]
            tasks = [RowTask(functools.partial(_ask, part, name, self._counts)) for part in work]
            halves: list[list[int]] = []
            for batch, outcome in zip(batches, self._run(tasks), strict=True):
                if isinstance(outcome.error, PermanentFault) and len(batch) > 1:
                    # One of them cannot be encoded; the others are asked for without it.
                    half = len(batch) // 2
                    halves += [batch[:half], batch[half:]]
                elif outcome.error is not None:
                    errors.update(dict.fromkeys(batch, outcome.error))
            batches = halves
        return errors


def _cut(numbers: Sequence[int], texts: Sequence[str], model: Model) -> Iterator[list[int]]:
    """Yield the texts of each request, as many as `model` takes at once."""
    most = getattr(model, "embed_texts", 1)
    longest = getattr(model, "embed_characters", sys.maxsize)
    batch: list[int] = []
    held = 0
    for number in numbers:
        held += len(texts[number])
        if batch and (len(batch) == most or held > longest):
            yield batch
            batch, held = [], len(texts[number])
        batch.append(number)
    if batch:
        yield batch


def _ask(texts: tuple[str, ...], model: str | None, counts: RequestCounts) -> Asking:
    yield Embed(texts=texts, model=model)
    counts.encoded += len(texts)
