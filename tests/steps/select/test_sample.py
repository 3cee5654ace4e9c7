from hypothesis import given
from hypothesis import strategies as st

from curate.steps.select.sample import Sample


def kept_ids(decide, step, rows):
    verdicts = decide(step, rows)
    return {row.id for row, code in zip(rows, verdicts.code.tolist(), strict=True) if code < 0}


def many(conversation, count=200):
    return [conversation(f"question {place}", "answer") for place in range(count)]


def test_exact_amounts(conversation, decide):
    rows = many(conversation)
    assert len(kept_ids(decide, Sample(count=17), rows)) == 17
    assert len(kept_ids(decide, Sample(share=0.29), rows[:100])) == 29
    assert len(kept_ids(decide, Sample(), rows)) == 200
    assert len(kept_ids(decide, Sample(count=0), rows)) == 0


@given(st.randoms(use_true_random=False), st.integers(0, 40), st.integers(0, 40))
def test_order_and_amount_do_not_change_who_is_drawn_first(conversation, decide, random, a, b):
    rows = many(conversation, 40)
    shuffled = random.sample(rows, len(rows))
    small, large = sorted((a, b))
    few = kept_ids(decide, Sample(count=small), rows)
    assert few == kept_ids(decide, Sample(count=small), shuffled)
    assert few <= kept_ids(decide, Sample(count=large), rows)


def test_another_seed_or_label_draws_others(conversation, decide):
    rows = many(conversation)
    own = kept_ids(decide, Sample(count=50), rows)
    seeded = [row._replace(run_seed=1) for row in rows]
    step = Sample(count=50)
    draws = {row.id: step.sketch(row)["draw"] for row in seeded}
    lowest = set(sorted(draws, key=draws.__getitem__)[:50])
    assert lowest != own
    assert kept_ids(decide, Sample(count=50, label="second"), rows) != own


def test_draws_are_spread_evenly(conversation):
    draws = sorted(Sample().sketch(row)["draw"] for row in many(conversation, 1000))
    gap = max(abs(draw - (place + 0.5) / 1000) for place, draw in enumerate(draws))
    assert gap < 0.0515  # Kolmogorov-Smirnov, 1 %, n = 1000


def test_per_group(conversation, decide):
    rows = [row._replace(source="ab"[n % 2]) for n, row in enumerate(many(conversation, 40))]
    ids = kept_ids(decide, Sample(count=3, per="source"), rows)
    assert sorted(row.source for row in rows if row.id in ids) == ["a"] * 3 + ["b"] * 3
