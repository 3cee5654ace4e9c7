"""Few-shot composites: how many there are, what they show, and what they never show."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.pipeline import Pipeline
from curate.row import Message, Row
from curate.step import Drop, Figures, Made
from curate.steps.generate.few_shot import Compared, FewShot, plain_text
from tests.steps.conftest import sft


def rows_of(pairs, **rest):
    rows = [sft(question, answer) for question, answer in pairs]
    return [
        row._replace(seq=(0, 0, n), id=f"{n:032x}", source="s", **rest)
        for n, row in enumerate(rows)
    ]


def made_of(step, rows):
    out = step.make(rows)
    return (
        [one for one in out if isinstance(one, Made)],
        [one for one in out if isinstance(one, Row)],
        [one for one in out if isinstance(one, Drop)],
    )


def test_examples_come_before_the_question():
    rows = rows_of([(f"q{n}?", f"a{n}") for n in range(4)], extra='{"k": 1, "read_as": "x"}')
    made, passed, dropped = made_of(FewShot(shots=2, question="Q: ", answer="A: "), rows)
    assert (len(made), passed, dropped) == (4, [], [])
    for composite, row in zip(made, rows, strict=True):
        user, assistant = composite.record.fields["messages"]
        blocks = user.content.split("\n\n")
        assert len(blocks) == 3
        assert blocks[-1] == f"Q: {row.instruction}\nA:"
        assert assistant.content == row.response
        own, *shown = composite.record.parents
        assert own == row.id
        by_id = {other.id: other for other in rows}
        assert blocks[:-1] == [
            f"Q: {by_id[one].instruction}\nA: {by_id[one].response}" for one in shown
        ]
        assert json.loads(composite.record.extra) == {"k": 1, "shots": 2}


def test_turns_make_a_conversation_behind_the_system_prompt():
    rows = rows_of([("q0?", "a0"), ("q1?", "a1")])
    rows[0] = rows[0]._replace(fields={"messages": (Message("system", "s"), *rows[0].messages)})
    [first, second] = made_of(FewShot(shots=3, form="turns"), rows)[0]
    assert [(t.role, t.content) for t in first.record.fields["messages"]] == [
        ("system", "s"), ("user", "q1?"), ("assistant", "a1"), ("user", "q0?"), ("assistant", "a0"),
    ]  # fmt: skip
    assert [t.content for t in second.record.fields["messages"]] == ["q0?", "a0", "q1?", "a1"]


LONG = "the answer that only this one question has"


@pytest.mark.parametrize(
    ("other", "shown"),
    [
        (("another?", "yes"), True),
        (("Q?  ", "no"), False),  # the same question
        (("another?", LONG.upper()), False),  # its answer
        ((f"Write the question of: {LONG}", "Q?"), False),  # inverted
        ((f"another, after {LONG}?", "yes"), False),  # holds its answer
        (("another?", "q?"), False),  # answers with its question
    ],
)
def test_an_example_never_gives_the_answer_away(other, shown):
    made, _, dropped = made_of(FewShot(), rows_of([("q?", LONG), other])[:2])
    own = [one for one in made if one.record.parents[0] == f"{0:032x}"]
    assert bool(own) == shown
    assert [drop.row for drop in dropped if drop.row == f"{0:032x}"] == [] if shown else True
    if not shown:
        assert any(drop.reason == "no other row to show as an example" for drop in dropped)


def test_rows_of_one_parent_are_no_examples_of_each_other():
    one, two, three = rows_of([("a?", "1"), ("b?", "2"), ("c?", "3")])
    copies = [one._replace(parents=("f" * 32,)), two._replace(parents=("f" * 32,)), three]
    made, _, _ = made_of(FewShot(shots=5), copies)
    assert [m.record.parents[1:] for m in made[:2]] == [(three.id,), (three.id,)]
    inverted = two._replace(parents=(one.id,))
    made, _, dropped = made_of(FewShot(), [one, inverted])
    assert (made, len(dropped)) == ([], 2)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a?", "b?", "c?", "d?", "e?"]),
            st.sampled_from(["yes", "no", LONG, LONG + " too", "a?"]),
        ),
        min_size=2,
        max_size=20,
    ),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
@settings(max_examples=60)
def test_composites_never_hold_their_own_target(pairs, share):
    rows = rows_of(pairs)
    made, passed, dropped = made_of(FewShot(share=share, shots=3), rows)
    drawn = int(share * len(rows) + 0.5)
    # Without an example a row is dropped only where every row is to be a composite.
    assert len(made) <= drawn
    assert len(made) + len(passed) + len(dropped) == len(rows)
    assert not dropped or share == 1
    by_id = {row.id: row for row in rows}
    for composite in made:
        own, *shown = (by_id[one] for one in composite.record.parents)
        prompt = plain_text(composite.record.fields["messages"][0].content)
        before = prompt[: -len(plain_text(own.instruction))]
        if len(own.response.split()) > 5:
            assert plain_text(own.response) not in prompt
        assert own.id not in {one.id for one in shown}
        assert all(plain_text(one.instruction) != plain_text(own.instruction) for one in shown)
        assert plain_text(own.instruction) not in before.split("\n")
        assert len({one.instruction for one in shown}) == len(shown) >= 1


def test_other_conversations_pass():
    rows = rows_of([("a?", "1"), ("b?", "2")])
    long = sft("x", "y", "z", "w")._replace(id="e" * 32, source="s")
    empty = sft("x", "")._replace(id="d" * 32, source="s")
    _, passed, _ = made_of(FewShot(), [*rows, long, empty])
    assert [row.id for row in passed] == ["e" * 32, "d" * 32]


def test_a_column_shots_fails_that_row_alone():
    rows = rows_of([("a?", "1"), ("b?", "2"), ("c?", "3")])
    rows[0] = rows[0]._replace(extra='{"shots": 9}')
    out = FewShot().make(rows)
    assert [type(one).__name__ for one in out] == ["Failed", "Made", "Made", "Figures"]
    assert out[0].record.parents[0] == rows[0].id


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"shots": 0}, "shots is 0"),
        ({"share": 1.5}, "share is 1.5"),
        ({"group_size": 1}, "another"),
    ],
)
def test_impossible_numbers_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        FewShot(**fields).check()


def test_a_run_has_exact_counts_by_task(tmp_path):
    rows = [
        {"prompt": f"question {n}", "completion": f"{n}", "task": "ab"[n % 2]} for n in range(1000)
    ]
    result = Pipeline([FewShot(shots=3, share=0.25, per=("task",), group_size=40)]).run(
        rows, run=tmp_path / "run"
    )
    counts = result.summary
    # Of 500 rows of each task: 12 blocks of 40 give 10 each, the last 20 give 5.
    assert (counts["made"], counts["used"], counts["kept"]) == (250, 250, 1000)
    assert counts["figures"]["few_shot"] == {
        "zero-shot": 750, "few-shot": 250, "examples": 750,
    }  # fmt: skip
    tasks = Counter()
    for row in result.kept:
        columns = json.loads(row.extra)
        if "shots" in columns:
            tasks[columns["task"]] += 1
            numbers = [int(w) for w in row.instruction.replace("question ", "").split()]
            assert len({n % 2 for n in numbers}) == 1
    assert tasks == {"a": 125, "b": 125}
    assert isinstance(FewShot().make(rows_of([("a", "b"), ("c", "d")]))[-1], Figures)


def test_a_lone_row_stays_unless_all_are_to_be_composites():
    rows = rows_of([("a?", "1")])
    out = FewShot(share=0.5).make(rows)
    assert out == [rows[0], Figures({"zero-shot": 1.0, "few-shot": 0.0, "examples": 0.0})]
    assert [len(part) for part in made_of(FewShot(), rows)] == [0, 0, 1]


def test_a_group_without_a_size_takes_no_square_of_it(monkeypatch):
    tried = []
    rows = rows_of([("the same?", f"{n}") for n in range(1000)])
    monkeypatch.setattr(
        Compared, "given_away_by", lambda self, other: bool(tried.append(other)) or True
    )
    _, _, dropped = made_of(FewShot(group_size=None), rows)
    assert len(dropped) == 1000
    assert len(tried) == 256 * 1000
