"""Find the vectors of many texts at once: looked up together, what is missing asked in batches.

A step that sees the dataset through vectors needs one for each of a million rows. Asked row by row
each would cost a generator, a key over JSON and a lookup of its own; here a thousand texts share a
statement, and as many texts as the encoder takes at once share a request, sorted by length so that
a batch pads little.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from curate.ask import Embed
from curate.errors import PermanentFault
from curate.models.model import Model, identity_for, with_defaults
from curate.requests.scheduler import model_named
from curate.requests.session import RowTask
from curate.step import Asking
from curate.store.vectors import MISSING, vector_keys

if TYPE_CHECKING:
    from curate.requests.driver import Driver
    from curate.requests.sender import RequestCounts


class Found(NamedTuple):
    """The places of vectors in the store, its folder, and the errors of texts that have none."""

    places: np.ndarray
    folder: Path
    errors: dict[int, Exception]


def embed(driver: Driver, name: str | None, texts: Sequence[str]) -> Found:
    """Return where the vector of each text is, once the encoder called `name` has made it.

    A text that the encoder refuses has an error, and takes no other text with it.
    """
    model = model_named(driver.models, name)
    asked = with_defaults(Embed(texts=tuple(texts)), model.defaults)
    assert isinstance(asked, Embed)
    keys = vector_keys(identity_for(model, asked), asked.texts)
    vectors = driver.store.vectors
    places, errors = vectors.find(keys), dict[int, Exception]()
    if missing := np.flatnonzero(places <= MISSING).tolist():
        driver.counts.texts += len(missing)
        # One call after the other, so that a text in two of them is asked for once.
        with driver.embedding:
            places[missing] = vectors.find([keys[number] for number in missing])
            driver.counts.encoded += int((places[missing] > MISSING).sum())
            errors = _ask_for(driver, name, model, texts, places)
            places[missing] = vectors.find([keys[number] for number in missing])
    failed = {number: e for number, e in errors.items() if places[number] <= MISSING}
    return Found(places, driver.store.folder, failed)


def _ask_for(
    driver: Driver, name: str | None, model: Model, texts: Sequence[str], places: np.ndarray
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
        jobs = [RowTask(functools.partial(_ask, part, name, driver.counts)) for part in work]
        again: list[list[int]] = []
        for batch, outcome in zip(batches, driver.run(jobs), strict=True):
            if isinstance(outcome.error, PermanentFault) and len(batch) > 1:
                # One of them cannot be encoded; the others are asked for without it.
                half = len(batch) // 2
                again += [batch[:half], batch[half:]]
            elif outcome.error is not None:
                errors.update(dict.fromkeys(batch, outcome.error))
        batches = again
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
