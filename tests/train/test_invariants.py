"""What must hold of any trainer: accumulation, packing, adapters, resuming."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.row import Candidate, Message, Row
from curate.train import job as jobs
from curate.train.interruptions import last_checkpoint
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from curate.train.watch import quietly
from curate.train.weights import load_trained, merge
from tests.train import tiny

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning"),
]
TEXTS = ["yes", "no, not at all", "it may be", "surely", "who knows", "yes yes", "ah", "so it is"]


def write(path: Path, method: str, count: int = 24) -> str:
    """Write rows whose answers differ in length."""
    records = []
    for n in range(count):
        ask = {"role": "user", "content": f"q{n}?"}
        good, bad = (
            {"role": "assistant", "content": f"{TEXTS[(n + shift) % 8]} {n}"} for shift in (0, 3)
        )
        records.append(
            {"messages": [ask, good]}
            if method == "sft"
            else {"prompt": [ask], "completion": [good], "label": n % 2 == 0}
            if method == "kto"
            else {"prompt": [ask]}
            if method == "ppo"
            else {"prompt": [ask], "chosen": [good], "rejected": [bad]}
        )
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def job_of(tmp_path: Path, method: str, out: str, **changes: Any) -> jobs.Job:
    if not (tmp_path / "model").exists():
        tiny.folder(tmp_path / "model")
    way = method_called(method)
    given = {"learning_rate": 1e-2, "batch_size": 4, "every": 3, **changes}
    reward = None
    if method == "ppo":
        (tmp_path / "reward.py").write_text(
            "def vowels(prompts, completions, **_):\n"
            "    return [float(sum(map(c[0]['content'].count, 'aeiou'))) for c in completions]\n"
        )
        reward = f"{tmp_path / 'reward.py'}:vowels"
    settings = settings_for(way, None, **given)
    data = write(tmp_path / f"{method}.jsonl", method)
    return jobs.Job(way, settings, data, str(tmp_path / "model"), tmp_path / out, reward)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return {k: v for path in folder.glob("*.safetensors") for k, v in load_file(path).items()}


def unequal(kind: str) -> list[Row]:
    """Return rows whose answers differ in length, so that a mean of means is no mean of tokens."""
    found = []
    for n in range(8):
        good, bad = ((Message("assistant", TEXTS[(n + by) % 8]),) for by in (0, 3))
        asks = (Message("user", f"q{n}?"),)
        given: dict[str, Any] = {
            "sft": {"messages": asks + good},
            "preference": {"chosen": good, "rejected": bad},
            "ranked": {"candidates": (Candidate(good, 3.0), Candidate(bad, 1.0))},
            "unpaired": {"completion": good},
        }[kind]
        weight = '{"weight": 0.5}' if kind == "sft" and n % 3 == 0 else None
        found.append(tiny.row(kind, n, **given, extra=weight))
    return found


@pytest.mark.parametrize(
    ("method", "loss"),
    [
        ("sft", {}),
        ("sft", {"kl": 0.5}),
        ("dpo", {}),
        ("dpo", {"kind": "sigmoid_norm"}),
        ("dpo", {"kind": "cdpo", "noise": 0.1}),
        ("reward", {}),
        ("orpo", {}),
        ("simpo", {}),
        ("rrhf", {}),
        ("pro", {}),
        ("coh", {}),
        ("cloning", {}),
    ],
)
def test_eight_small_batches_are_one_large_one(
    method: str, loss: dict[str, Any], tmp_path: Path
) -> None:
    moved = []
    rows = unequal(method_called(method).learns_from[0])
    if method == "sft" and loss:
        # Weights here, and none beside: both ways through the loss.
        rows = [row._replace(extra=None) for row in rows]
    for size, accumulate in ((8, 1), (1, 8)):
        made = tiny.trainer(
            method,
            tmp_path,
            batch_size=size,
            accumulate=accumulate,
            max_steps=1,
            warmup=0,
            rows=rows,
            loss=loss,
            trl={"optim": "sgd", "max_grad_norm": 0.0, "lr_scheduler_type": "constant"},
            # Large, so that what is added to weights of 1 is not rounded away.
            learning_rate=16.0,
        )
        before = {n: p.detach().clone() for n, p in made.model.named_parameters()}
        with quietly():
            made.train()
        moved.append({n: before[n] - p.detach() for n, p in made.model.named_parameters()})
    one, many = moved
    norm = math.sqrt(sum((g**2).sum().item() for g in one.values()))
    apart = math.sqrt(sum(((one[n] - many[n]) ** 2).sum().item() for n in one))
    assert norm > 1e-3
    # Both sides of a reward nearly cancel, and leave more of float32's rounding.
    assert apart / norm < (1e-4 if method == "reward" else 1e-5)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("packing", ["bfd", "bfd_split"])
def test_packed_rows_do_not_see_each_other(packing: str, attention: str, tmp_path: Path) -> None:
    made = tiny.trainer(
        "sft",
        tmp_path,
        given=tiny.model(attn_implementation=attention),
        packing=packing,
        max_length=96,
    )
    assert len(made.train_dataset) < 8
    packed: dict[tuple[int, ...], torch.Tensor] = {}
    for row in made.train_dataset:
        batch = made.data_collator([row])
        with torch.no_grad():
            found = made.model(**batch, use_cache=False, fused_lm_head=True).log_probs[0]
        start = 0
        for length in row["seq_lengths"]:
            ids = row["input_ids"][start : start + length]
            packed[tuple(ids)] = found[start : start + length - 1]
            start += length
    assert len(packed) == 8
    for ids, found in packed.items():
        one = torch.tensor([ids])
        with torch.no_grad():
            logits = made.model(input_ids=one, use_cache=False).logits[0, :-1].log_softmax(-1)
        alone = logits.gather(-1, one[0, 1:, None])[:, 0]
        learnt = found != 0
        assert learnt.any()
        assert torch.allclose(found[learnt], alone[learnt], atol=1e-4)


@pytest.mark.parametrize("kind", ["full", "lora", "prefix", "prompt"])
def test_what_is_saved_answers_as_what_was_trained(kind: str, tmp_path: Path) -> None:
    made = tiny.trainer(
        "sft",
        tmp_path / "checkpoints",
        given=None if kind == "full" else tiny_from_folder(tmp_path),
        adapter=kind,
        max_steps=3,
        learning_rate=1e-2,
    )
    with quietly():
        made.train()
    made.save_model(str(tmp_path / "out"))
    again, _ = load_trained(tmp_path / "out")
    ids = torch.tensor([[10, 20, 30, 40]])
    made.model.eval()
    with torch.no_grad():
        one, other = made.model(input_ids=ids).logits, again(input_ids=ids).logits
        base = tiny.model()(input_ids=ids).logits
    assert torch.allclose(one, other, atol=1e-6)
    assert not torch.allclose(one[:, -4:], base, atol=1e-3)


def tiny_from_folder(path: Path) -> Any:
    from transformers import AutoModelForCausalLM

    tiny.folder(path / "base")
    return AutoModelForCausalLM.from_pretrained(path / "base")


def test_an_adapter_is_off_exactly_and_merges(tmp_path: Path) -> None:
    made = tiny.trainer(
        "sft",
        tmp_path / "checkpoints",
        given=tiny_from_folder(tmp_path),
        adapter="lora",
        max_steps=3,
        learning_rate=1e-2,
    )
    with quietly():
        made.train()
    made.save_model(str(tmp_path / "out"))
    made.processing_class.save_pretrained(tmp_path / "out")
    ids = torch.tensor([[10, 20, 30, 40]])
    made.model.eval()
    with torch.no_grad():
        adapted = made.model(input_ids=ids).logits
        with made.model.disable_adapter():
            off = made.model(input_ids=ids).logits
        assert torch.equal(off, tiny.model()(input_ids=ids).logits)
        merge(tmp_path / "out", tmp_path / "merged")
        merged, _ = load_trained(tmp_path / "merged")
        assert torch.allclose(merged(input_ids=ids).logits, adapted, atol=1e-5)
    assert not torch.allclose(adapted, off, atol=1e-3)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "coh", "ppo"])
def test_a_training_that_was_killed_ends_with_the_same_weights(method: str, tmp_path: Path) -> None:
    def kill(progress: Any) -> None:
        if progress.step == 4:
            raise Killed

    changes = {"generation": {"max_tokens": 4, "samples": 2}, "loss": {"passes": 1}}
    given = {"max_steps": 6, **(changes if method == "ppo" else {})}
    whole = job_of(tmp_path, method, "whole", **given)
    train(whole, prepare(whole))
    broken = job_of(tmp_path, method, "broken", **given)
    with pytest.raises(Killed):
        train(broken, prepare(broken), kill)
    kept = last_checkpoint(broken.out / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-3"
    report = train(broken, prepare(broken))
    assert report["resumed"] == "checkpoint-3"
    one, other = weights(whole.out), weights(broken.out)
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_checkpoint_that_was_broken_off_is_none(tmp_path: Path) -> None:
    for name, state in (
        ("checkpoint-3", "{}"),
        ("checkpoint-6", '{"global'),
        ("checkpoint-9", None),
    ):
        (tmp_path / name).mkdir()
        if state is not None:
            (tmp_path / name / "trainer_state.json").write_text(state)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-3"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_kto_sees_both_classes_in_each_batch(tmp_path: Path) -> None:
    job = job_of(tmp_path, "kto", "out")
    records = [json.loads(line) for line in Path(job.data).read_text().splitlines()]
    records.sort(key=lambda record: record["label"])
    Path(job.data).write_text("\n".join(map(json.dumps, records)))
    labels = [example.label for example in prepare(job).checked.examples]
    assert all(len(set(labels[n : n + 2])) == 2 for n in range(0, len(labels), 2))
