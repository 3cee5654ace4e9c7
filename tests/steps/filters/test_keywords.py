import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import StoppedShort
from curate.pipeline import Pipeline
from curate.steps.filters.keywords import Keywords

TEXT = st.text(st.sampled_from("aAiIkKsS \u212a\u017f\u0130\u0131é模型x\n\x1f\x00.+"), max_size=30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("As an AI language model, I", 1),
        ("as an ai\nlanguage  model and as an AI language model", 2),
        ("has an AI language models", 0),
        ("éas an AI language model", 0),
        ("— as an AI language model —", 1),
        ("AS AN AI LANGUAGE MODEL", 1),
        ("", 0),
        ("as an A\u0130 language model", 1),
    ],
)
def test_counts_phrases_as_whole_words(text, found, conversation, scores_of):
    step = Keywords(phrases=("as an AI language model",), on="response")
    assert scores_of(step, [conversation("q", text)]) == [found]


@pytest.mark.parametrize("step", [Keywords(phrases=("cafe\u0301",)), Keywords(pattern="caf\u00e9")])
def test_how_accents_are_stored_makes_no_difference(step, conversation, scores_of):
    rows = [conversation("q", text) for text in ("un caf\u00e9", "un cafe\u0301", "un cafe")]
    assert scores_of(step, rows) == [1, 1, 0]


def test_case_and_word_edges_can_be_switched(conversation, scores_of):
    row = conversation("Class classes", "CLASS C++ c++11")
    assert scores_of(Keywords(phrases=("class",)), [row]) == [2]
    assert scores_of(Keywords(phrases=("class",), whole_words=False), [row]) == [3]
    assert scores_of(Keywords(phrases=("Class",), ignore_case=False), [row]) == [1]
    assert scores_of(Keywords(phrases=("C++",)), [row]) == [2]
    assert scores_of(Keywords(phrases=("模型",)), [conversation("语言模型很好", "")]) == [1]
    assert scores_of(Keywords(phrases=("class", "class classes")), [row]) == [2]


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        (r"https?://\S+", "see http://a.b and https://c", 2),
        (r"(?<=x)y", "xy y", 1),
        (r"\d{3}", "123 ٤٥٦", 2),
        (r"a\sb", "a\x1cb a\x0bb a\u3000b", 3),
        (r"b*", "bb a b", 2),
        (r"end$", "the end\n", 1),
        (r"(a|b)+c", "aabc bc c", 2),
        (r"x{1200}", "x" * 1200, 1),
    ],
)
def test_patterns_are_pythons(pattern, text, found, conversation, scores_of):
    rows = [conversation("", text), conversation("", "nothing")]
    assert scores_of(Keywords(pattern=pattern), rows) == [found, 0]


@given(
    st.lists(TEXT, min_size=1, max_size=6),
    st.lists(TEXT.filter(str.strip), min_size=1, max_size=3).map(tuple),
    st.booleans(),
    st.booleans(),
)
def test_both_forms_agree_on_any_text(conversation, scores_of, texts, phrases, whole, case):
    rows = [conversation("q", text) for text in (*texts, *phrases)]
    scores_of(Keywords(phrases=phrases, whole_words=whole, ignore_case=case), rows)


def test_rules():
    assert Keywords(phrases=("a",)).keep(1) == "keyword found"
    assert Keywords(phrases=("a",)).keep(0) is None
    assert Keywords(pattern="a", max=2).keep(3) == "pattern found more than 2 times"
    assert Keywords(pattern="a", max=None).keep(3) is None
    assert Keywords(pattern="a", max=None, min=1).keep(0) == "pattern missing"
    assert Keywords(pattern="a", max=None, min=2).keep(1) == "pattern found fewer than 2 times"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either phrases or pattern"),
        ({"phrases": ("a",), "pattern": "a"}, "either phrases or pattern"),
        ({"phrases": ("a", " ")}, "a phrase is empty"),
        ({"pattern": "("}, "not a regular expression"),
        ({"pattern": "a", "min": 1}, r"min \(1\) is above max \(0\)"),
    ],
)
def test_contradictory_fields_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Keywords(**fields).check()


def test_a_pattern_that_is_too_slow_ends_the_run_whatever_came_before(tmp_path, monkeypatch):
    """A verdict that depends on the machine's speed, or on other rows, is none."""
    monkeypatch.setattr("curate.system.bounded_patterns.SECONDS", 0.05)
    lines = [{"instruction": "a", "output": "a" * 80 + "b"}, {"instruction": "a", "output": "é"}]
    step = Keywords(pattern="(a|aa)+$", on="response")
    for order in (lines, lines[::-1]):
        (tmp_path / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in order))
        run = Pipeline([step], inputs=str(tmp_path / "rows.jsonl"))
        with pytest.raises(
            StoppedShort, match=r"takes longer than 0.05 s on a text of 81 .* Nothing"
        ):
            run.run(run=tmp_path / "run", store=tmp_path / "store", replace=True)
    assert not (tmp_path / "run" / "report.json").exists()
