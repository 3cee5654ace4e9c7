"""Which of several attempts is a request's reply, and which requests are another sender's."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.ask import Ask, Embed, Reply, request_key
from curate.store.replies import NO_VECTOR, Leases, Wanted, find, save
from curate.store.store import Paid, Store, StoredReply

MODEL = "a model"
ASK = Ask.text("Name a colour.", max_tokens=8)
EMBED = Embed(texts=("red", "blue"), model="e")
NAN = float("nan")


def keep(store: Store, request: Ask | Embed, attempt: int, reply: Reply) -> StoredReply:
    paid = Paid(request_key(request, MODEL, ""), attempt, reply, request, MODEL)
    (stored,) = store.commit_now(lambda connection: save(store, connection, [paid]))
    return stored


def found(store: Store, request: Ask | Embed, least: int) -> StoredReply | None:
    """Look for a reply outside a transaction and in one, which must agree."""
    key = request_key(request, MODEL, "")
    wanted = {key: Wanted(request, MODEL, least)}
    outside = find(store, wanted)
    assert store.commit_now(lambda connection: find(store, wanted, connection)) == outside
    assert set(outside) <= {key}
    return outside.get(key)


def test_the_newest_attempt_from_the_wanted_one_on_is_the_reply(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        assert found(store, ASK, 0) is None
        for attempt in (1, 0, 3):
            keep(store, ASK, attempt, Reply(text=f"attempt {attempt}"))
        for least in range(4):
            assert found(store, ASK, least) == StoredReply(3, Reply(text="attempt 3"))
        assert found(store, ASK, 4) is None


@pytest.mark.parametrize("attempt", [0, 2])
def test_what_was_no_vector_is_asked_for_again_by_a_later_attempt_only(
    attempt: int, tmp_path: Path
) -> None:
    with Store.open(tmp_path) as store:
        half = Reply(values=((1.0, 2.0), (NAN, NAN)), input_tokens=7)
        stored = keep(store, EMBED, attempt, half)
        assert (stored.attempt, stored.reply.finish_reason) == (attempt, NO_VECTOR)
        assert stored.reply.input_tokens == 7, "what was paid for is counted, whatever came"
        for least in range(attempt + 2):
            reply = found(store, EMBED, least)
            assert (reply is None) == (least > attempt)
            assert reply is None or (reply.attempt, reply.reply.values) == (attempt, ())
        # Only the second one is new, and the first stays as it was.
        keep(store, EMBED, attempt + 1, Reply(values=((5.0, 5.0), (3.0, 4.0))))
        for least in (0, attempt + 1, attempt + 9):
            reply = found(store, EMBED, least)
            assert reply is not None and reply.reply.values == ([1.0, 2.0], [3.0, 4.0])


def test_of_several_that_were_no_vectors_the_earliest_attempt_counts(tmp_path: Path) -> None:
    """Or a text of which a later attempt failed would keep the others from being asked again."""
    with Store.open(tmp_path) as store:
        keep(store, Embed(texts=("red",), model="e"), 2, Reply(values=((NAN, NAN),)))
        keep(store, Embed(texts=("blue",), model="e"), 1, Reply(values=((NAN, NAN),)))
        reply = found(store, EMBED, 1)
        assert reply is not None and reply.attempt == 1
        assert found(store, EMBED, 2) is None


def test_another_sender_leases_what_it_asks_for_and_nothing_when_it_has_left(
    tmp_path: Path,
) -> None:
    # More than one statement takes.
    keys = [f"{number:032x}" for number in range(900)]
    one, other = Leases(), Leases()
    with Store.open(tmp_path) as store:
        assert store.commit_now(one.join) is False
        assert (one.shared, one.beside(store)) == (False, [])
        assert store.commit_now(other.join) is True
        assert (other.shared, other.beside(store), one.beside(store)) == (True, [False], [True])
        one.granted.update(keys[:850])
        store.commit_now(one.share)
        assert other.beside(store) == [True]

        def taken(by: Leases) -> list[str]:
            return sorted(store.commit_now(lambda connection: by.of_others(connection, keys)))

        assert (taken(other), taken(one)) == (keys[:850], [])
        store.commit_now(lambda connection: one.give(connection, keys[:840]))
        assert taken(other) == keys[840:850]
        store.commit_now(lambda connection: other.take(connection, keys[880:]))
        assert taken(one) == keys[880:]
        store.commit_now(one.end)
        assert (taken(other), other.beside(store)) == ([], [])
        third = Leases()
        store.commit_now(third.join)
        assert taken(third) == keys[880:]
