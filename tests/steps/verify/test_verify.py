"""Gold answers accept themselves, wrong ones do not, and what cannot be read is an error."""

import json
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import MissingExtra
from curate.kernels.text.final_answers import choice_in, final_answer, number_in
from curate.kernels.verifiers.checkers import CHECKERS, CheckerName, verify_reply
from curate.kernels.verifiers.verification import VerifyOptions
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
        ("2**10", None),
        ("it makes 2 ** 10", None),
        ("#### 2**10", None),
        ("2 1/2", Fraction(5, 2)),
        ("#### -2 1/2 cups", Fraction(-5, 2)),
        ("of 12/25 1/2", Fraction(1, 2)),
        ("2 1/0", None),
        ("#### 10 - 3", None),
        ("10 - 3", None),
        ("2 + 1/2", None),
        ("#### 3 x 4", None),
        ("A: 5:30", None),
        ("#### 3 + 4 = 7", 7),
        ("A: x = -3", -3),
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


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("A: She has 3 dogs and 4 cats. The answer is 7.", "7"),
        ("Answer: let us count.\n3 and 4.\nThe answer is 7.", "7"),
        ("The answer is 5. No:\nAnswer: 7", "7"),
        ("#### Step 2\n\nso it is \\boxed{7}", "7"),
        ("\\boxed{6}, or rather\n#### 7", "7"),
        ("\\boxed{7}, and the answer is correct.", "7"),
        # A remark about the answer states none.
        ("Answer: yes\nThe answer is obvious.", "yes"),
        ("Answer: yes. The answer is obvious.", "yes"),
        ("Answer: 12 apples. The answer is clear from step 2.", "12 apples"),
        ("Answer: Paris\nI am sure that the answer is right.", "Paris"),
        ("The answer is 7. The answer is clear.", "7"),
        ("Answer: B\n\nThe answer is correct, because (B) fits.", "B"),
        ("Answer: so it is 4.\n#### 7\nThe answer is 9.", "7"),
        # Nothing else is stated: then that is it.
        ("The answer is incorrect.", "incorrect"),
        # A later sentence that states an answer takes the place of an earlier line.
        ("Answer: let me think.\n\nThe answer is Paris.", "Paris"),
        ("Answer: no.\nActually, the answer is yes.", "yes"),
        ("Answer: B. Or rather: the answer is (C).", "(C)"),
        ("Answer: 3 + 4.\nThe answer is therefore 7.", "therefore 7"),
        ("Answer: 5\nThe answer is five.", "5"),
        ("The answer is 4.5.", "4.5"),
        ("Either the answer is it, or the answer is 3", "3"),
        ("Answer: as follows.\nThe answer is x = 3.", "x = 3"),
        ("A: She has cats, dogs and fish. The answer is a dog.", "a dog"),
        ("Answer: yes\nThe answer is no, on second thoughts\nAnswer: maybe", "maybe"),
    ],
)
def test_the_last_statement_is_the_answer(text: str, answer: str) -> None:
    assert final_answer(text) == answer


def test_a_text_of_many_statements_is_read_in_time() -> None:
    began = time.process_time()
    assert final_answer("Answer: it is so. The answer is 3\n" * 20_000) == "3"
    assert final_answer(f"The answer is x{' ' * 100_000}y.") == f"x{' ' * 100_000}y"
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        "**Answer:** 7",
        "**Answer: 7**",
        "**The answer is 7.**",
        "The answer is **7**.",
        "#### **7**",
    ],
)
def test_bold_type_is_no_part_of_an_answer(text: str) -> None:
    assert final_answer(text) == "7"
    assert passes(text, "7", "exact")
    assert number_in("Of 9 she has **7** left.") == 7
    assert choice_in("**B**") == "B"
    # Powers.
    assert (number_in("2**3**2"), number_in("It is 2 **3** 2")) == (None, 2)


def test_blank_lines_take_no_time() -> None:
    begun = time.process_time()
    for line in ("", "* * *", "answer"):
        assert number_in(f"{line}\n" * 20_000) is None
    assert time.process_time() - begun < 3


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
    with pytest.raises(ValueError, match="the reply is not JSON"):
        passes("Sure: {", schema, "json")
    with pytest.raises(ValueError, match="the gold is not a JSON Schema"):
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
    assert "the reply holds no number answer" in errors
    assert "holds no gold answer; columns: ground_truth" in errors


def test_the_columns_of_an_instruction_benchmark_are_read(tmp_path: Path) -> None:
    pytest.importorskip("punkt")
    row = {
        "instruction": "Say hi.",
        "instruction_id_list": ["punctuation:no_comma", "format:no_whitespace"],
        "kwargs": [{}, {"N": None}],
    }
    rows = [{**row, "output": output} for output in ("Hi.", "Hi, you.", "Hi you.")]
    rows.append({**row, "output": "Hi.", "instruction_id_list": ["no:such"], "kwargs": [{}]})
    step = Verify(checker="instructions", min=0.5)
    result = Pipeline([step]).run(rows, run=tmp_path / "run", allow_failed=1.0)
    found = result.summary["steps"][0]
    assert (len(result.kept), found["dropped"], found["failed"]) == (2, 1, 1)
    assert "unknown constraint 'no:such'" in str(result.failed.to_list())


@pytest.mark.parametrize("checker", CHECKERS)
def test_every_checker_fails_what_it_cannot_read(checker: CheckerName) -> None:
    options = VerifyOptions(allow_code=checker == "code")
    for reply, gold in (("", ""), ("\ud800", "\ud800"), ("x", None), ("x", {}), ("x", [None])):
        try:
            verification = verify_reply(checker, reply, gold, options)
        except (ValueError, MissingExtra):
            continue
        # A text that equals its gold, and a reply that is not text of a schema that asks nothing.
        assert verification.share in (0.0, 1.0)
        json.dumps(dict(verification.evidence))


def test_an_unknown_checker_is_named() -> None:
    with pytest.raises(ValueError, match="checker is 'maths'; allowed are number, choice"):
        verify_reply("maths", "1", "1")  # type: ignore[arg-type]
