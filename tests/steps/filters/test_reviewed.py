"""Decisions of people keep, drop and relabel rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.errors import UsageError
from curate.pipeline import Pipeline
from curate.row import Candidate, Message, Row
from curate.step import Drop, Figures, Made
from curate.steps.filters.reviewed import Reviewed
from tests.steps.conftest import row_of, sft

ASKED = (Message("user", "Why?"),)


def answer(text: str) -> tuple[Message, ...]:
    return (Message("assistant", text),)


def pair(**rest: Any) -> Row:
    fields = {
        "prompt": ASKED,
        "chosen": answer("one"),
        "rejected": answer("two"),
        "margin": rest.pop("margin", None),
        "p_chosen": rest.pop("p_chosen", None),
    }
    return row_of("preference", fields, **rest)


def ranked() -> Row:
    candidates = (Candidate(answer("one"), 0.5), Candidate(answer("two")))
    return row_of("ranked", {"prompt": ASKED, "candidates": candidates})


def unpaired() -> Row:
    fields = {"prompt": ASKED, "completion": answer("one"), "label": True}
    return row_of("unpaired", fields)


@pytest.fixture
def reviewed(tmp_path: Path) -> Callable[..., Reviewed]:
    """Make a step of decisions, each (row, annotator, decision, value)."""

    def make(*decisions: tuple[Any, ...], **fields: Any) -> Reviewed:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        names = ("row", "annotator", "decision", "value")
        with path.open("w") as file:
            for one in decisions:
                record = dict(zip(names, (one[0].id, *one[1:]), strict=False))
                file.write(json.dumps(record) + "\n")
        step = Reviewed(file=str(path), **fields)
        step.prepare()
        return step

    return make


def outcome(step: Reviewed, row: Row) -> Any:
    """Return what becomes of a row, without the figures."""
    made = step.make(row)
    if isinstance(made, list):
        [made, figures] = made
        assert isinstance(figures, Figures)
    return made


def test_rows_are_kept_and_dropped_by_a_majority(reviewed: Callable[..., Reviewed]) -> None:
    rows = [sft(f"q{n}", "a") for n in range(4)]
    step = reviewed(
        (rows[0], "ben", "drop"), (rows[0], "anna", "drop"), (rows[0], "cleo", "keep"),
        (rows[1], "ben", "drop"), (rows[1], "anna", "keep"),
        (rows[2], "anna", "keep"),
    )  # fmt: skip
    drop = outcome(step, rows[0])
    assert drop.reason == "dropped by anna, ben"
    assert drop.detail["decisions"][2] == {"annotator": "cleo", "decision": "keep"}
    assert [outcome(step, row) for row in rows[1:]] == rows[1:]
    passed = step.make(rows[2])
    assert passed[1].detail == {"decisions": [{"annotator": "anna", "decision": "keep"}]}
    assert step.make(rows[3]) is rows[3]


def test_ties_pass_or_are_dropped_or_fail_as_told(reviewed: Callable[..., Reviewed]) -> None:
    row = sft("q", "a")
    votes = [(row, "anna", "keep"), (row, "ben", "drop")]
    assert outcome(reviewed(*votes), row) == row
    assert outcome(reviewed(*votes, ties="drop"), row).reason == "the annotators disagree"
    with pytest.raises(ValueError, match="anna: keep; ben: drop"):
        reviewed(*votes, ties="fail").make(row)
    two = [*votes, (row, "cleo", "drop")]
    assert outcome(reviewed(*two), row).reason == "dropped by ben, cleo"
    assert outcome(reviewed(*two, settle="unanimous"), row) == row


def test_a_pair_is_turned_by_its_votes(reviewed: Callable[..., Reviewed]) -> None:
    row = pair(margin=2.0, p_chosen=0.75, extra='{"chosen_model": "m", "n": 1}')
    votes = [("anna", "rejected"), ("ben", "rejected"), ("cleo", "tied"), ("dora", "chosen")]
    step = reviewed(*((row, who, "chosen", value) for who, value in votes))
    made = outcome(step, row)
    assert made.record.fields == {
        "prompt": ASKED,
        "chosen": answer("two"),
        "rejected": answer("one"),
        "margin": -2.0,
        "p_chosen": 2.5 / 4,
    }
    assert json.loads(made.record.extra) == {
        "rejected_model": "m", "n": 1, "p_chosen_before_reviewed": 0.25,
    }  # fmt: skip
    same = outcome(reviewed((row, "anna", "chosen", "chosen")), row).record.fields
    assert (same["chosen"], same["margin"], same["p_chosen"]) == (answer("one"), 2.0, 1.0)
    for even in (["tied"], ["chosen", "rejected"], ["tied", "chosen", "rejected"]):
        votes = [(row, f"a{n}", "chosen", value) for n, value in enumerate(even)]
        assert outcome(reviewed(*votes), row) == row


def test_a_candidate_a_label_a_rating_and_a_text(reviewed: Callable[..., Reviewed]) -> None:
    rows = {"ranked": ranked(), "unpaired": unpaired(), "sft": sft("q", "a"), "preference": pair()}
    best = [(rows["ranked"], who, "chosen", value) for who, value in (("a", 2), ("b", 2), ("c", 1))]
    one, two = outcome(reviewed(*best), rows["ranked"]).record.fields["candidates"]
    assert (one.score, two.score) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert json.loads(one.extra) == {"score_before_reviewed": 0.5}
    unwanted = outcome(reviewed((rows["unpaired"], "a", "chosen", False)), rows["unpaired"])
    assert unwanted.record.fields["label"] is False
    ratings = [(rows["sft"], "a", "rating", 2), (rows["sft"], "b", "rating", 5)]
    rated = outcome(reviewed(*ratings), rows["sft"])
    assert (rated.score, rated.record.fields) == (3.5, rows["sft"].fields)
    drop = outcome(reviewed(*ratings, at_least=4), rows["sft"])
    assert (drop.reason, drop.score) == ("rated below 4 by a, b", 3.5)
    texts = [
        (rows["preference"], who, "text", t) for who, t in (("a", "x"), ("b", "y"), ("c", "x"))
    ]
    made = outcome(reviewed(*texts), rows["preference"])
    assert made.record.fields["chosen"] == answer("x")
    assert outcome(reviewed(*texts[:2]), rows["preference"]) == rows["preference"]
    asked = row_of("prompt", {"prompt": ASKED})
    assert outcome(reviewed((asked, "a", "text", "Which?")), asked).record.fields["prompt"] == (
        Message("user", "Which?"),
    )


@pytest.mark.parametrize(
    ("row", "decision", "value", "said"),
    [
        (sft("q", "a"), "chosen", "chosen", "sft rows allow no such thing"),
        (pair(), "chosen", 1, "preference rows allow chosen, rejected, tied"),
        (ranked(), "chosen", 3, "ranked rows allow 1, 2, tied"),
        (ranked(), "chosen", True, "ranked rows allow 1, 2, tied"),
        (unpaired(), "chosen", 1, "unpaired rows allow true, false"),
        (unpaired(), "chosen", "tied", "unpaired rows allow true, false"),
        (ranked(), "ranks", [1, 2, 3], "'anna' ranked 3 candidates; the row has 2"),
        (pair(), "ranks", [1, 2], "'anna' ranked candidates; this is a preference row"),
        (ranked(), "text", "x", "which has several answers"),
        (sft("q"), "text", "x", "does not end in the assistant's plain text"),
        (pair(), "text", "two", "is the rejected one"),
    ],
)
def test_what_a_row_has_no_place_for_fails_it(
    row: Row, decision: str, value: object, said: str, reviewed: Callable[..., Reviewed]
) -> None:
    with pytest.raises(ValueError, match=said):
        reviewed((row, "anna", decision, value)).make(row)


def test_ranks_become_the_mean_share_of_candidates_beaten(
    reviewed: Callable[..., Reviewed],
) -> None:
    candidates = tuple(Candidate(answer(text), 0.5) for text in "abc")
    row = row_of("ranked", {"prompt": ASKED, "candidates": candidates})
    votes = [(row, "anna", "ranks", [1, 2, 3]), (row, "ben", "ranks", "[2, 1, 1]")]
    for settle in ("majority", "unanimous"):
        found = outcome(reviewed(*votes, settle=settle), row).record.fields["candidates"]
        # Of the two others a beats 2 and 0, b 1 and 1.5 (a tie is half), c 0 and 1.5.
        assert [one.score for one in found] == [0.5, 0.625, 0.375]
        assert json.loads(found[0].extra) == {"score_before_reviewed": 0.5}
    mixed = reviewed(votes[0], (row, "ben", "chosen", 1))
    with pytest.raises(ValueError, match="some people chose the best candidate and others ranked"):
        mixed.make(row)


def test_long_names_leave_a_short_reason(reviewed: Callable[..., Reviewed]) -> None:
    row = sft("q", "a")
    names = [f"{letter}{'x' * 39}" for letter in "abcd"]
    drop = outcome(reviewed(*((row, name, "drop") for name in names)), row)
    assert drop.reason == f"dropped by {names[0]} and 3 more"
    assert len(drop.reason) <= 80


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(votes=st.lists(st.sampled_from(["keep", "drop"]), min_size=1, max_size=7))
def test_the_majority_is_a_hand_count(votes: list[str], reviewed: Callable[..., Reviewed]) -> None:
    row = sft("q", "a")
    step = reviewed(*((row, f"a{n}", vote) for n, vote in enumerate(votes)))
    dropped = isinstance(outcome(step, row), Drop)
    assert dropped == (2 * votes.count("drop") > len(votes))


def test_a_run_tells_who_decided_and_which_rows_are_not_there(
    reviewed: Callable[..., Reviewed], tmp_path: Path
) -> None:
    data = [{"prompt": f"q{n}", "completion": "a b"} for n in range(5)]
    rows = list(Pipeline([]).run(data, run=tmp_path / "plain").kept)
    gone = [sft("nowhere", str(n)) for n in range(7)]
    decisions = [
        (rows[0], "anna", "drop"),
        (rows[1], "anna", "keep"), (rows[1], "ben", "drop"),
        (rows[2], "anna", "text", "c d"),
        (rows[3], "anna", "chosen", "chosen"),
        *((row, "anna", "keep") for row in gone),
    ]  # fmt: skip
    step = reviewed(*decisions)
    result = Pipeline([step]).run(data, run=tmp_path / "run", allow_failed=1.0)
    summary = result.summary
    assert (summary["kept"], summary["used"], summary["dropped"], summary["failed"]) == (3, 1, 1, 1)
    [told] = summary["steps"]
    assert told["reasons"] == {"dropped by anna": 1}
    [remark] = told["remarks"]
    assert remark.startswith(f"8 of 11 rows of {step.file} were not reviewed here: ")
    shown = sorted([*(row.id for row in gone), rows[3].id])[:5]
    assert ", ".join(shown) + " and 3 more; they failed here or were dropped before" in remark
    assert summary["figures"]["reviewed"] == {
        "reviewed": 3, "disagreements": 1, "undecided": 1, "relabelled": 1,
    }  # fmt: skip
    assert "no such thing" in result.failed.to_list()[0]["error"]
    assert "ben" in str(result.explain(rows[1].id).events[0]["detail"])
    # Nobody's decision met a row, and that is told, too.
    none = Pipeline([reviewed((gone[0], "anna", "drop"))]).run(data, run=tmp_path / "none")
    assert none.summary["steps"][0]["remarks"][0].startswith("1 of 1 rows of ")


def test_another_file_is_another_rule(reviewed: Callable[..., Reviewed], tmp_path: Path) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("prompt,completion\n" + "".join(f"q{n},a b\n" for n in range(3)))
    rows = list(Pipeline([]).run(data, run=tmp_path / "plain").kept)
    one, two = reviewed((rows[0], "anna", "drop")), reviewed((rows[1], "anna", "drop"))
    assert one.fingerprint() == two.fingerprint()
    assert one.data_digest() != two.data_digest()
    result = Pipeline([one]).run(data, run=tmp_path / "run")
    other = result.rethreshold(reviewed={"file": two.file})
    assert [row.instruction for row in other.dropped] == ["q1"]
    # The same file with other decisions in it is another run.
    Path(one.file).write_text(Path(two.file).read_text())
    with pytest.raises(UsageError, match="holds a run of other"):
        Pipeline([one]).run(data, run=tmp_path / "run")


def test_a_file_at_an_address_is_read_anew_for_each_run(reviewed: Callable[..., Reviewed]) -> None:
    """One process may run a recipe twice, as a notebook does."""
    memory = fsspec.filesystem("memory")
    step, digests = Reviewed(file="memory://b/decisions.jsonl"), set()
    for decision in ("keep", "drop"):
        local = reviewed((pair(), "anna", decision))
        memory.pipe_file("/b/decisions.jsonl", Path(local.file).read_bytes())
        step.prepare()
        assert step.data_digest() == local.data_digest()
        digests.add(step.data_digest())
    assert len(digests) == 2


def test_a_step_without_decisions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="file names no decisions"):
        Reviewed().check()
    with pytest.raises(ValueError, match="no such file"):
        Reviewed(file=str(tmp_path / "none.jsonl")).prepare()


def test_a_score_is_there_for_later_steps(
    reviewed: Callable[..., Reviewed], tmp_path: Path
) -> None:
    from curate.steps import Top

    data = [{"prompt": f"q{n}", "completion": "a b"} for n in range(3)]
    rows = list(Pipeline([]).run(data, run=tmp_path / "plain").kept)
    step = reviewed(*((row, "anna", "rating", n) for n, row in enumerate(rows)))
    result = Pipeline([step, Top(count=1, by="reviewed")]).run(data, run=tmp_path / "run")
    assert [row.scores["reviewed"] for row in result.kept] == [2.0]
    assert isinstance(outcome(step, rows[0]), Made)


def test_rows_of_a_file_with_marks_are_those_of_their_run(
    reviewed: Callable[..., Reviewed], tmp_path: Path
) -> None:
    row = sft("q", "a", system="s")
    other = sft("q", "b")._replace(extra=json.dumps({"curate": {"id": row.id}}))
    assert outcome(reviewed((row, "anna", "drop")), other).reason == "dropped by anna"
    plain = sft("q", "b")._replace(extra=json.dumps({"curate": "me"}))
    assert outcome(reviewed((row, "anna", "drop")), plain) == plain
