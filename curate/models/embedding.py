"""`Embed` in this process: the texts of requests that wait together are encoded together."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from curate.ask import Embed, Reply
from curate.encoders.embedded import NAME, embedded_encoder
from curate.encoders.sentence import SentenceEncoder
from curate.errors import MissingExtra, StoppedShort
from curate.models.transformer import default_dtype, device_of, prepare_torch
from curate.models.worker import Waiting

BATCH_TEXTS = 32


class Embedding:
    """A sentence-transformers model behind requests."""

    def __init__(self, where: str, options: Mapping[str, Any]) -> None:
        """Load the model; the default encoder comes from its package."""
        prepare_torch(options)
        if where == NAME and "revision" not in options:
            with contextlib.suppress(MissingExtra):  # Then the hub, or its cache, has to have it.
                where = str(embedded_encoder())
        try:
            self._encoder = SentenceEncoder(
                where,
                device=device_of(options),
                dtype=getattr(torch, options.get("dtype", default_dtype(options))),
                revision=options.get("revision"),
                batch_size=int(options.get("batch_size", BATCH_TEXTS)),
            )
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            raise StoppedShort(f"{where} cannot be loaded as an encoder: {said}") from None

    def measure(self, waiting: Waiting) -> None:
        """Size a request by its longest text."""
        assert isinstance(waiting.request, Embed)
        waiting.size = max(map(len, waiting.request.texts), default=0)

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch."""
        texts = [text for one in batch for text in _texts(one)]
        vectors = iter(self._encoder.encode(texts) if texts else [])
        for one in batch:
            values = tuple(next(vectors) for _ in _texts(one))
            tokens = sum(map(self._encoder.count, _texts(one)))
            one.settle(Reply(values=values, input_tokens=tokens))


def _texts(one: Waiting) -> tuple[str, ...]:
    assert isinstance(one.request, Embed)
    return one.request.texts
