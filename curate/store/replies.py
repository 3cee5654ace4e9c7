"""Where a reply is kept: vectors as lines of mapped files, everything else as JSON in SQLite.

A vector belongs to its text, not to the request that asked for it: requests for several texts at
once are answered when the store has each of them, whoever asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from curate.ask import Embed, Reply, Request
from curate.store.store import (
    Paid,
    Store,
    StoredReply,
    find_replies,
    save_replies,
)
from curate.store.vectors import MISSING, EncodedVectors, is_cut, vector_keys

# The finish reason of an `Embed` for which something came that is no vector.
NO_VECTOR = "no vector"
# A vector is never asked for again; what was none has the number of its attempt.
_FOR_GOOD = 1 << 30


class Wanted(NamedTuple):
    """A request whose reply is looked for: of which model, and from which attempt on."""

    request: Request
    model: str
    least: int = 0


def find(
    store: Store, wanted: Mapping[str, Wanted], connection: sqlite3.Connection | None = None
) -> dict[str, StoredReply]:
    """Return the newest reply to each request, by key; inside a transaction where one is given."""
    texts = {key: one for key, one in wanted.items() if not isinstance(one.request, Embed)}
    if connection is None:
        found = store.get_many(texts)
        found = {key: one for key, one in found.items() if one.attempt >= texts[key].least}
    else:
        found = find_replies(connection, {key: one.least for key, one in texts.items()})
    for key, one in wanted.items():
        if isinstance(one.request, Embed):
            places = store.vectors.find(vector_keys(one.model, one.request.texts), connection)
            reply = _reply(store, places, key, connection) if (places != MISSING).all() else None
            if reply is not None and reply.attempt >= one.least:
                found[key] = reply
    return found


def save(store: Store, connection: sqlite3.Connection, paid: Sequence[Paid]) -> list[StoredReply]:
    """Store replies inside a transaction; where another process was first, return its reply."""
    texts = [one for one in paid if not isinstance(one.request, Embed)]
    stored = dict(zip((one.key for one in texts), save_replies(connection, texts), strict=True))
    for one in paid:
        if isinstance(one.request, Embed):
            reply = one.reply
            cut = [number in reply.cut for number in range(len(one.request.texts))]
            encoded = EncodedVectors(
                vector_keys(one.model, one.request.texts),
                reply.values,
                cut,
                one.attempt,
                dict(reply.read),
            )
            places = store.vectors.save(connection, one.model, encoded)
            found = _reply(store, places, one.key, connection)
            counted = {"input_tokens": reply.input_tokens, "output_tokens": reply.output_tokens}
            stored[one.key] = found._replace(reply=Reply(**{**vars(found.reply), **counted}))
    return [stored[one.key] for one in paid]


def _reply(
    store: Store, places: np.ndarray, key: str, connection: sqlite3.Connection | None = None
) -> StoredReply:
    """Return what was stored as steps see it: lists of floats, or none where one is no vector."""
    attempts = -1 - places[places < 0]
    if len(attempts):
        return StoredReply(int(attempts.min()), Reply(finish_reason=NO_VECTOR, key=key))
    lines, cut = store.vectors.read(places).tolist(), np.flatnonzero(is_cut(places)).tolist()
    read = enumerate(store.vectors.tokens_read(places, connection).tolist())
    partly = tuple((number, tokens) for number, tokens in read if tokens)
    return StoredReply(_FOR_GOOD, Reply(values=tuple(lines), cut=tuple(cut), read=partly, key=key))
