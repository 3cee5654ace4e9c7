"""Annotations decide what a field may hold, and equal meanings become equal values."""

import copy
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest

from curate.recipe.fields import FieldProblem, FrozenMap, checked, fit, freeze, plain, type_text
from curate.step import Filter

ACCEPTED = [
    (int, 3, 3),
    (float, 3, 3.0),
    (float | int, 3, 3),
    (bool, True, True),
    (str | None, None, None),
    (Literal["a", "b"], "b", "b"),
    (tuple[str, ...], ["x", "y"], ("x", "y")),
    (tuple[str, ...], "x", ("x",)),
    (list[str] | None, "x", ("x",)),
    (list[int], [1, 2], (1, 2)),
    (tuple[float, str], [1, "x"], (1.0, "x")),
    (tuple[tuple[int, ...], ...], [[1], [2, 3]], ((1,), (2, 3))),
    (Mapping[str, float], {"a": 1}, {"a": 1.0}),
    (dict[str, Any], {"a": [1, {"b": None}]}, {"a": (1, {"b": None})}),
    (Any, ["x"], ("x",)),
]
REFUSED = [
    (int, True, "an integer"),
    (int, 3.0, "an integer"),
    (int, "3", "without quotes"),
    (float, "1e-3", r"as 1\.0e-3"),
    (float, "1e5", r"as 1\.0e\+5"),
    (float, True, "a number"),
    (float, float("nan"), "finite"),
    (float, float("inf"), "finite"),
    (float, 10**400, "finite"),
    (bool, 1, "true or false"),
    (str, False, "put it in quotes"),
    (Literal["a", "b"], "c", "one of a, b"),
    (Literal[1, 2], True, "one of 1, 2"),
    (tuple[int, ...], 3, "a list"),
    (tuple[int, ...], ["x"], "each an integer"),
    (tuple[str, ...], 3, "a list, each a string"),
    (tuple[str, str], "x", "a list of 2"),
    (tuple[int, int], [1], "a list of 2"),
    (Mapping[str, float], {"a": "x"}, "a mapping of names to a number"),
    (Mapping[str, Any], {1: 2}, "keys are texts"),
    (Mapping[str, Any], {"a": object()}, "only text, numbers"),
    (int | None, "x", "an integer or null"),
]


@pytest.mark.parametrize(("type_", "given", "expected"), ACCEPTED)
def test_a_value_takes_its_one_form(type_: Any, given: Any, expected: Any) -> None:
    found = fit("field", given, type_)
    assert found == expected
    assert type(found) is type(expected) or isinstance(found, FrozenMap)
    hash(found)


@pytest.mark.parametrize(("type_", "given", "says"), REFUSED)
def test_another_value_is_refused_and_named(type_: Any, given: Any, says: str) -> None:
    with pytest.raises(FieldProblem, match=says) as caught:
        fit("field", given, type_)
    assert str(caught.value).startswith("field must be ")
    assert caught.value.field == "field"


def test_a_frozen_map_hashes_by_content_and_cannot_change() -> None:
    one, other = freeze({"a": [1], "b": 2}), freeze({"b": 2, "a": [1]})
    assert one == other
    assert hash(one) == hash(other)
    for change in (lambda: one.update(a=1), lambda: one.pop("a"), lambda: one.__setitem__("a", 1)):
        with pytest.raises(TypeError, match="cannot change"):
            change()
    assert pickle.loads(pickle.dumps(one)) == one == copy.deepcopy(one)
    assert plain(one) == {"a": [1], "b": 2}


def test_types_are_said_in_words() -> None:
    assert type_text(Literal["a", "b"]) == "one of a, b"
    assert type_text(tuple[str, ...] | None) == "a list, each a string or null"


@dataclass(frozen=True, kw_only=True)
class Between(Filter):
    """Keep rows in between."""

    words: tuple[str, ...] = ()
    names: Mapping[str, Any] = field(default_factory=dict)
    low: float = 0.0
    high: float = 1.0

    def check(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")


def test_steps_that_mean_the_same_are_the_same() -> None:
    written = checked(Between(words=["a"], names={"b": [1]}, low=0))  # type: ignore[arg-type]
    assert written == Between(words=("a",), names=freeze({"b": [1]}), low=0.0)
    assert hash(written) == hash(Between(words=("a",), names=freeze({"b": [1]}), low=0.0))
    # One that fits is not made anew: it would lose what it has derived from its fields.
    assert checked(written) is written


def test_a_step_refuses_fields_that_contradict() -> None:
    with pytest.raises(FieldProblem, match=r"low \(3.0\) is above high \(1.0\)"):
        checked(Between(low=3))
