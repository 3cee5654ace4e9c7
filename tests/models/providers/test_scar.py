"""The prefix `scar:`: what is known of a ranker before it is loaded, and what is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
import torch

from curate.ask import Reply, Reward
from curate.errors import RecipeError, StoppedShort
from curate.models.inprocess.style_ranker import RankerShape, new_ranker, save_ranker
from curate.models.model import info_of, open_model
from curate.models.providers import hf, scar
from curate.row import Message
from tests.models import tiny

TALK = (Message("user", "a b"), Message("assistant", "c d"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ranker")
    tiny.save_encoder(made / "encoder", "a b c d")
    torch.manual_seed(0)
    save_ranker(*new_ranker(str(made / "encoder"), RankerShape(width=8)), made / "one")
    return made


def answer(where: Path | str, **options: object) -> Reply:
    async def ask() -> Reply:
        model = open_model({"model": f"scar:{where}", "threads": 1, **options})
        try:
            return await model.answer(Reward(messages=TALK), key="k", attempt=0)
        finally:
            await model.close()

    return asyncio.run(ask())


def test_it_scores(folder: Path) -> None:
    reply = answer(folder / "one")
    assert len(reply.values) == 1
    assert reply.input_tokens == 8


def test_identity_follows_weights_and_precision(folder: Path, tmp_path: Path) -> None:
    one = info_of(f"scar:{folder / 'one'}")
    assert one.forms == ("reward",)
    assert one.price is not None
    assert one.price.input == 0
    torch.manual_seed(1)
    save_ranker(*new_ranker(str(folder / "encoder"), RankerShape(width=8)), tmp_path / "one")
    assert info_of(f"scar:{tmp_path / 'one'}").identity != one.identity
    spec = {"model": f"scar:{folder / 'one'}", "dtype": "bfloat16"}
    assert info_of(spec).identity != one.identity
    # How many are computed together is not part of it.
    assert info_of({**spec, "dtype": "float32", "batch_size": 3}).identity == one.identity
    assert info_of({**spec, "identity": "mine"}).identity == "mine dtype=bfloat16"


def test_only_an_identity_of_ones_own_is_the_same_on_every_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def identity(gpu: bool, **options: object) -> str:
        monkeypatch.setattr(hf, "has_gpu", lambda: gpu)
        monkeypatch.setattr(scar, "has_gpu", lambda: gpu, raising=False)
        return info_of({"model": "scar:org/name", **options}).identity

    assert identity(gpu=False) == "scar:org/name dtype=float32 on cpu"
    assert identity(gpu=True) == "scar:org/name dtype=float32 on cuda"
    assert identity(gpu=False, device="cuda:1") == identity(gpu=True)
    assert identity(gpu=True, identity="mine") == identity(gpu=False, identity="mine") == "mine"


@pytest.mark.parametrize("name", ["", "./nowhere", "a/b/c"])
def test_a_name_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"scar:FOLDER"):
        open_model(f"scar:{name}")


def test_what_is_no_ranker_stops_the_run_in_words(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(StoppedShort, match=r"not a style ranker.*curate train scar"):
        answer(tmp_path)
