"""Vectors by sentence-transformers, in this process.

Vectors are what the model's own pooling and normalisation make of a text; which other texts are
encoded with it moves the last digits only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sentence_transformers import SentenceTransformer


class SentenceEncoder:
    """A loaded sentence-transformers model."""

    def __init__(
        self, where: str, *, device: str, dtype: Any, revision: str | None, batch_size: int
    ) -> None:
        """Load the model at `where`; no code of its repository runs, weights are safetensors."""
        self._batch_size = batch_size
        self._model = SentenceTransformer(
            where,
            device=device,
            revision=revision,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )

    def count(self, text: str) -> int:
        """Return how many tokens of `text` the model reads."""
        tokens = len(self._model.tokenizer(text, truncation=False)["input_ids"])
        longest = self._model.max_seq_length
        return min(tokens, longest) if longest else tokens

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one vector for each text."""
        vectors = self._model.encode(
            list(texts), batch_size=self._batch_size, show_progress_bar=False, convert_to_numpy=True
        )
        return [[float(value) for value in vector] for vector in vectors]
