"""A run that has published nothing says what it has spent, and that the same command goes on."""

import json
from pathlib import Path

import pytest

from curate import Pipeline
from curate.errors import CeilingReached, UsageError
from curate.pipeline import Result
from curate.runs.folder import RunFolder
from curate.runs.status import status
from curate.steps import Length, Rubric
from curate.system.posix import FileLock

ROWS = [{"instruction": f"Name town {n}.", "output": f"Town {n} it is."} for n in range(4)]


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A run's folder that a ceiling of two requests left behind."""
    replies = tmp_path / "replies.jsonl"
    usage = {"input_tokens": 50, "output_tokens": 1}
    line = {"when": {"contains": "town"}, "reply": "7", "usage": usage}
    replies.write_text(json.dumps(line))
    judge = {"model": f"scripted:{replies}", "price": {"input": 1.0, "output": 1.0}}
    pipeline = Pipeline([Rubric(model="judge", max_tokens=9)], models={"judge": judge})
    run = tmp_path / "run"
    with pytest.raises(CeilingReached):
        pipeline.run(ROWS, run=run, store=tmp_path / "store", max_requests=2)
    return run


def test_a_stopped_run_tells_what_it_spent(stopped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = status(stopped)
    assert found is not None and found.tally is not None
    assert (found.going, found.tally.sent, found.replies) == (False, 2, 2)
    said = str(found)
    assert "was stopped before its end" in said
    assert "the same command goes on: what was answered is not asked again" in said
    assert "requests   2 sent, 0 replayed, 0 failed, 0 retried" in said
    assert "tokens     100 in, 2 out" in said
    assert "cost       $0.0001, and $0.0000 reserved" in said
    assert f"{stopped.parent / 'store'} holds 2 replies" in said
    monkeypatch.chdir(stopped.parent)
    assert "store      store holds 2 replies, of all its runs" in str(found)
    with pytest.raises(UsageError, match="the same command continues it"):
        Result.open(stopped)


def test_a_run_in_progress_is_told_from_a_stopped_one(stopped: Path) -> None:
    with RunFolder(stopped).lock():
        assert "is being run at this moment" in str(status(stopped))
    lock = FileLock(stopped / ".state" / "lock")
    assert lock.take(), "looking at a run leaves no lock behind"
    lock.release()


def test_nothing_is_told_of_a_finished_run_or_none(tmp_path: Path) -> None:
    Pipeline([Length(min=1)]).run(ROWS, run=tmp_path / "run")
    assert status(tmp_path / "run") is None
    assert status(tmp_path / "nosuch") is None
    (tmp_path / "run" / "report.json").unlink()
    assert "requests   none" in str(status(tmp_path / "run"))


def test_a_run_whose_store_is_gone_says_so(stopped: Path) -> None:
    (stopped.parent / "store" / "store.db").unlink()
    assert "requests   unknown: its store is gone" in str(status(stopped))
