"""`curate similar` on a run, a file and an index: the rows of brute force, encoded once."""

import json
import math

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.pipeline import Pipeline
from curate.steps import Semantic

ANGLES = {"north": 0, "nearly": 10, "east": 90, "south": 180, "question": 4}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [
        {
            "when": {"contains": word},
            "values": [[math.cos(math.radians(a)), math.sin(math.radians(a))]],
        }
        for word, a in ANGLES.items()
    ]
    (tmp_path / "vectors.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rows = [{"instruction": f"{word} is here", "output": ""} for word in list(ANGLES)[:4]]
    rows.append({"instruction": "", "output": "no question"})
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


@pytest.fixture
def run(folder):
    encoders = {"e": {"model": f"scripted:{folder / 'vectors.jsonl'}", "log": "sent.log"}}
    step = Semantic(on="instruction", similarity=0.999)
    return Pipeline([step], inputs="rows.jsonl", encoders=encoders).run(run="runs/one")


def similar(*arguments):
    done = CliRunner().invoke(app, ["similar", *arguments, "--json"])
    assert done.exit_code == 0, done.output
    return [(entry.get("text", entry["id"]), entry["cosine"]) for entry in json.loads(done.stdout)]


EXPECTED = [
    ("north is here", 4),
    ("nearly is here", 6),
    ("east is here", 86),
    ("south is here", 176),
]


def near(found, expected):
    cosines = [math.cos(math.radians(angle)) for _, angle in expected]
    return [name for name, _ in found] == [name for name, _ in expected] and [
        cosine for _, cosine in found
    ] == pytest.approx(cosines, abs=1e-7)


def test_a_run_uses_its_own_text_encoder_and_store(run, folder):
    sent = (folder / "sent.log").read_text().count("\n")
    assert near(similar("runs/one", "a question"), EXPECTED), "a row without a text is not shown"
    assert near(similar("runs/one", "a question", "-k", "2"), EXPECTED[:2])
    assert (folder / "sent.log").read_text().count("\n") == sent + 1, "the text alone, and once"


def test_a_row_is_compared_with_the_others(run):
    north = next(row for row in run.kept if row.instruction == "north is here")
    expected = [("nearly is here", 10), ("east is here", 90), ("south is here", 180)]
    assert near(similar("runs/one", north.id[:9]), expected)


def test_a_file_and_an_index_give_the_same(run, folder):
    spec = f"scripted:{folder / 'vectors.jsonl'}"
    found = similar("rows.jsonl", "a question", "--encoder", spec, "--on", "instruction")
    assert near(found, EXPECTED)
    done = CliRunner().invoke(app, ["export", "runs/one", "--as", "faiss", "-o", "index"])
    assert done.output == "4 vectors written to index; 1 rows without a text are not in it\n"
    ids = {row.id: row.instruction for row in run.kept}
    by_index = [(ids[one], cosine) for one, cosine in similar("index", "a question")]
    assert near(by_index, EXPECTED)


def test_what_is_encoded_outside_runs_has_ceilings(folder):
    """A ceiling counts what was sent for the same source before, and a raised one goes on."""
    spec = {"model": f"scripted:{folder / 'vectors.jsonl'}", "log": "sent.log"}
    step = Semantic(on="instruction", similarity=0.999)
    Pipeline([step], inputs="rows.jsonl", encoders={"e": spec}).run(run="runs/one", limit=1)

    def invoke(*arguments):
        return CliRunner().invoke(app, arguments, prog_name="curate")

    def sent():
        return len((folder / "sent.log").read_text().split())

    # The run's text is stored; a text of its own is one request.
    assert sent() == 1
    stopped = invoke("similar", "runs/one", "a question", "--max-requests", "0")
    assert stopped.exit_code == 3 and "--max-requests" in stopped.output, stopped.output
    assert sent() == 1
    assert invoke("similar", "runs/one", "a question", "--max-requests", "1").exit_code == 0
    assert sent() == 2
    # What was sent for this source before counts.
    assert invoke("similar", "runs/one", "my question", "--max-requests", "1").exit_code == 3
    assert invoke("similar", "runs/one", "my question", "--max-requests", "2").exit_code == 0
    assert sent() == 3
    unpriced = invoke("export", "runs/one", "--as", "faiss", "-o", "index", "--max-cost", "1")
    assert unpriced.exit_code == 2 and "no known price" in unpriced.output, unpriced.output
    other = invoke("export", "runs/one", "-o", "rows.jsonl", "--max-requests", "1")
    assert other.exit_code == 2 and "--as faiss" in other.output, other.output


def test_lines_that_could_not_be_read_are_told(folder):
    with (folder / "rows.jsonl").open("a") as file:
        file.write("{broken\n")
    given = ["a question", "--encoder", "scripted:vectors.jsonl", "--on", "instruction"]
    done = CliRunner().invoke(app, ["similar", "rows.jsonl", *given])
    assert done.exit_code == 0, done.output
    assert "1 lines of rows.jsonl could not be read and are not searched" in done.stderr


def test_for_people_there_is_a_line_for_each_row(run):
    done = CliRunner().invoke(app, ["similar", "runs/one", "a question", "-k", "1"])
    assert done.stdout.split() == ["0.9976", next(iter(run.kept)).id[:8], "north", "is", "here"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["runs/one", "  "], "the text is empty"),
        (
            ["runs/one", "a question", "--on", "answer"],
            "allowed are instruction, response and whole",
        ),
        (["runs/none", "a question"], "runs/none"),
    ],
)
def test_what_cannot_be_asked_is_said(arguments, said, run):
    done = CliRunner().invoke(app, ["similar", *arguments])
    assert done.exit_code == 2
    assert said in done.output
