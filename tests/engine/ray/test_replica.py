"""A node opens the model of the command, or says why it has another one."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Reply
from curate.engine.ray.replica import ModelTask, Replica
from curate.engine.ray.task import versions
from curate.errors import PermanentFault, RecipeError, StoppedShort
from curate.models.model import ModelSpec, info_of, open_model, options_of_prefix, parse_spec
from tests.house.places import ROOT

from .conftest import ECHO, environment


@pytest.fixture(autouse=True)
def echo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ECHO))


def task(spec: Any, folder: Path, **changes: Any) -> ModelTask:
    parsed = parse_spec(spec)
    found = ModelTask(parsed, folder, info_of(spec, folder=folder), versions())
    return found._replace(**changes)


def opened(replica: Replica) -> Exception | None:
    return asyncio.run(replica.open())


def asked(replica: Replica, text: str) -> Any:
    async def ask() -> Any:
        try:
            return await replica.answer(Ask.text(text), "key", 0)
        finally:
            await replica.close()

    return asyncio.run(ask())


def test_replies_and_faults_are_handed_over(tmp_path: Path) -> None:
    for text, found in [("hi", Reply), ("refused", PermanentFault)]:
        replica = Replica(task("echo:any", tmp_path), None)
        assert opened(replica) is None
        assert isinstance(asked(replica, text), found)
    replica = Replica(task("echo:broken", tmp_path), None)
    assert opened(replica) is None
    assert "cannot be loaded: OSError: no such weights" in str(asked(replica, "hi"))


def test_other_weights_are_refused(tmp_path: Path) -> None:
    weights = tmp_path / "model" / "model.safetensors"
    weights.parent.mkdir()
    weights.write_bytes(b"one")
    sent = task("vllm:model", tmp_path)
    weights.write_bytes(b"other")
    error = opened(Replica(sent, None))
    assert isinstance(error, StoppedShort)
    assert "has another model than the command: vllm:model " in str(error)
    assert "put the same folder at the same path on every node" in str(error)
    # A folder that is not there is no model of the Hub that happens to be called like it.
    weights.unlink()
    weights.parent.rmdir()
    told = str(opened(Replica(sent, None)))
    assert "has another model than the command: vllm:model instead" in told


def test_other_versions_are_refused(tmp_path: Path) -> None:
    sent = task("echo:any", tmp_path, versions={**versions(), "numpy": "0.1"})
    assert "instead of 0.1; rows could differ" in str(opened(Replica(sent, None)))


def test_a_node_that_lacks_what_the_model_needs(tmp_path: Path) -> None:
    spec = ModelSpec("gone", "any", "gone:any")
    error = opened(Replica(task("echo:any", tmp_path)._replace(spec=spec), None))
    assert isinstance(error, StoppedShort)
    assert "cannot open the model gone:any" in str(error)


SHARES = """
import asyncio, os
from pathlib import Path
from curate.engine.ray.replica import Replica, Share
from tests.engine.ray.test_replica import task

cores = sorted(os.sched_getaffinity(0))
if len(cores) > 1:
    for number in range(2):
        os.sched_setaffinity(0, cores)
        replica = Replica(task("echo:any", Path()), Share(number, 2, len(cores)))
        assert asyncio.run(replica.open()) is None
        half = len(cores) // 2
        assert os.sched_getaffinity(0) == set(cores[number * half :][:half])
        assert os.environ["OMP_NUM_THREADS"] == str(half)
        os.sched_setaffinity(0, cores)
# One alone, and more of them than cores, are not bound.
for share, threads in ((Share(0, 1, 3), 3), (Share(0, 500, 3), 1)):
    assert asyncio.run(Replica(task("echo:any", Path()), share).open()) is None
    assert sorted(os.sched_getaffinity(0)) == cores
    assert os.environ["OMP_NUM_THREADS"] == str(threads)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="cores are told on Linux only")
def test_replicas_on_one_node_have_cores_of_their_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHARES], env=environment(), cwd=ROOT, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


class TestOption:
    def test_it_belongs_to_models_of_this_process(self) -> None:
        for prefix in ("vllm", "hf", "local", "scar", "echo"):
            assert "replicas" in options_of_prefix(prefix)
        for prefix in ("openai", "scripted", "record"):
            assert "replicas" not in options_of_prefix(prefix)
        with pytest.raises(RecipeError, match="unknown option 'replicas'"):
            parse_spec({"model": "openai:m", "replicas": 2})

    @pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
    def test_it_is_a_whole_number(self, value: object) -> None:
        with pytest.raises(
            RecipeError, match=r"'replicas' is .*; it must be a whole number from 1"
        ):
            parse_spec({"model": "vllm:m", "replicas": value})

    def test_it_is_in_no_key_and_changes_nothing_here(self) -> None:
        assert info_of({"model": "echo:m", "replicas": 7}) == info_of("echo:m")
        assert info_of({"model": "vllm:m", "replicas": 7}) == info_of("vllm:m")
        assert open_model({"model": "echo:m", "replicas": 7}).info == info_of("echo:m")

    def test_gpus_are_those_of_the_model(self) -> None:
        assert info_of({"model": "vllm:m", "tensor_parallel_size": 4}).gpus == 4
        assert info_of("hf:m").gpus == info_of("vllm:m").gpus == info_of("local").gpus == 1
        assert info_of({"model": "hf:m", "device": "cpu"}).gpus == 0
        assert info_of("openai:m").gpus == 0
