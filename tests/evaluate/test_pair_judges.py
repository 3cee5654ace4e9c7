"""Judges that score answers, or rank lists of them, are measured on the same labelled pairs."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.evaluate import evaluate_pairs
from curate.evaluate.pair_judges import list_effects
from curate.steps import (
    Alpagasus,
    Length,
    Prefer,
    Rank,
    RewardScore,
    Rubric,
    Scar,
    Ultrafeedback,
)
from curate.steps.pairs.rank import RankedList
from tests.evaluate.test_pairs import rows

PAIRS = 60


def scripted(tmp_path: Path, lines: list[dict[str, Any]]) -> str:
    path = tmp_path / "judge.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return f"scripted:{path}"


def scores(says: Callable[[str, int], Any], form: str = "reply") -> list[dict[str, Any]]:
    """Return what a judge says of every answer of `rows`, by what its question holds."""
    lines = []
    for n in range(PAIRS):
        for word in ("right", "wrong"):
            for end in (", and more words to say it", ""):
                text = f"{word} {n}{end}"
                whole = {"contains": [f"Question {n}?", text]}
                lines.append({"when": whole, form: says(text, n)})
    return lines


def judged(
    step: Any, lines: list[dict[str, Any]], tmp_path: Path, data: Any = None, **options: Any
) -> tuple[dict[str, Any], Any]:
    given = {"run": tmp_path / "run", "store": tmp_path / "store", **options}
    return evaluate_pairs(rows() if data is None else data, scripted(tmp_path, lines), step=step,
                          **given)  # fmt: skip


def accurate(text: str, n: int) -> str:
    """Say a high score of the right answer, but of one in ten."""
    return f"Score: {8 if ('right' in text) == (n % 10 > 0) else 3}"


@pytest.mark.parametrize("kind", ["preference", "ranked"])
def test_a_judge_of_scores_scores_both_sides(kind: str, tmp_path: Path) -> None:
    step = Rubric(model="judge", at_least=7)
    found, result = judged(step, scores(accurate), tmp_path, rows(kind))
    assert (found["pairs"], found["accuracy"].value, found["failed"]) == (PAIRS, 0.9, 0)
    assert result.summary["requests"]["sent"] == 2 * PAIRS
    assert 0.7 < found["kappa"] < 0.82
    # It never sees two answers, so there are no orders and no places.
    assert not found.keys() & {"accuracy_given", "consistency", "kappa_of_orders", "position"}
    assert found["length"]["bias"] == pytest.approx(0, abs=0.11)
    assert found["scores"]["answers"] == 2 * PAIRS
    assert found["scores"]["histogram"] == [("3", PAIRS), ("8", PAIRS)]
    # Those of answers that its own limit drops count, too, and another limit asks nothing.
    assert result.summary["dropped"] == PAIRS
    again, stricter = judged(
        Rubric(model="judge", at_least=9), scores(accurate), tmp_path, rows(kind),
        run=tmp_path / "again",
    )  # fmt: skip
    assert stricter.summary["requests"]["sent"] == 0
    assert again == found


@pytest.mark.parametrize(
    ("step", "form", "says"),
    [
        (Alpagasus(model="judge"), "reply", lambda text: "4.5" if "right" in text else "2"),
        (RewardScore(model="judge"), "values", lambda text: [1.5 if "right" in text else -2.0]),
        (Scar(model="judge", share=0.25), "values", lambda text: [float("right" in text)]),
    ],
)
def test_every_step_that_scores_answers_is_a_judge(
    step: Any, form: str, says: Callable[[str], Any], tmp_path: Path
) -> None:
    found, result = judged(step, scores(lambda text, n: says(text), form), tmp_path)
    assert (found["pairs"], found["accuracy"].value) == (PAIRS, 1.0)
    assert result.recipe["labels"] == ["unpack", step.name]


def test_a_step_that_counts_words_is_the_judge_of_length(tmp_path: Path) -> None:
    found, _ = evaluate_pairs(
        rows(), step=Length(min=3), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert found["accuracy"].value == found["accuracy_longest"].value == 0.5
    assert found["length"]["longer_wins_judge"].value == 1.0
    assert found["scores"]["spearman_length"] > 0.8


def test_answers_that_no_comparison_can_show_are_scored(tmp_path: Path) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    data = [
        {
            "prompt": [{"role": "user", "content": f"q {n}"}],
            "chosen": [{"role": "assistant", "content": [{"type": "text", "text": "see"}, image]}],
            "rejected": [{"role": "assistant", "content": ""}],
        }
        for n in range(3)
    ]
    found, result = evaluate_pairs(
        data, step=Length(min=0), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert (found["pairs"], found["accuracy"].value) == (3, 1.0)
    assert result.summary["failed"] == 0


def test_a_judge_of_one_value_is_warned_of_and_says_nothing(tmp_path: Path) -> None:
    found, _ = judged(Rubric(model="judge"), [{"when": {}, "reply": "Score: 7"}], tmp_path)
    assert (found["accuracy"].value, found["ties"].value) == (0.5, 1.0)
    assert "120 of 120 scores (100%) of the judge's scores are 7" in found["warning"]


def test_a_pair_of_which_one_side_failed_is_no_judged_pair(tmp_path: Path) -> None:
    # Of a tenth of the pairs one side is unreadable.
    lines = scores(lambda text, n: "what?" if n % 10 == 0 and "right" in text else "Score: 5")
    found, result = judged(Rubric(model="judge", repairs=0), lines, tmp_path, allow_failed=1.0)
    assert (found["pairs"], found["failed"]) == (PAIRS - 6, 6)
    assert result.summary["failed"] == 6


def test_candidates_that_are_rated_together_are_judged_pairs(tmp_path: Path) -> None:
    ratings = json.dumps({"ratings": [{"rationale": "r", "rating": k} for k in (4, 2)]})
    # It always rates the one that is shown first higher, in an order drawn by the row's seed.
    found, _ = judged(
        Ultrafeedback(model="judge", together=True), [{"when": {}, "reply": ratings}], tmp_path,
        rows("ranked"),
    )  # fmt: skip
    assert found["pairs"] == PAIRS
    assert 0.2 < found["accuracy"].value < 0.8
    assert "consistency" not in found


def lists(count: int = 40) -> list[dict[str, Any]]:
    """Return rows with four answers, the best one first in all."""
    return [
        {
            "prompt": f"Question {n}?",
            "candidates": [
                {
                    "messages": [{"role": "assistant", "content": f"answer {k} to {n}"}],
                    "score": 4 - k,
                }
                for k in range(4)
            ],
        }
        for n in range(count)
    ]


FIRST_WINS = [{"when": {}, "reply": json.dumps({"rationale": "r", "ranks": [1, 2, 2, 2]})}]


def test_a_judge_of_lists_that_names_a_place_is_exposed(tmp_path: Path) -> None:
    found, result = judged(Rank(model="judge", method="listwise"), FIRST_WINS, tmp_path, lists())
    assert result.summary["requests"]["sent"] == 80
    own = found["lists"]
    assert [own["places"][place]["judge"] for place in (1, 2, 3, 4)] == [1.0, 0.0, 0.0, 0.0]
    assert {one["chance"] for one in own["places"].values()} == {0.25}
    assert sum(one["labels"] for one in own["places"].values()) == pytest.approx(1.0)
    # Only the two candidates that are first in neither order are ranked alike.
    assert own["orders_agree"] == pytest.approx(1 / 6)
    assert found["position"]["shown_first_wins"].value > 0.5
    figures = json.loads((result.folder / "report.json").read_text())["figures"]["evaluation"]
    assert (figures["lists_place_1_judge"], figures["lists_place_1_chance"]) == (1.0, 0.25)
    # The labels are by place in the row, and what counts as the first of a pair is drawn.
    assert "in the order of their scores" in found["remark"]
    assert abs(found["kappa"]) < 0.2


@pytest.mark.parametrize("cls", [Rank, Prefer])
def test_rows_that_list_the_best_first_make_no_judge_of_places_look_good(
    cls: Any, tmp_path: Path
) -> None:
    step = cls(model="judge", orders="given")
    found, _ = judged(step, [{"when": {}, "reply": "A"}], tmp_path, lists(20))
    assert 0.35 < found["accuracy"].value < 0.65
    assert abs(found["kappa"]) < 0.35
    assert found["position"]["shown_first_wins"].value == 1.0
    assert "which of two counts as the first one was drawn" in found["remark"]


def test_a_judge_of_lists_takes_no_pairs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="judged no labelled pair"):
        judged(Rank(model="judge", method="listwise"), FIRST_WINS, tmp_path)


def test_places_count_shares_and_lists_without_labels_not_at_all() -> None:
    def shown(model: str, order: list[int], ranks: list[int]) -> RankedList:
        return RankedList(model, order, ranks)

    given: Mapping[str, list[RankedList]] = {
        "a": [shown("m", [0, 1], [1, 1]), shown("m", [1, 0], [2, 1])],
        "b": [shown("m", [2, 0, 1], [3, 1, 2])],
        "c": [shown("m", [0, 1], [1, 2])],
    }
    labels = {"a": [2.0, 1.0], "b": [1.0, None, 1.0], "c": [None, None]}
    found = list_effects(given, labels)
    assert found["lists"] == 3
    # a: half of a shared rank, then the candidate shown first; b: the second candidate, shown last.
    assert found["places"][1]["judge"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["places"][1]["labels"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["places"][3] == {"judge": 1.0, "labels": 0.0, "chance": 1 / 3, "lists": 1}
    assert found["orders_agree"] == 0.0
