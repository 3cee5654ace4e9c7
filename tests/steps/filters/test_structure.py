import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.row import Candidate, Message
from curate.steps.filters.structure import PROBLEMS, Problem, Structure

ROLES = {
    "u": "user",
    "a": "assistant",
    "s": "system",
    "t": "tool",
    "d": "developer",
    "x": "narrator",
}
TURN = st.builds(
    Message,
    st.sampled_from(list(ROLES.values())),
    st.sampled_from(["hello", "", " \n\u3000", "é", "\x00"]),
    st.sampled_from([None, None, '{"tool_calls": []}']),
)
TURNS = st.lists(TURN, max_size=6).map(tuple)


def turns(letters):
    """Return turns whose roles are the letters; an upper-case letter is an empty turn."""
    return tuple(Message(ROLES[c.lower()], "" if c.isupper() else f"text {c}") for c in letters)


@pytest.mark.parametrize(
    ("letters", "problems"),
    [
        ("ua", 0),
        ("sua", 0),
        ("dua", 0),
        ("uaua", 0),
        ("uatta", 0),
        ("", Problem.NO_USER_TURN | Problem.NO_ASSISTANT_TURN | Problem.NO_FINAL_ANSWER),
        ("uA", Problem.EMPTY_TURN),
        ("a", Problem.NO_USER_TURN | Problem.ASSISTANT_FIRST),
        ("u", Problem.NO_ASSISTANT_TURN | Problem.NO_FINAL_ANSWER),
        ("usa", Problem.LATE_SYSTEM_TURN),
        ("ssua", Problem.LATE_SYSTEM_TURN),
        ("uta", Problem.STRAY_TOOL_TURN),
        ("sau", Problem.ASSISTANT_FIRST | Problem.NO_FINAL_ANSWER),
        ("uua", Problem.ROLE_REPEATED),
        ("uaa", Problem.ROLE_REPEATED),
        ("uau", Problem.NO_FINAL_ANSWER),
        ("uxa", Problem.UNKNOWN_ROLE),
    ],
)
def test_names_every_problem_of_a_conversation(letters, problems, make_row, scores_of):
    row = make_row("sft", {"messages": turns(letters)})
    assert scores_of(Structure(), [row]) == [float(problems)]


def test_a_tool_call_without_text_is_not_empty(make_row, scores_of):
    call = Message("assistant", "", '{"tool_calls": [1]}')
    row = make_row("sft", {"messages": (*turns("u"), call, *turns("ta"))})
    assert scores_of(Structure(), [row]) == [0]


def test_answers_of_other_kinds(make_row, scores_of):
    prompt, good, other = turns("u"), turns("a"), (Message("assistant", "else"),)
    pair = {"margin": None, "p_chosen": None, "prompt": prompt}
    rows = [
        make_row("prompt", {"prompt": prompt}),
        make_row("preference", {**pair, "chosen": good, "rejected": other}),
        make_row("preference", {**pair, "chosen": good, "rejected": good}),
        make_row("preference", {**pair, "chosen": good, "rejected": turns("A")}),
        make_row("unpaired", {"prompt": prompt, "completion": turns("A"), "label": True}),
        make_row("ranked", {"prompt": prompt, "candidates": (Candidate(good), Candidate(other))}),
        make_row("ranked", {"prompt": prompt, "candidates": (Candidate(turns("A")),)}),
    ]
    assert scores_of(Structure(), rows) == [
        0,
        0,
        Problem.CHOSEN_EQUALS_REJECTED,
        Problem.EMPTY_COMPLETION,
        Problem.EMPTY_TURN | Problem.EMPTY_COMPLETION,
        0,
        Problem.EMPTY_COMPLETION | Problem.TOO_FEW_CANDIDATES,
    ]


@given(st.lists(st.tuples(TURNS, TURNS, TURNS), min_size=1, max_size=6))
def test_both_forms_agree_on_any_turns(make_row, scores_of, groups):
    rows = []
    for prompt, chosen, rejected in groups:
        pair = {"prompt": prompt, "chosen": chosen, "rejected": rejected}
        rows += [
            make_row("sft", {"messages": prompt}),
            make_row("preference", {**pair, "margin": None, "p_chosen": 0.5}),
            make_row("unpaired", {"prompt": prompt, "completion": chosen, "label": None}),
            make_row("prompt", {"prompt": prompt}),
        ]
    for kind in ("sft", "preference", "unpaired", "prompt"):
        scores_of(Structure(), [row for row in rows if row.kind == kind])
    scores_of(Structure(), rows)


def test_only_chosen_problems_drop():
    both = float(Problem.EMPTY_TURN | Problem.ROLE_REPEATED)
    assert Structure().keep(0.0) is None
    assert Structure().keep(both) == "empty turn"
    assert Structure(problems=("role_repeated",)).keep(both) == "role repeated"
    assert Structure(problems=("no_user_turn",)).keep(both) is None
    assert Structure(problems=None).keep(both) is None


def test_codes_follow_the_documented_list():
    text = " ".join((Structure.__doc__ or "").split())
    assert all(f"{name} {2**n}" in text for n, name in enumerate(PROBLEMS))
    with pytest.raises(ValueError, match="unknown problem 'typo'; allowed are empty_turn"):
        Structure(problems=("typo",)).check()


def test_the_ledger_names_every_problem(make_row, scores_of):
    rows = [
        make_row("sft", {"messages": turns(letters)}, seq=n)
        for n, letters in enumerate(["ua", "uU"])
    ]
    assert scores_of(Structure(), rows)[0] == 0
    assert Structure().score(rows[0]).detail is None
    assert Structure().score(rows[1]).detail == {
        "problems": ["empty_turn", "no_assistant_turn", "role_repeated", "no_final_answer"]
    }
