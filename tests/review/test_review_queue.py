"""What is asked of whom, and what is kept of what they say."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate.chunk import Chunk
from curate.cli.main import app
from curate.errors import UsageError
from curate.pipeline import Pipeline
from curate.review.label_events import Label, Labels
from curate.review.labelled_rows import labelled_rows
from curate.review.people_agreement import agreement
from curate.review.review_queue import ReviewQuestion, RowFilter, queue_of, run_says
from curate.review.server import Review
from curate.row import KINDS
from tests.review.conftest import made, pairs, ranked, sft


def test_everybody_meets_all_rows_in_an_order_of_their_own(tmp_path: Path) -> None:
    queue = queue_of(made(tmp_path, sft(30)).folder, count=30)
    orders = {}
    for who in ("anna", "ben"):
        labels: list[Label] = []
        while (item := queue.next_for(who, labels, [])) is not None:
            labels.append(Label(item.row.id, who, "keep"))
        orders[who] = [label.item for label in labels]
    assert sorted(orders["anna"]) == sorted(orders["ben"]) == sorted(queue.items)
    assert orders["anna"] != orders["ben"]


def test_a_row_is_for_so_many_people(tmp_path: Path) -> None:
    queue = queue_of(made(tmp_path, sft(12)).folder, count=12, overlap=2)
    labels: list[Label] = []
    for _ in range(12):
        for who in ("anna", "ben", "carl"):
            if (item := queue.next_for(who, labels, [])) is not None:
                labels.append(Label(item.row.id, who, "keep"))
    seen = [label.item for label in labels]
    assert len(seen) == 24 and {seen.count(name) for name in queue.items} == {2}


def test_a_skipped_row_comes_no_more(tmp_path: Path) -> None:
    queue = queue_of(made(tmp_path, sft(2)).folder, count=2)
    first = queue.next_for("anna", [], [])
    assert first
    second = queue.next_for("anna", [], [first.row.id])
    assert second and second.row.id != first.row.id
    assert queue.next_for("anna", [], list(queue.items)) is None


def test_the_sides_of_a_pair_change_places_and_come_back(tmp_path: Path) -> None:
    queue = queue_of(made(tmp_path, pairs(60)).folder, count=60)
    firsts = []
    for item in queue.items.values():
        shown = queue.payload("anna", item)
        left = shown["answers"][0][-1]["text"]
        firsts.append(left.startswith("good"))
        label = queue.checked({"item": item.row.id, "decision": "chosen", "value": 0}, "anna")
        assert label.value == ("chosen" if left.startswith("good") else "rejected")
        assert label.shown == shown["shown"]
    assert 15 < sum(firsts) < 45


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"item": "no such row", "decision": "keep"}, "no row 'no such row' is in this review"),
        ({"decision": "burn"}, "decision is one of keep, drop, chosen, ranks, rating, not 'burn'"),
        ({"decision": "rating", "value": 6}, "a whole number from 1 to 5, not 6"),
        ({"decision": "rating", "value": "5"}, "a whole number from 1 to 5, not '5'"),
        ({"decision": "chosen", "value": 2}, "2 is not an answer to a choice about a preference"),
        ({"decision": "chosen", "value": None}, "None is not an answer"),
        ({"decision": "ranks", "value": [1, 2]}, "a preference row has no candidates to rank"),
    ],
)
def test_what_answers_nothing_is_refused(given: Any, said: str, tmp_path: Path) -> None:
    queue = queue_of(made(tmp_path, pairs(1)).folder, count=1)
    (name,) = queue.items
    with pytest.raises(UsageError, match=said.replace("(", r"\(")):
        queue.checked({"item": name, **given}, "anna")


def test_low_scores_and_disagreements_come_first(tmp_path: Path) -> None:
    steps = [{"length": {"min": 1, "on": "response"}}, {"charset": {"min": 0.0}}]
    folder = made(tmp_path, sft(40), steps).folder
    queue = queue_of(folder, count=10, by="score", label="length")
    assert all(item.row.scores["length"] <= 3 for item in queue.items.values())
    assert queue.total == 40 and len(queue.items) == 10
    assert len(queue_of(folder, count=5, by="disagreement").items) == 5
    with pytest.raises(UsageError, match="no step 'x' has scored the rows"):
        queue_of(folder, count=5, by="score", label="x")
    with pytest.raises(UsageError, match="where two steps have scored them"):
        queue_of(made(tmp_path / "bare", sft(4)).folder, count=4, by="disagreement")


def test_rows_that_a_step_dropped(tmp_path: Path) -> None:
    steps = [{"length": {"min": 4, "on": "response"}}, "exact"]
    result = made(tmp_path, sft(40), steps)
    queue = queue_of(result.folder, count=100, only=RowFilter(step="length"))
    assert len(queue.items) == result.summary["steps"][0]["dropped"]
    assert {item.outcome for item in queue.items.values()} == {"dropped"}
    with pytest.raises(UsageError, match="was dropped by a step labelled 'exact'"):
        queue_of(result.folder, count=100, only=RowFilter(step="exact"))
    with pytest.raises(UsageError, match="has no such row"):
        queue_of(result.folder, count=100, only=RowFilter("failed"))


def test_every_kind_of_row_can_be_shown_and_answered(tmp_path: Path) -> None:
    records = {
        "sft": {"instruction": "a", "output": "b"},
        "prompt": {"prompt": "p"},
        "preference": {"prompt": "p", "chosen": "c", "rejected": "r"},
        "unpaired": {"prompt": "p", "completion": "c", "label": True},
        "ranked": {
            "prompt": "p",
            "candidates": [
                {"messages": [{"role": "assistant", "content": text}], "score": 1.0}
                for text in "abc"
            ],
        },
    }
    seen = set()
    for kind, record in records.items():
        queue = queue_of(made(tmp_path / kind, [record]).folder, count=1)
        (item,) = queue.items.values()
        seen.add(item.row.kind)
        shown = queue.payload("anna", item)
        assert len(shown["answers"]) == {"preference": 2, "unpaired": 1, "ranked": 3}.get(kind, 0)
        given: dict[str, Any] = {"decision": "keep"}
        if kind in ("preference", "ranked"):
            given = {"decision": "chosen", "value": 1}
        elif kind == "unpaired":
            given = {"decision": "chosen", "value": False}
        label = queue.checked({"item": item.row.id, **given}, "anna")
        assert label.decision == given["decision"]
    assert seen == set(KINDS)


def test_a_choice_needs_answers(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a sft row has one answer"):
        queue_of(made(tmp_path, sft(3)).folder, count=3, question=ReviewQuestion("chosen"))


def test_labels_are_events_and_the_last_one_counts(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    with Labels(path) as labels:
        assert labels.add(Label("a" * 32, "anna", "keep"), "nonce-0001")
        assert not labels.add(Label("a" * 32, "anna", "keep"), "nonce-0001")
        labels.add(Label("a" * 32, "anna", "drop", comment="rude"), "nonce-0002")
        labels.add(Label("b" * 32, "anna", "rating", "4"), "nonce-0003")
        labels.add(Label("c" * 32, "anna", "keep"), "nonce-0004")
        labels.add(Label("c" * 32, "anna", None), "nonce-0005")
        latest = labels.latest_of("anna")
        assert latest and latest.item == "b" * 32
        token = labels.setting("token")
    with Labels(path) as labels:
        found = list(labels.decisions())
        assert labels.setting("token") == token and len(token) >= 32
    assert [(one["row"][0], one["decision"], one.get("value")) for one in found] == [
        ("a", "drop", None),
        ("b", "rating", 4.0),
    ]
    assert found[0]["comment"] == "rude"
    events = sqlite3.connect(path).execute("SELECT COUNT(*) FROM event").fetchone()[0]
    assert events == 5


def test_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    with Labels(tmp_path / "labels.sqlite") as labels:
        db = labels._db
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    path.write_text("these are notes" * 100)
    with pytest.raises(UsageError, match="holds no labels"):
        Labels(path)


def test_labels_on_a_network_file_system_are_refused(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"1 0 0:9 / {tmp_path} rw - cifs //server/home rw\n")
    with pytest.raises(UsageError, match=r"cifs.*--labels FILE"):
        Labels(tmp_path / "labels.sqlite", table)
    assert not (tmp_path / "labels.sqlite").exists()
    with Labels(tmp_path / "labels.sqlite"):
        pass
    with pytest.raises(UsageError, match="after copying this one there, with its -wal file"):
        Labels(tmp_path / "labels.sqlite", table)


def test_agreement_equals_a_count_by_hand() -> None:
    said = {"1": "kkd", "2": "kdd", "3": "kk", "4": "d", "5": "dd", "6": "kd"}
    names, words = ("anna", "ben", "carl"), {"k": "keep", "d": "drop"}
    labels = [
        Label(item, who, words[letter])
        for item, letters in said.items()
        for who, letter in zip(names, letters, strict=False)
    ]
    of_run = dict.fromkeys("123", "keep") | dict.fromkeys("456", "drop")
    found = agreement(labels, {item: {"fate": fate} for item, fate in of_run.items()})
    assert found.labels == 13 and found.rows_shared == 5
    # Pairs within rows: 1 of 3, 1 of 3, 1 of 1, 1 of 1, 0 of 1.
    assert found.alike == pytest.approx(4 / 9)
    # kept rows: keep 5, drop 3; dropped rows: keep 1, drop 4.
    assert found.with_run == pytest.approx(9 / 13)
    by_chance = (8 / 13) * (6 / 13) + (5 / 13) * (7 / 13)
    assert found.kappa == pytest.approx((9 / 13 - by_chance) / (1 - by_chance))
    # Krippendorff: observed and expected disagreement over the 12 labels of shared rows.
    observed = (3 * (2 / 3) + 3 * (2 / 3) + 0 + 0 + 2 * 1) / 12
    keeps, drops = 6, 6
    expected = 2 * keeps * drops / (12 * 11)
    assert found.alpha == pytest.approx(1 - observed / expected)


def test_choices_and_ratings_agree_with_the_run_where_it_says_something() -> None:
    labels = [
        Label(item, "anna", "chosen", said)
        for item, said in zip("abc", ["1", "2", "tied"], strict=True)
    ]
    labels += [Label(item, "anna", "rating", said) for item, said in zip("pqr", "135", strict=True)]
    of_run: dict[str, dict[str, str | float]] = {"a": {"chosen": "1"}, "b": {"chosen": "1"}}
    of_run |= {"p": {"rating": 0.1}, "q": {"rating": 0.9}, "r": {"rating": 0.5}}
    found = agreement(labels, of_run)
    assert found.with_run == 0.5 and found.kappa is None
    # Ranks 1, 2, 3 and 1, 3, 2: 1 - 6 * 2 / (3 * 8).
    assert found.rho == pytest.approx(0.5)


def test_the_agreement_of_ranks_equals_a_count_by_hand() -> None:
    said = {
        "a": {"anna": "1,2,3", "ben": "1,3,2", "carl": "3,2,1"},
        "b": {"anna": "1,1,3", "ben": "1,2,3"},
        "c": {"anna": "1,1,1", "ben": "2,1,3"},
    }
    labels = [Label(item, who, "ranks", v) for item, own in said.items() for who, v in own.items()]
    found = agreement(labels, {"a": {"ranks": "1,2,3"}, "b": {"ranks": "2,2,1"}})
    assert (found.labels, found.rows_shared, found.alpha, found.kappa) == (7, 3, None, None)
    # Of three pairs of candidates two people say the same: of row a anna and ben in 2, anna and
    # carl in 0, ben and carl in 1; of row b in 2; of row c in 0.
    assert found.alike == pytest.approx((2 / 3 + 0 + 1 / 3 + 2 / 3 + 0) / 5)
    # Kendall's tau-b: of row a (2 - 1) / 3, -1 and (1 - 2) / 3; of row b 2 pairs in one order, and
    # one of three that only anna ties; of row c there is none, as anna ties all.
    assert found.tau == pytest.approx((1 / 3 - 1 - 1 / 3 + 2 / (2 * 3) ** 0.5) / 4)
    # The run: of row a 3, 2 and 0 of 3 pairs; of row b anna and the run tie the same two and
    # contradict each other on the others, and ben and the run agree on none.
    assert found.with_run == pytest.approx((1 + 2 / 3 + 0 + 1 / 3 + 0) / 5)
    by_row = [1, 1 / 3, -1, -1, -2 / (3 * 2) ** 0.5]
    assert found.tau_with_run == pytest.approx(sum(by_row) / 5)


def test_ranks_are_kept_as_the_data_lists_the_candidates(tmp_path: Path) -> None:
    folder = made(tmp_path, [ranked([0.1, 0.4, None, 0.2])]).folder
    queue = queue_of(folder, count=1, question=ReviewQuestion("ranks"))
    (item,) = queue.items.values()
    orders = set()
    for who in ("anna", "ben", "carl", "dora"):
        shown = queue.payload(who, item)
        assert shown["question"] == "ranks"
        seen = [turns[-1]["text"] for turns in shown["answers"]]
        orders.add(tuple(seen))
        # b is the best, a and d are tied, c is the worst.
        given = [{"b": 1, "a": 2, "d": 2, "c": 4}[text] for text in seen]
        label = queue.checked({"item": item.row.id, "decision": "ranks", "value": given}, who)
        assert label.value == "2,1,4,2" and label.shown == shown["shown"]
        assert queue.as_seen(who, item.row, label.value) == given
    assert len(orders) > 1
    for wrong in ([1, 2, 3], [1, 2, 3, 5], [0, 1, 2, 3], [1, 2, 3, True], "1,2,3,4", None):
        with pytest.raises(UsageError, match="ranks are a whole number from 1 to 4 for each of 4"):
            queue.checked({"item": item.row.id, "decision": "ranks", "value": wrong}, "anna")


def test_ranks_need_candidates(tmp_path: Path) -> None:
    folder = made(tmp_path, pairs(2)).folder
    with pytest.raises(UsageError, match="a preference row has no list of candidates to rank"):
        queue_of(folder, count=2, question=ReviewQuestion("ranks"))
    done = CliRunner().invoke(app, ["review", str(folder), "--ask", "order"])
    assert done.exit_code == 2
    assert "--ask is keep, rating, choice, ranks, not 'order'" in " ".join(done.output.split())


def test_one_candidate_has_no_rank(tmp_path: Path) -> None:
    folder = made(tmp_path, [ranked([0.1, 0.4], "p"), ranked([0.3], "q")]).folder
    with pytest.raises(UsageError, match="has one candidate, which has no rank among others"):
        queue_of(folder, count=2, question=ReviewQuestion("ranks"))
    assert len(queue_of(folder, count=2).items) == 2


def test_ranks_of_other_candidates_are_asked_anew(tmp_path: Path) -> None:
    """A row that a step made has the same id with three candidates as with two."""
    result = made(tmp_path, [ranked([0.5, 0.9, 0.1])])
    queue = queue_of(result.folder, count=1, question=ReviewQuestion("ranks"))
    (row,) = result.kept
    with Labels(tmp_path / "labels.sqlite") as labels:
        labels.add(Label(row.id, "anna", "ranks", "1,2"), "nonce-0001")
        state = Review(queue, labels)._state("anna", [])
        assert state["item"]["id"] == row.id and state["agreement"]["labels"] == 0
        labels.add(Label(row.id, "anna", "ranks", "1,2,3"), "nonce-0002")
        assert Review(queue, labels)._state("anna", [])["item"] is None
    for decision, value, said in (("ranks", "1,2", "ranks 2 of"), ("chosen", "4", "number 4 of")):
        with pytest.raises(UsageError, match=f"{said} its candidates, and it has 3"):
            list(labelled_rows(result.folder, [Label(row.id, "anna", decision, value)]))


def test_the_run_and_others_say_their_ranks_after_the_answer(tmp_path: Path) -> None:
    folder = made(tmp_path, [ranked([0.5, 0.9, 0.5])]).folder
    queue = queue_of(folder, count=1, question=ReviewQuestion("ranks"))
    (item,) = queue.items.values()
    assert run_says(item, None) == {"fate": "keep", "chosen": "2", "ranks": "2,1,2"}
    with Labels(tmp_path / "labels.sqlite") as labels:
        served = Review(queue, labels)
        labels.add(Label(item.row.id, "ben", "ranks", "3,1,2"), "nonce-0001")
        assert served._state("anna", [])["told"] is None
        labels.add(Label(item.row.id, "anna", "ranks", "1,2,3"), "nonce-0002")
        told = served._state("anna", [], item)["told"]
        shown = [int(k) for k in queue.payload("anna", item)["shown"].split(",")]
        assert told["ranks"] == [[2, 1, 2][k] for k in shown]
        (other,) = told["others"]
        assert other == {"who": "ben", "decision": "ranks", "value": [[3, 1, 2][k] for k in shown]}
        # Who has only dropped the row is not told of ranks.
        labels.add(Label(item.row.id, "anna", "drop"), "nonce-0003")
        assert "ranks" not in served._state("anna", [], item)["told"]


def test_what_a_run_says_of_every_kind_of_row(tmp_path: Path) -> None:
    steps = [{"length": {"min": 1, "on": "response"}}]
    (item,) = queue_of(made(tmp_path / "sft", sft(1), steps).folder, count=1).items.values()
    assert run_says(item, "length") == {"fate": "keep", "rating": 2.0}
    assert run_says(item, None) == {"fate": "keep"}
    records: list[tuple[Any, Any]] = [
        (pairs(1)[0], "chosen"),
        ({"prompt": "p", "completion": "c", "label": False}, "false"),
        (ranked([1.0, 3.0, 2.0]), "2"),
        (ranked([1.0, 3.0, 3.0]), None),
        (ranked([None, 3.0, 2.0]), None),
    ]
    for number, (record, expected) in enumerate(records):
        queue = queue_of(made(tmp_path / str(number), [record]).folder, count=1)
        assert [run_says(one, None).get("chosen") for one in queue.items.values()] == [expected]


def test_nothing_said_is_no_agreement() -> None:
    assert agreement([], {})[2:] == (None,) * 7


def test_rows_are_chosen_by_score_and_topic(tmp_path: Path) -> None:
    steps = [{"length": {"min": 4, "on": "response"}}]
    folder = made(tmp_path, sft(40), steps).folder
    found = queue_of(folder, count=100, only=RowFilter("all", score=("length", 3, 5)))
    assert {item.row.scores["length"] for item in found.items.values()} == {3.0, 4.0, 5.0}
    assert {item.outcome for item in found.items.values()} == {"kept", "dropped"}
    assert found.judge == "length" and found.total == len(found.items)
    with pytest.raises(UsageError, match="no step 'x' has scored the rows"):
        queue_of(folder, count=5, only=RowFilter(score=("x", 0, 1)))
    for topic in ("0", "any"):
        with pytest.raises(UsageError, match="has no such row"):
            queue_of(folder, count=5, only=RowFilter(topic=topic))


def test_topics_are_found_by_number_and_word() -> None:
    notes = ['{"topics": {"topic": 7, "name": "kettle, water"}}', None, '{"x": {"topic": 7}}']
    table = pa.table({"notes": pa.array(notes)})
    for topic, expected in (("7", 1), ("WATER", 1), ("tea", 0)):
        assert RowFilter(topic=topic).on_topic(Chunk(table)).tolist() == [
            bool(expected),
            False,
            False,
        ]


@pytest.mark.parametrize("text", ["length", "length:3", "length:5..3", "length:a..b", ":1..2"])
def test_a_range_of_scores_is_read_or_refused(text: str, tmp_path: Path) -> None:
    made(tmp_path, sft(2))
    done = CliRunner().invoke(app, ["review", str(tmp_path / "run"), "--score", text])
    assert done.exit_code == 2 and "LABEL:LOW..HIGH" in " ".join(done.output.split())


def test_labels_leave_as_rows_that_aggregate_and_judges_read(tmp_path: Path) -> None:
    result = made(tmp_path, pairs(3))
    rows = [row.id for row in result.kept]
    with Labels(tmp_path / "run.review.sqlite") as labels:
        for who, said in (("anna", "chosen"), ("ben", "rejected"), ("carl", "rejected")):
            labels.add(Label(rows[0], who, "chosen", said), f"nonce-a{who}")
        labels.add(Label(rows[1], "anna", "chosen", "tied"), "nonce-0001")
        labels.add(Label(rows[2], "anna", "rating", "4", "good"), "nonce-0002")
    out = tmp_path / "votes.jsonl"
    given = ["review", str(tmp_path / "run"), "--export", str(out), "--as", "rows"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in out.read_text().splitlines()]
    said = sorted(
        (one["annotator"], one["chosen"], one["rejected"]) for one in found if "rating" not in one
    )
    assert said == [
        ("anna", "good 0", "bad 0"),
        ("anna", "good 1", "bad 1"),
        ("ben", "bad 0", "good 0"),
        ("carl", "bad 0", "good 0"),
    ]
    assert [one["tie"] for one in found if "tie" in one] == [True]
    assert [(one["rating"], one["comment"]) for one in found if "rating" in one] == [(4.0, "good")]
    votes = tmp_path / "only.jsonl"
    votes.write_text("".join(json.dumps(one) + "\n" for one in found if "rating" not in one))
    merged = Pipeline.from_yaml(json.dumps({"inputs": str(votes), "steps": ["aggregate"]})).run(
        run=tmp_path / "votes", store=tmp_path / "store"
    )
    shares = {row.chosen[-1].content: row.fields["p_chosen"] for row in merged.kept}
    assert shares == {"bad 0": pytest.approx(2 / 3)}
    drawn = "as many votes for one answer as for the other"
    assert merged.summary["steps"][0]["reasons"] == {drawn: 1}


def test_the_best_candidate_is_preferred_to_each_other_one(tmp_path: Path) -> None:
    (row,) = made(tmp_path, [ranked([None, None, None])]).kept
    labels = [Label(row.id, "anna", "chosen", "2"), Label(row.id, "ben", "chosen", "tied")]
    found = list(labelled_rows(tmp_path / "run", labels))
    said = [(one["annotator"], one["chosen"] + one["rejected"]) for one in found]
    assert said == [("anna", "ba"), ("anna", "bc"), ("ben", "ab"), ("ben", "ac"), ("ben", "bc")]
    assert [one.get("tie") for one in found] == [None, None, True, True, True]


def test_ranks_leave_as_rows_and_decisions_that_are_read(tmp_path: Path) -> None:
    """Rows are votes that `aggregate` reads; decisions rank the candidates in `reviewed`."""
    result = made(tmp_path, [ranked([None, None, None, None])])
    (row,) = result.kept
    with Labels(tmp_path / "run.review.sqlite") as labels:
        for who, ranks in (("anna", "2,1,4,2"), ("ben", "3,1,4,2"), ("carl", "1,2,3,3")):
            labels.add(Label(row.id, who, "ranks", ranks), f"nonce-{who}")
    votes, decisions = tmp_path / "votes.jsonl", tmp_path / "decisions.jsonl"
    for out, form in ((votes, "rows"), (decisions, "decisions")):
        given = ["review", str(tmp_path / "run"), "--export", str(out), "--as", form]
        done = CliRunner().invoke(app, given)
        assert done.exit_code == 0, done.output
    found = [json.loads(line) for line in votes.read_text().splitlines()]
    anna = [one for one in found if one["annotator"] == "anna"]
    assert [one["chosen"] + one["rejected"] for one in anna] == ["ba", "ac", "ad", "bc", "bd", "dc"]
    assert [one.get("tie") for one in anna] == [None, None, True, None, None, None]
    strong = Pipeline.from_yaml(
        json.dumps({"inputs": str(votes), "steps": [{"aggregate": {"method": "bradley_terry"}}]})
    ).run(run=tmp_path / "votes", store=tmp_path / "store")
    (merged,) = strong.kept
    order = sorted(merged.candidates, key=lambda one: -(one.score or 0.0))
    assert [one.messages[-1].content for one in order] == ["b", "a", "d", "c"]
    told = [json.loads(line) for line in decisions.read_text().splitlines()]
    assert [(one["decision"], one["value"]) for one in told] == [
        ("ranks", [2, 1, 4, 2]), ("ranks", [3, 1, 4, 2]), ("ranks", [1, 2, 3, 3]),
    ]  # fmt: skip
    after = made(
        tmp_path / "again",
        [ranked([None, None, None, None])],
        [{"reviewed": {"file": str(decisions)}}],
    )
    (scored,) = after.kept
    # Of the three others a beats 1.5, 1 and 3; b 3, 3 and 2; c 0, 0 and 0.5; d 1.5, 2 and 0.5.
    assert [one.score for one in scored.candidates] == pytest.approx(
        [5.5 / 9, 8 / 9, 0.5 / 9, 4 / 9]
    )


def test_a_column_that_the_label_would_replace_is_named(tmp_path: Path) -> None:
    result = made(tmp_path, [{**one, "rating": 3} for one in sft(1)])
    labels = [Label(row.id, "anna", "rating", "4") for row in result.kept]
    with pytest.raises(UsageError, match="has a column 'rating' of its own"):
        list(labelled_rows(tmp_path / "run", labels))


def test_ratings_of_people_measure_a_judge(tmp_path: Path) -> None:
    """The file goes into `evaluate judge` as it is: here a judge whose scores stand in a column."""
    records = [{**one, "judge": k} for k, one in enumerate(sft(30))]
    result = made(tmp_path, records, [])
    rows = {json.loads(row.extra or "{}")["judge"]: row.id for row in result.kept}
    with Labels(tmp_path / "run.review.sqlite") as labels:
        for k, row in rows.items():
            # Of 30 ratings one is the lowest where the judge's score is the highest.
            labels.add(
                Label(row, "anna", "rating", str(1 + k // 8 if k < 29 else 1)), f"nonce-{k:04}"
            )
    out = tmp_path / "rated.jsonl"
    given = ["review", str(tmp_path / "run"), "--export", str(out), "--as", "rows"]
    assert CliRunner().invoke(app, given).exit_code == 0
    given = ["evaluate", "judge", "--on", str(out), "--label", "rating", "--recorded", "judge"]
    done = CliRunner().invoke(app, [*given, "--run", str(tmp_path / "judged"), "--json"])
    assert done.exit_code == 0, done.output
    found = json.dumps(json.loads(done.stdout))
    assert '"spearman"' in found and '"rows": 30' in found


def test_labels_of_other_rows_are_no_rows(tmp_path: Path) -> None:
    made(tmp_path, sft(2))
    with Labels(tmp_path / "run.review.sqlite") as labels:
        labels.add(Label("ab" * 16, "anna", "keep"), "nonce-0001")
    out = tmp_path / "labelled.jsonl"
    given = ["review", str(tmp_path / "run"), "--export", str(out), "--as", "rows"]
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 2 and "1 labelled rows are not in" in " ".join(done.output.split())
    assert not out.exists()
    done = CliRunner().invoke(app, [*given[:4], "--as", "votes"])
    assert done.exit_code == 2 and "--as is decisions or rows" in " ".join(done.output.split())


def test_labels_leave_as_decisions_that_can_be_read(tmp_path: Path) -> None:
    result = made(tmp_path, sft(5))
    path = tmp_path / "run.review.sqlite"
    ids = [row.id for row in result.kept]
    with Labels(path) as labels:
        labels.add(Label(ids[0], "anna", "drop"), "nonce-0001")
        labels.add(Label(ids[1], "anna", "rating", "2"), "nonce-0002")
    out = tmp_path / "decisions.jsonl"
    runner = CliRunner()
    done = runner.invoke(app, ["review", str(tmp_path / "run"), "--export", str(out)])
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert {row["row"] for row in rows} == set(ids[:2])
    none = runner.invoke(app, ["review", str(tmp_path / "none"), "--export", str(out)])
    assert none.exit_code == 2


def test_the_step_reviewed_does_as_people_said(tmp_path: Path) -> None:
    result = made(tmp_path, pairs(3))
    ids = [row.id for row in result.kept]
    with Labels(tmp_path / "labels.sqlite") as labels:
        labels.add(Label(ids[0], "anna", "drop"), "nonce-0001")
        labels.add(Label(ids[1], "anna", "chosen", "rejected"), "nonce-0002")
        lines = [json.dumps(one) + "\n" for one in labels.decisions()]
    decisions = tmp_path / "decisions.jsonl"
    decisions.write_text("".join(lines))
    after = made(tmp_path / "again", pairs(3), [{"reviewed": {"file": str(decisions)}}])
    kept = [row.chosen[-1].content for row in after.kept]
    assert sorted(kept) == ["bad 1", "good 2"]
    assert after.summary["steps"][0]["reasons"] == {"dropped by anna": 1}
