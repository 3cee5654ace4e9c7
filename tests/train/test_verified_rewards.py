"""Verified answers as rewards: by each row's own checker, in TRL's trainer, as verl calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import UsageError
from curate.steps import Verifiable
from curate.train.verified_rewards import compute_score, verified_reward
from curate.write import write_rows


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


ASKED = [{"role": "user", "content": "?"}]


@pytest.mark.parametrize(
    ("answer", "gold", "verifier", "reward"),
    [
        ("It is 7.", "7", "number", 1.0),
        ("It is 8.", "7", "number", 0.0),
        ("I do not know.", "7", "number", 0.0),
        ("", "7", "number", 0.0),
        ("<think>\n8? No.\n</think>\n\n7", "7", "exact", 1.0),
        ("<think>\n7", "7", "exact", 0.0),
        ("7.05", "7", '{"checker": "number", "tolerance": 0.01}', 1.0),
        ("(B)", ["A", "B"], "choice", 1.0),
        ('{"a": 1}', {"type": "object", "required": ["a"]}, "json", 1.0),
        ("{}", {"type": "object", "required": ["a"]}, "json", 0.0),
    ],
)
def test_the_reward_is_the_share_that_the_rows_own_checker_passes(
    answer: str, gold: Any, verifier: str, reward: float
) -> None:
    columns = {"ground_truth": [gold], "verifier": [verifier]}
    assert verified_reward([ASKED], [says(answer)], **columns) == [reward]
    assert verified_reward(["?"], [answer], **columns, level=[None]) == [reward]
    text = gold if isinstance(gold, str) else json.dumps(gold, separators=(",", ":"))
    assert compute_score("curate/x", answer, text, {"verifier": verifier}) == reward


def test_a_row_cannot_allow_that_programs_run() -> None:
    told = '{"checker": "code", "allow_code": true}'
    with pytest.raises(UsageError, match="a row cannot allow code; only a recipe can"):
        verified_reward([ASKED], [says("x = 1")], ground_truth=[["assert x"]], verifier=[told])


def test_checkers_are_mixed_in_one_batch() -> None:
    rewards = verified_reward(
        [ASKED] * 2,
        [says("7"), says("(A)")],
        ground_truth=["7", "B"],
        verifier=["number", "choice"],
        pass_rate=[0.5, 0.25],
    )
    assert rewards == [1.0, 0.0]


def test_gold_and_checkers_that_are_none_are_errors() -> None:
    with pytest.raises(UsageError, match=r"cannot read the gold answer to '\?', 'seven'"):
        verified_reward([ASKED], [says("7")], ground_truth=["seven"], verifier=["number"])
    for gold, name in ((["7", "seven"], "number"), ({"type": "wordy"}, "json")):
        for answer in ("7", "", "<think>"):
            with pytest.raises(UsageError, match="'verify' cannot read the gold answer"):
                verified_reward([ASKED], [says(answer)], ground_truth=[gold], verifier=[name])
    with pytest.raises(UsageError, match="cannot score answers to '': column 'ground_truth'"):
        compute_score("curate/json", "7", None)
    with pytest.raises(UsageError, match="'verifier' holds None: it names no checker"):
        verified_reward([ASKED], [says("7")], ground_truth=["7"], verifier=[None])  # type: ignore[list-item]
    with pytest.raises(UsageError, match="'verifier' holds 'guess'"):
        compute_score("curate/guess", "7", "7")


SUMS = [
    {"question": f"What is {n} + {n}?", "answer": f"{n} + {n} = {2 * n}\n#### {2 * n}"}
    for n in range(4)
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_an_export_trains_in_trls_grpo_with_our_verifier_as_reward(tmp_path: Path) -> None:
    """Two steps on two layers: gradients flow where answers to one prompt differ in reward."""
    import torch
    from datasets import load_dataset
    from trl import GRPOConfig, GRPOTrainer

    from tests.train import tiny

    run = Pipeline([Verifiable(verify="number")]).run(SUMS, run=tmp_path / "run")
    path = tmp_path / "rlvr.parquet"
    assert write_rows(run.kept.tables(), path, "grpo") == 4
    data = load_dataset("parquet", data_files=str(path), cache_dir=str(tmp_path / "cache"))["train"]
    seen: list[tuple[Any, Any, float]] = []

    def watched(prompts: Any, completions: Any, **columns: Any) -> list[float]:
        rewards = verified_reward(prompts, completions, **columns)
        seen.extend(zip(columns["ground_truth"], columns["verifier"], rewards, strict=True))
        return rewards

    policy = tiny.model()
    before = {name: p.detach().clone() for name, p in policy.named_parameters()}
    trainer = GRPOTrainer(
        model=policy,
        reward_funcs=watched,
        args=GRPOConfig(
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            activation_checkpointing=False,
            report_to="none",
            max_steps=2,
            per_device_train_batch_size=8,
            num_generations=8,
            max_completion_length=12,
            learning_rate=0.01,
            save_strategy="no",
            logging_steps=1,
            seed=1,
        ),
        train_dataset=data,
        processing_class=tiny.tokenizer(),
    )
    trainer.train()
    rewards = [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]
    assert len(rewards) == 2
    assert len(seen) == 16
    assert {gold for gold, _, _ in seen} <= {"0", "2", "4", "6"}
    assert {name for _, name, _ in seen} == {"number"}
    # A random model of bytes seldom reckons; what it was told is what the checker says.
    assert all(reward in (0.0, 1.0) for _, _, reward in seen)
    moved = any(
        not torch.equal(before[name], p.detach().cpu()) for name, p in policy.named_parameters()
    )
    differ = any(len({r for _, _, r in seen[n : n + 8]}) > 1 for n in (0, 8))
    assert moved == differ
