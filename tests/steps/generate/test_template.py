"""The step `template`: one row for each template, and a named ending where it makes none."""

import json

import pytest

from curate.pipeline import Pipeline
from curate.read.shapes.untyped import table_record
from curate.row import Message
from curate.step import Drop, Failed, Made
from curate.steps.generate.template import Template
from curate.steps.select.composition import Composition

FILE = """
dataset: news
templates:
  a: !Template
    name: classify
    answer_choices: World ||| Sports
    jinja: "{{ text }} What is it? ||| {{ answer_choices[label] }}"
    metadata: !TemplateMetadata {choices_in_prompt: false}
  b:
    name: choose
    answer_choices: World ||| Sports
    jinja: "{{ text }} {{ answer_choices | join(' or ') }}? ||| {{ answer_choices[label] }}"
    metadata: {choices_in_prompt: true}
  c:
    name: only long
    jinja: "{% if text | length > 9 %}{{ text }} ||| {{ summary }}{% endif %}"
    metadata: {choices_in_prompt: false}
"""


@pytest.fixture
def news(tmp_path):
    path = tmp_path / "news.yaml"
    path.write_text(FILE)
    return str(path)


@pytest.fixture
def table_row(make_row):
    def make(**columns):
        record = table_record(columns)
        return make_row(record.kind, record.fields, extra=record.extra)

    return make


def test_each_template_makes_a_row_that_carries_what_it_did_not_read(news, table_row):
    row = table_row(text="It rained", label=0, id=7)
    classify, choose, only_long = Template(collection=news).make(row)
    assert isinstance(classify, Made)
    assert classify.detail == {"template": "classify", "id": "a"}
    record = classify.record
    assert (record.kind, record.fields["messages"]) == (
        "sft",
        (Message("user", "It rained What is it?"), Message("assistant", "World")),
    )
    assert json.loads(record.extra) == {
        "id": 7,
        "template": "news: classify",
        "answer_choices": ["World", "Sports"],
    }
    assert choose.record.fields["messages"][0].content == "It rained World or Sports?"
    assert isinstance(only_long, Drop)
    assert only_long.reason == "the template does not apply"


def test_keep_columns_carries_all_and_refuses_a_column_of_its_own_name(news, table_row):
    step = Template(collection=news, templates=("classify",), keep_columns=True)
    [made] = step.make(table_row(text="x", label=1))
    assert json.loads(made.record.extra)["label"] == 1
    [failed] = step.make(table_row(text="x", label=1, template="y"))
    assert isinstance(failed, Failed)
    assert "has a column 'template' already" in str(failed.error)


def test_a_missing_column_or_choice_fails_that_row_alone(news, table_row):
    made = Template(collection=news).make(table_row(text="A long enough text", label=5))
    assert [type(one) for one in made] == [Failed, Failed, Failed]
    assert "no element 5" in str(made[0].error)
    assert "'summary' is undefined; the row's columns are text, label" in str(made[2].error)
    classify, _, long = Template(collection=news).make(table_row(text="A longer text", label=1))
    assert isinstance(classify, Made)
    assert isinstance(long, Failed)


def test_no_input_and_no_target_are_drops_of_their_own(news, table_row):
    step = Template(collection=news, templates=("only long",))
    [dropped] = step.make(table_row(text="A longer text", summary=" "))
    assert dropped.reason == "empty target"
    [prompt] = Template(collection=news, templates=("c",), to="prompt").make(
        table_row(text="A longer text", summary="")
    )
    assert prompt.record.fields["prompt"] == (Message("user", "A longer text"),)
    [dropped] = step.make(table_row(text=" " * 12, summary="s"))
    assert dropped.reason == "empty input"


def test_templates_are_taken_by_their_choices_and_drawn_by_the_row(news, table_row):
    row = table_row(text="x", label=0, summary="s")
    assert [m.detail["id"] for m in Template(collection=news, choices="shown").make(row)] == ["b"]
    assert len(Template(collection=news, choices="hidden").make(row)) == 2
    step = Template(collection=news, draw=1)
    rows = [table_row(text="A longer text", label=0, summary="s", n=n) for n in range(60)]
    drawn = [made.detail["id"] for row in rows for made in step.make(row)]
    assert len(drawn) == 60
    assert set(drawn) == {"a", "b", "c"}
    assert drawn == [made.detail["id"] for row in rows for made in step.make(row)]


def test_rows_that_are_no_table_give_their_texts(tmp_path, conversation):
    path = tmp_path / "turns.yaml"
    path.write_text(
        "dataset: d\ntemplates:\n  a:\n    name: a\n    jinja: "
        "'{{ system }}{{ instruction }} {{ n }} ||| {{ turns[-1].content }} {{ response }}'\n"
    )
    row = conversation("q", "a", system="s")._replace(extra='{"n": 1, "m": 2}')
    [made] = Template(collection=str(path)).make(row)
    assert [turn.content for turn in made.record.fields["messages"]] == ["sq 1", "a a"]
    assert json.loads(made.record.extra) == {"m": 2, "template": "d: a"}
    clash = row._replace(extra='{"response": "other"}')
    with pytest.raises(ValueError, match="'response' is a text of the row and also a column"):
        Template(collection=str(path)).make(clash)


def test_another_text_of_the_file_is_another_step(news, tmp_path):
    before = Template(collection=news).fingerprint()
    (tmp_path / "news.yaml").write_text(FILE.replace("What is it?", "Which?"))
    assert Template(collection=news).fingerprint() != before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "collection must name a file of templates, or one of: .*gsm8k"),
        ({"collection": "gsm8k", "draw": 0}, "draw is 0"),
        ({"collection": "gsm9k"}, "there is no collection 'gsm9k'"),
        ({"collection": "gsm8k", "templates": ("x",)}, r"has no template \['x'\]"),
        ({"collection": "gsm8k", "choices": "shown"}, "no template of 'gsm8k' has its choices"),
    ],
)
def test_what_cannot_work_is_refused_before_the_run(fields, message):
    step = Template(**fields)
    with pytest.raises(ValueError, match=message):
        step.check()
        step.prepare()


def test_a_run_counts_every_row_and_a_collection(news, tmp_path):
    rows = [{"text": f"A text of number {n}", "label": n % 3, "summary": "s"} for n in range(30)]
    pipeline = Pipeline([Template(collection=news), Composition(per=("source", "template"))])
    inputs = {"input": {"path": rows, "shape": "table"}}
    result = pipeline.run(inputs, run=tmp_path / "run", allow_failed=1.0)
    counts = result.summary
    # Sizes times templates, less the two templates with choices of the ten rows of label 2.
    assert (counts["in"], counts["made"], counts["used"]) == (30, 90, 30)
    assert (counts["kept"], counts["failed"], counts["dropped"]) == (70, 20, 0)
    assert counts["figures"]["composition"] == {
        "rows": 70,
        "different source": 1,
        "different template": 3,
        "input / news: only long": 30,
        "input / news: choose": 20,
        "input / news: classify": 20,
    }
    assert {row.parents[0] for row in result.kept} <= {row.id for row in result.used}
