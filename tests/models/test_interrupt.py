"""Ctrl-C while a model in this process loads or writes: an end without a traceback, then more."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.models.providers import local
from tests.models.interrupts import (
    STUCK,
    check_an_interrupted_batch,
    interrupted_at,
    recipe,
)
from tests.models.providers.test_local import NEEDS_LOCAL
from tests.models.tiny import save_tiny


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("writer"), "LlamaForCausalLM", 1024)


@pytest.mark.slow
def test_an_interrupted_batch_keeps_the_replies_that_were_done(tiny: Path, tmp_path: Path) -> None:
    command = recipe(tmp_path, 400, model=f"hf:{tiny}", temperature=1.0, threads=1, stop=["e"])
    check_an_interrupted_batch(command, tmp_path)


@pytest.mark.slow
def test_weights_that_are_being_read_hold_nobody_up(tiny: Path, tmp_path: Path) -> None:
    command = recipe(tmp_path, 400, model=f"hf:{tiny}", threads=1)
    said = interrupted_at("loading", command, tmp_path, STUCK)
    assert "interrupted; the same command continues" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.real
@NEEDS_LOCAL
def test_the_embedded_model_is_interrupted_alike(tmp_path: Path) -> None:
    local.model_folder()
    command = recipe(tmp_path, 400, model="local", temperature=1.0, threads=1, stop=["."])
    check_an_interrupted_batch(command, tmp_path)
