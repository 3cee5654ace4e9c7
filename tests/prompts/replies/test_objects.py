"""Objects are read strictly; what cannot be read is asked for again, a bounded number of times."""

import json
import re
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.ask import Ask, Reply
from curate.errors import UnusableReply
from curate.prompts.replies.objects import ask_object, check_schema, check_value, object_in

SCHEMA = {
    "type": "object",
    "properties": {
        "rationale": {"type": "string"},
        "score": {"type": "integer", "minimum": 1, "maximum": 10},
    },
    "required": ["rationale", "score"],
    "additionalProperties": False,
}
GOOD = '{"rationale": "Clear {and} short.", "score": 8}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n{GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```\nThat is my judgement.",
        f"Here is my judgement:\n\n{GOOD}",
        f"Sure!\n```json\n{GOOD}\n```",
        f"{GOOD} I hope that helps.",
        '{"rationale": "It says ```json\\n{}\\n``` itself.", "score": 8.0}',
        '{"rationale": "two\nlines,\tand }", "score": 8}',
        '{"rationale": "a, b,}", "score": 8,}',
        'So: {"score": 8, "rationale": "\\"x,]\\"" ,\n} and no more',
    ],
)
def test_one_object_is_found_in_its_wrappings(text):
    assert object_in(text, SCHEMA)["score"] == 8


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no JSON object"),
        ("Score: 8", "no JSON object"),
        ('{"rationale": "x", "score": 8,', "not valid JSON"),
        ('{"rationale": "x",, "score": 8}', "not valid JSON"),
        ('{,"rationale": "x", "score": 8}', "not valid JSON"),
        ('{"rationale": "x", "score": ,}', "not valid JSON"),
        ('{"rationale": "x", "score": NaN,}', "NaN"),
        (f"{GOOD[:-1]},}} {GOOD}", "more than one object"),
        ("[8]", "no JSON object"),
        (GOOD[:-1], "not valid JSON"),
        (GOOD + GOOD, "more than one object"),
        (f"```json\n{GOOD}\n```\n```json\n{GOOD}\n```", "2 fenced blocks"),
        ("{'rationale': 'x', 'score': 8}", "not valid JSON"),
        ('{"rationale": "x", "score": 8, "score": 9}', "more than once"),
        ('{"rationale": "x", "score": NaN}', "NaN"),
        ('{"rationale": "x"}', r"lacks \['score'\]"),
        ('{"rationale": "x", "score": 8, "bonus": 1}', r"has \['bonus'\]"),
        ('{"rationale": "x", "score": 11}', "maximum is 10"),
        ('{"rationale": "x", "score": 0}', "minimum is 1"),
        ('{"rationale": "x", "score": "8"}', "type integer"),
        ('{"rationale": "x", "score": true}', "type integer"),
        ('{"rationale": "x", "score": 8.5}', "type integer"),
        ('{"rationale": null, "score": 8}', "type string"),
        ('{"a": ' * 100_000, "nested too deeply|not valid JSON"),
    ],
)
def test_anything_else_is_refused_with_its_reason(text, message):
    with pytest.raises(ValueError, match=message):
        object_in(text, SCHEMA)


def drive(replies: list[Reply], **options: Any) -> tuple[Any, list[Ask]]:
    """Return what a script of replies comes to, and what was asked."""
    asking = ask_object(Ask.text("Judge this."), SCHEMA, **options)
    asked = [next(asking)]
    for reply in replies:
        try:
            asked.append(asking.send(reply))
        except StopIteration as end:
            return end.value, asked
    raise AssertionError("it asks for more than the script has")


def test_a_good_reply_is_asked_for_once():
    found, asked = drive([Reply(text=GOOD)])
    assert found["score"] == 8
    assert asked == [Ask.text("Judge this.")]


def test_the_schema_goes_to_a_server_that_holds_replies_to_it():
    _, asked = drive([Reply(text=GOOD)], structured=True)
    assert asked[0].schema == SCHEMA


def test_a_bad_reply_is_shown_with_what_is_wrong_with_it():
    found, asked = drive([Reply(text="Score: 8"), Reply(text=GOOD)])
    assert found["score"] == 8
    first, reply, repair = asked[1].messages
    assert (first.content, reply.role, reply.content) == ("Judge this.", "assistant", "Score: 8")
    assert "holds no JSON object" in repair.content


def test_repairs_are_bounded_and_the_last_reply_is_named():
    bad = [Reply(text="no", key=str(n)) for n in range(3)]
    with pytest.raises(UnusableReply) as caught:
        drive(bad, repairs=2)
    assert caught.value.key == "2"
    with pytest.raises(UnusableReply):
        drive(bad[:1], repairs=0)


def test_a_reply_that_was_cut_off_is_not_asked_for_again():
    with pytest.raises(UnusableReply, match="cut off"):
        drive([Reply(text=GOOD[:9], finish_reason="length")], repairs=3)


def test_a_pydantic_model_is_a_form():
    pydantic = pytest.importorskip("pydantic")
    form = pydantic.create_model("Judgement", rationale=(str, ...), score=(int, ...))
    assert object_in(GOOD, form).score == 8
    with pytest.raises(ValueError, match="score"):
        object_in('{"rationale": "x", "score": "high"}', form)


def test_a_keyword_that_is_not_checked_is_refused():
    for keyword in ("minimun", "pattern", "$ref"):
        wrong = re.escape(f"property 'score' has the keywords ['{keyword}']")
        with pytest.raises(ValueError, match=wrong):
            check_schema({"properties": {"score": {keyword: "x"}}})
    with pytest.raises(ValueError, match="'minimum': 'one' is not of type 'number'"):
        check_schema({"minimum": "one"})
    check_schema(SCHEMA)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-3, 3, width=16) | st.text("ab"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab"), inner, max_size=3),
    max_leaves=6,
)
LEAF = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["object", "array", "string", "integer", "number", "boolean"])
        | st.just(["string", "null"]),
        "minimum": st.integers(-2, 2),
        "maximum": st.integers(-2, 2),
        "minItems": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "enum": st.lists(JSON, min_size=1, max_size=3),
    },
)
SCHEMAS = LEAF | st.fixed_dictionaries(
    {"properties": st.dictionaries(st.text("ab"), LEAF, max_size=2)},
    optional={
        "required": st.lists(st.text("ab"), max_size=2, unique=True),
        "additionalProperties": st.booleans(),
        "items": LEAF,
    },
)


@given(JSON, SCHEMAS)
def test_it_agrees_with_the_reference_validator(value, schema):
    check_schema(schema)
    expected = not list(jsonschema.Draft202012Validator(schema).iter_errors(value))
    try:
        check_value(json.loads(json.dumps(value)), schema)
        found = True
    except ValueError:
        found = False
    assert found == expected


def test_quotes_without_an_end_take_no_longer_than_they_are_many() -> None:
    begun = time.process_time()
    with pytest.raises(ValueError, match="not valid JSON"):
        object_in('{"a": "' + '\\"' * 50_000, {})
    assert time.process_time() - begun < 5
