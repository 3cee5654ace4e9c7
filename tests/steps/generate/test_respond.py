"""Answers: one or several, of one or several models, each of them whole."""

import json
from typing import Any

import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.errors import RecipeError, UnusableReply
from curate.row import Message
from curate.steps.generate.respond import Respond
from tests.models.chaos import Server, chat


def made(step: Respond, row: Any, *texts: str | Reply) -> Any:
    """Return what `step` makes of `row`, and its one wave of requests."""
    asking = step.make(row)
    asked = next(asking)
    replies = [Reply(text=text) if isinstance(text, str) else text for text in texts]
    with pytest.raises(StopIteration) as end:
        asking.send(replies)
    return end.value.value, asked


def test_one_answer_makes_a_conversation(make_row):
    row = make_row("prompt", {"prompt": (Message("user", "Why?"),)}, extra='{"n": 1}')
    records, asked = made(Respond(models=("writer",)), row, "Because.")
    assert [(r.kind, r.extra) for r in records] == [("sft", '{"n": 1}')]
    assert records[0].fields["messages"] == (*row.prompt, Message("assistant", "Because."))
    assert [(a.model, a.sample, a.messages) for a in asked] == [("writer", 0, row.prompt)]


def test_several_models_and_samples_make_ranked_answers_in_order(make_row):
    row = make_row("prompt", {"prompt": (Message("user", "Why?"),)})
    step = Respond(models=("a", "b"), samples=2)
    record, asked = made(step, row, "1", "2", "3", "4")
    assert [(a.model, a.sample) for a in asked] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    found = [(c.model, c.messages[0].content, c.score) for c in record.fields["candidates"]]
    assert found == [("a", "1", None), ("a", "2", None), ("b", "3", None), ("b", "4", None)]
    rows, _ = made(Respond(models=("a", "b"), samples=2, to="sft"), row, "1", "2", "3", "4")
    assert [r.fields["messages"][-1].content for r in rows] == ["1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("keep_parent", "extra", "said"),
    [(False, '{"n": 1}', False), (True, '{"n": 1}', True), (False, '{"model": "gpt-4"}', True)],
)
def test_a_single_answer_names_its_writer_where_another_could_be_meant(
    make_row, keep_parent, extra, said
):
    row = make_row("prompt", {"prompt": (Message("user", "Why?"),)}, extra=extra)
    [record], _ = made(Respond(model="small", keep_parent=keep_parent), row, "Because.")
    answered = {"answered": {"by": "small", "of": row.id, "made": 1}} if said else {}
    assert json.loads(record.extra) == {**json.loads(extra), **answered}


def test_the_last_answer_of_a_conversation_is_replaced(conversation):
    row = conversation("One?", "Two.", "Three?", "Four.", system="Be brief.")
    records, asked = made(Respond(models=("m",), system="Be long."), row, "New.")
    assert asked[0].system is None
    assert [t.content for t in asked[0].messages] == ["Be brief.", "One?", "Two.", "Three?"]
    assert records[0].fields["messages"][-1] == Message("assistant", "New.")
    bare = conversation("One?")
    records, asked = made(Respond(models=("m",), system="Be long."), bare, "New.")
    assert asked[0].system == "Be long."
    assert [t.role for t in records[0].fields["messages"]] == ["user", "assistant"]


@pytest.mark.parametrize(
    "reply", [Reply(text="Half of it", finish_reason="length"), Reply(text=" \n")]
)
def test_an_answer_that_is_no_whole_answer_fails_the_row(conversation, reply):
    asking = Respond(models=("m",)).make(conversation("q"))
    next(asking)
    with pytest.raises(UnusableReply):
        asking.send([reply])


def test_a_row_without_a_question_or_with_media_beside_its_turns_fails(make_row):
    question = Message("user", "What is <image>?")
    for turns, extra, message in (
        ((), None, "no prompt to answer"),
        ((question, Message("assistant", "a")), None, "no prompt to answer"),
        ((question,), '{"images": ["a.png"]}', "this model cannot read media .* column 'images'"),
    ):
        row = make_row("prompt", {"prompt": turns}, extra=extra)
        with pytest.raises(ValueError, match=message):
            next(Respond(models=("m",)).make(row))
    empty = make_row("prompt", {"prompt": (question,)}, extra='{"images": [], "n": "images"}')
    assert made(Respond(models=("m",)), empty, "A cat.")


IMAGE = {"type": "image_url", "image_url": {"url": "https://images.example/cat.png"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": {"x": [1, None]}}}
PARTS = [
    [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, IMAGE]}],
    [
        {"role": "user", "content": "Add."},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "content": "1", "tool_call_id": "c1"},
    ],
    [{"role": "user", "content": [{"type": "hologram", "hologram": 1}]}],
]


def test_parts_of_a_prompt_travel_or_its_row_fails(tmp_path):
    with Server(lambda request: chat("An answer.")) as server:
        model = {"model": "openai:m", "base_url": server.url, "max_tokens": 9}
        result = Pipeline([Respond(model="m")], models={"m": model}).run(
            [{"messages": turns, "n": n} for n, turns in enumerate(PARTS)],
            run=tmp_path / "run",
            store=tmp_path / "store",
            allow_failed=1,
        )
        sent = {len(r.body["messages"]): r.body["messages"] for r in server.received}
    arguments = json.dumps(CALL["function"]["arguments"])
    assert set(sent) == {1, 3}
    assert sent[1] == PARTS[0]
    assert json.loads(sent[3][1]["tool_calls"][0]["function"]["arguments"]) == json.loads(arguments)
    assert sent[3][2] == PARTS[1][2]
    # The rows that were made carry what was sent, and the row that could not be fails by name.
    answer = {"role": "assistant", "content": "An answer."}
    kept = result.kept.to_list()
    assert kept == [{"messages": [*PARTS[n], answer], "n": n} for n in (0, 1)]
    [failed] = result.failed.to_list()
    assert (failed["n"], "this model cannot read hologram parts" in failed["error"]) == (2, True)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "must name one or several"),
        ({"models": ("a", "a")}, "names one twice"),
        ({"models": ("a",), "samples": 0}, "samples is 0"),
        ({"models": ("a",), "samples": 2, "temperature": 0.0}, "all samples are one answer"),
        ({"models": ("a",), "top_p": 0.0}, "top_p is 0"),
    ],
)
def test_fields_that_make_no_sense_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Respond(**fields).check()


def test_a_run_samples_and_a_second_one_asks_nothing(tmp_path):
    script = tmp_path / "writer.jsonl"
    script.write_text('{"when": {}, "reply": ["One.", "Two."]}\n')
    models = {"writer": f"scripted:{script}"}
    pipeline = Pipeline([Respond(models=("writer",), samples=2)], models=models)
    sent = []
    for name in ("first", "again"):
        result = pipeline.run(
            [{"prompt": "Why?"}, {"prompt": "How?"}],
            run=tmp_path / name, store=tmp_path / "store",
        )  # fmt: skip
        sent.append(result.summary["requests"]["sent"])
        texts = [[c.messages[0].content for c in row.candidates] for row in result.kept]
        assert texts == [["One.", "Two."]] * 2
    assert sent == [4, 0]


def test_every_unknown_model_is_named():
    with pytest.raises(RecipeError, match="unknown model 'ghost'"):
        Pipeline([Respond(models=("a", "ghost"))], models={"a": "local"}).check()
