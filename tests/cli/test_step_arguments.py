"""`STEP:key=value,...` and `PATH=VALUE` as people write them."""

from collections.abc import Callable
from typing import Any

import pytest

from curate.cli.step_arguments import settings_of, step_of
from curate.errors import UsageError
from curate.step import Step
from curate.steps import Keywords, Length, Near, Structure

STEPS = [
    ("structure", Structure()),
    ("length:", Length()),
    ("length:min=3", Length(min=3)),
    (" length : min = 3 , on = whole ", Length(min=3, on="whole")),
    ("near:similarity=0.7,shingle=2,label=n", Near(similarity=0.7, shingle=2, label="n")),
    ("keywords:phrases=[as an AI, b],max=null", Keywords(phrases=("as an AI", "b"), max=None)),
    ("keywords:phrases=['a, b', \"c]\"]", Keywords(phrases=("a, b", "c]"))),
    ("keywords:phrases=[don't, I'm sorry]", Keywords(phrases=("don't", "I'm sorry"))),
    ("keywords:pattern='https?://\\S+'", Keywords(pattern="https?://\\S+")),
    ("keywords:pattern=a:b=c", Keywords(pattern="a:b=c")),
    ("keywords:phrases=as an AI", Keywords(phrases=("as an AI",))),
    ("keywords:phrases=[x],whole_words=false", Keywords(phrases=("x",), whole_words=False)),
]


@pytest.mark.parametrize(("text", "step"), STEPS)
def test_a_step_is_read(text: str, step: Step) -> None:
    from curate import Pipeline

    assert Pipeline([step_of(text)]) == Pipeline([step])


WRONG = [
    ("lenght", "unknown step 'lenght'; did you mean 'length'"),
    ("length:mn=3", "step 'length': unknown field 'mn'; did you mean 'min'"),
    ("length:3", "fields are key=value, separated by commas; found '3'"),
    ("min=3", "fields follow their step behind a colon, for example length:min=3"),
    ("charset:scripts=Latin,Greek", r"brackets: 'charset:scripts=\[Latin, Greek\]'"),
    ("length:min=1,min=2", "'min' is given twice"),
    ("length:=1", "found '=1'"),
    ("keywords:pattern=[a", "length|keywords:pattern: not valid YAML.*quote"),
    ("keywords:pattern=a: b", "found a colon and a blank; quote"),
    ("", "unknown step ''"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        step_of(text)


def test_a_field_given_as_an_option_is_told_its_form(curate: Callable[..., Any]) -> None:
    wrong = curate("filter", "rows.jsonl", "length", "--min", "3", "-o", "o.jsonl")
    assert wrong.exit_code == 2
    assert "--min; a field of a step follows it behind a colon" in wrong.stderr
    assert "colon" not in curate("report", "r", "--min").stderr


def test_settings_are_yaml() -> None:
    given = ["seed=1", "steps.a.min=null", "models.m=openai:x=y", "a.b=[1, x]", "n={k: v}", "e="]
    expected: dict[str, Any] = {
        "seed": 1,
        "steps.a.min": None,
        "models.m": "openai:x=y",
        "a.b": [1, "x"],
        "n": {"k": "v"},
        "e": None,
    }
    assert settings_of(given) == expected
    for wrong in ("seed", "=3"):
        with pytest.raises(UsageError, match="--set takes PATH=VALUE"):
            settings_of([wrong])
