"""Encode real instructions with MiniLM: the library's default, curate's encoder, curate's store.

Everyone has the model loaded and warm, and the same threads, which do not spin. The vectors are
compared with those of sentence-transformers in float32: the smallest cosine counts. `cpu` is the
processor time, which a busy machine changes less than the clock's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from bench import Contender, Line, machine, print_goal, print_table, side_by_side
from near_data import real_rows

QUICK, FULL = 1_000, 5_000
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
# curate sets this for itself; without it threads that wait for each other spin, and on busy cores
# the library took three times the processor time.
ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
Encode = Callable[[list[str]], Any]


def instructions(count: int) -> list[str]:
    """Return different real instructions, taken evenly."""
    texts = list(dict.fromkeys(head for head, _ in real_rows()))
    return texts[:: max(1, len(texts) // count)][:count]


def library(threads: int, dtype: str) -> Encode:
    """Return the library's `encode`, as it is by default but for `dtype`."""
    import torch
    from sentence_transformers import SentenceTransformer

    from curate.encoders.embedded import embedded_encoder

    torch.set_num_threads(threads)
    given = {"dtype": getattr(torch, dtype)}
    model = SentenceTransformer(str(embedded_encoder()), device="cpu", model_kwargs=given)
    return lambda texts: model.encode(texts, convert_to_tensor=True).float().numpy()


def stored(threads: int, dtype: str, stack: ExitStack) -> Encode:
    """Return curate's whole way: looked up, encoded in batches, durable in the store, gathered."""
    from curate.models.model import open_model
    from curate.requests.driver import Driver
    from curate.store.budget import Budget
    from curate.store.store import Store

    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    store = stack.enter_context(Store.open(folder))
    spec = {"model": f"hf:{MODEL}", "device": "cpu", "dtype": dtype, "threads": threads}
    driver = Driver(store, {"e": open_model(spec)}, spending=Budget(store, "benchmark"))
    stack.callback(driver.close)
    return lambda texts: store.vectors.read(driver.embed("e", texts).places)


def child(name: str, threads: int, texts: list[str], output: Path) -> None:
    """Encode the texts once, after a few others, and print how long it took."""
    from curate.encoders.precision import native_dtype

    with ExitStack() as stack:
        if name == "curate":
            encode = stored(threads, native_dtype("cpu"), stack)
        elif name == "curate, float32":
            encode = stored(threads, "float32", stack)
        else:
            encode = library(threads, "bfloat16" if "bfloat16" in name else "float32")
        encode([f"warm up with text {number}" for number in range(64)])
        began, cpu = time.perf_counter(), time.process_time()
        vectors = encode(texts)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    np.save(output, vectors)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "dtype": native_dtype("cpu")}))


def least_cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float(((one * other).sum(1) / lengths).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} texts, not {QUICK:,}")
    parser.add_argument("--repeats", type=int)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--child", nargs=3)
    options = parser.parse_args()
    if options.child:
        name, texts, output = options.child
        child(name, options.threads, json.loads(Path(texts).read_text("utf-8")), Path(output))
        return
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), FULL if options.full else QUICK, options.threads, options.repeats)


def compare(folder: Path, count: int, threads: int, repeats: int | None) -> None:
    """Print everyone's speed, and how close the vectors are to the library's."""
    texts = folder / "texts.json"
    texts.write_text(json.dumps(instructions(count)), "utf-8")
    own, peer = (importlib.metadata.version(n) for n in ("curate-align", "sentence-transformers"))
    versions = {
        "sentence-transformers": peer,
        "sentence-transformers, bfloat16": peer,
        "curate": own,
        "curate, float32": own,
    }
    outputs = [folder / f"{number}.npy" for number in range(len(versions))]
    contenders = [
        Contender(
            name,
            version,
            [sys.executable, __file__, "--threads", str(threads), "--child", name, texts, output],
            ENVIRONMENT,
        )
        for (name, version), output in zip(versions.items(), outputs, strict=True)
    ]
    found = list(side_by_side(contenders, repeats=repeats).values())
    vectors = [np.load(output) for output in outputs]
    cosines = [least_cosine(one, vectors[0]) for one in vectors]
    print_table(
        f"Encoding {len(vectors[0]):,} real instructions ({threads} threads, model loaded)",
        [
            Line(
                c.name,
                c.version,
                len(v),
                m,
                f"cosine >= {cosine:.5f}",
                f"cpu {m.result['cpu']:.1f} s",
            )
            for c, m, v, cosine in zip(contenders, found, vectors, cosines, strict=True)
        ],
    )
    print()
    print_goal("library's default / curate", found[0].seconds / found[2].seconds, least=2)
    cpu = found[0].result["cpu"] / found[2].result["cpu"]
    print_goal("the same in processor time", cpu, least=2)
    print_goal("cosine to float32", cosines[2], least=0.999)


if __name__ == "__main__":
    main()
