"""A language model that trains in a fraction of a second: bigrams, the prompt's words, a copy bias.

The logits of the next word are a row of a table for the word before it, plus the mean row of
another table over the words of the prompt, plus a bonus for words that the prompt holds. It sees
the order of words (a scrambled answer is unlike text) and what an answer is about (an answer to
another prompt is found by its words), and nothing more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from curate.evaluate.proof.arms import ArmResult
from curate.evaluate.proof.subsets import Subset, fingerprint
from curate.row import Row, seed_of
from curate.train.fixed_budget import Piece, TokenBudget, exposure_of, pieces_of

VOCABULARY, PROMPT_WORDS, ANSWER_WORDS = 400, 40, 40
STEP_TOKENS, RATE = 512, 0.02
UNKNOWN, END = 0, 1


class Encoded(NamedTuple):
    """A row as word numbers: the bag of its prompt, and each answer word with the one before it."""

    bag: np.ndarray
    before: np.ndarray
    words: np.ndarray


def words_of(text: str) -> list[str]:
    """Return words and punctuation marks in lower case."""
    return re.findall(r"\w+|[^\w\s]", text.lower())


class BigramNet:
    """Tables and a bonus; `fit` starts from what it holds."""

    def __init__(self, rows: Sequence[Row]) -> None:
        """Take the commonest words of `rows` as the vocabulary."""
        counts = Counter(w for row in rows for w in words_of(f"{row.instruction} {row.response}"))
        known = [word for word, _ in counts.most_common(VOCABULARY - 2)]
        self.places = {word: n for n, word in enumerate(known, 2)}
        self.state = [torch.zeros(VOCABULARY, VOCABULARY), torch.zeros(VOCABULARY, VOCABULARY),
                      torch.zeros(1)]  # fmt: skip

    def encode(self, prompt: str, answer: str) -> Encoded:
        """Return a prompt and an answer as numbers, cut to what the net looks at."""
        asked = [self.places.get(w, UNKNOWN) for w in words_of(prompt)[:PROMPT_WORDS]]
        said = [self.places.get(w, UNKNOWN) for w in words_of(answer)[:ANSWER_WORDS]] + [END]
        bag = np.bincount(asked, minlength=VOCABULARY).astype(np.float32)
        return Encoded(bag, np.array([END, *said[:-1]]), np.array(said))

    def losses(self, state: Sequence[torch.Tensor], batch: Sequence[Encoded]) -> torch.Tensor:
        """Return the loss of each word of a batch, row after row."""
        bags = torch.from_numpy(np.stack([one.bag for one in batch]))
        bags[:, UNKNOWN] = 0
        means = bags / bags.sum(1, keepdim=True).clamp(min=1)
        prompts = means @ state[1] + state[2] * (bags > 0)
        sizes = torch.tensor([len(one.words) for one in batch])
        before = torch.from_numpy(np.concatenate([one.before for one in batch]))
        words = torch.from_numpy(np.concatenate([one.words for one in batch]))
        logits = functional.embedding(before, state[0]) + prompts.repeat_interleave(sizes, 0)
        return functional.cross_entropy(logits, words, reduction="none")

    def fit(
        self, rows: Sequence[Encoded], steps: Sequence[Sequence[Piece]], rate: float = RATE
    ) -> list[torch.Tensor]:
        """Return the state after training on pieces, one step of Adam for each list of them."""
        state = [one.clone().requires_grad_() for one in self.state]
        adam = torch.optim.Adam(state, rate, fused=True)
        for step in steps:
            batch = [rows[piece.example] for piece in step]
            weights = np.concatenate([_share(rows[p.example], p) for p in step])
            loss = self.losses(state, batch) @ torch.from_numpy(weights)
            adam.zero_grad()
            (loss / float(weights.sum())).backward()
            adam.step()
        return [one.detach() for one in state]


def _share(row: Encoded, piece: Piece) -> np.ndarray:
    """Return 1 for the words of a row that count in a step, 0 for the others."""
    found = np.zeros(len(row.words), np.float32)
    found[piece.start : piece.stop] = 1
    return found


class BigramTrainer:
    """An `ArmTrainer` of the net: loss per word, and the contrast with another row's answer."""

    def __init__(self, net: BigramNet, metrics: Sequence[str], epochs: float = 1.0) -> None:
        self.net, self.names, self.epochs = net, tuple(metrics), epochs
        self.held_out: list[Encoded] = []
        self.crossed: list[Encoded] = []
        self._encoded: dict[str, Encoded] = {}

    @property
    def metrics(self) -> Mapping[str, bool]:
        """Loss is better when lower, contrast when higher."""
        return {name: name == "loss" for name in self.names}

    def identity(self) -> dict[str, Any]:
        """Return what decides a score beside rows, budget and seed."""
        state = seed_of(*(one.numpy().tobytes().hex() for one in self.net.state))
        return {"net": "bigram", "vocabulary": VOCABULARY, "learning_rate": RATE,
                "epochs": self.epochs, "state": f"{state:016x}"}  # fmt: skip

    def lengths(self, rows: Sequence[Row]) -> list[int]:
        """Return the words of each answer that the net learns."""
        return [len(self._of(row).words) for row in rows]

    def remarks(self) -> list[str]:
        """Return nothing: what the net looks at is the same for all."""
        return []

    def hold_out(self, rows: Sequence[Row]) -> None:
        """Score these rows; the contrast takes the answer of a fixed other row."""
        self.held_out = [self._of(row) for row in rows]
        order = np.random.default_rng(int(fingerprint(rows), 16)).permutation(len(rows))
        answers = dict(zip(order.tolist(), np.roll(order, 1).tolist(), strict=True))
        own = self.held_out
        self.crossed = [own[n]._replace(before=own[answers[n]].before, words=own[answers[n]].words)
                        for n in range(len(own))]  # fmt: skip

    def budget(self, lengths: Sequence[int]) -> TokenBudget:
        """Return the epochs of the trainer over such rows, in steps of equal size."""
        tokens = round(self.epochs * sum(lengths))
        return TokenBudget(max(1, round(tokens / STEP_TOKENS)), tokens)

    def score(self, subset: Subset, budget: TokenBudget, seed: int, folder: Path) -> ArmResult:
        """Train on a subset and score the held-out rows."""
        rows = [self._of(row) for row in subset.rows]
        lengths = [len(row.words) for row in rows]
        steps = pieces_of(lengths, budget, seed)
        state = self.net.fit(rows, steps)
        found = {"loss": self._means(state, self.held_out)}
        if "contrast" in self.names:
            found["contrast"] = self._means(state, self.crossed) - found["loss"]
        scores = {name: found[name].tolist() for name in self.names}
        return ArmResult(scores, exposure_of(lengths, steps))

    def _means(self, state: Sequence[torch.Tensor], rows: Sequence[Encoded]) -> np.ndarray:
        sizes = np.array([len(row.words) for row in rows])
        with torch.inference_mode():
            parts = [self.net.losses(state, rows[n : n + 100]) for n in range(0, len(rows), 100)]
        places = np.repeat(np.arange(len(rows)), sizes)
        return np.bincount(places, weights=torch.cat(parts).double().numpy()) / sizes

    def _of(self, row: Row) -> Encoded:
        if row.id not in self._encoded:
            self._encoded[row.id] = self.net.encode(row.instruction, row.response)
        return self._encoded[row.id]
