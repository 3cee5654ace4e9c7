"""Vectors by sentence-transformers, in this process.

Vectors are what the model's own pooling and normalisation make of a text. The library's own loop
takes 32 texts a batch, sorted by characters; here a batch takes as many as fit a budget of tokens:
a batch of short texts is large, one of long texts stays in the processor's cache.

On a CPU the texts of a batch have the same number of tokens. With padding the order of a sum
depends on the longest text of the batch, which in bfloat16 moved vectors by 0.002, enough to move a
row across a threshold; without it a vector is the same in whatever company (in float32 to 2e-7).
A GPU needs large batches, so its texts are padded, and company moves the last digits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xxhash
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import batch_to_device

# The tokens of a batch, padding included. On two cores MiniLM took 2.6 s for texts that it took
# 3.0 s for with half and 3.3 s with four times as many (docs/log.md).
CPU_TOKENS, GPU_TOKENS = 2_048, 65_536


# A text of which more than this share of the tokens is unknown has a vector of zeros: what its
# vector would say is how many words it has, not what they mean.
UNKNOWN_SHARE = 1 / 3


class Encoding(NamedTuple):
    """Vectors, the tokens that the model read of each text, and the numbers of the texts it cut.

    `read` gives the number of each text that the model did not read in whole (it was cut, or holds
    unknown tokens) and a hash of the tokens it read: those of another text may be the same.
    """

    vectors: np.ndarray
    tokens: tuple[int, ...]
    cut: tuple[int, ...]
    read: tuple[tuple[int, int], ...] = ()


class SentenceEncoder:
    """A loaded sentence-transformers model."""

    def __init__(
        self,
        where: str,
        *,
        device: str,
        dtype: Any,
        revision: str | None = None,
        max_length: int | None = None,
        prompted: bool = True,
    ) -> None:
        """Load the model at `where`; no code of its repository runs, weights are safetensors.

        `prompted`: put the model's own default prompt, where it has one, before each text.
        """
        self._device = torch.device(device)
        self._model: Any = SentenceTransformer(
            where,
            device=device,
            revision=revision,
            trust_remote_code=False,
            model_kwargs={"dtype": dtype, "use_safetensors": True},
        )
        self._model.eval()
        # In bfloat16 a vector that the model has normalised is up to 0.4 % too long or too short.
        *_, last = self._model.children()
        self._normalises = type(last).__name__ == "Normalize"
        if max_length is not None:
            longest = self._model.max_seq_length or max_length
            self._model.max_seq_length = min(max_length, longest)
        name = self._model.default_prompt_name if prompted else None
        self._prompt: str | None = self._model.prompts.get(name) if name else None
        self._budget = GPU_TOKENS if device.startswith("cuda") else CPU_TOKENS

    def encode(self, texts: Sequence[str], wanted: Callable[[], bool] = lambda: True) -> Encoding:
        """Return a vector for each text.

        It raises `InterruptedError` before the first batch for which `wanted` says no.
        """
        if not texts:
            return Encoding(np.empty((0, 1), np.float32), (), ())
        tokenizer, tokens = self._model.tokenizer, None
        if callable(tokenizer):
            prompted = [(self._prompt or "") + text for text in texts]
            # Cut nowhere, and silent: that a text is longer than the model reads is what is wanted
            # to know here.
            tokens = tokenizer(prompted, truncation=False, verbose=False)["input_ids"]
            lengths = np.fromiter(map(len, tokens), np.int64, len(texts))
        else:
            # A table of word vectors: nothing is padded, so a guess does.
            lengths = np.array([len(text.encode()) // 4 + 1 for text in texts], np.int64)
        longest = self._model.max_seq_length or int(lengths.max(initial=1))
        read = np.minimum(lengths, longest)
        alike = self._device.type == "cpu" and tokens is not None
        found: dict[int, np.ndarray] = {}
        for batch in batches(read, self._budget, alike=alike):
            if not wanted():
                raise InterruptedError("nobody waits for these vectors any longer")
            lines = self._compute([texts[number] for number in batch], int(read[batch[0]]))
            found.update(zip(batch, lines, strict=True))
        vectors = np.stack([found[number] for number in range(len(texts))])
        if self._normalises:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        cut = tuple(np.flatnonzero(lengths > longest).tolist())
        partly: dict[int, int] = {}
        if tokens is not None:
            unknown = getattr(tokenizer, "unk_token_id", None)
            special = tokenizer.num_special_tokens_to_add()
            for number, own in enumerate(tokens):
                missed = 0 if unknown is None else own.count(unknown)
                if missed > UNKNOWN_SHARE * (len(own) - special):
                    # Too little of it is read.
                    vectors[number] = 0
                elif missed or len(own) > longest:
                    # A hash of what was read; where a text is cut, the tokens that end it are not
                    # those of the whole text.
                    seen = np.array(own[: longest - 1], np.int32)
                    partly[number] = xxhash.xxh3_64_intdigest(seen.tobytes()) >> 1 or 1
        return Encoding(vectors, tuple(read.tolist()), cut, tuple(partly.items()))

    @torch.inference_mode()
    def _compute(self, texts: list[str], longest: int) -> np.ndarray:
        """Return the vectors of one batch; where memory runs out, of its halves."""
        try:
            features = batch_to_device(
                self._model.preprocess(texts, prompt=self._prompt), self._device
            )
            out: np.ndarray = self._model(features)["sentence_embedding"].float().cpu().numpy()
            return out
        except torch.OutOfMemoryError:
            if len(texts) == 1:
                raise
        self._budget = max(1, len(texts) // 2 * longest)
        half = len(texts) // 2
        return np.concatenate(
            [self._compute(part, longest) for part in (texts[:half], texts[half:])]
        )


def batches(lengths: np.ndarray, budget: int, *, alike: bool) -> Iterator[list[int]]:
    """Yield the numbers of the texts of each batch, the longest first.

    A batch, padded to its longest text, holds at most `budget` tokens, or one text. With `alike`
    its texts have one length.
    """
    order = np.argsort(-lengths, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1) if alike else [order]
    for group in groups:
        left = group.tolist()
        while left:
            size = max(1, budget // max(1, int(lengths[left[0]])))
            yield left[:size]
            left = left[size:]
