"""The ids of whole columns are those of their rows."""

from hypothesis import given
from hypothesis import strategies as st

from curate.chunk import table_of
from curate.row import KINDS, Candidate, Message, Row, canonical_bytes, digest
from curate.rows.hashing import content_digests

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
MESSAGES = st.lists(
    st.builds(Message, TEXT, st.none() | TEXT, st.none() | st.just("[]")), max_size=3
).map(tuple)
NUMBER = st.none() | st.floats(allow_nan=False)
VALUES = {
    "prompt": MESSAGES,
    "messages": MESSAGES,
    "chosen": MESSAGES,
    "rejected": MESSAGES,
    "completion": MESSAGES,
    "margin": NUMBER,
    "p_chosen": NUMBER,
    "label": st.none() | st.booleans(),
    "candidates": st.lists(
        st.builds(Candidate, MESSAGES, NUMBER, st.none() | TEXT), max_size=3
    ).map(tuple),
}
ROWS = st.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.fixed_dictionaries({name: VALUES[name] for name in KINDS[kind]})
    )
)


def hash_of(kind, fields):
    return digest(canonical_bytes(kind, fields))


@given(st.lists(ROWS, min_size=1, max_size=8), st.data())
def test_digests_of_columns_are_those_of_rows(pairs, data):
    rows = [Row("00" * 16, (0, 0, n), *pair) for n, pair in enumerate(pairs)]
    table = table_of(rows)
    assert content_digests(table) == [hash_of(*pair) for pair in pairs]
    start = data.draw(st.integers(0, len(pairs)))
    assert content_digests(table.slice(start)) == [hash_of(*pair) for pair in pairs[start:]]


def test_rows_with_turns_beside_rows_without_are_told_apart():
    turn = (Message("user", "a", None),)
    pairs = [("sft", {"messages": turns}) for turns in (turn, (), (*turn, *turn), turn)]
    rows = [Row("00" * 16, (0, 0, n), *pair) for n, pair in enumerate(pairs)]
    found = content_digests(table_of(rows))
    assert found == [hash_of(*pair) for pair in pairs]
    assert len(set(found)) == 3
