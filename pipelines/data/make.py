"""Cut the example data of the quickstart from its sources, so that anyone can check what was taken.

    python pipelines/data/make.py SOURCES [OUT]

SOURCES is a folder that holds the files named below, as their owners publish them. The rows are
copied unchanged in wording; only their shape is made plain, and every row names its source.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROLES = {"human": "user", "gpt": "assistant", "prompter": "user", "assistant": "assistant"}
TOOLS, MATH = 1000, 500


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


def gpteacher(sources: Path) -> Iterator[dict[str, Any]]:
    """Yield all role plays of GPTeacher and the first tool calls, answers named `response`."""
    folder = sources / "gpteacher"
    for name, count in (("roleplay_1923", None), ("toolformer_7673", TOOLS)):
        for row in json.loads((folder / f"{name}.json").read_text())[:count]:
            yield {k: row[k] for k in ("instruction", "input", "response")} | {
                "origin": f"gpteacher/{name.split('_')[0]}"
            }


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


FILES = {"tasks": tasks, "gpteacher": gpteacher, "chat": chat, "math": math}


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
