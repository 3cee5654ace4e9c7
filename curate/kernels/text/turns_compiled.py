"""Find the problems of turns in columns: one compiled walk over the role of every turn.

Equal to `steps.filters.structure` row by row; ranked rows, and rows whose answers look equal, are
left to that definition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from curate.chunk import Chunk, rows_of, same_lists
from curate.kernels.text.counts_compiled import blank_kernel, character_flags, text_bytes
from curate.kernels.text.turns import ROLES, Problem
from curate.row import Message, Row

_USER, _ASSISTANT, _SYSTEM, _TOOL, _UNKNOWN, _START = 0, 1, 2, 3, 4, 5
_CODES = {"user": _USER, "assistant": _ASSISTANT, "system": _SYSTEM, "tool": _TOOL}
_ROLE_NAMES = pa.array(list(ROLES), pa.string())
_ROLE_CODES = np.array([*(_CODES[role] for role in ROLES.values()), _UNKNOWN], np.int8)

# Numba reads plain numbers; an enumeration's members cost it seconds of compilation.
_EMPTY_TURN, _NO_USER, _NO_ASSISTANT = 1, 2, 4
_LATE_SYSTEM, _STRAY_TOOL, _ASSISTANT_FIRST = 8, 16, 32
_REPEATED, _NO_ANSWER, _UNKNOWN_ROLE = 64, 128, 256


class Turns(NamedTuple):
    """A column of message lists: where each list begins, every turn's role code and emptiness."""

    starts: np.ndarray
    roles: np.ndarray
    blank: np.ndarray


def problems_of(chunk: Chunk, score: Callable[[Row], int]) -> np.ndarray:
    """Return the sum of problem codes of every row as float64."""
    if len(chunk.kinds) == 1:
        return _of_kind(chunk, chunk.kinds[0], score)
    out, kinds = np.zeros(len(chunk)), chunk.column("kind")
    for kind in chunk.kinds:
        where = np.flatnonzero(np.asarray(pc.equal(kinds, kind)))
        out[where] = _of_kind(Chunk(chunk.table.take(pa.array(where))), kind, score)
    return out


def _of_kind(chunk: Chunk, kind: str, score: Callable[[Row], int]) -> np.ndarray:
    if kind == "ranked":
        return np.array([score(row) for row in chunk.rows()], np.float64)
    if kind == "sft":
        turns = _turns(chunk.column("messages"))
        return walk_kernel(*turns, *_no_turns(len(chunk)), True).astype(np.float64)
    prompt = _turns(chunk.column("prompt"))
    if kind == "prompt":
        return walk_kernel(*prompt, *_no_turns(len(chunk)), False).astype(np.float64)
    name = "chosen" if kind == "preference" else "completion"
    answer = _turns(chunk.column(name))
    found = walk_kernel(*prompt, *answer, True)
    silent = _silent(answer)
    if kind == "preference":
        silent |= _silent(_turns(chunk.column("rejected")))
    found[silent] |= int(Problem.EMPTY_COMPLETION)
    out = found.astype(np.float64)
    if kind == "preference":
        # Rows whose answers have equal contents are left to the definition.
        answers = [chunk.column(name) for name in ("chosen", "rejected")]
        contents = [same_lists(turns, turns.flatten().field("content")) for turns in answers]
        equal = pc.equal(*(pc.binary_join(texts, "\0") for texts in contents))
        where = np.flatnonzero(np.asarray(pc.fill_null(equal, True)))
        rows = rows_of(chunk.table.take(pa.array(where)), chunk.run_seed)
        out[where] = [score(row) for row in rows]
    return out


def _turns(messages: pa.ListArray) -> Turns:
    flat = messages.flatten()
    found = pc.fill_null(pc.index_in(flat.field("role"), value_set=_ROLE_NAMES), len(_ROLE_NAMES))
    blank = blank_kernel(*text_bytes(flat.field("content")), character_flags())
    parts = flat.field("parts")
    if parts.null_count != len(parts):
        silent = np.flatnonzero(blank & np.asarray(parts.is_valid()))
        beside = parts.take(pa.array(silent)).to_pylist()
        blank[silent] = [not Message("", "", one).attached for one in beside]
    starts = np.zeros(len(messages) + 1, np.int64)
    np.cumsum(np.asarray(pc.fill_null(pc.list_value_length(messages), 0)), out=starts[1:])
    return Turns(starts, _ROLE_CODES[np.asarray(found)], blank)


def _no_turns(count: int) -> Turns:
    return Turns(np.zeros(count + 1, np.int64), np.zeros(0, np.int8), np.zeros(0, np.bool_))


def _silent(turns: Turns) -> np.ndarray:
    spoken = np.concatenate([[0], np.cumsum(~turns.blank)])
    silent: np.ndarray = spoken[turns.starts[1:]] == spoken[turns.starts[:-1]]
    return silent


@njit(nogil=True, cache=True)
def step_kernel(role: Any, before: Any, first: Any) -> Any:
    """Return the problems that a turn of this role makes after the role before it."""
    if role == _SYSTEM:
        return 0 if first else _LATE_SYSTEM
    found = _UNKNOWN_ROLE if role == _UNKNOWN else 0
    if role == _TOOL and (before in (_USER, _START)):
        found |= _STRAY_TOOL
    if role == _ASSISTANT and before == _START:
        found |= _ASSISTANT_FIRST
    if role == before and (role in (_USER, _ASSISTANT)):
        found |= _REPEATED
    return found


@njit(nogil=True, cache=True)
def walk_kernel(
    starts: np.ndarray,
    roles: np.ndarray,
    blank: np.ndarray,
    more_starts: np.ndarray,
    more_roles: np.ndarray,
    more_blank: np.ndarray,
    answered: bool,
) -> np.ndarray:
    """Walk the turns of each row, those of the first column and then those of the second."""
    out = np.zeros(len(starts) - 1, np.int64)
    for row in range(len(starts) - 1):
        found, before, last, seen, own = 0, _START, _START, 0, starts[row + 1] - starts[row]
        count = own + more_starts[row + 1] - more_starts[row]
        for turn in range(count):
            if turn < own:
                role, empty = roles[starts[row] + turn], blank[starts[row] + turn]
            else:
                place = more_starts[row] + turn - own
                role, empty = more_roles[place], more_blank[place]
            found |= step_kernel(role, before, turn == 0) | (_EMPTY_TURN if empty else 0)
            seen |= 1 << role
            last = role
            before = before if role == _SYSTEM else role
        if not seen & (1 << _USER):
            found |= _NO_USER
        if answered and not seen & (1 << _ASSISTANT):
            found |= _NO_ASSISTANT
        if answered and last != _ASSISTANT:
            found |= _NO_ANSWER
        out[row] = found
    return out
