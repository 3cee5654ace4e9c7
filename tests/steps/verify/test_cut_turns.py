"""Long traces are cut at turns, and say what was cut."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate import Pipeline
from curate.row import Message
from curate.step import Drop, Made
from curate.steps import CutTurns, Tools
from tests.steps.conftest import row_of

FACES = {"user": "u", "assistant": "a", "tool": "t", "system": "s"}


def called(id_: str) -> str:
    function = {"name": "f", "arguments": "{}"}
    return json.dumps({"tool_calls": [{"id": id_, "type": "function", "function": function}]})


def trace(text: str, words: int = 4) -> Any:
    """Return a conversation of a letter a turn: `c` calls, `t` answers it; 4 bytes a token."""
    turns = []
    for number, letter in enumerate(text):
        content = "abc " * words
        if letter == "c":
            turns.append(Message("assistant", content, called(f"k{number}")))
        elif letter == "t":
            answered = json.dumps({"tool_call_id": f"k{number - 1}"})
            turns.append(Message("tool", content, answered))
        else:
            role = next(role for role, face in FACES.items() if face == letter)
            turns.append(Message(role, content))
    return row_of("sft", {"messages": tuple(turns)}, extra='{"n": 1}')


def letters(record: Any) -> str:
    return "".join(
        "c" if turn.parts and "tool_calls" in turn.parts else FACES[turn.role]
        for turn in record.fields["messages"]
    )


def cut(row: Any, **fields: Any) -> list[tuple[str, dict[str, Any]]]:
    step = CutTurns(**fields)
    step.check()
    made = step.make(row)
    assert isinstance(made, list)
    return [(letters(one.record), json.loads(one.record.extra)["cut"]) for one in made]


# A turn has 4 + 4 tokens, and one that calls has 5 more for the call.
@pytest.mark.parametrize(
    ("text", "limit", "keep", "pieces"),
    [
        ("suauaua", 7 * 8, "start", None),
        ("suauaua", 6 * 8, "start", [("suaua", [3, 5])]),
        ("suauaua", 6 * 8, "end", [("suuaua", [4, 7])]),
        ("suauaua", 4 * 8, "windows", [("sua", [3, 3]), ("suua", [4, 5]), ("suua", [6, 7])]),
        ("uctctcta", 50, "start", [("uctc", [2, 4])]),
        ("uctctcta", 50, "end", [("ucta", [6, 8])]),
        ("uctctcta", 50, "windows", [("uctc", [2, 4]), ("uctc", [4, 6]), ("ucta", [6, 8])]),
        ("uaaat", 3 * 8, "end", [("uaa", [3, 4])]),
    ],
)
def test_cuts(text: str, limit: int, keep: Any, pieces: Any) -> None:
    row = trace(text)
    if pieces is None:
        assert CutTurns(max_tokens=limit, keep=keep).make(row) is row
        return
    found = cut(row, max_tokens=limit, keep=keep)
    assert [(text, said["turns"]) for text, said in found] == pieces
    assert {said["of"] for _, said in found} == {len(text)}
    assert all(said["tokens"] <= limit < said["tokens_of"] for _, said in found)


@given(
    st.text("uact", min_size=1, max_size=14).map(lambda t: t.replace("t", "ct")),
    st.integers(8, 200),
    st.sampled_from(["start", "end", "windows"]),
)
def test_a_piece_ends_with_an_answer_and_answers_only_its_own_calls(
    text: str, limit: int, keep: Any
) -> None:
    row = trace(text)
    made = CutTurns(max_tokens=limit, keep=keep).make(row)
    if made is row:
        return
    if isinstance(made, Drop):
        assert made.reason in (
            f"no answer within {limit} tokens",
            "no turn of the user to begin with",
        )
        return
    faults = ("unmatched_id", "early_answer", "answered_twice", "out_of_order")
    for one in made:
        assert isinstance(one, Made)
        assert one.score is not None and one.score <= limit
        assert letters(one.record)[-1] in "ac"
        again = row._replace(fields=one.record.fields)
        assert Tools(faults=faults).make(again) is again
    if keep == "windows":
        kept = {n for one in made for n in range(*_span(one))}
        lost = set(range(text.index("u") + 1, len(text))) - kept
        # Only what fits nowhere, what stands before it, or follows the last answer is lost.
        last = max((n for n, letter in enumerate(text) if letter in "ac"), default=-1)
        # Every piece begins with the turns up to the first one of the user.
        room = limit - _tokens(text[: text.index("u") + 1])
        assert all(n > last or _needs(text, n) > room for n in lost)


def _span(one: Made) -> tuple[int, int]:
    first, last = json.loads(one.record.extra or "")["cut"]["turns"]
    return first - 1, last


def _needs(text: str, place: int) -> int:
    """Return how many tokens the least piece has that holds a turn: from its call to an answer."""
    start = place - 1 if text[place] == "t" else place
    end = next(n for n in range(place, len(text)) if text[n] in "ac") + 1
    return _tokens(text[start:end])


def _tokens(text: str) -> int:
    return sum({"u": 8, "a": 8, "c": 8 + 5, "t": 8}[letter] for letter in text)


def test_what_is_dropped_says_why() -> None:
    found = CutTurns(max_tokens=20).make(trace("ua", words=20))
    assert isinstance(found, Drop)
    assert found.reason == "no answer within 20 tokens"
    found = CutTurns(max_tokens=9).make(trace("aaa"))
    assert isinstance(found, Drop)
    assert found.reason == "no turn of the user to begin with"


def test_tools_thoughts_and_a_tokenizer_count(tmp_path: Path) -> None:
    from tests.train import tiny

    tiny.tokenizer().save_pretrained(tmp_path / "bytes")
    row = trace("uaua")
    assert CutTurns(max_tokens=32).make(row) is row
    offered = row._replace(extra=json.dumps({"tools": [{"name": "f"}]}))
    assert isinstance(CutTurns(max_tokens=32).make(offered), list)
    thinking = list(row.messages)
    thinking[1] = thinking[1]._replace(parts='{"reasoning_content": "abc abc "}')
    thought = row._replace(fields={"messages": tuple(thinking)})
    assert isinstance(CutTurns(max_tokens=32).make(thought), list)
    bytes_ = str(tmp_path / "bytes")
    assert CutTurns(max_tokens=4 * 20, tokenizer=bytes_).make(row) is row
    assert isinstance(CutTurns(max_tokens=4 * 20 - 1, tokenizer=bytes_).make(row), list)
    with pytest.raises(ValueError, match="cannot be loaded"):
        CutTurns(tokenizer=str(tmp_path / "none")).prepare()


def test_a_run_says_what_was_cut(tmp_path: Path) -> None:
    turns = [
        {"role": "user" if n % 2 == 0 else "assistant", "content": "abc " * 4} for n in range(6)
    ]
    result = Pipeline([CutTurns(max_tokens=40)]).run(
        [{"messages": turns, "id": "x"}], run=tmp_path / "run"
    )
    [row] = result.kept.to_list()
    assert row == {
        "messages": turns[:4],
        "id": "x",
        "cut": {"turns": [2, 4], "of": 6, "tokens": 32, "tokens_of": 48},
    }
