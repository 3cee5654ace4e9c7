"""The file for Embedding Atlas: its columns are those the tool takes, its numbers are the rows'."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.errors import UsageError
from curate.page.atlas import FILE, NEIGHBOURS, write_atlas
from curate.pipeline import Pipeline, Result
from curate.row import seed_of
from tests.page.conftest import STEPS, made


def vectors(texts: Sequence[str]) -> np.ndarray:
    """Return a vector for each text that depends on nothing but the text."""
    found = [np.random.default_rng(seed_of(text)).normal(size=8) for text in texts]
    matrix = np.array(found, np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def atlas(result: Result, folder: Path, **options: Any) -> list[dict[str, Any]]:
    given = {"on": "whole", "vectors": vectors, **options}
    written = write_atlas(result.folder, result.recipe["labels"], folder, **given)
    rows: list[dict[str, Any]] = pq.read_table(written.path).to_pylist()
    assert len(rows) == written.rows
    return rows


# Compiling the kernel of neighbours takes seconds.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return made(tmp_path_factory.mktemp("atlas"), [*STEPS, "exact"], count=90)


def test_every_row_with_a_text_is_there_with_how_it_ended(run: Result, tmp_path: Path) -> None:
    rows = atlas(run, tmp_path)
    expected: dict[str, tuple[str, str | None, str | None]] = {}
    for line in run.dropped.to_pandas().to_dict("records"):
        expected[line["id"]] = ("dropped", line["step"], line["reason"])
    expected |= {row.id: ("kept", "", "") for row in run.kept}
    ends = {row["id"]: (row["outcome"], row["step"], row["reason"]) for row in rows}
    assert {k: v for k, v in ends.items() if v[0] != "failed"} == expected
    texts = {row.id: row.whole for name in ("kept", "dropped") for row in getattr(run, name)}
    assert all(row["text"] == texts[row["id"]] for row in rows if row["id"] in texts)
    for row in rows:
        if row["outcome"] == "kept":
            assert row["score_length"] >= 5 and row["score_charset"] >= 0.74
        elif row["step"] == "length":
            assert row["score_length"] < 5 and row["score_charset"] is None


def test_neighbours_are_the_nearest_rows_by_number(run: Result, tmp_path: Path) -> None:
    rows = atlas(run, tmp_path)
    matrix = vectors([row["text"] for row in rows]).astype(np.float64)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    distances = 1 - matrix @ matrix.T
    for number, row in enumerate(rows):
        near = row["neighbors"]
        assert len(near["ids"]) == len(near["distances"]) == NEIGHBOURS + 1
        assert number in near["ids"] and len(set(near["ids"])) == NEIGHBOURS + 1
        assert np.allclose(near["distances"], distances[number, near["ids"]], atol=1e-6)
        assert np.allclose(
            near["distances"], np.sort(distances[number])[: NEIGHBOURS + 1], atol=1e-6
        )


def test_places_are_the_main_axes_in_the_unit_square(run: Result, tmp_path: Path) -> None:
    rows = atlas(run, tmp_path)
    places = np.array([[row["x"], row["y"]] for row in rows], np.float64)
    assert places.min() >= 0 and places.max() <= 1
    spans = places.max(axis=0) - places.min(axis=0)
    assert spans.max() == pytest.approx(1, abs=1e-6)
    matrix = vectors([row["text"] for row in rows]).astype(np.float64)
    matrix -= matrix.mean(axis=0)
    plane = matrix @ np.linalg.svd(matrix, full_matrices=False)[2][:2].T
    centred = places - places.mean(axis=0)
    # Scaled alike and turned at most, so that distances keep their proportions.
    far = np.linalg.norm(centred, axis=1) / np.linalg.norm(plane, axis=1)
    assert far == pytest.approx(far[0], rel=1e-4)


def test_the_same_run_gives_the_same_bytes(run: Result, tmp_path: Path) -> None:
    atlas(run, tmp_path / "a")
    atlas(run, tmp_path / "b")
    files = [(tmp_path / name / "rows.parquet").read_bytes() for name in "ab"]
    assert files[0] == files[1]


def test_few_rows_and_rows_that_lie_nowhere(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    lines = [{"prompt": "one"}, {"prompt": "  "}, {"prompt": "nowhere"}]
    source.write_text("".join(f"{json.dumps(line)}\n" for line in lines) + "{broken\n")
    recipe = Pipeline.from_yaml(json.dumps({"inputs": str(source), "steps": ["exact"]}))
    result = recipe.run(run=tmp_path / "run", store=tmp_path / "store")

    def some(texts: Sequence[str]) -> np.ndarray:
        assert list(texts) == ["one", "nowhere"]
        return np.array([[0.6, 0.8], [0, 0]], np.float32)

    written = write_atlas(result.folder, ["exact"], tmp_path / "out", on="whole", vectors=some)
    assert (written.rows, written.left_out) == (1, 3)
    (row,) = pq.read_table(written.path).to_pylist()
    assert (row["x"], row["y"]) == (0.5, 0.5) and row["neighbors"]["ids"] == [0]
    with pytest.raises(UsageError, match=r"no row of .* has a text to place"):
        write_atlas(
            result.folder,
            ["exact"],
            tmp_path / "none",
            on="whole",
            vectors=lambda texts: np.zeros((len(texts), 2), np.float32),
        )
    assert not (tmp_path / "none").exists()


def export(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["export", *map(str, arguments), "--as", "embedding_atlas"])


def test_what_it_cannot_take_is_refused(run: Result, tmp_path: Path) -> None:
    for flags, said in (
        (["-o", tmp_path / "out.parquet"], "writes a folder; name one, as in -o out/"),
        (["-o", tmp_path / "out", "--marks"], "leave out --split, --marks"),
    ):
        done = export(run.folder, *flags)
        assert done.exit_code == 2 and said in " ".join(done.output.split())


@pytest.mark.real
def test_a_run_and_a_file_are_exported(tmp_path: Path) -> None:
    result = made(tmp_path, [*STEPS, {"semantic": {"similarity": 0.99}}], count=40)
    done = export(result.folder, "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    path = tmp_path / "out" / "rows.parquet"
    rows = pq.read_table(path).to_pylist()
    said = " ".join(done.output.split())
    assert f"open them with: embedding-atlas {path} --text text --x x --y y" in said
    # What a run wrote may be written anew when that is said, and nothing is encoded again.
    given = ("-o", tmp_path / "out", "--max-requests", "0")
    assert "--replace replaces it" in export(result.folder, *given).output
    again = export(result.folder, *given, "--replace")
    assert again.exit_code == 0 and pq.read_table(path).to_pylist() == rows
    file = tmp_path / "rows.jsonl"
    # One of its lines is not text: the others are written, and that is said.
    done = export(file, "-o", tmp_path / "file", "--json")
    assert done.exit_code == 1 and "1 lines could not be read and are not in" in done.stderr
    told = json.loads(done.stdout)
    assert [one["line"] for one in told["unreadable"]] == [19] and told["left_out"] == []
    index = CliRunner().invoke(
        app, ["export", str(file), "--as", "faiss", "-o", str(tmp_path / "index")]
    )
    assert index.exit_code == 1 and f"unreadable {file}:19: a lone surrogate" in index.stderr
    found = pq.read_table(tmp_path / "file" / "rows.parquet").column("outcome").to_pylist()
    assert set(found) <= {"kept", "failed"} and len(found) > 30


@pytest.mark.real
def test_the_tool_reads_the_file_that_the_command_writes(
    tools: Path, run: Result, tmp_path: Path
) -> None:
    rows = atlas(run, tmp_path)
    path = tmp_path / FILE
    command = [str(tools / "embedding-atlas"), str(path), "--text", "text", "--x", "x", "--y", "y"]
    command += ["--neighbors", "neighbors"]
    # The tool's own graph of neighbours, and the data of its page instead of a server.
    command += ["--kcore", "--export-application", str(tmp_path / "app")]
    subprocess.run(command, check=True, timeout=300, env={**os.environ, "PYTHONPATH": ""})
    data = tmp_path / "app" / "data"
    told = json.loads((data / "metadata.json").read_text())["props"]["data"]
    assert told["projection"] == {"x": "x", "y": "y"}
    assert (told["text"], told["neighbors"]) == ("text", "neighbors")
    read = pq.read_table(data / "dataset.parquet").to_pylist()
    assert [row[told["id"]] for row in read] == list(range(len(rows)))
    assert [{name: row[name] for name in rows[0]} for row in read] == rows
    # A number that is not a row would have ended it; the core says which rows are near which.
    links = {(k, near) for k, row in enumerate(rows) for near in row["neighbors"]["ids"]}
    assert [row["kcore"] for row in read] == in_degree_cores(links, len(rows))


def in_degree_cores(links: set[tuple[int, int]], count: int) -> list[int]:
    """Return the largest k of each row for which it is in a set whose rows have k links from it."""
    found = [0] * count
    for k in range(1, count):
        left = set(range(count))
        while True:
            degree = dict.fromkeys(left, 0)
            for source, target in links:
                if source != target and source in left and target in left:
                    degree[target] += 1
            weak = {row for row in left if degree[row] < k}
            if not weak:
                break
            left -= weak
        if not left:
            break
        for row in left:
            found[row] = k
    return found
