"""What TRL does by itself with defects that the check names: the claims of `findings.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, RewardConfig, RewardTrainer, SFTConfig, SFTTrainer
from trl.data_utils import extract_prompt

from curate.train.preflight import kinds_of_finding
from curate.train.settings import methods
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
LONG = "sun " * 60


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def says(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def options(path: Path) -> dict[str, Any]:
    return {
        "output_dir": str(path),
        "use_cpu": True,
        "activation_checkpointing": False,
        "max_length": 100,
        "report_to": "none",
    }


def pair(prompt: str, chosen: str = "yes", rejected: str = "no") -> dict[str, Any]:
    return {"prompt": [user(prompt)], "chosen": [says(chosen)], "rejected": [says(rejected)]}


def test_sft_drops_rows_whose_answer_is_cut_off_silently(tmp_path: Path) -> None:
    rows = [{"prompt": [user(text)], "completion": [says("yes")]} for text in ("q1?", LONG, "q2?")]
    made = SFTTrainer(
        model=tiny.model(),
        args=SFTConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
    )
    assert len(made.train_dataset) == 2
    assert "dropped silently" in methods()["sft"].trl_too_long
    cut = [row["input_ids"] for row in made.train_dataset]
    # The newline behind the end of turn is learnt, too.
    assert made.train_dataset[0]["labels"][-1] == cut[0][-1] != 256


def test_sft_cuts_the_end_of_turn_off(tmp_path: Path) -> None:
    made = SFTTrainer(
        model=tiny.model(),
        args=SFTConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list([{"prompt": [user("q")], "completion": [says(LONG)]}]),
        processing_class=tiny.tokenizer(),
    )
    ids = made.train_dataset[0]["input_ids"]
    assert len(ids) == 100
    assert 256 not in ids[-50:]


def test_dpo_drops_long_prompts_and_trains_on_equal_pairs(tmp_path: Path) -> None:
    rows = [pair("q1?"), pair(LONG), pair("q2?", "same", "same"), pair("q3?", "", "no")]
    made = DPOTrainer(
        model=tiny.model(),
        ref_model=tiny.model(),
        args=DPOConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
    )
    kept = [row["prompt"][0]["content"] for row in made.train_dataset]
    assert kept == ["q1?", "q2?", "q3?"]


def test_a_reward_trainer_drops_what_is_longer(tmp_path: Path) -> None:
    made = RewardTrainer(
        model=tiny.scorer(),
        args=RewardConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list([pair("q1?"), pair("q2?", LONG)]),
        processing_class=tiny.tokenizer(),
    )
    assert len(made.train_dataset) == 1


def test_implicit_prompts_are_split_inside_a_word() -> None:
    found = extract_prompt({"chosen": "Is it? Yes, so.", "rejected": "Is it? Yesterday."})
    assert found["prompt"] == "Is it? Yes"
    assert "inside the word" in kinds_of_finding()["implicit_prompt_split"]["trl"]


def test_conversations_with_other_prompts_fail_without_the_row(tmp_path: Path) -> None:
    sides = {"chosen": [user("a"), says("yes")], "rejected": [user("b"), says("no")]}
    assert extract_prompt(sides)["prompt"] == []
    with pytest.raises((IndexError, ValueError)) as failed:
        DPOTrainer(
            model=tiny.model(),
            ref_model=tiny.model(),
            args=DPOConfig(**options(tmp_path)),
            train_dataset=Dataset.from_list([sides]),
            processing_class=tiny.tokenizer(),
        )
    assert "row" not in str(failed.value)
    assert "names no row" in kinds_of_finding()["prompts_differ"]["trl"]


def test_a_table_that_is_empty_after_drops_fails_by_its_number(tmp_path: Path) -> None:
    made = DPOTrainer(
        model=tiny.model(),
        ref_model=tiny.model(),
        args=DPOConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list([pair(LONG)]),
        processing_class=tiny.tokenizer(),
    )
    with pytest.raises(ValueError, match="num_samples=0"):
        made.train()


def test_columns_that_mean_something_elsewhere_are_ignored_silently(tmp_path: Path) -> None:
    rows = [{**pair("q1?"), "margin": 3.0, "p_chosen": 0.5}]
    made = DPOTrainer(
        model=tiny.model(),
        ref_model=tiny.model(),
        args=DPOConfig(**options(tmp_path)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tiny.tokenizer(),
    )
    (batch,) = made.get_train_dataloader()
    assert set(batch) == {"input_ids", "attention_mask", "completion_mask"}


def test_kto_refuses_batches_of_one(tmp_path: Path) -> None:
    from trl import KTOTrainer

    given = {**options(tmp_path), "per_device_train_batch_size": 1}
    rows = [{"prompt": [user("q")], "completion": [says("yes")], "label": True}]
    with pytest.raises(ValueError, match="batch size"):
        KTOTrainer(
            model=tiny.model(),
            args=KTOConfig(**given),
            train_dataset=Dataset.from_list(rows),
            processing_class=tiny.tokenizer(),
        )
