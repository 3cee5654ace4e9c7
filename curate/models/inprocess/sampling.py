"""Choose the next token for each row of a batch by that row's own request.

transformers drives the forward passes and the cache; the choice is made here, where temperature,
seed, stop texts and length differ from row to row. Each row draws from its own generator, so that
its neighbours in the batch change nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import LogitsProcessor, StoppingCriteria

from curate.ask import Ask, Reply
from curate.models.choice import by_text
from curate.models.inprocess.tokens import token_named
from curate.models.inprocess.worker import Waiting
from curate.row import seed_of

_NUCLEUS = 256
# A smaller batch goes on to its end: to begin it again costs more than the rows that are done.
_FEW = 4


@dataclass(eq=False)
class Draft:
    """A reply as far as it is written."""

    waiting: Waiting
    tokenizer: Any
    ends: set[int]
    temperature: float
    top_p: float
    limit: int
    draws: random.Random
    ids: list[int] = field(default_factory=list)
    # For each token its id, its log-probability, and those of the likeliest ones.
    logprobs: list[tuple[int, float, list[tuple[int, float]]]] = field(default_factory=list)
    finish: str | None = None
    text: str = ""
    settled: bool = False

    @classmethod
    def of(cls, waiting: Waiting, tokenizer: Any, defaults: Any, ends: set[int]) -> Draft:
        """Begin the reply to an `Ask`; what it leaves open is the model's own default."""
        request = waiting.request
        assert isinstance(request, Ask)
        seed = (
            seed_of("seed", request.seed, request.sample)
            if request.seed is not None
            else seed_of("key", waiting.key, waiting.attempt)
        )
        return cls(
            waiting,
            tokenizer,
            ends | {token_named(tokenizer, name) for name in request.stop_tokens},
            _first(request.temperature, getattr(defaults, "temperature", None), 1.0),
            _first(request.top_p, getattr(defaults, "top_p", None), 1.0),
            request.max_tokens or 1 << 30,
            random.Random(seed),
        )

    @property
    def request(self) -> Ask:
        """The request that is answered."""
        assert isinstance(self.waiting.request, Ask)
        return self.waiting.request

    def choose(self, logits: torch.Tensor) -> int:
        """Add the next token; its log-probability is that before temperature and other limits."""
        top, chances = self.request.logprobs, None
        if top is not None or self.temperature != 0:
            chances = logits.float().log_softmax(-1)
        # Tokens that were written before are less likely, where that is asked for.
        present = self.request.presence_penalty or 0.0
        frequent = self.request.frequency_penalty or 0.0
        penalized = logits
        if self.ids and (present or frequent):
            counts = Counter(self.ids)
            tokens = torch.tensor(list(counts), device=logits.device)
            times = torch.tensor(list(counts.values()), device=logits.device, dtype=torch.float32)
            penalized = logits.float().clone()
            penalized[tokens] -= present + frequent * times
        if self.temperature == 0:
            token = int(penalized.argmax())
        elif chances is not None and penalized is logits:
            token = self._drawn(chances)
        else:
            token = self._drawn(penalized.float().log_softmax(-1))
        if top is not None and chances is not None:
            values, tokens = chances.topk(min(top, len(chances)))
            likeliest = list(zip(tokens.tolist(), values.tolist(), strict=True))
            self.logprobs.append((token, float(chances[token]), likeliest))
        if token not in self.ends:
            self.ids.append(token)
            cut = self._stopped()
            if cut is not None:
                self.finish, self.text = "stop", cut
            elif len(self.ids) >= self.limit:
                self.finish, self.text = "length", self._decoded(self.ids)
            return token
        self.finish, self.text = "stop", self._decoded(self.ids)
        # An end token is shown where it came first: that nothing was written is then the answer.
        if self.logprobs and self.ids:
            self.logprobs.pop()
        return token

    def _drawn(self, chances: torch.Tensor) -> int:
        weights = (chances.double() / self.temperature).softmax(-1)
        most = self.request.top_k
        if most is not None and 0 < most < len(weights):
            weights = weights.where(weights >= weights.topk(most).values[-1], 0.0)
            weights = weights / weights.sum()
        if self.top_p >= 1:
            return _at(weights, self.draws.random())
        # A nucleus is small: a whole vocabulary is sorted only for the rare flat distribution.
        for most in (_NUCLEUS, len(weights)):
            likely, tokens = weights.topk(min(most, len(weights)))
            if float(likely.sum()) >= self.top_p or most >= len(weights):
                break
        # The smallest set whose chances reach top_p; the token that crosses it belongs to it.
        kept = int((likely.cumsum(-1) - likely < self.top_p).sum()) or 1
        return int(tokens[_at(likely[:kept], self.draws.random())])

    def _stopped(self) -> str | None:
        """Return the text before a stop text, if there is one, searched among special tokens too.

        What comes before it is shown without them.
        """
        if not self.request.stop:
            return None
        text = str(self.tokenizer.decode(self.ids, skip_special_tokens=False))
        at = min((at for stop in self.request.stop if (at := text.find(stop)) >= 0), default=None)
        if at is None:
            return None
        count, before = len(self.ids), text
        while len(before) > at:
            count -= 1
            before = str(self.tokenizer.decode(self.ids[:count], skip_special_tokens=False))
        return self._decoded(self.ids[:count]) + text[len(before) : at]

    def _decoded(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def settle(self) -> None:
        """Hand over the reply, once: a short one need not wait for the longest of its batch."""
        if not self.settled:
            self.settled = True
            self.waiting.settle(self.reply())

    def reply(self) -> Reply:
        """Return what is written, with the log-probabilities of tokens that reach into the text."""
        assert self.finish is not None
        shown: list[dict[str, Any]] = []
        for count, (token, value, top) in enumerate(self.logprobs):
            if count and len(self._decoded(self.ids[:count])) >= len(self.text):
                break
            shown.append(
                {
                    "token": self.tokenizer.decode([token]),
                    "logprob": value,
                    "top": by_text((self.tokenizer.decode([id_]), chance) for id_, chance in top),
                }
            )
        return Reply(
            text=self.text,
            finish_reason=self.finish,
            logprobs=tuple(shown),
            input_tokens=len(self.waiting.tokens),
            output_tokens=len(self.ids),
        )


def _at(weights: torch.Tensor, draw: float) -> int:
    """Return the place of `weights` that a draw from [0, 1) falls on."""
    sums = weights.cumsum(-1)
    place = int((sums <= draw * float(sums[-1])).sum())
    return min(place, len(weights) - 1)


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


class Drafting(LogitsProcessor):
    """Leave each row one possible token: the one that its draft chose."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts = drafts

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.Tensor:
        """Return scores in which only the chosen tokens are left."""
        chosen = [
            0 if draft.finish is not None or draft.waiting.given_up else draft.choose(row)
            for draft, row in zip(self._drafts, scores, strict=True)
        ]
        left = torch.full_like(scores, float("-inf"))
        left[torch.arange(len(chosen)), torch.tensor(chosen)] = 0.0
        return left


class Ended(StoppingCriteria):
    """Hand over what is done; end the batch when half of it is, or nobody waits any longer."""

    def __init__(self, drafts: Sequence[Draft]) -> None:
        self._drafts = drafts

    def __call__(self, input_ids: torch.LongTensor, scores: Any, **given: Any) -> torch.Tensor:
        """Tell for each row whether it is done: for all of them, once half of a batch is."""
        for draft in self._drafts:
            if draft.finish is not None:
                draft.settle()
        done = [draft.finish is not None or draft.waiting.given_up for draft in self._drafts]
        few = len(done) >= _FEW and 2 * sum(done) >= len(done)
        return torch.tensor([few or one for one in done], device=input_ids.device)
