"""Critique and revision: which principles, which rounds, and what never becomes a target."""

import json
from collections import Counter
from typing import Any

import pytest

from curate.ask import Reply
from curate.pipeline import Pipeline
from curate.prompts import prompt as prompts
from curate.row import Message, Record, Row
from curate.step import Drop, Failed, Made
from curate.steps.pairs.constitutional_prefer import ConstitutionalPrefer
from curate.steps.pairs.critique_revise import FIELDS, CritiqueRevise
from tests.house.blocks import blocks
from tests.house.places import ROOT
from tests.steps.conftest import row_of, sft


def make(step: CritiqueRevise, row: Row, answer: Any) -> tuple[list[Any], list[Any]]:
    """Return what the step makes of `row`, `answer(number, request)` giving the replies."""
    asking, asked = step.make(row), []
    reply = None
    while True:
        try:
            request = asking.send(reply)
        except StopIteration as end:
            return list(end.value), asked
        asked.append(request)
        said = answer(len(asked), request)
        reply = said if isinstance(said, Reply) else Reply(text=said)


def by_kind(made: list[Any], kind: str) -> list[Record]:
    return [one.record for one in made if isinstance(one, Made) and one.record.kind == kind]


def test_principles_are_uniform_logged_and_in_no_target():
    """16 principles, 4 rounds, 1,600 rows: as the paper has them."""
    step = CritiqueRevise(model="m")
    items = {item.id: item for item in prompts.load(step.constitution).items}
    assert len(items) == 16
    drawn: list[Counter[str]] = [Counter() for _ in range(4)]
    for number in range(1600):
        row = sft(f"question {number}?", "first answer")

        def answer(place: int, request: Any) -> str:
            kind = "revision" if place % 2 == 0 else "critique"
            return f"{kind} {(place + 1) // 2} of this row"

        made, asked = make(step, row, answer)
        conversations, [pair] = by_kind(made, "sft"), by_kind(made, "preference")
        assert len(asked) == 8
        for place, one in enumerate(made[:4]):
            # The ledger names the principle that the requests were made by.
            item = items[one.detail["principle"]]
            drawn[place][item.id] += 1
            request, revision = asked[2 * place], asked[2 * place + 1]
            assert item.values["critique"] in request.messages[-1].content
            assert item.values["revise"] in revision.messages[-1].content
            assert one.detail["critique"] == f"critique {place + 1} of this row"
            assert json.loads(one.record.extra) == {"round": place + 1, "principle": item.id}
            # A round goes on from the revision before it.
            before = "first answer" if not place else f"revision {place} of this row"
            assert request.messages[1] == Message("assistant", before)
        targets = [one.fields["messages"][-1].content for one in conversations]
        assert targets == [f"revision {n} of this row" for n in range(1, 5)]
        assert pair.fields["chosen"][0].content == "revision 4 of this row"
        assert pair.fields["rejected"][0].content == "first answer"
        for record in (*conversations, pair):
            assert "critique" not in f"{record.fields} {record.extra}"
    for counts in (*drawn, sum(drawn, Counter())):
        expected = counts.total() / 16
        square = sum((counts[name] - expected) ** 2 / expected for name in items)
        assert square < 37.7, counts  # 15 degrees of freedom, 0.1 %


@pytest.mark.parametrize("upto", [1, 2, 3, 4])
def test_the_set_of_a_round_holds_the_rounds_up_to_it(upto):
    answer = lambda place, request: f"text {place}"  # noqa: E731
    made, asked = make(CritiqueRevise(model="m", upto=upto), sft("q?", "a"), answer)
    rounds = [json.loads(record.extra)["round"] for record in by_kind(made, "sft")]
    assert (rounds, len(asked)) == (list(range(1, upto + 1)), 8)
    [pair] = by_kind(made, "preference")
    assert pair.fields["chosen"][0].content == f"text {2 * upto}"
    made, _ = make(
        CritiqueRevise(model="m", upto=upto, last=True, to="sft"), sft("q?", "a"), answer
    )
    assert [json.loads(one.record.extra)["round"] for one in made] == [upto]


def test_a_prompt_is_answered_first_and_examples_stand_behind_the_system_turn():
    prompt = (Message("system", "Be kind."), Message("user", "Why?"))
    step = CritiqueRevise(model="m", shots=2, rounds=1, to="preference")
    made, asked = make(step, row_of("prompt", {"prompt": prompt}), lambda n, _: f"text {n}")
    assert asked[0].messages == prompt
    roles = [turn.role for turn in asked[1].messages]
    assert roles == ["system", *["user", "assistant"] * 6, "user", "assistant", "user"]
    assert asked[1].messages[-3:-1] == (prompt[1], Message("assistant", "text 1"))
    [pair] = by_kind(made, "preference")
    assert (pair.fields["prompt"], pair.fields["rejected"][0].content) == (prompt, "text 1")


SORRY = "I'm sorry, but I can't help with that."


@pytest.mark.parametrize(
    ("replies", "kept", "end", "reason"),
    [
        ({4: ""}, 1, Failed, "the revision of round 2 is empty"),
        ({3: "  "}, 1, Failed, "the critique of round 2 is empty"),
        ({2: Reply(text="half", finish_reason="length")}, 0, Failed, "cut off at max_tokens"),
        ({6: "la " * 80}, 2, Failed, "repeats itself over and over"),
        ({4: "Here: critique 3 of the answer. Better so."}, 1, Failed, "repeats its critique"),
        ({2: SORRY, 4: SORRY}, 1, Drop, "the revision refuses again"),
        ({2: SORRY, 4: "No. " + SORRY}, 1, Drop, "the revision refuses again"),
        ({4: "Revision  2"}, 3, Drop, "the revision changes nothing"),
    ],
)
def test_what_is_no_revision_ends_with_a_reason(replies, kept, end, reason):
    def answer(place: int, request: Any) -> Any:
        return replies.get(
            place, f"revision {place}" if place % 2 == 0 else f"critique {place} of the answer"
        )

    if reason.endswith("changes nothing"):
        replies = {**replies, 2: "revision 2"}
    made, _ = make(CritiqueRevise(model="m", to="sft"), sft("q?", "a"), answer)
    [last] = [one for one in made if not isinstance(one, Made)]
    assert isinstance(last, end)
    assert reason in str(last.error if isinstance(last, Failed) else last.reason)
    assert len(by_kind(made, "sft")) == kept


def test_a_revision_that_goes_back_to_the_first_answer_is_no_pair():
    said = {2: "Yes.", 4: "A first  answer"}
    answer = lambda place, request: said.get(place, "too short to be repeated")  # noqa: E731
    made, _ = make(CritiqueRevise(model="m", rounds=2), sft("q?", "a first answer"), answer)
    *conversations, pair = made
    assert len(conversations) == 2
    assert isinstance(pair, Drop)
    assert (pair.reason, pair.record.kind) == (
        "the last revision is the first answer again", "preference",
    )  # fmt: skip
    # Up to the first round it is a pair, and that asks nothing anew.
    made, asked = make(
        CritiqueRevise(model="m", rounds=2, upto=1), sft("q?", "a first answer"), answer
    )
    assert isinstance(made[-1], Made) and len(asked) == 4


def test_a_short_critique_may_stand_in_a_revision():
    answer = lambda place, request: "No." if place % 2 else f"No. It is {place}."  # noqa: E731
    made, _ = make(CritiqueRevise(model="m", rounds=2, to="sft"), sft("q?", "a"), answer)
    assert [one.record.fields["messages"][-1].content for one in made] == [
        "No. It is 2.",
        "No. It is 4.",
    ]


def test_a_refusing_loop_and_an_empty_revision_are_accounted_for(tmp_path):
    lines = [
        {"when": {"contains": "Now write"}, "reply": SORRY},
        {"when": {"contains": "Criticise"}, "reply": "It is rude."},
    ]
    script = tmp_path / "replies.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    step = CritiqueRevise(model="m", rounds=3)
    rows = [
        {"instruction": "q1", "output": "a rude answer"},
        {"instruction": "q2", "output": SORRY},
    ]
    result = Pipeline([step], models={"m": f"scripted:{script}"}).run(
        rows, run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0
    )
    assert sorted(row.kind for row in result.kept) == ["preference", "sft"]
    [summary] = result.summary["steps"]
    # The second answer of the first row, and the first one of the second.
    assert summary["reasons"] == {"the revision refuses again": 2}
    again = result.rethreshold(critique_revise={"upto": 1, "last": True})
    assert again.summary["this_time"]["sent"] == 0


@pytest.mark.parametrize("name", ["harmlessness", "helpfulness", "honesty"])
def test_a_shipped_constitution_says_all_that_is_needed(name):
    items = prompts.load(f"constitution_{name}").items
    texts = [text for item in items for text in item.values.values()]
    assert all(tuple(item.values) == FIELDS for item in items)
    assert len(set(texts)) == len(texts) >= 24
    CritiqueRevise(model="m", constitution=f"constitution_{name}").prepare()


def test_the_constitutions_of_the_page_say_all_that_is_needed(tmp_path):
    page = blocks(ROOT / "docs" / "how-to" / "constitutional-ai.md")
    written = [block.text for block in page if block.language == "markdown"]
    assert len(written) == 3
    for number, text in enumerate(written):
        path = tmp_path / f"{number}.md"
        path.write_text(text)
        CritiqueRevise(model="m", constitution=str(path)).prepare()
        ConstitutionalPrefer(model="m", constitution=str(path)).prepare()
        items = prompts.load(str(path)).items
        texts = [value for item in items for value in item.values.values()]
        assert len(set(texts)) == len(texts) == 3 * len(items) >= 15


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"constitution": "evolve_answer"}, "is not a constitution"),
        ({"constitution": "critique"}, "is not a constitution"),
        ({"principles": ("kindness",)}, "no item 'kindness'"),
        ({"shots": 9}, "shots is 9, and 'constitution_examples' has 2"),
        ({"shots": 1, "examples": "evolve_answer"}, "lacks"),
        ({"critique": "reword"}, "this step gives it"),
    ],
)
def test_prompts_that_do_not_fit_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        CritiqueRevise(model="m", **fields).prepare()


def test_a_column_that_would_be_lost_fails_the_row():
    row = sft("q?", "a")._replace(extra='{"round": 9}')
    with pytest.raises(ValueError, match="has a column 'round' already"):
        make(CritiqueRevise(model="m"), row, lambda n, _: "x")
