"""`Embed` in this process: the texts of requests that wait together are encoded together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from curate.ask import Embed, Reply
from curate.encoders.embedded import NAME, embedded_or
from curate.encoders.precision import native_dtype
from curate.encoders.sentence import SentenceEncoder
from curate.errors import StoppedShort
from curate.models.inprocess.transformer import device_of, prepare_torch
from curate.models.inprocess.worker import Waiting
from curate.system.package_data import install_command

# So many texts are encoded between two replies: what a killed process may lose.
CPU_TEXTS, GPU_TEXTS = 256, 2_048


class Embedding:
    """A sentence-transformers model behind requests."""

    def __init__(self, where: str, options: Mapping[str, Any]) -> None:
        """Load the model; the default encoder comes from its package."""
        prepare_torch(options)
        device = device_of(options)
        self._most = GPU_TEXTS if device.startswith("cuda") else CPU_TEXTS
        try:
            self._encoder = SentenceEncoder(
                embedded_or(where, options.get("revision")),
                device=device,
                dtype=getattr(torch, options.get("dtype", native_dtype(options.get("device")))),
                revision=options.get("revision"),
                max_length=options.get("max_length"),
                prompted=not options.get("prefix"),
            )
        except (OSError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            text = f"{where} cannot be loaded as an encoder: {said}"
            if where == NAME:
                text += "; it also comes as a package, for use without a network: "
                text += install_command("local")
            raise StoppedShort(text) from None

    def measure(self, waiting: Waiting) -> None:
        """Size a request by its longest text."""
        assert isinstance(waiting.request, Embed)
        waiting.size = max(map(len, waiting.request.texts), default=0)

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch, some requests after the other."""
        some: list[Waiting] = []
        held = 0
        for one in batch:
            if some and held + len(_texts(one)) > self._most:
                self._settle(some)
                some, held = [], 0
            some.append(one)
            held += len(_texts(one))
        self._settle(some)

    def _settle(self, batch: Sequence[Waiting]) -> None:
        """Encode the texts of some requests together."""
        some = [one for one in batch if not one.given_up]
        texts = [text for one in some for text in _texts(one)]
        if not texts:
            for one in some:
                one.settle(Reply())
            return
        found = self._encoder.encode(texts, lambda: not all(one.given_up for one in some))
        vectors, cut, start = found.vectors.tolist(), set(found.cut), 0
        for one in some:
            end = start + len(_texts(one))
            one.settle(
                Reply(
                    values=tuple(vectors[start:end]),
                    cut=tuple(n - start for n in range(start, end) if n in cut),
                    read=tuple((n - start, read) for n, read in found.read if start <= n < end),
                    input_tokens=sum(found.tokens[start:end]),
                )
            )
            start = end


def _texts(one: Waiting) -> tuple[str, ...]:
    assert isinstance(one.request, Embed)
    return one.request.texts
