"""A pool that grows: the answers of `rouge_score`, and the same ones on both paths."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from curate.kernels.sets.novelty_pool import NoveltyPool

SCORER = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
WORDS = st.lists(st.sampled_from("abcdefgh"), max_size=90).map(" ".join)


@settings(max_examples=60)  # the first example compiles
@given(st.lists(WORDS, max_size=9), WORDS, st.integers(1, 4))
def test_every_text_is_compared_as_rouge_score_does(texts, new, neighbours):
    plain, compiled = NoveltyPool("rouge_score"), NoveltyPool("rouge_score", large=1)
    for text in texts:
        assert plain.similar(text, neighbours) == compiled.similar(text, neighbours)
        plain.join(text)
        compiled.join(text)
    found = plain.similar(new, neighbours)
    assert found == compiled.similar(new, neighbours)
    scores = [SCORER.score(text, new)["rougeL"].fmeasure for text in texts]
    best = sorted(range(len(texts)), key=lambda place: (-scores[place], place))[:neighbours]
    assert found.places == best
    assert found.scores == [scores[place] for place in best]
    assert found.mean == (float(np.mean(scores)) if scores else 0.0)


def test_a_text_that_is_asked_about_does_not_join():
    pool = NoveltyPool("words", large=1)
    pool.join("name a metal")
    assert pool.similar("name a metal").scores == [1.0]
    assert pool.similar("wholly other words here").scores == [0.0]
    assert len(pool) == 1
    assert pool.similar("写一首诗").scores == [0.0]
    pool.join("写一首诗")
    assert pool.similar("写一首歌").scores == [0.75]
