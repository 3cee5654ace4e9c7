"""One step's work on one row, driven from wave to wave of its requests, and what is in flight.

A waiting generator can be released and entered again later: the step is started anew and gets the
same replies from the store, so it must ask the same requests. A step that does not (it read a
clock, a file, or a global random generator) would be resumed with the wrong replies; that is
noticed here, by comparing keys, and fails the row.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.ask import Reply, Request
from curate.errors import CurateError, UnusableReply
from curate.models.model import Model
from curate.store.replies import NO_VECTOR
from curate.store.store import DAMAGED, StoredReply


@dataclass(frozen=True)
class RowTask:
    """One row's work in one step.

    `start` returns a value, or a generator that yields requests or lists of them and returns the
    value; it may be called several times. `shares` says whether equal requests of other jobs may
    share a reply; those that may not are told apart by `salt`. `unusable` returns the keys of the
    replies that were of no use, given a value that came of the others. `step` is the label of the
    step that asks, whose spending what is sent counts as.
    """

    start: Callable[[], Any]
    salt: str = ""
    shares: bool = False
    unusable: Callable[[Any], Sequence[str]] | None = None
    step: str = ""


@dataclass(frozen=True)
class Outcome:
    """A job's value or its error, and the keys of the requests it asked, in order."""

    value: Any = None
    error: Exception | None = None
    keys: tuple[str, ...] = ()


class TaskSession:
    """How far one job has come.

    `keys` and `attempts` are its history: what it asked, and which attempt of each reply it was
    given. `position` is how much of that the open generator has seen. `wave` holds the keys it
    waits for, `missing` how many of them are under way, `received` and `faults` what came of them.
    """

    __slots__ = (
        "_payload",
        "_single",
        "attempts",
        "ended",
        "faults",
        "generator",
        "index",
        "job",
        "keys",
        "missing",
        "outcome",
        "position",
        "received",
        "wave",
    )

    def __init__(
        self, index: int, job: RowTask, ended: Callable[[int, Outcome], None] = lambda *_: None
    ) -> None:
        """Stand before the start of job number `index`; `ended` is told its outcome."""
        self.index, self.job, self.ended = index, job, ended
        self.generator: Generator[Any, Any, Any] | None = None
        self.keys: list[str] = []
        self.attempts: list[int] = []
        self.position, self.missing = 0, 0
        self.wave: tuple[str, ...] = ()
        self.received: dict[str, StoredReply] = {}
        self.faults: dict[str, Exception] = {}
        self.outcome: Outcome | None = None
        self._payload: Any = None
        self._single = False

    def resume(self) -> Sequence[Request] | None:
        """Run the step to its next wave; `None` means that it has ended, with `outcome` set."""
        try:
            if self.generator is None:
                try:
                    value = self.job.start()
                except StopIteration as error:
                    # As inside a generator (PEP 479): it must not pass for a returned value.
                    raise RuntimeError("the step raised StopIteration") from error
                if not inspect.isgenerator(value):
                    self._ended(value, None)
                    return None
                self.generator = value
            payload, self._payload = self._payload, None
            if isinstance(payload, Exception):
                yielded = self.generator.throw(payload)
            else:
                yielded = self.generator.send(payload)
        except StopIteration as stop:
            self._ended(stop.value, None)
            return None
        except Exception as error:
            self._ended(None, error)
            return None
        self._single = isinstance(yielded, Request)
        requests = [yielded] if self._single else yielded
        if isinstance(requests, list | tuple) and all(isinstance(r, Request) for r in requests):
            return requests
        self.fail(
            TypeError(
                f"the step yielded {type(yielded).__name__}; a step yields requests (Ask, Embed, "
                "Likelihood, TurnLikelihood, Reward) or lists of them, and returns everything else"
            )
        )
        return None

    def ask(self, keys: Sequence[str]) -> bool:
        """Note the wave that the step waits for; return whether it is new, not a repetition.

        A wave that contradicts the history fails the task.
        """
        end = self.position + len(keys)
        self.wave, self.received = tuple(keys), {}
        if self.position == len(self.keys):
            self.keys.extend(keys)
            return True
        if self.keys[self.position : end] != list(keys):
            self.fail(_changed())
        return False

    def answer(self, replies: Mapping[str, StoredReply]) -> None:
        """Take the replies to the whole wave; `resume` hands them to the step."""
        end = self.position + len(self.wave)
        attempts = [replies[key].attempt for key in self.wave]
        if self.attempts[self.position : end] != attempts:
            # New, or asked again meanwhile: then what followed the older reply may change as well.
            del self.keys[end:]
            self.attempts[self.position :] = attempts
        self.position = end
        given = [replies[key].reply for key in self.wave]
        self._payload = given[0] if self._single else given
        for reply in given:
            if reply.finish_reason == NO_VECTOR:
                self._payload = UnusableReply(
                    "the encoder gave a vector with values that are not finite: look at what it "
                    "makes of this text, then run again with --retry-failed",
                    key=reply.key,
                )
            elif reply.finish_reason == DAMAGED:
                self._payload = UnusableReply(
                    "the stored reply is damaged: its checksum is another one than when it was "
                    "stored. Check the disk; with --retry-failed it is asked, and paid, again",
                    key=reply.key,
                )

    def last_wave(self) -> dict[str, int]:
        """Return the attempt of each reply that the step was given last."""
        return dict(zip(self.wave, self.attempts[-len(self.wave) :], strict=False))

    def release(self) -> None:
        """Close the generator; the next `resume` starts the step anew, to be replayed."""
        self._close()
        self._payload, self.outcome = None, None
        self.position, self.received = 0, {}

    def fail(self, error: Exception) -> None:
        """End the job with an error that is not the step's own."""
        self._close()
        self.outcome = Outcome(error=error, keys=tuple(self.keys))

    def _close(self) -> None:
        if self.generator is not None:
            # How a step cleans up when it is closed early can have no say in its outcome: whether
            # it is closed depends on how many others are waiting.
            with contextlib.suppress(Exception):
                self.generator.close()
        self.generator = None

    def _ended(self, value: Any, error: Exception | None) -> None:
        self.generator = None
        if self.position < len(self.keys):
            value, error = None, _changed()
        self.outcome = Outcome(value, error, tuple(self.keys))


def _changed() -> CurateError:
    return CurateError(
        "the step asked other requests when it was started again with the same replies; a step "
        "must do the same each time: take chance from row.random(label), and read no clock, "
        "changing file or global state"
    )


@dataclass
class RequestCounts:
    """What this process has asked: `sent` counts attempts, `failed` requests that got no reply.

    `asking` jobs were given to the driver, `answered` of them are done. `busy` attempts are under
    way; `causes` counts those that brought no reply. Of `texts` that had no vector `encoded` have.
    `batches` are the batch jobs under way: how many requests of each are done, of how many.
    `replays` are the replayed ones by step.
    """

    sent: int = 0
    replayed: int = 0
    failed: int = 0
    retried: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    asking: int = 0
    answered: int = 0
    busy: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    texts: int = 0
    encoded: int = 0
    batches: dict[str, tuple[int, int]] = field(default_factory=dict)
    replays: dict[str, int] = field(default_factory=dict)

    def replay(self, step: str, count: int = 1) -> None:
        """Count requests of a step that something else than a new request answered."""
        self.replayed += count
        self.replays[step] = self.replays.get(step, 0) + count


class InFlight:
    """One request under way, sent for `step`.

    `waiters` are told once it is resolved: with a reply, or an error. `leased_pause` is how long it
    paused last because another process asked for it.
    """

    __slots__ = (
        "attempt",
        "bound",
        "error",
        "key",
        "leased_pause",
        "model",
        "reply",
        "request",
        "step",
        "tries",
        "waiters",
    )

    def __init__(
        self, key: str, attempt: int, request: Request, model: Model, bound: int, step: str = ""
    ) -> None:
        self.key, self.attempt, self.request = key, attempt, request
        self.model, self.bound, self.tries, self.step = model, bound, 0, step
        self.leased_pause = 0.0
        self.reply: Reply | None = None
        self.error: Exception | None = None
        self.waiters: list[Any] = []

    @property
    def identity(self) -> str:
        """The identity under which the reply is stored."""
        return self.model.info.identity_for(self.request)
