"""Semantic duplicates side by side with peers: `python benchmarks/semantic_duplicates.py [--full]`.

The work: all pairs with a cosine of 0.9 among 40,000 and 52,000 real instructions' MiniLM vectors
(encoded once by the embedded model, kept in a temporary folder); where the real data is not here,
made-up vectors stand in, which is said. Only the search is timed. Wall time moves with whoever else
uses the machine, so ratios are those of processor time, which the table's notes hold. `--full` adds
up to a million made-up vectors with planted pairs, in clusters of topics: the index beside the
exact search, its recall, memory and growth.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import bench
import numpy as np

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
JSON_FILES = (
    "alpaca/alpaca_5000.json",
    "gpteacher/roleplay_1923.json",
    "gpteacher/toolformer_7673.json",
    "dolly/dolly_3k.json",
    "alpaca/alpaca_zh_2000.json",
    "alpaca/alpaca_random_9k.json",
    "alpaca/alpaca_helpfulness_t45.json",
)
QUESTIONS = ("gsm8k/test.jsonl", "gsm8k/train.jsonl")
PEERS = ("semhash==0.5.0",)
COSINE = 0.9
Pairs = tuple[np.ndarray, np.ndarray]


# -- vectors --------------------------------------------------------------------------------------


def texts() -> list[str]:
    """Return the different instructions of the real data, in order."""
    found: list[str] = []
    for name in JSON_FILES:
        for record in json.loads((DATA / name).read_text()):
            found.append("\n\n".join(filter(None, (record["instruction"], record.get("input")))))
    for name in QUESTIONS:
        found += [json.loads(line)["question"] for line in (DATA / name).read_text().splitlines()]
    for path in sorted((DATA / "flan").glob("*.tsv")):
        lines = filter(None, path.read_text().split("\n"))
        found += [line.split("\t")[0].replace("\\n", "\n") for line in lines]
    with gzip.open(DATA / "hh-rlhf/harmless_base_test.jsonl.gz", "rt") as file:
        chosen = [json.loads(line)["chosen"] for line in file]
    found += [text.split("\n\nAssistant:")[0].replace("\n\nHuman: ", "") for text in chosen]
    for name in ("human_id_1000", "mix_gpt35_id_1000"):
        records = json.loads((DATA / f"scar/{name}.json").read_text())
        found += [record["conversations"][0]["value"] for record in records]
    return list(dict.fromkeys(found))


def real_vectors() -> Path:
    """Encode the texts once; return the file of their vectors."""
    path = bench.WORKPLACE / "minilm.npy"
    if not path.exists():
        import torch
        from sentence_transformers import SentenceTransformer

        from curate.encoders.embedded import embedded_encoder

        options = {"dtype": torch.bfloat16}
        model = SentenceTransformer(str(embedded_encoder()), device="cpu", model_kwargs=options)
        path.parent.mkdir(parents=True, exist_ok=True)
        found = model.encode(texts(), batch_size=64).astype(np.float32)
        # Peers compare inner products: bfloat16 vectors are of length 1 up to a hundredth only.
        np.save(path, found / np.linalg.norm(found, axis=1)[:, None])
    return path


def made_up_vectors(count: int) -> Path:
    """Make vectors in clusters of topics, with one planted pair for a hundred."""
    path = bench.WORKPLACE / f"made-up-{count}.npy"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random, width = np.random.default_rng(0), 384
    topics = random.standard_normal((200, width), np.float32)
    parts = max(50, count // 40)
    centres = topics[random.integers(0, 200, parts)] + random.standard_normal(
        (parts, width), np.float32
    )
    out = np.lib.format.open_memmap(path, "w+", np.float32, (count, width))
    for start in range(0, count, 50_000):
        some = out[start : start + 50_000]
        some[:] = centres[random.integers(0, parts, len(some))]
        some += 1.32 * random.standard_normal(some.shape, np.float32)
        some /= np.linalg.norm(some, axis=1)[:, None]
    one, other = random.choice(count, (2, count // 100), replace=False)
    noise = random.standard_normal((len(one), width), np.float32)
    noise *= random.uniform(0.1, 0.42, (len(one), 1)) / np.linalg.norm(noise, axis=1)[:, None]
    moved = out[one] + noise.astype(np.float32)
    out[other] = moved / np.linalg.norm(moved, axis=1)[:, None]
    np.save(path.with_suffix(".planted.npy"), np.sort(np.stack([one, other], 1), 1))
    return path


# -- contenders: each returns its pairs, left below right -----------------------------------------


def curate(vectors: np.ndarray) -> Pairs:
    return _exact(vectors, None)


def curate_float32(vectors: np.ndarray) -> Pairs:
    from curate.kernels.vectors.prefilter import FaissPrefilter

    return _exact(vectors, FaissPrefilter())


def _exact(vectors: np.ndarray, prefilter: object) -> Pairs:
    from curate.kernels.vectors.close_pairs import AllPairs, all_neighbours
    from curate.kernels.vectors.unit_vectors import UnitVectors

    source = AllPairs(UnitVectors.of(vectors), COSINE, prefilter=prefilter)
    return _pairs_of(all_neighbours(source))


def curate_index(vectors: np.ndarray) -> Pairs:
    from curate.kernels.vectors.close_pairs import all_neighbours
    from curate.kernels.vectors.ivf_index import IVFIndex
    from curate.kernels.vectors.unit_vectors import UnitVectors

    return _pairs_of(all_neighbours(IVFIndex(UnitVectors.of(vectors), COSINE)))


def _pairs_of(found) -> Pairs:
    heads = np.repeat(np.arange(len(found.rows)), np.diff(found.starts))
    upper = heads < found.others
    return found.rows[heads[upper]], found.rows[found.others[upper]]


def numpy_float64(vectors: np.ndarray) -> Pairs:
    """Compare all pairs in float64: the oracle."""
    exact = vectors.astype(np.float64)
    exact /= np.linalg.norm(exact, axis=1)[:, None]
    found = []
    for a in range(0, len(exact), 1024):
        left, right = np.nonzero(exact[a : a + 1024] @ exact[a:].T >= COSINE)
        upper = left < right
        found.append((left[upper] + a, right[upper] + a))
    return tuple(np.concatenate(sides) for sides in zip(*found, strict=True))


def product(vectors: np.ndarray) -> Pairs:
    """Multiply all pairs of blocks in float32, and look at nothing: the limit without a screen."""
    for a in range(0, len(vectors), 2048):
        for b in range(a, len(vectors), 2048):
            vectors[a : a + 2048] @ vectors[b : b + 2048].T
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


def faiss_range(vectors: np.ndarray) -> Pairs:
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return _ranges(*index.range_search(vectors, COSINE))


def faiss_ivf_range(vectors: np.ndarray) -> Pairs:
    import faiss

    lists = round(2 * math.sqrt(len(vectors)))
    index = faiss.IndexIVFFlat(
        faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], lists, faiss.METRIC_INNER_PRODUCT
    )
    index.cp.niter, index.cp.max_points_per_centroid = 6, 64
    index.train(vectors)
    index.add(vectors)
    index.nprobe = 16
    return _ranges(*index.range_search(vectors, COSINE))


def _ranges(ends: np.ndarray, _: np.ndarray, others: np.ndarray) -> Pairs:
    heads = np.repeat(np.arange(len(ends) - 1), np.diff(ends.astype(np.int64)))
    upper = heads < others
    return heads[upper], others[upper]


def faiss_hnsw(vectors: np.ndarray) -> Pairs:
    import faiss

    index = faiss.IndexHNSWFlat(vectors.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 64, 48
    index.add(vectors)
    cosines, others = index.search(vectors, 32)
    found = (cosines >= COSINE) & (others >= 0) & (others != np.arange(len(vectors))[:, None])
    heads, places = np.nonzero(found)
    return heads, others[heads, places]


def semhash(vectors: np.ndarray) -> Pairs:
    """Deduplicate by its default back end; it names no pairs, so only its time compares."""
    from semhash import SemHash

    class Encoder:
        def encode(self, inputs, **_):
            return vectors[[int(text) for text in inputs]]

    records = [str(number) for number in range(len(vectors))]
    SemHash.from_records(records=records, model=Encoder()).self_deduplicate(threshold=COSINE)
    return np.zeros(0, np.int64), np.zeros(0, np.int64)


CONTENDERS: dict[str, Callable[[np.ndarray], Pairs]] = {
    "curate": curate,
    "curate float32": curate_float32,
    "curate index": curate_index,
    "numpy float64": numpy_float64,
    "bare product": product,
    "faiss range": faiss_range,
    "faiss ivf range": faiss_ivf_range,
    "faiss hnsw k=32": faiss_hnsw,
    "semhash": semhash,
}
SILENT = ("bare product", "semhash")


def child(name: str, path: Path, count: int) -> None:
    from curate.kernels.vectors.unit_vectors import UnitVectors

    if name.startswith("curate") and name != "curate float32":
        import torch  # noqa: F401  as in a run, where the encoder has loaded it
    global COSINE
    COSINE = float(os.environ.get("COSINE", COSINE))
    mapped = np.load(path, mmap_mode="r")[:count]
    vectors = mapped if name == "curate index" else np.array(mapped)
    CONTENDERS[name](np.array(mapped[:3000]))  # compiled code is loaded, threads are there
    wall, cpu = time.perf_counter(), time.process_time()
    left, right = CONTENDERS[name](vectors)
    seconds, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    first = UnitVectors.of(vectors).first  # we name no pair of a copy: it shares its vector's pairs
    own = (first[left] == left) & (first[right] == right)
    left, right = left[own], right[own]
    keys = np.unique(np.minimum(left, right).astype(np.int64) * count + np.maximum(left, right))
    answer = bench.WORKPLACE / f"pairs-{hashlib.sha256(name.encode()).hexdigest()[:8]}.npy"
    np.save(answer, keys)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "answer": str(answer), "mb": peak}))


def compare(path: Path, count: int, names: list[str], repeats: int) -> dict[str, bench.Measured]:
    folder = bench.peers(*PEERS) if "semhash" in names else None
    lines, right, found = [], None, {}
    for name in names:
        command = [sys.executable, __file__, "--child", name, "--vectors", str(path)]
        if name == "semhash" and folder is None:
            continue
        env = {"PYTHONPATH": str(folder)} if name == "semhash" else {}
        command += ["--rows", str(count)]
        is_peer = not name.startswith("curate")
        one = bench.Contender(name, _version(name, folder), command, env, is_peer)
        measured = bench.measure(one, repeats=repeats)
        if measured is None:
            continue
        keys = np.load(measured.result["answer"])
        right = keys if right is None else right
        found[name] = measured
        note = f"{measured.result['cpu']:.2f} s of processor time"
        agrees = "gives none" if name in SILENT else _agreement(keys, right)
        lines.append(bench.Line(name, one.version, count, measured, agrees, note))
    cosine = os.environ.get("COSINE", COSINE)
    bench.print_table(f"{count:,} vectors, cosine {cosine}", lines)
    return found


def _cpu(measured: bench.Measured) -> float:
    return measured.result["cpu"]


def _agreement(keys: np.ndarray, right: np.ndarray) -> str:
    if np.array_equal(keys, right):
        return f"yes, {len(keys):,} pairs"
    both = len(np.intersect1d(keys, right, assume_unique=True))
    precision, recall = both / max(1, len(keys)), both / max(1, len(right))
    return f"precision {precision:.6f}, recall {recall:.6f}"


def _version(name: str, folder: Path | None) -> str:
    package = {"curate": "curate-align", "faiss": "faiss-cpu", "bare": "numpy"}
    wanted = package.get(name.partition(" ")[0], name)
    where = [str(folder)] if name == "semhash" else sys.path
    found = importlib.metadata.distributions(name=wanted, path=where)
    return next((item.version for item in found), "checkout")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="also up to 1,000,000 made-up vectors")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--oracle", action="store_true", help="only what is equal to numpy's pairs, 30,000 vectors"
    )
    parser.add_argument("--child", choices=CONTENDERS)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--rows", type=int)
    chosen = parser.parse_args()
    if chosen.child:
        child(chosen.child, chosen.vectors, chosen.rows)
        return
    print(bench.machine())
    if DATA.is_dir():
        path = real_vectors()
    else:
        print("- ../shared/data is not here: made-up vectors with planted pairs instead")
        path = made_up_vectors(52_000)
    _oracle(path)
    if chosen.oracle:
        return
    for count in (40_000, 52_000):
        names = [name for name in CONTENDERS if name != "numpy float64"]
        found = compare(path, count, names, chosen.repeats)
        goals: tuple[tuple[str, str, str, dict[str, float]], ...] = (
            ("of a bare float32 product", "curate", "bare product", {"most": 1}),
            ("of it without bfloat16", "curate float32", "bare product", {"most": 1.5}),
            ("x FAISS range search", "faiss range", "curate", {"least": 2.5}),
            ("x FAISS range search by FAISS", "faiss range", "curate float32", {"least": 1.5}),
            ("x semhash", "semhash", "curate", {"least": 3}),
        )
        for what, over, under, limit in goals:
            bench.print_ratio(what, found, over, under, figure=_cpu, **limit)
    if chosen.full:
        _large()


def _oracle(path: Path) -> None:
    """Compare the pairs that FAISS and float64 find with those of numpy, on one core and on all."""
    for cosine, cores in itertools.product((0.8, 0.9), (1, None)):
        os.environ["COSINE"] = str(cosine)
        if cores and hasattr(os, "sched_setaffinity"):
            before = os.sched_getaffinity(0)
            os.sched_setaffinity(0, sorted(before)[:cores])
        print(f"\n## cosine {cosine}, {cores or 'all'} cores")
        compare(path, 30_000, ["numpy float64", "curate float32"], 1)
        if cores and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, before)
    del os.environ["COSINE"]


def _large() -> None:
    """Compare the index with the exact search, and look for the planted pairs."""
    seconds = {}
    for count in (62_500, 250_000, 1_000_000):
        path = made_up_vectors(count)
        names = ["curate index"] if count > 250_000 else ["curate", "curate index"]
        found = compare(path, count, names, 1)["curate index"].result
        seconds[count] = found["cpu"]
        vectors = np.load(path, mmap_mode="r")
        planted = np.load(path.with_suffix(".planted.npy"))
        cosines = np.einsum("ij,ij->i", vectors[planted[:, 0]], vectors[planted[:, 1]])
        true = planted[cosines >= COSINE + 1e-6]
        share = np.isin(true[:, 0] * count + true[:, 1], np.load(found["answer"])).mean()
        bench.print_goal(f"recall of {len(true):,} planted pairs", float(share), least=0.999)
        bench.print_goal("peak of the vectors' size", found["mb"] * 1e6 / vectors.nbytes, most=2)
        path.unlink()
        path.with_suffix(".planted.npy").unlink()
    for small, large in itertools.pairwise(seconds):
        power = math.log(seconds[large] / seconds[small]) / math.log(large / small)
        bench.print_goal(f"power of n from {small:,} to {large:,}", power, most=1.5)


if __name__ == "__main__":
    main()
