"""Does training teach what it should? Three trainings of the embedded model, on a CPU.

SFT on answers of people must lower the held-out loss. DPO on a planted preference (the same answer
in lower case is better) must raise the held-out reward accuracy clearly above chance. DPO on
HH-RLHF is shown as it comes, with its interval. Steps are fixed before anything is measured. Three
of each are made without --full, which shows that the script works.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Rows that a CPU reads in seconds a step: prompt and answer together, in characters.
MOST_CHARACTERS = 360
SETTINGS = {
    "adapter": "lora",
    "batch_size": 4,
    "max_length": 160,
    "learning_rate": 2e-4,
    "seed": 7,
}
# (rows to learn from, rows held out, steps, steps between evaluations)
PLAN = {"sft": (120, 32, 30, 30), "lower case": (120, 32, 30, 30), "hh-rlhf": (120, 48, 30, 15)}


def short(*texts: str) -> bool:
    return all(texts) and sum(map(len, texts)) <= MOST_CHARACTERS


def dolly(data: Path) -> list[tuple[str, str]]:
    """Return questions and answers of people, short ones without a context."""
    rows = json.loads((data / "dolly" / "dolly_3k.json").read_text(encoding="utf-8"))
    rows = rows if isinstance(rows, list) else rows["data"]
    pairs = [
        (row["instruction"], row.get("response") or row.get("output") or "")
        for row in rows
        if not (row.get("context") or row.get("input"))
    ]
    return [(ask, answer) for ask, answer in pairs if short(ask, answer)]


def records(name: str, data: Path) -> list[dict[str, Any]]:
    """Return the rows of one training, shuffled by nothing but the order of their file."""
    if name == "hh-rlhf":
        path = data / "hh-rlhf" / "harmless_base_test.jsonl.gz"
        with gzip.open(path, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        return [r for r in rows if short(r["chosen"]) and short(r["rejected"])]
    talks = []
    for ask, answer in dolly(data):
        prompt = [{"role": "user", "content": ask}]
        good = [{"role": "assistant", "content": answer}]
        if name == "sft":
            talks.append({"messages": prompt + good})
        elif answer != answer.lower():
            lower = [{"role": "assistant", "content": answer.lower()}]
            talks.append({"prompt": prompt, "chosen": lower, "rejected": good})
    return talks


def interval(share: float, count: int, z: float = 1.96) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share of `count`."""
    middle = share + z * z / (2 * count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return (middle - half) / scale, (middle + half) / scale


def measure(name: str, data: Path, folder: Path, *, full: bool) -> dict[str, Any]:
    """Train once, and return what the held-out rows say before, during and after."""
    from curate.train.job import Job
    from curate.train.settings import method_called, settings_for
    from curate.train.training import prepare, train

    learnt, held_out, steps, every = PLAN[name]
    if not full:
        learnt, held_out, steps, every = 12, 4, 3, 3
    rows = records(name, data)[: learnt + held_out]
    files = {}
    for side, part in (("train", rows[:learnt]), ("test", rows[learnt:])):
        files[side] = folder / f"{name.replace(' ', '-')}-{side}.jsonl"
        files[side].write_text("\n".join(map(json.dumps, part)), encoding="utf-8")
    method = method_called("sft" if name == "sft" else "dpo")
    settings = settings_for(
        method, None, **SETTINGS, max_steps=steps, every=every, held_out=str(files["test"])
    )
    job = Job(method, settings, str(files["train"]), "local", folder / name.replace(" ", "-"))
    began = time.time()

    def tell(progress: Any) -> None:
        loss = progress.metrics.get("loss", math.nan)
        line = f"{name}: step {progress.step} of {progress.steps}, loss {loss:.3f}, "
        print(line + f"{progress.tokens_per_second:.0f} tokens/s", file=sys.stderr)

    report = train(job, prepare(job), tell)
    lines = (job.out / "curves.csv").read_text(encoding="utf-8").splitlines()
    head = lines[0].split(",")
    curve = [dict(zip(head, line.split(","), strict=True)) for line in lines[1:]]
    key = "eval_loss" if name == "sft" else "eval_rewards/accuracies"
    return {
        "training": name,
        "rows": len(rows[:learnt]),
        "held_out": len(rows[learnt:]),
        "steps": report["steps"],
        "seconds": round(time.time() - began),
        "peak_memory_mb": report["peak_memory_mb"],
        "curve": [(int(at["step"]), float(at[key])) for at in curve if at.get(key)],
        "loss": [report["before"]["loss"], report["after"]["loss"]],
        "sample": report["sample"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="make every step of the plan")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--only", choices=PLAN, help="one training only")
    given = parser.parse_args()
    if not given.data.is_dir():
        raise SystemExit(f"the rows are cut from {given.data}, which is not here (--data DIR)")
    for name in [given.only] if given.only else PLAN:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(name, given.data, Path(folder), full=given.full)
        if name != "sft":
            share = found["curve"][-1][1]
            low, high = interval(share, found["held_out"])
            found["accuracy"] = f"{share:.3f} ({low:.3f} to {high:.3f})"
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
