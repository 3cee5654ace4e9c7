"""Collapse: figures of generations beside human rows, and limits that stop a run."""

import itertools
import json
import random
import statistics

import numpy as np
import pyarrow as pa
import pytest

from curate.chunk import ORIGIN
from curate.errors import StoppedShort
from curate.kernels.text.words import compared_words
from curate.pipeline import Pipeline
from curate.steps.select.collapse import Collapse

WORDS = [f"word{n}" for n in range(400)]


def texts_of(seed, words, count=60, length=40):
    drawn = random.Random(seed)
    return [" ".join(drawn.choice(WORDS[:words]) for _ in range(length)) for _ in range(count)]


def rows_of(conversation, generations):
    return [
        conversation(f"q{n}", text)._replace(source=source, seq=(0, 0, n), id=f"{n:032x}")
        for n, (source, text) in enumerate((s, t) for s, texts in generations for t in texts)
    ]


def with_reference(step, rows, reference):
    """Decide with the sketches of a reference behind those of the rows."""
    types = {"group": pa.string(), "length": pa.int64(), "draw": pa.float64()}
    types["pairs"] = pa.list_(pa.uint64())
    sketches = pa.Table.from_pylist(
        [step.sketch(row) for row in (*rows, *reference)], schema=pa.schema(types)
    )
    origins = [None] * len(rows) + ["human.jsonl:1"] * len(reference)
    sketches = sketches.append_column(ORIGIN, pa.array(origins, pa.string()))
    return step.decide(np.arange(len(rows)), sketches)


def test_figures_are_those_of_a_slow_count(conversation, decide):
    generations = [("one", texts_of(1, 400, 5)), ("two", texts_of(2, 10, 5, 20))]
    rows = rows_of(conversation, generations)
    figures = decide(Collapse(), rows).figures
    pairs = {}
    for source, texts in generations:
        words = [compared_words(text) for text in texts]
        pairs[source] = [set(itertools.pairwise(own)) for own in words]
    compared = min(sum(map(len, own)) for own in pairs.values())
    assert figures["pairs compared"] == compared
    for source, texts in generations:
        lengths = [len(text) for text in texts]
        assert figures[f"{source}: rows"] == 5
        assert figures[f"{source}: length"] == statistics.fmean(lengths)
        assert figures[f"{source}: spread"] == pytest.approx(statistics.pstdev(lengths))
    # The smaller generation is counted whole, so its diversity has no chance in it.
    different = len(set().union(*pairs["two"]))
    assert figures["two: diversity"] == pytest.approx(different / compared)
    assert figures["one: diversity"] > figures["two: diversity"]
    assert list(figures)[1] == "one: rows"
    assert not any("ratio" in name for name in figures)


def test_a_generation_that_repeats_itself_is_less_diverse_than_people(conversation):
    reference = rows_of(conversation, [("human", texts_of(0, 400))])
    rows = rows_of(
        conversation,
        [("people", texts_of(1, 400)), ("first", texts_of(2, 100)), ("second", texts_of(3, 10))],
    )
    step = Collapse(against="human.jsonl", human=("people",))
    figures = with_reference(step, rows, reference).figures
    ratios = [figures[f"{name}: diversity ratio"] for name in ("people", "first", "second")]
    assert ratios[0] == pytest.approx(1, abs=0.01)
    assert 1 > ratios[1] > ratios[2]
    assert figures["synthetic share"] == pytest.approx(2 / 3)
    assert "reference: diversity ratio" not in figures


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"least_diversity": 0.9}, "the diversity of 'second' is 0.[0-9]+ of the reference's, be"),
        ({"most_length_change": 0.2}, "the mean length of 'second' is 0.4[0-9]+ of the refer"),
        ({"most_synthetic": 0.4}, "0.500 of the rows are synthetic, above 0.4"),
        ({"least_diversity": 0.2, "most_length_change": 0.6, "most_synthetic": 0.5}, None),
    ],
)
def test_limits_stop_the_run(limits, message, conversation):
    reference = rows_of(conversation, [("human", texts_of(0, 400))])
    rows = rows_of(conversation, [("people", texts_of(1, 20)), ("second", texts_of(3, 20, 60, 20))])
    step = Collapse(against="human.jsonl", human=("people",), **limits)
    step.check()
    if message is None:
        with_reference(step, rows, reference)
        return
    with pytest.raises(ValueError, match=message):
        with_reference(step, rows, reference)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"pairs": 0}, "pairs is 0"),
        ({"most_synthetic": 0.5}, "needs human"),
        ({"least_diversity": 0.5}, "need against"),
        ({"most_length_change": -1.0, "against": "x"}, "must not be negative"),
    ],
)
def test_limits_without_their_measure_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Collapse(**fields).check()


def test_names_and_columns_that_no_row_has_are_refused(conversation, decide):
    rows = rows_of(conversation, [("a", ["one two"])])
    with pytest.raises(ValueError, match="human names 'b', of which there is no row"):
        decide(Collapse(human=("b",)), rows)
    with pytest.raises(ValueError, match="no row has a column or a score 'generation'"):
        decide(Collapse(per="generation"), rows)
    assert decide(Collapse(), []).figures == {}
    # Nothing to compare is not a division by zero.
    figures = decide(Collapse(), rows_of(conversation, [("a", ["", ""])])).figures
    assert (figures["a: diversity"], figures["a: length"]) == (0, 0)


def test_a_run_reports_and_stops(tmp_path):
    def written(name, texts, **columns):
        path = tmp_path / name
        lines = [{"prompt": f"q{n}", "completion": t, **columns} for n, t in enumerate(texts)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return str(path)

    human = written("human.jsonl", texts_of(0, 400))
    inputs = {
        "one": written("one.jsonl", texts_of(1, 300)),
        "two": written("two.jsonl", texts_of(2, 9)),
    }
    result = Pipeline([Collapse(against=human)]).run(inputs, run=tmp_path / "run")
    figures = result.summary["figures"]["collapse"]
    assert result.summary["kept"] == 120
    assert figures["reference: rows"] == 60
    assert figures["one: diversity ratio"] > 0.9 > figures["two: diversity ratio"]
    with pytest.raises(StoppedShort, match=r"the diversity of 'two' is .* Nothing was published"):
        Pipeline([Collapse(against=human, least_diversity=0.8)]).run(inputs, run=tmp_path / "stop")
