"""Rounds of sampling, scoring and training: rewards rise, and a loop continues after any kill."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import CeilingReached, StoppedShort, UsageError
from curate.evaluate.round_prompts import TAKEN_FROM, of_round, prompt_line
from curate.evaluate.rounds import Display, Rounds, prepare_rounds, train_rounds
from curate.evaluate.scoring import scoring_of
from curate.pipeline import Result
from curate.row import Row
from curate.steps import Pairs, RewardScore, Rubric, Verify
from curate.train.job import Job
from curate.train.settings import method_called, settings_for
from curate.train.training import prepare, train
from tests.house.places import ROOT
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
# The planted reward: the share of an answer's letters that are an a.
REWARD = """
def letters(prompts, completions, **columns):
    texts = [completion[-1]["content"] for completion in completions]
    return [text.count("a") / max(1, len(text)) for text in texts]
"""
SAMPLING = {"samples": 4, "max_tokens": 8, "temperature": 1.0}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a two-layer model that has learnt to answer with a few letters, and to stop."""
    folder = tmp_path_factory.mktemp("learnt")
    tiny.folder(folder / "model")
    letters = ["abab", "bbba", "aabb", "bbbb", "baba", "aaab"]
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"q{n}?"},
                {"role": "assistant", "content": letters[n % 6]},
            ]
        }
        for n in range(48)
    ]
    (folder / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    (folder / "mine.py").write_text(REWARD)
    way = method_called("sft")
    settings = settings_for(way, None, max_steps=60, learning_rate=1e-2)
    job = Job(way, settings, str(folder / "talks.jsonl"), str(folder / "model"), folder / "sft")
    train(job, prepare(job))
    return folder


def rounds_of(
    learnt: Path, out: Path, method: str = "dpo", count: int = 2, prompts: int = 24, **given: Any
) -> Rounds:
    data = out.parent / "prompts.jsonl"
    out.parent.mkdir(parents=True, exist_ok=True)
    lines = [{"prompt": [{"role": "user", "content": f"q{n}?"}]} for n in range(prompts)]
    data.write_text("\n".join(map(json.dumps, lines)))
    own = {"allow_failed", "judge", "reward", "options"} & given.keys()
    other = {name: given.pop(name) for name in own}
    changes = {"max_steps": 6, "every": 2, "learning_rate": 2e-3, "generation": SAMPLING, **given}
    way = method_called(method)
    reward = other.pop("reward", f"{learnt / 'mine.py'}:letters")
    job = Job(way, settings_for(way, None, **changes), str(data), str(learnt / "sft"), out, reward)
    options = {"store": out.parent / "store", **other.pop("options", {})}
    return Rounds(job, count, options=options, **other)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "rate"),
    [("dpo", 2e-3), ("sft", 5e-3), ("kto", 2e-3), ("orpo", 5e-3), ("simpo", 2e-3)],
)
def test_the_reward_rises_over_rounds(
    method: str, rate: float, learnt: Path, tmp_path: Path
) -> None:
    rounds = rounds_of(
        learnt, tmp_path / "out", method, 3, 60, held_out=0.3, max_steps=12, learning_rate=rate
    )
    said: list[str] = []
    report = train_rounds(rounds, prepare_rounds(rounds), Display(said.append))
    held_out = [report["before"], *report["rounds"]]
    rewards = [line["held_out_reward"] for line in held_out]
    assert rewards[-1] > rewards[0] + 0.15, rewards
    sampled = [line["reward"] for line in report["rounds"]]
    if method == "simpo":
        # Nothing holds it near the model before: it gains most at once, and then swings.
        assert min(sampled[1:]) > sampled[0] + 0.1, sampled
    else:
        assert sampled == sorted(sampled)
    assert sum(text.startswith("round 3 of 3: reward") for text in said) == 1
    # Every round is there: its answers with their ledger, and its model.
    for number in (1, 2, 3):
        answers = Result.open(rounds.job.out / "rounds" / str(number) / "answers")
        assert answers.recipe["recipe"]["models"]["policy"].endswith(
            "sft" if number == 1 else f"rounds/{number - 1}/policy"
        )
        assert len(answers.kept) == report["rounds"][number - 1]["learnt"]
    assert weights(rounds.job.out) == weights(rounds.job.out / "rounds/3/model")
    card = (rounds.job.out / "README.md").read_text()
    assert "held-out reward" in card
    assert f"--rounds {3}" in card
    curves = (rounds.job.out / "curves.csv").read_text().splitlines()
    assert curves[0].split(",")[0] == "round"
    assert len(curves) == 5


class Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


def killing(at: int) -> tuple[Display, list[str]]:
    """Return a display that ends the loop when it is told of the `at`-th event."""
    events: list[str] = []

    def note(event: str) -> None:
        events.append(event)
        if len(events) == at:
            raise Killed(event)

    @contextlib.contextmanager
    def asking() -> Iterator[Callable[[Any], None]]:
        note("asks")
        yield lambda progress: None
        note("has asked")

    @contextlib.contextmanager
    def training() -> Iterator[Callable[[Any], None]]:
        note("trains")
        yield lambda progress: note(f"step {progress.step}")
        note("has trained")

    return Display(note, asking, training), events


def spent(out: Path) -> int:
    """Return how many requests all rounds have sent, as the last run counts them."""
    reports = sorted(out.glob("rounds/*/*/report.json"), key=lambda path: path.stat().st_mtime_ns)
    runs = [found for p in reports if "requests" in (found := json.loads(p.read_text()))]
    return int(runs[-1]["requests"]["sent"])


@pytest.mark.slow
@pytest.mark.parametrize("adapter", ["full", "lora"])
def test_a_loop_that_is_killed_again_and_again_ends_alike(
    adapter: str, learnt: Path, tmp_path: Path
) -> None:
    given = {"prompts": 12, "held_out": 0.2, "adapter": adapter, "learning_rate": 5e-3}
    whole = rounds_of(learnt, tmp_path / "whole" / "out", **given)
    display, events = killing(0)
    train_rounds(whole, prepare_rounds(whole), display)
    rounds = rounds_of(learnt, tmp_path / "killed" / "out", **given)
    killed = []
    # Each time it gets further: in the middle of asking, of training, of everything.
    for at in range(2, 2 * len(events), 2):
        display, own = killing(at)
        try:
            train_rounds(rounds, prepare_rounds(rounds), display)
            break
        except Killed:
            killed.append(own[-1])
    assert len(killed) >= 5, killed
    assert "asks" in killed or "has asked" in killed, killed
    assert any(event.startswith("step") for event in killed), killed
    assert weights(rounds.job.out) == weights(whole.job.out)
    assert spent(rounds.job.out) == spent(whole.job.out)
    reports = [json.loads((r.job.out / "report.json").read_text()) for r in (rounds, whole)]
    assert reports[0]["rounds"] == reports[1]["rounds"]


@pytest.mark.slow
def test_a_loop_that_is_killed_by_the_system_continues(learnt: Path, tmp_path: Path) -> None:
    whole = rounds_of(learnt, tmp_path / "whole" / "out", prompts=12)
    train_rounds(whole, prepare_rounds(whole))
    out = tmp_path / "killed" / "out"
    rounds = rounds_of(learnt, out, prompts=12)
    settings = tmp_path / "settings.yaml"
    settings.write_text(
        "max_steps: 6\nevery: 2\nlearning_rate: 2.0e-3\n"
        "generation: {samples: 4, max_tokens: 8, temperature: 1.0}\n"
    )
    command = [
        sys.executable, "-m", "curate", "train", "dpo", rounds.job.data, "--model",
        str(learnt / "sft"), "-o", str(out), "--config", str(settings), "--rounds", "2",
        "--reward", str(rounds.job.reward), "--store", str(out.parent / "store"),
    ]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    # It is killed as soon as each of these is there.
    for sign in ("rounds/1/answers/.state/store", "rounds/1/model/checkpoints/checkpoint-2",
                 "rounds/2/answers/report.json"):  # fmt: skip
        child = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (out / sign).exists() and child.poll() is None:
            time.sleep(0.02)
        assert child.poll() is None, f"it ended before {sign} was there"
        child.send_signal(signal.SIGKILL)
        child.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dpo in rounds: 2 in" in done.stdout
    assert weights(out) == weights(whole.job.out)
    # What was in flight when it was killed, and only that, may be asked again.
    assert spent(out) <= spent(whole.job.out) + 48


@pytest.mark.slow
def test_more_rounds_continue_and_spending_is_for_all_of_them(learnt: Path, tmp_path: Path) -> None:
    given = {"prompts": 6, "max_steps": 2}
    # Six prompts with four answers each make 24 requests a round.
    short = rounds_of(learnt, tmp_path / "out", options={"max_requests": 30}, **given)
    with pytest.raises(CeilingReached, match="max-requests"):
        train_rounds(short, prepare_rounds(short))
    assert (tmp_path / "out/rounds/1/model/report.json").is_file()
    rounds = rounds_of(learnt, tmp_path / "out", options={"max_requests": 48}, **given)
    first = train_rounds(rounds, prepare_rounds(rounds))
    assert [line["round"] for line in first["rounds"]] == [1, 2]
    assert spent(tmp_path / "out") == 48
    more = rounds_of(learnt, tmp_path / "out", count=3, **given)
    report = train_rounds(more, prepare_rounds(more))
    assert report["rounds"][:2] == first["rounds"]
    assert len(report["rounds"]) == 3
    # Done is done, and less than what is there is refused.
    stamp = (tmp_path / "out/report.json").stat().st_mtime_ns
    train_rounds(more, prepare_rounds(more))
    assert (tmp_path / "out/report.json").stat().st_mtime_ns == stamp
    with pytest.raises(UsageError, match="holds 3 rounds already"):
        train_rounds(rounds, prepare_rounds(rounds))
    other = rounds_of(learnt, tmp_path / "out", prompts=7, max_steps=2)
    with pytest.raises(UsageError, match="holds another training"):
        train_rounds(other, prepare_rounds(other))


@pytest.mark.slow
def test_a_round_without_pairs_says_why(learnt: Path, tmp_path: Path) -> None:
    alike = tmp_path / "alike.py"
    alike.write_text("def f(completions, **given):\n    return [1.0] * len(completions)\n")
    rounds = rounds_of(learnt, tmp_path / "out", prompts=4, reward=f"{alike}:f")
    with pytest.raises(StoppedShort, match=r"round 1 has nothing.*all answers have one score"):
        train_rounds(rounds, prepare_rounds(rounds))
    cut = rounds_of(learnt, tmp_path / "cut", prompts=4, generation={"samples": 2, "max_tokens": 1})
    with pytest.raises(StoppedShort, match=r"rows failed, more than --allow-failed.*max_tokens"):
        train_rounds(cut, prepare_rounds(cut))
    assert not (tmp_path / "cut/rounds/1/answers/report.json").exists()


def test_prompts_are_asked_once_and_held_out_ones_are_not_learnt(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "sft")
    (tmp_path / "mine.py").write_text(REWARD)
    rounds = rounds_of(tmp_path, tmp_path / "out", held_out=str(tmp_path / "held.jsonl"))
    rows = [{"prompt": [{"role": "user", "content": f"q{n}?"}], "topic": n} for n in (1, 2, 2)]
    (tmp_path / "held.jsonl").write_text("\n".join(map(json.dumps, rows)))
    prepared = prepare_rounds(rounds)
    assert [row.instruction for row in prepared.prompts.held_out] == ["q1?", "q2?"]
    assert len(prepared.prompts.learnt) == 22
    assert prepared.prompts.repeated == 3
    line = json.loads(prompt_line(prepared.prompts.held_out[0]))
    assert line == {
        "prompt": [{"role": "user", "content": "q1?"}],
        TAKEN_FROM: f"{tmp_path / 'held.jsonl'}:1",
        "topic": 1,
    }
    # UltraChat has a column of that name, with the first turn alone.
    named = prepared.prompts.held_out[0]._replace(extra='{"prompt": "first", "source_row": 7}')
    assert json.loads(prompt_line(named)) == {k: line[k] for k in ("prompt", TAKEN_FROM)}


def test_prompts_with_tools_are_refused_by_name(tmp_path: Path) -> None:
    tiny.folder(tmp_path / "sft")
    (tmp_path / "mine.py").write_text(REWARD)
    rounds = rounds_of(tmp_path, tmp_path / "out")
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    rows = [{"prompt": [{"role": "user", "content": "a"}], "tools": tools}]
    Path(rounds.job.data).write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(UsageError, match=r"prompts\.jsonl:1 has a column 'tools'.*grpo or rloo"):
        prepare_rounds(rounds)


def test_each_round_takes_the_next_prompts() -> None:
    rows = [Row(f"{n}", (n,), "prompt", {"prompt": ()}) for n in range(10)]
    settings = settings_for(method_called("dpo"), None, generation={"prompts": 5})
    first, second, third = (of_round(rows, settings, number) for number in (1, 2, 3))
    assert {row.id for row in first + second} == {row.id for row in rows}
    assert third == first
    assert [row.seq for row in first] != sorted(row.seq for row in rows)[:5]
    everything = settings_for(method_called("dpo"), None)
    assert of_round(rows, everything, 4) == rows


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        ("grpo", {}, "samples and learns by itself; --rounds is for sft, dpo"),
        ("reward", {}, "does not learn so"),
        ("dpo", {"reward": None}, "--rounds needs what scores"),
        ("dpo", {"adapter": "prefix"}, "cannot be merged"),
        ("dpo", {"patience": 2, "held_out": 0.1}, "leave it out with --rounds"),
        ("dpo", {"template": "chat.jinja"}, "its own chat template"),
        ("dpo", {"generation": {"samples": 1}}, "2 or more"),
        ("dpo", {"generation": {"prompts": 0}}, "a round needs 1 or more"),
        ("dpo", {"judge": "local"}, "--reward names none"),
        ("dpo", {"reward": Rubric(model="judge", at_least=None)}, "name it with --judge"),
        ("dpo", {"reward": Verify(checker="number"), "judge": "local"}, "makes none"),
    ],
)
def test_what_cannot_go_in_rounds_is_refused(
    method: str, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    tiny.folder(tmp_path / "sft")
    (tmp_path / "mine.py").write_text(REWARD)
    with pytest.raises(UsageError, match=said):
        prepare_rounds(rounds_of(tmp_path, tmp_path / "out", method, **given))
    merged = rounds_of(tmp_path, tmp_path / "out")
    with pytest.raises(UsageError, match="leave --merge out"):
        prepare_rounds(dataclasses.replace(merged, job=dataclasses.replace(merged.job, merge=True)))


def test_answers_are_scored_by_models_steps_functions_and_recipes(tmp_path: Path) -> None:
    by_model = scoring_of("org/reward")
    assert by_model.steps == (RewardScore(model="scorer", at_least=None),)
    assert by_model.models == {"scorer": "hf:org/reward"}
    judged = scoring_of(Rubric(model="judge", at_least=7.0), "openai:gpt")
    # A judge's limit would drop the bad answers, which pairs need.
    assert judged.steps == (Rubric(model="judge", at_least=None),)
    assert judged.models == {"judge": "openai:gpt"}
    recipe = tmp_path / "score.yaml"
    recipe.write_text(
        "models: {judge: 'openai:gpt'}\nsteps:\n- length: {max: 50}\n- rubric: {model: judge}\n"
        "- pairs: {by: rubric, rejected: random}\n"
    )
    own = scoring_of(str(recipe))
    assert own.by == "rubric"
    assert own.gathers
    assert [step.title for step in own.measuring] == ["length", "rubric"]
    assert own.steps[-1] == Pairs(by="rubric", rejected="random")
    recipe.write_text("inputs: a.jsonl\nsteps: [length]\n")
    with pytest.raises(UsageError, match="has inputs or outputs"):
        scoring_of(str(recipe))
    recipe.write_text("models: {policy: local}\nsteps: [length]\n")
    with pytest.raises(UsageError, match="rename yours"):
        scoring_of(str(recipe))
    recipe.write_text("steps: [expand]\n")
    with pytest.raises(UsageError, match="no step that scores"):
        scoring_of(str(recipe))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(UsageError, match="--merge"):
        scoring_of(str(tmp_path))
