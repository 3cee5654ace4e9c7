"""Evolution: each elimination rule by its name, the round before stands, the lineage is told."""

from typing import Any

import pytest

from curate.ask import Reply
from curate.errors import UnusableReply
from curate.row import Message
from curate.step import Drop
from curate.steps.generate.evolve import COPIED, EMPTY_ANSWER, EQUAL, SORRY, Evolve


def driven(step: Evolve, row: Any, *script: Any) -> Any:
    """Return what `step` makes under a script of replies (lists for waves), and what it asked."""
    asking = step.make(row)
    asked = [next(asking)]
    for entry in script:
        many = isinstance(entry, list)
        replies = [Reply(text=t) if isinstance(t, str) else t for t in (entry if many else [entry])]
        try:
            asked.append(asking.send(replies if many else replies[0]))
        except StopIteration as end:
            return end.value, asked
    raise AssertionError("it asks for more than the script has")


@pytest.fixture
def row(make_row):
    return make_row("prompt", {"prompt": (Message("user", "Name a metal."),)})


def test_an_evolved_instruction_is_answered_and_its_lineage_told(row):
    script = (
        "Name two metals.",
        ["different", "Iron, tin."],
        "Name three.",
        ["different", "Zinc."],
    )
    made, asked = driven(Evolve(model="m", rounds=2), row, *script)
    assert [m.content for m in made[0].record.fields["messages"]] == ["Name three.", "Zinc."]
    lineage = made[0].detail["lineage"]
    assert [(e["round"], e["text"]) for e in lineage] == [
        (1, "Name two metals."),
        (2, "Name three."),
    ]
    assert made[0].score == 2.0
    # The second round rewrites what the first one made.
    assert "Name two metals." in asked[2].messages[0].content


def test_every_round_that_stands_can_become_a_row(row):
    script = ("A?", ["different", "Iron."], "B?", ["equal", "Tin."], "C?", ["different", "Zinc."])
    made, _ = driven(Evolve(model="m", rounds=3, every=True), row, *script)
    assert [one.record.fields["messages"][0].content for one in made] == ["A?", "C?"]
    assert [len(one.detail["lineage"]) for one in made] == [1, 3]


@pytest.mark.parametrize(
    ("evolved", "wave", "reason"),
    [
        ("Name one metal.", ["equal", "Iron."], EQUAL),
        ("Name a fake metal.", ["different", "Sorry, I cannot."], SORRY),
        ("Name it.", ["different", "... the of and, !"], EMPTY_ANSWER),
        ("#Rewritten Prompt#: name it.", None, COPIED),
        ("The given prompt asks for a metal.", None, COPIED),
    ],
)
def test_each_elimination_rule_by_its_name(row, evolved, wave, reason):
    script = (evolved,) if wave is None else (evolved, wave)
    found, _ = driven(Evolve(model="m"), row, *script)
    assert isinstance(found, Drop)
    assert found.reason == reason
    assert found.detail["lineage"][0]["eliminated"] == reason


def test_the_round_before_stands_where_one_is_eliminated(row):
    script = ("Name two.", ["different", "Iron, tin."], "Name 2.", ["equal", "x"])
    made, _ = driven(Evolve(model="m", rounds=2), row, *script)
    assert [m.content for m in made[0].record.fields["messages"]] == ["Name two.", "Iron, tin."]
    assert [e.get("eliminated") for e in made[0].detail["lineage"]] == [None, EQUAL]


def test_a_long_answer_may_say_sorry(row):
    answer = "I am sorry to say that it rusts. " + " ".join(
        f"Iron meets drop {n}." for n in range(25)
    )
    made, _ = driven(Evolve(model="m"), row, "Why does it rust?", ["different", answer])
    assert made[0].score == 1.0


def test_answers_evolve_too(conversation):
    step = Evolve(model="m", on="response", rounds=2, operations=("depth",))
    made, asked = driven(step, conversation("Why?", "So."), "So, because.", "So, because of it.")
    turns = [m.content for m in made[0].record.fields["messages"]]
    assert turns == ["Why?", "So, because of it."]
    assert "deeper" in asked[0].messages[0].content


def test_operations_are_drawn_by_the_rows_seed(make_row):
    drawn = set()
    for n in range(30):
        row = make_row("prompt", {"prompt": (Message("user", f"Task {n}"),)})
        asked = next(Evolve(model="m").make(row))
        again = next(Evolve(model="m").make(row))
        assert asked == again
        drawn.add(asked.messages[0].content.split("[end of instruction")[1].split("\n\n")[1])
    assert len(drawn) == 6


def test_a_verdict_that_is_none_fails(row):
    with pytest.raises(UnusableReply):
        driven(Evolve(model="m"), row, "Name two.", ["perhaps", "Iron."])


def test_unknown_operations_are_refused():
    with pytest.raises(ValueError, match=r"operations names \['jump'\]; evolve has constraints"):
        Evolve(model="m", operations=("jump",)).prepare()
