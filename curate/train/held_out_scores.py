"""What a model makes of rows that it has not learnt, row by row: losses, contrasts, rewards."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

from curate.errors import UsageError
from curate.models.inprocess.chat import IGNORED, Chat, Tokens, turns_for
from curate.read.shapes.record_fields import rendering_options
from curate.row import Row, seed_of
from curate.train.data import extras, prompt_turns

# Prompts that are answered together.
_BATCH_ROWS = 16
# Tokens of a batch: the logits of a vocabulary of 150,000 then take 0.6 GB.
_BATCH_TOKENS = 1024


def log_probabilities(model: Any, sequences: Sequence[Tokens], pad: int) -> list[float]:
    """Return the summed log-probability of the supervised tokens of each sequence."""
    import torch

    from curate.train.collate import padded

    found = [0.0] * len(sequences)
    order = sorted(range(len(sequences)), key=lambda n: len(sequences[n].ids))
    start = 0
    while start < len(order):
        end = start + 1
        while end < len(order) and (end + 1 - start) * len(sequences[order[end]].ids) <= (
            _BATCH_TOKENS
        ):
            end += 1
        places = order[start:end]
        batch = padded([sequences[n].ids for n in places], [sequences[n].labels for n in places],
                       pad)  # fmt: skip
        batch = {name: value.to(model.device) for name, value in batch.items()}
        with torch.inference_mode():
            given = {name: batch[name] for name in ("input_ids", "attention_mask")}
            logits = model(**given, use_cache=False).logits
            # Tokens of a prompt that was tuned come first and predict nothing that counts.
            length = batch["labels"].shape[1] - 1
            labels = batch["labels"][:, 1:]
            every = logits[:, -length - 1 : -1].float().log_softmax(-1)
            own = every.gather(2, labels.clamp(min=0)[..., None])[..., 0]
            sums = (own.double() * (labels != IGNORED)).sum(1)
        for place, value in zip(places, sums.tolist(), strict=True):
            found[place] = value
        start = end
    return found


class GreedyAnswer(NamedTuple):
    """What a model answers to a prompt, and whether it was cut off at the most tokens allowed."""

    text: str
    cut: bool


def greedy_answers(
    model: Any, prompts: Sequence[Sequence[int]], chat: Chat, max_tokens: int
) -> list[GreedyAnswer]:
    """Return the likeliest answer to each prompt, token by token, up to the end of its turn.

    Prompts are tokens up to where an answer begins (`Chat.asked`).
    """
    if not prompts:
        return []
    import torch
    from transformers import GenerationConfig

    pad = chat.tokenizer.pad_token_id
    ending = chat.tokenizer(chat.end_of_turn.strip(), add_special_tokens=False)["input_ids"]
    ends = {chat.tokenizer.eos_token_id, *(ending if len(ending) == 1 else ())} - {None}
    # Given aside: transformers would add a model's own penalties and its sampling.
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False, max_new_tokens=max_tokens, pad_token_id=pad, eos_token_id=sorted(ends),
        use_cache=True,
    )  # fmt: skip
    found: dict[int, GreedyAnswer] = {}
    order = sorted(range(len(prompts)), key=lambda n: len(prompts[n]))
    for start in range(0, len(order), _BATCH_ROWS):
        places = order[start : start + _BATCH_ROWS]
        width = max(len(prompts[n]) for n in places)
        gaps = [width - len(prompts[n]) for n in places]
        ids = [[pad] * gap + list(prompts[n]) for gap, n in zip(gaps, places, strict=True)]
        seen = [[0] * gap + [1] * (width - gap) for gap in gaps]
        given = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(seen)}
        with torch.inference_mode():
            made = model.generate(
                **{name: value.to(model.device) for name, value in given.items()},
                generation_config=config,
            )
        for place, row in zip(places, made[:, width:].tolist(), strict=True):
            end = next((n for n, token in enumerate(row) if token in ends), None)
            text = chat.tokenizer.decode(row[:end], skip_special_tokens=True)
            found[place] = GreedyAnswer(text, end is None)
    return [found[n] for n in range(len(prompts))]


def losses_per_token(model: Any, sequences: Sequence[Tokens], pad: int) -> list[float]:
    """Return the mean loss of the supervised tokens of each sequence."""
    sums = log_probabilities(model, sequences, pad)
    return [-one / tokens.supervised for one, tokens in zip(sums, sequences, strict=True)]


def own_and_other_answers(
    rows: Sequence[Row], chat: Chat, limit: int
) -> tuple[list[Tokens], list[Tokens]]:
    """Return each row's prompt with its own last answer, and with that of another row.

    Only the last answer is supervised, cut to `limit` tokens with its own prompt: what is left of
    it is told to the other prompt, too.

    Raises:
        UsageError: nothing is left of an answer.
    """
    before = circle_of(rows)

    def joined(row: Row, answered: Row) -> Tokens:
        prompt = prompt_turns(row)
        answer = answered.messages[len(prompt_turns(answered)) :]
        options = rendering_options(extras(row))
        return chat.encode(turns_for((*prompt, *answer)), len(prompt), **options)

    own = [joined(row, row).cut(limit) for row in rows]
    if gone := sum(not one.supervised for one in own):
        raise UsageError(
            f"nothing of the last answer of {gone:,} held-out rows is within max_length ({limit:,} "
            "tokens): raise it, hold other rows out, or leave the metric contrast out"
        )
    other = []
    for place, row in enumerate(rows):
        whole = joined(row, rows[before[place]])
        other.append(whole.cut(whole.prompt_length + own[before[place]].supervised))
    return own, other


def circle_of(rows: Sequence[Row]) -> dict[int, int]:
    """Return for each row's place that of the row before it, whose answer it is given.

    The rows form one circle in an order that their ids decide.
    """
    order = list(range(len(rows)))
    random.Random(seed_of("contrast", *(row.id for row in rows))).shuffle(order)
    return {place: order[n - 1] for n, place in enumerate(order)}


def reward_margins(
    log_probs: Sequence[float], reference: Sequence[float], beta: float
) -> list[float]:
    """Return the implicit reward of each chosen answer minus that of the rejected one.

    Both hold the chosen and the rejected answer of each pair in turn (Rafailov et al. 2023, arXiv
    2305.18290, section 4).
    """
    ratios = [one - before for one, before in zip(log_probs, reference, strict=True)]
    return [beta * (a - b) for a, b in zip(ratios[::2], ratios[1::2], strict=True)]


def right_order(margin: float) -> float:
    """Return 1 where the chosen answer has the higher reward, 0.5 for a tie, 0 otherwise."""
    return 0.5 if margin == 0 else float(margin > 0)
