"""Texts in a sketch become vectors: each distinct text once, whichever way the step gives it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.ask import Embed
from curate.chunk import Chunk, vectors
from curate.engine.kinds import sketch as embedding
from curate.engine.options import Progress
from curate.errors import CeilingReached, RecipeError, StoppedShort
from curate.row import Row
from curate.step import Asking, Verdicts, Whole, dataclass
from curate.store.store import Store
from curate.store.vectors import EncodedVectors, vector_keys
from tests.engine.conftest import assert_conserved
from tests.models.chaos import Answer, Received, Server, as_json, refusal

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


def test_a_wrong_encoder_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    for spec, said in (
        ("nowhere:x", "unknown prefix 'nowhere'"),
        ({"model": "local", "prefix": 3}, "'prefix' is 3; it must be a string"),
    ):
        with pytest.raises(RecipeError, match=said):
            Pipeline([SameVector()], encoders={"e": spec}).run(rows(), run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_no_rows_are_no_error(encoder: dict[str, str], tmp_path: Path) -> None:
    from curate.steps import Length

    SEEN.clear()
    steps = [Length(min=10_000, on="response"), SameVector()]
    result = Pipeline(steps, encoders={"e": encoder}).run(
        rows(), run=tmp_path / "run", store=tmp_path / "store"
    )
    assert result.summary["kept"] == 0
    assert SEEN[0].shape == (0, 1)


def test_a_large_matrix_lies_in_a_file(
    encoder: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SEEN.clear()
    pipeline = Pipeline([SameVector(columns=True)], encoders={"e": encoder})
    pipeline.run(rows((*TEXTS, "")), run=tmp_path / "run", store=tmp_path / "store")
    monkeypatch.setattr(embedding, "IN_MEMORY_BYTES", 0)
    pipeline.run(rows((*TEXTS, "")), run=tmp_path / "again", store=tmp_path / "store")
    assert np.array_equal(SEEN[0], SEEN[1])
    left = {path.suffix for path in (tmp_path / "store" / "vectors").rglob("*") if path.is_file()}
    assert left == {".f32"}


# -- a server that embeds -------------------------------------------------------------------------


def numbers(text: str) -> list[float]:
    """Return a vector of a text, the same one each time."""
    return [float(len(text)), float(sum(text.encode()) % 997)]


class Embeddings:
    """What an embedding server does, with the texts that it was asked for."""

    def __init__(self) -> None:
        self.texts: list[list[str]] = []
        self.broken: set[str] = set()
        self.refused: set[str] = set()
        self.width = 2

    def __call__(self, received: Received) -> Answer:
        texts = received.body["input"]
        self.texts.append(texts)
        if self.refused & set(texts):
            return refusal(400, "too long for this model")
        lines = [[*numbers(text), 0.5][: self.width] for text in texts]
        for line, text in zip(lines, texts, strict=True):
            if text in self.broken:
                line[0] = math.nan
        data = [{"index": n, "embedding": line} for n, line in enumerate(lines)]
        return as_json({"data": data, "usage": {"prompt_tokens": 7 * len(texts)}})


@pytest.fixture
def served() -> Iterator[tuple[Embeddings, dict[str, Any]]]:
    embeddings = Embeddings()
    with Server(embeddings) as server:
        yield embeddings, {"model": "openai:tiny", "base_url": server.url, "batch_size": 8}


MANY = tuple(f"text {'x' * (number % 7)}{number}" for number in range(50))


def over(
    encoder: dict[str, Any], folder: Path, texts: tuple[str, ...] = MANY, **options: Any
) -> Any:
    """Run one embedding step over texts; every run has a folder of its own."""
    pipeline = Pipeline([SameVector(columns=True)], encoders={"e": encoder})
    run = options.pop("run", f"run{len(list(folder.iterdir()))}")
    return pipeline.run(
        rows(texts), run=folder / run, store=folder / "store", allow_failed=1.0, **options
    )


def test_texts_are_sent_in_batches_and_once(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    SEEN.clear()
    result = over(encoder, tmp_path, MANY * 3, chunk_rows=16)
    assert SEEN[0].tolist() == [numbers(text) for text in MANY * 3]
    assert sorted(text for texts in embeddings.texts for text in texts) == sorted(MANY)
    assert max(map(len, embeddings.texts)) == 8
    assert result.summary["requests"]["sent"] == len(embeddings.texts) == 7
    assert result.summary["tokens"]["input"] == 7 * 50
    over(encoder, tmp_path)
    assert len(embeddings.texts) == 7, "another run, the same vectors"


def test_a_refused_text_takes_no_other_with_it(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    SEEN.clear()
    embeddings.refused = {MANY[3], MANY[40]}
    result = over(encoder, tmp_path)
    assert result.summary["failed"] == 2
    assert all("too long for this model" in row["error"] for row in result.failed.to_list())
    assert SEEN[0].tolist() == [numbers(t) for t in MANY if t not in embeddings.refused]
    assert_conserved(result)


def test_no_number_fails_its_rows_until_they_are_asked_again(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    embeddings.broken = {MANY[3]}
    texts = (*MANY, MANY[3])
    assert over(encoder, tmp_path, texts, run="one").summary["failed"] == 2
    asked = len(embeddings.texts)
    again = over(encoder, tmp_path, texts, run="one")
    assert (again.summary["failed"], len(embeddings.texts)) == (2, asked), "it was paid for"
    over(encoder, tmp_path, texts, run="one", retry_failed=True)
    assert embeddings.texts[asked:] == [[MANY[3]]], "only that one, and once"
    embeddings.broken = set()
    mended = over(encoder, tmp_path, texts, run="one", retry_failed=True)
    assert mended.summary["failed"] == 0
    assert embeddings.texts[asked:] == [[MANY[3]], [MANY[3]]]
    assert SEEN[-1][3].tolist() == numbers(MANY[3])


@pytest.mark.parametrize("width", [1, 3])
def test_another_dimension_stops_the_run_and_says_so(
    width: int, served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    over(encoder, tmp_path)
    embeddings.width = width
    with pytest.raises(StoppedShort, match=f"of {width} numbers.*identity: NAME"):
        over(encoder, tmp_path, ("new",))
    over({**encoder, "identity": "new model"}, tmp_path, ("new",))
    assert SEEN[-1].shape == (1, width)


def test_a_prefix_goes_before_each_text_and_has_vectors_of_its_own(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    over(encoder, tmp_path, ("a",))
    over({**encoder, "prefix": "query: "}, tmp_path, ("a", ""))
    assert embeddings.texts == [["a"], ["query: a"]]
    assert SEEN[-1].tolist() == [numbers("query: a"), [0, 0]]


def test_a_ceiling_stops_between_batches(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    embeddings, encoder = served
    with pytest.raises(CeilingReached):
        over(encoder, tmp_path, run="one", max_requests=3)
    assert len(embeddings.texts) == 3
    over(encoder, tmp_path, run="one")
    assert sorted(text for texts in embeddings.texts for text in texts) == sorted(MANY)


def test_progress_counts_texts(served: tuple[Embeddings, dict[str, Any]], tmp_path: Path) -> None:
    _, encoder = served
    seen: list[tuple[int, int, int]] = []

    def listen(progress: Progress) -> None:
        seen.append((progress.texts, progress.encoded, progress.expected_rows))

    over(encoder, tmp_path, MANY * 2, progress=listen)
    assert seen[-1] == (50, 50, 100)
    seen.clear()
    over(encoder, tmp_path, MANY * 2, progress=listen)
    assert seen[-1] == (0, 0, 100), "the store has them"


def test_texts_that_were_cut_are_remarked_on(tmp_path: Path) -> None:
    keys = vector_keys("hf:x", ["red", "green"])
    with Store.open(tmp_path / "store") as store:
        encoded = EncodedVectors(keys, [[1, 0], [0, 1]], [True, False], 0)
        store.commit_now(lambda c: store.vectors.save(c, "hf:x", encoded))
    encoder = {**scripted(tmp_path, {"blue": [1, 1]}), "identity": "hf:x"}
    texts = ("red", "green", "blue", "red")
    summary = over(encoder, tmp_path, texts).summary
    said = "2 of 4 texts are longer than the encoder reads: their vectors are of the beginning only"
    assert summary["steps"][0]["remarks"] == [said]
    assert "remarks" not in over(encoder, tmp_path, ("green", "blue")).summary["steps"][0]


def test_what_will_be_asked_is_known_before(
    served: tuple[Embeddings, dict[str, Any]], tmp_path: Path
) -> None:
    _, encoder = served
    asked = over(encoder, tmp_path, dry_run=True).summary["estimate"]
    assert asked["requests"] == 6, "50 texts, 8 at once"
    over(encoder, tmp_path, MANY[:49])
    assert over(encoder, tmp_path, dry_run=True).summary["estimate"]["requests"] == 1
    over(encoder, tmp_path)
    assert over(encoder, tmp_path, dry_run=True).summary["estimate"]["requests"] == 0
