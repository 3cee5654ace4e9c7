"""PPO's loop: its rate, where sampled answers end, and what is measured of held-out prompts."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import StoppedShort
from curate.models.inprocess.chat import Chat
from curate.train import job as jobs
from curate.train.examples import Example
from curate.train.ppo import Policy, Sampler, ends_of_answers, rate_at
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def length(completions: Any, **_: Any) -> list[float]:
    return [float(len(one[0]["content"])) for one in completions]


@pytest.mark.parametrize(
    ("warmup", "expected"),
    [(0, [1, 1, 1, 1]), (2, [0.1, 0.55, 1, 1]), (0.5, [0.1, 0.55, 1, 1]), (0.01, [0.1, 1, 1, 1])],
)
def test_the_rate_rises_and_stays(warmup: float, expected: list[float]) -> None:
    settings = settings_for(method_called("ppo"), None, learning_rate=1.0, warmup=warmup)
    assert [rate_at(step, 4, settings) for step in range(1, 5)] == pytest.approx(expected)


def test_an_answer_ends_with_any_token_that_ends_answers() -> None:
    special = ("<|pad|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>")
    chat = Chat(tiny.tokenizer(special=special, eos="<|endoftext|>"))
    model, vocabulary = tiny.model(), chat.tokenizer.get_vocab()
    model.generation_config.eos_token_id = [vocabulary["<|im_end|>"]]
    assert ends_of_answers(model, chat.tokenizer) == sorted(
        [vocabulary["<|im_end|>"], vocabulary["<|endoftext|>"]]
    )
    said = torch.tensor([[65, vocabulary["<|im_end|>"], 66], [65, 66, vocabulary["<|endoftext|>"]]])

    def written(**given: Any) -> torch.Tensor:
        assert given["eos_token_id"] == ends_of_answers(model, chat.tokenizer)
        return torch.cat([given["input_ids"], said], 1)

    model.generate = written
    settings = settings_for(method_called("ppo"))
    asked = [Example(f"r{n}", (), turns=({"role": "user", "content": "q"},)) for n in range(2)]
    sampler = Sampler(chat, length, settings, "cpu")
    rollout, told = sampler.roll_out(Policy(model, tiny.model()), asked)
    assert rollout.mask.tolist() == [[True, True, False], [True, True, True]]
    assert told["reward"] == 1.5
    assert told["length"] == 2.5


def job_of(tmp_path: Path, **changes: Any) -> jobs.Job:
    rows = [{"prompt": [{"role": "user", "content": f"q{n}?"}]} for n in range(12)]
    (tmp_path / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "mine.py").write_text(
        "def odd(prompts, completions, **_):\n"
        "    return [float(sum(map(ord, c[0]['content'])) % 7) for c in completions]\n"
    )
    way = method_called("ppo")
    settings = settings_for(
        way, None, generation={"max_tokens": 3}, learning_rate=1e-2, warmup=0, **changes
    )
    return jobs.Job(
        way, settings, str(tmp_path / "prompts.jsonl"), str(tiny.folder(tmp_path / "model")),
        tmp_path / "out", f"{tmp_path / 'mine.py'}:odd",
    )  # fmt: skip


def test_held_out_prompts_are_measured_before_and_after(tmp_path: Path) -> None:
    job = job_of(tmp_path, max_steps=1, held_out=0.4)
    prepared = prepare(job)
    assert prepared.checked.held_out
    report = train(job, prepared)
    assert report["before"]["kl"] == pytest.approx(0, abs=1e-5)
    assert abs(report["after"]["kl"]) > 1e-3
    assert "held-out reward" in (job.out / "README.md").read_text()


def test_numbers_that_are_none_end_it_with_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path, max_steps=3, batch_size=4, loss={"passes": 1})
    norms: list[float] = []

    def broken(parameters: Any, most: float) -> torch.Tensor:
        norms.append(most)
        return torch.tensor(1.0 if len(norms) == 1 else math.nan)

    monkeypatch.setattr("curate.train.ppo.nn.utils.clip_grad_norm_", broken)
    with pytest.raises(StoppedShort, match="the gradients' norm is nan at step 2; no weight"):
        train(job, prepare(job))
