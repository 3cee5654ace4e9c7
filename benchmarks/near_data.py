"""Make the data of the near-duplicate benchmark: real rows, then seeded variations of them.

The first rows are real. The rest are rows spliced from spans of real rows (70 %: new texts with the
word statistics of real ones), earlier rows with up to a tenth of their words changed (20 %) and
plain copies (10 %). The same count and seed give the same bytes.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path

from bench import WORKPLACE

ROOT = Path(__file__).resolve().parent.parent
REAL = {
    "alpaca/alpaca_5000.json": ("instruction", "input", "output"),
    "alpaca/alpaca_random_9k.json": ("instruction", "input", "output"),
    "dolly/dolly_3k.json": ("instruction", "input", "output"),
    "gpteacher/roleplay_1923.json": ("instruction", "input", "response"),
    "gpteacher/toolformer_7673.json": ("instruction", "input", "response"),
    "gsm8k/train.jsonl": ("question", "answer"),
}


def near_file(rows: int, seed: int = 0) -> Path:
    """Return a JSONL file of `rows` rows (`instruction`, `output`), making it if it is missing."""
    path = WORKPLACE / f"near-{rows}-{seed}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".tmp")
        with partial.open("w", encoding="utf-8") as file:
            for head, body in varied(real_rows(), rows, random.Random(seed)):
                file.write(json.dumps({"instruction": head, "output": body}) + "\n")
        partial.replace(path)
    return path


def real_rows() -> list[tuple[str, str]]:
    """Return real rows as (instruction, answer): from the data folder, else the shipped slice."""
    data = ROOT.parent / "shared" / "data"
    if data.exists():
        return [row for name, keys in REAL.items() for row in _rows_of(data / name, keys)]
    shipped = sorted((ROOT / "pipelines").rglob("*.jsonl.gz"))
    if not shipped:
        raise SystemExit(
            "no rows to vary: neither ../shared/data nor pipelines/**/*.jsonl.gz is here"
        )
    keys = ("instruction", "input", "output", "response")
    return [row for path in shipped for row in _rows_of(path, keys)]


def _rows_of(path: Path, keys: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    lines = text.splitlines() if ".jsonl" in path.name else None
    for record in json.loads(text) if lines is None else map(json.loads, lines):
        values = [str(record.get(key) or "") for key in keys]
        if values[-1] or values[0]:
            yield "\n".join(filter(None, values[:-1])), values[-1]


def varied(
    real: list[tuple[str, str]], count: int, dice: random.Random
) -> Iterator[tuple[str, str]]:
    """Yield `count` rows: the real ones in random order, then variations."""
    real = real.copy()
    dice.shuffle(real)
    words = [" ".join(row).split() for row in real]
    vocabulary = [word for row in words[:2000] for word in row]
    recent: list[tuple[str, str]] = []
    for k in range(count):
        row = real[k] if k < len(real) else _vary(words, vocabulary, recent, dice)
        # A reservoir of rows to vary, so that partners lie anywhere before their duplicates.
        if len(recent) < 50_000:
            recent.append(row)
        else:
            recent[dice.randrange(50_000)] = row
        yield row


def _vary(
    words: list[list[str]],
    vocabulary: list[str],
    recent: list[tuple[str, str]],
    dice: random.Random,
) -> tuple[str, str]:
    kind = dice.random()
    if kind < 0.7:
        return _splice(words, dice, 1), _splice(words, dice, dice.randint(1, 4))
    head, body = dice.choice(recent)
    if kind < 0.9:
        changed = body.split()
        for _ in range(dice.randint(1, 1 + len(changed) // 10)):
            if changed:
                changed[dice.randrange(len(changed))] = dice.choice(vocabulary)
        body = " ".join(changed)
    return head, body


def _splice(words: list[list[str]], dice: random.Random, spans: int) -> str:
    out: list[str] = []
    for _ in range(spans):
        row = dice.choice(words)
        first, length = dice.randrange(len(row)) if row else 0, dice.randint(12, 44)
        out += row[first : first + length]
    return " ".join(out)
