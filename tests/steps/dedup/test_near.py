from __future__ import annotations

import json
import random
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.chunk import Chunk, table_of
from curate.kernels.sets import jaccard
from curate.row import Message, Row
from curate.steps.dedup.near import Near

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SCHEMA = pa.schema({"shingles": pa.list_(pa.uint64()), "length": pa.int64(), "score": pa.float64()})


def rows_of(texts, scores=None):
    return [
        Row(
            f"{i:032x}", (0, 0, i), "sft", {"messages": (Message("user", text),)},
            scores={} if scores is None else {"judge": scores[i]},
        )
        for i, text in enumerate(texts)
    ]  # fmt: skip


def sketches_of(step, rows, many=False):
    if not many:
        return pa.Table.from_pylist([step.sketch(row) for row in rows], schema=SCHEMA)
    tables = []
    for start in range(0, len(rows), 1000):
        chunk = Chunk(table_of(rows[start : start + 1000], ["judge"]), large=True)
        tables.append(pa.table(step.sketch_many(chunk)).cast(SCHEMA))
    return pa.concat_tables(tables)


def decide(step, rows, many=False):
    return step.decide(np.arange(len(rows)), sketches_of(step, rows, many))


TEXT = "the quick brown fox jumps over the lazy dog and runs away"


def test_a_duplicate_names_its_witness_and_the_exact_similarity():
    rows = rows_of([TEXT, "nothing like it at all", TEXT + " quickly", TEXT.upper() + "!"])
    verdicts = decide(Near(), rows)
    assert verdicts.code.tolist() == [-1, -1, 0, 0]
    assert verdicts.partner.tolist() == [-1, -1, 0, 0]
    assert verdicts.score[2:].tolist() == [10 / 11, 1.0]
    assert verdicts.reasons == ("near duplicate",)


def test_texts_without_words_take_no_part():
    assert decide(Near(), rows_of(["", "", "?!", "?!"])).code.tolist() == [-1] * 4
    assert decide(Near(on="response"), rows_of([TEXT, TEXT])).code.tolist() == [-1, -1]


def test_short_texts_are_one_shingle():
    assert decide(Near(), rows_of(["yes sir", "Yes, sir!", "yes"])).code.tolist() == [-1, 0, -1]


def test_similarity_is_a_chain_only_through_kept_rows():
    words = [f"w{n}" for n in range(30)]
    texts = [" ".join(words[k : k + 20]) for k in (0, 2, 4)]  # neighbours 0.8, the ends 0.64
    verdicts = decide(Near(similarity=0.8), rows_of(texts))
    assert verdicts.partner.tolist() == [-1, 0, -1]
    assert verdicts.score[1] == 16 / 20


@pytest.mark.parametrize(
    ("step", "kept"),
    [
        (Near(keep="first"), 0),
        (Near(keep="longest"), 2),
        (Near(keep="best", by="judge"), 1),
        (Near(keep="best", by="judge", lowest=True), 3),
    ],
)
def test_whom_it_keeps(step, kept):
    rows = rows_of([TEXT, TEXT, TEXT + " .....", TEXT + " !", TEXT], [None, 9.0, 2.0, 1.0, 9.0])
    for many in (False, True):
        assert np.flatnonzero(decide(step, rows, many).code < 0).tolist() == [kept]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Near(similarity=80), "above 0, at most 1"),
        (Near(shingle=0), "at least 1 word"),
        (Near(keep="best"), "name the step whose score decides"),
    ],
)
def test_contradictions_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        step.check()


def test_rules_are_no_part_of_the_fingerprint():
    assert Near(similarity=0.7, keep="longest").fingerprint() == Near().fingerprint()
    assert Near(shingle=5).fingerprint() != Near().fingerprint()


# -- 5,000 real rows ------------------------------------------------------------------------------


def real_texts(count=5000):
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    dice, texts = random.Random(7), []
    for name, keys in (
        ("alpaca/alpaca_5000.json", ("instruction", "input", "output")),
        ("gpteacher/toolformer_7673.json", ("instruction", "input", "response")),
        ("gpteacher/roleplay_1923.json", ("instruction", "input", "response")),
        ("alpaca/alpaca_zh_2000.json", ("instruction", "input", "output")),
    ):
        records = json.loads((DATA / name).read_text("utf-8"))
        texts += ["\n".join(str(r.get(k) or "") for k in keys) for r in records]
    texts = dice.sample(texts, count // 2)
    while len(texts) < count:
        words = dice.choice(texts).split(" ")
        for _ in range(dice.randint(0, 1 + len(words) // 12)):
            words[dice.randrange(len(words))] = dice.choice(["so", "very", "", words[0]])
        texts.append(" ".join(words))
    dice.shuffle(texts)
    return texts


def shingles(text):
    words = re.findall(r"\w+", text.lower())
    if not words:
        return frozenset()
    return frozenset(tuple(words[k : k + 3]) for k in range(max(1, len(words) - 2)))


@pytest.fixture(scope="module")
def real():
    """Return rows, their shingle sets, and every similarity above 0.6, by pair."""
    texts, dice = real_texts(), random.Random(8)
    rows = rows_of(texts, [dice.choice([None, 1.0, 2.0, 3.0]) for _ in texts])
    numbers, similar = {}, {}  # small integers compare faster than tuples of words
    sets = [{numbers.setdefault(s, len(numbers)) for s in shingles(text)} for text in texts]
    for row, own in enumerate(sets):
        for other in range(row):
            theirs = sets[other]
            # Sets whose sizes differ this much cannot reach 0.6; every other pair is compared.
            if 10 * min(len(own), len(theirs)) >= 6 * max(len(own), len(theirs)):
                shared = len(own & theirs)
                union = len(own) + len(theirs) - shared
                if union and 10 * shared >= 6 * union:
                    ratio = Fraction(shared, union)
                    similar.setdefault(row, {})[other] = similar.setdefault(other, {})[row] = ratio
    return rows, similar


def walk(rows, similar, step):
    """Decide by the definition, from the table of all similar pairs."""
    least = Fraction(str(step.similarity))
    rank = {
        "first": lambda k: k,
        "longest": lambda k: -len(rows[k].whole),
        "best": lambda k: -(rows[k].scores["judge"] or 0.0),
    }[step.keep]
    kept, found = set(), {}
    for row in sorted(range(len(rows)), key=rank):
        near = {o: r for o, r in similar.get(row, {}).items() if o in kept and r >= least}
        if near:
            best = min(near, key=lambda o: (-near[o], o))
            found[row] = (best, near[best].numerator / near[best].denominator)
        else:
            kept.add(row)
    return found


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("similarity", [0.7, 0.8, 0.9])
@pytest.mark.parametrize("keep", ["first", "longest", "best"])
def test_near_equals_brute_force_on_real_rows(real, keep, similarity, compiled, monkeypatch):
    rows, similar = real
    step = Near(similarity=similarity, keep=keep, by="judge")
    if compiled:
        monkeypatch.setattr(jaccard, "SMALL", 0)
    verdicts = decide(step, rows, many=compiled)
    dropped = np.flatnonzero(verdicts.code >= 0)
    found = {int(r): (int(verdicts.partner[r]), float(verdicts.score[r])) for r in dropped}
    assert found == walk(rows, similar, step)
    assert 500 < len(found) < 3000
    kept = set(range(len(rows))) - set(found)
    least = Fraction(str(similarity))
    assert not any(
        other in kept and ratio >= least
        for row in kept
        for other, ratio in similar.get(row, {}).items()
    )
