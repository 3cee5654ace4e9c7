"""Gold answers accept themselves, wrong ones do not, and what cannot be read is an error."""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.kernels.text.final_answers import choice_in, final_answer, number_in
from curate.row import Message, Row
from curate.steps import Verify

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
real = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")


def row_of(response: str, gold: Any) -> Row:
    turns = (Message("user", "?"), Message("assistant", response))
    return Row("0" * 32, (0,), "sft", {"messages": turns}, None, json.dumps({"ground_truth": gold}))


def passes(response: str, gold: Any, checker: str, **fields: Any) -> bool:
    step = Verify(checker=checker, **fields)  # type: ignore[arg-type]
    step.check()
    score = step.score(row_of(response, gold))
    assert (step.keep(score.value) is None) == (score.value == 1)
    return score.value == 1


@real
@pytest.mark.parametrize(("file", "count"), [("train", 7473), ("test", 1319)])
def test_gold_of_gsm8k_accepts_itself_and_nothing_beside_it(file: str, count: int) -> None:
    lines = (DATA / "gsm8k" / f"{file}.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    assert len(answers) == count
    missed = [a for a in answers if not passes(a, a.split("####")[1].strip(), "number")]
    assert missed == []
    wrong = [a for a in answers if passes(a, str((number_in(a) or 0) + 1), "number")]
    assert wrong == []


@real
def test_model_solutions_of_gsm8k_are_judged_as_their_labels_say() -> None:
    lines = (DATA / "gsm8k" / "example_model_solutions.jsonl").read_text("utf-8").splitlines()
    count, unreadable, other = 0, 0, []
    for data in map(json.loads, lines):
        for own in (v for v in data.values() if isinstance(v, dict) and "is_correct" in v):
            count += 1
            try:
                passed = passes(own["solution"], data["ground_truth"], "number")
            except ValueError:
                unreadable += 1
                assert not own["is_correct"]
                continue
            if passed != own["is_correct"]:
                other.append((own["is_correct"], own["solution"][-60:], data["ground_truth"][-30:]))
    assert count == 4 * 1319
    assert (unreadable, other) == (0, [])


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("so 3 + 4 = 7\n#### 7", 7),
        ("#### 1,234,567.50 dollars", Fraction("1234567.5")),
        (r"thus \boxed{-\$3}", -3),
        ("It is $18.", 18),
        ("A: 3/4", Fraction(3, 4)),
        ("A: -.5", Fraction(-1, 2)),
        ("The answer is 18 (of 20).", 18),
        ("first 2, then 3", 3),
        ("it is 10 - 3", 3),
        ("between 5-10", 10),
        ("#### 25%", 25),
        ("none at all", None),
        (r"\boxed{7", None),
        ("#### 1/0", None),
        (r"\boxed{\frac{1}{2}}", Fraction(1, 2)),
        (r"\boxed{-\frac{3}{4}}", Fraction(-3, 4)),
        (r"\boxed{-\dfrac{-3}{4}}", Fraction(3, 4)),
        (r"so it is $\tfrac{1.5}{2}$", Fraction(3, 4)),
        (r"\boxed{1{,}000{,}000}", 1_000_000),
        (r"\boxed{10\,000}", 10_000),
        (r"\boxed{10,\!000}", 10_000),
        (r"\boxed{5\,\mathrm{m}}", 5),
        (r"\boxed{18\text{ dollars}}", 18),
        (r"\boxed{90^\circ}", 90),
        (r"so 3 \times 6 = 18 \% (of \(x_{2}\)), or 18.", 18),
        ("3e8", 300_000_000),
        ("#### -1.5E-3", Fraction(-3, 2000)),
        ("1e999999999", None),
        ("2^10", None),
        (r"\boxed{2^{10}}", None),
        (r"\boxed{2\sqrt{3}}", None),
        (r"\boxed{3 \times 10^8}", None),
        (r"\boxed{2\frac{1}{2}}", None),
        (r"\boxed{\frac{x + 1}{2}}", None),
        (r"\frac{\sqrt{3}}{2}", None),
        (r"\boxed{\pi/2}", None),
        (r"\boxed{3{,}5}", None),
        ("#### 3k", None),
        ("2x", None),
        ("he walks 18km.", 18),
    ],
)
def test_numbers(text: str, number: Any) -> None:
    assert number_in(text) == (None if number is None else Fraction(number))


@given(st.integers(-(10**15), 10**15), st.sampled_from(["#### {}", "The answer is {}.", "A: {}"]))
def test_any_whole_number_is_read_back(number: int, form: str) -> None:
    assert number_in(form.format(number)) == number
    assert number_in(form.format(f"{number:,}")) == number


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_a_gold_number_is_read_exactly(number: float) -> None:
    step = Verify(checker="number")
    scored = step.score(row_of(f"#### {number}", number))
    assert scored.value == 1
    assert scored.detail is not None
    assert scored.detail["found"] == str(Fraction(str(number)))[:200]


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("(c) because", "C"),
        ("D. A dog", "D"),
        ("The answer is (E).", "E"),
        (r"\boxed{A}", "A"),
        ("Of (A) and (B) ...", None),
        ("It can only be (B), since (B) fits", "B"),
        ("A dog barks", None),
        ("Because", None),
    ],
)
def test_choices(text: str, letter: str | None) -> None:
    assert choice_in(text) == letter


def test_marked_answers() -> None:
    assert final_answer(r"\boxed{1} and \boxed{\frac{a}{b}}") == r"\frac{a}{b}"
    assert final_answer("Final answer: yes, indeed\n") == "yes, indeed"
    assert final_answer("nothing marked") is None


def test_exact_texts_and_lists_of_gold() -> None:
    assert passes(" Caf\u0065\u0301 ", "Café", "exact")
    assert passes("Paris", ["Lutetia", "Paris"], "exact")
    assert not passes("paris", "Paris", "exact")
    assert passes("paris", "Paris", "exact", ignore_case=True)
    assert not passes("3.1", 3.14159, "number")
    assert passes("3.1", 3.14159, "number", tolerance=0.02)


def test_json_by_a_schema() -> None:
    schema = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}
    assert passes('{"a": 1}', schema, "json")
    assert passes('```json\n{"a": 1}\n```', json.dumps(schema), "json")
    assert not passes('{"a": "1"}', schema, "json")
    with pytest.raises(ValueError, match="the response is no JSON"):
        passes("Sure: {", schema, "json")
    with pytest.raises(ValueError, match="gold is no JSON Schema"):
        passes("{}", {"type": "wordy"}, "json")


def test_a_schema_is_checked_once_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = []
    kind = jsonschema.Draft202012Validator
    monkeypatch.setattr(kind, "check_schema", checked.append)
    schema = {"type": "object", "required": ["once"]}
    for text in (schema, json.dumps(schema), schema):
        assert passes('{"once": 1}', text, "json")
    assert checked == [schema]


def test_the_draft_that_a_gold_schema_names_is_followed() -> None:
    schema = {"items": [{"type": "integer"}], "additionalItems": False}
    named = {"$schema": "http://json-schema.org/draft-07/schema#", **schema}
    assert passes("[1]", named, "json")
    assert not passes("[1, 2]", named, "json")


def test_fields_that_contradict_each_other() -> None:
    for fields in (
        {"min": 0.0},
        {"tolerance": -1.0, "checker": "number"},
        {"tolerance": 0.1},
        {"ignore_case": True, "checker": "json"},
    ):
        with pytest.raises(ValueError, match=r"^(min|tolerance|ignore_case) "):
            Verify(**fields).check()  # type: ignore[arg-type]


def test_unreadable_rows_fail_and_wrong_ones_are_dropped(tmp_path: Path) -> None:
    rows = [
        {"instruction": "2+2?", "output": output, "ground_truth": gold}
        for output, gold in [("4", "4"), ("#### 5", 4), ("four", 4), ("4", "four"), ("4", None)]
    ]
    result = Pipeline([Verify(checker="number")]).run(rows, run=tmp_path / "run", allow_failed=1.0)
    step = result.summary["steps"][0]
    assert (len(result.kept), step["dropped"], step["failed"]) == (1, 1, 3)
    assert step["reasons"] == {"share passed below 1": 1}
    errors = " ".join(str(row) for row in result.failed.to_list())
    assert "the response holds no number answer" in errors
    assert "holds no gold answer; columns: ground_truth" in errors
