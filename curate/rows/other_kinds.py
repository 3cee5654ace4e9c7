"""What an error says of rows of the wrong kind: which step turns them into the right one."""

from __future__ import annotations

from collections.abc import Iterable

# How rows of one kind become rows of another.
_WAY = "to turn {kind} rows into {wanted} rows: curate filter INPUT {way} -o OUT.jsonl"
_WAYS = {
    ("preference", "sft"): "unpack:side=chosen",
    ("ranked", "sft"): "unpack",
    ("preference", "unpaired"): "convert:to=unpaired",
    ("preference", "ranked"): "convert:to=ranked",
    ("ranked", "preference"): "convert:to=preference",
    ("ranked", "unpaired"): "convert:to=unpaired",
    ("unpaired", "preference"): "convert:to=preference",
    ("unpaired", "ranked"): "convert:to=ranked",
    ("prompt", "sft"): "respond --model MODEL",
}


def way_to(kind: str, found: Iterable[str]) -> str:
    """Return how rows of the kinds `found` become rows of `kind`, where steps make them so."""
    ways = {one: _WAYS[one, kind] for one in found if (one, kind) in _WAYS}
    return "".join(f"; {_WAY.format(kind=one, wanted=kind, way=way)}" for one, way in ways.items())
