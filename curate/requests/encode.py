"""Find the vectors of many texts at once: looked up together, what is missing asked in batches.

A step that sees the dataset through vectors needs one for each of a million rows. Asked row by row
each would cost a generator, a key over JSON and a lookup of its own; here a thousand texts share a
statement, and as many texts as the encoder takes at once share a request, sorted by length so that
a batch pads little.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from curate.ask import Embed
from curate.errors import PermanentFault
from curate.models.model import ModelInfo
from curate.requests.resolve import Resolver
from curate.requests.session import Outcome, RequestCounts, RowTask
from curate.step import Asking
from curate.store.store import Store
from curate.store.vectors import MISSING


class Found(NamedTuple):
    """The places of vectors in the store, and the errors of texts that have none."""

    places: np.ndarray
    errors: dict[int, Exception]


class Encoder:
    """Find vectors for a driver, whose `run` carries out what must be asked."""

    def __init__(
        self,
        store: Store,
        resolver: Resolver,
        counts: RequestCounts,
        run: Callable[[Sequence[RowTask]], list[Outcome]],
    ) -> None:
        self._store, self._resolver, self._counts, self._run = store, resolver, counts, run
        # One look for many vectors after the other, so that a text in two of them is asked once.
        self._lock = threading.Lock()

    def find(self, name: str | None, texts: Sequence[str], step: str = "") -> Found:
        """Return where the vector of each text is, once the encoder called `name` has made it.

        A text that the encoder refuses has an error, and takes no other text with it.
        """
        asked, vectors = self._resolver.resolve_texts(name, texts), self._store.vectors
        keys = asked.keys
        places, errors = vectors.find(keys), dict[int, Exception]()
        if missing := np.flatnonzero(places <= MISSING).tolist():
            self._counts.texts += len(missing)
            with self._lock:
                places[missing] = vectors.find([keys[number] for number in missing])
                self._counts.encoded += int((places[missing] > MISSING).sum())
                errors = self._ask_for(name, asked.info, texts, places, step)
                places[missing] = vectors.find([keys[number] for number in missing])
        failed = {number: e for number, e in errors.items() if places[number] <= MISSING}
        return Found(places, failed)

    def _ask_for(
        self,
        name: str | None,
        info: ModelInfo,
        texts: Sequence[str],
        places: np.ndarray,
        step: str,
    ) -> dict[int, Exception]:
        """Ask for what has no place, in batches; return errors by the number of the text."""

        def ask(part: tuple[str, ...]) -> Asking:
            yield Embed(texts=part, model=name)
            self._counts.encoded += len(part)

        errors: dict[int, Exception] = {}
        # As many texts a request as the encoder takes; the longest first: if memory runs out, it
        # does so at once.
        missing = np.flatnonzero(places == MISSING).tolist()
        batches: list[list[int]] = []
        held = 0
        for number in sorted(missing, key=lambda number: -len(texts[number])):
            held += len(texts[number])
            full = batches and len(batches[-1]) == info.embed_texts
            if not batches or full or held > info.embed_characters:
                batches.append([])
                held = len(texts[number])
            batches[-1].append(number)
        batches += [[number] for number in np.flatnonzero(places < MISSING).tolist()]
        while batches:
            work = [tuple(texts[number] for number in batch) for batch in batches]
            tasks = [RowTask(functools.partial(ask, part), step=step) for part in work]
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
