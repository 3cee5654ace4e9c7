"""Licences of sources: what is known, what is flagged, and what stands in the card."""

import json
import re
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.pipeline import Pipeline, Result
from curate.publish.licences import LicensedSource, licence_of, sources_of, warnings_of
from curate.read.known_licences import licences_of, told_licences
from curate.rows.license_terms import UNKNOWN, table
from curate.steps import License
from tests.house.places import ROOT

SHIPPED = ROOT / "pipelines" / "data"


def of(*found: str) -> list[LicensedSource]:
    return [LicensedSource(f"s{n}", (one,), None) for n, one in enumerate(found)]


def test_every_shipped_file_has_the_licences_of_its_page() -> None:
    page = (SHIPPED / "LICENSES.md").read_text()
    told: dict[str, set[str]] = {}
    for name, licence in re.findall(r"^\| `([\w.]+)` \|.*\| ([\w.-]+)[^|]*\|$", page, re.MULTILINE):
        told.setdefault(name, set()).add(licence.lower())
    table = json.loads((ROOT / "curate/rows/license_terms.json").read_text())["shipped"]
    assert {name: set(known[0].split(", ")) for name, known in table.items()} == told
    assert set(table) == {path.name for path in SHIPPED.glob("*.jsonl*")}


def test_sources_are_named_once_and_without_folders() -> None:
    inputs = [
        {"file": "pipelines/data/math.jsonl.gz", "digest": "d"},
        {"file": "/somewhere/else/math.jsonl.gz", "digest": "e"},
        {"file": "hub://org/set:config@train"},
        {"file": "hub://org/nothing"},
        {"file": "pipelines/data/sums.jsonl", "digest": "f"},
    ]
    cards = {"org/set": ("cc-by-nc-4.0",)}
    found = sources_of(inputs, lambda name: cards.get(name, ()))
    assert [(one.name, one.licences) for one in found] == [
        ("pipelines/data/math.jsonl.gz", ("mit",)),
        ("math.jsonl.gz", (UNKNOWN,)),
        ("hub://org/set:config@train", ("cc-by-nc-4.0",)),
        ("hub://org/nothing", (UNKNOWN,)),
        ("pipelines/data/sums.jsonl", ("apache-2.0",)),
    ]


def test_files_of_one_name_are_two_sources_and_what_the_recipe_was_told_counts() -> None:
    inputs = [
        {"input": "a", "file": "/one/rows.jsonl", "digest": "d"},
        {"input": "b", "file": "/two/rows.jsonl", "digest": "e"},
        {"input": "c", "file": "/two/rows.jsonl", "digest": "e"},
    ]
    told = told_licences({"steps": ["length", {"license": {"licenses": {"b": "MIT, cc-by-4.0"}}}]})
    found = sources_of(inputs, lambda name: (), told)
    assert [(one.name, one.licences) for one in found] == [
        ("rows.jsonl", (UNKNOWN,)),
        ("rows.jsonl", ("mit", "cc-by-4.0")),
    ]


CARD = "---\npretty_name: Rows\nlicense: {}\n---\n\n# Rows\n\nlicense: none of ours\n"


@pytest.mark.parametrize(
    ("place", "licence", "known"),
    [
        ("rows.jsonl", "cc-by-nc-4.0", ("cc-by-nc-4.0",)),
        ("data/rows.jsonl", "[MIT, cc-by-4.0]", ("mit", "cc-by-4.0")),
        ("data/en/rows.jsonl", "apache-2.0", ("apache-2.0",)),
        ("data/rows.jsonl", "", None),
        # Deeper down it may be the page of any project.
        ("a/b/c/rows.jsonl", "mit", None),
    ],
)
def test_a_clone_has_the_licence_of_its_card(
    place: str, licence: str, known: tuple[str, ...] | None, tmp_path: Path
) -> None:
    rows = tmp_path / place
    rows.parent.mkdir(parents=True, exist_ok=True)
    rows.write_text('{"instruction": "Sing.", "output": "La."}\n')
    (tmp_path / "README.md").write_text(CARD.format(licence))
    assert licences_of(str(rows)) == known
    [source] = sources_of([{"file": str(rows), "digest": "d"}], lambda name: ())
    assert source.licences == (known or (UNKNOWN,))
    ran = Pipeline([License(use="research")]).run(str(rows), run=tmp_path / "run")
    assert ran.summary["kept"] == (known is not None)


def test_the_nearest_card_decides_and_none_beyond_the_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    (clone / "data").mkdir(parents=True)
    rows = str(clone / "data" / "rows.jsonl")
    (tmp_path / "README.md").write_text(CARD.format("mit"))
    assert licences_of(rows) == ("mit",)
    # A page without metadata is not a card, and an unfinished head is none either.
    (clone / "README.md").write_text("# About\n\n---\nlicense: cc0-1.0\n---\n")
    assert licences_of(rows) == ("mit",)
    (clone / "README.md").write_text("---\nlicense: cc0-1.0\n")
    assert licences_of(rows) == ("mit",)
    (clone / ".git").mkdir()
    assert licences_of(rows) is None
    (clone / "README.md").write_text("\ufeff---\r\nlicense: cc0-1.0\r\n---\r\n", "utf-8")
    assert licences_of(rows) == ("cc0-1.0",)
    for broken in ("license: [mit", "just a text"):
        (clone / "README.md").write_text(f"---\n{broken}\n---\n")
        with pytest.raises(InputError, match=r"README\.md: its metadata, .* name the licence"):
            licences_of(rows)


def test_kept_rows_of_a_run_carry_the_licences_of_what_it_read(tmp_path: Path) -> None:
    """However often a dataset has grown, the terms of its first sources stay with it."""
    math = str(SHIPPED / "math.jsonl.gz")
    mine = tmp_path / "mine.jsonl"
    mine.write_text('{"instruction": "Sing.", "output": "La."}\n')

    def run(name: str, inputs: dict[str, str], **licenses: str) -> Result:
        pipeline = Pipeline([License(use="research", licenses=licenses)], inputs=inputs)
        return pipeline.run(run=tmp_path / name, store=tmp_path / "store", limit=600)

    run("first", {"math": math})
    run("second", {"old": str(tmp_path / "first"), "new": str(mine)}, new="cc-by-nc-4.0")
    third = run("third", {"old": str(tmp_path / "second")})
    assert third.recipe["recipe"]["steps"][0]["license"]["licenses"] == {"old": "mit, cc-by-nc-4.0"}
    assert third.summary["kept"] == 501
    found = sources_of(third.recipe["inputs"], lambda name: ())
    assert [(one.name, one.licences) for one in found] == [
        ("math.jsonl.gz", ("mit",)),
        ("mine.jsonl", ("cc-by-nc-4.0",)),
    ]
    assert [one[:18] for one in warnings_of(found)] == ["**Non-commercial**"]
    # One source of which nothing is known makes the whole unknown.
    run("fourth", {"old": str(tmp_path / "first"), "new": str(mine)})
    assert licences_of(str(next((tmp_path / "fourth" / "kept").rglob("*.parquet")))) is None


@pytest.mark.parametrize(
    ("found", "stands"),
    [
        ([], UNKNOWN),
        (of("mit", "mit"), "mit"),
        (of("mit", "apache-2.0"), "other"),
        (of("mit", UNKNOWN), UNKNOWN),
    ],
)
def test_the_licence_of_the_card(found: list[LicensedSource], stands: str) -> None:
    assert licence_of(found) == stands


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (of("mit", "apache-2.0"), []),
        (of("cc-by-nc-4.0"), ["Non-commercial"]),
        (of(UNKNOWN), ["Terms not known"]),
        (of("cc-by-nd-4.0"), ["No derivatives"]),
        (of("gpl-3.0", "cc-by-sa-4.0"), ["Conflict"]),
        (of("cc-by-nc-4.0", "cc-by-sa-4.0"), ["Non-commercial", "Conflict"]),
        (of("cc-by-nc-sa-4.0", "cc-by-sa-4.0"), ["Non-commercial", "Conflict"]),
        (of("llama3"), ["Terms of use"]),
    ],
)
def test_what_is_flagged(found: list[LicensedSource], said: list[str]) -> None:
    warnings = warnings_of(found)
    assert [re.findall(r"\*\*(.*?)\*\*", one)[0] for one in warnings] == said


def test_every_licence_of_the_table_is_plain() -> None:
    allowed = {"commercial", "derivatives", "share_alike", "terms"}
    for name, facts in table()["licences"].items():
        assert set(facts) <= allowed, name
