"""Real models of two layers: equal steps and tokens, scores, and what a killed run goes on from."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import StoppedShort, UsageError
from curate.evaluate.proof.model_arms import ModelTrainer, check_training
from curate.evaluate.proof.proving import ProofRequest, prepare_proof, run_proof
from curate.evaluate.proof.subsets import Subset
from curate.models.inprocess.chat import IGNORED
from curate.row import Message, Row
from curate.train import trainers
from curate.train.fixed_budget import TokenBudget
from tests.evaluate.proof.arithmetic import write
from tests.train import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]
WORDS = ["red", "blue", "green", "sun", "moon", "tree", "sea", "sky"]


def rows(kind: str, count: int) -> list[Row]:
    return [tiny.row(kind, n) for n in range(count)]


@pytest.fixture
def trainer_of(tmp_path: Path) -> Callable[..., ModelTrainer]:
    model = tiny.folder(tmp_path / "model")

    def make(kind: str, settings: str = "", **given: Any) -> ModelTrainer:
        config = tmp_path / "settings.yaml"
        config.write_text(f"learning_rate: 0.01\nbatch_size: 4\n{settings}")
        return ModelTrainer(str(model), kind, config=config, **given)

    return make


def watched(monkeypatch: pytest.MonkeyPatch, cls: type, stop: int | None = None) -> list[int]:
    """Return the supervised tokens of every batch that is learnt; break off at step `stop`."""
    seen: list[int] = []
    whole = cls.compute_loss  # type: ignore[attr-defined]

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if stop is not None and self.state.global_step == stop:
            raise KeyboardInterrupt
        seen.append(int((inputs["labels"] != IGNORED).sum()))
        return whole(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(cls, "compute_loss", compute_loss)
    return seen


def test_every_step_learns_as_many_tokens(
    trainer_of: Callable[..., ModelTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = trainer_of("sft", "accumulate: 2\n")
    given = rows("sft", 30)
    lengths = trainer.lengths(given)
    budget = trainer.budget(lengths)
    # Two epochs of 30 rows, eight a step.
    assert budget == TokenBudget(8, 2 * sum(lengths))
    trainer.hold_out(rows("sft", 5))
    seen = watched(monkeypatch, trainers.SupervisedTrainer)
    for part in (given, given[:7]):
        seen.clear()
        scores, exposure, _ = trainer.score(Subset("a", part), budget, 1, tmp_path / str(len(part)))
        assert len(seen) == 16
        assert sum(seen) == exposure.tokens == budget.tokens
        assert max(seen) - min(seen) <= 1
        assert len(scores["loss"]) == 5


def test_scores_are_those_of_one_row_after_the_other(
    trainer_of: Callable[..., ModelTrainer], tmp_path: Path
) -> None:
    import torch

    trainer = trainer_of("sft", metrics=("loss", "contrast"))
    held = rows("sft", 7)
    trainer.hold_out(held)
    model = trainer._load(trainer.settings[""]).eval()
    found = trainer._scores(model, len(held))
    answers = {one.messages[-1].content for one in held}
    for place, row in enumerate(held):
        example = trainer._example(row)
        assert example is not None
        ids, labels = example.answers[0]
        alone = model(
            input_ids=torch.tensor([ids]), labels=torch.tensor([labels]), use_cache=False
        ).loss
        assert found["loss"][place] == pytest.approx(alone.item(), abs=1e-5)
        said = trainer.chat.tokenizer.decode([n for n in trainer._other[place].labels if n >= 0])
        other = said.removesuffix("<|im_end|>")
        assert other in answers
        assert other != row.messages[-1].content
    assert len({tuple(one.ids) for one in trainer._other}) == 7


def test_both_prompts_are_told_as_much_of_an_answer(
    trainer_of: Callable[..., ModelTrainer],
) -> None:
    limit = 60
    trainer = trainer_of("sft", f"max_length: {limit}\n", metrics=("contrast",))
    held = [
        tiny.row("sft", n, messages=(Message("user", f"q{n}?"), Message("assistant", text)))
        for n, text in enumerate(["a" * 200, "bbbb", "cc", "ddd", "e" * 9])
    ]
    trainer.hold_out(held)
    assert max(len(one.ids) for one in trainer._own) == limit
    own, other = (
        sorted([n for n in one.labels if n != IGNORED] for one in sequences)
        for sequences in (trainer._own, trainer._other)
    )
    assert own == other
    talk = (held[0].messages[0], held[0].messages[1], Message("user", "?"), held[1].messages[1])
    cut = tiny.row("sft", 9, messages=talk)
    # Its first answer can be learnt, its last one is beyond the limit.
    assert trainer.lengths([cut])[0] > 0
    with pytest.raises(UsageError, match=r"last answer of 1 held-out rows.*max_length \(60 tokens"):
        trainer.hold_out([*held, cut])


def test_answers_are_those_of_one_prompt_after_the_other(
    trainer_of: Callable[..., ModelTrainer], tmp_path: Path
) -> None:
    import torch

    trainer = trainer_of("sft", "max_length: 100\n")
    held = [tiny.row("sft", n, messages=(Message("user", "q" * n), Message("assistant", "yes")))
            for n in (1, 30, 4, 60, 9)]  # fmt: skip
    assert [trainer.can_answer(row, 12) for row in held] == [True] * 5
    long = (Message("user", "q" * 100), Message("assistant", "a"))
    assert not trainer.can_answer(tiny.row("sft", 1, messages=long), 12)
    # The model reads 512 tokens.
    assert not trainer.can_answer(held[0], 500)
    trainer.hold_out(held)
    trainer.ask(held, 12)
    untrained = trainer.untrained()
    model = trainer._load(trainer.settings[""]).eval()
    for row, answer in zip(held, untrained, strict=True):
        ids = trainer.chat.asked([{"role": "user", "content": row.messages[0].content}])
        start = len(ids)
        while len(ids) < start + 12:
            with torch.inference_mode():
                token = int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax())
            if token == trainer.chat.tokenizer.eos_token_id:
                break
            ids.append(token)
        assert answer.text == trainer.chat.tokenizer.decode(ids[start:], skip_special_tokens=True)
        assert answer.cut == (len(ids) == start + 12)
    # What is learnt is answered, and ends where its turn does.
    given = Subset("a", [tiny.row("sft", 1, messages=held[0].messages)] * 4)
    found = trainer.score(given, TokenBudget(30, 480), 0, tmp_path)
    assert found.answers[0] == ("yes", False)


def test_a_killed_run_goes_on_from_its_checkpoint(
    trainer_of: Callable[..., ModelTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = trainer_of("sft", "every: 2\n")
    given, budget = Subset("a", rows("sft", 24)), TokenBudget(6, 240)
    trainer.hold_out(rows("sft", 5))
    whole, *_ = trainer.score(given, budget, 3, tmp_path / "whole")
    with monkeypatch.context() as patched:
        watched(patched, trainers.SupervisedTrainer, stop=5)
        with pytest.raises(KeyboardInterrupt):
            trainer.score(given, budget, 3, tmp_path / "killed")
    seen = watched(monkeypatch, trainers.SupervisedTrainer)
    again, *_ = trainer.score(given, budget, 3, tmp_path / "killed")
    assert len(seen) == 2
    assert again["loss"] == pytest.approx(whole["loss"], abs=1e-6)


def test_a_loss_that_is_no_number_is_a_failure_of_the_arm(
    trainer_of: Callable[..., ModelTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = trainer_of("sft")
    trainer.hold_out(rows("sft", 5))
    whole = trainers.SupervisedTrainer.compute_loss

    def broken(*args: Any, **kwargs: Any) -> Any:
        return whole(*args, **kwargs) * float("nan")

    monkeypatch.setattr(trainers.SupervisedTrainer, "compute_loss", broken)
    with pytest.raises(StoppedShort, match="the loss is nan at step 1"):
        trainer.score(Subset("a", rows("sft", 9)), TokenBudget(2, 40), 0, tmp_path)


def test_pairs_are_scored_by_their_margin(
    trainer_of: Callable[..., ModelTrainer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trainer = trainer_of("preference")
    assert list(trainer.metrics) == ["accuracy", "margin"]
    held = rows("preference", 6)
    trainer.hold_out(held)
    seen = watched(monkeypatch, trainers.PairTrainer)
    given = rows("preference", 20)
    budget = TokenBudget(10, 10 * 100)
    scores, exposure, _ = trainer.score(Subset("a", given), budget, 0, tmp_path)
    assert len(seen) == 10
    assert abs(exposure.tokens - budget.tokens) < max(trainer.lengths(given))
    assert [s == (m > 0) for s, m in zip(scores["accuracy"], scores["margin"], strict=True)]
    assert min(scores["margin"]) > 0.05
    # Untrained, every pair is a tie and counts half.
    model = trainer._load(trainer.settings[""]).eval()
    untrained = trainer._scores(model, 12)
    assert untrained["accuracy"] == [0.5] * 6
    assert untrained["margin"] == pytest.approx([0] * 6, abs=1e-6)


def test_a_recipe_is_proved_on_a_real_model(tmp_path: Path) -> None:
    draw, model = random.Random(0), tiny.folder(tmp_path / "model")

    def talk(number: int, bad: bool) -> dict[str, Any]:
        text = " ".join(draw.choices(WORDS, k=4))
        return {
            "messages": [
                {"role": "user", "content": f"say {number} {text}?"},
                {"role": "assistant", "content": text[::-1] if bad else text},
            ],
            "bad": bad,
        }

    raw = write(tmp_path / "raw.jsonl", [talk(n, bad=n % 2 > 0) for n in range(120)])
    held = write(tmp_path / "held.jsonl", [talk(1000 + n, bad=False) for n in range(30)])
    config = tmp_path / "settings.yaml"
    config.write_text("learning_rate: 0.01\nmax_steps: 12\nadapter: lora\n")

    def good(row: Row) -> bool:
        return not json.loads(row.extra or "{}")["bad"]

    prepared = prepare_proof(
        Pipeline([good], inputs=raw), lambda kind: ModelTrainer(str(model), kind, config=config),
        ProofRequest(draws=4, held_out=held), tmp_path / "out", store=tmp_path / "store",
    )  # fmt: skip
    proof = run_proof(prepared)
    assert proof.exit_code == 0
    assert proof.verdicts[0].tested[0].difference.rank == 1
    # Nothing stays of a run but its scores.
    names = {path.suffix for path in (tmp_path / "out" / "arms").iterdir()}
    assert names == {".json"}


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        ("packing: bfd\n", {}, "leave `packing` and `held_out` out"),
        ("held_out: 0.1\n", {}, "leave `packing` and `held_out` out"),
        ("color: red\n", {}, "there is no 'color'"),
        ("", {"metrics": ("beauty",)}, "has no metric 'beauty'"),
        ("", {"variants": ("qlora",)}, "qlora needs a GPU"),
        ("template: gone.jinja\n", {}, "there is no file gone.jinja"),
    ],
)
def test_what_cannot_be_trained_is_known_early(
    tmp_path: Path, settings: str, given: dict[str, Any], message: str
) -> None:
    model = tiny.folder(tmp_path / "model")
    config = tmp_path / "settings.yaml"
    config.write_text(settings)
    with pytest.raises(UsageError, match=message):
        check_training(str(model), config=config, **given)
    with pytest.raises(UsageError, match="cannot be loaded"):
        check_training(str(tmp_path / "nothing"))
