"""What does `curate prove` claim where the truth is known?

Everything goes through the split, plan, arms and tests of the command; only the model is one that
trains in a fraction of a second (`bigram_net.py`), fitted to Dolly first. The protocol was fixed
before these seeds were drawn:

- K = 8 draws, S = 1 seed, alpha 0.01 two-sided, 2,000 candidates of Alpaca a seed, two epochs of
  the curated rows (nulls and clusters: one), held-out rows in a file (1,100; swapped: 4,000).
- scrambled (10 seeds): the words of half of the answers are shuffled, the recipe drops those rows.
- swapped (10 seeds): half of the answers go to another row of that half, the recipe drops them.
- longest (5 seeds each): the recipe keeps the longer half; neutral and long held-out rows.
- nulls (200 seeds): the recipe keeps rows by their hash. Beside it, on the same runs and some more,
  what a paired t over seeds claims.
- clusters (20 seeds): the recipe keeps whole clusters by hash: first words, bands of length.

Every verdict goes to `prove_results.jsonl` as it comes; a second call does only what is missing.
`--summary` prints the tables alone.
"""

from __future__ import annotations

import argparse
import functools
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.bigram_net import BigramNet, BigramTrainer
from curate import Pipeline
from curate.evaluate.proof.arms import train_arms
from curate.evaluate.proof.distributions import clopper_pearson
from curate.evaluate.proof.draw_test import paired_t
from curate.evaluate.proof.proving import PreparedProof, ProofRequest, prepare_proof, run_proof
from curate.row import Row, seed_of
from curate.steps import Length, Top
from curate.train.fixed_budget import pieces_of

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("prove_results.jsonl")
DRAWS, CANDIDATES, ALPHA, BASE_EPOCHS = 8, 2000, 0.01, 1


class Case(NamedTuple):
    """Seeds from `first` on, rows held out, epochs, and what is measured."""

    first: int
    seeds: int
    held_out: int
    epochs: int
    metrics: tuple[str, ...] = ("loss",)


PLAN = {
    "scrambled": Case(101, 10, 1100, 2),
    "swapped": Case(201, 10, 4000, 2, ("loss", "contrast")),
    "longest, neutral held-out": Case(301, 5, 1100, 2),
    "longest, long held-out": Case(351, 5, 1100, 2),
    "clusters by first word": Case(401, 10, 1100, 1),
    "clusters by length": Case(451, 10, 1100, 1),
    "null": Case(1001, 200, 1100, 1),
}
# What is kept of each test.
KEPT = (
    "against", "effect", "low", "high", "p", "p_adjusted", "df", "t", "visible", "draw_sd",
    "row_error", "draws_only_p", "rank",
)  # fmt: skip
Record = dict[str, Any]


def records(path: Path) -> list[Record]:
    """Return instructions and answers, no empty and no equal ones."""
    found: dict[tuple[str, str], Record] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        asked = "\n\n".join(filter(None, (row["instruction"], row.get("input"))))
        if asked.strip() and row["output"].strip():
            found.setdefault(
                (asked, row["output"]), {"instruction": asked, "output": row["output"]}
            )
    return list(found.values())


def scrambled(rows: Sequence[Record], draw: random.Random) -> list[Record]:
    """Shuffle the words of half of the answers, and mark all rows."""
    marked = []
    for place, row in enumerate(rows):
        words = row["output"].split()
        if place % 2:
            draw.shuffle(words)
        answer = " ".join(words) if place % 2 else row["output"]
        marked.append({**row, "output": answer, "planted": bool(place % 2)})
    return marked


def swapped(rows: Sequence[Record], draw: random.Random) -> list[Record]:
    """Give half of the rows the answer of another one of that half, and mark all rows."""
    odd = list(range(1, len(rows), 2))
    draw.shuffle(odd)
    answers = {a: rows[b]["output"] for a, b in zip(odd, odd[1:] + odd[:1], strict=True)}
    return [
        {**row, "output": answers.get(n, row["output"]), "planted": bool(n % 2)}
        for n, row in enumerate(rows)
    ]


def not_planted(row: Row) -> bool:
    return not json.loads(row.extra or "{}")["planted"]


def kept_by(key: Callable[[Row], object], seed: int) -> Callable[[Row], bool]:
    def kept_by_hash(row: Row) -> bool:
        return seed_of("null", key(row), seed) % 2 == 0

    return kept_by_hash


def recipe_of(case: str, seed: int) -> list[Any]:
    """Return the steps of a case."""
    if case in ("scrambled", "swapped"):
        return [not_planted]
    if case.startswith("longest"):
        return [Length(on="response"), Top(share=0.5, by="length")]
    key: Callable[[Row], object] = lambda row: row.whole  # noqa: E731
    if case == "clusters by first word":
        key = lambda row: row.instruction.split()[0].lower()  # noqa: E731
    if case == "clusters by length":
        key = lambda row: len(row.response.split()) // 5  # noqa: E731
    return [kept_by(key, seed)]


def prepared(
    case: str, seed: int, alpaca: Sequence[Record], net: BigramNet, folder: Path
) -> PreparedProof:
    """Draw the rows of a case, and plan its proof."""
    held_out = PLAN[case].held_out
    draw = random.Random(seed)
    rows = list(alpaca)
    draw.shuffle(rows)
    given, rest = rows[:CANDIDATES], rows[CANDIDATES:]
    if case == "longest, long held-out":
        half = rest[: 2 * held_out]
        rest = sorted(half, key=lambda row: -len(row["output"].split()))
    if case in ("scrambled", "swapped"):
        given = (scrambled if case == "scrambled" else swapped)(given, draw)
    for name, part in (("raw", given), ("held_out", rest[:held_out])):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in part)
        (folder / f"{name}.jsonl").write_text(text + "\n", encoding="utf-8")
    pipeline = Pipeline(recipe_of(case, seed), inputs=str(folder / "raw.jsonl"))
    request = ProofRequest(
        draws=DRAWS, alpha=ALPHA, seed=seed, held_out=str(folder / "held_out.jsonl")
    )
    trainer = BigramTrainer(net, PLAN[case].metrics, PLAN[case].epochs)
    return prepare_proof(
        pipeline, lambda kind: trainer, request, folder / "proof", store=folder / "store"
    )


def over_seeds(plan: PreparedProof, seed: int) -> dict[str, float]:
    """Return what a paired t over seeds says of the same subsets, with 3 seeds and with 8."""

    def scores(name: str, seeds: Sequence[int]) -> np.ndarray:
        subset = next(one for one in plan.design.subsets if one.name == name)
        found = []
        for one in seeds:
            arms, _ = train_arms([subset], plan.budget, [one], plan.trainer, plan.out / "beside")
            found.append(arms[name].scores["loss"].mean())
        return np.array(found)

    seeds = range(seed, seed + DRAWS)
    own = scores("curated", seeds)
    fresh = np.concatenate([scores(f"random-{k + 1}", [seeds[k]]) for k in range(DRAWS)])
    single = scores("random-1", seeds[:3])
    return {
        "one draw, 3 seeds": paired_t(own[:3], single),
        "a fresh draw a seed, 3 seeds": paired_t(own[:3], fresh[:3]),
        "a fresh draw a seed, 8 seeds": paired_t(own, fresh),
    }


def measure(case: str, seed: int, alpaca: Sequence[Record], net: BigramNet) -> list[Record]:
    """Return the verdicts of one case and seed, one for each metric."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="curate-prove-") as where:
        plan = prepared(case, seed, alpaca, net, Path(where))
        proof = run_proof(plan)
        beside = over_seeds(plan, seed) if case == "null" else {}
    found = []
    for one in proof.record["verdicts"]:
        tests = [{name: _rounded(t[name]) for name in KEPT} for t in one["tests"]]
        found.append(
            {"case": case, "seed": seed, "metric": one["metric"], "verdict": one["verdict"],
             "text": one["text"], "tests": tests, "over_seeds": beside,
             "rows": len(next(s for s in plan.design.subsets if s.name == "curated").rows),
             "held_out": len(plan.prompts.where), "runs": plan.runs,
             "seconds": round(time.perf_counter() - began, 2)}
        )  # fmt: skip
    return found


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def share(hits: int, count: int) -> str:
    low, high = clopper_pearson(hits, count)
    return f"{hits} of {count} ({low:.1%} to {high:.1%})" if count else "none"


def summary(found: Sequence[Record]) -> str:
    """Return the tables: what was claimed, and what a paired t over seeds claims beside it."""
    lines = ["| case | metric | claims, helped + hurt (95 %) | draws only, p < 0.01 | largest p | "
             "median effect | median visible |", "|---|---|---|---|--:|--:|--:|"]  # fmt: skip
    for case in PLAN:
        for metric in PLAN[case].metrics:
            own = [one for one in found if (one["case"], one["metric"]) == (case, metric)]
            if not own:
                continue
            first = [one["tests"][0] for one in own]
            up, down = (
                sum(t["p_adjusted"] < ALPHA and sign * t["effect"] > 0 for t in first)
                for sign in (1, -1)
            )
            only = sum(t["draws_only_p"] < ALPHA for t in first)
            lines.append(
                f"| {case} | {metric} | {up} + {down}: {share(up + down, len(own))} | "
                f"{share(only, len(own))} | {max(t['p_adjusted'] for t in first):.1g} | "
                f"{np.median([t['effect'] for t in first]):+.4f} | "
                f"{np.median([t['visible'] for t in first]):.4f} |"
            )
    nulls = [one for one in found if one["case"] == "null"]
    if nulls:
        lines += ["", "| the same nulls, p < 0.01 | claims (95 %) |", "|---|---|"]
        own = sum(one["tests"][0]["p"] < ALPHA for one in nulls)
        lines.append(f"| `curate prove` | {share(own, len(nulls))} |")
        for name in nulls[0]["over_seeds"]:
            hits = sum(one["over_seeds"][name] < ALPHA for one in nulls)
            lines.append(f"| paired t: {name} | {share(hits, len(nulls))} |")
    kinds: dict[str, dict[str, int]] = {}
    for one in found:
        counts = kinds.setdefault(f"{one['case']}, {one['metric']}", {})
        counts[one["verdict"]] = counts.get(one["verdict"], 0) + 1
    lines += ["", "| case | verdicts |", "|---|---|"]
    lines += [
        f"| {name} | {', '.join(f'{n} {kind}' for kind, n in sorted(counts.items()))} |"
        for name, counts in kinds.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="all seeds; else one of each case")
    parser.add_argument("--summary", action="store_true", help="print the tables alone")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--pilot", type=int, default=0, help="move every seed by this much")
    given = parser.parse_args()
    results = given.results if given.full or given.summary else Path(tempfile.mkdtemp()) / "r"
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    found = [json.loads(line) for line in lines]
    if given.summary:
        print(summary(found))
        return
    if not given.data.is_dir():
        sys.exit(f"{given.data} is not here: it holds Alpaca and Dolly")
    torch.set_num_threads(1)
    done = {(one["case"], one["seed"]) for one in found}
    alpaca = records(given.data / "alpaca" / "alpaca_random_9k.json")
    net = fitted(given.data)
    for case, plan in PLAN.items():
        for seed in range(plan.first, plan.first + (plan.seeds if given.full else 1)):
            if (case, seed + given.pilot) in done:
                continue
            new = measure(case, seed + given.pilot, alpaca, net)
            with results.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in new)
            found += new
            print(case, seed, new[0]["seconds"], *(one["verdict"] for one in new), flush=True)
    print(summary(found))


@functools.cache
def fitted(data: Path) -> BigramNet:
    """Return the net after some epochs of Dolly."""
    path = data / "dolly" / "dolly_3k.json"
    kept = [r for r in json.loads(path.read_text(encoding="utf-8")) if r["output"].strip()]
    with tempfile.TemporaryDirectory() as folder:
        run = Pipeline([], inputs=str(path)).run(run=Path(folder) / "run", store=Path(folder) / "s")
        rows = [row for row in run.kept if row.response.strip()]
    assert len(rows) >= len(kept) / 2
    net = BigramNet(rows)
    encoded = [net.encode(row.instruction, row.response) for row in rows]
    lengths = [len(one.words) for one in encoded]
    trainer = BigramTrainer(net, ("loss",), BASE_EPOCHS)
    net.state = net.fit(encoded, pieces_of(lengths, trainer.budget(lengths), 0))
    return net


if __name__ == "__main__":
    main()
