"""Pairs of answers: the rules that make them, as laws over generated answers."""

import json
from dataclasses import replace
from itertools import combinations
from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.engine.ledger import FigureTotals
from curate.pipeline import Pipeline
from curate.row import Candidate, Message
from curate.step import Figures
from curate.steps.generate.respond import Respond
from curate.steps.pairs import _answers
from curate.steps.pairs.best_of import BestOf
from curate.steps.pairs.convert import Convert
from curate.steps.pairs.delta import Delta
from curate.steps.pairs.pairs import Pairs
from curate.steps.score.reward_score import RewardScore
from tests.models import tiny
from tests.steps.conftest import row_of
from tests.steps.pairs.answers import FIVE, GROUPS, answer, five, made_of, texts


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, [("bb bb", "e")]),
        ({"rejected": "second"}, [("bb bb", "c")]),
        ({"rejected": "second", "most": 2}, [("bb bb", "c"), ("bb bb", "a")]),
        ({"most": 9}, [("bb bb", "e"), ("bb bb", "a"), ("bb bb", "c")]),
        ({"most": 9, "margin": 4}, [("bb bb", "e"), ("bb bb", "a")]),
        ({"length_within": 0, "rejected": "every"}, [("d", "e")]),
        ({"rejected": "every", "margin": 2.25, "most": None},
         [("bb bb", "e"), ("d", "e"), ("bb bb", "a"), ("d", "a"), ("c", "e")]),
    ],
)  # fmt: skip
def test_five_answers_give_the_pairs_that_their_rewards_imply(fields, wanted):
    made, dropped = made_of(Pairs(by="rated", **fields), five())
    assert [texts(one) for one in made] == wanted
    by_text = dict(FIVE)
    for one in made:
        chosen, rejected = texts(one)
        assert one.record.fields["margin"] == one.score == by_text[chosen] - by_text[rejected]
        assert json.loads(one.record.extra) == {
            "topic": "t", "chosen_model": "m", "rejected_model": "m",
            "chosen_score": by_text[chosen], "rejected_score": by_text[rejected],
        }  # fmt: skip
    used = {parent for one in made for parent in one.record.parents}
    assert {drop.row for drop in dropped} == {row.id for row in five()} - used


@pytest.mark.parametrize(
    ("rows", "fields", "reason"),
    [
        ([("a", 1), ("b", 1)], {}, "all answers have one score"),
        ([("a", 1), ("b", 2)], {"margin": 1.5}, "no gap of 1.5 or more"),
        ([("Yes  sir", 1), ("yes SIR", 2)], {}, "answers with other scores say the same"),
        ([("e\u0301", 1), ("\u00e9", 2)], {}, "answers with other scores say the same"),
        ([("a b c", 1), ("b", 2)], {"length_within": 1}, "no two answers within 1 words"),
        ([("a", 1), ("b", 2)], {"rejected": "max_delta"}, "no answers of two models"),
        ([("a", 1), ("b", 2)], {"on_policy": "own"}, "no pair with one side by own"),
        ([("a", 1)], {}, "only one answer to its prompt"),
    ],
)
def test_a_prompt_without_a_pair_says_which_rule_left_none(rows, fields, reason):
    group = [answer(n, text, score) for n, (text, score) in enumerate(rows)]
    made, dropped = made_of(Pairs(by="rated", **fields), group)
    assert (made, [drop.reason for drop in dropped]) == ([], [reason])


def test_a_missing_score_fails_the_group():
    rows = [answer(0, "a", 1.0), answer(1, "b")]
    with pytest.raises(ValueError, match="1 of 2 answers have no score by 'rated'"):
        Pairs(by="rated").make(rows)


def test_answers_that_respond_made_must_all_be_there():
    with pytest.raises(ValueError, match="4 of 5 answers"):
        Pairs(by="rated").make(five()[1:])
    assert made_of(Pairs(by="rated", whole=False), five()[1:])[0]
    assert Pairs(answers=5).expects(five()[0]) == 5


SCRIPT = {
    # The answers to "q2" are cut once, and one answer to "q3" cannot be rated.
    "q1": ["1", "2", "3", "4", "5"], "q2": ["6", None, "8", "9", "10"],
    "q3": ["11", "12", "13", "odd", "15"], "q4": ["same"] * 5,
}  # fmt: skip


def test_a_cut_answer_fails_alone_and_a_missing_reward_its_group(tmp_path):
    lines = []
    for prompt, replies in SCRIPT.items():
        for sample, text in enumerate(replies):
            said = {"reply": text} if text else {"reply": "half", "finish_reason": "length"}
            turn = [{"role": "user", "content": prompt}]
            lines.append({"when": {"messages": turn}, "sample": sample, **said})
            if text not in (None, "odd"):
                turn = [*turn, {"role": "assistant", "content": text}]
                mark = 0.0 if text == "same" else float(text)
                lines.append({"when": {"messages": turn}, "values": [mark]})
    script = tmp_path / "replies.jsonl"
    script.write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = [
        Respond(model="writer", samples=5, to="sft", temperature=1.0),
        RewardScore(model="writer"),
        Pairs(by="reward_score"),
    ]
    pipeline = Pipeline(steps, models={"writer": f"scripted:{script}"})
    rows = [{"prompt": prompt} for prompt in SCRIPT]
    result = pipeline.run(rows, run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0)
    assert [(row.chosen[0].content, row.rejected[0].content) for row in result.kept] == [
        ("5", "1"), ("10", "6"),
    ]  # fmt: skip
    errors = sorted(row["error"] for row in result.failed.to_list())
    assert sum("cut off" in error for error in errors) == 1
    assert sum("4 of 5 answers" in error for error in errors) == 4
    assert len(errors) == 1 + 1 + 4
    reasons = result.summary["steps"][-1]["reasons"]
    assert reasons == {"all answers have one score": 5, "in no pair of its prompt": 3 + 2}
    assert result.summary["figures"]["pairs"]["pairs"] == 2
    # Other rules ask nothing but the one reward that there was no reply to.
    other = result.rethreshold(pairs={"most": 4})
    assert (other.summary["this_time"]["sent"], len(other.kept)) == (1, 4 + 3)


@given(
    GROUPS,
    st.sampled_from(["worst", "random", "second", "every", "max_delta"]),
    st.integers(1, 4),
    st.integers(0, 3),
    st.one_of(st.none(), st.integers(0, 3)),
    st.sampled_from([None, "own"]),
)
def test_every_pair_keeps_the_rules_and_no_allowed_pair_is_left_out(
    group, rejected, most, margin, within, own
):
    rows = [answer(n, text, float(score), model) for n, (text, score, model) in enumerate(group)]
    step = Pairs(by="rated", rejected=rejected, most=most, margin=margin, length_within=within,
                 on_policy=own)  # fmt: skip
    made, dropped = made_of(step, rows)
    top = max(score for _, score, _ in group)

    def allowed(chosen: int, other: int) -> bool:
        (one, high, by), (two, low, of) = group[chosen], group[other]
        first = next(n for n, item in enumerate(group) if item[1] == top)
        return (
            high > low
            and high - low >= margin
            and one.split() != two.split()
            and (within is None or abs(len(one.split()) - len(two.split())) <= within)
            and (rejected in ("every", "max_delta") or chosen == first)
            and (rejected != "max_delta" or by != of)
            and (own is None or (by == own) != (of == own))
        )

    pairs = [tuple(int(parent, 16) for parent in one.record.parents) for one in made]
    possible = [
        pair
        for two in combinations(range(len(group)), 2)
        for pair in (two, two[::-1])
        if allowed(*pair)
    ]
    assert set(pairs) <= set(possible)
    assert len(set(pairs)) == len(pairs) == min(most, len(possible))
    gaps = [one.score for one in made]
    others = [group[a][1] - group[b][1] for a, b in possible if (a, b) not in pairs]
    if rejected in ("worst", "every", "max_delta") and made:
        assert gaps == sorted(gaps, reverse=True)
        assert not others or max(others) <= min(gaps)
    if rejected == "second" and made:
        assert not others or min(others) >= max(gaps)
    assert bool(made) or len([drop for drop in dropped if drop.row is None]) == 1


@given(GROUPS, st.sampled_from(["worst", "random", "second", "every", "max_delta"]))
def test_lowest_makes_the_pairs_of_the_negated_scores(group, rejected):
    fields = {"by": "rated", "rejected": rejected, "most": 3}
    rows = [answer(n, text, float(score), model) for n, (text, score, model) in enumerate(group)]
    negated = [answer(n, text, 0.0 - score, model) for n, (text, score, model) in enumerate(group)]
    made, dropped = made_of(Pairs(lowest=True, **fields), rows)
    assert (made, dropped) == made_of(Pairs(**fields), negated)
    scores = {f"{n:032x}": score for n, (_, score, _) in enumerate(group)}
    for one in made:
        chosen, rejected_id = one.record.parents
        assert scores[chosen] < scores[rejected_id]
        # Whoever reads the pair takes the higher score for the better.
        columns = json.loads(one.record.extra)
        gap = columns["chosen_score"] - columns["rejected_score"]
        assert one.record.fields["margin"] == gap == scores[rejected_id] - scores[chosen]


def test_pairs_of_low_scores_are_ranked_and_paired_again_as_they_were():
    rows = [answer(n, text, score) for n, (text, score) in enumerate([("a", 2.5), ("b", 0.5)])]
    [made], _ = made_of(Pairs(by="rated", lowest=True), rows)
    pair = row_of("preference", made.record.fields, extra=made.record.extra)
    [listed] = Convert(to="ranked").make([pair])
    ranked = row_of("ranked", listed.record.fields)
    [again], _ = made_of(Pairs(), [ranked])
    assert texts(again) == texts(made) == ("b", "a")
    assert again.record.fields["margin"] == 2.0
    [turned], _ = made_of(Pairs(lowest=True), [ranked])
    assert texts(turned) == ("a", "b")


@pytest.mark.parametrize("step", [Pairs, BestOf])
def test_a_score_that_is_no_number_is_missing(step):
    rows = [answer(n, text, score) for n, (text, score) in enumerate([("a", 1.0), ("b", nan)])]
    with pytest.raises(ValueError, match="no score by 'rated'"):
        step(by="rated", lowest=True).make(rows)


def test_the_report_has_the_length_gap_before_and_after():
    found = FigureTotals()
    for number, others in enumerate((["x", "x x x x x"], ["x x", "x"])):
        rows = [
            answer(0, "y y y y y", 3.0),
            *(answer(n, t, 3.0 - n) for n, t in enumerate(others, 1)),
        ]
        step = Pairs(by="rated", rejected="second", length_within=3 if number else 0)
        for one in step.make(rows):
            if isinstance(one, Figures):
                found.note(one.values)
    # Before: 4 and 3 words longer; after: 0 (the second of them has its pair within 3 words).
    assert Pairs().figures(found.totals()) == {
        "pairs": 2.0, "length gap before, words": 3.5, "chosen longer before": 1.0,
        "length gap after, words": 1.5, "chosen longer after": 0.75,
    }  # fmt: skip


def test_lengths_can_be_tokens(tmp_path):
    tiny.byte_tokenizer().save_pretrained(tmp_path)
    # Of bytes the second is nearer to the best, of words the third.
    rows = [answer(n, text, 3.0 - n) for n, text in enumerate(["ab ab", "a b c", "incredible me"])]
    step = Pairs(by="rated", length_within=0, tokenizer=str(tmp_path))
    step.prepare()
    for one, wanted in ((step, "a b c"), (replace(step, tokenizer=None), "incredible me")):
        assert [texts(pair)[1] for pair in made_of(one, rows)[0]] == [wanted]
    found = FigureTotals()
    found.note(next(one.values for one in step.make(rows) if isinstance(one, Figures)))
    assert step.figures(found.totals())["length gap before, tokens"] == 5 - 13


def test_the_on_policy_share_is_that_of_the_prompts():
    count = 0
    for number in range(400):
        rows = [answer(n, t, float(n), "other") for n, t in enumerate("ab")]
        rows = [row._replace(id=f"{number * 2 + n:032x}") for n, row in enumerate(rows)]
        count += bool(made_of(Pairs(by="rated", on_policy="own", on_policy_share=0.25), rows)[0])
    assert 265 <= count <= 335  # 300 are expected, of deviation 8.7: four deviations


def test_candidates_of_ranked_rows_have_their_own_scores():
    candidates = tuple(
        Candidate((Message("assistant", text),), score, model)
        for text, score, model in (("a", 1.0, "x"), ("b", 3.0, "y"), ("c", 2.0, "x"))
    )
    row = row_of("ranked", {"prompt": (Message("user", "Why?"),), "candidates": candidates})
    made, dropped = made_of(Pairs(answers=3, most=2), [row])
    assert ([texts(one) for one in made], dropped) == ([("b", "a"), ("b", "c")], [])
    assert all(one.record.parents == (row.id,) for one in made)
    with pytest.raises(ValueError, match="3 of 4 answers"):
        Pairs(answers=4).make([row])


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Pairs(answers=1), "answers is 1"), (Pairs(most=0), "most is 0"),
        (Pairs(margin=-1), "margin is -1"), (Pairs(length_within=-1), "length_within is -1"),
        (Pairs(on_policy_share=2), "on_policy_share is 2"), (Delta(larger="a"), "larger and"),
        (Delta(larger="a", smaller="a"), "two different ones"), (BestOf(), "by must name"),
        (BestOf(by="a", count=1, share=0.5), "not both"), (BestOf(by="a", share=0), "share is 0"),
    ],
)  # fmt: skip
def test_fields_that_make_no_sense_are_refused(step, said):
    with pytest.raises(ValueError, match=said):
        step.check()


def test_an_answer_is_read_once_in_however_many_pairs_it_is(monkeypatch):
    read: list[str] = []
    monkeypatch.setattr(_answers, "words", lambda text: read.append(text) or text.split())
    rows = [answer(n, f"answer {n}", float(n)) for n in range(12)]
    made, _ = made_of(Pairs(by="rated", rejected="every", most=None, length_within=9), rows)
    assert len(made) == 66
    assert sorted(read) == sorted(f"answer {n}" for n in range(12))
