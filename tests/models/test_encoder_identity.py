"""Vectors are stored under a name that holds everything which decides them, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed
from curate.errors import RecipeError
from curate.models.model import info_of, open_model, with_defaults
from curate.models.providers import hf

MINILM = "hf:sentence-transformers/all-MiniLM-L6-v2"


def name_of(spec: Any, folder: Path | None = None) -> str:
    """Return the vectors' name, once the opened model is seen to have the same."""
    known, opened = info_of(spec, folder=folder), open_model(spec, folder=folder)
    assert opened.info == known
    assert known.identity_for(Ask.text("a")) == known.identity
    return known.identity_for(Embed(texts=("a",)))


@pytest.fixture(autouse=True)
def a_machine_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "native_dtype", lambda device=None: "bfloat16")


def test_what_decides_a_vector_is_in_its_name() -> None:
    specs: list[dict[str, Any]] = [
        {},
        {"dtype": "float32"},
        {"revision": "abc"},
        {"max_length": 128},
        {"identity": "mine"},
        {"prefix": "query: "},
    ]
    names = [name_of({"model": MINILM, **spec}) for spec in specs]
    assert len(set(names)) == len(specs)
    # Which prefix it is is part of each text, and so of its key; but one takes the place of the
    # model's own prompt, and "query: a" without it need not be "a" with "query: " before it.
    assert name_of({"model": MINILM, "prefix": "passage: "}) == names[-1]
    same: list[dict[str, Any]] = [{"threads": 1}, {"batch_size": 8}, {"device": "cpu"}]
    assert {name_of({"model": MINILM, **spec}) for spec in same} == {names[0]}
    assert "dtype=bfloat16" in names[0]
    assert names[1] == f"{MINILM} dtype=float32 by sentence-transformers"


def test_another_processor_makes_other_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    here = name_of(MINILM)
    monkeypatch.setattr(hf, "native_dtype", lambda device=None: "float32")
    assert name_of(MINILM) != here


def test_other_weights_make_other_vectors(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "config.json").write_text("{}")
    (tmp_path / "tiny" / "model.safetensors").write_bytes(b"one")
    before = name_of("hf:tiny", tmp_path)
    (tmp_path / "tiny" / "model.safetensors").write_bytes(b"two")
    assert name_of("hf:tiny", tmp_path) != before


def test_the_embedded_encoder_is_the_default_one() -> None:
    assert info_of("local").embed_identity == info_of(MINILM).embed_identity


def test_a_server_goes_by_its_name_and_address() -> None:
    spec = {"model": "openai:small", "base_url": "http://127.0.0.1:9/v1"}
    assert name_of(spec) == "openai:small at http://127.0.0.1:9/v1"


@pytest.mark.parametrize(
    ("spec", "texts", "characters"),
    [
        ({"model": MINILM}, 256, 16_384),
        ({"model": MINILM, "batch_size": 8}, 256, 16_384),
        ({"model": "openai:x", "base_url": "http://h"}, 32, sys.maxsize),
        ({"model": "openai:x", "base_url": "http://h", "batch_size": 8}, 8, sys.maxsize),
    ],
)
def test_an_estimate_knows_how_many_texts_go_together(
    spec: dict[str, Any], texts: int, characters: int
) -> None:
    info = info_of(spec)
    assert (info.embed_texts, info.embed_characters) == (texts, characters)
    assert open_model(spec).info == info


def test_a_prefix_is_for_texts_to_embed_only() -> None:
    defaults = info_of({"model": "openai:x", "base_url": "http://h", "prefix": "q: "}).defaults
    assert with_defaults(Embed(texts=("a", "")), defaults) == Embed(texts=("q: a", "q: "))
    assert with_defaults(Ask.text("a"), defaults) == Ask.text("a")


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"max_length": 0}, "'max_length' is 0"), ({"prefix": 1}, "'prefix' is 1")],
)
def test_a_wrong_value_is_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        open_model({"model": MINILM, **fields})
