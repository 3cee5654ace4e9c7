"""Equal values pass, others do not, words are not mathematics, and nothing hangs."""

import importlib.util
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curate.kernels.verifiers.checkers import verify_reply
from curate.kernels.verifiers.mathematics import POOL_FUNCTION
from curate.kernels.verifiers.verification import UnreadableAnswer, VerifyOptions
from curate.system.killable import killable_pool

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="needs the extra 'verify'"
)
QUICK = VerifyOptions(seconds=0.5, memory_mb=1024)


def share(reply: str, gold: Any) -> float:
    return verify_reply("math", reply, gold, QUICK).share


@pytest.mark.parametrize(
    ("reply", "gold"),
    [
        ("18", "18"),
        ("#### 18 dollars", 18),
        ("A: $1,200.50", "1200.5"),
        ("-$5", -5),
        (r"so it is \boxed{\frac{1}{2}}", "0.5"),
        ("the answer is 2 1/2.", "5/2"),
        ("2**10", "1024"),
        ("2**3**2", "512"),
        (r"\boxed{2^{10}}", 1024),
        ("1e5", "100000"),
        (r"thus $x=3$", "3"),
        (r"\boxed{(x+1)^2}", "x^2+2x+1"),
        (r"\boxed{\sqrt{8}}", "2sqrt(2)"),
        (r"\boxed{18\text{ dollars}}", "18"),
        (r"\boxed{90^\circ}", "90"),
        ("#### 25%", "0.25"),
        ("{1,2,3}", "{3,2,1}"),
        ("0.333333", "1/3"),
        ("log 2", r"\log 2"),
        ("7", ["6", "7"]),
        # Short words are not products of letters.
        ("So 5", "5"),
        ("No, 7", "7"),
        ("Oh, it is -7", "-7"),
        ("OK: 5", "5"),
        ("So x = 5", "x = 5"),
        ("At", "A*t"),
        ("At + 5", "5 + t A"),
        ("**18**", "18"),
    ],
)
def test_equal_values_pass(reply: str, gold: Any) -> None:
    assert share(reply, gold) == 1


@pytest.mark.parametrize(
    ("reply", "gold"),
    [("18", "19"), (r"\boxed{2^{10}}", "10"), ("2 1/2", "2"), ("-5", "5"), ("3", ["1", "2"])],
)
def test_other_values_do_not(reply: str, gold: Any) -> None:
    assert share(reply, gold) == 0


@pytest.mark.parametrize(
    "text",
    (
        *(
            "",
            "Paris",
            "yes",
            "No.",
            "#### So 5",
            r"\boxed{\text{Paris}}",
            r"\boxed{",
            "#### 1/0",
            "nan",
        ),
        *(
            "A: 18 (of 20)",
            "A: $5 and $6",
            "the answer is about nine or ten",
            "9^9^9",
            "½",
            "\x00\x1b[31m",
        ),
    ),
)
def test_what_is_no_mathematics_is_unreadable_on_either_side(text: str) -> None:
    with pytest.raises(UnreadableAnswer, match="the reply holds no mathematical answer") as caught:
        share(text, "1")
    assert caught.value.side == "reply"
    with pytest.raises(UnreadableAnswer, match="the gold holds no mathematical answer") as caught:
        share("1", text)
    assert caught.value.side == "gold"


@pytest.mark.parametrize("hostile", ["9**9**9", r"\boxed{100000000!}"])
def test_what_takes_too_long_fails_and_the_next_job_is_done(hostile: str) -> None:
    with pytest.raises(ValueError, match=r"could not be compared: it took more than 0\.5 s of"):
        share(hostile, "1")
    assert share("1", "1") == 1


def test_deep_nesting_ends_in_an_error_whatever_it_is() -> None:
    for text in ("(" * 5000 + "1" + ")" * 5000, r"\boxed{" + r"\frac{1}{" * 300 + "2" + "}" * 301):
        with pytest.raises(ValueError, match=r"could not be compared|holds no mathematical answer"):
            share(text, "1")


def test_the_evidence_shows_what_was_read() -> None:
    shown = verify_reply("math", r"\boxed{\frac{3}{4}}", "0.75", QUICK)
    assert shown.evidence == {"checker": "math", "found": "3/4", "gold": ["0.750000000000000"]}


def test_answers_without_tex_become_tex() -> None:
    from curate.kernels.verifiers.expressions import as_tex

    assert as_tex("-1,000 km/h") == "-1000"
    assert as_tex("3 1/4") == r"3\frac{1}{4}"
    assert as_tex("arcsin 1 + pi") == r"\arcsin 1 + \pi"
    assert as_tex("5 km") == as_tex("5 apples in all") == "5"
    # Products, not units; a difference, not a mixed number.
    assert as_tex("3 x") == "3 x"
    assert as_tex("3 xy") == "3 xy"
    assert as_tex("2 pi") == r"2 \pi"
    assert as_tex("3-1/2") == "3-1/2"
    assert as_tex("18 or 20") is None


def test_one_pool_serves_equal_limits() -> None:
    assert killable_pool(POOL_FUNCTION, 1.0, 1024) is killable_pool(POOL_FUNCTION, 1.0, 1024)


# -- recorded answers ------------------------------------------------------------------------------

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
recorded = pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is absent")


def verdicts(pairs: list[tuple[str, Any]]) -> list[float | None]:
    """Return the share of each reply and gold; `None`: one of them cannot be read."""

    def one(pair: tuple[str, Any]) -> float | None:
        try:
            return verify_reply("math", *pair).share
        except UnreadableAnswer:
            return None

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(one, pairs))


@recorded
@pytest.mark.slow
@pytest.mark.parametrize(("file", "count"), [("train", 7473), ("test", 1319)])
def test_gold_of_gsm8k_accepts_itself(file: str, count: int) -> None:
    lines = (DATA / "gsm8k" / f"{file}.jsonl").read_text("utf-8").splitlines()
    answers = [json.loads(line)["answer"] for line in lines]
    found = verdicts([(answer, answer.split("####")[1].strip()) for answer in answers])
    assert [a for a, share in zip(answers, found, strict=True) if share != 1] == []
    assert len(found) == count


@recorded
@pytest.mark.slow
def test_model_solutions_of_gsm8k_are_judged_as_their_labels_say() -> None:
    lines = (DATA / "gsm8k" / "example_model_solutions.jsonl").read_text("utf-8").splitlines()
    labelled = [
        (own["solution"], data["ground_truth"], own["is_correct"])
        for data in map(json.loads, lines)
        for own in data.values()
        if isinstance(own, dict) and "is_correct" in own
    ]
    found = verdicts([(reply, gold) for reply, gold, _ in labelled])
    other = [
        (reply[-13:], label, share)
        for (reply, _, label), share in zip(labelled, found, strict=True)
        if share != float(label)
    ]
    assert len(labelled) == 4 * 1319
    # It was labelled wrong, and cannot be read: that row fails.
    assert other == [("10+John's age", False, None)]


@recorded
@pytest.mark.slow
def test_rationales_of_flan_end_in_their_gold_as_often_as_stated() -> None:
    # Some rationales hold separators at which `splitlines` would part them.
    lines = (DATA / "flan" / "gsm8k_train.tsv").read_text("utf-8").rstrip("\n").split("\n")
    rows = [line.split("\t") for line in lines]
    alone = verdicts([(row[2], row[1]) for row in rows])
    marked = verdicts([(f"{row[2]}\nThe answer is {row[1]}.", row[1]) for row in rows])
    assert (len(rows), alone.count(1.0), alone.count(None), marked.count(1.0)) == (
        7473,
        7258,
        2,
        7473,
    )
