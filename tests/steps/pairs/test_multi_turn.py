"""An earlier exchange before a pair: what it is, and that the pair stays what it was."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Drop
from curate.steps.pairs.multi_turn import FORMS, MultiTurn
from tests.steps.conftest import row_of


def pair(question="Why is {{ it }} so?", before=()):
    prompt = (*before, Message("user", question))
    sides = {name: (Message("assistant", name),) for name in ("chosen", "rejected")}
    fields = {"prompt": prompt, **sides, "margin": 2.0, "p_chosen": None}
    return row_of("preference", fields, extra='{"k": 1}')


def make(step, row, *replies):
    asking, asked = step.make(row), []
    reply = None
    waiting = list(replies)
    while True:
        try:
            asked.append(asking.send(reply))
        except StopIteration as end:
            return end.value, asked
        reply = Reply(text=waiting.pop(0))


BEFORE = st.sampled_from([
    (), (Message("system", "Be brief."),), (Message("user", "a"), Message("assistant", "b")),
])  # fmt: skip


@given(st.text("abc ?", min_size=1).filter(str.strip), st.sampled_from(FORMS), BEFORE)
def test_the_earlier_exchange_stands_before_the_last_turn(question, form, before):
    row = pair(question, before)
    step = MultiTurn(model="m", **{name: float(name == form) for name in FORMS})
    replies = ["an answer"] if form == "repeat" else ["EARLIER", "an answer"]
    made, asked = make(step, row, *replies)
    earlier = question if form == "repeat" else "EARLIER"
    context = (*before, Message("user", earlier))
    assert asked[-1].messages == context
    fields = made.record.fields
    assert fields["prompt"] == (*context, Message("assistant", "an answer"), row.prompt[-1])
    assert {n: fields[n] for n in ("chosen", "rejected", "margin")} == {
        n: row.fields[n] for n in ("chosen", "rejected", "margin")
    }
    assert json.loads(made.record.extra) == {"k": 1, "earlier_turn": form}
    if form != "repeat":
        assert question.strip() in asked[0].messages[0].content


def test_the_forms_come_in_the_shares_of_their_weights():
    step, counts = MultiTurn(model="m"), Counter()
    for number in range(2000):
        row = pair(f"question {number}")
        made, _ = make(step, row, *["one", "two"])
        counts[made.detail["form"]] += 1
    # 1,000, 750 and 250 are expected; four deviations.
    for form, wanted, off in (("related", 1000, 90), ("paraphrase", 750, 87), ("repeat", 250, 60)):
        assert abs(counts[form] - wanted) < off


def test_what_is_no_earlier_exchange_ends_with_a_reason():
    step = MultiTurn(model="m", related=1, paraphrase=0, repeat=0)
    made, _ = make(step, pair("Why?"), " why? ")
    assert made == Drop("the earlier question is the same", detail={"form": "related"})
    for replies in ([" "], ["x", " "]):
        with pytest.raises(UnusableReply, match="is empty"):
            make(step, pair(), *replies)
    with pytest.raises(ValueError, match="column 'earlier_turn' already"):
        make(step, pair()._replace(extra='{"earlier_turn": 1}'))
    with pytest.raises(ValueError, match="last turn must be a user turn"):
        make(step, pair(before=())._replace(fields={**pair().fields, "prompt": ()}))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({}, "model must"), ({"model": "m", "related": -1}, "weights of 0 or more"),
     ({"model": "m", "related": 0, "paraphrase": 0, "repeat": 0}, "not all 0"),
     ({"model": "m", "max_tokens": 0}, "max_tokens is 0")],
)  # fmt: skip
def test_fields_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        MultiTurn(**fields).check()
