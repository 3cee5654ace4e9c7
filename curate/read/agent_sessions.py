"""Group the events of coding agents by session: a file whose records are single events.

Claude Code, Codex and Pi write a line for each message, call and result of a session, as `datasets`
reads them, too. A session becomes one record with its events in order; what a subagent of Claude
Code does beside it (a sidechain) is a session of its own. A file mostly holds one session; several
come in the order of their first events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from curate.read.part import GROUP_BYTES, RAW_BYTES, Read
from curate.read.strict_json import check_depth

# What a record of a session holds.
EVENTS, SESSION = "events", "session_id"


class SessionKey(NamedTuple):
    """What tells sessions of a file apart."""

    id: str | None
    beside: str | None = None


def sessions_of(reads: Iterable[Read]) -> Iterator[Read]:
    """Yield a record for each session of the events `reads`; what is not an event comes as it is.

    A session that is larger than a line may be is an unreadable record.
    """
    sessions: dict[SessionKey, list[Read]] = {}
    sizes: dict[SessionKey, int] = {}
    own: str | None = None
    for read in reads:
        event = read.record
        if read.error is not None or not isinstance(event, Mapping):
            why = read.error or "an event must be an object"
            yield Read(None, why, read.raw, read.line)
            continue
        own = _session_id(event) or own
        beside = None
        if event.get("isSidechain") is True:
            agent = event.get("agentId")
            beside = agent if isinstance(agent, str) else "sidechain"
        key = SessionKey(own, beside)
        # Events before the first one that names its session belong to it.
        early = SessionKey(None, beside)
        if own is not None and early in sessions and key not in sessions:
            sessions[key], sizes[key] = sessions.pop(early), sizes.pop(early)
        held = sessions.setdefault(key, [])
        sizes[key] = sizes.get(key, 0) + read.size
        if sizes[key] <= GROUP_BYTES:
            held.append(read)
    for key, events in sessions.items():
        yield _session(key, events, sizes[key])


def _session(key: SessionKey, events: list[Read], size: int) -> Read:
    first = events[0] if events else Read(None, None, b"", 1)
    raw, line = first.raw[:RAW_BYTES], first.line
    if size > GROUP_BYTES:
        return Read(None, f"its session is larger than {GROUP_BYTES >> 20} MB", raw, line)
    record: dict[str, Any] = {SESSION: key.id, EVENTS: [read.record for read in events]}
    if key.beside is not None:
        record["sidechain"] = key.beside
    try:
        check_depth(record)
    except ValueError as error:
        return Read(None, f"the session is {error}", raw, line)
    return Read(record, None, raw, line, size)


def _session_id(event: Mapping[str, Any]) -> str | None:
    """Return the id of the session that an event names, in any of the agents' forms."""
    payload = event.get("payload")
    inner = payload.get("id") if isinstance(payload, Mapping) else None
    named = (
        event.get("sessionId"),
        event.get("session_id"),
        inner if event.get("type") == "session_meta" else None,
        event.get("id") if event.get("type") == "session" else None,
    )
    return next((one for one in named if isinstance(one, str) and one), None)
