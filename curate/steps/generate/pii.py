"""Mask personal data and secrets, or drop the rows that hold them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.kernels.text.pii import KINDS, SCREENS, find_personal, mask_personal
from curate.kernels.text.turns import turns_of
from curate.row import FIELD_TYPES, Message, Row
from curate.step import Drop, Generate, Product

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Pii(Generate):
    """Mask e-mail addresses, phone numbers and the like, or drop the rows that contain them.

    `find` lists the kinds: email, phone, ip, card (Luhn), iban (mod-97) and key (API keys, tokens,
    private keys). `action: mask` rewrites the texts of all turns (`[EMAIL]`), and a row without any
    passes unchanged; with `action: drop`, the score is the number found. Version numbers, dates,
    ISBNs, private addresses and example.com are left alone. Tool calls and extra columns are not
    searched.
    """

    action: Literal["mask", "drop"] = "mask"
    find: tuple[str, ...] = KINDS

    source: ClassVar[str] = "ISO/IEC 7812 (cards), ISO 13616 (IBAN), RFC 2606 (reserved names)"

    def check(self) -> None:
        """Reject kinds nobody knows."""
        for kind in self.find:
            if kind not in KINDS:
                raise ValueError(f"unknown kind '{kind}'; allowed are {', '.join(KINDS)}")
        if not self.find:
            raise ValueError(f"find names nothing; allowed are {', '.join(KINDS)}")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """A masked row is of its parent's kind."""
        return kinds

    def make(self, row: Row) -> Product:
        """Return the masked row, a drop, or the row itself."""
        found = [
            span.kind for turn in turns_of(row) for span in find_personal(turn.content, self.find)
        ]
        if not found:
            return row
        if self.action == "drop":
            counts = {kind: found.count(kind) for kind in KINDS if kind in found}
            return Drop(f"personal data: {next(iter(counts))}", float(len(found)), detail=counts)
        masked: dict[str, Any] = {}
        for name, value in row.fields.items():
            if FIELD_TYPES[name] == "messages":
                masked[name] = tuple(map(self._masked_turn, value or ()))
            elif FIELD_TYPES[name] == "candidates":
                masked[name] = tuple(
                    candidate._replace(messages=tuple(map(self._masked_turn, candidate.messages)))
                    for candidate in value or ()
                )
        return row.rewrite(**masked)

    def _masked_turn(self, turn: Message) -> Message:
        """Mask a turn, also in the parts that its text came in: they travel beside it."""
        content = self._masked(turn.content)
        beside = json.loads(turn.parts) if turn.parts else {}
        came = beside.get("content")
        if not isinstance(came, list):
            return turn._replace(content=content)
        own = [{**p, "text": self._masked(p["text"])} if _is_text(p) else p for p in came]
        if "\n".join(part["text"] for part in own if _is_text(part)) != content:
            # Something was found across two parts, so they become one.
            own = [{"type": "text", "text": content}, *(p for p in came if not _is_text(p))]
        beside["content"] = own
        parts = json.dumps(beside, ensure_ascii=False, separators=(",", ":"))
        return turn._replace(content=content, parts=parts)

    def _masked(self, text: str) -> str:
        return mask_personal(text, find_personal(text, self.find))

    def make_many(self, chunk: Chunk) -> list[list[Product]]:
        """Let RE2 pick the rows that can hold anything, and make those one by one."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.chunk import rows_of, same_lists

        screen = "|".join(SCREENS[kind] for kind in self.find)
        hits = np.asarray(pc.match_substring_regex(chunk.texts("whole"), screen))
        if "preference" in chunk.kinds:
            turns = chunk.column("rejected")
            rejected = pc.binary_join(same_lists(turns, turns.flatten().field("content")), "\n")
            found = pc.match_substring_regex(rejected, screen)
            hits = hits | np.asarray(pc.fill_null(found, False))
        out: list[list[Product]] = [[] for _ in range(len(chunk))]
        where = np.flatnonzero(hits)
        rows = rows_of(chunk.table.take(pa.array(where)), chunk.run_seed)
        for index, row in zip(where.tolist(), rows, strict=True):
            made = self.make(row)
            out[index] = [] if made is row else [made]
        return out


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
