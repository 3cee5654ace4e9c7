"""Questions from documents: the passage can be found again, and bad pairs go by name."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from curate.ask import Reply
from curate.cli.main import app
from curate.pipeline import Pipeline
from curate.row import Message, Record, Row
from curate.step import Drop, Failed
from curate.steps.generate.document_qa import DocumentQa, find_quote
from curate.system import package_data

TEXT = "# Bees\n\nBees see ultraviolet light.\n\n# Bread\n\nYeast gives off a gas."


def reply_to(passage: str, **changes: Any) -> str:
    """Return a reply whose quote is the passage's last words."""
    quote = " ".join(passage.split()[-3:])
    pair = {"question": f"What about {quote}?", "answer": f"It is {quote}", "quote": quote}
    return json.dumps({"pairs": [pair | changes]})


def asked_passage(ask: Any) -> str:
    found = re.search(r"\[passage \w+\]\n(.*?)\n\[end of passage", ask.messages[0].content, re.S)
    assert found
    return found[1]


def driven(row: Row, step: DocumentQa, *waves: list[Reply]) -> list[Any]:
    """Return what `step` makes when its requests of each wave are answered so."""
    asking = step.make(row)
    asked = next(asking)
    for wave in waves[:-1]:
        assert len(asked) == len(wave)
        asked = asking.send(wave)
    assert len(asked) == len(waves[-1])
    with pytest.raises(StopIteration) as end:
        asking.send(waves[-1])
    return end.value.value


@pytest.fixture
def document(make_row):
    extra = json.dumps({"file": "guide.pdf", "title": "Guide", "pages": [0, 37], "tag": 1})
    return make_row("prompt", {"prompt": (Message("user", TEXT),)}, extra=extra)


def test_every_row_keeps_its_passage_places_and_page(document) -> None:
    replies = [Reply(text=reply_to("see ultraviolet light.")), Reply(text=reply_to("off a gas."))]
    # The least passage that is allowed is longer than this text.
    step = DocumentQa(model="m", passage=40)
    made = driven(document, step, replies)
    columns = [json.loads(record.extra) for record in made]
    assert [c["page"] for c in columns] == [1, 2]
    for record, own in zip(made, columns, strict=True):
        assert TEXT[own["passage_start"] : own["passage_end"]] == own["passage"]
        assert TEXT[own["quote_start"] : own["quote_end"]] in record.fields["messages"][1].content
        assert (own["file"], own["title"], own["tag"]) == ("guide.pdf", "Guide", 1)
        assert "pages" not in own


def test_with_context_the_passage_is_part_of_the_question(document) -> None:
    step = DocumentQa(model="m", passage=1000, context=True)
    reply = reply_to("gives off a gas.", question="What does the passage say of yeast?")
    (record,) = driven(document, step, [Reply(text=reply)])
    assert record.fields["messages"][0].content == f"{TEXT}\n\nWhat does the passage say of yeast?"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"question": "What does the text say of yeast?"}, "the question leans on the passage"),
        ({"question": "What is mentioned above?"}, "the question leans on the passage"),
        ({"answer": "The passage does not say."}, "the answer says that there is none"),
        ({"answer": "I'm sorry, I cannot answer that."}, "the answer says that there is none"),
        ({"quote": "Yeast gives off a smell."}, "its quote is not in the passage"),
    ],
)
def test_a_pair_that_breaks_a_rule_is_dropped_by_its_name(document, changes, reason) -> None:
    step = DocumentQa(model="m", passage=1000)
    (drop,) = driven(document, step, [Reply(text=reply_to("off a gas.", **changes))])
    assert isinstance(drop, Drop)
    assert drop.reason == reason
    assert drop.record is not None and drop.record.kind == "sft"


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "What does the passage of the bill require?"},
        {"question": "Who wrote this section of the code?"},
        {"question": "Who signed the document that ended the war of 1812?"},
        {"answer": "Under Article 5, no person may be tried twice."},
        {"answer": "A will is a document that does not expire."},
    ],
)
def test_a_pair_about_a_passage_of_the_world_is_sound(document, changes) -> None:
    step = DocumentQa(model="m", passage=1000)
    (made,) = driven(document, step, [Reply(text=reply_to("off a gas.", **changes))])
    assert isinstance(made, Record)


def test_a_refused_pair_is_no_question_that_the_document_had(document) -> None:
    replies = [
        Reply(text=reply_to("ultraviolet light.", question="What is it?", answer="I'm sorry, no.")),
        Reply(text=reply_to("off a gas.", question="What is it?")),
    ]
    refused, kept = driven(document, DocumentQa(model="m", passage=40), replies)
    assert isinstance(refused, Drop) and isinstance(kept, Record)


def test_a_schema_without_pairs_is_refused(tmp_path) -> None:
    own = (
        (package_data.folder("prompts") / "document_qa.md").read_text().replace("pairs", "couples")
    )
    (tmp_path / "own.md").write_text(own)
    with pytest.raises(ValueError, match="must ask for a list `pairs`"):
        DocumentQa(model="m", prompt=str(tmp_path / "own.md")).prepare()


def test_a_question_that_the_document_had_before_is_dropped(document) -> None:
    replies = [
        Reply(text=reply_to("ultraviolet light.", question="What  is it?")),
        Reply(text=reply_to("off a gas.", question="what is it?")),
    ]
    first, second = driven(document, DocumentQa(model="m", passage=40), replies)
    assert isinstance(first, Record)
    assert second.reason == "the document's questions had it before"


BAD = {
    "empty": "",
    "a refusal": "I'm sorry, but I can't help with that.",
    "broken JSON": '{"pairs": [{"question": "What?", "answer": ',
    "a loop": json.dumps({"pairs": [{"question": "q", "answer": "no " * 10_000, "quote": "gas"}]}),
    "control characters": '{"pairs": [{"question": "q", "answer": "a\\u0000", "quote": "gas"}]}',
    "lines": "Question: What?\nAnswer: That.",
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_reply_fails_its_passage_alone_and_is_kept(document, bad) -> None:
    broken = Reply(text=BAD[bad], key="k")
    good = Reply(text=reply_to("off a gas."))
    step = DocumentQa(model="m", passage=40)
    failed, made = driven(document, step, [broken, good], [broken])
    assert isinstance(failed, Failed)
    assert failed.reply == broken
    assert json.loads(failed.record.extra)["passage_start"] == 0
    assert isinstance(made, Record)
    # A second reply that can be read is taken.
    repaired = Reply(text=reply_to("ultraviolet light."))
    assert all(
        isinstance(one, Record) for one in driven(document, step, [broken, good], [repaired])
    )


def test_a_reply_that_was_cut_off_is_not_asked_for_again(document) -> None:
    cut = Reply(text='{"pairs": [', finish_reason="length")
    (failed,) = driven(document, DocumentQa(model="m", passage=1000), [cut])
    assert "cut off at max_tokens" in str(failed.error)


def test_small_models_complete_a_line(document) -> None:
    step = DocumentQa(
        model="m", prompt="document_qa_brief", complete=True, passage=1000, questions=1
    )
    asking = step.make(document)
    (ask,) = next(asking)
    assert ask.prompt.endswith(f"Text: {TEXT}\nQuestion:")
    assert (ask.messages, ask.stop) == ((), ("\n\n",))
    with pytest.raises(StopIteration) as end:
        asking.send([Reply(text=" What do bees see?\nAnswer: Ultraviolet light.")])
    (record,) = end.value.value
    turns = [turn.content for turn in record.fields["messages"]]
    assert turns == ["What do bees see?", "Ultraviolet light."]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model must name"),
        ({"model": "m", "questions": 0}, "questions is 0"),
        ({"model": "m", "passage": 20}, "passage is 20; it must be 100 or more"),
        ({"model": "m", "complete": True, "structured": True}, "structured needs a chat"),
    ],
)
def test_a_step_that_asks_for_nothing_is_refused(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        DocumentQa(**fields).check()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"complete": True}, "has a system prompt or a schema"),
        ({"prompt": "document_qa_brief", "structured": True}, "structured needs a schema"),
        ({"prompt": "rank_answers"}, "this step gives it passage, questions"),
    ],
)
def test_a_prompt_that_does_not_fit_is_refused(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        DocumentQa(model="m", **fields).prepare()


@pytest.mark.parametrize(
    ("quote", "found"),
    [
        ("sees  'red'\nlight", "sees \u2018red\u2019 light"),
        ('"Sees', "sees"),
        ("...red\u2019 light.", "red\u2019 light"),
        ("blue", None),
        ("...", None),
    ],
)
def test_a_quote_is_found_whatever_its_marks_and_spaces(quote, found) -> None:
    passage = "A bee sees \u2018red\u2019 light."
    span = find_quote(quote, passage)
    assert (span and span.of(passage)) == found


@pytest.mark.slow
def test_offsets_restore_the_passages_of_200_rows_from_the_files(tmp_path: Path) -> None:
    documents = tmp_path / "docs"
    documents.mkdir()
    for number in range(20):
        paragraphs = [
            f"Paragraph {number}.{part} speaks of thing {part}, \u00e9t\u00e9 and \u8a9e, in words."
            for part in range(11)
        ]
        text = f"# Document {number}\r\n\r\n" + "\r\n\r\n\r\n".join(paragraphs)
        (documents / f"{number}.md").write_bytes(text.encode())
    script = tmp_path / "replies.jsonl"
    # One pair for each passage: what a passage says last is its quote.
    lines = [
        {
            "when": {"contains": f"Paragraph {number}.{part} "},
            "reply": json.dumps(
                {
                    "pairs": [
                        {
                            "question": f"What does paragraph {number}.{part} speak of?",
                            "answer": f"Paragraph {number}.{part} speaks of thing {part}.",
                            "quote": f"speaks of thing {part}, \u00e9t\u00e9",
                        }
                    ]
                }
            ),
        }
        for number in range(20)
        for part in range(11)
    ]
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    step = DocumentQa(model="m", passage=100)
    result = Pipeline([step], models={"m": f"scripted:{script}"}).run(
        str(documents), run=tmp_path / "run", store=tmp_path / "store"
    )
    rows = list(result.kept)
    assert len(rows) >= 200
    for form in ("messages", "trl_sft", "axolotl_chat", "llamafactory_sharegpt"):
        out = tmp_path / f"{form}.jsonl"
        command = ["export", str(tmp_path / "run"), "--as", form, "-o", str(out)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        exported = [json.loads(line) for line in out.read_text().splitlines()]
        assert len(exported) == len(rows)
        for own in exported:
            text = Path(own["file"]).read_bytes().decode()
            assert text[own["passage_start"] : own["passage_end"]] == own["passage"]
            quote = text[own["quote_start"] : own["quote_end"]]
            assert quote.startswith("speaks of thing")


def test_a_document_with_more_than_text_fails(make_row) -> None:
    parts = json.dumps({"content": [{"type": "image"}, {"type": "text", "text": TEXT}]})
    row = make_row("prompt", {"prompt": (Message("user", TEXT, parts),)})
    with pytest.raises(ValueError, match="only its text is asked of"):
        next(DocumentQa(model="m").make(row))
