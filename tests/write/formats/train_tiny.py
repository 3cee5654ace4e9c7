"""Train a tiny model for two steps with TRL's trainers, every warning an error.

    python train_tiny.py FOLDER TASK=FILE...

The model has random weights and the tokenizer one token per byte: nothing is downloaded. A line of
JSON is printed for each task: how many rows the trainer kept, and the loss. A process of its own,
because TRL and its logging stay in a process for good.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("error")
# TRL 1.16 uses this option of transformers by its old name, whatever the data.
warnings.filterwarnings(
    "ignore", message=".*gradient_checkpointing(_disable|_enable)?. is deprecated"
)

import trl  # noqa: E402
from datasets import load_dataset  # noqa: E402
from transformers import (  # noqa: E402
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

from tests.write.formats.tiny import tokenizer  # noqa: E402

# Longer than any of the rows in bytes: a trainer drops or cuts what is longer.
LENGTH = 8192


def model(task: str, words: PreTrainedTokenizerFast, folder: Path) -> Any:
    """Return a model read from a folder: DPO and KTO read their reference model from it again."""
    labels = {"num_labels": 1} if task == "reward" else {}
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        pad_token_id=words.pad_token_id,
        eos_token_id=words.eos_token_id,
        bos_token_id=None,
        **labels,
    )
    kind = LlamaForSequenceClassification if task == "reward" else LlamaForCausalLM
    kind(config).save_pretrained(folder)
    return kind.from_pretrained(folder)


def train(task: str, path: str, home: Path) -> dict[str, Any]:
    words = tokenizer()
    names = {"sft": "SFT", "dpo": "DPO", "reward": "Reward", "kto": "KTO"}
    config = getattr(trl, f"{names[task]}Config")(
        output_dir=str(home / "out"),
        max_steps=2,
        per_device_train_batch_size=2,
        max_length=LENGTH,
        report_to=[],
        use_cpu=True,
        bf16=False,
        disable_tqdm=True,
        save_strategy="no",
        dataloader_pin_memory=False,
        **({"assistant_only_loss": True} if task == "sft" else {}),
    )
    data = load_dataset("json", data_files=path, split="train", cache_dir=str(home / "cache"))
    trainer = getattr(trl, f"{names[task]}Trainer")(
        model=model(task, words, home / "model"),
        args=config,
        train_dataset=data,
        processing_class=words,
    )
    rows = len(trainer.train_dataset)
    return {"task": task, "rows": rows, "loss": trainer.train().training_loss}


def main(folder: str, *given: str) -> None:
    for one in given:
        task, _, path = one.partition("=")
        print(json.dumps(train(task, path, Path(folder) / task)))


if __name__ == "__main__":
    main(*sys.argv[1:])
