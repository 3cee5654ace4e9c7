"""How a request becomes token ids, the same for every engine in this process."""

from __future__ import annotations

from typing import Any

from curate.ask import Ask, Likelihood
from curate.errors import PermanentFault


def prompt_tokens(tokenizer: Any, request: Ask) -> list[int]:
    """Return the token ids of a chat, by the model's own template, or of a raw prompt."""
    if request.prompt is not None:
        return list(tokenizer(request.prompt)["input_ids"])
    if not tokenizer.chat_template:
        raise PermanentFault(
            "the model has no chat template; use an instruct model, or a step with raw prompts"
        )
    made = tokenizer.apply_chat_template(
        request.turns(), add_generation_prompt=True, tokenize=True, return_dict=True
    )
    return list(made["input_ids"])


def answer_tokens(tokenizer: Any, request: Likelihood) -> tuple[list[int], int]:
    """Return all token ids, and how many at the end belong to the answer.

    The text is tokenised whole, as a server does; a token that holds the last characters of the
    prompt and the first of the answer counts as the answer's.
    """
    made = tokenizer(request.prompt + request.answer, return_offsets_mapping=True)
    ends = [end for _, end in made["offset_mapping"]]
    begin = next((n for n, end in enumerate(ends) if end > len(request.prompt)), len(ends))
    while len(ends) > begin and ends[-1] == 0:  # A closing token that the text does not hold.
        ends.pop()
    # The first token of all has nothing before it that would make it likely or not.
    return list(made["input_ids"][: len(ends)]), max(0, len(ends) - max(begin, 1))
