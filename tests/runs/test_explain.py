"""A row's history: ancestors once, numbers for replies, rows of other runs, stores elsewhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate import Pipeline
from curate.cli.main import app
from curate.errors import StoreError, UsageError
from curate.pipeline import Result
from curate.publish.run_copy import copy_run
from curate.row import Message, Record, Row
from curate.runs import explain as explaining
from curate.runs.explain import RowHistory
from curate.runs.folder import RunFolder
from curate.step import Gather, Made, Product, dataclass
from curate.steps import FewShot, Length, Prefer, RewardScore, Rubric
from curate.store.store import Store


@dataclass(frozen=True, kw_only=True)
class Crossed(Gather):
    """Make as many rows of a group as it has, each of all of them."""

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        return kinds

    def key(self, row: Row) -> str:
        return "all"

    def make(self, rows: Sequence[Row]) -> list[Product]:
        texts = [f"{self.title} {number}" for number in range(len(rows))]
        return [Made(Record("prompt", {"prompt": (Message("user", t),)})) for t in texts]


def ancestors(history: RowHistory) -> Iterator[RowHistory]:
    for parent in history.parents:
        yield parent
        yield from ancestors(parent)


def crossed(folder: Path, levels: int, rows: int) -> Result:
    steps = [Crossed(label=f"level_{n}") for n in range(levels)]
    given = [{"prompt": f"question {n}"} for n in range(rows)]
    return Pipeline(steps).run(given, run=folder / "run", store=folder / "store")


def test_an_ancestor_of_many_rows_is_told_once(tmp_path: Path) -> None:
    result = crossed(tmp_path, levels=3, rows=4)
    history = result.explain(next(iter(result.kept)).id)
    found = [one.id for one in ancestors(history)]
    assert len(found) == len(set(found)) == 3 * 4
    # The row's own parents are all there, and a line of the ledger names those of every row.
    assert [one.id for one in history.parents] == history.events[0]["parents"]
    assert len(history.parents) == 4
    assert all(len(one.events[0]["parents"]) == 4 for one in history.parents)


def test_of_many_ancestors_the_nearest_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explaining, "MOST_ANCESTORS", 10)
    result = crossed(tmp_path, levels=12, rows=3)
    history = result.explain(next(iter(result.kept)).id)
    texts = [one.record["prompt"][0]["content"] for one in ancestors(history)]
    nearest = [f"level_{n} {k}" for n in (10, 9, 8) for k in range(3)]
    assert sorted(texts) == sorted([*nearest, "level_7 0"])


def told(*command: str) -> str:
    done = CliRunner().invoke(app, list(command), prog_name="curate", env={"COLUMNS": "150"})
    assert done.exit_code == 0, done.output
    return done.stdout


def scripted(folder: Path, **line: Any) -> dict[str, Any]:
    path = folder / f"{len(list(folder.iterdir()))}.jsonl"
    path.write_text(json.dumps({"when": {}, **line}) + "\n")
    return {"model": f"scripted:{path}", "identity": "m"}


def test_a_reply_that_is_numbers_is_shown(tmp_path: Path) -> None:
    pair = {"prompt": "Say.", "chosen": "yes", "rejected": "no"}
    models = {
        "judge": scripted(tmp_path, values=[-0.25, float("-inf")], mass=0.75),
        "reward": scripted(tmp_path, values=[1.5]),
    }
    steps = [RewardScore(model="reward"), Prefer(model="judge", orders="given")]
    result = Pipeline(steps, models=models).run(
        [pair], run=tmp_path / "run", store=tmp_path / "store"
    )
    [row] = result.kept
    text = told("explain", str(result.folder), row.id)
    assert "      reply values: [1.5]\n" in text
    assert '      reply values: [-0.25, "-inf"]\n      reply mass: 0.75\n' in text
    assert "reply: \n" not in text
    [parent] = json.loads(told("explain", str(result.folder), row.id, "--json"))["parents"]
    # Both sides of the pair have a reward.
    values = [one["values"] for one in parent["exchanges"].values()]
    assert values == [[1.5], [1.5], [-0.25, "-inf"]]


def test_a_row_that_others_show_stays_and_is_not_replaced(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n}?", "completion": f"answer {n}"} for n in range(4)]
    result = Pipeline([FewShot(share=0.5, group_size=None)]).run(rows, run=tmp_path / "run")
    shown = [one for one in map(result.explain, (row.id for row in result.kept)) if one.children]
    stays = next(one for one in shown if not one.parents)
    assert f"in the end kept; rows made from it: {stays.children[0]}" in told(
        "explain", str(result.folder), stays.id
    )
    replaced = next(iter(result.used)).id
    assert "in the end used; replaced by" in told("explain", str(result.folder), replaced)


def test_a_row_of_another_run_leads_to_its_life_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first = crossed(tmp_path / "one", levels=1, rows=3)
    second = Pipeline([Length(min=1, on="instruction")]).run(str(first.folder), run="two")
    by_text = {row.instruction: row.id for row in first.kept}
    for row in second.kept:
        history = second.explain(row.id)
        assert history.before == {"run": str(first.folder), "row": by_text[row.instruction]}
        line = f"before     curate explain {first.folder} {by_text[row.instruction]}\n"
        assert line in told("explain", "two", row.id)
    assert first.explain(by_text["level_0 1"]).before is None
    # The other run is another one by now.
    shutil.rmtree(first.folder / "kept")
    assert second.explain(next(iter(second.kept)).id).before is None


@pytest.fixture
def judged(tmp_path: Path) -> Callable[[str], Result]:
    """Make a project with an input, a store and a run, of which the model is asked once a row."""

    def make(name: str) -> Result:
        folder = tmp_path / name
        folder.mkdir()
        log = {**scripted(tmp_path, values=[1.5]), "log": str(tmp_path / "sent.log")}
        rows = [{"prompt": f"question {n}?", "completion": f"answer {n}"} for n in range(3)]
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        pipeline = Pipeline([RewardScore(model="m", at_least=1.0)], models={"m": log})
        os.chdir(folder)
        return pipeline.run("rows.jsonl", run="runs/one")

    return make


def test_a_project_that_was_moved_takes_its_store_with_it(
    judged: Callable[[str], Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    judged("before")
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.chdir(tmp_path / "after")
    moved = Result.open("runs/one")
    [exchange] = moved.explain(next(iter(moved.kept)).id).exchanges.values()
    assert exchange["values"] == [1.5]
    asked = (tmp_path / "sent.log").read_text()
    again = moved.rethreshold(reward_score=2.0)
    assert (again.summary["kept"], again.summary["requests"]["replayed"]) == (0, 3)
    assert (tmp_path / "sent.log").read_text() == asked
    assert not (tmp_path / "before").exists()


def test_another_project_has_no_store_of_ones_own(
    judged: Callable[[str], Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    judged("above")
    (tmp_path / "above" / ".curate").rename(tmp_path / ".curate")
    asked = (tmp_path / "sent.log").read_text()
    run = judged("lost").folder.absolute()
    shutil.rmtree(tmp_path / "lost" / ".curate")
    lost = Result.open(run)
    assert lost.explain(next(iter(lost.kept)).id).exchanges == {}
    copied = copy_run(str(run), str(tmp_path / "copy"), replace=False, with_store=True)
    assert copied.store_bytes == 0
    assert RunFolder(run).noted_store == tmp_path / "lost" / ".curate"
    assert (tmp_path / "sent.log").read_text() != asked


@pytest.fixture
def reader() -> Iterator[Callable[[Path], None]]:
    """Leave a folder to be read only, by a user whom permissions bind."""
    bound, changed = os.geteuid() == 0, list[Path]()

    def read_only(folder: Path) -> None:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o555 if path.is_dir() else 0o444)
            changed.append(path)
        for path in folder.parents if bound else ():
            # Tests have folders of their own user.
            if path.stat().st_mode & 0o055 != 0o055:
                path.chmod(path.stat().st_mode | 0o055)
        if bound:
            os.setresuid(65534, 65534, 0)

    yield read_only
    if bound:
        os.setresuid(0, 0, 0)
    # Another process may have deleted some meanwhile.
    for path in filter(Path.exists, changed):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_who_may_only_read_a_run_and_its_store_reads_its_rows(
    judged: Callable[[str], Result],
    reader: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = judged("theirs")
    row, before = next(iter(result.kept)).id, sorted(Path.cwd().rglob("*"))
    reader(Path.cwd())
    assert not os.access(".curate/store.db", os.W_OK)
    assert "reply values: [1.5]" in told("explain", "runs/one", row)
    assert "replies                  3" in told("store", "stats")
    with pytest.raises(UsageError, match="copy runs/one to a folder that you may write in"):
        result.rethreshold(reward_score=2.0)
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("left", "noted"),
    [
        # What a killed run leaves; a copy of it without the index of its log, which cannot be made
        # here; and without the log.
        (("store.db-wal", "store.db-shm"), "noted"),
        (("store.db-wal",), "copy the folder, and name the copy with --store"),
        ((), None),
    ],
)
def test_the_log_of_a_killed_run_is_read_or_said_to_be_unreadable(
    reader: Callable[[Path], None], tmp_path: Path, left: tuple[str, ...], noted: str | None
) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    Store.open(tmp_path / "store").close()
    with Store.open(tmp_path / "store") as store:
        store.put_value("kind", "key", "noted")
        for name in ("store.db", *left):
            shutil.copy(tmp_path / "store" / name, killed)
    reader(tmp_path)
    try:
        with Store.open_to_read(killed) as store:
            assert store.value("kind", "key") == noted
    except StoreError as error:
        assert noted is not None and noted in str(error)


# It opens a store, whose log is empty then, and writes when it is told to.
WRITER = """
import sys
from pathlib import Path
from curate.store.store import Store

with Store.open(Path(sys.argv[1])) as store:
    store.read("PRAGMA wal_checkpoint(TRUNCATE)")
    print("opened", flush=True)
    sys.stdin.readline()
    store.put_value("kind", "key", "noted")
    print("written", flush=True)
    sys.stdin.readline()
"""


def test_who_may_only_read_a_store_in_use_sees_what_comes_into_it(
    reader: Callable[[Path], None], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "store")]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as writer:
        assert writer.stdin is not None and writer.stdout is not None
        assert writer.stdout.readline() == "opened\n"
        assert (tmp_path / "store" / "store.db-wal").stat().st_size == 0
        reader(tmp_path)
        with Store.open_to_read(tmp_path / "store") as store:
            assert store.value("kind", "key") is None
            writer.stdin.write("go on\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == "written\n"
            assert store.value("kind", "key") == "noted"


def test_a_store_that_nobody_else_may_look_at_hides_its_replies_alone(
    judged: Callable[[str], Result],
    reader: Callable[[Path], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = judged("private")
    row, store = next(iter(result.kept)).id, Path(".curate").absolute()
    store.chmod(0o000)
    reader(Path("runs").absolute())
    with pytest.raises(PermissionError):
        os.stat(store / "store.db")
    for words in (("report", "runs/one"), ("explain", "runs/one", row)):
        assert "reward_score" in told(*words)


def test_a_store_that_cannot_be_read_hides_its_replies_alone(
    judged: Callable[[str], Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = judged("damaged")
    Path(".curate/store.db").write_bytes(b"no database at all, but long enough to be none" * 40)
    text = told("explain", "runs/one", next(iter(result.kept)).id)
    assert "reward_score passed (score 1.5)" in text
    assert "store.db cannot be used" in text


def test_what_was_asked_again_since_shows_the_reply_that_a_row_failed_with(tmp_path: Path) -> None:
    path = tmp_path / "replies.jsonl"
    lines = [{"attempt": 0, "reply": "no idea"}, {"reply": '{"rationale": "r", "score": 8}'}]
    path.write_text("".join(json.dumps({"when": {}, **line}) + "\n" for line in lines))
    models = {"m": {"model": f"scripted:{path}", "identity": "m"}}
    pipeline = Pipeline([Rubric(model="m", repairs=0)], models=models)
    rows, store = [{"prompt": "Say.", "completion": "yes"}], tmp_path / "store"
    first = pipeline.run(rows, run=tmp_path / "one", store=store, allow_failed=1.0)
    [failed] = first.failed
    assert "      reply: no idea\n" in told("explain", str(first.folder), failed.id)
    pipeline.run(rows, run=tmp_path / "two", store=store, retry_failed=True)
    text = told("explain", str(first.folder), failed.id)
    assert "by this run or another one since:\n      earlier reply: no idea\n      reply: {" in text
