"""What the layer costs over plain TRL: tokens/s and peak memory of SFT and DPO, on one GPU.

One script, at most 15 minutes: bf16, packing, LoRA and QLoRA, on a Llama of 1.1 billion parameters
with random weights, which serve for speed. Each contender trains the same tokens for the same steps
in a process of its own, in turns; the goal is an overhead of at most 2 %. With `--device cpu` a
two-layer model shows that the script works.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CONTENDERS = ("curate", "trl")
TRIALS = ("sft", "sft-packed", "dpo-lora", "sft-qlora")
STEPS, BATCH, LENGTH, TURNS = 20, 8, 1024, 2
WORDS = ["curation", "model", "row", "answer", "token", "prompt", "reward", "ledger", "score"]


def make_model(folder: Path, *, small: bool) -> None:
    """Write a Llama with random weights, and a tokenizer of bytes, into `folder`."""
    from tests.train import tiny

    shape = {"max_position_embeddings": 4096}
    if not small:
        # The shape of TinyLlama 1.1B.
        shape |= {
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 22,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "vocabulary": 32_000,
        }
    tiny.folder(folder, **shape)


def make_rows(path: Path, trial: str, *, small: bool) -> None:
    """Write as many rows as the steps read, whose lengths vary as those of instructions do."""
    draw = random.Random(7)
    most = 60 if small else LENGTH - 100
    rows = []
    for n in range(STEPS * BATCH * (4 if trial == "sft-packed" else 1)):

        def text() -> str:
            size = draw.randrange(most // 8, most // (4 if trial == "sft-packed" else 1))
            return " ".join(draw.choices(WORDS, k=size // 6))

        ask = [{"role": "user", "content": f"{n}: {draw.choice(WORDS)}?"}]
        good, bad = ([{"role": "assistant", "content": text()}] for _ in range(2))
        pair = {"prompt": ask, "chosen": good, "rejected": bad}
        rows.append(pair if trial.startswith("dpo") else {"messages": ask + good})
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")


def adapter_of(trial: str, device: str) -> str:
    if trial.endswith("qlora"):
        return "qlora" if device == "cuda" else "lora"
    return "lora" if trial.endswith("lora") else "full"


def run_one(contender: str, trial: str, folder: Path, device: str) -> dict[str, Any]:
    """Train once in this process, and return tokens per second after the first steps."""
    from curate.train import trainers
    from curate.train.job import Job
    from curate.train.settings import method_called, settings_for
    from curate.train.training import prepare
    from curate.train.watch import quietly, watch
    from curate.train.weights import load_model

    way = method_called(trial.partition("-")[0])
    settings = settings_for(
        way,
        None,
        adapter=adapter_of(trial, device),
        batch_size=BATCH if device == "cuda" else 2,
        max_steps=STEPS if device == "cuda" else 4,
        max_length=LENGTH,
        packing="bfd_split" if trial == "sft-packed" else None,
        every=10_000,
        trl={"save_strategy": "no", "logging_steps": 5},
    )
    job = Job(way, settings, str(folder / f"{trial}.jsonl"), str(folder / "model"), folder / "out")
    prepared = prepare(job)
    model = load_model(prepared.where, way, settings, device)
    examples = prepared.checked.examples
    inputs = trainers.TrainerInputs(model, prepared.chat, way, settings, examples, [], device)
    with quietly():
        trainer = trainers.trainer_for(inputs, str(folder / "checkpoints"))
        if contender == "trl":
            trainer = plain_trainer(trainer, trial)
        watch(trainer, None, patience=None)
        pace = Pace(trainer)
        trainer.train()
    return {"tokens_per_second": pace.speed(), "peak_gb": peak(device)}


def plain_trainer(ours: Any, trial: str) -> Any:
    """Return TRL's own trainer of the same model, rows and settings, with its own collator."""
    from datasets import Dataset
    from trl import DPOTrainer, SFTTrainer

    tokenizer, args = ours.processing_class, ours.args
    if trial.startswith("dpo"):
        table = {"prompt_ids": [], "chosen_ids": [], "rejected_ids": []}
        for row in ours.train_dataset:
            start = next(n for n, label in enumerate(row["labels"][0]) if label != -100)
            table["prompt_ids"].append(row["ids"][0][:start])
            table["chosen_ids"].append(row["ids"][0][start:])
            table["rejected_ids"].append(row["ids"][1][start:])

        class Tokenized(DPOTrainer):
            def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
                return dataset

        return Tokenized(
            model=ours.model,
            args=args,
            train_dataset=Dataset.from_dict(table),
            processing_class=tokenizer,
        )
    columns = [
        c for c in ("input_ids", "labels", "seq_lengths") if c in ours.train_dataset.features
    ]
    args.dataset_kwargs = {"skip_prepare_dataset": True}
    return SFTTrainer(
        model=ours.model,
        args=args,
        train_dataset=ours.train_dataset.select_columns(columns),
        processing_class=tokenizer,
    )


class Pace:
    """The tokens that a trainer reads per second, without its first steps."""

    def __init__(self, trainer: Any) -> None:
        from transformers import TrainerCallback

        marks: list[tuple[float, float]] = []

        class Mark(TrainerCallback):
            def on_log(
                self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any
            ) -> None:
                if logs and "num_tokens" in logs:
                    marks.append((time.monotonic(), logs["num_tokens"]))

        if trainer.args.max_steps < 10:
            trainer.args.logging_steps = 1
        trainer.add_callback(Mark())
        self._marks = marks

    def speed(self) -> float:
        (began, first), (ended, last) = self._marks[0], self._marks[-1]
        return (last - first) / (ended - began)


def peak(device: str) -> float:
    if device == "cuda":
        import torch

        return torch.cuda.max_memory_allocated() / 1e9
    from curate.system.posix import peak_memory_mb

    return peak_memory_mb() / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--full", action="store_true", help="accepted, so that `make` can add it")
    parser.add_argument("--one", nargs=3, metavar=("CONTENDER", "TRIAL", "FOLDER"))
    parser.add_argument("--trials", nargs="+", choices=TRIALS, default=list(TRIALS))
    given = parser.parse_args()
    if given.one:
        contender, trial, folder = given.one
        print(json.dumps(run_one(contender, trial, Path(folder), given.device)))
        return
    from curate.encoders.precision import has_gpu

    if given.device == "cuda" and not has_gpu():
        print("no GPU here: nothing was measured (--device cpu shows that the script works)")
        return
    with tempfile.TemporaryDirectory() as folder:
        make_model(Path(folder) / "model", small=given.device == "cpu")
        for trial in given.trials:
            make_rows(Path(folder) / f"{trial}.jsonl", trial, small=given.device == "cpu")
            best: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
            for _ in range(TURNS if given.device == "cuda" else 1):
                for name in CONTENDERS:
                    best[name].append(measured(name, trial, folder, given.device))
            print_trial(trial, best)


def measured(contender: str, trial: str, folder: str, device: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--device", device, "--one", contender, trial, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{contender} {trial} failed:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def print_trial(trial: str, best: dict[str, list[dict[str, float]]]) -> None:
    speed = {name: max(one["tokens_per_second"] for one in found) for name, found in best.items()}
    memory = {name: min(one["peak_gb"] for one in found) for name, found in best.items()}
    overhead = speed["trl"] / speed["curate"] - 1
    print(
        f"{trial}: curate {speed['curate']:,.0f} tokens/s, {memory['curate']:.1f} GB; plain TRL "
        f"{speed['trl']:,.0f} tokens/s, {memory['trl']:.1f} GB; overhead {overhead:+.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
