"""Export to an address; other exports are tested with the results of runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from tests.cli.conftest import lines_of


@pytest.fixture(autouse=True)
def memory() -> Iterator[Any]:
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()


def test_a_run_leaves_to_an_address_as_to_a_path(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path, memory: Any
) -> None:
    ok("run", "recipe.yaml", "--run", "r")
    where = "memory://bucket/rows.jsonl"
    assert ok("export", "r", "-o", where, "--as", "alpaca") == f"3 rows written to {where}\n"
    ok("export", "r", "-o", "rows-here.jsonl", "--as", "alpaca")
    assert memory.cat_file("/bucket/rows.jsonl") == (home / "rows-here.jsonl").read_bytes()
    refused = curate("export", "r", "-o", where)
    assert refused.exit_code == 2
    assert f"{where} is there; --replace" in refused.stderr
    ok("export", "r", "-o", where, "--replace")
    # The run's own notes say nothing of the copy that was sent.
    assert "curate-export" not in (home / "r" / ".state" / "written.json").read_text()


def test_shards_leave_to_an_address_and_come_back(ok: Callable[..., str], home: Path) -> None:
    where = "memory://bucket/data"
    said = ok("export", "rows.jsonl", "-o", where + "/", "--shard-rows", "3", "--json")
    assert json.loads(said)["written"] == [{"path": where, "rows": 4, "kind": "sft"}]
    ok("export", where, "-o", "back.jsonl", "--as", "alpaca")
    ok("export", "rows.jsonl", "-o", "direct.jsonl", "--as", "alpaca")
    assert lines_of(home / "back.jsonl") == lines_of(home / "direct.jsonl")


def test_kinds_leave_apart(ok: Callable[..., str], home: Path, memory: Any) -> None:
    (home / "p.jsonl").write_text('{"prompt": "Why?"}\n' * 2)
    (home / "two.yaml").write_text("inputs: {a: rows.jsonl, b: p.jsonl}\nsteps: []\n")
    ok("run", "two.yaml", "--run", "two")
    said = ok("export", "two", "-o", "memory://b/all.jsonl")
    assert said.splitlines() == [
        "2 rows written to memory://b/all.prompt.jsonl",
        "4 rows written to memory://b/all.sft.jsonl",
    ]
    for _ in range(2):
        said = ok("export", "two", "-o", "memory://b/shards/", "--replace")
        assert said.splitlines() == [
            "2 rows written to memory://b/shards/prompt",
            "4 rows written to memory://b/shards/sft",
        ]
    ok("export", "memory://b/shards/prompt", "-o", "prompts.jsonl")
    assert len(lines_of(home / "prompts.jsonl")) == 2


@pytest.mark.parametrize("where", ["memory://b/mixed/", "mixed/"])
def test_rows_of_one_kind_and_of_several_do_not_share_a_folder(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path, where: str
) -> None:
    """Who reads the folder would get the rows of before, and not those of the last export."""
    (home / "p.jsonl").write_text('{"prompt": "Why?"}\n' * 2)
    (home / "one.yaml").write_text("inputs: rows.jsonl\nsteps: []\n")
    (home / "two.yaml").write_text("inputs: {a: rows.jsonl, b: p.jsonl}\nsteps: []\n")
    for name in ("one", "two"):
        ok("run", f"{name}.yaml", "--run", name)
    for before, after, left in (("one", "two", "train-00000-of-00001"), ("two", "one", "prompt")):
        place = where.replace("mixed", f"mixed-{before}")
        ok("export", before, "-o", place)
        refused = curate("export", after, "-o", place, "--replace")
        assert refused.exit_code == 2
        assert left in refused.stderr and "empty it first" in " ".join(refused.stderr.split())
        ok("export", before, "-o", place, "--replace")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-o", "s3://b/out.jsonl"), "the output (-o) cannot be s3://b/out.jsonl: a run writes"),
        (("-o", "o.jsonl", "--run", "s3://b/r"), "the run folder (--run) cannot be s3://b/r"),
        (("-o", "o.jsonl", "--store", "gs://b/s"), "the store (--store) cannot be gs://b/s"),
    ],
)
def test_a_run_writes_to_this_machine(
    curate: Callable[..., Any], home: Path, arguments: tuple[str, ...], said: str
) -> None:
    before = sorted(home.rglob("*"))
    refused = curate("filter", "rows.jsonl", "length", *arguments)
    assert refused.exit_code == 2
    assert said in " ".join(refused.stderr.split())
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize(
    "words",
    [
        ("report", "run", "--html", "s3://b/p"),
        ("report", "run", "--png", "s3://b/p"),
        ("compare", "run", "run", "--html", "s3://b/p"),
        ("review", "rows.jsonl", "--export", "s3://b/p"),
        ("review", "rows.jsonl", "--labels", "s3://b/p"),
        ("prove", "rows.jsonl", "--model", "local", "-o", "s3://b/p"),
        ("store", "export", "-o", "s3://b/p"),
    ],
    ids=" ".join,
)
def test_no_command_makes_a_folder_that_is_called_as_an_address_begins(
    curate: Callable[..., Any], home: Path, words: tuple[str, ...]
) -> None:
    before = sorted(home.rglob("*"))
    refused = curate(*words)
    assert refused.exit_code == 2
    assert "cannot be s3://b/p: name a path of this machine" in " ".join(refused.stderr.split())
    assert sorted(home.rglob("*")) == before


@pytest.mark.parametrize("more", [(), ("--export", "decisions.jsonl")], ids=["page", "export"])
def test_labels_of_rows_at_an_address_need_a_file(
    curate: Callable[..., Any], home: Path, memory: Any, more: tuple[str, ...]
) -> None:
    memory.pipe("/b/rows.jsonl", (home / "rows.jsonl").read_bytes())
    before = sorted(home.rglob("*"))
    refused = curate("review", "memory://b/rows.jsonl", *more)
    assert refused.exit_code == 2
    assert "name a file with --labels FILE" in " ".join(refused.stderr.split())
    assert sorted(home.rglob("*")) == before


def test_outputs_of_a_recipe_are_files_of_this_machine(
    curate: Callable[..., Any], home: Path
) -> None:
    recipe = "inputs: rows.jsonl\nsteps: [length]\noutputs: {sft: 's3://b/out.jsonl'}\n"
    (home / "out.yaml").write_text(recipe)
    refused = curate("run", "out.yaml")
    assert refused.exit_code == 2
    assert "out.yaml:3" in refused.stderr
    assert "cannot be s3://b/out.jsonl" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    "more", [(), ("--as", "faiss"), ("--shard-rows", "3")], ids=["file", "index", "shards"]
)
@pytest.mark.parametrize("where", ["https://u:hushhush@b/x.jsonl", "s3:/KEY:hush/hush@b/x.jsonl"])
def test_an_address_with_credentials_is_refused_and_not_repeated(
    curate: Callable[..., Any], home: Path, where: str, more: tuple[str, ...]
) -> None:
    before = sorted(home.rglob("*"))
    refused = curate("export", "rows.jsonl", "-o", where, *more)
    assert refused.exit_code == 2
    assert "must not hold credentials" in " ".join(refused.stderr.split())
    assert "hush" not in refused.stdout + refused.stderr
    assert sorted(home.rglob("*")) == before


def test_an_address_that_lost_a_slash_is_one(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path, memory: Any
) -> None:
    where = "memory://b/rows.jsonl"
    assert ok("export", "rows.jsonl", "-o", "memory:/b/rows.jsonl").endswith(f"{where}\n")
    assert memory.exists("/b/rows.jsonl") and not (home / "memory:").exists()
    for lacking in ("s3://", "simplecache::s3://b/x.jsonl"):
        refused = curate("export", "rows.jsonl", "-o", lacking)
        assert refused.exit_code == 2, lacking
    assert not list(home.glob("*:*"))


@pytest.mark.parametrize("form", ["faiss", "embedding_atlas"])
def test_vectors_and_maps_are_folders_of_this_machine(
    curate: Callable[..., Any], home: Path, form: str
) -> None:
    refused = curate("export", "rows.jsonl", "--as", form, "-o", "s3://b/index")
    assert refused.exit_code == 2
    assert "copy it to s3://b/index" in " ".join(refused.stderr.split())
