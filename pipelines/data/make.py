"""Cut the example data of the recipes from its sources, so that anyone can check what was taken.

    python pipelines/data/make.py SOURCES [OUT]

SOURCES is a folder that holds the files named below, as their owners publish them. The rows are
copied unchanged in wording; only their shape is made plain, and every row names its source.
"""

from __future__ import annotations

import gzip
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROLES = {"human": "user", "gpt": "assistant", "prompter": "user", "assistant": "assistant"}
TOOLS, MATH, ROLES_PLAYED, VOTED_PAIRS = 1000, 500, 200, 300


def tasks(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the tasks that people wrote for Self-Instruct, each with its first instance."""
    for name in ("seed_tasks", "user_oriented_instructions"):
        for task in _lines(sources / "self-instruct" / f"{name}.jsonl"):
            first = task["instances"][0]
            yield {
                "instruction": task["instruction"],
                "input": first["input"],
                "output": first["output"],
                "origin": f"self-instruct/{name}",
            }


def seed_tasks(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the seeds of Self-Instruct; `task` and `task_input` are what joins in a user's turn."""
    for task in _lines(sources / "self-instruct" / "seed_tasks.jsonl"):
        (one,) = task["instances"]
        yield {
            "id": task["id"],
            "instruction": task["instruction"],
            "input": one["input"],
            "output": one["output"],
            "task": task["instruction"],
            "task_input": one["input"],
            "is_classification": task["is_classification"],
            "origin": "self-instruct/seed_tasks",
        }


def gpteacher(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield all role plays of GPTeacher and the first tool calls, answers named `response`."""
    folder = sources / "gpteacher"
    for name, count in (("roleplay_1923", None), ("toolformer_7673", TOOLS)):
        for row in json.loads((folder / f"{name}.json").read_text())[:count]:
            yield {k: row[k] for k in ("instruction", "input", "response")} | {
                "origin": f"gpteacher/{name.split('_')[0]}"
            }


def roleplay(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the first role plays of GPTeacher, with the name of the model that wrote them."""
    for row in itertools.islice(gpteacher(sources), ROLES_PLAYED):
        yield row | {"model": "gpt-4"}


def chat(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield conversations: FastChat's example set, and the best-ranked path of each OASST tree."""
    for row in json.loads((sources / "sharegpt" / "dummy_conversation_500.json").read_text()):
        turns = [_turn(t["from"], t["value"]) for t in row["conversations"]]
        yield {"messages": turns, "origin": "sharegpt/dummy_conversation"}
    for tree in _lines(sources / "oasst" / "en_100_tree.jsonl"):
        turns = [_turn(m["role"], m["text"]) for m in _best_path(tree["prompt"])]
        yield {"messages": turns, "origin": "oasst/en_100_tree"}


def math(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the first problems of GSM8K's training part, the published solution as completion."""
    for row in list(_lines(sources / "gsm8k" / "train.jsonl"))[:MATH]:
        yield {"prompt": row["question"], "completion": row["answer"], "origin": "gsm8k/train"}


def pairs(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield pairs: of OASST replies that people ranked, and LLMBar's with people's verdicts."""
    for tree in _lines(sources / "oasst" / "en_100_tree.jsonl"):
        for pair in _ranked_pairs(tree["prompt"], []):
            yield pair | {"origin": "oasst/en_100_tree"}
    bar = json.loads((sources / "llmbar" / "natural" / "dataset.json").read_text())
    for row in bar:
        better, worse = (row[f"output_{n}"] for n in (row["label"], 3 - row["label"]))
        yield {
            "prompt": [_turn("prompter", row["input"])],
            "chosen": [_turn("assistant", better)],
            "rejected": [_turn("assistant", worse)],
            "origin": "llmbar/natural",
        }


def votes(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield what each of PandaLM's three annotators said of its first pairs, a line a vote.

    Pairs with a response that is no text are passed over, and so are two texts that stood there
    before, where two models wrote the same. A vote of 0 is a tie.
    """
    found = json.loads((sources / "pandalm" / "testset-v1.json").read_text(encoding="utf-8"))
    different = {}
    for row in found:
        said = (row["response1"], row["response2"])
        if all(isinstance(text, str) for text in said):
            different.setdefault((row["instruction"], row["input"], frozenset(said)), row)
    for row in itertools.islice(different.values(), VOTED_PAIRS):
        models = row["cmp_key"].split("_")
        for number in (1, 2, 3):
            vote = row[f"annotator{number}"]
            better, worse = (2, 1) if vote == 2 else (1, 2)
            yield {
                "prompt": "\n\n".join(filter(None, (row["instruction"], row["input"]))),
                "chosen": row[f"response{better}"],
                "rejected": row[f"response{worse}"],
                "annotator": f"annotator {number}",
                "tie": vote == 0,
                "chosen_model": models[better - 1],
                "rejected_model": models[worse - 1],
                "origin": "pandalm/testset-v1",
            }


def test_gsm8k(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the questions of GSM8K's test part, without the answers."""
    for row in _lines(sources / "gsm8k" / "test.jsonl"):
        yield {"question": row["question"], "origin": "gsm8k/test"}


def test_humaneval(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the prompts of HumanEval, without solutions and tests."""
    with gzip.open(sources / "humaneval" / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            yield {"prompt": row["prompt"], "origin": "humaneval/HumanEval"}


def test_mt_bench(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the questions of MT-Bench, both turns."""
    for row in _lines(sources / "mt_bench" / "question.jsonl"):
        yield {"turns": row["turns"], "origin": "mt_bench/question"}


def test_self_instruct(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield the tasks by which Self-Instruct was evaluated, as a model is asked them."""
    for task in _lines(sources / "self-instruct" / "user_oriented_instructions.jsonl"):
        given = (task["instruction"], task["instances"][0]["input"])
        yield {
            "prompt": "\n\n".join(filter(None, given)),
            "origin": "self-instruct/user_oriented_instructions",
        }


FILES = {
    "tasks": tasks,
    "seed_tasks": seed_tasks,
    "gpteacher": gpteacher,
    "roleplay": roleplay,
    "chat": chat,
    "math": math,
    "pairs": pairs,
    "votes": votes,
    "test_gsm8k": test_gsm8k,
    "test_humaneval": test_humaneval,
    "test_mt_bench": test_mt_bench,
    "test_self_instruct": test_self_instruct,
}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


def _turn(speaker: str, text: str) -> dict[str, str]:
    return {"role": ROLES[speaker], "content": text}


def _best_path(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a tree's messages, at each turn the reply that people ranked first (0 is best)."""
    yield message
    replies = message.get("replies") or []
    if replies:
        # An unranked reply comes after every ranked one.
        best = min(replies, key=lambda r: r["rank"] if r.get("rank") is not None else len(replies))
        yield from _best_path(best)


def _ranked_pairs(
    message: dict[str, Any], before: list[dict[str, str]]
) -> Iterator[dict[str, Any]]:
    """Yield every two ranked answers of a tree, the better one chosen, with what led to them."""
    prompt = [*before, _turn(message["role"], message["text"])]
    replies = message.get("replies") or []
    answers = [r for r in replies if r["role"] == "assistant" and r.get("rank") is not None]
    answers.sort(key=lambda r: r["rank"])
    for better, worse in itertools.combinations(answers, 2):
        yield {
            "prompt": prompt,
            "chosen": [_turn("assistant", better["text"])],
            "rejected": [_turn("assistant", worse["text"])],
        }
    for reply in replies:
        yield from _ranked_pairs(reply, prompt)


def write(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Write rows as gzipped JSON lines whose bytes do not depend on when or where."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")


def main(sources: str, out: str = str(Path(__file__).parent)) -> None:
    """Write every file of the example data into `out`."""
    for name, rows in FILES.items():
        write(rows(Path(sources)), Path(out) / f"{name}.jsonl.gz")


if __name__ == "__main__":
    main(*sys.argv[1:])
