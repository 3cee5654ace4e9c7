"""Does a style ranker learn anything that length does not say? And how fast does it score?

`order`: the 88 instructions that SCAR's published human and mixed answers share, on the embedded
encoder. Instructions are put aside fold by fold; a ranker learns on the others which of two answers
is the one of the mixed file, and orders the pairs put aside. No quality is known, so the constraint
is off. Word count stands beside it: which direction is right is learnt on the same folds.
`spread`: the style spread of the 25 % that such a ranker puts first, of 300 human and 300 mixed
answers that it never saw, beside random choices of the same lengths.
`rate`: rows per second of the scorer, alone and in batches, of few rows and of many.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FILES = ("human_id_1000.json", "mix_gpt35_id_1000.json")


def shared_pairs(data: Path) -> list[tuple[str, str, str]]:
    """Return instruction, human answer and mixed answer of the instructions in both files."""
    human, mixed = (
        {
            row["conversations"][0]["value"]: row["conversations"][1]["value"]
            for row in json.loads((data / "scar" / name).read_text(encoding="utf-8"))
        }
        for name in FILES
    )
    return [(ask, human[ask], mixed[ask]) for ask in human if ask in mixed]


def order(data: Path, folds: int, changes: dict[str, Any]) -> None:
    from curate.evaluate.rank_statistics import share
    from curate.row import seed_of
    from curate.train.job import RankerJob
    from curate.train.ranker import RankerLoop
    from curate.train.settings import ranker_settings_for
    from curate.train.training import set_environment
    from curate.train.triples import Sides, Triple

    set_environment()
    pairs = sorted(shared_pairs(data), key=lambda pair: seed_of("fold", pair[0]))
    triples = [
        Triple(str(n), ask, {"human": human, "direct": mixed}, {"human": None, "direct": None})
        for n, (ask, human, mixed) in enumerate(pairs)
    ]
    settings = ranker_settings_for(
        None, quality=None, orderings=["direct_human"], triplets=[], every=1 << 30, **changes
    )
    right: dict[str, float] = {"ranker": 0, "word count": 0, "longer": 0}
    # The vectors of a frozen encoder are the same in every fold.
    frozen: dict[str, Any] = {}
    began, processor = time.time(), time.process_time()
    for fold in range(folds):
        aside, rest = triples[fold::folds], [t for n, t in enumerate(triples) if n % folds != fold]
        with tempfile.TemporaryDirectory() as out:
            job = RankerJob(settings, "", "local", Path(out))
            # A tenth of what is learnt from chooses the checkpoint; what is put aside does not.
            tenth = len(rest) // 10
            loop = RankerLoop(job, Sides(rest[tenth:], rest[:tenth], aside), "cpu")
            loop.frozen = frozen
            loop.run(None)
            loop.take_best()
            ordered = loop.evaluate(aside)["accuracy"] * len(aside)
        right["ranker"] += ordered
        lengths = {t.row: [len(t.answers[o].split()) for o in ("direct", "human")] for t in triples}
        longer = {row: (a > b) + 0.5 * (a == b) for row, (a, b) in lengths.items()}
        sign = statistics.mean(longer[t.row] for t in rest) >= 0.5
        right["word count"] += sum(longer[t.row] if sign else 1 - longer[t.row] for t in aside)
        right["longer"] += sum(longer[t.row] for t in aside)
        print(f"fold {fold + 1}: {ordered:.0f} of {len(aside)}", flush=True)
    for name, count in right.items():
        found = share(count, len(triples))
        assert found is not None
        print(f"{name}: {found.value:.1%} (95 %: {found.low:.1%} to {found.high:.1%})")
    print(f"{time.process_time() - processor:.0f} s of processor, {time.time() - began:.0f} s")


def spread(data: Path, changes: dict[str, Any], choices: int = 1000) -> None:
    """Compare the top quarter with random quarters of the same lengths, in standard deviations."""
    import numpy as np
    import torch

    from curate.kernels.text.style_features import FEATURES, style_counts, style_features
    from curate.train.job import RankerJob
    from curate.train.ranker import RankerLoop
    from curate.train.settings import ranker_settings_for
    from curate.train.training import set_environment
    from curate.train.triples import Sides, Triple

    set_environment()
    pairs = shared_pairs(data)
    known = {ask for ask, _, _ in pairs}
    none = {"human": None, "direct": None}
    learnt = [Triple(a, a, {"human": h, "direct": m}, none) for a, h, m in pairs]
    pool = []
    for name in FILES:
        rows = json.loads((data / "scar" / name).read_text(encoding="utf-8"))
        talks = [[turn["value"] for turn in row["conversations"][:2]] for row in rows]
        pool += [(ask, said) for ask, said in talks if ask not in known][:300]
    # Answers to be scored, in the form that the loop reads.
    asked = [Triple(str(n), a, {"human": said}, none) for n, (a, said) in enumerate(pool)]
    settings = ranker_settings_for(
        None, quality=None, orderings=["direct_human"], triplets=[], every=1 << 30, **changes
    )
    with tempfile.TemporaryDirectory() as out:
        job = RankerJob(settings, "", "local", Path(out))
        loop = RankerLoop(job, Sides(learnt[8:], learnt[:8], asked), "cpu")
        loop.run(None)
        loop.take_best()
        loop.ranker.eval()
        with torch.no_grad():
            score = np.array([float(loop.styled([one])[1].score[0]) for one in asked])
    texts = [said for _, said in pool]
    features = style_features(np.array([style_counts(text) for text in texts]), 50)
    words = features[:, FEATURES.index("words")]
    wanted = [n for n, name in enumerate(FEATURES) if name != "words"]
    scale = np.nanstd(features[:, wanted], axis=0)

    def spread_of(rows: np.ndarray) -> float:
        return float(np.nanmean(np.nanstd(features[rows][:, wanted], axis=0) / scale))

    count = len(pool) // 4
    top = np.argsort(-score, kind="stable")[:count]
    # Lengths in twenty classes: a random choice has as many rows of each as the top quarter.
    classes = np.argsort(np.argsort(words, kind="stable")) * 20 // len(words)
    random = np.random.default_rng(0)
    drawn = []
    for _ in range(choices):
        rows = [
            random.choice(
                np.flatnonzero(classes == c), int((classes[top] == c).sum()), replace=False
            )
            for c in range(20)
        ]
        drawn.append(spread_of(np.concatenate(rows)))
    own, middle = spread_of(top), float(np.mean(drawn))
    low, high = np.quantile(own - np.array(drawn), [0.025, 0.975])
    print(
        f"{len(pool)} rows, the top {count}; words {words[top].mean():.0f}, all {words.mean():.0f}"
    )
    print(f"spread of the top quarter {own:.3f}, of random ones of the same lengths {middle:.3f}")
    print(f"difference {own - middle:+.3f} (95 %: {low:+.3f} to {high:+.3f})")


def rate(data: Path, counts: list[int], max_length: int, threads: int | None) -> None:
    import asyncio

    import torch

    from curate.ask import Reward
    from curate.models.inprocess.style_ranker import RankerShape, new_ranker, save_ranker
    from curate.models.model import open_model
    from curate.row import Message

    rows = [
        (row["conversations"][0]["value"], row["conversations"][1]["value"])
        for name in FILES
        for row in json.loads((data / "scar" / name).read_text(encoding="utf-8"))
    ]

    async def score(folder: str, count: int, batch: int) -> tuple[float, float, float]:
        own = {"threads": threads} if threads else {}
        model: Any = open_model({"model": f"scar:{folder}", "batch_size": batch, **own})
        asked = [
            Reward(messages=(Message("user", ask), Message("assistant", said)))
            for ask, said in (rows[n % len(rows)] for n in range(count))
        ]
        await model.answer(asked[0], key="", attempt=0)
        began, worked = time.perf_counter(), time.process_time()
        replies = await asyncio.gather(*(model.answer(one, key="", attempt=0) for one in asked))
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        await model.close()
        tokens = sum(reply.input_tokens for reply in replies)
        return count / seconds, tokens / seconds, count / worked

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        save_ranker(*new_ranker("local", RankerShape(max_length=max_length)), Path(folder))
        for count in counts:
            # Alone, a row takes six times as long: few rows say so.
            for batch in (1, 32) if count <= 3_000 else (32,):
                speed, tokens, worked = asyncio.run(score(folder, count, batch))
                print(
                    f"{count} rows, batch {batch}: {speed:.1f} rows/s, {tokens:,.0f} tokens/s; "
                    f"{worked:.1f} rows a second of processor time",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        choices=("order", "spread", "rate"),
        help="without it all three, on a frozen encoder",
    )
    parser.add_argument("--full", action="store_true", help="rates of 30,000 rows, too")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--folds", type=int, default=11)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--learning-rate", type=float, default=2e-5)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--freeze", action="store_true")
    parser.add_argument("--rows", type=int, nargs="+")
    parser.add_argument("--threads", type=int, help="of the scorer; one, where cores are busy")
    given = parser.parse_args()
    rows = given.rows or ([300, 30_000] if given.full else [300, 3_000])
    if given.what == "rate":
        rate(given.data, rows, given.max_length, given.threads)
        return
    if given.what is None:
        frozen = {"epochs": given.epochs, "learning_rate": 1e-3, "max_length": 512, "freeze": True}
        order(given.data, given.folds, frozen)
        spread(given.data, frozen)
        rate(given.data, rows, given.max_length, given.threads)
        return
    changes = {
        "epochs": given.epochs,
        "learning_rate": given.learning_rate,
        "max_length": given.max_length,
        "freeze": given.freeze,
    }
    if given.what == "spread":
        spread(given.data, changes)
    else:
        order(given.data, given.folds, changes)


if __name__ == "__main__":
    main()
