"""Make conversations, or ranked answers, of OpenAssistant's message trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from curate.row import Row
from curate.rows.trees import TREE_ID, conversations, rankings, tree_in
from curate.step import Drop, Generate, Product

if TYPE_CHECKING:
    from curate.chunk import Chunk

_MAKERS = {"conversations": conversations, "ranked": rankings}
_KINDS = {"conversations": "sft", "ranked": "ranked"}
_NOTHING = {"conversations": "no answer in the tree", "ranked": "no two ranked answers in the tree"}


@dataclass(frozen=True, kw_only=True)
class Expand(Generate):
    """Make conversations or ranked answers from a message tree.

    `into: conversations` makes an `sft` row of every path to an assistant's last message; `into:
    ranked` makes a row of every message with two or more ranked answers, each scored by minus its
    rank. Deleted messages end a path. Rows without a tree pass. If trees are read and a recipe does
    not name this step, it is run first.
    """

    into: Literal["conversations", "ranked"] = "conversations"

    source: ClassVar[str] = "Köpf et al. 2023 (OpenAssistant Conversations), arXiv 2304.07327"

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Return the kinds behind this step, taking every prompt for that of a tree."""
        if "prompt" not in kinds:
            return kinds
        staying = kinds if self.keep_parent else kinds - {"prompt"}
        return staying | {_KINDS[self.into]}

    def make(self, row: Row) -> list[Product]:
        """Return the records of one tree, or the row itself where it holds none."""
        tree = tree_in(row)
        if tree is None:
            return [row]
        records = _MAKERS[self.into](tree)
        if records or self.keep_parent:
            return list(records)
        return [Drop(_NOTHING[self.into])]

    def make_many(self, chunk: Chunk) -> list[list[Product]]:
        """Let Arrow pick the rows that can hold a tree, and make those one by one."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        from curate.chunk import rows_of

        hits = pc.match_substring(chunk.column("extra"), f'"{TREE_ID}"')
        where = np.flatnonzero(np.asarray(pc.fill_null(hits, False)))
        rows = rows_of(chunk.table.take(pa.array(where)), chunk.run_seed)
        out: list[list[Product]] = [[] for _ in range(len(chunk))]
        for index, row in zip(where.tolist(), rows, strict=True):
            made = self.make(row)
            out[index] = [] if made and made[0] is row else made
        return out
