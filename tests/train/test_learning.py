"""Each loss trains, and separates planted good answers from bad ones; rewards rise under RL."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.models.inprocess.chat import Chat
from curate.train import job as jobs
from curate.train.rewards import RewardModel
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from curate.train.watch import quietly
from curate.train.weights import load_trained
from tests.train import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]


def mean_log_prob(model: Any, ask: str, answer: str) -> float:
    """Return the mean log-probability of an answer's tokens."""
    chat = Chat(tiny.tokenizer())
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    tokens = chat.encode(turns)
    ids, labels = torch.tensor([tokens.ids]), torch.tensor(tokens.labels)
    with torch.no_grad():
        scores = model.eval()(input_ids=ids, use_cache=False).logits[0, :-1].log_softmax(-1)
    found = scores.gather(-1, ids[0, 1:, None])[:, 0]
    return found[labels[1:] != -100].mean().item()


@pytest.mark.parametrize("method", ["orpo", "simpo", "rrhf", "pro"])
def test_lists_are_put_in_order(method: str, tmp_path: Path) -> None:
    made = tiny.trainer(method, tmp_path, max_steps=25, learning_rate=1e-2)
    with quietly():
        before = made.evaluate()
        made.train()
        after = made.evaluate()
    assert after["eval_accuracy"] == 1
    assert after["eval_margin"] > before["eval_margin"] + 0.5
    assert after["eval_loss"] < before["eval_loss"]


def test_a_reward_model_learns_soft_labels_and_margins(tmp_path: Path) -> None:
    soft = {"p_chosen": 0.8, "margin": None}
    made = tiny.trainer("reward", tmp_path, max_steps=30, learning_rate=1e-2, fields=soft)
    with quietly():
        made.train()
        found = made.evaluate()
    # The best reward difference under a label of 0.8 is log(0.8 / 0.2).
    assert found["eval_accuracy"] == 1
    assert 0.9 < found["eval_margin"] < 1.9


def test_a_reward_model_orders_rankings(tmp_path: Path) -> None:
    made = tiny.trainer("reward", tmp_path, max_steps=25, learning_rate=1e-2, kind="ranked")
    with quietly():
        made.train()
        assert made.evaluate()["eval_accuracy"] == 1


def test_hindsight_answers_as_it_is_asked(tmp_path: Path) -> None:
    loss = {"mask_past": 0.02}
    made = tiny.trainer("coh", tmp_path, max_steps=60, learning_rate=1e-2, loss=loss)
    with quietly():
        made.train()
    good, bad = "Give a good answer.", "Give a bad answer."

    def gap(words: str) -> float:
        ask = f"q1?\n\n{words}"
        return mean_log_prob(made.model, ask, "yes 1") - mean_log_prob(made.model, ask, "no, 1")

    assert gap(good) > 0.1 > -0.1 > gap(bad)


def test_cloning_answers_as_it_is_asked_and_learns_good_answers_more(tmp_path: Path) -> None:
    made = tiny.trainer("cloning", tmp_path, max_steps=30, learning_rate=1e-2)
    with quietly():
        made.train()
    good, bad = "Give a good answer.", "Give a bad answer."
    wanted = mean_log_prob(made.model, f"q1?\n\n{good}", "yes 1")
    assert wanted > mean_log_prob(made.model, f"q1?\n\n{good}", "no, 1") + 0.1
    assert wanted > mean_log_prob(made.model, f"q2?\n\n{bad}", "no, 2")


def test_a_kl_keeps_the_model_where_it_was(tmp_path: Path) -> None:
    before = mean_log_prob(tiny.model(), "q1?", "yes 1")
    learnt = []
    for kl in (0.0, 10.0):
        made = tiny.trainer("sft", tmp_path, max_steps=25, loss={"kl": kl}, learning_rate=1e-2)
        with quietly():
            made.train()
        learnt.append(mean_log_prob(made.model, "q1?", "yes 1") - before)
    assert learnt[0] > 3
    assert 0 < learnt[1] < 0.5 * learnt[0]
    assert made.state.log_history[0]["kl"] == pytest.approx(0, abs=1e-6)


def test_weights_of_one_are_plain_sft(tmp_path: Path) -> None:
    from curate.train.collate import Sequences, dataset_of

    made = tiny.trainer("sft", tmp_path)
    batch = made.data_collator([made.train_dataset[n] for n in range(8)])
    plain = made.compute_loss(made.model, dict(batch))
    halved = {**batch, "weight": torch.full((8,), 0.5)}
    assert made.compute_loss(made.model, halved).item() == pytest.approx(plain.item() / 2, rel=1e-5)
    assert isinstance(made.data_collator, Sequences)
    assert dataset_of([], flat=True).num_rows == 0


# -- the chain ------------------------------------------------------------------------------------


def lower_case(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float]:
    """Return the share of answers' characters that are lower-case letters: the planted reward."""
    texts = [completion[0]["content"] for completion in completions]
    return [sum("a" <= character <= "z" for character in text) / 8 for text in texts]


def job_of(
    tmp_path: Path, method: str, records: list[dict[str, Any]], model: str, **given: Any
) -> jobs.Job:
    data = tmp_path / f"{method}.jsonl"
    data.write_text("\n".join(map(json.dumps, records)))
    reward = given.pop("reward", None)
    way = method_called(method)
    settings = settings_for(way, None, **given)
    return jobs.Job(way, settings, str(data), model, tmp_path / f"out-{method}", reward)


@pytest.mark.slow
def test_the_chain_from_sft_over_a_reward_to_reinforcement(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "model")

    def user(n: int) -> dict[str, Any]:
        return {"role": "user", "content": f"q{n}?"}

    def says(text: str) -> dict[str, Any]:
        return {"role": "assistant", "content": text}

    letters = ["abab", "bbba", "aabb", "bbbb", "baba", "aaab"]
    talks = [{"messages": [user(n), says(letters[n % 6])]} for n in range(48)]
    # Pairs of the policy's own kind, which differ in their share of a: a judge of pairs that differ
    # in all else, too, gives the first policy nearly all that it gives at most, and none can rise.
    draw, pairs = random.Random(5), list[dict[str, Any]]()
    words = ["".join(draw.choices("ab", k=draw.randint(2, 5))) for _ in range(400)]
    while len(pairs) < 48:
        bad, good = sorted(draw.sample(words, 2), key=lambda word: word.count("a") / len(word))
        if good.count("a") * len(bad) != bad.count("a") * len(good):
            ask = [user(len(pairs))]
            pairs.append({"prompt": ask, "chosen": [says(good)], "rejected": [says(bad)]})
    prompts = [{"prompt": [user(n)]} for n in range(48)]
    sft = job_of(tmp_path, "sft", talks, str(tmp_path / "model"), max_steps=60, learning_rate=1e-2)
    train(sft, prepare(sft))
    reward = job_of(tmp_path, "reward", pairs, str(sft.out), max_steps=80, learning_rate=3e-3)
    report = train(reward, prepare(reward))
    assert report["steps"] == 80
    judge = RewardModel(str(reward.out))
    good, bad = judge([[user(1)], [user(1)]], [[says("aaaa")], [says("bbbb")]])
    assert good > bad
    found = {}
    for method in ("rloo", "ppo"):
        online = job_of(
            tmp_path,
            method,
            prompts,
            str(sft.out),
            reward=str(reward.out),
            max_steps=25,
            batch_size=16,
            learning_rate=2e-3,
            generation={"samples": 4, "max_tokens": 6},
            trl={"logging_steps": 1} if method == "rloo" else {},
        )
        train(online, prepare(online))
        lines = (online.out / "curves.csv").read_text().splitlines()
        names = lines[0].split(",")
        rows = [dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]
        rewards = [float(row["reward"]) for row in rows if row["reward"]]
        kl = [float(row["kl"]) for row in rows if row["kl"]]
        found[method] = (sum(rewards[:4]) / 4, sum(rewards[-4:]) / 4, max(kl))
        model, tokenizer = load_trained(online.out)
        ids = tokenizer("q1?", return_tensors="pt")["input_ids"]
        assert torch.isfinite(model(input_ids=ids).logits).all()
    for method, (before, after, most) in found.items():
        assert after > before + 0.5, (method, found)
        assert most < 20, (method, found)
    assert (tmp_path / "out-ppo" / "value_head.safetensors").is_file()


def test_ppos_policy_is_what_is_sampled_from() -> None:
    """At a temperature the ratio, and the KL to the reference, are those of the heated logits."""
    from curate.train.ppo import Policy

    one, other = tiny.model(0), tiny.model(1)
    ids = torch.tensor([[10, 20, 30, 40, 50]])
    attention = torch.ones_like(ids)
    policy = Policy(one, other, temperature=0.5)
    with torch.no_grad():
        found, _ = policy(ids, attention, 2)
        before = policy.reference(ids, attention, 2)
        for model, log_probs in ((one, found), (other, before)):
            logits = model(input_ids=ids).logits[0, 2:4] / 0.5
            by_hand = logits.log_softmax(-1).gather(-1, ids[0, 3:, None])[:, 0]
            assert torch.allclose(log_probs[0], by_hand, atol=1e-6)


def test_ppo_raises_a_planted_reward(tmp_path: Path) -> None:
    from curate.train.ppo import Policy, Sampler, passes

    settings = settings_for(
        method_called("ppo"),
        None,
        batch_size=16,
        generation={"samples": 2, "max_tokens": 8},
        loss={"kl": 0.01},
    )
    examples = []
    chat = Chat(tiny.tokenizer())
    from curate.train.examples import example_of

    for n in range(16):
        example, _ = example_of(tiny.row("prompt", n), chat, method_called("ppo"), settings)
        assert example is not None
        examples.append(example)
    torch.manual_seed(0)
    policy = Policy(tiny.model(), tiny.model())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2)
    sampler = Sampler(chat, lower_case, settings, "cpu")
    rewards, kls = [], []
    for step in range(25):
        rollout, told = sampler.roll_out(policy, examples)
        assert rollout.mask[:, 0].all()
        passes(policy, rollout, settings, optimizer, step)
        rewards.append(told["reward"])
        kls.append(told["kl"])
    assert kls[0] == pytest.approx(0, abs=1e-4)
    assert sum(rewards[-3:]) > sum(rewards[:3]) + 0.6, rewards
    assert max(kls) < 60
