"""A thread of its own for a model in this process: requests that wait together are one batch.

The event loop never waits for a computation, and the model is only ever touched by one thread.
What is asked together is sorted by length, so that a batch pads little; which requests share a
batch depends on when they came, and so no answer may depend on it. The price: a request waits until
the batch before it is done.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from curate.ask import Reply, Request
from curate.errors import CurateError, PermanentFault, StoppedShort

# How long the first request of a batch waits for others: much less than a batch takes.
GATHER_SECONDS = 0.02
# A thread inside a computation sees that it must end at its next token; one that reads weights does
# not, and whoever pressed Ctrl-C does not wait for it.
CLOSE_SECONDS = 0.5
# How long a program that ends waits for such a thread. Python (before 3.14) ends it in the midst of
# C++ code, which aborts the process whatever its exit code was; so the command line does not end
# that way, and other programs wait.
EXIT_SECONDS = 30.0
# The threads of closed workers that had not ended by then.
_LEFT: list[threading.Thread] = []
# One model loads at a time: transformers is half imported for a second thread that imports it
# meanwhile.
_LOADING = threading.Lock()


@dataclass(eq=False)
class Waiting:
    """One request that waits, and whoever waits for it."""

    request: Request
    key: str
    attempt: int
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Reply]
    closed: threading.Event
    tokens: tuple[int, ...] = ()
    # How much there is to compute, and the places of the tokens whose likelihood is asked for.
    size: int = 0
    weighed: Sequence[int] = ()
    # The tokens that spell the options of a `Choose`, each beside its option.
    variants: Sequence[tuple[str, int]] = ()

    @property
    def given_up(self) -> bool:
        """Whether nobody wants the answer any longer: it is there, or the command was stopped."""
        return self.closed.is_set() or self.future.done()

    def settle(self, answer: Reply | Exception) -> None:
        """Hand over the reply or the error, from whichever thread."""

        def tell() -> None:
            if self.future.done():
                return
            if isinstance(answer, Exception):
                self.future.set_exception(answer)
            else:
                self.future.set_result(answer)

        # The loop may be gone: the command was interrupted while the model computed.
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(tell)


class Backend(Protocol):
    """What computes. All of it is called from the worker's thread."""

    def measure(self, waiting: Waiting) -> None:
        """Fill in the request's tokens and its size, or raise what is wrong with it."""
        ...

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle every request of the batch, all of one form."""
        ...


class Worker:
    """Load a back end with the first request, then answer until closed."""

    def __init__(self, load: Callable[[], Backend], batch_size: int, what: str) -> None:
        """Start nothing yet.

        Args:
            load: makes the back end; called once, in the thread.
            batch_size: the most requests computed together.
            what: the model's name, for messages.
        """
        self._load, self._what, self._batch_size = load, what, batch_size
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._backend: Backend | None = None
        self._broken: Exception | None = None

    async def answer(self, request: Request, key: str, attempt: int) -> Reply:
        """Return the reply, or raise what went wrong."""
        if self._thread is None:
            # A daemon: an interrupted command must not wait for weights that are being read.
            self._thread = threading.Thread(target=self._work, name=self._what, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        self._queue.put(Waiting(request, key, attempt, loop, future, self._closed))
        return await future

    async def close(self) -> bool:
        """End the thread; what it computes is given up at its next token.

        It returns whether the thread has ended.
        """
        self._closed.set()
        self._queue.put(None)
        if self._thread is None:
            return True
        await asyncio.to_thread(self._thread.join, CLOSE_SECONDS)
        if self._thread.is_alive():
            _LEFT.append(self._thread)
            return False
        return True

    # -- in the thread ----------------------------------------------------------------------------

    def _work(self) -> None:
        pending: list[Waiting] = []
        while not self._closed.is_set():
            pending = [*pending, *self._arrived(wait=not pending)]
            pending = [one for one in pending if not one.given_up]
            if not pending:
                continue
            # The one that has waited longest decides the form, and those of its form that are
            # nearest to it in size go with it.
            first = pending[0]
            alike = [one for one in pending if type(one.request) is type(first.request)]
            alike.sort(key=lambda one: abs(one.size - first.size))
            batch = alike[: self._batch_size]
            taken = set(map(id, batch))
            pending = [one for one in pending if id(one) not in taken]
            self._run(batch)

    def _arrived(self, wait: bool) -> list[Waiting]:
        """Return what has come, measured; `wait` for something to come."""
        found: list[Waiting] = []
        timeout = None if wait else 0.0
        while True:
            try:
                one = self._queue.get(timeout=timeout) if timeout != 0.0 else self._queue.get(False)
            except queue.Empty:
                return found
            if one is None:
                return found
            if not one.given_up:
                try:
                    self._loaded().measure(one)
                    found.append(one)
                except Exception as error:  # this request's own failure
                    one.settle(_as_model_error(error))
            timeout = GATHER_SECONDS if wait else 0.0

    def _run(self, batch: list[Waiting]) -> None:
        try:
            self._loaded().run(batch)
        except Exception as error:
            left = [one for one in batch if not one.given_up]
            if len(left) > 1 and is_memory(error):
                half = len(left) // 2
                self._batch_size = min(self._batch_size, half)
                self._run(left[:half])
                self._run(left[half:])
                return
            failure = _as_model_error(error)
            if is_memory(error):
                failure = PermanentFault(
                    f"{self._what} ran out of memory on a single request; lower max_tokens, use a "
                    "smaller model, or a device with more memory"
                )
            for one in left:
                one.settle(failure)

    def _loaded(self) -> Backend:
        if self._broken is not None:
            raise self._broken
        if self._backend is None:
            try:
                with _LOADING:
                    self._backend = self._load()
            except Exception as error:
                said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
                if is_memory(error):
                    said = "out of memory; use a smaller model, 'dtype: bfloat16' or another device"
                known = isinstance(error, CurateError)
                failure = StoppedShort(f"{self._what} cannot be loaded: {said}")
                self._broken = error if known else failure
                raise self._broken from None
        return self._backend


def still_computing() -> bool:
    """Tell whether a thread of a closed worker is still inside a computation, or reads weights."""
    return any(thread.is_alive() for thread in _LEFT)


@atexit.register
def _wait() -> None:
    for thread in _LEFT:
        thread.join(EXIT_SECONDS)


def is_memory(error: Exception) -> bool:
    """Tell whether `error` means that memory ran out, on a GPU or in this machine."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(
        sign in said for sign in ("outofmemory", "out of memory", "can't allocate memory")
    )


def _as_model_error(error: Exception) -> Exception:
    if isinstance(error, CurateError):
        return error
    said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return PermanentFault(f"the model could not compute a reply ({said})")
