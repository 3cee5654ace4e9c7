"""Safety pairs: a refusal is chosen where the prompt is harmful, and rejected where it is not."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.steps.pairs._answers import ScoredAnswer
from curate.steps.pairs.safety_pairs import HARMFUL, HARMLESS, SafetyPairs
from tests.steps.pairs.answers import answer, made_of, texts

SORRY = "I'm sorry, but I can't help with that."


def group(refusals, said="true", column="harmful"):
    rows = [answer(n, f"{SORRY} {n}" if no else f"So: {n}") for n, no in enumerate(refusals)]
    return [row._replace(extra=json.dumps({column: said, "topic": "t"})) for row in rows]


@given(
    st.lists(st.booleans(), min_size=1, max_size=7),
    st.sampled_from([*HARMFUL, *HARMLESS, True, False, 1, 0]),
    st.integers(1, 3),
)
def test_refusals_are_chosen_for_harmful_prompts_alone(refusals, said, most):
    harmful = str(said).lower() in HARMFUL
    made, dropped = made_of(SafetyPairs(most=most), group(refusals, said))
    for one in made:
        chosen, rejected = texts(one)
        assert (SORRY in chosen, SORRY in rejected) == (harmful, not harmful)
    fewer = min(sum(refusals), len(refusals) - sum(refusals))
    assert len(made) == min(most, fewer)
    if not fewer:
        wanted = "no answer complies" if all(refusals) else "no answer refuses"
        assert [drop.reason for drop in dropped] == [wanted]


@pytest.mark.parametrize("said", ["perhaps", None])
def test_a_prompt_of_which_nothing_is_known_fails(said):
    with pytest.raises(ValueError, match="column 'harmful' says"):
        SafetyPairs().make(group([True, False], said))
    mixed = [*group([True], "safe"), *group([False, False], "unsafe")[1:]]
    with pytest.raises(ValueError, match="says safe and unsafe of this prompt"):
        SafetyPairs().make(mixed)


def test_lengths_can_be_kept_within_words():
    made, dropped = made_of(SafetyPairs(length_within=3), group([True, False]))
    assert (made, dropped[0].reason) == ([], "no two answers within 3 words")
    assert SafetyPairs(column="unsafe_prompt").make(group([1, 0], "yes", "unsafe_prompt"))


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"most": 0}, "most is 0"), ({"length_within": -1}, "within is -1"),
     ({"more": (" ",)}, "empty phrase")],
)  # fmt: skip
def test_fields_that_make_no_sense_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        SafetyPairs(**fields).check()


def test_answers_are_parted_without_comparing_them(monkeypatch):
    def never(self, other):
        raise AssertionError("two answers were compared")

    monkeypatch.setattr(ScoredAnswer, "__eq__", never)
    assert len(made_of(SafetyPairs(most=None), group([True, False] * 20))[0]) == 20
