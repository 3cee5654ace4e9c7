"""A dry run refuses what a run refuses, writes nothing, and says how long models would take."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Ask, Reply, Request
from curate.errors import CurateError, FolderTaken, RecipeError, UsageError
from curate.models.model import ModelInfo
from curate.row import Row
from curate.step import Asking, Filter, dataclass, rule
from curate.steps import Length

ROWS = [{"instruction": f"Say {n}.", "output": "one two three"} for n in range(40)]


@dataclass(frozen=True, kw_only=True)
class Judge(Filter):
    """Ask for a number."""

    model: str = "judge"
    max_tokens: int | None = 8
    at_least: float | None = rule(3.0)

    def score(self, row: Row) -> Asking:
        reply = yield Ask.text(row.whole, model=self.model, max_tokens=self.max_tokens)
        return float(reply.text)

    def keep(self, score: float | None) -> str | None:
        return None


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def go(model: Any, steps: Any = None, **options: Any) -> dict[str, Any]:
        pipeline = Pipeline(steps or [Judge()], models={"judge": model})
        return dict(pipeline.run(ROWS, run="runs/a", dry_run=True, **options).summary)

    return go


SERVER = {"model": "openai:m", "base_url": "http://127.0.0.1:9/v1", "max_concurrency": 4}
PRICED = {**SERVER, "price": {"input": 1.0, "output": 2.0}}


@pytest.mark.parametrize(
    ("model", "steps", "options", "said"),
    [
        ("openai:m", None, {}, "OPENAI_API_KEY"),
        (SERVER, None, {"max_cost": 1.0}, "has no known price, so --max-cost cannot be kept"),
        (PRICED, [Judge(max_tokens=None)], {"max_cost": 1.0}, "has no 'max_tokens'"),
        ({"model": "scripted:gone.jsonl"}, None, {}, "cannot read the scripted replies"),
        (PRICED, None, {"max_cost": -1.0}, "--max-cost"),
    ],
)
def test_what_a_run_refuses_is_refused(
    plan: Callable[..., Any], model: Any, steps: Any, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(CurateError, match=said) as caught:
        plan(model, steps, **options)
    assert caught.value.exit_code == 2
    pipeline = Pipeline(steps or [Judge()], models={"judge": model})
    with pytest.raises((RecipeError, UsageError), match=said):
        pipeline.run(ROWS, run="runs/a", **options)
    assert not Path("runs").exists()


def test_a_taken_folder_is_refused(plan: Callable[..., Any]) -> None:
    Pipeline([Length(min=2)]).run(ROWS, run="runs/a")
    with pytest.raises(FolderTaken, match="holds a run of other models and steps"):
        plan(SERVER)
    assert plan(SERVER, replace=True)["estimate"]["requests"] == 40
    Path("runs/a/kept/thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.txt was written by no run"):
        plan(SERVER, replace=True)


def test_time_on_a_server_is_assumed_and_said(plan: Callable[..., Any]) -> None:
    # 40 requests of a second and 8 tokens at 50 a second, 4 at once.
    told = plan(SERVER)["time"]["judge"]
    assert told["seconds"] == pytest.approx(40 * (1 + 8 / 50) / 4, abs=0.1)
    assert told["basis"] == "assumed: 1 s and 50 tokens/s a reply, 4 at once"
    slow = plan({**SERVER, "requests_per_minute": 10})["time"]["judge"]
    assert slow["seconds"] == 240
    assert not Path("runs").exists() and not Path(".curate").exists()


class Here:
    """A model in process that takes a tenth of a second, and two to load."""

    info = ModelInfo(identity="here", forms=("ask",), max_concurrency=1)

    def __init__(self) -> None:
        self.asked: list[Request] = []

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        time.sleep(0.1 if self.asked else 0.4)
        self.asked.append(request)
        return Reply(text="4")

    async def close(self) -> None:
        pass


def test_time_in_process_is_measured_by_one_request(
    plan: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Here()
    monkeypatch.setattr("curate.models.model.open_model", lambda spec, name: here)
    monkeypatch.setattr("curate.models.model.info_of", lambda spec, name: here.info)
    monkeypatch.setattr("curate.engine.estimate.info_of", lambda spec, name: here.info)
    told = plan("local")["time"]["judge"]
    # Loading counts once, and is not part of what each request takes.
    assert 40 * 0.1 <= told["seconds"] < 40 * 0.3
    assert "one request took" in told["basis"]
    first, second = here.asked
    assert (first.max_tokens, second.max_tokens) == (1, 8)
    assert not Path(".curate").exists()


def test_what_is_recorded_takes_no_time(plan: Callable[..., Any]) -> None:
    Path("r.jsonl").write_text(json.dumps({"when": {}, "reply": "4"}) + "\n")
    assert plan("scripted:r.jsonl")["time"] == {}
