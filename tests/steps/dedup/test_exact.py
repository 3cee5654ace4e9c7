from __future__ import annotations

import math
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.chunk import Chunk, table_of
from curate.row import Message, Row
from curate.step import Verdicts
from curate.steps.dedup.exact import Exact

TEXTS = st.lists(
    st.text("aAbB \t\n\x1c\x85\u2003.,!?_$\u0130\u03a3\u00df\u3002\U0001f600", max_size=6),
    max_size=12,
)


def rows_of_texts(texts, scores=None):
    return [
        Row(f"{i:032x}", (0, 0, i), "sft", {"messages": (Message("user", text),)},
            scores={} if scores is None else {"judge": scores[i]})
        for i, text in enumerate(texts)
    ]  # fmt: skip


def decide(step: Exact, rows, many: bool = False) -> Verdicts:
    assert step.sketch_types() == {"hash": "binary16", "length": "int64", "score": "float64"}
    schema = pa.schema({"hash": pa.binary(16), "length": pa.int64(), "score": pa.float64()})
    if many:
        columns = step.sketch_many(Chunk(table_of(rows, ["judge"]), large=True))
        table = pa.table([columns[n].cast(schema.field(n).type) for n in schema.names], schema)
    else:
        table = pa.Table.from_pylist([step.sketch(row) for row in rows], schema=schema)
    return step.decide(np.arange(len(rows)), table)


def test_the_first_of_equals_is_kept_and_named():
    verdicts = decide(Exact(), rows_of_texts(["a", "b", "a", "A", "a"]))
    assert verdicts.code.tolist() == [-1, -1, 0, -1, 0]
    assert verdicts.partner.tolist() == [-1, -1, 0, -1, 0]
    assert [s for s in verdicts.score if not math.isnan(s)] == [1.0, 1.0]
    assert verdicts.reasons == ("exact duplicate",)


def test_empty_texts_take_no_part():
    assert decide(Exact(on="response"), rows_of_texts(["a", "b"])).code.tolist() == [-1, -1]
    loose = Exact(ignore_punctuation=True, ignore_space=True)
    assert decide(loose, rows_of_texts(["!!", "?", " "])).code.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("ignore_case", "Stra\u00dfe \u0130", "stra\u00dfe i\u0307"),
        ("ignore_space", " a \t\n\x1c b\u2003", "a b"),
        ("ignore_punctuation", "a_b, c$ \u3002\u300c", "ab c "),
    ],
)
def test_ignored_differences(field, one, other):
    rows = rows_of_texts([one, other])
    assert decide(Exact(), rows).code.tolist() == [-1, -1]
    assert decide(Exact(**{field: True}), rows).code.tolist() == [-1, 0]


@pytest.mark.parametrize("text", ["Caf\u00e9 \u00c5", "\ud55c\uad6d\uc5b4", "\u1ec7", "\u212b"])
@pytest.mark.parametrize("many", [False, True])
def test_how_accents_are_stored_makes_no_difference(text, many):
    twins = [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    assert len(set(twins)) == 2
    assert decide(Exact(), rows_of_texts([*twins, "plain"]), many).code.tolist() == [-1, 0, -1]


def test_combining_marks_are_no_punctuation():
    rows = rows_of_texts(["\u0915\u093f", "\u0915\u0940"])
    assert decide(Exact(ignore_punctuation=True), rows).code.tolist() == [-1, -1]


def test_longest_is_kept():
    step = Exact(keep="longest", ignore_space=True)
    verdicts = decide(step, rows_of_texts(["a", "a  ", "a ", "  a"]))
    assert verdicts.partner.tolist() == [1, -1, 1, 1]


@pytest.mark.parametrize(("lowest", "kept"), [(False, 2), (True, 1)])
def test_best_is_kept_and_rows_without_a_score_come_last(lowest, kept):
    rows = rows_of_texts(["a", "a", "a", "a"], [None, 1.0, 5.0, 5.0])
    for many in (False, True):
        verdicts = decide(Exact(keep="best", by="judge", lowest=lowest), rows, many)
        assert np.flatnonzero(verdicts.code < 0).tolist() == [kept]


def test_best_needs_a_score():
    with pytest.raises(ValueError, match="name the step whose score decides"):
        Exact(keep="best").check()


def test_rules_are_no_part_of_the_fingerprint():
    assert Exact(keep="longest").fingerprint() == Exact().fingerprint()
    assert Exact(on="response").fingerprint() != Exact().fingerprint()


@given(TEXTS, st.booleans(), st.booleans(), st.booleans())
def test_columns_and_rows_give_equal_sketches(texts, case, space, punctuation):
    step = Exact(ignore_case=case, ignore_space=space, ignore_punctuation=punctuation)
    rows = rows_of_texts(texts)
    columns = step.sketch_many(Chunk(table_of(rows), large=True))
    assert pa.table(columns).to_pylist() == [step.sketch(row) for row in rows]


@given(st.lists(st.sampled_from(["", "a", "b", "c", "d"]), max_size=30))
def test_equal_to_a_plain_loop(texts):
    first: dict[str, int] = {}
    expected = [
        -1 if not t or first.setdefault(t, i) == i else first[t] for i, t in enumerate(texts)
    ]
    assert decide(Exact(), rows_of_texts(texts)).partner.tolist() == expected
