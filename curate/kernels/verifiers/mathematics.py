"""Compare mathematical answers by value with the math-verify library.

Its time-outs are alarms, which only a main thread can set, and a comparison that broke down counts
as unequal. So it runs in a `KillablePool`, and what cannot be read or compared fails the row.
"""

from __future__ import annotations

from typing import Any

from curate.kernels.verifiers.answers import golds_in
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification, VerifyOptions
from curate.system.killable import JobKilled, killable_pool

POOL_FUNCTION = "curate.kernels.verifiers.expressions:compare"


def verify_math(reply: str, gold: Any, options: VerifyOptions) -> Verification:
    """Return whether a reply's expression equals one of the gold ones by value."""
    pool = killable_pool(POOL_FUNCTION, options.seconds, options.memory_mb)
    try:
        found = pool.call({"reply": reply, "golds": golds_in(gold)})
    except JobKilled as error:
        raise ValueError(f"the answers could not be compared: {error}") from None
    if "unreadable" in found:
        raise UnreadableAnswer(found["unreadable"], found["message"])
    return Verification(float(found["equal"]), {"found": found["found"], "gold": found["golds"]})
