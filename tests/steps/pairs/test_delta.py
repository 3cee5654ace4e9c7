"""Pairs of a larger and a smaller model: a law over generated answers."""

import json

from hypothesis import given
from hypothesis import strategies as st

from curate.steps.pairs.delta import Delta
from tests.steps.pairs.answers import GROUPS, answer, made_of, texts


@given(GROUPS, st.one_of(st.none(), st.integers(0, 3)), st.integers(1, 3))
def test_delta_prefers_the_larger_model_whatever_it_says(group, within, most):
    rows = [answer(n, text, None, model) for n, (text, _, model) in enumerate(group)]
    step = Delta(larger="big", smaller="small", length_within=within, most=most)
    made, _ = made_of(step, rows)
    sides = [[text for text, _, model in group if model == name] for name in ("big", "small")]
    wanted = [
        (one, two)
        for one, two in zip(*sides, strict=False)
        if one.split() != two.split()
        and (within is None or abs(len(one.split()) - len(two.split())) <= within)
    ]
    assert [texts(one) for one in made] == wanted[:most]
    for one in made:
        columns = json.loads(one.record.extra)
        assert (columns["chosen_model"], columns["rejected_model"]) == ("big", "small")
        assert one.record.fields["margin"] is None
