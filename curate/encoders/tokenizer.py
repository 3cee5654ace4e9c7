"""The length of a text in the tokens of some model, for steps that compare lengths.

Words say about as much, need no files and take no seconds to load; tokens are what a trainer cuts
at and what a model's length is counted in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from curate.system.package_data import require_extra


@functools.lru_cache(maxsize=4)
def token_counter(tokenizer: str) -> Callable[[str], int]:
    """Return what counts the tokens of a text, without special ones.

    Args:
        tokenizer: a folder, or a name on the Hugging Face Hub; no code of its repository runs.

    Raises:
        MissingExtra: transformers is not installed.
        ValueError: there is no such tokenizer.
    """
    require_extra("local", f"the tokenizer {tokenizer}", "transformers")
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"the tokenizer '{tokenizer}' cannot be loaded; it must be a folder with a tokenizer, "
            f"or a name on the Hugging Face Hub ({type(error).__name__})"
        ) from None

    def count(text: str) -> int:
        return len(loaded(text, add_special_tokens=False)["input_ids"])

    return count
