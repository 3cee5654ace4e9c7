"""Encode texts outside a run: through the store, so that what it has is not encoded again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from curate.ask import Embed
from curate.errors import CeilingReached, StoppedShort, UsageError
from curate.models.model import ModelInfo, with_defaults
from curate.system.copies import is_copy


class Ceilings(NamedTuple):
    """The most that may be spent and sent outside runs for the texts of one source, over all time.

    `tally` names the source; what was spent for it before counts.
    """

    tally: str
    max_cost: float | None = None
    max_requests: int | None = None


def encoder_identity(info: ModelInfo) -> str:
    """Return what decides a text's vector: the encoder, and what it puts before each text."""
    probe = with_defaults(Embed(texts=("",)), info.defaults)
    assert isinstance(probe, Embed)
    (prefix,) = probe.texts
    identity = info.identity_for(probe)
    return f"{identity} prefix={json.dumps(prefix)}" if prefix else identity


def encode_texts(
    texts: Sequence[str], encoder: Any, store: Path, ceilings: Ceilings
) -> tuple[np.ndarray, str]:
    """Return the vectors of texts, a row each, and the identity of the encoder.

    A text of white space has a row of zeros. `encoder` is as a recipe names one.

    Raises:
        StoppedShort: a text could not be encoded.
        CeilingReached: the next request could pass a ceiling.
        UsageError: what would be paid for would be lost, as the store is a copy.
    """
    from curate.models.model import open_model
    from curate.requests.driver import Driver
    from curate.store.budget import Budget
    from curate.store.files import used
    from curate.store.store import Store
    from curate.store.vectors import MISSING

    with ExitStack() as stack:
        opened = stack.enter_context(Store.open(store))
        stack.enter_context(used(opened.folder))
        model = open_model(encoder, name="encoder")
        # What is paid for must not go with the copy of a run; models of this process are free.
        price = model.info.price
        lost = is_copy(store) and (price is None or any(price))
        spending = Budget(
            opened,
            f"encode {ceilings.tally}",
            max_cost=ceilings.max_cost,
            max_requests=0 if lost else ceilings.max_requests,
        )
        driver = stack.enter_context(Driver(opened, {"encoder": model}, spending=spending))
        wanted = [number for number, text in enumerate(texts) if text.strip()]
        try:
            found = driver.embed("encoder", [texts[number] for number in wanted])
        except CeilingReached:
            if not lost or ceilings.max_requests == 0:
                raise
            raise UsageError(
                "the store of this run lacks vectors, and is a copy that goes with this process: "
                "what they cost would be lost; fetch the run and name that: "
                "curate export ADDRESS --as run -o RUN"
            ) from None
        if found.errors:
            number, error = min(found.errors.items())
            raise StoppedShort(
                f"{len(found.errors):,} of {len(texts):,} texts have no vector (text "
                f"{wanted[number] + 1}: {error}); fix them, or name another encoder"
            )
        places = np.full(len(texts), MISSING, np.int64)
        places[wanted] = found.places
        return opened.vectors.read(places), encoder_identity(model.info)
