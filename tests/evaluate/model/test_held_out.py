"""Held-out loss is one number, of `evaluate model`, of `prove` and of the trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.evaluate.model.held_out import held_out_loss, order_of_pairs
from curate.evaluate.model.stages import Stages
from curate.models.inprocess.chat import Chat
from curate.read.shapes.record_fields import turns_of
from curate.row import Message, Row
from curate.train.examples import example_of
from curate.train.held_out_scores import (
    log_probabilities,
    losses_per_token,
    own_and_other_answers,
)
from curate.train.settings import method_called, settings_for
from tests.steps.score.weighing import NEEDS_LOCAL
from tests.train import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]
TOOLED = "{% if tools %}{{ tools | tojson }}\n{% endif %}" + tiny.CHATML
ADD = {"type": "function", "function": {"name": "add", "parameters": {"a": {"type": "number"}}}}
LONG = "A longer answer, of some more words."


def talk(number: int, *texts: str, **extra: Any) -> Row:
    roles = ("user", "assistant") * len(texts)
    turns = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    columns = json.dumps(extra) if extra else None
    return tiny.row("sft", number, messages=turns, extra=columns)


ROWS = [
    talk(0, "Hi", "Hello!"),
    talk(1, "2 + 2?", "4", "And 3 + 3?", LONG),
    talk(2, "Add 2 and 2.", "It is 4.", tools=[ADD]),
    talk(3, "Say it.", "it"),
]


def write(path: Path, records: Any) -> str:
    path.write_text("\n".join(map(json.dumps, records)) + "\n", encoding="utf-8")
    return str(path)


def conversations(path: Path, rows: list[Row]) -> str:
    return write(
        path, ({"messages": turns_of(r.messages), **json.loads(r.extra or "{}")} for r in rows)
    )


def stages_of(tmp_path: Path, model: str) -> Stages:
    def run(pipeline: Pipeline, **options: Any) -> Any:
        return pipeline.run(pipeline.inputs, store=tmp_path / "store", **options)

    given = {"model": model, "device": "cpu", "threads": 1}
    return Stages(tmp_path / "evaluation", {"candidate": given}, run)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    tiny.model(initializer_range=0.4).save_pretrained(made)
    tiny.tokenizer(TOOLED).save_pretrained(made)
    return made


def test_the_loss_is_that_of_prove_and_of_the_trainer(tmp_path: Path, folder: Path) -> None:
    found = held_out_loss(
        stages_of(tmp_path, f"hf:{folder}"), conversations(tmp_path / "rows.jsonl", ROWS)
    )
    model, chat = tiny.model(initializer_range=0.4), Chat(tiny.tokenizer(TOOLED))
    way = method_called("sft")
    examples = [example_of(row, chat, way, settings_for(way))[0] for row in ROWS]
    own = [one.answers[0] for one in examples if one is not None]
    assert found["tokens"] == sum(tokens.supervised for tokens in own)
    # As `prove` measures it: the mean over rows.
    losses = losses_per_token(model.eval(), own, pad=257)
    assert found["loss_per_row"].value == pytest.approx(sum(losses) / len(losses), abs=1e-5)
    # As `curate train sft` measures it where rows are held out: the mean over tokens.
    from curate.train.trainers import TrainerInputs, trainer_for
    from curate.train.watch import quietly

    settings = settings_for(way, None, learning_rate=1e-3, batch_size=len(ROWS))
    inputs = TrainerInputs(model, chat, way, settings, examples, examples, "cpu")
    with quietly():
        told = trainer_for(inputs, str(tmp_path / "out")).evaluate()
    assert found["loss_per_token"] == pytest.approx(told["eval_loss"], abs=1e-5)


def test_the_prompt_contrast_is_that_of_prove(tmp_path: Path, folder: Path) -> None:
    # Ids decide which answer a row is given, so rows are those that were read.
    stages = stages_of(tmp_path, f"hf:{folder}")
    data = conversations(tmp_path / "rows.jsonl", ROWS)
    rows = [row for row in stages.run("read", [], data).kept if row.kind == "sft"]
    found = held_out_loss(stages, data)
    chat = Chat(tiny.tokenizer(TOOLED))
    own, other = own_and_other_answers(rows, chat, 512)
    model = tiny.model(initializer_range=0.4).eval()
    sides = [losses_per_token(model, sequences, pad=257) for sequences in (own, other)]
    gaps = [b - a for a, b in zip(*sides, strict=True)]
    assert found["prompt_contrast"].value == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
    # The three conversations with one answer were weighed before.
    assert stages.results[-1].summary["requests"]["replayed"] == 3


def test_the_margins_of_pairs_are_those_of_whole_answers(tmp_path: Path, folder: Path) -> None:
    pairs = [tiny.row("preference", n) for n in range(3)]
    data = write(tmp_path / "pairs.jsonl", (
        {name: turns_of(row.fields[name]) for name in ("prompt", "chosen", "rejected")}
        for row in pairs
    ))  # fmt: skip
    found = order_of_pairs(stages_of(tmp_path, f"hf:{folder}"), data, by="likelihood")
    way = method_called("dpo")
    chat = Chat(tiny.tokenizer(TOOLED))
    examples = [example_of(row, chat, way, settings_for(way))[0] for row in pairs]
    sides = [tokens for one in examples if one is not None for tokens in one.answers]
    sums = log_probabilities(tiny.model(initializer_range=0.4).eval(), sides, pad=257)
    margins = [a - b for a, b in zip(sums[::2], sums[1::2], strict=True)]
    assert found["margin"].value == pytest.approx(sum(margins) / 3, abs=1e-4)


@pytest.mark.real
@NEEDS_LOCAL
def test_the_loss_of_the_embedded_model_is_that_of_prove(tmp_path: Path) -> None:
    from curate.models.providers.local import model_folder
    from curate.train.weights import load_trained

    rows = [talk(0, "What is the capital of France?", "Paris."), talk(1, *"abcd"), ROWS[3]]
    found = held_out_loss(
        stages_of(tmp_path, "local"), conversations(tmp_path / "rows.jsonl", rows)
    )
    model, tokenizer = load_trained(str(model_folder()))
    chat, way = Chat(tokenizer), method_called("sft")
    examples = [example_of(row, chat, way, settings_for(way))[0] for row in rows]
    own = [one.answers[0] for one in examples if one is not None]
    # "Paris." and the token that ends the turn.
    assert tokenizer.decode(own[0].ids[own[0].prompt_length :]) == "Paris.<|im_end|>"
    losses = losses_per_token(model.float().eval(), own, tokenizer.pad_token_id)
    assert found["loss_per_row"].value == pytest.approx(sum(losses) / len(losses), abs=1e-4)
    assert found["tokens"] == sum(tokens.supervised for tokens in own)
