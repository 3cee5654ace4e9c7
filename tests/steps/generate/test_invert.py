"""Input inversion: exact rates, and rows that ask for the question."""

import json

import pytest

from curate.pipeline import Pipeline
from curate.row import Row
from curate.step import Failed, Made
from curate.steps.generate.invert import Invert
from tests.steps.conftest import sft


def rows_of(count, extra=None):
    return [
        sft(f"question {n}?", f"answer {n}")._replace(
            id=f"{n:032x}", seq=(0, 0, n), source="s", extra=extra
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("rate", "count", "inverted"), [(0.3, 100, 30), (0.3, 10, 3), (0.3, 5, 2), (0, 9, 0), (1, 9, 9)]
)
def test_a_share_is_inverted_and_all_rows_stay(rate, count, inverted):
    rows = rows_of(count)
    out = Invert(rate=rate).make(rows)
    assert [one for one in out if isinstance(one, Row)] == rows
    made = [one for one in out if isinstance(one, Made)]
    assert len(made) == inverted
    by_id = {row.id: row for row in rows}
    for one in made:
        [parent] = one.record.parents
        asked, said = one.record.fields["messages"]
        assert by_id[parent].response in asked.content
        assert said.content == by_id[parent].instruction
        assert json.loads(one.record.extra)["inverted"]


def test_wordings_are_drawn_and_columns_travel():
    made = [one for one in Invert(rate=1).make(rows_of(60, '{"k": 1}')) if isinstance(one, Made)]
    columns = [json.loads(one.record.extra) for one in made]
    assert all(one["k"] == 1 for one in columns)
    assert len({one["inverted"] for one in columns}) == 4


def test_what_has_no_single_exchange_passes():
    long = sft("a", "b", "c", "d")._replace(source="s")
    passed, figures = Invert(rate=1).make([long])
    assert (passed, figures.values) == (long, {"rows": 1, "inverted": 0})


def test_a_column_of_that_name_fails_the_made_row_alone():
    out = Invert(rate=1).make(rows_of(2, '{"inverted": 1}'))
    failed = [one for one in out if isinstance(one, Failed)]
    assert len(failed) == 2
    assert "cannot add a column 'inverted'" in str(failed[0].error)
    assert failed[0].record.parents == (f"{0:032x}",)


@pytest.mark.parametrize(
    ("fields", "message"),
    [({"rate": -0.1}, "rate is -0.1"), ({"group_size": 0}, "group_size is 0"),
     ({"collection": "none"}, "there is no collection 'none'")],
)  # fmt: skip
def test_impossible_fields_are_refused(fields, message):
    step = Invert(**fields)
    with pytest.raises(ValueError, match=message):
        step.check()
        step.prepare()


def test_a_run_inverts_three_of_ten_of_every_source(tmp_path):
    inputs = {
        name: {"path": [{"prompt": f"{name} {n}", "completion": f"a{n}"} for n in range(size)]}
        for name, size in (("one", 730), ("two", 260))
    }
    result = Pipeline([Invert()]).run(inputs, run=tmp_path / "run")
    counts = result.summary
    # 7 and 2 whole blocks of 100 give 30 each; 30 and 60 rows give 9 and 18.
    assert (counts["made"], counts["kept"], counts["used"]) == (297, 1287, 0)
    assert counts["figures"]["invert"] == {"rows": 990, "inverted": 297, "rate": 0.3}
    made = [row for row in result.kept if row.parents]
    assert sum(row.source == "one" for row in made) == 219
