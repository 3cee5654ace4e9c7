"""What a store's files take, how they are freed, and that a run in progress keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curate import Pipeline
from curate.cli.main import app
from curate.errors import UsageError
from curate.row import Row
from curate.step import Verdicts, Whole, dataclass
from curate.store import maintenance as upkeep
from curate.store.files import DERIVED, alone, used
from curate.store.store import Store
from curate.store.vectors import EncodedVectors, EncoderRoom, vector_keys


def put(store: Store, encoder: str, texts: Sequence[str], width: int = 2) -> None:
    lines = [[float(n)] * width for n in range(1, len(texts) + 1)]
    encoded = EncodedVectors(vector_keys(encoder, texts), lines, [False] * len(texts), 0)
    store.commit_now(lambda c: store.vectors.save(c, encoder, encoded))


def vectors_of(store: Store, encoder: str, texts: Sequence[str]) -> int:
    return int((store.vectors.find(vector_keys(encoder, texts)) > 0).sum())


@pytest.fixture
def store(tmp_path: Path) -> Path:
    folder = tmp_path / "store"
    with Store.open(folder) as one, Store.open(folder) as other:
        put(one, "hf:small", ["a", "b", "c"])
        put(other, "hf:small", ["d"])
        put(one, "hf:large", ["a"], width=5)
    (folder / DERIVED).mkdir()
    (folder / DERIVED / "0.npz").write_bytes(b"x" * 100)
    (folder / DERIVED / "unfinished.tmp").write_bytes(b"x" * 50)
    return folder


def curate(*words: object) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


def test_every_byte_is_told(store: Path) -> None:
    numbers = json.loads(curate("store", "stats", "--store", store, "--json"))
    assert (numbers["vectors"], numbers["neighbours"]) == (5, 1)
    assert numbers["parts"][DERIVED] == 150
    assert numbers["parts"]["vectors"] == 4 * 2 * 4 + 5 * 4
    assert numbers["parts"]["ballast"] == (store / "ballast").stat().st_size
    assert numbers["bytes"] == sum(numbers["parts"].values())
    assert numbers["encoders"] == [
        {"encoder": "hf:large", "width": 5, "vectors": 1, "bytes": 20},
        {"encoder": "hf:small", "width": 2, "vectors": 4, "bytes": 32},
    ]
    assert "4        2        32     hf:small" in curate("store", "stats", "--store", store)


def test_neighbours_go_on_request_and_drafts_always(store: Path) -> None:
    curate("store", "gc", "--store", store)
    assert [path.name for path in (store / DERIVED).iterdir()] == ["0.npz"]
    told = curate("store", "gc", "--store", store, "--neighbours")
    assert "1 files of neighbours deleted; a run finds them again" in told
    assert list((store / DERIVED).iterdir()) == []
    with Store.open(store) as opened:
        assert opened.stats()["vectors"] == 5


def test_one_encoders_vectors_go_and_the_others_stay(store: Path) -> None:
    told = curate("store", "gc", "--store", store, "--encoder", "hf:s")
    assert "4 vectors of hf:small deleted; a run asks for them again" in told
    with Store.open(store) as opened:
        assert vectors_of(opened, "hf:small", "abcd") == 0
        assert vectors_of(opened, "hf:large", "a") == 1
        assert opened.vectors.by_encoder() == [EncoderRoom("hf:large", 5, 1)]
        assert len(list(store.glob("vectors/*/*.f32"))) == 1
        put(opened, "hf:small", ["a"], width=3)
        assert vectors_of(opened, "hf:small", "ab") == 1, "they come back, of any length"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hf:", "several encoders begin with 'hf:'"),
        ("x", "no encoder in the store begins with 'x'"),
    ],
)
def test_an_encoder_that_is_not_clear_frees_nothing(store: Path, name: str, said: str) -> None:
    with Store.open(store) as opened:
        with pytest.raises(UsageError, match=f"{said}; give one of: hf:large; hf:small"):
            upkeep.free_vectors(opened, name)
        assert opened.stats()["vectors"] == 5


def test_a_whole_name_is_taken_though_another_begins_with_it(store: Path) -> None:
    with Store.open(store) as opened:
        put(opened, "hf:small dtype=float32", ["a"])
        assert upkeep.free_vectors(opened, "hf:small") == ("hf:small", 4)
        assert vectors_of(opened, "hf:small dtype=float32", "a") == 1


TRIED: list[int] = []


@dataclass(frozen=True, kw_only=True)
class Meddler(Whole):
    """Try to free the store in the middle of a run that uses it."""

    store: str
    encoder: str | None = None

    source: ClassVar[str] = "our own"

    def sketch_types(self) -> dict[str, str]:
        return {"vector": "embedding"}

    def sketch(self, row: Row) -> dict[str, Any]:
        return {"vector": row.text("response")}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        words = ["store", "gc", "--store", self.store, "--encoder", "scripted", "--neighbours"]
        done = CliRunner().invoke(app, words)
        TRIED.append(done.exit_code)
        assert "a run in progress uses the store" in done.output
        return Verdicts(np.full(len(positions), -1))


def test_nothing_is_freed_under_a_run(tmp_path: Path) -> None:
    replies = tmp_path / "replies.jsonl"
    replies.write_text(json.dumps({"when": {"contains": "red"}, "values": [[1, 0]]}) + "\n")
    pipeline = Pipeline(
        [Meddler(store=str(tmp_path / "store"))],
        encoders={"e": {"model": f"scripted:{replies}", "identity": "scripted:e"}},
    )
    rows = [{"instruction": "Name one.", "output": "red"}]
    TRIED.clear()
    pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store")
    assert TRIED == [2]
    told = curate("store", "gc", "--store", tmp_path / "store", "--encoder", "scripted")
    assert "1 vectors of" in told


def test_runs_share_the_store(tmp_path: Path) -> None:
    held, refused = alone(tmp_path), pytest.raises(UsageError, match="nothing was deleted")
    with used(tmp_path), used(tmp_path), refused, held:
        pass
    with alone(tmp_path), pytest.raises(UsageError), alone(tmp_path):
        pass
