"""Estimates: what would be asked, minus what the store has, and how far off that was."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Ask, Choose, Reward, TurnLikelihood
from curate.cli.running import expected as expected_words
from curate.engine.reading import SAMPLE_ROWS
from curate.errors import StoppedShort
from curate.row import Message, Record, Row
from curate.step import Asking, Filter, Gather, Generate, Verdicts
from curate.steps.dedup.semantic import Semantic
from curate.steps.filters.contamination import Contamination
from curate.steps.filters.length import Length
from curate.steps.generate.attributes import Attributes
from curate.steps.generate.compose import Compose
from curate.steps.generate.respond import Respond
from curate.steps.pairs.multi_turn import MultiTurn
from curate.steps.pairs.pairs import Pairs
from curate.steps.score.surprisal import Surprisal
from curate.steps.select.mix import Mix
from curate.steps.select.sample import Sample
from curate.steps.select.top import Top

from .conftest import run
from .contract_steps import Couples, Judge, Modulo, TwoReplies, number_in, write_script
from .trial_steps import answer

PRICE = {"input": 1.0, "output": 10.0}
USAGE = {"input_tokens": 7, "output_tokens": 4}


@pytest.fixture
def models(tmp_path: Path) -> dict[str, Any]:
    judge = write_script(tmp_path / "j.jsonl", [{"when": {}, "reply": "7", "usage": USAGE}])
    writer = write_script(tmp_path / "w.jsonl", [{"when": {}, "reply": "word", "usage": USAGE}])
    return {
        "judge": {"model": f"scripted:{judge}", "price": PRICE},
        "writer": {"model": f"scripted:{writer}", "price": PRICE},
    }


def distinct(count: int) -> list[dict[str, str]]:
    """Numbered rows, none of which repeats another."""
    return [{"instruction": f"question {n}", "output": f"answer {n}"} for n in range(count)]


def planned(steps: list[Any], rows: Any, folder: Path, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = run(steps, rows, folder, dry_run=True, **options).summary["estimate"]
    return found


def test_a_plan_counts_requests_tokens_and_cost(tmp_path: Path, models: dict[str, Any]) -> None:
    rows = [{"instruction": "q", "input": "", "output": f"answer {n:06}"} for n in range(1000)]
    expected = planned([Judge()], rows, tmp_path, models=models)
    prompt = len("Rate this: answer 000000") / 4
    assert expected == {
        "requests": 1000,
        "replayed": 0,
        "input_tokens": 1000 * prompt,
        "output_tokens": 8000,
        "cost_usd": pytest.approx((1000 * prompt * 1 + 8000 * 10) / 1e6),
        "sampled_rows": SAMPLE_ROWS,
        "ends_at": None,
    }
    assert not (tmp_path / "store").exists() and not (tmp_path / "run").exists()


def test_what_the_store_has_is_not_counted_again(tmp_path: Path, models: dict[str, Any]) -> None:
    rows = distinct(240)
    run([Judge()], rows[::2], tmp_path, models=models)
    expected = planned([Judge()], rows, tmp_path, models=models, run=tmp_path / "other")
    assert (expected["requests"], expected["replayed"]) == (120, 120)
    # The replies that are there say how long one is; max_tokens is twice that.
    assert expected["output_tokens"] == 120 * USAGE["output_tokens"]


def test_rows_that_cheap_steps_drop_are_not_counted(tmp_path: Path, models: dict[str, Any]) -> None:
    expected = planned([short, Judge()], distinct(200), tmp_path, models=models)
    assert expected["requests"] == 10


def short(row: Any) -> bool:
    return len(row.instruction) < len("question 10")


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        (Sample(count=50), 50),
        (Sample(share=0.1), 100),
        (Sample(count=5000), 1000),
        (Top(by="length", count=50), 50),
    ],
)
def test_an_amount_that_is_taken_out_bounds_what_is_asked(
    step: Any, asked: int, tmp_path: Path, models: dict[str, Any]
) -> None:
    rows = distinct(1000)
    expected = planned([Length(min=1), step, Judge()], rows, tmp_path, models=models)
    # One row of the sample stands for four, and of a part at least one is taken.
    assert expected["requests"] == pytest.approx(asked, abs=4)


def test_of_a_sample_that_was_half_asked_the_other_half_is_expected(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    rows = distinct(240)
    run([Sample(count=60), Judge()], rows, tmp_path, models=models)
    more = planned([Sample(count=120), Judge()], rows, tmp_path, models=models, run=tmp_path / "b")
    assert (more["requests"], more["replayed"]) == (60, 60)


def test_steps_behind_the_first_that_asks_are_counted(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    steps = [Judge(), TwoReplies(), Couples(groups=50), Judge(label="last")]
    expected = planned(steps, distinct(100), tmp_path, models=models)
    # Fifty couples, of which one half is answered alike.
    assert (expected["requests"], expected["ends_at"]) == (100 + 200 + 1, None)
    beyond = planned([Modulo(divisor=3), Judge()], distinct(100), tmp_path, models=models)
    assert (beyond["requests"], beyond["ends_at"]) == (100, None)


def test_a_price_that_is_not_known_is_told(tmp_path: Path, models: dict[str, Any]) -> None:
    del models["judge"]["price"]
    assert planned([Judge()], distinct(20), tmp_path, models=models)["cost_usd"] is None


def test_the_report_says_how_far_the_estimate_was_off(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    rows = distinct(300)
    expected = planned([Judge()], rows, tmp_path, models=models)
    result = run([Judge()], rows, tmp_path, models=models)
    told = json.loads((tmp_path / "run" / "report.json").read_text())["estimate"]
    assert {name: told[name] for name in expected} == expected
    assert told["actual"]["requests"] == 300 and told["off"]["requests"] == 0.0
    actual = 300 * (7 * 1 + 4 * 10) / 1e6
    assert told["actual"]["cost_usd"] == pytest.approx(actual)
    assert told["off"]["cost_usd"] == pytest.approx(actual / expected["cost_usd"] - 1, abs=1e-3)
    assert "estimate" in str(result.report())


def test_a_run_knows_what_a_sample_leaves_of_all_files(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    # The first file is small: what it holds says little of how many rows there are.
    for name, first, last in (("a", 0, 80), ("b", 80, 400)):
        lines = distinct(last)[first:]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    files = str(tmp_path / "[ab].jsonl")
    run([Sample(count=100), Judge()], files, tmp_path, models=models)
    told = json.loads((tmp_path / "run" / "report.json").read_text())["estimate"]
    assert told["actual"]["requests"] == 100
    assert told["requests"] == pytest.approx(100, abs=5)


def test_all_files_are_sampled(tmp_path: Path, models: dict[str, Any]) -> None:
    rows = distinct(2_000)
    for name, lines in (("a", rows[:500]), ("b", rows[500:])):
        answer = {"output": "yes"} if name == "a" else {}
        text = "".join(json.dumps(one | answer) + "\n" for one in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    assert len(rows[0]["output"].split()) > 1
    dry = Pipeline([Length(min=2), Judge()], inputs=str(tmp_path / "[ab].jsonl"), models=models)
    told = dry.run(run=tmp_path / "run", dry_run=True).summary["estimate"]
    assert told["requests"] == pytest.approx(1_500, rel=0.1)


def test_lines_that_hold_no_row_ask_nothing(tmp_path: Path, models: dict[str, Any]) -> None:
    # The bad lines fill a part of their own.
    lines = [json.dumps(one) for one in distinct(20)]
    bad = ["bad"] * 20_000
    (tmp_path / "rows.jsonl").write_text("\n".join([lines[0], *bad, *lines[1:]]))
    where = str(tmp_path / "rows.jsonl")
    assert planned([Judge()], where, tmp_path / "dry", models=models)["requests"] == 20
    run([Sample(count=10), Judge()], where, tmp_path, models=models)
    told = json.loads((tmp_path / "run" / "report.json").read_text())["estimate"]
    assert told["requests"] == told["actual"]["requests"] == 10


@pytest.fixture
def comparing(tmp_path: Path) -> Pipeline:
    """Two steps that compare rows with 70 test items and with 40 rows of another dataset."""
    items = [{"question": f"item {n}"} for n in range(70)]
    other = [{"instruction": f"other {n}", "output": "yes"} for n in range(40)]
    for name, lines in (("items", items), ("other", other)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / f"{name}.jsonl").write_text(text)
    lines = [{"when": {"contains": "question 1"}, "values": [[1, 0]]}]
    script = write_script(tmp_path / "e.jsonl", [*lines, {"when": {}, "values": [[0, 1]]}])
    steps = [
        Contamination(against=(str(tmp_path / "items.jsonl"),), mode="semantic", similarity=None),
        Semantic(on="response", similarity=1, against=str(tmp_path / "other.jsonl")),
    ]
    encoders = {"e": {"model": f"scripted:{script}", "price": PRICE}}
    return Pipeline(steps, encoders=encoders)


@pytest.mark.parametrize("count", [1, 200, 600])
def test_texts_that_rows_are_compared_with_are_counted_once(
    comparing: Pipeline, tmp_path: Path, count: int
) -> None:
    rows, where = distinct(count), {"run": tmp_path / "run", "store": tmp_path / "store"}
    expected = comparing.run(rows, dry_run=True, **where).summary["estimate"]
    # Both turns of each row, of which the answer is compared twice and asked for once; the answer
    # "yes" of the other rows is one text.
    assert expected["requests"] == 2 * count + 70 + 1
    told = comparing.run(rows, **where).summary["estimate"]
    assert {name: told[name] for name in expected} == expected
    assert told["off"]["requests"] == 0.0
    where["run"] = tmp_path / "again"
    assert comparing.run(rows, dry_run=True, **where).summary["estimate"]["requests"] == 0


def test_an_estimate_leaves_the_steps_as_they_are(comparing: Pipeline, tmp_path: Path) -> None:
    rows, where = distinct(20), {"run": tmp_path / "run", "store": tmp_path / "store"}
    comparing.run(rows, dry_run=True, **where)
    assert "_items" not in comparing.steps[0].__dict__
    comparing.run(rows[:5], **where)
    where["run"] = tmp_path / "another"
    expected = comparing.run(rows, dry_run=True, **where).summary["estimate"]
    assert expected["requests"] == 15 + 15, "the items and the other rows have vectors"


@dataclass(frozen=True, kw_only=True)
class BestOfFive(Generate):
    """Write five answers, score each, and keep the best."""

    def make(self, row: Row) -> Asking:
        asks = [Ask.text(row.instruction, model="writer", sample=n, max_tokens=8) for n in range(5)]
        answers = yield asks
        turns = [(Message("user", row.instruction), Message("assistant", a.text)) for a in answers]
        scores = yield [Reward(messages=one, model="judge", share=True) for one in turns]
        best = max(range(5), key=lambda n: (scores[n].values[0], -n))
        return [Record("sft", {"messages": turns[best]}, row.extra)]


@dataclass(frozen=True, kw_only=True)
class BothOrders(Filter):
    """Compare in both orders, and ask once more where they disagree."""

    def score(self, row: Row) -> Asking:
        pair = [Choose(prompt=f"{row.instruction} {order}", options=("A", "B"), model="judge")
                for order in ("AB", "BA")]  # fmt: skip
        one, two = yield pair
        if one.chosen(("A", "B")) == two.chosen(("A", "B")):
            third = yield Choose(prompt=f"{row.instruction} !", options=("A", "B"), model="judge")
            return third.values[0]
        return one.values[0]

    def keep(self, score: float | None) -> str | None:
        return "worse" if score is not None and score < -0.1 else None


def test_stand_ins_differ_and_second_waves_count(tmp_path: Path) -> None:
    """Five answers are five texts to score: ten requests a row, where six were counted before."""
    written = [f"answer {n}" for n in range(5)]
    writer = write_script(tmp_path / "w.jsonl", [{"when": {}, "reply": written}])
    judge = write_script(tmp_path / "j.jsonl", [{"when": {}, "values": [1.0]}])
    models = {"writer": f"scripted:{writer}", "judge": f"scripted:{judge}"}
    expected = planned([BestOfFive()], distinct(300), tmp_path, models=models)
    sent = run([BestOfFive()], distinct(300), tmp_path, models=models).summary["requests"]["sent"]
    assert expected["requests"] == sent == 3000


@dataclass(frozen=True, kw_only=True)
class OncePerWholeTurn(Filter):
    """Ask how likely an answer's turn is, then once for each value that comes back."""

    def score(self, row: Row) -> Asking:
        turns = (Message("user", row.instruction), Message("assistant", "a" * 11))
        found = yield TurnLikelihood(messages=turns, first=1, model="writer")
        yield [Ask.text(f"{row.instruction} {n}", model="writer", max_tokens=8)
               for n, _ in enumerate(found.values)]  # fmt: skip
        return 0.0

    def keep(self, score: float | None) -> None:
        """Keep every row."""


def test_the_likelihood_of_whole_turns_has_a_stand_in(tmp_path: Path) -> None:
    """Three tokens of four characters each; those of the question do not count."""
    script = write_script(tmp_path / "w.jsonl", [{"when": {}, "reply": "x"}])
    models = {"writer": f"scripted:{script}"}
    found = planned([OncePerWholeTurn()], distinct(40), tmp_path, models=models)
    assert (found["requests"], found["ends_at"]) == (40 * (1 + 3), None)


def test_choices_are_followed_to_the_last_wave_and_decide_nothing(tmp_path: Path) -> None:
    """A third of the rows are asked once more; what is stored of some says so for the others."""
    entries = [{"when": {"contains": f"question {n} BA"}, "values": [-3.0, -0.05]}
               for n in range(400) if n % 3]  # fmt: skip
    entries += [{"when": {}, "reply": "7", "values": [-0.05, -3.0]}]
    models = {"judge": f"scripted:{write_script(tmp_path / 'j.jsonl', entries)}"}
    rows, steps = distinct(400), [BothOrders(), Judge(at_least=None)]
    expected = planned(steps, rows, tmp_path, models=models)
    # Two choices a row, a third one where the dice say so, and the judge after them: nobody knows
    # yet which rows will be worse.
    assert expected["requests"] == pytest.approx(400 * (2 + 1 / 2 + 1), rel=0.05)
    run(steps, rows[:150], tmp_path, models=models)
    rest = planned(steps, rows, tmp_path, models=models, run=tmp_path / "all")
    sent = run(steps, rows, tmp_path, models=models, run=tmp_path / "all").summary["this_time"]
    assert rest["requests"] == pytest.approx(sent["sent"], rel=0.05)


@dataclass(frozen=True, kw_only=True)
class Asked(Judge):
    """Rate what was asked, each time anew."""

    def score(self, row: Row) -> Asking:
        reply = yield Ask.text(f"{self.title}: {row.instruction}", model=self.model, max_tokens=8)
        return float(reply.text)


def test_rows_end_as_often_as_those_whose_replies_are_stored(tmp_path: Path) -> None:
    """A third of the answers are cut off, a fifth of the rest rated low; those rows ask no more."""
    cut = [
        {"when": {"contains": f"question {n:03}."}, "reply": "An", "finish_reason": "length"}
        for n in range(0, 400, 3)
    ]
    writer = write_script(tmp_path / "w.jsonl", [*cut, {"when": {}, "reply": "An answer."}])
    low = [{"when": {"contains": f"question {n:03}."}, "reply": "2"} for n in range(0, 400, 5)]
    judge = write_script(tmp_path / "j.jsonl", [*low, {"when": {}, "reply": "7"}])
    models = {"writer": f"scripted:{writer}", "judge": f"scripted:{judge}"}
    rows = [{"prompt": f"question {n:03}."} for n in range(400)]
    steps = [Respond(model="writer", max_tokens=8), Asked(), Asked(label="again", at_least=None)]
    cold = planned(steps, rows, tmp_path, models=models)
    assert (cold["requests"], cold["none_fails"]) == (1200, True)
    assert "as if no reply failed" in expected_words(cold)
    run(steps, rows[:120], tmp_path, models=models, allow_failed=1.0)
    rest = planned(steps, rows, tmp_path, models=models, run=tmp_path / "all")
    sent = run(
        steps, rows, tmp_path, models=models, run=tmp_path / "all", allow_failed=1.0
    ).summary["this_time"]["sent"]
    assert rest["requests"] == pytest.approx(sent, rel=0.05)
    assert "none_fails" not in rest and "as if" not in expected_words(rest)
    assert sent < 0.75 * (1200 - 3 * 120)


# -- groups ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Merged(Gather):
    """Ask for one answer that takes up those of a group."""

    groups: int = 600
    size: int | None = None

    def expects(self, row: Row) -> int | None:
        return self.size

    def key(self, row: Row) -> str:
        return str(number_in(row.instruction) % self.groups)

    def make(self, rows: Sequence[Row]) -> Asking:
        texts = "\n".join(row.response or row.instruction for row in rows)
        reply = yield Ask.text(texts, model="writer", max_tokens=8)
        return answer(rows[0].instruction, reply.text)


@dataclass(frozen=True, kw_only=True)
class Twice(Generate):
    """Make two rows of one."""

    def make(self, row: Row) -> list[Record]:
        return [answer(row.instruction, f"{row.response} {n}") for n in range(2)]


@pytest.mark.parametrize(
    ("steps", "asked"),
    [
        # Rows that were read in groups, which lie all over the file: a sample holds whole groups.
        ([Merged(size=5)], 600),
        # The judge before does not change that, and the one after sees one row of a group.
        ([Judge(), Merged(size=5), Judge(label="after")], 3000 + 600 + 600),
        # Few groups of many rows each, of which a sample sees all; one more step for each.
        ([Twice(), Merged(groups=20), Judge()], 20 + 20),
        # A group for each row.
        ([Twice(), Merged(groups=3000), Judge()], 3000 + 3000),
        # Groups that a sample meets once, twice or not at all: their number is an estimate, too.
        ([Twice(), Merged(groups=300)], pytest.approx(300, rel=0.15)),
        ([Merged(groups=40, group_size=4), Judge()], 40 * 19 + 40 * 19),
        # What is taken out is taken of groups.
        ([Merged(size=5), Sample(count=100), Judge()], 600 + 100),
    ],
)
def test_groups_are_followed_and_counted_for_all_rows(
    steps: list[Any], asked: Any, tmp_path: Path, models: dict[str, Any]
) -> None:
    expected = planned(steps, distinct(3000), tmp_path, models=models)
    assert expected["requests"] == (
        pytest.approx(asked, rel=0.05) if isinstance(asked, int) else asked
    )
    assert expected["ends_at"] is None


def test_what_a_plan_gives_each_row_is_there_for_later_steps(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    plan = Attributes(cells={"subject": {"categories": {"tea": 3, "soup": 1}}})
    asking = Compose(model="writer", template="A question about {{ subject }}.", max_tokens=8)
    found = planned([plan, asking], {"blank": {"count": 400}}, tmp_path, models=models)
    assert (found["requests"], found["ends_at"]) == (400, None)


def test_a_mixture_takes_a_part_of_each_amount(tmp_path: Path, models: dict[str, Any]) -> None:
    rows = [{**row, "task": "rare" if n < 3 else "many"} for n, row in enumerate(distinct(3000))]
    assert planned([Mix(count=500), Judge()], rows, tmp_path, models=models)["requests"] == (
        pytest.approx(500, rel=0.02)
    )
    capped = [Mix(per="task", caps={"many": 1000}), Judge()]
    assert planned(capped, rows, tmp_path, models=models)["requests"] == (
        pytest.approx(1000, rel=0.02)
    )
    # A task that a sample of rows hardly meets, and which the step may name all the same.
    named = [Mix(per="task", weights={"rare": 1, "many": 1}, repeat=2), Judge()]
    assert planned(named, rows, tmp_path, models=models)["ends_at"] is None


def test_a_step_in_which_all_rows_fail_ends_the_estimate(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    asking = Compose(model="writer", template="About {{ subject }}.", max_tokens=8)
    found = planned([asking, Judge()], {"blank": {"count": 40}}, tmp_path, models=models)
    assert (found["requests"], found["ends_at"]) == (0, "compose")
    assert "subject" in found["all_failed"]


@dataclass(frozen=True, kw_only=True)
class Broken(Sample):
    """Crash where rows are chosen."""

    def decide(self, positions: Any, sketches: Any) -> Verdicts:
        raise TypeError("a defect")


def test_a_step_that_crashes_on_the_sample_ends_the_dry_run(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    with pytest.raises(StoppedShort, match="'broken' could not decide"):
        planned([Broken(count=5), Judge()], distinct(50), tmp_path, models=models)


def test_a_step_that_waits_for_scores_of_replies_has_not_failed(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    rows = distinct(40)
    steps = [
        Respond(model="writer", samples=2, to="sft", temperature=1.0, max_tokens=8),
        Surprisal(model="writer"),
        Pairs(by="surprisal", lowest=True),
    ]
    found = planned(steps, rows, tmp_path, models=models)
    # Two answers, and the likelihood of each; pairs asks nothing, nor does anything behind it.
    assert (found["requests"], found["ends_at"]) == (4 * 40, None)
    assert "all_failed" not in found
    found = planned([*steps, MultiTurn(model="writer")], rows, tmp_path, models=models)
    assert (found["requests"], found["ends_at"]) == (4 * 40, "pairs")
    # Nobody gives a score here: that is wrong, whatever the replies are.
    steps[1:] = [Pairs(by=None)]
    assert "no score" in planned(steps, rows, tmp_path, models=models)["all_failed"]
