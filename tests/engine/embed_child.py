"""Embed the texts of a file with the embedded encoder: `embed_child.py FOLDER RUN`.

Every batch is written down in `FOLDER/batches.log` once it is computed, before it can be stored.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate import Pipeline
from curate.encoders.sentence import Encoding, SentenceEncoder
from tests.engine.kinds.test_sketch import SEEN, SameVector, rows

ENCODER = "hf:sentence-transformers/all-MiniLM-L6-v2"


def write_down(log: Path) -> None:
    """Let the encoder append to `log` how many texts it has computed."""
    original = SentenceEncoder.encode

    def encode(self: SentenceEncoder, texts: Sequence[str], *rest: Any) -> Encoding:
        found = original(self, texts, *rest)
        with log.open("a") as file:
            file.write(f"{len(texts)}\n")
            file.flush()
            os.fsync(file.fileno())
        return found

    SentenceEncoder.encode = encode  # type: ignore[method-assign]


if __name__ == "__main__":
    folder, run = Path(sys.argv[1]), sys.argv[2]
    write_down(folder / "batches.log")
    texts = tuple((folder / "texts.txt").read_text().splitlines())
    pipeline = Pipeline(
        [SameVector(columns=True)], encoders={"e": {"model": ENCODER, "threads": 1}}
    )
    pipeline.run(rows(texts), run=folder / run, store=folder / "store")
    SEEN[0].tofile(folder / f"{run}.f32")
