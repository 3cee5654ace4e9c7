"""Encoders: texts become vectors, in this process.

`encode` is for plain lists of texts; steps of a recipe get their vectors through the store.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curate.encoders.embedded import NAME, embedded_or
from curate.encoders.precision import native_dtype
from curate.errors import UsageError
from curate.system.package_data import require_extra

if TYPE_CHECKING:
    import numpy as np

__all__ = ["encode"]


def encode(
    texts: Iterable[str],
    encoder: str = NAME,
    *,
    prefix: str = "",
    max_length: int | None = None,
    dtype: str | None = None,
    device: str | None = None,
) -> np.ndarray:
    """Return the vectors of texts as a float32 matrix with a line for each, stored nowhere.

    Lines have the length 1 where the model normalises them, as the default one does: then a product
    of two is their cosine.

    Args:
        texts: the texts; an empty one is encoded like any other.
        encoder: a folder or a name on the Hugging Face Hub; the default comes with the `local`
            extra and needs no network.
        prefix: what goes before each text, as `query: ` for the E5 models.
        max_length: the most tokens read of a text, where that is less than the model could.
        dtype: the precision to compute in; by default bfloat16 where the machine has it natively.
        device: `cpu`, `cuda` ...; by default a GPU where there is one.

    Raises:
        MissingExtra: torch or sentence-transformers is not installed.
    """
    if isinstance(texts, str):
        raise UsageError("texts is one text; give a list of texts")
    where = embedded_or(encoder)
    # The extra `local` holds the default encoder, too; `vectors` is enough for any other.
    extra = "local" if where == NAME else "vectors"
    require_extra(extra, f"the encoder {encoder}", "torch", "sentence_transformers")
    # Threads that spin while they wait for each other starve on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    from curate.encoders.sentence import SentenceEncoder

    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    loaded = SentenceEncoder(
        where,
        device=device,
        dtype=getattr(torch, dtype or native_dtype(device)),
        max_length=max_length,
        prompted=not prefix,
    )
    return loaded.encode([prefix + text for text in texts]).vectors
