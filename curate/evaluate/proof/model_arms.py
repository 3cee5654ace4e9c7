"""Arms that are models of the trainer: loaded anew for every run, trained, scored, forgotten."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.evaluate.proof.arms import ArmResult
from curate.evaluate.proof.material import METHODS
from curate.evaluate.proof.subsets import Subset
from curate.models.inprocess.chat import TemplateRefused, Tokens, turns_for
from curate.models.providers.hf import digest_of_weights
from curate.read.shapes.record_fields import rendering_options
from curate.recipe.fields import plain
from curate.row import Row
from curate.steps.score._answer import answer_of
from curate.train.data import extras
from curate.train.examples import Example, example_of
from curate.train.fixed_budget import (
    Exposure,
    TokenBudget,
    cut_to,
    exposure_of,
    pieces_of,
    supervised,
)
from curate.train.held_out_scores import (
    GreedyAnswer,
    greedy_answers,
    log_probabilities,
    losses_per_token,
    own_and_other_answers,
    reward_margins,
    right_order,
)
from curate.train.interruptions import last_checkpoint, told_apart
from curate.train.job import Job
from curate.train.pace import Listener
from curate.train.settings import TrainingSettings, method_called, settings_for
from curate.train.weights import load_config, load_model, where_is

# What can be measured of held-out rows, whether lower is better, and what is by default.
METRICS: Mapping[str, Mapping[str, bool]] = {
    "sft": {"loss": True, "contrast": False},
    "dpo": {"accuracy": False, "margin": False},
}
DEFAULT_METRICS = {"sft": ("loss",), "dpo": ("accuracy", "margin")}
PROBE_STEPS, PROBE_ROWS, PROBE_PROMPTS = 3, 16, 4


def check_training(
    model: str,
    *,
    metrics: Sequence[str] = (),
    config: str | Path | None = None,
    max_steps: int | None = None,
    variants: Sequence[str] = (),
) -> None:
    """Raise `UsageError` for what no kind of rows could be trained with, before any is read."""
    problems: list[UsageError] = []
    for kind in METHODS:
        try:
            ModelTrainer(model, kind, metrics=metrics, config=config, max_steps=max_steps,
                         variants=variants)  # fmt: skip
        except UsageError as problem:
            problems.append(problem)
    if len(problems) == len(METHODS):
        raise problems[0]


class ModelTrainer:
    """Train a model by SFT or DPO at a budget, and score the rows that are held out.

    Metrics are `loss` per token and prompt `contrast` (the loss with another row's answer minus
    that with its own) of SFT, reward `accuracy` (ties half) and `margin` of DPO.
    """

    def __init__(
        self,
        model: str,
        kind: str,
        *,
        metrics: Sequence[str] = (),
        config: str | Path | None = None,
        max_steps: int | None = None,
        variants: Sequence[str] = (),
        listener: Listener | None = None,
    ) -> None:
        """Read settings and tokenizer; no weight is loaded yet.

        Raises:
            UsageError: the model cannot be trained, or settings or metrics do not fit.
        """
        from curate.encoders.precision import has_gpu
        from curate.train.training import chat_of, require_trainer

        self.model, self.method = model, method_called(METHODS[kind])
        self.settings = {
            one: settings_for(
                self.method, config, max_steps=max_steps, **({"adapter": one} if one else {})
            )
            for one in variants or ("",)
        }
        first = next(iter(self.settings.values()))
        for one in self.settings.values():
            require_trainer(self.method, one)
        self.where, self.device = where_is(model), "cuda" if has_gpu() else "cpu"
        if first.packing != "none" or first.held_out:
            raise UsageError(
                "prove makes its own batches and holds out its own rows: leave `packing` and "
                "`held_out` out of the settings"
            )
        if self.device == "cpu" and any(s.adapter.kind == "qlora" for s in self.settings.values()):
            raise UsageError("qlora needs a GPU (bitsandbytes); on a CPU use `adapter: lora`")
        known = METRICS[self.method.name]
        if wrong := [name for name in metrics if name not in known]:
            raise UsageError(
                f"{self.method.name} has no metric '{wrong[0]}'; known: {', '.join(known)}; "
                "--judge MODEL adds that of a judge"
            )
        names = metrics or DEFAULT_METRICS[self.method.name]
        self._metrics = {name: known[name] for name in known if name in names}
        self.chat, self._listener = chat_of(self.where, first.template), listener
        self.config = load_config(self.where)
        self._examples: dict[str, Example | None] = {}
        self._own: list[Tokens] = []
        self._other: list[Tokens] = []
        self._reference: list[float] | None = None
        self._asked: list[list[int]] = []
        self._max_tokens = 0

    @property
    def metrics(self) -> Mapping[str, bool]:
        """What is measured of each held-out row, and whether lower is better."""
        return self._metrics

    def identity(self) -> dict[str, Any]:
        """Return model, weights, method and settings."""
        folder = Path(self.where)
        settings = {n or "all": plain(dataclasses.asdict(s)) for n, s in self.settings.items()}
        return {
            "model": self.model,
            "weights": digest_of_weights(folder) if folder.is_dir() else None,
            "method": self.method.name,
            "settings": settings,
        }

    def lengths(self, rows: Sequence[Row]) -> list[int]:
        """Return the supervised tokens of each row, 0 where nothing of it can be learnt."""
        examples = [self._example(row) for row in rows]
        return [0 if one is None else supervised(one) for one in examples]

    def _example(self, row: Row) -> Example | None:
        if row.id not in self._examples:
            settings = next(iter(self.settings.values()))
            found, _ = example_of(row, self.chat, self.method, settings)
            if found is not None and not all(one.supervised for one in found.answers):
                found = None
            self._examples[row.id] = found
        return self._examples[row.id]

    def remarks(self) -> list[str]:
        """Return how many rows were cut to `max_length`."""
        limit = next(iter(self.settings.values())).max_length
        cut = sum(
            one is not None and any(len(answer.ids) >= limit for answer in one.answers)
            for one in self._examples.values()
        )
        return [f"{cut:,} rows are cut to max_length ({limit:,} tokens)"] if cut else []

    def hold_out(self, rows: Sequence[Row]) -> None:
        """Score these rows from now on.

        Raises:
            UsageError: the chat template does not take another row's answer, or an answer is cut
                off as a whole.
        """
        self._reference = None
        if self.method.name == "dpo":
            pairs = [one for row in rows if (one := self._example(row)) is not None]
            self._own = [answer for pair in pairs for answer in pair.answers]
        elif "contrast" in self._metrics:
            limit = next(iter(self.settings.values())).max_length
            try:
                self._own, self._other = own_and_other_answers(rows, self.chat, limit)
            except TemplateRefused as refused:
                raise UsageError(
                    f"held-out prompts cannot be put before other rows' answers ({refused}): leave "
                    "the metric contrast out"
                ) from refused
        else:
            examples = [one for row in rows if (one := self._example(row)) is not None]
            self._own = [one.answers[0] for one in examples]

    def can_answer(self, row: Row, max_tokens: int) -> bool:
        """Tell whether a row's prompt can be rendered, is shorter than `max_length` and fits."""
        limit = next(iter(self.settings.values())).max_length
        context = getattr(self.config, "max_position_embeddings", None) or limit + max_tokens
        try:
            return len(self._prompt(row)) < min(limit, context - max_tokens + 1)
        except TemplateRefused:
            return False

    def ask(self, rows: Sequence[Row], max_tokens: int) -> None:
        """Let every model answer the prompts of these rows from now on."""
        self._asked, self._max_tokens = [self._prompt(row) for row in rows], max_tokens

    def _prompt(self, row: Row) -> list[int]:
        before, _ = answer_of(row)
        return self.chat.asked(turns_for(before), **rendering_options(extras(row)))

    def untrained(self) -> list[GreedyAnswer]:
        """Return what the model answers before it is trained."""
        model = self._load(next(iter(self.settings.values()))).to(self.device).eval()
        return greedy_answers(model, self._asked, self.chat, self._max_tokens)

    def budget(self, lengths: Sequence[int]) -> TokenBudget:
        """Return epochs (or `max_steps`) of the settings over rows of these tokens."""
        settings = next(iter(self.settings.values()))
        size = settings.batch_size * settings.accumulate
        if settings.max_steps is not None:
            tokens = settings.max_steps * size * sum(lengths) / len(lengths)
            return TokenBudget(settings.max_steps, max(1, round(tokens)))
        steps = max(1, math.ceil(settings.epochs * len(lengths) / size))
        return TokenBudget(steps, max(1, round(settings.epochs * sum(lengths))))

    def score(self, subset: Subset, budget: TokenBudget, seed: int, folder: Path) -> ArmResult:
        """Train on a subset, score every held-out row, and answer what is asked.

        Raises:
            StoppedShort: the loss was not a number, or memory was full; `DiskFull` for the disk.
        """
        model, exposure = self._trained(subset, budget, seed, folder)
        scores = self._scores(model, len(self._own))
        answers = greedy_answers(model, self._asked, self.chat, self._max_tokens)
        return ArmResult(scores, exposure, answers)

    def seconds(self, subset: Subset, budget: TokenBudget, folder: Path) -> float:
        """Return about how long one run takes, from a few steps and held-out rows."""
        each_step = math.ceil(budget.tokens / budget.steps)
        # The first training imports what it needs.
        self._trained(subset, TokenBudget(1, each_step), 0, folder / "first")
        began = time.monotonic()
        self._load(next(iter(self.settings.values())))
        loaded = time.monotonic()
        few = TokenBudget(PROBE_STEPS, PROBE_STEPS * each_step)
        model, _ = self._trained(subset, few, 0, folder / "second")
        trained = time.monotonic()
        rows = min(PROBE_ROWS, len(self._own))
        self._scores(model, rows)
        scored = time.monotonic()
        few_asked = self._asked[:PROBE_PROMPTS]
        greedy_answers(model, few_asked, self.chat, self._max_tokens)
        answered = (time.monotonic() - scored) * len(self._asked) / max(1, len(few_asked))
        each = (scored - trained) / rows
        step = max(0.0, trained - loaded - (loaded - began)) / PROBE_STEPS
        return loaded - began + step * budget.steps + each * len(self._own) + answered

    def _load(self, settings: TrainingSettings) -> Any:
        return load_model(self.where, self.method, settings, self.device)

    def _trained(
        self, subset: Subset, budget: TokenBudget, seed: int, folder: Path
    ) -> tuple[Any, Exposure]:
        from curate.train import trainers
        from curate.train.watch import quietly, watch

        settings = dataclasses.replace(self.settings[subset.variant], seed=seed)
        examples = [one for row in subset.rows if (one := self._example(row)) is not None]
        lengths = [supervised(one) for one in examples]
        parts = TokenBudget(budget.steps * settings.accumulate, budget.tokens)
        pieces = pieces_of(lengths, parts, seed, whole=self.method.name != "sft")
        steps = [[cut_to(examples[piece.example], piece) for piece in step] for step in pieces]
        job = Job(self.method, settings, subset.name, self.model, folder)
        with told_apart(job, None), quietly():
            inputs = trainers.TrainerInputs(
                self._load(settings), self.chat, self.method, settings,
                [one for step in steps for one in step], [], self.device, steps,
            )  # fmt: skip
            checkpoints = folder / "checkpoints"
            trainer = trainers.trainer_for(inputs, str(checkpoints))
            watch(trainer, self._listener, patience=None)
            resumed = last_checkpoint(checkpoints)
            trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
        return trainer.model.eval(), exposure_of(lengths, pieces)

    def _scores(self, model: Any, count: int) -> dict[str, list[float]]:
        """Return each metric of the first sequences that are held out (of pairs, two for each)."""
        pad = self.chat.tokenizer.pad_token_id
        if self.method.name == "dpo":
            count -= count % 2
            if self._reference is None or len(self._reference) < count:
                untrained = self._load(next(iter(self.settings.values()))).to(self.device).eval()
                self._reference = log_probabilities(untrained, self._own[:count], pad)
            found = log_probabilities(model, self._own[:count], pad)
            beta = float(next(iter(self.settings.values())).loss["beta"])
            margins = reward_margins(found, self._reference[:count], beta)
            every = {"accuracy": [right_order(one) for one in margins], "margin": margins}
        else:
            every = {"loss": losses_per_token(model, self._own[:count], pad)}
            if self._other:
                crossed = losses_per_token(model, self._other[:count], pad)
                every["contrast"] = [
                    a - b for a, b in zip(crossed, every["loss"], strict=True)
                ]  # fmt: skip
        return {name: every[name] for name in self._metrics}
