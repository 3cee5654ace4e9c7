"""Texts in a sketch become vectors: each distinct text once, whichever way the step gives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.ask import Embed
from curate.chunk import Chunk, vectors
from curate.row import Row
from curate.step import Asking, Verdicts, Whole, dataclass
from tests.engine.conftest import assert_conserved

SEEN: list[np.ndarray] = []


@dataclass(frozen=True, kw_only=True)
class SameVector(Whole):
    """Drop rows whose vector equals an earlier one; remember what it was given."""

    encoder: str | None = None
    columns: bool = False
    yields: bool = False

    source: ClassVar[str] = "our own"

    def sketch_types(self) -> dict[str, str]:
        return {"vector": "list<float>" if self.yields else "embedding"}

    def embeds(self) -> bool:
        return not self.yields

    def sketch(self, row: Row) -> Any:
        text = row.text("response")
        return self._asking(text) if self.yields else {"vector": text}

    def _asking(self, text: str) -> Asking:
        reply = yield Embed(texts=(text,), model=self.encoder)
        return {"vector": reply.values[0]}

    def sketch_many(self, chunk: Chunk) -> dict[str, pa.Array] | None:
        return {"vector": chunk.texts("response")} if self.columns else None

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        if self.yields:
            matrix = np.array(sketches.column("vector").to_pylist(), np.float32)
        else:
            matrix = vectors(sketches, "vector")
        SEEN.append(np.array(matrix))
        _, first, inverse = np.unique(matrix, axis=0, return_index=True, return_inverse=True)
        partner = first[inverse]
        dropped = partner != positions
        return Verdicts(
            code=np.where(dropped, 0, -1),
            reasons=("equal vector",),
            partner=np.where(dropped, partner, -1),
        )


TEXTS = ("red", "green", "blue", "red", "red and green")
VECTORS = {"red and": [0.1, 0.7], "red": [1, 0], "green": [0, 1], "blue": [0, 0]}


@pytest.fixture
def encoder(tmp_path: Path) -> dict[str, str]:
    return scripted(tmp_path, VECTORS)


def scripted(folder: Path, answers: dict[str, Any]) -> dict[str, str]:
    """Return an encoder that answers texts which contain a word, and logs what it is sent."""
    lines = [{"when": {"contains": word}, "values": [v]} for word, v in answers.items()]
    path = folder / "encoder.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"model": f"scripted:{path}", "log": str(folder / "sent.log")}


def rows(texts: tuple[str, ...] = TEXTS) -> list[dict[str, str]]:
    return [{"prompt": "p", "completion": text} for text in texts]


def sent(folder: Path) -> int:
    path = folder / "sent.log"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize("form", [{}, {"columns": True}, {"yields": True, "encoder": "e"}])
def test_every_form_gives_the_same_vectors(
    form: dict[str, Any], encoder: dict[str, str], tmp_path: Path
) -> None:
    SEEN.clear()
    pipeline = Pipeline([SameVector(**form)], encoders={"e": encoder})
    result = pipeline.run(rows(), run=tmp_path / "run", store=tmp_path / "store")
    expected = [[1, 0], [0, 1], [0, 0], [1, 0], [0.1, 0.7]]
    assert SEEN[0].tolist() == np.array(expected, np.float32).tolist()
    assert result.summary["dropped"] == 1
    assert sent(tmp_path) == 4, "each distinct text once"
    assert_conserved(result)
    again = pipeline.run(rows(), run=tmp_path / "again", store=tmp_path / "store")
    assert sent(tmp_path) == 4, "the store has them"
    assert again.summary["dropped"] == 1
    assert np.array_equal(SEEN[0], SEEN[1])


def test_an_empty_text_is_zeros_and_is_not_sent(encoder: dict[str, str], tmp_path: Path) -> None:
    SEEN.clear()
    pipeline = Pipeline([SameVector()], encoders={"e": encoder})
    pipeline.run(rows(("red", "", "  \n")), run=tmp_path / "run", store=tmp_path / "store")
    assert SEEN[0].tolist() == [[1, 0], [0, 0], [0, 0]]
    assert sent(tmp_path) == 1
    pipeline.run(rows(("", "")), run=tmp_path / "run2", store=tmp_path / "store")
    assert SEEN[1].tolist() == [[0], [0]]


@pytest.mark.parametrize("columns", [False, True])
def test_a_text_without_a_vector_fails_its_rows_only(columns: bool, tmp_path: Path) -> None:
    SEEN.clear()
    encoder = scripted(tmp_path, {"red": [1, 0], "green": [float("nan"), 1]})
    result = Pipeline([SameVector(columns=columns)], encoders={"e": encoder}).run(
        rows(), run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0
    )
    assert SEEN[0].tolist() == [[1, 0], [1, 0], [1, 0]]
    assert result.summary["failed"] == 2, "one is refused, one is not a number"
    errors = {row["error"] for row in result.failed.to_list()}
    assert any("not finite" in error for error in errors)
    assert any("no line" in error for error in errors)
    assert_conserved(result)


def test_a_recipe_without_encoders_gets_the_default_one() -> None:
    resolved = Pipeline([SameVector()]).resolved()
    assert resolved.steps[0].reads_models() == ("minilm",)
    assert resolved.encoders == {"minilm": "hf:sentence-transformers/all-MiniLM-L6-v2"}
    assert resolved.resolved() == resolved
    bare = Pipeline([SameVector(yields=True)])
    assert bare.resolved().encoders is None, "it does not say that it embeds"


def test_two_encoders_must_be_told_apart() -> None:
    pipeline = Pipeline([SameVector()], encoders={"one": "local", "two": "local"})
    with pytest.raises(Exception, match="several: one, two; name one"):
        pipeline.resolved()


def test_no_rows_are_no_error(encoder: dict[str, str], tmp_path: Path) -> None:
    from curate.steps import Length

    SEEN.clear()
    steps = [Length(min=10_000, on="response"), SameVector()]
    result = Pipeline(steps, encoders={"e": encoder}).run(
        rows(), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert result.summary["kept"] == 0
    assert SEEN[0].shape == (0, 1)
