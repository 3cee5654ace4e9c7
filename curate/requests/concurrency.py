"""How many attempts a model takes at once: more while it answers, fewer when it is overloaded.

A limiter opens by time, not by replies: from 1 to its full limit takes `RECOVERY_SECONDS` of
answers, whether one takes 50 ms or 5 s. It is cut at most once for the attempts of one moment: a
burst of refusals that were all sent before the first one came back is one piece of news. How far
depends on the share of attempts that fail, as in DCTCP (Alizadeh et al. 2010, section 3.1): by half
when all do, hardly when one in fifty does. Always by half, a server of 50 ms with one error in two
hundred would be left at 14 places of 64; so it keeps 58.

When nothing but faults comes back the breaker pauses, lets a single attempt through, and pauses
longer each time that one fails too; a server that stays away ends the run, not its rows.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from curate.errors import PermanentFault, StoppedShort, TemporaryFault

if TYPE_CHECKING:
    from curate.requests.rate_limit import Rate
    from curate.requests.session import InFlight

RECOVERY_SECONDS = 5.0
# A pause in the answers must not count as time in which the server has shown what it can do.
LONGEST_STEP_SECONDS = 0.5
# An attempt's weight in the share of those that fail: a burst of 64 refusals makes it 0.87. DCTCP's
# own 1/16 is for windows; single attempts would let one error in fifty cut as deep as ten.
WEIGHT = 1 / 32
OVERLOAD = ("rate_limit", "server", "timeout", "connect", "connection")
# So many requests without one answer between them, over so long: of a server that refuses 70 % one
# run in 100,000 is as long, and a single burst at full concurrency is none. Tries of one request
# count once: a few that never get an answer are rows that fail, not a server that is away.
BREAK_AFTER, BREAK_SECONDS = 32, 2.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 5.0, 60.0
GIVE_UP_AFTER = 6
# So many requests, the first that were sent, refused alike: then every request would be.
FIRST_REFUSED = 16

_log = logging.getLogger(__name__)


class AdaptiveLimiter:
    """The concurrency of one model, its queue of requests, and the attempts that are ready.

    An attempt is `begun` when its reservation is on the way to the store, and takes a place only
    then: some are made ready ahead, so that no place is empty while a commit is flushed.
    """

    def __init__(
        self,
        limit: int,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
        rate: Rate | None = None,
    ) -> None:
        """Begin fully open; `name` is what the user calls the model, `rate` what it may be sent."""
        self.limit, self.name = limit, name
        self.busy = self.begun = 0
        self.queue: deque[InFlight] = deque()
        self.rate = rate
        self._ready: deque[tuple[asyncio.Future[bool], int]] = deque()
        self.allowed = float(limit)
        self.shut_until = 0.0
        self._clock = clock
        self._grown = self._cut = clock()
        self._answered = self._cut
        # Nothing is known at first: the first refusals halve.
        self._share = 1.0
        self._failing: set[object] = set()
        self._pauses = 0
        # Whether the model has ever answered; until then, how the first requests were refused.
        self.trusted = False
        self._first: dict[str, str | None] = {}

    @property
    def places(self) -> int:
        """How many attempts the server is given at once at present."""
        return max(1, int(self.allowed))

    @property
    def open(self) -> bool:
        """Whether another attempt may be made ready now."""
        ahead = max(1, self.places // 2)
        if self.rate is not None and len(self._ready) >= min(ahead, self.rate.ahead):
            return False
        return self.begun < self.places + ahead and self._pause() <= 0

    @property
    def admits(self) -> bool:
        """Whether an attempt that is ready may be sent now."""
        return self.busy < self.places and self.wait() <= 0

    @property
    def waiting(self) -> bool:
        """Whether something would be sent if it might."""
        return bool(self.queue or self._ready)

    async def enter(self, tokens: int = 0) -> bool:
        """Wait for a place and take it; `False` when the limiter was shut for good meanwhile.

        `tokens` is about how many the attempt will use.
        """
        ready: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._ready.append((ready, tokens))
        self.admit()
        return await ready

    def leave(self) -> None:
        """Give the place back, to the next attempt that is ready."""
        self.busy -= 1
        self.admit()

    def admit(self) -> None:
        """Let attempts that are ready take the places there are."""
        while self._ready and self.admits:
            ready, tokens = self._ready.popleft()
            self.busy += 1
            if self.rate is not None:
                self.rate.take(tokens)
            ready.set_result(True)

    def shut(self) -> None:
        """Send away the attempts that are ready."""
        while self._ready:
            self._ready.popleft()[0].set_result(False)

    def wait(self) -> float:
        """Return the seconds until the breaker and the rate let an attempt through."""
        pause = self._pause()
        if self.rate is None or not self._ready:
            return pause
        return max(pause, self.rate.wait(self._ready[0][1]))

    def _pause(self) -> float:
        return self.shut_until - self._clock()

    def began(self, key: str | None = None) -> float:
        """Note the request that is sent now; return the time, which `failed` wants to know."""
        if key is not None and not self.trusted and len(self._first) < FIRST_REFUSED:
            self._first.setdefault(key, None)
        return self._clock()

    def answered(self) -> None:
        """Note an answer: the breaker closes, and the limit rises with the time gone by."""
        now = self._clock()
        if self._pauses:
            _log.warning("%s answers again", self.name)
        self._failing.clear()
        self._pauses, self.trusted = 0, True
        self._share -= self._share * WEIGHT
        self.shut_until, self._answered = 0.0, now
        step = min(now - self._grown, LONGEST_STEP_SECONDS)
        self._grown = now
        self.allowed = min(float(self.limit), self.allowed + self.limit * step / RECOVERY_SECONDS)

    def failed(self, fault: Exception, began: float, key: str | None = None) -> StoppedShort | None:
        """Note a fault of an attempt sent at `began`; return what ends the run, if it is that.

        `key` is the request's; without one, every attempt counts as a request of its own.
        """
        if not isinstance(fault, TemporaryFault):
            self._failing.clear()  # It answers, if only with a refusal of this one request.
            return shut_out(fault) or self._refused_from_the_first(fault, key)
        now = self._clock()
        if fault.cause in OVERLOAD:
            self._share += (1.0 - self._share) * WEIGHT
            if began >= self._cut:
                used = min(self.allowed, max(self.busy, 1))
                self.allowed = max(1.0, used * (1.0 - self._share / 2))
                self._cut = self._grown = now
        if not self._failing:
            self._answered = max(self._answered, began)
        self._failing.add(object() if key is None else key)
        long = len(self._failing) >= BREAK_AFTER and now - self._answered >= BREAK_SECONDS
        if not (long or self._pauses) or self._pause() > 0:
            return None
        if self._pauses >= GIVE_UP_AFTER:
            return StoppedShort(
                f"model '{self.name}' has not answered {len(self._failing)} requests in a row; "
                f"the last fault: {fault}. Nothing that was answered is lost: run the same command "
                "again when the server is back"
            )
        pause = min(FIRST_PAUSE_SECONDS * 2**self._pauses, LONGEST_PAUSE_SECONDS)
        pause = max(pause, min(fault.retry_after or 0.0, LONGEST_PAUSE_SECONDS))
        self._pauses += 1
        self.allowed, self.shut_until = 1.0, now + pause
        _log.warning(
            "%s failed %d times in a row (%s): pausing for %.0f s",
            self.name, len(self._failing), fault, pause,
        )  # fmt: skip
        return None

    def _refused_from_the_first(self, fault: Exception, key: str | None) -> StoppedShort | None:
        """Return what ends a run whose first requests were all refused in the same words.

        Numbers may differ. Only what was sent first counts: among later requests the quick answers
        are the refusals, while good ones are still under way.
        """
        if self.trusted or key not in self._first:
            return None
        self._first[key] = re.sub(r"\d+", "#", str(fault))
        if len(self._first) < FIRST_REFUSED or len(set(self._first.values())) > 1:
            return None
        return StoppedShort(
            f"model '{self.name}' refused the first {FIRST_REFUSED} requests alike, and answered "
            f"none: {fault}. If the cause is the model or its settings, fix them; if it is "
            "those rows, filter them first. Then run the same command again"
        )


def shut_out(fault: Exception) -> StoppedShort | None:
    """Return what ends a run whose model refuses everyone, if it does: no row is to blame."""
    if not isinstance(fault, PermanentFault) or not fault.for_all:
        return None
    return StoppedShort(
        f"{fault}. Nothing that was answered is lost: run the same command again when that is fixed"
    )
