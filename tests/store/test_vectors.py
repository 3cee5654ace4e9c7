"""Vectors stay where they were committed: over attempts, processes, torn files and clean-ups."""

from __future__ import annotations

import errno
import functools
import os
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.ask import Embed, Reply
from curate.errors import DiskFull, StoppedShort, StoreError
from curate.store import replies as keep
from curate.store import vectors as vectors_module
from curate.store.store import Paid, Store
from curate.store.vectors import MISSING, EncodedVectors, is_cut, vector_keys

E = "an encoder"


def put(
    store: Store, texts: Sequence[str], lines: Sequence[Any], *, encoder: str = E, **fields: Any
) -> np.ndarray:
    cut = fields.pop("cut", [False] * len(texts))
    encoded = EncodedVectors(vector_keys(encoder, texts), lines, cut, fields.pop("attempt", 0))
    return store.commit_now(lambda c: store.vectors.save(c, encoder, encoded))


def get(store: Store, texts: Sequence[str], encoder: str = E) -> list[Any]:
    """Return the vector of each text as the store has it, `None` where it has none."""
    places = store.vectors.find(vector_keys(encoder, texts))
    lines = store.vectors.read(places).tolist()
    return [line if place > 0 else None for place, line in zip(places, lines, strict=True)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("vectors/*/*.f32"))


def test_vectors_come_back_bit_by_bit(tmp_path: Path) -> None:
    lines = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32)
    with Store.open(tmp_path) as store:
        put(store, ["a", "b", "c"], lines)
        assert get(store, ["c", "a", "other"]) == [lines[2].tolist(), lines[0].tolist(), None]
        assert get(store, ["a"], "another encoder") == [None]
    with Store.open(tmp_path) as store:
        assert get(store, ["b"]) == [lines[1].tolist()]
        assert store.stats()["vectors"] == 3


def test_a_place_is_committed_when_the_numbers_and_the_names_of_their_file_are_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced, connect, sync = set[int](), sqlite3.connect, os.fsync
    early: list[str] = []

    def noted(handle: int) -> None:
        sync(handle)
        synced.add(os.fstat(handle).st_ino)

    def at_commit(sql: str) -> None:
        if sql != "COMMIT":
            return
        for path in files(tmp_path):
            places = (path, path.parent, path.parent.parent, tmp_path)
            early.extend(str(place) for place in places if place.stat().st_ino not in synced)
        synced.clear()

    def traced(*given: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*given, **named)
        connection.set_trace_callback(at_commit)
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", traced)
        patch.setattr(os, "fsync", noted)
        with Store.open(tmp_path) as store:
            put(store, ["a"], [[1, 2]])
            assert files(tmp_path) and not early
            put(store, ["b"], [[3, 4]])
    # The second one changes numbers only: the names are there.
    assert [Path(place).suffix for place in early] == ["", "", ""]


def test_the_first_durable_vector_wins(tmp_path: Path) -> None:
    with Store.open(tmp_path) as one, Store.open(tmp_path) as other:
        put(one, ["a", "b"], [[1, 2], [3, 4]])
        put(other, ["b", "c"], [[9, 9], [5, 6]])
        for store in (one, other):
            assert get(store, ["a", "b", "c"]) == [[1, 2], [3, 4], [5, 6]]
    assert len(files(tmp_path)) == 2, "each writes a file of its own"


def test_equal_texts_of_a_batch_have_one_vector(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        places = put(store, ["a", "b", "a"], [[1, 2], [3, 4], [1, 2]])
        assert places[0] == places[2] != places[1]
        assert files(tmp_path)[0].stat().st_size == 2 * 2 * 4


def test_nothing_of_a_rolled_back_transaction_is_found(tmp_path: Path) -> None:
    encoded = EncodedVectors(vector_keys(E, ["a"]), [[1, 2]], [False], 0)
    with Store.open(tmp_path) as store:

        def broken(connection: sqlite3.Connection) -> None:
            store.vectors.save(connection, E, encoded)
            raise RuntimeError("after the file was written")

        with pytest.raises(RuntimeError, match="after the file"):
            store.commit_now(broken)
        assert get(store, ["a"]) == [None]
        put(store, ["b"], [[3, 4]])
        assert get(store, ["a", "b"]) == [None, [3, 4]]
        assert store.compact() == 0
        assert [path.stat().st_size for path in files(tmp_path)] == [8]


def test_a_torn_tail_is_never_read_and_cut_off(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        put(store, ["a"], [[1, 2]])
    with files(tmp_path)[0].open("ab") as file:
        file.write(b"half a line")
    with Store.open(tmp_path) as store:
        put(store, ["b"], [[3, 4]])
        assert get(store, ["a", "b"]) == [[1, 2], [3, 4]]
        store.compact()
        assert get(store, ["a", "b"]) == [[1, 2], [3, 4]]
        assert [path.stat().st_size for path in files(tmp_path)] == [16]
        put(store, ["c"], [[5, 6]])
        assert get(store, ["a", "b", "c"]) == [[1, 2], [3, 4], [5, 6]]


def test_what_is_no_vector_is_remembered_until_there_is_one(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        places = put(store, ["a", "b"], [[np.nan, 1], [1, 2]])
        assert places[0] == -1
        assert put(store, ["a"], [[np.inf, 1]], attempt=2)[0] == -3
        assert put(store, ["a"], [[7, 8]], attempt=3)[0] > 0
        assert put(store, ["a"], [[np.nan, 1]], attempt=4)[0] > 0, "a vector stays one"
        assert get(store, ["a", "b"]) == [[7, 8], [1, 2]]


def test_a_cut_text_is_marked(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        put(store, ["a", "b"], [[1, 2], [3, 4]], cut=[False, True])
        places = store.vectors.find(vector_keys(E, ["a", "b", "c"]))
        assert is_cut(places).tolist() == [False, True, False]
        assert get(store, ["b"]) == [[3, 4]]


def test_another_dimension_says_what_happened(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        put(store, ["a"], [[1, 2]])
        with pytest.raises(StoppedShort, match=r"of 3 numbers.*have 2.*identity"):
            put(store, ["b"], [[1, 2, 3]])
        with pytest.raises(StoppedShort, match=r"of 1 and 2 numbers; they must have one length"):
            put(store, ["b", "c"], [[1], [1, 2]])
        with pytest.raises(StoppedShort, match=r"of 0 numbers"):
            put(store, ["b"], [[]])
        put(store, ["b"], [[1, 2, 3]], encoder="another")
        assert get(store, ["a", "b"]) == [[1, 2], None]


def test_what_are_no_vectors_ends_the_run_in_words(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        with pytest.raises(StoppedShort, match="gave 1 values for 2 texts"):
            put(store, ["a", "b"], [[1, 2]])
        with pytest.raises(StoppedShort, match="values that are not vectors"):
            put(store, ["a"], [0.5])


@pytest.mark.parametrize("times", [1, 9])
def test_a_full_disk_keeps_what_arrived_if_it_can(
    times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, left = os.pwrite, [times]

    def full(file: int, data: Any, at: int) -> int:
        left[0] -= 1
        if left[0] >= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(file, data, at)

    with Store.open(tmp_path) as store:
        monkeypatch.setattr(os, "pwrite", full)
        if times == 1:
            put(store, ["a"], [[1, 2]])
        else:
            with pytest.raises(DiskFull, match="Free some space"):
                put(store, ["a"], [[1, 2]])
        assert store.full, "nothing more is to be sent"
        assert get(store, ["a"]) == ([[1, 2]] if times == 1 else [None])


def test_a_file_that_went_names_the_way_out(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        put(store, ["a"], [[1, 2]])
        put(store, ["b"], [[1, 2, 3]], encoder="another")
    files(tmp_path)[0].unlink()
    with Store.open(tmp_path) as store:
        gone = [name for name in (E, "another") if _breaks(store, name)]
        assert len(gone) == 1
        store.compact()
        left = {E: get(store, ["a"]), "another": get(store, ["b"], "another")}
        assert left.pop(gone[0]) == [None], "it will be encoded again"
        assert left in ({E: [[1, 2]]}, {"another": [[1, 2, 3]]})


def _breaks(store: Store, encoder: str) -> bool:
    try:
        get(store, ["a", "b"], encoder)
    except StoreError as error:
        assert "curate store gc" in str(error)
        return True
    return False


def test_blocks_are_the_lines_that_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors_module, "_BLOCK", 4)
    with Store.open(tmp_path) as store:
        texts = [str(number) for number in range(11)]
        places = put(store, texts, np.arange(33).reshape(11, 3))
        places = np.concatenate([np.full(5, MISSING), places[::-1]])
        blocks = list(store.vectors.blocks(places))
        assert [len(block) for block in blocks] == [4, 4, 4, 4]
        assert np.array_equal(np.concatenate(blocks), store.vectors.read(places))
        assert blocks[0].shape == (4, 3), "a block of no vectors is as wide as the others"


def test_a_store_of_the_version_before_gets_its_tables(tmp_path: Path) -> None:
    with Store.open(tmp_path) as store:
        store.put_value("kind", "key", "kept")
    with sqlite3.connect(tmp_path / "store.db") as connection:
        connection.executescript("DROP TABLE vectors; DROP TABLE segments; PRAGMA user_version=1")
    connection.close()
    with Store.open(tmp_path) as store:
        put(store, ["a"], [[1, 2]])
        assert get(store, ["a"]) == [[1, 2]]
        assert store.value("kind", "key") == "kept"


def test_what_was_read_in_part_is_known_and_moves_with_its_vector(tmp_path: Path) -> None:
    keys = vector_keys("e", ["a", "b", "c"])
    for number, read in enumerate(({0: 7}, {}, {0: 9})):  # a segment for each
        with Store.open(tmp_path) as store:
            one = EncodedVectors([keys[number]], [[number, 1.0]], [False], 0, read)
            store.commit_now(functools.partial(store.vectors.save, encoder="e", encoded=one))
    with Store.open(tmp_path) as store:
        before = store.vectors.find(keys)
        assert store.vectors.tokens_read(before).tolist() == [7, 0, 9]
        store.commit_now(store.vectors.compact)
        after = store.vectors.find(keys)
        assert (before != after).any()
        assert store.vectors.tokens_read(after).tolist() == [7, 0, 9]
        many = store.vectors.tokens_read(np.repeat(after, 400))
        assert many.tolist() == [7] * 400 + [0] * 400 + [9] * 400
        store.commit_now(lambda connection: store.vectors.forget(connection, "e"))
        assert not store.vectors.tokens_read(after).any()


def test_a_request_is_answered_when_each_of_its_texts_is_there(tmp_path: Path) -> None:
    asked = Embed(texts=("a", "b"))
    with Store.open(tmp_path) as store:
        put(store, ["a"], [[1, 2]])
        assert keep.find(store, {"k": keep.Wanted(asked, E)}) == {}
        put(store, ["b", "c"], [[3, 4], [np.nan, 0]])
        found = keep.find(store, {"k": keep.Wanted(asked, E, least=5)})["k"]
        assert found.reply == Reply(values=([1, 2], [3, 4]))
        none = keep.find(store, {"k": keep.Wanted(Embed(texts=("a", "c")), E)})["k"]
        assert (none.attempt, none.reply.finish_reason) == (0, keep.NO_VECTOR)
        assert keep.find(store, {"k": keep.Wanted(Embed(texts=("c",)), E, least=1)}) == {}


def test_replies_of_both_kinds_are_stored_in_one_transaction(tmp_path: Path) -> None:
    from curate.ask import Ask

    vectors = Reply(values=([1.5, 2.0],), cut=(0,), input_tokens=3)
    paid = [
        Paid("0" * 32, 0, vectors, Embed(texts=("a",)), E),
        Paid("1" * 32, 0, Reply(text="hi"), Ask.text("hello"), "judge"),
    ]
    with Store.open(tmp_path) as store:
        vector, text = store.commit_now(lambda c: keep.save(store, c, paid))
        assert vector.reply == Reply(values=([1.5, 2.0],), cut=(0,), input_tokens=3)
        again = keep.find(store, {"k": keep.Wanted(Embed(texts=("b", "a")), E)})
        assert again == {}
        put(store, ["b"], [[0, 1]])
        again = keep.find(store, {"k": keep.Wanted(Embed(texts=("b", "a")), E)})
        assert again["k"].reply.cut == (1,), "a replay knows it, too"
        assert text.reply == Reply(text="hi")
        assert is_cut(store.vectors.find(vector_keys(E, ["a"]))).all()
        assert store.stats()["replies"] == 1, "a vector is not JSON"


TEXTS = st.sampled_from("abcdefg")


@settings(max_examples=30)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.lists(TEXTS, min_size=1, max_size=4)),
            st.tuples(st.just("reopen"), st.just([])),
            st.tuples(st.just("gc"), st.just([])),
        ),
        max_size=12,
    )
)
def test_it_is_a_dictionary_of_first_values(
    tmp_path_factory: pytest.TempPathFactory, actions: list[tuple[str, list[str]]]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    known: dict[str, list[float]] = {}
    store = Store.open(folder)
    for number, (action, texts) in enumerate(actions):
        if action == "put":
            # Chance decides nothing here: the last of equal texts in a batch has the line's value.
            lines = {text: [float(number), float(ord(text))] for text in texts}
            put(store, texts, [lines[text] for text in texts])
            known = {**lines, **known}
        elif action == "gc":
            store.compact()
        else:
            store.close()
            store = Store.open(folder)
    assert get(store, list("abcdefg")) == [known.get(text) for text in "abcdefg"]
    store.close()


def test_a_copy_of_a_store_in_use_holds_every_vector_that_it_names(tmp_path: Path) -> None:
    """A writer goes on while the copy is made; what the copy knows of, it has."""
    texts = [f"text {n}" for n in range(400)]
    with Store.open(tmp_path / "store") as store:
        put(store, texts[:5], [[float(n)] for n in range(5)])

        def write() -> None:
            with Store.open(tmp_path / "store") as other:
                for n in range(5, 400):
                    put(other, [texts[n]], [[float(n)]])

        with ThreadPoolExecutor(1) as pool:
            writing = pool.submit(write)
            copies = [tmp_path / f"copy-{n}" for n in range(3)]
            for copy in copies:
                store.copy_to(copy)
            writing.result()
    counts = []
    for copy in copies:
        assert not list(copy.glob("*-wal"))
        with Store.open(copy) as opened:
            found = get(opened, texts)
            there = [line for line in found if line is not None]
            assert there == [[float(n)] for n in range(len(there))]
            counts.append(len(there))
            # It is a store of its own: what is added to it is not in the first.
            put(opened, ["more"], [[7.0]])
    assert 5 <= counts[0] <= counts[1] <= counts[2] <= 400
    with Store.open(tmp_path / "store") as store:
        assert get(store, ["more"]) == [None] and store.stats()["vectors"] == 400
