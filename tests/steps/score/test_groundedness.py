"""Groundedness: answers that their passage does not support are flagged, and counted."""

import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.ask import Choose, Reply
from curate.pipeline import Pipeline
from curate.steps.score.groundedness import Groundedness, support

PASSAGE = (
    "The first large tidal power station was opened in 1966 at the mouth of the river Rance in "
    "France. Its 24 turbines work both when the water comes in and when it goes out."
)
QUESTION = "When was the first tidal power station opened?"
SUPPORTED = (
    "It was opened in 1966.",
    "In 1966, at the mouth of the Rance in France.",
    "The station, with 24 turbines working in both directions of the water, opened in 1966.",
    "Yes.",
)
UNSUPPORTED = {
    "It was opened in 1986.": "a number that is not in its passage",
    "Charles de Gaulle inaugurated it before thousands of cheering guests.": (
        "not supported by its passage"
    ),
    "A hydroelectric dam on the Danube.": "not supported by its passage",
}


def rows(answers):
    return [{"instruction": QUESTION, "output": answer, "passage": PASSAGE} for answer in answers]


def test_planted_unsupported_answers_are_flagged_and_supported_ones_not(tmp_path: Path) -> None:
    result = Pipeline([Groundedness()]).run(
        rows((*SUPPORTED, *UNSUPPORTED)), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert [row.response for row in result.kept] == list(SUPPORTED)
    reasons = {row.response: result.explain(row.id).events[-1]["reason"] for row in result.dropped}
    assert reasons == UNSUPPORTED
    figures = result.summary["figures"]["groundedness"]
    assert figures["answers"] == 7
    assert figures["unsupported_share"] == pytest.approx(3 / 7)
    assert 0 < figures["mean_precision"] < 1


def test_a_row_without_its_passage_fails(tmp_path: Path) -> None:
    result = Pipeline([Groundedness()]).run(
        [*rows(SUPPORTED[:1]), {"instruction": "a", "output": "b"}],
        run=tmp_path / "run",
        store=tmp_path / "store",
        allow_failed=1.0,
    )
    assert (result.summary["kept"], result.summary["failed"]) == (1, 1)


def test_what_a_passage_lacks_is_named() -> None:
    found = support("The Rance plant cost 94 million euros in 1966", PASSAGE)
    assert found.words == ("plant", "cost", "million", "euros")
    assert found.numbers == ("94",)
    assert found.precision == pytest.approx(2 / 7)
    # Other endings of the same word count, other spellings of the same number, too.
    assert support("opening turbine 1,966", PASSAGE).precision == 1.0
    assert support("Yes, it is.", PASSAGE).precision is None


def test_of_two_readings_of_one_length_the_same_is_named_in_every_run() -> None:
    for number in (n for n in range(11, 100) if n % 10):
        assert support(f"It cost 1,{number}0", PASSAGE).numbers == (f"1.{number}",)


@pytest.mark.parametrize(
    ("reply", "score", "kept"),
    [
        (Reply(values=(-0.1, -2.5), mass=0.98), 0.9168, True),
        (Reply(values=(-2.5, -0.1), mass=0.98), 0.0832, False),
        (Reply(text="B"), 0.0, False),
    ],
)
def test_a_judge_decides_where_there_is_one(conversation, reply, score, kept) -> None:
    row = conversation(QUESTION, "It was never opened in 1966.")
    row = row._replace(extra=json.dumps({"passage": PASSAGE}))
    step = Groundedness(model="judge")
    asking = step.sketch(row)
    asked = next(asking)
    assert isinstance(asked, Choose)
    assert all(text in asked.messages[0].content for text in (PASSAGE, QUESTION, row.response))
    with pytest.raises(StopIteration) as end:
        asking.send(reply)
    sketch = end.value.value
    assert sketch["judged"] == pytest.approx(score, abs=1e-4)
    types = {"float64": pa.float64(), "string": pa.string()}
    table = pa.table(
        {
            name: pa.array([sketch[name]], types[type_])
            for name, type_ in step.sketch_types().items()
        }
    )
    verdicts = step.decide(np.arange(1), table)
    assert bool(verdicts.code[0] == -1) is kept
    assert verdicts.figures["unsupported_share"] == float(not kept)


@pytest.mark.real
def test_human_answers_pass_more_often_than_those_to_other_passages() -> None:
    path = Path(__file__).resolve().parents[4] / "shared/data/dolly/dolly_3k.json"
    if not path.exists():
        pytest.skip("needs ../shared/data")
    found = [
        row
        for row in json.loads(path.read_text())
        if row["input"] and row["category"] in ("closed_qa", "information_extraction")
    ]
    draw = random.Random(1)

    def low(answers) -> float:
        scores = [
            support(answer, f"{row['input']}\n{row['instruction']}").precision
            for row, answer in zip(found, answers, strict=True)
        ]
        return sum(score is not None and score < 0.5 for score in scores) / len(scores)

    assert len(found) == 323
    assert low([row["output"] for row in found]) < 0.13
    assert low([draw.choice(found)["output"] for _ in found]) > 0.98
