"""Judges of pairs are measured: bad ones are exposed, recorded ones give the published figures."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.evaluate import evaluate_pairs
from curate.evaluate.pair_judges import View, pair_judges
from curate.evaluate.pair_measures import JudgedPair, accuracy, by_group, measures
from curate.evaluate.pairs import labelled_pair
from curate.row import Message
from curate.steps import ConstitutionalPrefer, Pairs, Prefer, Respond, RlaifPrefer, Top
from curate.steps.pairs._comparison import Orders
from tests.steps.conftest import row_of

LLMBAR = Path(__file__).resolve().parents[3] / "shared" / "data" / "llmbar" / "natural"
PAIRS = 60


def rows(kind: str = "preference") -> list[dict[str, Any]]:
    """Return labelled pairs; the better answer says so and is the longer one half of the time."""
    found = []
    for n in range(PAIRS):
        good, bad = f"right {n}", f"wrong {n}"
        if n % 2:
            good += ", and more words to say it"
        else:
            bad += ", and more words to say it"
        row: dict[str, Any] = {"prompt": f"Question {n}?", "lang": "de" if n % 3 else "en"}
        if kind == "preference":
            row |= {"chosen": good, "rejected": bad}
        else:
            candidates = [(good, 1, "big"), (bad, 0, "small")][:: 1 if n % 4 else -1]
            row["candidates"] = [
                {"messages": [{"role": "assistant", "content": text}], "score": s, "model": m}
                for text, s, m in candidates
            ]
        found.append(row)
    return found


def test_a_preference_that_people_left_open_is_a_tie() -> None:
    """As `curate review --export --as rows` writes it: one side is called chosen all the same."""
    fields = {
        "prompt": (Message("user", "q"),),
        "chosen": (Message("assistant", "a"),),
        "rejected": (Message("assistant", "b"),),
        "margin": None,
        "p_chosen": None,
    }
    labels = []
    for extra in (None, '{"tie": true}', '{"tie": false}'):
        row = row_of("preference", fields, extra=extra)
        pair = labelled_pair(row, View(row.id, 0, 1, 1.0, 1.0))
        assert pair is not None
        labels.append(pair.label if pair.given == 1.0 else 1 - pair.label)
    assert labels == [1.0, 0.5, 1.0]


def judged(
    says: Callable[[str, str, int], str],
    tmp_path: Path,
    kind: str = "preference",
    orders: Orders = "both",
) -> dict[str, Any]:
    """Return the measures of a judge that says A or B of the answers it is shown."""
    lines = []
    for n in range(PAIRS):
        texts = [f"{word} {n}{end}" for word in ("right", "wrong") for end in
                 ("", ", and more words to say it")]  # fmt: skip
        for first in texts:
            for second in texts:
                if first.split()[0] != second.split()[0]:
                    shown = [
                        f"Question {n}?\n",
                        f"\n{first}\n[end of answer A",
                        f"\n{second}\n[end",
                    ]
                    reply = {"when": {"contains": shown}, "reply": says(first, second, n)}
                    lines.append(json.dumps(reply))
    path = tmp_path / "judge.jsonl"
    path.write_text("\n".join(lines))
    found, result = evaluate_pairs(
        rows(kind),
        f"scripted:{path}",
        step=Prefer(model="judge", orders=orders),
        run=tmp_path / "run",
        store=tmp_path / "store",
    )
    assert result.summary["requests"]["sent"] == (2 if orders == "both" else 1) * PAIRS
    return found


def test_a_good_judge_is_seen_to_be_one(tmp_path):
    found = judged(lambda a, b, n: "A" if "right" in a else "B", tmp_path)
    assert (found["accuracy"].value, found["accuracy_longest"].value) == (1.0, 0.5)
    assert found["consistency"].value == found["both_orders_right"].value == 1.0
    assert found["position"]["shown_first_wins"].value == 0.5
    assert found["length"]["bias"] == 0.0
    assert "warning" not in found


@pytest.mark.parametrize("letter", ["A", "B"])
def test_a_judge_of_places_is_exposed(letter, tmp_path):
    found = judged(lambda a, b, n: letter, tmp_path)
    assert found["position"]["shown_first_wins"].value == float(letter == "A")
    assert found["position"]["same_place_wins"].value == 1.0
    assert found["consistency"].value == 0.0
    # Averaged over both orders it has no view at all.
    assert found["histogram"] == [("0.5", PAIRS)]
    assert (found["ties"].value, found["accuracy"].value) == (1.0, 0.5)
    # Which answer counts as the first is drawn, so the place says nothing of the better one.
    assert 0.3 < found["accuracy_given"].value < 0.7
    assert found["accuracy_given"].value + found["accuracy_swapped"].value == pytest.approx(1.0)
    assert "collapsed to one value" in found["warning"]


@pytest.mark.parametrize("orders", ["both", "drawn", "given"])
def test_a_perfect_judge_of_preferences_agrees_beyond_chance(orders, tmp_path):
    found = judged(lambda a, b, n: "A" if "right" in a else "B", tmp_path, orders=orders)
    assert found["kappa"] == found["accuracy"].value == 1.0
    assert found.get("kappa_of_orders") == (1.0 if orders == "both" else None)
    calibration = found["calibration"]
    assert (calibration["sensitivity"].value, calibration["specificity"].value) == (1.0, 1.0)
    counts = calibration["counts"]
    assert min(counts["true_positives"], counts["true_negatives"]) > PAIRS / 3


@pytest.mark.parametrize("orders", ["both", "drawn", "given"])
def test_a_judge_that_is_right_nine_times_of_ten_has_its_kappa(orders, tmp_path):
    found = judged(
        lambda a, b, n: "A" if ("right" in a) == (n % 10 > 0) else "B", tmp_path, orders=orders
    )
    assert found["accuracy"].value == found["agreement"].value == 0.9
    assert found["kappa"] == pytest.approx(0.8, abs=0.01)
    assert found.get("kappa_of_orders") == (1.0 if orders == "both" else None)
    calibration = found["calibration"]
    for name in ("sensitivity", "specificity"):
        assert 0.8 < calibration[name].value < 1.0


def test_orders_that_err_apart_agree_less_than_either_with_the_labels(tmp_path):
    # Wrong in a tenth of the pairs in each order, and never in both.
    found = judged(
        lambda a, b, n: "A" if ("right" in a) == (n % 10 != 5 * ("right" in a)) else "B", tmp_path
    )
    assert (found["accuracy"].value, found["agreement"].value) == (0.9, 0.8)
    assert found["kappa_of_orders"] == pytest.approx(0.6, abs=0.01)
    assert found["kappa"] == pytest.approx(2 / 3, abs=0.01)


@pytest.mark.parametrize("orders", ["both", "drawn", "given"])
def test_a_judge_of_places_has_no_kappa_in_any_order(orders, tmp_path):
    found = judged(lambda a, b, n: "A", tmp_path, orders=orders)
    assert found["position"]["shown_first_wins"].value == 1.0
    assert abs(found["kappa"]) < 0.3
    assert 0.3 < found["accuracy"].value < 0.7
    if orders == "both":
        # One order always says the first and the other the second: chance explains all of it.
        assert found["kappa_of_orders"] == 0.0
        assert "calibration" not in found
    else:
        for name in ("sensitivity", "specificity"):
            assert 0.25 < found["calibration"][name].value < 0.75


@pytest.mark.parametrize(
    "step",
    [
        ConstitutionalPrefer(model="judge", reason=True, at_least=0.55),
        RlaifPrefer(model="judge", preamble="base", shots=1, at_least=0.9),
    ],
)
def test_a_step_that_prefers_in_its_own_way_is_measured_as_it_is(step, tmp_path):
    path = tmp_path / "judge.jsonl"
    path.write_text(json.dumps({"when": {}, "reply": step.options[0]}))
    for kind in ("preference", "ranked"):
        found, result = evaluate_pairs(
            rows(kind)[:10],
            f"scripted:{path}",
            step=step,
            run=tmp_path / kind,
            store=tmp_path / "store",
        )
        assert (found["pairs"], found["failed"]) == (10, 0)
        assert result.recipe["labels"] == [step.name]
    (judge,) = pair_judges(step)
    assert type(judge) is type(step)
    assert judge.judge() == step.judge()
    assert (judge.sides, judge.at_least, judge.keep_parent) == ("given", None, True)


def test_opinions_are_measured_as_the_step_counts_them(tmp_path):
    # After reasoning 0.9 and 0.3 are held to 0.6 and 0.4, whose mean prefers neither.
    verdict = "verdict on the answers"
    lines = [
        {
            "when": {"contains": ["\nright 0\n[end of answer A", verdict]},
            "values": [math.log(0.9), math.log(0.1)],
        },
        {"when": {"contains": verdict}, "values": [math.log(0.7), math.log(0.3)]},
        {"when": {}, "reply": "Let me think."},
    ]
    path = tmp_path / "judge.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    for clamp, ties in ((0.6, 1.0), (None, 0.0)):
        found, _ = evaluate_pairs(
            rows()[:1],
            f"scripted:{path}",
            step=ConstitutionalPrefer(model="judge", reason=True, clamp=clamp),
            run=tmp_path / f"run{ties}",
            store=tmp_path / "store",
        )
        assert found["ties"].value == ties


def test_a_judge_of_length_is_exposed(tmp_path):
    found = judged(lambda a, b, n: "A" if len(a) > len(b) else "B", tmp_path)
    assert found["consistency"].value == 1.0
    assert found["length"]["longer_wins_judge"].value == 1.0
    assert found["length"]["bias"] == 0.5
    assert found["accuracy"].value == found["accuracy_longest"].value


def test_a_random_judge_is_exposed(tmp_path):
    draw = random.Random(1)
    found = judged(lambda a, b, n: draw.choice("AB"), tmp_path)
    assert 0.3 < found["consistency"].value < 0.7
    assert found["accuracy"].low < 0.5 < found["accuracy"].high
    assert abs(found["kappa_of_orders"]) < 0.3
    assert found["both_orders_right"].value < 0.4


def test_a_judge_that_prefers_its_own_answers_is_exposed(tmp_path):
    # "small" wrote all the wrong answers, and the judge likes them.
    found = judged(lambda a, b, n: "A" if "wrong" in a else "B", tmp_path, "ranked")
    assert found["accuracy"].value == 0.0
    assert found["models"]["small"] == {"pairs": PAIRS, "judge": 1.0, "labels": 0.0, "bias": 1.0}
    assert found["models"]["big"]["bias"] == -1.0
    assert found["calibration"]["sensitivity"].value == 0.0


def test_groups_are_measured_apart_and_figures_reach_the_report(tmp_path):
    found = judged(lambda a, b, n: "A" if ("right" in a) == (n % 3 > 0) else "B", tmp_path)
    assert {g: one["accuracy"].value for g, one in found["groups"].items()} == {"de": 1, "en": 0}
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["figures"]["evaluation"]["accuracy"] == pytest.approx(2 / 3)
    kept = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert kept["accuracy"]["value"] == pytest.approx(2 / 3, abs=1e-6)
    # The same command again asks nothing, and finds the same.
    again, result = evaluate_pairs(
        rows(),
        f"scripted:{tmp_path / 'judge.jsonl'}",
        run=tmp_path / "again",
        store=tmp_path / "store",
    )
    assert result.summary["requests"]["sent"] == 0
    assert again == found


def test_more_than_two_candidates_are_compared_two_by_two(tmp_path):
    answers = ["poor", "fair", "good"]
    candidates = [
        {"messages": [{"role": "assistant", "content": text}], "score": score}
        for score, text in enumerate(answers)
    ]
    lines = [
        {"when": {"contains": [f"\n{a}\n[end of answer A", f"\n{b}\n[end of answer B"]},
         "reply": "A" if answers.index(a) > answers.index(b) else "B"}
        for a in answers for b in answers if a != b
    ]  # fmt: skip
    path = tmp_path / "judge.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    found, _ = evaluate_pairs(
        [{"prompt": "Q?", "candidates": candidates}],
        f"scripted:{path}",
        run=tmp_path / "run",
        store=tmp_path / "store",
    )
    assert (found["pairs"], found["accuracy"].value) == (3, 1.0)


def pair(label, given, swapped, group="-"):
    return JudgedPair("r", label, given, swapped, 0.0, group=group)


def test_ties_count_half_and_labelled_ones_are_agreement_only():
    found = measures([pair(1.0, 1.0, 0.0), pair(0.5, 1.0, 0.0), pair(0.0, 0.25, 0.25)])
    assert (found["pairs"], found["labelled_ties"]) == (3, 1)
    assert found["accuracy"].value == 0.75
    assert found["agreement"].value == pytest.approx(2 / 3)
    assert found["both_orders_right"].value == 0.5
    assert accuracy([pair(0.5, 1.0, 1.0)]) is None
    one = by_group({"en": [pair(1.0, 1.0, 1.0)], "-": [pair(1.0, 0.0, 0.0)]})
    assert {name: own["accuracy"].value for name, own in one.items()} == {"en": 1.0, "-": 0.0}


def test_a_tie_that_is_off_by_rounding_is_one_in_each_order(tmp_path):
    said = {"alpha": 0.2, "beta": 0.35, "gamma": 0.95}
    items = "".join(f"  - id: {name}\n    text: {name}\n" for name in said)
    prompt = tmp_path / "three.md"
    prompt.write_text(
        "---\nname: three\nversion: 1\nsource: test\nvariables: [instruction, first, second, "
        f"principle]\nitems:\n{items}---\n"
        "{{ principle.text }}: {{ instruction }} {{ first }} {{ second }}\n"
    )
    lines = [
        {"when": {"contains": f"{name}: "}, "values": [math.log(p), math.log(1 - p)]}
        for name, p in said.items()
    ]
    path = tmp_path / "judge.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    found, _ = evaluate_pairs(
        rows()[:4],
        f"scripted:{path}",
        step=Prefer(model="judge", prompt=str(prompt)),
        run=tmp_path / "run",
        store=tmp_path / "store",
    )
    # Each order prefers neither, so both say the same.
    assert found["consistency"].value == 1.0
    assert found["accuracy_given"].value == found["accuracy_swapped"].value == 0.5


def test_one_order_says_nothing_of_the_other():
    found = measures([pair(1.0, 1.0, None), pair(0.0, 1.0, None)])
    assert found["accuracy"].value == 0.5
    for name in ("consistency", "accuracy_swapped", "both_orders_right", "kappa_of_orders"):
        assert name not in found


def test_what_judges_no_answers_is_refused(tmp_path):
    for step in (Respond(model="j"), Pairs()):
        with pytest.raises(UsageError, match="judges no answers; measure a step that compares"):
            pair_judges(step)
    with pytest.raises(UsageError, match="'top' reads the scores of earlier steps"):
        pair_judges(Top(by="unpack", count=3))
    judges = pair_judges(Prefer(model="j", reason=True, at_least=0.9))
    assert [one.reason for one in judges] == [True, True]
    unlabelled = [{"prompt": "Q?", "candidates": [{"messages": "a"}, {"messages": "b"}]}]
    path = tmp_path / "judge.jsonl"
    path.write_text('{"when": {}, "reply": "A"}')
    with pytest.raises(UsageError, match="judged no labelled pair"):
        evaluate_pairs(
            unlabelled, f"scripted:{path}", run=tmp_path / "run", store=tmp_path / "store"
        )


@pytest.mark.real
@pytest.mark.skipif(not LLMBAR.is_dir(), reason="needs ../shared/data/llmbar")
@pytest.mark.parametrize("model", ["GPT-4", "ChatGPT"])
def test_llmbars_replies_through_the_comparison_give_its_figures(model, tmp_path):
    """The published statistics of LLMBar (Zeng et al. 2023) from the replies that it recorded."""
    prompt = tmp_path / "llmbar.md"
    prompt.write_text(
        "---\nname: llmbar\nversion: 1\nsource: test\nvariables: [instruction, first, second]\n"
        "---\n{{ instruction }}\n# Output (a):\n{{ first }}\n# Output (b):\n{{ second }}\n# End\n"
    )
    records = json.loads((LLMBAR / model / "result.json").read_text())
    lines = []
    for record in records:
        one, other = record["output_1"], record["output_2"]
        for swap, (a, b) in (("False", (one, other)), ("True", (other, one))):
            text = f"{record['input']}\n# Output (a):\n{a}\n# Output (b):\n{b}\n# End"
            said = record["results"][0][f"swap = {swap}"]["completion"][0]
            lines.append(json.dumps({"when": {"contains": text}, "reply": said}))
    (tmp_path / "replies.jsonl").write_text("\n".join(lines))
    data = tmp_path / "rows.json"
    data.write_text(json.dumps([{k: r[k] for k in ("input", "output_1", "output_2", "label")}
                                for r in records]))  # fmt: skip
    step = Prefer(model="judge", prompt=str(prompt), options=("Output (a)", "Output (b)"))
    found, result = evaluate_pairs(
        data,
        f"scripted:{tmp_path / 'replies.jsonl'}",
        step=step,
        run=tmp_path / "run",
        store=tmp_path / "store",
    )
    assert result.summary["failed"] == 0
    published = json.loads((LLMBAR / model / "statistics.json").read_text())
    shown = {
        "correct_False": f"{found['accuracy_given'].value:.1%}",
        "correct_True": f"{found['accuracy_swapped'].value:.1%}",
        "correct_average": f"{found['accuracy_mean_of_orders']:.1%}",
        "correct_both": f"{found['both_orders_right'].value:.1%}",
        "equal": f"{found['consistency'].value:.1%}",
    }
    assert shown == {name: published[name].rpartition("= ")[2] for name in shown}
    assert found["kappa_of_orders"] == pytest.approx(published["kappa_agreement"], abs=1e-12)
    if model == "GPT-4":
        assert (shown["correct_average"], shown["correct_both"]) == ("95.5%", "93.0%")
