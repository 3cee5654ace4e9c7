"""What is claimed, in which order, and in which words."""

import pytest

from curate.evaluate.proof.claims import NAMES, Question, verdicts
from curate.evaluate.proof.draw_test import Difference


def difference(place: str, effect: float, p: float) -> Difference:
    return Difference(
        NAMES.get(place, place), effect, 0.1, 7.0, effect / 0.1, p, effect - 0.35, effect + 0.35,
        0.45, 0.09, 0.01, 8, 3.0, p, 1,
    )  # fmt: skip


def asked(*tests: tuple[str, float, float], name: str = "", metric: str = "loss") -> Question:
    return Question(name, metric, [difference(*one) for one in tests])


@pytest.mark.parametrize(
    ("tests", "kind", "words"),
    [
        ([("random", 1, 0.001), ("longest", 1, 0.001), ("all", 1, 0.001)], "helped",
         "better than random rows and the longest rows and all rows"),
        ([("random", 1, 0.001), ("longest", 1, 0.001), ("all", 1, 0.2)], "helped",
         "better than random rows and the longest rows, not than all rows"),
        ([("random", 1, 0.001), ("longest", 1, 0.02), ("all", 1, 0.001)], "partly",
         "better than random rows, not than the longest rows"),
        ([("random", 1, 0.001), ("random_tokens", -1, 0.001), ("longest", 1, 0.001)], "partly",
         "better than random rows, worse than random rows of as many tokens"),
        ([("random", -1, 0.001), ("longest", 1, 0.001)], "hurt", "worse than random rows"),
        ([("random", 1, 0.011), ("longest", 1, 1e-9)], "no evidence",
         "no evidence that the curation helped"),
    ],
)  # fmt: skip
def test_the_fixed_sequence(tests: list[tuple[str, float, float]], kind: str, words: str) -> None:
    [found] = verdicts([asked(*tests)])
    assert found.kind == kind
    assert words in found.text
    assert "99 % interval" in found.text


def test_nothing_is_tested_behind_what_was_not_claimed() -> None:
    [found] = verdicts([asked(("random", 1, 0.5), ("longest", 1, 1e-9), ("all", 1, 1e-9))])
    assert [one.p for one in found.tested] == [0.5, None, None]
    assert "an effect under 0.4500 would not have been seen (80 % power)" in found.text
    assert "+1.0000 (99 % interval +0.6500 to +1.3500)" in found.text


def test_an_arm_that_failed_is_named_and_still_counts_in_its_family() -> None:
    gone = Question("200 rows", "loss", [], ["random-200-3"])
    found = verdicts([asked(("random", 1, 0.004), name="100 rows"), gone])
    assert found[1].kind == "not measured"
    assert "random-200-3" in found[1].text
    # Twice 0.004 is still below 0.01, twice 0.006 is not.
    assert found[0].kind == "helped"
    assert found[0].tested[0].p == pytest.approx(0.008)
    assert verdicts([asked(("random", 1, 0.006)), gone])[0].kind == "no evidence"


def test_questions_asked_at_once_share_alpha_and_hand_it_on() -> None:
    strong = asked(("random", 1, 0.0001), ("longest", 1, 0.006), name="100 rows")
    weak = asked(("random", 1, 0.009), ("longest", 1, 0.0001), name="200 rows")
    none = asked(("random", 1, 0.5), ("longest", 1, 0.5), name="400 rows")
    found = verdicts([strong, weak, none])
    # 0.0001 and 0.006 over a third; then the share is handed on: 0.009 over a half.
    assert [one.tested[0].p for one in found] == pytest.approx([0.0003, 0.018, 0.5])
    assert found[0].tested[1].p == pytest.approx(0.018)
    assert [one.kind for one in found] == ["partly", "no evidence", "no evidence"]
    assert found[1].tested[1].p is None


def test_a_share_stays_where_a_curation_hurt() -> None:
    hurt = asked(("random", -1, 0.001), ("longest", 1, 1e-9), name="loss")
    found = verdicts([hurt, asked(("random", 1, 0.004), ("longest", 1, 0.004))])
    assert [one.kind for one in found] == ["hurt", "helped"]
    assert found[0].tested[1].p is None
    found = verdicts([hurt, asked(("random", 1, 0.006), ("longest", 1, 0.004))])
    assert [one.kind for one in found] == ["hurt", "no evidence"]


def test_two_datasets_are_better_worse_or_not_told_apart() -> None:
    def pair(effect: float, p: float) -> Question:
        return Question("a against b", "loss", [difference("b", effect, p)], [], ("a", "b"))

    found = [verdicts([pair(*one)])[0] for one in ((1, 0.001), (-1, 0.001), (1, 0.3))]
    assert [one.kind for one in found] == ["better", "worse", "no evidence"]
    assert [one.text.partition(":")[0] for one in found] == [
        "a is better than b",
        "a is worse than b",
        "no evidence that a and b differ",
    ]
