"""Models of other distributions: an adapter that answers requests in batches of its own size.

A distribution names a prefix and a class in the entry point group `curate.models`. The class is
made with the name behind the prefix and the options of the model's mapping, in a thread of its own,
with the first request; what waits together then comes to it together, so that a scorer on torch
runs at the speed of its batches, however many rows there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol

from curate.ask import Reply, Request
from curate.errors import PermanentFault, RecipeError
from curate.models.inprocess.worker import Backend, Waiting, Worker
from curate.models.model import ModelInfo, ModelSpec, Price

FORMS = ("ask", "choose", "embed", "likelihood", "turn_likelihood", "reward")
BATCH_SIZE = 32
# Requests that may wait: enough to fill a batch while another is computed.
BATCHES_WAITING = 4


class ModelAdapter(Protocol):
    """What an entry point of `curate.models` names: a class of this form.

    `forms` are the forms of request that it answers; `options` those of the mapping that it takes;
    `version` and the options are part of the identity of its replies. `batch_size` is the most
    requests that it is given at once. One that computes here, and asks no server, can say on how
    many GPUs, as `gpus` (0: on none): then nodes of a cluster can have it.
    """

    forms: ClassVar[tuple[str, ...]]
    options: ClassVar[tuple[str, ...]]
    version: ClassVar[str]
    batch_size: ClassVar[int]

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Load the model."""
        ...

    def answer(self, requests: Sequence[Request]) -> Sequence[Reply | Exception]:
        """Return a reply for each request, all of one form, or what is wrong with that request."""
        ...


class AdapterProvider:
    """The provider of an adapter's prefix."""

    def __init__(self, prefix: str, adapter: type[ModelAdapter]) -> None:
        """Refuse a class that does not say which requests it answers."""
        forms = tuple(getattr(adapter, "forms", ()))
        if not forms or set(forms) - set(FORMS) or not callable(getattr(adapter, "answer", None)):
            raise TypeError(
                f"a model adapter has a method 'answer' and 'forms', some of {', '.join(FORMS)}; "
                f"{adapter!r} has {forms or 'none'}"
            )
        self._prefix, self._adapter, self._forms = prefix, adapter, forms
        self.OPTIONS: tuple[str, ...] = (*getattr(adapter, "options", ()), "batch_size")
        gpus = getattr(adapter, "gpus", None)
        if not (gpus is None or (isinstance(gpus, int) and gpus >= 0)):
            raise TypeError(f"'gpus' of {adapter!r} is {gpus!r}; it must be a whole number")
        self.IN_PROCESS, self._gpus = gpus is not None, gpus or 0

    def describe(self, spec: ModelSpec, folder: Path) -> ModelInfo:
        """Return what is known of the model; its version and options are part of its identity."""
        identity, size = spec.identity, self._batch_size(spec)
        if identity == f"{self._prefix}:{spec.name}":
            own = {name: value for name, value in spec.options.items() if name != "batch_size"}
            told = [f"{name}={value}" for name, value in sorted(own.items())]
            identity = " ".join([identity, str(getattr(self._adapter, "version", "1")), *told])
        return ModelInfo(
            identity=identity,
            forms=self._forms,
            defaults=spec.defaults,
            price=spec.price or Price(0.0, 0.0),
            max_concurrency=spec.max_concurrency or BATCHES_WAITING * size,
            retry_delay=0.1,
            embed_texts=size,
            gpus=self._gpus,
        )

    def open_spec(self, spec: ModelSpec, folder: Path) -> AdapterModel:
        """Return the model; nothing is loaded yet."""

        def load() -> Backend:
            return _Batches(self._adapter(spec.name, spec.options))

        return AdapterModel(self.describe(spec, folder), self._batch_size(spec), load)

    def _batch_size(self, spec: ModelSpec) -> int:
        size = spec.options.get("batch_size", getattr(self._adapter, "batch_size", BATCH_SIZE))
        if isinstance(size, bool) or not isinstance(size, int) or size < 1:
            raise RecipeError(f"'batch_size' is {size!r}; it must be a whole number from 1 on")
        return size


class AdapterModel:
    """A model of an adapter; it computes in a thread of its own."""

    def __init__(self, info: ModelInfo, batch_size: int, load: Any) -> None:
        self.info = info
        self._worker = Worker(load, batch_size, info.identity)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply that the adapter gave in one of its batches."""
        return await self._worker.answer(request, key, attempt)

    async def close(self) -> None:
        """End the thread."""
        await self._worker.close()


class _Batches:
    """An adapter as the worker drives it."""

    def __init__(self, adapter: ModelAdapter) -> None:
        self._adapter = adapter

    def measure(self, waiting: Waiting) -> None:
        """Size a request by its text, so that requests of one length are computed together."""
        waiting.size = len(str(waiting.request))

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle every request of the batch."""
        replies = self._adapter.answer([one.request for one in batch])
        if len(replies) != len(batch):
            raise PermanentFault(f"the model gave {len(replies)} replies to {len(batch)} requests")
        for one, reply in zip(batch, replies, strict=True):
            one.settle(reply)
