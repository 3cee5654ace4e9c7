"""Templates tried on rows as the step would render them, and stopped where they would not end."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from typer.testing import CliRunner

from curate.cli.main import app
from curate.pipeline import Pipeline
from curate.review.label_events import Labels
from curate.review.local_page import LocalPage
from curate.review.template_files import TemplateFolder, template_of
from curate.review.template_page import TemplateWriter, TriedRows, columns_seen
from curate.review.template_trial import count, job_of, look, tried
from curate.row import Row
from curate.steps.generate.template import Template

ROWS = [{"text": f"Text {n % 4}", "label": n % 3, "more": None} for n in range(12)]
JINJA = "{{ text }}: {{ ['x', 'y', 'z'] | choice }} |||{% if label != 2 %} {{ label }}{% endif %}"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("rows")
    source = {"input": {"path": ROWS, "shape": "table"}}
    result = Pipeline([]).run(source, run=folder / "run", store=folder / "store")
    return list(result.kept)


def job(rows: list[Row], jinja: str, choices: str | None = None) -> dict[str, Any]:
    template = template_of({"name": "t", "jinja": jinja, "answer_choices": choices})
    return job_of(template, rows)


def test_the_page_shows_what_the_step_makes(rows: list[Row], tmp_path: Path) -> None:
    template = template_of({"name": "t", "jinja": JINJA})
    TemplateFolder(tmp_path).save("d", "d", template, seen=None)
    step = Template(collection=str(tmp_path / "d.yaml"))
    for row, found in zip(rows, look(job(rows, JINJA))["rows"], strict=True):
        [made] = step.make(row)
        if found["left_out"]:
            assert made.reason == found["left_out"] == "empty target"
        else:
            user, assistant = made.record.fields["messages"]
            assert (found["input"], found["target"]) == (user.content, assistant.content)
    figures = count(job(rows, JINJA))
    assert (figures["rows"], figures["rendered"], figures["failed"]) == (12, 8, 0)
    assert figures["left_out"] == {"empty target": 4}
    assert (figures["input_words"], figures["target_words"]) == (3.0, 1.0)
    assert figures["distinct_targets"] == 2 and 1 < figures["distinct_inputs"] <= 8


@pytest.mark.parametrize(
    ("jinja", "choices", "field", "line", "message", "stops"),
    [
        ("a\n{% if x %} ||| b", None, "jinja", 2, "Unexpected end of template", True),
        ("a", None, "jinja", None, "no separator", True),
        ("a ||| b ||| c", None, "jinja", None, "2 separators", True),
        (" ", None, "jinja", None, "is empty", True),
        ("a\n{{ txt }} ||| b", None, "jinja", 2, "no row here has a column 'txt'", False),
        ("a ||| {{ answer_choices[0] }}", None, "jinja", 1, "there are no answer choices", False),
        ("a ||| b", "{{ ", "answer_choices", 1, "", True),
        ("a ||| b", "{{ y }}", "answer_choices", 1, "no row here has a column 'y'", False),
        ("{% macro m() %}{% endmacro %} ||| b", None, "jinja", 1, "'macro' is not allowed", True),
    ],
)
def test_a_fault_is_said_at_its_place(
    jinja: str,
    choices: str | None,
    field: str,
    line: int | None,
    message: str,
    stops: bool,
    rows: list[Row],
) -> None:
    found = look(job(rows[:2], jinja, choices))
    [fault] = found["faults"]
    assert (fault["field"], fault["line"], fault["stops"]) == (field, line, stops)
    assert message in fault["message"]
    assert len(found["rows"]) == (0 if stops else 2)


def test_a_failing_row_says_why_and_long_texts_are_cut(rows: list[Row]) -> None:
    [first, *_] = look(job(rows[:1], "{{ text.nothing }} ||| b"))["rows"]
    assert "has no attribute 'nothing'" in first["error"]
    [first, *_] = look(job(rows[:1], "{{ 'ab' * 5000 }} ||| b"))["rows"]
    assert first["input"].endswith("(6,000 more characters)") and len(first["input"]) < 4_100
    figures = count(job(rows, "{{ text.nothing }} ||| b"))
    assert (figures["failed"], figures["input_words"]) == (12, None)
    assert "has no attribute" in figures["error"]


def test_columns_tell_their_types_and_values() -> None:
    odd: list[Any] = [{"a": 1, "b": "x" * 400}, {"a": None}, {"a": [1], "c": True}, {"a": 0.5}]
    [a, b, c] = columns_seen(iter(odd))
    assert a["types"] == {"integer": 1, "nothing": 1, "list": 1, "number": 1}
    assert (a["distinct"], a["values"]) == (4, ["1", "null", "[1]"])
    assert b["values"] == ["x" * 80] and c["types"] == {"true or false": 1}
    [many] = columns_seen({"a": n % 2} for n in range(20))
    assert many["values"] == ["0 (10)", "1 (10)"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "jinja",
    [
        "{% for a in range(190000) %}{% for b in range(190000) %}{% endfor %}{% endfor %} ||| b",
        "{% set a = 'x' * 9000000 %}{{ (a ~ a) | length }} ||| b",
        "{{ 9 ** (9 ** 9) }} ||| b",
        "{{ ([[[text] * 1000] * 1000] * 1000) | string | length }} ||| b",
    ],
)
def test_a_hostile_template_is_stopped_in_words(jinja: str, rows: list[Row]) -> None:
    # The child has begun: only the template is timed.
    tried(template_of({"name": "t", "jinja": "a ||| b"}), rows[:1], seconds=2.0)
    began = time.monotonic()
    found = tried(template_of({"name": "t", "jinja": jinja}), rows[:10], seconds=2.0)
    assert time.monotonic() - began < 20
    said = json.dumps(found)
    assert "more than" in said and '"input"' not in said


def test_requests_that_cannot_be_answered_say_why(rows: list[Row], tmp_path: Path) -> None:
    asyncio.run(refusals(rows, tmp_path))


async def refusals(rows: list[Row], tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [")
    with Labels(tmp_path / ".review.sqlite") as settings:
        routes = TemplateWriter(TriedRows("d.jsonl", rows, 12), TemplateFolder(tmp_path)).routes()
        page = LocalPage("templates", routes, settings, guarded=False)
        async with TestClient(TestServer(page.application())) as client:
            for path, body, said in [
                ("/figures", {"file": "none"}, "there is no file none.yaml"),
                ("/figures", {"file": "bad"}, "not valid YAML"),
                ("/figures", {"file": "../bad"}, "names no folder"),
                ("/save", {"name": "a", "jinja": "a", "file": "../x"}, "names no folder"),
                ("/save", {"name": "", "jinja": "a", "file": "x"}, "name is a printable text"),
                ("/save", {"name": "a", "jinja": "a", "file": "x", "seen": 3}, "are texts"),
                ("/render", {"jinja": "a", "start": "-1"}, "start is the number of a row"),
                ("/render", ["a"], "no JSON object"),
            ]:
                reply = await client.post(path, json=body)
                assert reply.status == 400
                assert said in (await reply.json())["error"]
            reply = await client.get("/rows?start=11")
            found = await reply.json()
            assert (found["start"], len(found["shown"]), found["stem"]) == (10, 2, "d")
            files = (await (await client.get("/files")).json())["files"]
            assert [one["error"] is None for one in files] == [False]


def test_what_the_page_cannot_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    for arguments, said in [
        (["rows.jsonl", "--export", "x.jsonl"], "--export is for labels"),
        (["rows.jsonl", "--by", "score:near"], "--by is for labels"),
        (["empty.jsonl"], "empty.jsonl"),
        (["missing.jsonl"], "missing.jsonl"),
    ]:
        given = [str(tmp_path / arguments[0]), *arguments[1:]]
        done = CliRunner().invoke(app, ["review", *given, "--templates"])
        assert done.exit_code == 2
        assert said in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.jsonl", "rows.jsonl"]
