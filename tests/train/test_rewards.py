"""Rewards by every name, and what reaches them: prompts with their tools, answers, and columns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from curate import Pipeline
from curate.errors import UsageError
from curate.models.inprocess.chat import Chat, turns_for
from curate.steps import Length, RewardScore, Rubric, Verify
from curate.system.confined.program import why_not_confined
from curate.train import job as jobs
from curate.train.examples import Example, example_of
from curate.train.rewards import (
    RewardModel,
    StepReward,
    function_called,
    reward_called,
    reward_text,
    rewards_of,
)
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
ASKED = [{"role": "user", "content": "2 + 2?"}]


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def test_a_verifier_rewards_right_answers_and_reads_the_column() -> None:
    reward = reward_called(Verify(checker="number", gold="truth"), "cpu")
    answers = [says("It is 4."), says("It is 5."), says("no idea")]
    columns = {"truth": ["4", "4", "4"], "topic": ["sums", None, "sums"]}
    # An answer without a number is wrong; nobody may learn that silence is better than an error.
    assert reward(prompts=[ASKED] * 3, completions=answers, **columns) == [1.0, 0.0, 0.0]


def test_rules_of_a_step_play_no_part_in_its_reward() -> None:
    reward = StepReward(Length(max=1, on="response"))
    assert reward(prompts=[ASKED] * 2, completions=[says("a"), says("a b c")]) == [1.0, 3.0]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({}, r"cannot score answers to '2 \+ 2\?'.*column 'truth'"),
        ({"truth": ["four-ish"]}, r"cannot read the gold answer to '2 \+ 2\?'"),
    ],
)
def test_a_row_without_a_readable_gold_answer_is_named(columns: Any, said: str) -> None:
    reward = StepReward(Verify(checker="number", gold="truth"))
    with pytest.raises(UsageError, match=said):
        reward(prompts=[ASKED], completions=[says("no idea")], **columns)


def test_thoughts_are_not_looked_at_where_there_is_gold() -> None:
    reward = StepReward(Verify(checker="exact"))
    answers = ["<think>\n8?\n</think>\n\n7", "7", "<think>\n7", "<think>a</think>7<think>"]
    columns = {"ground_truth": ["7"] * 4}
    given = [says(answer) for answer in answers]
    assert reward(prompts=[ASKED] * 4, completions=given, **columns) == [1.0, 1.0, 0.0, 0.0]
    whole = StepReward(Length(on="response"))
    assert whole(prompts=[ASKED], completions=[says("<think>\na b\n</think>\n\nc")])[0] > 1


def test_an_unreadable_answer_is_wrong_where_gold_is_in_columns_of_a_benchmark() -> None:
    if why_not_confined() is not None:
        pytest.skip("programs cannot be confined here")
    reward = StepReward(Verify(checker="code", allow_code=True))
    columns = {"test_list": [["assert f() == 1"]] * 3}
    answers = [says("def f():\n    return 1\n"), says("I cannot."), says("<think>")]
    assert reward(prompts=[ASKED] * 3, completions=answers, **columns) == [1.0, 0.0, 0.0]
    with pytest.raises(UsageError, match=r"cannot score answers.*the gold holds no unit tests"):
        reward(prompts=[ASKED], completions=[says("I cannot.")], test_list=[7])


def test_a_step_that_asks_is_no_reward_of_reinforcement() -> None:
    with pytest.raises(UsageError, match=r"'rubric' asks a model.*--rounds"):
        reward_called(Rubric(model="judge", at_least=None), "cpu")


def test_functions_come_from_files_and_modules(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def short(prompts, completions, **columns):\n    return [1.0]\n")
    found = function_called(f"{path}:short")
    assert found is not None
    assert found(prompts=[], completions=[]) == [1.0]
    assert function_called("tests.train.test_learning:lower_case") is not None
    # Folders and names on the Hub are not functions.
    for name in ("models/reward", "hf:org/name", "local", str(tmp_path)):
        assert function_called(name) is None
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module\n")
    for given, said in (
        (f"{tmp_path}/none.py:f", "there is no file"),
        (f"{path}:long", "has no function 'long'"),
        (f"{broken}:f", "no_such_module"),
        ("no_such_module:f", "cannot be imported"),
    ):
        with pytest.raises(UsageError, match=said):
            function_called(given)


def test_a_changed_function_is_another_reward(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("def f(**given):\n    return []\n")
    before = reward_text(f"{path}:f")
    path.write_text("def f(**given):\n    return [1]\n")
    assert before != reward_text(f"{path}:f")
    assert reward_text("models/reward") == "models/reward"
    assert reward_text(Verify(checker="number")) == 'verify {"checker": "number"}'


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0], "returned 1 numbers for 2 answers"),
        ([1.0, None], "returned None; a reward is a finite number"),
        ([1.0, "2"], "returned '2'"),
        ([float("nan"), 1.0], "returned nan"),
    ],
)
def test_what_is_no_reward_is_refused(returned: list[Any], said: str) -> None:
    def odd(**given: Any) -> list[Any]:
        return returned

    examples = [Example("r1", (), turns=tuple(ASKED))] * 2
    with pytest.raises(UsageError, match=f"the reward odd {said}"):
        rewards_of(odd, examples, [says("a"), says("b")])


def test_a_column_that_is_called_like_an_argument_is_named() -> None:
    example = Example("r1", (), turns=tuple(ASKED), columns={"completions": 3})
    with pytest.raises(UsageError, match="a column is called 'completions'"):
        rewards_of(lambda **given: [1.0], [example], [says("a")])


def test_a_reward_model_scores_here_as_it_does_in_a_recipe(tmp_path: Path) -> None:
    tiny.scorer().save_pretrained(tmp_path / "reward")
    tiny.tokenizer().save_pretrained(tmp_path / "reward")
    texts = ["yes", "no, 1", "a longer answer, with words"]
    rows = [{"messages": [*ASKED, *says(text)]} for text in texts]
    step = RewardScore(model="judge", at_least=None)
    result = Pipeline([step], models={"judge": f"hf:{tmp_path / 'reward'}"}).run(
        rows, run=tmp_path / "run", store=tmp_path / "store"
    )
    scores = [row.scores["reward_score"] for row in result.kept]
    here = RewardModel(str(tmp_path / "reward"))
    found = here(prompts=[ASKED] * 3, completions=[says(text) for text in texts])
    assert found == pytest.approx(scores, abs=1e-5)
    # ChatML writes a newline behind the end of the turn: there a reward is read, and learnt.
    made = tiny.trainer("reward", tmp_path / "out")
    ends = {ids[-1] for row in made.train_dataset for ids in row["ids"]}
    assert ends == {tiny.tokenizer()("\n")["input_ids"][0]}


@pytest.mark.parametrize("template", [tiny.CHATML, "no newline behind the turn"])
def test_a_reward_is_learnt_from_the_tokens_that_trl_learns_it_from(
    template: str, tmp_path: Path
) -> None:
    from datasets import Dataset
    from trl import RewardTrainer

    template = (
        tiny.CHATML
        if template == tiny.CHATML
        else tiny.CHATML.replace("|>\n{% endfor", "|>{% endfor")
    )
    chat = Chat(tiny.tokenizer(template))
    way = method_called("reward")
    row = tiny.row("preference", 1)
    example, _ = example_of(row, chat, way, settings_for(way))
    turns = {name: turns_for(row.fields[name]) for name in ("prompt", "chosen", "rejected")}
    args = SimpleNamespace(dataset_num_proc=None, max_length=None)
    of_trl = RewardTrainer._prepare_dataset(
        SimpleNamespace(), Dataset.from_list([turns]), chat.tokenizer, args, "train"
    )[0]
    assert example is not None
    assert [answer.ids for answer in example.answers] == [
        of_trl["chosen_ids"],
        of_trl["rejected_ids"],
    ]


def test_a_model_that_pads_with_its_end_of_turn_reads_behind_it(tmp_path: Path) -> None:
    """SmolLM2 pads so: its classifier takes the last token that is not padding for the last one."""
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = tokenizer.eos_token
    model = tiny.scorer()
    model.config.pad_token_id = tokenizer.pad_token_id
    for part in (model, tokenizer):
        part.save_pretrained(tmp_path / "reward")
    texts = ["yes", "a longer answer, with words"]
    judge = RewardModel(str(tmp_path / "reward"))
    found = judge(prompts=[ASKED] * 2, completions=[says(text) for text in texts])
    for text, value in zip(texts, found, strict=True):
        whole = tokenizer.apply_chat_template([*ASKED, *says(text)], tokenize=False)
        ids = torch.tensor([tokenizer(whole, add_special_tokens=False)["input_ids"]])
        with torch.inference_mode():
            states = judge._model.model(input_ids=ids).last_hidden_state
            by_hand = judge._model.score(states[:, -1])
        assert value == pytest.approx(by_hand.item(), abs=1e-5)


def test_a_row_has_one_reward_with_its_tools_in_training_and_in_reward_score(
    tmp_path: Path,
) -> None:
    tiny.scorer().save_pretrained(tmp_path / "reward")
    tiny.tokenizer(TOOLED).save_pretrained(tmp_path / "reward")
    (tmp_path / "rows.jsonl").write_text(
        json.dumps({"messages": [*ASKED, *says("It is 4.")], "tools": [ADD]}) + "\n"
        + json.dumps({"messages": [*ASKED, *says("It is 4.")], "tools": json.dumps([MAIL])})
    )  # fmt: skip
    step = RewardScore(model="m", at_least=None)
    models = {"m": {"model": f"hf:{tmp_path / 'reward'}", "device": "cpu"}}
    result = Pipeline([step], models=models).run(
        tmp_path / "rows.jsonl", run=tmp_path / "run", store=tmp_path / "store"
    )
    scores = [row.scores["reward_score"] for row in result.kept]
    here = RewardModel(str(tmp_path / "reward"))
    asked = {"prompts": [ASKED] * 2, "completions": [says("It is 4.")] * 2}
    found = here(**asked, tools=[[ADD], json.dumps([MAIL])])
    assert scores == pytest.approx(found, abs=1e-5)
    # The tools are read: without them, or with others, the reward is another.
    assert abs(here(**asked)[0] - scores[0]) > 1e-3
    assert abs(scores[0] - scores[1]) > 1e-3


TOOLED = "{% if tools %}{{ tools | tojson }}\n{% endif %}" + tiny.CHATML
ADD = {"type": "function", "function": {"name": "add", "parameters": {"a": {"type": "number"}}}}
MAIL = {"type": "function", "function": {"name": "mail", "parameters": {"to": {"type": "string"}}}}


@pytest.mark.parametrize("method", ["grpo", "rloo", "ppo"])
def test_prompts_are_asked_with_the_tools_of_their_rows(method: str, tmp_path: Path) -> None:
    model = tiny.model()
    model.save_pretrained(tmp_path / "model")
    tiny.tokenizer(TOOLED).save_pretrained(tmp_path / "model")
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    rows = [
        {"prompt": ASKED, "tools": [ADD], "truth": "4"},
        {"prompt": [{"role": "user", "content": "Write!"}], "tools": json.dumps([MAIL])},
        {"prompt": [*ASKED, {"role": "assistant", "content": "", "tool_calls": [call]},
                    {"role": "tool", "content": "4"}, ASKED[0]]},
    ]  # fmt: skip
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    seen = tmp_path / "seen.jsonl"
    (tmp_path / "mine.py").write_text(
        "import json\n"
        "def reward(prompts, completions, truth, tools=None):\n"
        f"    with open({str(seen)!r}, 'a') as file:\n"
        "        for asked, gold in zip(prompts, truth):\n"
        "            print(json.dumps([len(asked), gold]), file=file)\n"
        "    return [float(n) for n in range(len(prompts))]\n"
    )
    way = method_called(method)
    settings = settings_for(
        way,
        None,
        max_steps=1,
        batch_size=6,
        generation={"samples": 2, "max_tokens": 3},
        max_length=400,
    )
    out = tmp_path / "out"
    job = jobs.Job(
        way, settings, str(tmp_path / "rows.jsonl"), str(tmp_path / "model"), out,
        f"{tmp_path / 'mine.py'}:reward",
    )  # fmt: skip
    asked: list[str] = []
    with _recorded(asked):
        report = train(job, prepare(job))
    assert report["steps"] == 1
    told = [json.loads(line) for line in seen.read_text().splitlines()]
    assert {tuple(one) for one in told} == {(1, "4"), (1, None), (4, None)}
    # Each prompt shows its own tools, and no key that another row's tools have.
    plain = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
    texts = {text.replace("<|pad|>", "") for text in asked}
    assert json.dumps([ADD]) + "\n" + plain.format("2 + 2?") in texts
    assert json.dumps([MAIL]) + "\n" + plain.format("Write!") in texts
    assert len(texts) == 3
    assert not any("null" in text for text in texts)


def _recorded(asked: list[str]) -> Any:
    """Note the prompts that any tiny model is asked to go on from."""
    from contextlib import contextmanager

    from transformers import LlamaForCausalLM

    @contextmanager
    def recording() -> Any:
        own = LlamaForCausalLM.generate

        def noted(self: Any, *args: Any, **given: Any) -> Any:
            ids = given["input_ids"] if "input_ids" in given else args[0]
            asked.extend(tiny.tokenizer().batch_decode(ids))
            return own(self, *args, **given)

        LlamaForCausalLM.generate = noted  # type: ignore[method-assign]
        try:
            yield
        finally:
            LlamaForCausalLM.generate = own  # type: ignore[method-assign]

    return recording()


@pytest.mark.slow
def test_group_rewards_rise_under_grpo_with_a_bounded_kl(tmp_path: Path) -> None:
    from curate.train.watch import quietly
    from curate.train.weights import load_trained
    from tests.train.test_learning import lower_case

    # Its reference is read from the files that the policy came from.
    model, _ = load_trained(tiny.folder(tmp_path / "base"))
    made = tiny.trainer(
        "grpo",
        tmp_path,
        given=model,
        reward=lower_case,
        max_steps=30,
        batch_size=32,
        learning_rate=1e-2,
        generation={"samples": 8, "max_tokens": 8},
        trl={"logging_steps": 1},
    )
    with quietly():
        made.train()
        made.save_model(str(tmp_path / "policy"))
    again, _ = load_trained(tmp_path / "policy")
    for name, weight in made.model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
    lines = [line for line in made.state.log_history if "reward" in line]
    rewards, kl = ([line[name] for line in lines] for name in ("reward", "kl"))
    assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.15, rewards
    assert kl[0] == pytest.approx(0, abs=1e-4)
    assert max(kl) < 5, kl
