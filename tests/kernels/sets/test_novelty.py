"""Novelty by ROUGE-L against `rouge_score` and recorded runs; the plain and the compiled path."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from curate.kernels.sets import novelty
from curate.kernels.sets.novelty import novel
from curate.kernels.sets.novelty_compiled import novel_large
from curate.kernels.sets.rouge import common_length, f_measure, token_hashes, tokens_of
from curate.kernels.sets.shingles_compiled import word_column

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
TEXT = st.text(st.sampled_from("ab c1_ é.中İKÀ\n"), max_size=20)
WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f"]), max_size=9).map(" ".join)


def rouge(one, other):
    return SCORER.score(one, other)["rougeL"].fmeasure


def column(texts, tokens="rouge_score"):
    return pa.chunked_array(
        [pa.array([token_hashes(text, tokens) for text in texts], pa.list_(pa.uint64()))]
    )


def both(texts, count, limit, neighbours=0):
    """Return what the plain path finds, once the compiled one has found the same."""
    own = [token_hashes(text, "rouge_score") for text in texts]
    plain = novelty._novel_small(own, count, limit, neighbours)
    flat = np.concatenate([np.zeros(0, np.uint64), *own])
    large = novel_large(flat, np.array([len(o) for o in own], np.int64), count, limit, neighbours)
    assert plain.rejected.tolist() == large.rejected.tolist()
    assert plain.partner.tolist() == large.partner.tolist()
    assert np.array_equal(plain.score, large.score, equal_nan=True)
    assert plain.similar == large.similar
    return plain


@given(TEXT, TEXT)
@example("the cat sat on the mat", "a cat on a mat sat")
def test_f_is_that_of_rouge_score(one, other):
    words = [tokens_of(text, "rouge_score") for text in (one, other)]
    found = f_measure(common_length(*words), *map(len, words))
    assert found == rouge(one, other) == rouge(other, one)


@settings(max_examples=300)  # the first example compiles
@given(
    st.lists(WORDS, max_size=14),
    st.integers(0, 4),
    st.sampled_from([0.0, 0.3, 0.5, 2 / 3, 0.7, 0.8, 1.0]),
    st.sampled_from([0, 3]),
)
def test_both_paths_decide_by_the_definition(texts, others, limit, neighbours):
    count = max(0, len(texts) - others)
    found = both(texts, count, limit, neighbours)
    pool = list(range(count, len(texts)))
    for place in range(count):
        scores = [rouge(texts[place], texts[other]) for other in pool]
        best = max(scores, default=0.0)
        assert found.rejected[place] == (best > limit)
        if best > limit:
            assert found.partner[place] == pool[scores.index(best)]
            assert found.score[place] == best
        else:
            pool.append(place)


@pytest.mark.parametrize("size", [63, 64, 65, 128, 200, 1000])
def test_long_texts_agree(size):
    dice = random.Random(size)
    texts = [" ".join(dice.choices("abcdefghij", k=size + n)) for n in range(6)]
    texts += [texts[0].replace("a", "b"), texts[1] + " z"]
    for limit in (0.3, 0.6):
        both(texts, len(texts) - 1, limit)
    found = both(texts, len(texts), None, 4)
    last = [rouge(texts[-1], text) for text in texts[:-1]]
    assert found.score[-1] == max(last)
    assert found.partner[-1] == last.index(max(last)) == 1


@given(st.lists(TEXT, max_size=6), st.sampled_from(["words", "rouge_score"]))
def test_columns_hold_the_words_of_rows(texts, tokens):
    many = word_column(pa.array(texts, pa.string()), tokens)
    assert many.to_pylist() == [token_hashes(text, tokens).tolist() for text in texts]


def test_a_large_pool_takes_the_compiled_path(monkeypatch):
    texts = [f"write a poem about number {n} please" for n in range(30)]
    plain = novel(column(texts), 30, 0.7)
    monkeypatch.setattr(novelty, "SMALL", 0)
    compiled = novel(column(texts), 30, 0.7)
    assert plain.rejected.tolist() == compiled.rejected.tolist() == [False] + [True] * 29
    assert np.array_equal(plain.score, compiled.score, equal_nan=True)


def test_recorded_scores_and_means_are_reproduced():
    """minpeter/stanford_alpaca_regen: ten neighbours and the mean of 73 generated tasks."""
    folder = DATA / "rouge-novelty"
    if not folder.is_dir():
        pytest.skip("../shared/data is absent")
    lines = (folder / "minpeter_seed_tasks.jsonl").read_text("utf-8").splitlines()
    seeds = [json.loads(line)["instruction"] for line in lines]
    made = json.loads((folder / "minpeter_regen.json").read_text("utf-8"))
    texts = [row["instruction"] for row in made] + seeds
    found = novel(column(texts), len(made), 0.7, 10)
    assert found.similar is not None
    assert not found.rejected.any()
    means = 0
    for row, similar in zip(made, found.similar, strict=True):
        recorded = row["most_similar_instructions"]
        # Texts that occur twice have one entry in the record.
        assert set(recorded.values()) <= set(similar.scores)
        assert max(recorded.values()) == similar.scores[0]
        for text, score in recorded.items():
            assert rouge(row["instruction"], text) == score
        means += row["avg_similarity_score"] == similar.mean
    print(f"{means} of {len(made)} means are equal to the last bit")
    assert means == len(made)


@pytest.mark.real
def test_seven_rows_of_alpaca_lie_at_exactly_the_limit_and_are_kept():
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    records = json.loads((DATA / "alpaca" / "alpaca_5000.json").read_text("utf-8"))
    texts = list(dict.fromkeys(row["instruction"] for row in records))
    found = novel(column(texts), len(texts), 0.7)
    assert not found.rejected.any()
    found = novel(column(texts), len(texts), float(np.nextafter(0.7, 0)), 1)
    at_limit = found.score == 0.7
    print(f"{at_limit.sum()} rows have an earlier neighbour at exactly 0.7")
    assert found.rejected.tolist() == at_limit.tolist()


@pytest.mark.real
@pytest.mark.slow
def test_decisions_are_those_of_rouge_score_on_all_pairs_of_3000_rows():
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    records = json.loads((DATA / "alpaca" / "alpaca_random_9k.json").read_text("utf-8"))
    texts = [row["instruction"] for row in records[:2900]]
    texts += [text + " please" for text in texts[:100]]
    tokens = [tokens_of(text, "rouge_score") for text in texts]
    # No subsequence is longer than what two texts share as bags of words.
    bags = [frozenset((w, own[:k].count(w)) for k, w in enumerate(own)) for own in tokens]
    found = novel(column(texts), len(texts), 0.7)
    pool: list[int] = []
    for place, own in enumerate(tokens):
        size, bag = len(own), bags[place]
        scores = {
            other: rouge_scorer._score_lcs(tokens[other], own).fmeasure
            for other in pool
            if 2 * len(bag & bags[other]) > 0.699 * (size + len(tokens[other]))
        }
        best = max(scores.values(), default=0.0)
        assert found.rejected[place] == (best > 0.7)
        if best > 0.7:
            assert found.partner[place] == next(o for o, f in scores.items() if f == best)
            assert found.score[place] == best
        else:
            pool.append(place)
    assert 50 < found.rejected.sum() < 300
