"""Plans: counts are shares, seeds reproduce, and no cell is impossible."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.errors import RecipeError
from curate.steps.generate import _samplers, attributes
from curate.steps.generate._samplers import samplers_of
from curate.steps.generate.attributes import Attributes
from curate.steps.generate.compose import Compose
from curate.steps.select.cell_coverage import CellCoverage

CELLS = {
    "topic": {"categories": {"law": 3, "cooking": 1}},
    "subtopic": {
        "given": "topic",
        "categories": {"law": ["rent", "wills"], "cooking": {"bread": 4, "soup": 1}},
    },
    "level": {"categories": ["easy", "hard"]},
    "words": {"range": [10, 29]},
    "style": {
        "texts": {"terse": "Answer in one line.", "full": "Explain."},
        "weights": {"full": 3},
    },
}


def planned(
    home: Path, count: int = 400, seed: int = 0, columns: Any = None, **fields: Any
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Return the columns of the rows that a plan became, and the planned counts."""
    steps = [
        Attributes(**{"cells": CELLS, **fields}),
        Compose(template="{{ mark }} About {{ seeds | length }}"),
    ]
    pipeline = Pipeline(steps, seed=seed, inputs=columns or {"blank": {"count": count}})
    done = pipeline.run(run=home / f"run {seed}", store=home / "store")
    made = [json.loads(row.extra or "{}") for row in done.kept]
    return made, done.summary["figures"]["attributes"]


def test_planned_and_made_counts_are_shares_of_all_rows(tmp_path: Path):
    made, figures = planned(tmp_path)
    assert len(made) == 400 == figures["rows"]
    assert Counter(row["topic"] for row in made) == {"law": 300, "cooking": 100}
    pairs = Counter((row["topic"], row["subtopic"]) for row in made)
    law = {("law", "rent"): 150, ("law", "wills"): 150}
    assert pairs == {**law, ("cooking", "bread"): 80, ("cooking", "soup"): 20}
    assert Counter(row["words"] for row in made) == dict.fromkeys(range(10, 30), 20)
    assert Counter(row["style"] for row in made) == {"full": 300, "terse": 100}
    assert figures["topic=law"] == 300
    assert figures["topic/subtopic=cooking/soup"] == 20
    assert figures["words mean"] == pytest.approx(19.5)


def test_the_seed_says_which_row_has_what_and_nothing_else(tmp_path: Path):
    one, _ = planned(tmp_path / "a", 37)
    again, _ = planned(tmp_path / "b", 37)
    other, figures = planned(tmp_path / "c", 37, seed=1)
    assert one == again
    assert one != other
    assert len(other) == figures["rows"] == 37
    # 37 x 3 / 4 is not a whole number: it is rounded up or down.
    assert figures["topic=law"] in (27, 28)
    allowed = {"law": {"rent", "wills"}, "cooking": {"bread", "soup"}}
    assert all(row["subtopic"] in allowed[row["topic"]] for row in [*one, *other])


def test_several_rows_of_a_seed_and_several_seeds_of_a_row(tmp_path: Path):
    cells = {"way": {"categories": ["a", "b", "c"], "distinct": True}}
    rows = [{"prompt": f"seed {n}"} for n in range(10)]
    steps = [
        Attributes(cells=cells, rows=2, seeds=3),
        Compose(template="{% for one in seeds %}{{ one.instruction }};{% endfor %} {{ way }}"),
    ]
    done = Pipeline(steps).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    texts = [row.instruction for row in done.kept]
    assert len(texts) == 8  # the last group has one seed
    assert texts[0].startswith("seed 0;seed 1;seed 2; ")
    assert texts[-1].startswith("seed 9; ")
    assert [len(row.parents) for row in done.kept] == [3] * 6 + [1] * 2
    assert all(one[-1] != two[-1] for one, two in zip(texts[::2], texts[1::2], strict=True))
    assert done.summary["used"] == 10


def test_values_come_from_a_file_and_from_the_rows_columns(tmp_path: Path):
    table = tmp_path / "cities.csv"
    table.write_text("country,city,people\nFrance,Lyon,1\nFrance,Paris,3\nPeru,Lima,9\n")
    cells = {
        "country": {"column": "origin"},
        "city": {"file": str(table), "given": "country", "weight": "people"},
    }
    cells["city"] |= {"column": "city"}
    table_of_rows = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"{n}", "origin": "Peru" if n % 2 else "France"} for n in range(8)]
    rows.append({"prompt": "x", "origin": "Chile"})
    table_of_rows.write_text("".join(json.dumps({"prompt": r["prompt"], "land": r["origin"]}) + "\n"
                                     for r in rows))  # fmt: skip
    cells["country"] = {"column": "land"}
    with pytest.raises(RecipeError, match=r"country.*lacks|has no 'land'"):
        planned(tmp_path, cells={"city": {"file": str(table), "column": "land"}})
    steps = [Attributes(cells=cells), Compose(template="{{ city }} in {{ country }}")]
    done = Pipeline(steps).run(
        str(table_of_rows), run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0
    )
    texts = Counter(row.instruction for row in done.kept)
    assert texts == {"Lyon in France": 1, "Paris in France": 3, "Lima in Peru": 4}
    assert done.summary["failed"] == 1


@given(
    st.dictionaries(
        st.sampled_from("abcd"),
        st.dictionaries(st.sampled_from("wxyz"), st.integers(0, 3), min_size=1).filter(
            lambda options: any(options.values())
        ),
        min_size=1,
    ),
    st.integers(1, 60),
    st.integers(0, 99),
)
def test_no_cell_is_impossible(tables: Any, count: int, seed: int):
    cells = {"one": {"categories": list(tables)}, "two": {"given": "one", "categories": tables}}
    slots: list[dict[str, Any]] = [{} for _ in range(count)]
    dice = random.Random(seed)
    for name, sampler in samplers_of(cells).items():
        for slot, value in zip(slots, sampler.draw(slots, 1, dice), strict=True):
            slot[name] = value
    assert all(tables[slot["one"]][slot["two"]] > 0 for slot in slots)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({}, "must name an attribute"),
        ({"a b": {"categories": ["x"]}}, "not a name for an attribute"),
        ({"mark": {"categories": ["x"]}}, "are taken"),
        ({"a": ["x"]}, "must be a mapping with one of"),
        ({"a": {"categories": ["x"], "range": [1, 2]}}, "must be a mapping with one of"),
        ({"a": {"categories": ["x"], "given": "b"}}, "one of those before it"),
        ({"a": {"range": [2, 1]}}, "low goes first"),
        ({"a": {"range": [1]}}, "two numbers"),
        ({"a": {"categories": {"x": -1}}}, "weights are 0 or more"),
        ({"a": {"categories": {"x": 0}}}, "only weights of 0"),
        ({"a": {"categories": ["x", "x"]}}, "names one twice"),
        ({"a": {"categories": ["x", "y"]}, "b": {"given": "a", "categories": {"x": ["1"]}}},
         "nothing for a = 'y'"),
        ({"a": {"categories": ["x"], "colour": 1}}, r"has \['colour'\]; beside categories"),
        ({"a": {"file": "nowhere.csv"}}, "there is no file"),
        ({"a": {"texts": {"x": " "}}}, "texts must map ids to texts"),
    ],
)  # fmt: skip
def test_a_sampler_that_is_none_is_refused_by_name(cells: Any, message: str):
    with pytest.raises(ValueError, match=message):
        step = Attributes(cells=cells)
        step.check()
        step.prepare()


def test_the_report_shows_planned_beside_made(tmp_path: Path):
    cells = {"dish": {"categories": ["soup", "bread"]}, "level": {"categories": ["easy", "hard"]}}
    steps: list[Any] = [
        Attributes(cells=cells),
        Compose(template="Cook a {{ level }} {{ dish }}."),
        lambda row: "soup" not in row.instruction or "easy" in row.instruction,
        CellCoverage(columns=("dish", "level", "dish/level")),
    ]
    pipeline = Pipeline(steps, inputs={"blank": {"count": 40}})
    done = pipeline.run(run=tmp_path / "run", store=tmp_path / "store")
    figures = done.summary["figures"]
    assert figures["attributes"] == {
        "rows": 40, "dish=soup": 20, "dish=bread": 20, "level=easy": 20, "level=hard": 20
    }  # fmt: skip
    hard = sum(row.instruction == "Cook a hard bread." for row in done.kept)
    soup = sum(row.instruction == "Cook a easy soup." for row in done.kept)
    assert (
        figures["cell_coverage"]["dish=soup"]
        == soup
        == figures["cell_coverage"]["dish/level=soup/easy"]
    )
    assert figures["cell_coverage"]["level=hard"] == hard
    shown = done.report()
    assert any(
        line.split() == ["figures", "attributes", "cell_coverage"] for line in shown.splitlines()
    )
    line = next(line for line in shown.splitlines() if line.startswith("  dish=soup"))
    assert line.split() == ["dish=soup", "20", str(soup)]


@pytest.mark.parametrize("weight", ["1,000", "nan", "inf", "-1"])
def test_a_weight_of_a_file_that_is_no_number_names_its_place(tmp_path: Path, weight: str):
    table = tmp_path / "cities.csv"
    table.write_text(f'city,people\nLima,9\nLyon,"{weight}"\n')
    cells = {"city": {"file": str(table), "weight": "people"}}
    with pytest.raises(ValueError, match=f"record 2 of .*cities.csv has the people '{weight}'"):
        Attributes(cells=cells).prepare()
    with pytest.raises(ValueError, match="weights are 0 or more"):
        Attributes(cells={"a": {"categories": {"x": float("nan")}}}).check()


def test_samplers_are_read_once_for_many_rows_while_their_file_stays(
    tmp_path: Path, make_row: Any, monkeypatch: pytest.MonkeyPatch
):
    reads = []

    def counted(cells: Any) -> Any:
        reads.append(cells)
        return samplers_of(cells)

    monkeypatch.setattr(_samplers, "samplers_of", counted)
    monkeypatch.setattr(attributes, "samplers_of", counted)
    table = tmp_path / "cities.csv"
    table.write_text("land,city\nPeru,Lima\n")
    cells = {"land": {"column": "land"}, "city": {"file": str(table), "given": "land"}}
    step = Attributes(cells=cells)
    rows = [make_row("prompt", {"prompt": ()}, extra='{"land": "Peru"}') for _ in range(20)]
    assert len({step.sketch(row)["columns"] for row in rows}) == 1
    assert len(reads) == 1
    table.write_text("land,city\nChile,Arica\n")
    os.utime(table, ns=(1, 1))
    with pytest.raises(ValueError, match="has nothing for land = 'Peru'"):
        step.sketch(rows[0])
