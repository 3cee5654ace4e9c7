"""A model's win rate by a judge: both orders, controls, groups, replay; scripted."""

import json

import pytest

from curate.errors import UsageError
from curate.evaluate.model.held_out import held_out_loss, order_of_pairs, scores_pairs_by
from curate.evaluate.model.judged import CONSTANT, judge_win_rate, judging_step
from curate.evaluate.model.mt_bench import TEMPERATURES, rate_turns, read_questions
from curate.evaluate.model.stages import Stages
from curate.evaluate.rank_statistics import Interval
from curate.pipeline import Pipeline

COUNT = 12


def write(path, lines):
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return str(path)


@pytest.fixture
def stages(tmp_path):
    """Return stages in a folder, whose models read scripts that a test writes."""

    def run(pipeline: Pipeline, **options):
        given = {"store": tmp_path / "store", **options}
        return pipeline.run(pipeline.inputs, **given)

    models = {
        name: f"scripted:{tmp_path / name}.jsonl" for name in ("candidate", "judge", "baseline")
    }
    return Stages(tmp_path / "evaluation", models, run)


def says(place, option):
    """Return the line of a judge who names `option` where that text stands before its end mark."""
    return {"when": {"contains": f"{place}\n[end of answer {option}"}, "reply": option}


@pytest.fixture
def prompts(tmp_path):
    rows = [
        {
            "instruction": f"Ask {n}.",
            "output": f"reference {n} which is long",
            "category": ("chat", "code")[n % 2],
            "language": "en",
        }
        for n in range(COUNT)
    ]
    write(tmp_path / "candidate.jsonl", [
        {"when": {"contains": f"Ask {n}."}, "reply": f"{'GOOD' if n < 9 else 'BAD'} {n}!"}
        for n in range(COUNT)
    ])  # fmt: skip
    # The judge prefers GOOD answers in any place, and references to all others.
    lines = [says(f"GOOD {n}!", option) for n in range(COUNT) for option in "AB"]
    lines += [says("which is long", option) for option in "AB"]
    write(tmp_path / "judge.jsonl", lines)
    return write(tmp_path / "prompts.jsonl", rows)


def test_a_model_that_wins_nine_of_twelve(stages, prompts):
    found = judge_win_rate(stages, prompts, baseline="answers")
    assert (found["prompts"], found["failed"]) == (COUNT, 0)
    assert found["win_rate"].value == found["win_rate_counted"].value == 0.75
    assert found["win_rate"].low < 0.75 < found["win_rate"].high
    assert (found["consistency"].value, found["same_place_wins"].value) == (1, 0)
    assert found["shown_first_wins"].value == 0.5
    assert found["win_rate_longest"].value == 0  # a judge of length would always take the other
    assert "extrapolated" in found["warning"]
    assert found["constant"]["win_rate"].value == 0
    assert found["against_constant"]["difference"].value == 0.75
    assert found["against_constant"]["p"] < 0.01
    category = found["groups"]["category"]
    assert (category["chat"]["win_rate"].value, category["code"]["win_rate"].value) == (
        5 / 6, 4 / 6,
    )  # fmt: skip
    records = list(map(json.loads, (stages.folder / "contests.jsonl").read_text().splitlines()))
    texts = {one["candidates"][0]["messages"][0]["content"] for one in records}
    assert texts == {CONSTANT} | {f"{'GOOD' if n < 9 else 'BAD'} {n}!" for n in range(COUNT)}


def test_the_same_again_asks_nothing_and_finds_the_same(stages, prompts, tmp_path):
    first = judge_win_rate(stages, prompts, baseline="answers")
    sent = [result.summary["requests"]["sent"] for result in stages.results]
    assert sent == [COUNT, 5 * COUNT]  # of the whole: 12 answers, and 12 x 2 orders x 2 contests
    again = Stages(stages.folder, stages.models, stages._run)
    assert judge_win_rate(again, prompts, baseline="answers") == first
    other = Stages(tmp_path / "elsewhere", stages.models, stages._run)
    assert judge_win_rate(other, prompts, baseline="answers") == first
    assert sum(result.summary["requests"]["sent"] for result in other.results) == 0


def test_a_ceiling_holds_over_all_runs_of_an_evaluation(stages, prompts):
    from curate.errors import CeilingReached

    run = stages._run
    stages._run = lambda pipeline, **given: run(pipeline, max_requests=COUNT + 5, **given)
    with pytest.raises(CeilingReached):
        judge_win_rate(stages, prompts, baseline="answers")
    assert [result.summary["requests"]["sent"] for result in stages.results] == [COUNT]
    stages._run = lambda pipeline, **given: run(pipeline, max_requests=100, **given)
    assert judge_win_rate(stages, prompts, baseline="answers")["win_rate"].value == 0.75


def test_a_judge_of_places_ties_everything(stages, prompts, tmp_path):
    write(tmp_path / "judge.jsonl", [{"when": {}, "reply": "A"}])
    found = judge_win_rate(stages, prompts, baseline="answers", constant=None)
    assert (found["win_rate"].value, found["ties"].value) == (0.5, 1)
    assert (found["consistency"].value, found["same_place_wins"].value) == (0, 1)
    assert "constant" not in found


def test_a_model_or_a_column_as_baseline(stages, prompts, tmp_path):
    write(tmp_path / "baseline.jsonl", [{"when": {}, "reply": "other, which is long"}])
    assert judge_win_rate(stages, prompts)["win_rate"].value == 0.75
    rows = [{"prompt": f"Ask {n}.", "gold": "gold which is long"} for n in range(COUNT)]
    path = write(tmp_path / "column.jsonl", rows)
    other = Stages(tmp_path / "2", stages.models, stages._run)
    assert judge_win_rate(other, path, baseline="gold")["win_rate"].value == 0.75
    third = Stages(tmp_path / "3", stages.models, stages._run)
    with pytest.raises(UsageError, match="12 of 12 rows have no text in 'silver'"):
        judge_win_rate(third, path, baseline="silver")


def test_the_prompts_of_lists_are_answered_and_compared_with_a_column(stages, prompts, tmp_path):
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Ask {n}."}],
            "candidates": [
                {"messages": [{"role": "assistant", "content": text}], "score": score}
                for text, score in (("one", 1.0), ("two", 0.0))
            ],
            "gold": f"reference {n} which is long",
        }
        for n in range(COUNT)
    ]
    path = write(tmp_path / "lists.jsonl", rows)
    found = judge_win_rate(stages, path, baseline="gold", constant=None)
    assert (found["prompts"], found["win_rate"].value) == (COUNT, 0.75)
    other = Stages(tmp_path / "other", stages.models, stages._run)
    with pytest.raises(UsageError, match="12 of 12 rows have no answer of its own"):
        judge_win_rate(other, path, baseline="answers")


def test_a_judge_that_fails_is_counted_and_not_measured(stages, prompts, tmp_path):
    lines = (tmp_path / "judge.jsonl").read_text().splitlines()
    fails = {"when": {"contains": "Ask 3."}, "reply": "Neither of the two."}
    write(tmp_path / "judge.jsonl", [fails, *map(json.loads, lines)])
    found = judge_win_rate(stages, prompts, baseline="answers")
    assert (found["prompts"], found["failed"]) == (COUNT - 1, 2)
    assert found["win_rate"].value == pytest.approx(8 / 11)
    assert stages.results[-1].exit_code == 1


def test_two_models_are_compared_on_the_same_prompts(stages, prompts, tmp_path):
    judge_win_rate(stages, prompts, baseline="answers")
    lines = [{"when": {"contains": f"Ask {n}."}, "reply": f"BAD {n}!"} for n in range(COUNT)]
    worse = {**stages.models, "candidate": f"scripted:{tmp_path / 'worse'}.jsonl"}
    write(tmp_path / "worse.jsonl", lines)
    other = Stages(tmp_path / "worse", worse, stages._run)
    found = judge_win_rate(other, prompts, baseline="answers", against=stages.folder)
    assert found["against"]["difference"].value == -0.75
    assert found["against"]["p"] < 0.01
    assert found["against"]["prompts"] == COUNT


def test_the_embedded_judge_is_asked_in_the_form_for_small_models():
    assert judging_step("local").complete
    assert not judging_step("openai:gpt").complete


def test_two_turns_are_answered_in_turn_and_rated(stages, tmp_path):
    questions = [
        {"question_id": 81, "category": "writing", "turns": ["Write one.", "Now two."]},
        {"question_id": 101, "category": "math", "turns": ["Add 1.", "Add 2."]},
    ]
    path = write(tmp_path / "questions.jsonl", questions)
    write(tmp_path / "candidate.jsonl", [
        {"when": {"messages": [
            {"role": "user", "content": one["turns"][0]},
            {"role": "assistant", "content": "first answer"},
            {"role": "user", "content": one["turns"][1]},
        ]}, "reply": "second answer"}
        for one in questions
    ] + [{"when": {}, "reply": "first answer"}])  # fmt: skip
    rated = [
        {"when": {"contains": "user: Now two."}, "reply": '{"rationale": "so", "score": 9}'},
        {"when": {"contains": "user: Write one."}, "reply": '{"rationale": "so", "score": 7}'},
        {"when": {"contains": "assistant: first answer"}, "reply": '{"rationale": "", "score": 3}'},
        {"when": {}, "reply": '{"rationale": "so", "score": 1}'},
    ]
    write(tmp_path / "judge.jsonl", rated)
    found = rate_turns(stages, path)
    assert (found["questions"], found["answers"], found["rated"]) == (2, 4, 4)
    assert found["rating"].value == 5
    groups = {k: {n: o["rating"].value for n, o in v.items()} for k, v in found["groups"].items()}
    assert groups == {"turn": {"1": 4, "2": 6}, "category": {"writing": 8, "math": 2}}
    heat = {r.folder.name: r.pipeline.steps[0].temperature for r in stages.results[:-1]}
    assert heat == {"turn-1-at-0": 0, "turn-1-at-0.7": 0.7, "turn-2-at-0": 0, "turn-2-at-0.7": 0.7}
    assert set(TEMPERATURES.values()) == {0, 0.1, 0.7}


def test_what_is_no_question_is_refused(tmp_path):
    path = tmp_path / "q.jsonl"
    for text, words in (
        ("{}", ":1: a question has `turns`"),
        ("{", ":1: not JSON"),
        ("", "holds no"),
    ):
        path.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_questions(str(path))
    write(path, [{"question_id": 1, "turns": ["a"]}] * 2)
    with pytest.raises(UsageError, match="the question_id 1 stands twice"):
        read_questions(str(path))
    # A question without a number has its place.
    write(path, [{"question_id": 2, "turns": ["a"]}, {"turns": ["b"]}])
    with pytest.raises(UsageError, match="the question_id 2 stands twice"):
        read_questions(str(path))
    with pytest.raises(UsageError, match="cannot be read"):
        read_questions(str(tmp_path / "gone.jsonl"))


def test_questions_hold_line_separators_and_need_one(stages, tmp_path):
    path = tmp_path / "q.jsonl"
    path.write_text('{"turns": ["one\u2028two\x85three"]}\n\n', encoding="utf-8")
    assert read_questions(str(path)) == [{"turns": ["one\u2028two\x85three"], "question_id": "1"}]
    with pytest.raises(UsageError, match=r"no question .* is left to ask: the limit is 0"):
        rate_turns(stages, str(path), limit=0)


def test_held_out_loss_and_prompt_contrast(stages, tmp_path):
    rows = [{"instruction": f"Ask {n}.", "output": f"Tell {n}", "category": "ab"[n % 2]}
            for n in range(4)]  # fmt: skip
    own = [{"when": {"contains": [f"Ask {n}.", f"Tell {n}"]}, "values": [-1.0] * (n + 1)}
           for n in range(4)]  # fmt: skip
    write(tmp_path / "candidate.jsonl", [*own, {"when": {}, "values": [-3.0, -2.0]}])
    found = held_out_loss(stages, write(tmp_path / "rows.jsonl", rows))
    assert (found["rows"], found["tokens"]) == (4, 10)
    assert found["loss_per_token"] == 1.0
    assert found["perplexity"] == pytest.approx(2.718281828)
    assert found["loss_per_row"] == Interval(1, 1, 1)
    assert found["prompt_contrast"].value == 1.5
    assert set(found["groups"]["category"]) == {"a", "b"}


def test_the_order_of_pairs_by_rewards_and_by_likelihood(stages, tmp_path):
    rows = [{"prompt": f"Q{n}", "chosen": f"yes {n} it is", "rejected": f"no {n}"} for n in "0123"]
    path = write(tmp_path / "pairs.jsonl", rows)
    write(tmp_path / "candidate.jsonl", [
        {"when": {"contains": "no 3"}, "values": [5.0]},
        {"when": {"contains": "yes"}, "values": [1.0]},
        {"when": {}, "values": [0.0]},
    ])  # fmt: skip
    found = order_of_pairs(stages, path, by="reward")
    assert (found["pairs"], found["accuracy"].value) == (4, 0.75)
    assert found["margin"].value == pytest.approx((3 - 4) / 4)
    assert found["accuracy_longest"].value == 1
    write(tmp_path / "candidate.jsonl", [
        {"when": {"contains": "yes"}, "values": [-1.0, -1.0, -1.0]},
        {"when": {}, "values": [-2.0]},
    ])  # fmt: skip
    other = Stages(tmp_path / "likelihood", stages.models, stages._run)
    found = order_of_pairs(other, path, by="likelihood")
    # As sums the shorter answer is likelier, per token the longer one.
    assert (found["accuracy"].value, found["accuracy_per_token"].value) == (0, 1)
    assert found["margin_per_token"].value == 1


def test_what_a_folder_says_of_answers(tmp_path):
    assert scores_pairs_by("scar:x") == "reward"
    assert scores_pairs_by(f"hf:{tmp_path}") == "likelihood"
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForSequenceClassification"]}')
    assert scores_pairs_by(f"hf:{tmp_path}") == "reward"
    (tmp_path / "config.json").write_text('{"architectures": ["LlamaForCausalLM"]}')
    assert scores_pairs_by(str(tmp_path)) == "likelihood"
    (tmp_path / "adapter_config.json").write_text('{"task_type": "SEQ_CLS"}')
    assert scores_pairs_by(str(tmp_path)) == "reward"
