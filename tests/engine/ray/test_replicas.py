"""Replicas of a model on a cluster with pretended GPUs: who answers, and what when they die."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from curate.ask import Ask, Embed, Reply
from curate.engine.ray.places import Need, Places
from curate.engine.ray.replica import ModelTask
from curate.engine.ray.task import versions
from curate.errors import PermanentFault, StoppedShort, TemporaryFault
from curate.models.model import info_of, parse_spec

from .conftest import ECHO, environment, lines

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed"),
]
GPUS = 3


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """Join a cluster of one node, in this process."""
    import ray

    from curate.engine.ray.joining import _ENVIRONMENT

    folder, before = tempfile.mkdtemp(prefix="ray-", dir="/tmp"), dict(os.environ)
    os.environ.update(environment(**_ENVIRONMENT))
    sys.path.insert(0, str(ECHO))
    try:
        ray.init(
            address="local", num_cpus=1, num_gpus=GPUS, include_dashboard=False, _temp_dir=folder,
            object_store_memory=80 << 20, log_to_driver=False,
        )  # fmt: skip
        yield
    finally:
        ray.shutdown()
        sys.path.remove(str(ECHO))
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Any]:
    """Return what makes replicas of an echo, with a log."""
    from curate.engine.ray.replicas import Replicas, living_nodes

    def make(replicas: int, patience: float = 60.0, gpus: int = 1, **options: Any) -> Replicas:
        spec = {"model": "echo:any", "log": str(tmp_path / "log"), **options}
        task = ModelTask(parse_spec(spec), tmp_path, info_of(spec), versions())
        places = Places(living_nodes)
        seats = places.allot([Need("m", gpus, replicas)])["m"]
        task = task._replace(info=task.info.__class__(**{**vars(task.info), "gpus": gpus}))
        return Replicas("m", task, seats, places, patience)

    return make


def run(model: Any, work: Any) -> Any:
    """Do some work with a model, and close it."""

    async def both() -> Any:
        try:
            return await work
        finally:
            await model.close()

    return asyncio.run(both())


async def ask_all(model: Any, texts: list[str]) -> list[Any]:
    asked = [model.answer(Ask.text(text), key=text, attempt=0) for text in texts]
    return await asyncio.gather(*asked, return_exceptions=True)


def processes(log: Path) -> list[int]:
    """Return the process of each request that was begun, in order."""
    return [int(line.split()[0]) for line in lines(log)]


def live(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


TEXTS = [f"text {n}" for n in range(40)]
SAID = [Reply(text=f"You said {text}", input_tokens=len(text), output_tokens=2) for text in TEXTS]


def test_all_replicas_answer_as_one(made: Callable[..., Any], tmp_path: Path) -> None:
    model = made(2, seconds=0.01)
    assert model.info.max_concurrency == 2 * info_of("echo:any").max_concurrency
    assert model.info.identity.startswith("echo:any 1 ")
    assert run(model, ask_all(model, TEXTS)) == SAID
    shares = Counter(processes(tmp_path / "log"))
    # Requests of one length are dealt out evenly.
    assert list(shares.values()) == [20, 20]
    time.sleep(0.5)
    assert not any(map(live, shares)), "a replica outlived its model"


def test_faults_come_back_as_they_are(made: Callable[..., Any]) -> None:
    model = made(1)
    one, all_, busy, fine = run(
        model, ask_all(model, ["refused", "refused for everybody", "busy", "text 0"])
    )
    assert isinstance(one, PermanentFault) and not one.for_all
    assert isinstance(all_, PermanentFault) and all_.for_all
    assert isinstance(busy, TemporaryFault)
    assert (busy.cause, busy.retry_after) == ("rate_limit", 0.25)
    assert fine == SAID[0]


def test_vectors(made: Callable[..., Any]) -> None:
    model = made(1)
    reply = run(model, model.answer(Embed(texts=("a", "bcd")), key="k", attempt=0))
    assert reply.values == ((1.0, 1.0), (3.0, 1.0))


def test_one_is_killed_and_everything_is_answered(made: Callable[..., Any], tmp_path: Path) -> None:
    model, log = made(2, seconds=0.1), tmp_path / "log"

    async def work() -> list[Any]:
        asked = asyncio.create_task(ask_all(model, TEXTS))
        while not asked.done() and (len(set(processes(log))) < 2 or len(lines(log)) < 8):
            await asyncio.sleep(0.02)
        os.kill(processes(log)[0], signal.SIGKILL)
        found = await asked
        # Only what was under way was begun again.
        begun = Counter(line.split(" ", 2)[2] for line in lines(log))
        assert len(begun) == len(TEXTS) and sum(begun.values()) <= len(TEXTS) + 4
        # Another one takes the place.
        end = time.monotonic() + 60
        while len(set(processes(log))) < 3 and time.monotonic() < end:
            await ask_all(model, TEXTS[:2])
        return found

    assert run(model, work()) == SAID
    assert len(set(processes(log))) == 3


def test_one_that_always_dies_ends_the_run(made: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "deadly").touch()
    model = made(1, deadly=str(tmp_path / "deadly"))
    found = run(model, ask_all(model, TEXTS[:3]))
    assert all(isinstance(one, StoppedShort) for one in found)
    assert "a replica of model 'm' died 4 times without a reply between them" in str(found[0])
    assert "run the same command again" in str(found[0])
    assert len(set(processes(tmp_path / "log"))) == 4


def test_a_request_that_kills_fails_alone(made: Callable[..., Any], tmp_path: Path) -> None:
    model = made(2, fatal="poison", seconds=0.01)

    async def work() -> tuple[Any, list[Any]]:
        bad = asyncio.create_task(ask_all(model, ["poison"]))
        good: list[Any] = []
        while not bad.done():
            good += await ask_all(model, TEXTS[:3])
        return (await bad)[0], good

    bad, good = run(model, work())
    assert isinstance(bad, PermanentFault)
    assert "4 times a replica died that had this request" in str(bad)
    assert good == SAID[:3] * (len(good) // 3)
    # Losses count while others are answered.
    assert sum("poison" in line for line in lines(tmp_path / "log")) >= 4


def test_what_cannot_be_placed_ends_in_words(made: Callable[..., Any]) -> None:
    other = made(2)

    async def work() -> list[Any]:
        await ask_all(other, TEXTS[:1])
        model = made(2, patience=6.0)
        try:
            return await ask_all(model, TEXTS[:2])
        finally:
            await model.close()

    found = run(other, work())
    assert all(isinstance(one, StoppedShort) for one in found)
    assert "1 of 2 replicas of model 'm' were placed within 6 s" in str(found[0])
    assert "name fewer 'replicas'" in str(found[0])


def test_another_model_on_a_node_is_refused(made: Callable[..., Any]) -> None:
    model = made(1)
    info = model._task.info.__class__(**{**vars(model._task.info), "identity": "echo:other"})
    model._task = model._task._replace(info=info)
    (found,) = run(model, ask_all(model, ["hi"]))
    assert isinstance(found, StoppedShort)
    assert "has another model than the command: echo:any 1" in str(found)


def test_closing_does_not_wait_for_what_is_computed(
    made: Callable[..., Any], tmp_path: Path
) -> None:
    model, log = made(2, seconds=30.0), tmp_path / "log"

    async def work() -> float:
        asked = asyncio.create_task(ask_all(model, TEXTS[:2]))
        while not asked.done() and len(lines(log)) < 2:
            await asyncio.sleep(0.02)
        asked.cancel()
        began = time.monotonic()
        await model.close()
        return time.monotonic() - began

    assert run(model, work()) < 4.0
    time.sleep(0.5)
    assert not any(map(live, processes(log)))
