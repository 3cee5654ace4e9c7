"""What a training does with its folder, and what it says when it cannot go on."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from curate.errors import DiskFull, RecipeError, StoppedShort, UsageError
from curate.models.inprocess.chat import IGNORED, Tokens
from curate.train import job as jobs
from curate.train.examples import Example, check_examples
from curate.train.interruptions import last_checkpoint, told_apart
from curate.train.memory_estimate import estimate
from curate.train.pace import Pace
from curate.train.settings import method_called, methods, ranker_settings_for, settings_for
from curate.train.training import prepare, train
from tests.house.places import ROOT
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def job_of(tmp_path: Path, out: Path | None = None, words: int = 1, **given: Any) -> jobs.Job:
    if not (tmp_path / "model").exists():
        tiny.folder(tmp_path / "model")
    talks = [
        {
            "messages": [
                {"role": "user", "content": f"q{n}?"},
                {"role": "assistant", "content": f"yes {n}" * words},
            ]
        }
        for n in range(16)
    ]
    (tmp_path / "talks.jsonl").write_text("\n".join(map(json.dumps, talks)))
    way = method_called("sft")
    changes = {"learning_rate": 1e-2, "batch_size": 4, "every": 2, "max_steps": 4, **given}
    settings = settings_for(way, None, **changes)
    where = str(tmp_path / "model")
    return jobs.Job(way, settings, str(tmp_path / "talks.jsonl"), where, out or tmp_path / "out")


def test_a_training_leaves_model_curves_and_card(tmp_path: Path) -> None:
    job = job_of(tmp_path, held_out=0.3, adapter="lora")
    told: list[Any] = []
    report = train(job, prepare(job), told.append)
    assert [p.step for p in told if "loss" in p.metrics] == [1, 2, 3, 4]
    assert told[-1].seconds_left == 0
    assert {p.name for p in job.out.iterdir()} >= {
        "README.md", "adapter_model.safetensors", "check.json", "curves.csv", "report.json",
        "training.json", "tokenizer.json",
    }  # fmt: skip
    assert not (job.out / "training_args.bin").exists()
    lines = list(csv.DictReader((job.out / "curves.csv").read_text().splitlines()))
    assert [line["step"] for line in lines if line["loss"]] == ["1", "2", "3", "4"]
    assert report["after"]["loss"] < report["before"]["loss"]
    head, card = (job.out / "README.md").read_text().split("---\n")[1:]
    assert yaml.safe_load(head)["library_name"] == "peft"
    assert "talks.jsonl" in card
    assert "curate train sft" in card
    assert "held-out loss" in card
    assert report["sample"]["prompt"].startswith("q")


def test_the_same_command_does_nothing_twice(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    first = train(job, prepare(job))
    stamp = (job.out / "report.json").stat().st_mtime_ns
    again = train(job, prepare(job))
    assert again["steps"] == first["steps"]
    assert (job.out / "report.json").stat().st_mtime_ns == stamp


def test_another_training_is_refused_and_replaced_when_asked(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    train(job, prepare(job))
    other = job_of(tmp_path, learning_rate=2e-2)
    with pytest.raises(UsageError, match=r"holds another training \(other settings\)"):
        train(other, prepare(other))
    replaced = dataclasses.replace(other, replace=True)
    thesis = job.out / "thesis.txt"
    thesis.write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.txt was written by no training"):
        train(replaced, prepare(replaced))
    thesis.rename(tmp_path / "thesis.txt")
    assert train(replaced, prepare(replaced))["settings"]["learning_rate"] == 2e-2


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    job.out.mkdir()
    (job.out / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="holds no training"):
        train(job, prepare(job))
    assert (job.out / "thesis.txt").read_text() == "years of work"


def no_loss(loss: Any, model: Any) -> Any:
    return loss * float("nan")


def no_gradients(loss: Any, model: Any) -> Any:
    # 0 is added, by a root whose slope at 0 is infinite.
    return loss + next(model.parameters()).mul(0).sum().sqrt()


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (no_loss, r"the loss is nan at step 4.*learning_rate.*stays"),
        (no_gradients, r"the gradients' norm is nan at step 4.*stays"),
    ],
)
def test_what_is_no_number_stops_and_leaves_the_checkpoint(
    breaks: Callable[[Any, Any], Any], said: str, tmp_path: Path
) -> None:
    from curate.train import trainers

    job = job_of(tmp_path, max_steps=6)
    whole = trainers.SupervisedTrainer.compute_loss

    def broken(self: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = whole(self, model, *args, **kwargs)
        return breaks(loss, model) if self.state.global_step == 3 else loss

    trainers.SupervisedTrainer.compute_loss = broken  # type: ignore[method-assign]
    try:
        with pytest.raises(StoppedShort, match=said):
            train(job, prepare(job))
    finally:
        trainers.SupervisedTrainer.compute_loss = whole  # type: ignore[method-assign]
    kept = last_checkpoint(job.out / "checkpoints")
    assert kept is not None
    assert kept.name == "checkpoint-2"
    assert train(job, prepare(job))["resumed"] == "checkpoint-2"


@pytest.mark.parametrize(
    ("precision", "norm", "stops"),
    [
        ("no", math.inf, True),
        ("bf16", math.nan, True),
        # Scaled gradients overflow now and then: the optimiser leaves out such a step.
        ("fp16", math.inf, False),
        # DeepSpeed's, before it has one.
        ("bf16", None, False),
        ("no", 1.0, False),
    ],
)
def test_what_ends_a_training_is_a_norm_that_would_reach_the_weights(
    precision: str, norm: float | None, stops: bool
) -> None:
    from curate.train.interruptions import NotFinite
    from curate.train.trainers import TokenTrainer

    class Theirs:
        accelerator = SimpleNamespace(mixed_precision=precision)
        state = SimpleNamespace(global_step=3)

        def _get_grad_norm(self) -> float | None:
            return norm

    class Ours(TokenTrainer, Theirs):
        pass

    if stops:
        with pytest.raises(NotFinite, match=r"gradients' norm is .* at step 4"):
            Ours()._get_grad_norm()
    else:
        assert Ours()._get_grad_norm() == norm


def test_a_full_disk_stops_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small tmpfs needs root")
    try:
        # A checkpoint takes some 400 KB: the third one has no room.
        job = job_of(tmp_path, small / "out", max_steps=6)
        with pytest.raises(DiskFull, match="no room left on the disk"):
            train(job, prepare(job))
        kept = last_checkpoint(job.out / "checkpoints")
        assert kept is not None
        more = ["mount", "-o", "remount,size=16m", str(small)]
        subprocess.run(more, check=True)
        assert train(job, prepare(job))["resumed"] == kept.name
    finally:
        subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_memory_that_ends_is_told_with_the_largest_part(error: Exception, tmp_path: Path) -> None:
    job = job_of(tmp_path)
    memory = prepare(job).checked.memory
    said = r"largest part should be \w+.*batch_size smaller"
    with pytest.raises(StoppedShort, match=said), told_apart(job, memory):
        raise error


# A child that may map hardly more memory than it has at the end of step 3, and then all again.
HUNGRY = """
import json, resource, sys
from pathlib import Path
import torch
from curate.errors import StoppedShort
from curate.train.training import prepare, train
from tests.train.test_training import job_of

torch.set_num_threads(1)
job = job_of(Path(sys.argv[1]), max_steps=6, batch_size=16, max_length=480, words=300)
free = resource.getrlimit(resource.RLIMIT_AS)

def starve(progress):
    if progress.step == 3:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, ((pages << 12) + (4 << 20), free[1]))

try:
    train(job, prepare(job), starve)
except StoppedShort as error:
    resource.setrlimit(resource.RLIMIT_AS, free)
    cause = type(error.__cause__).__name__
    print(json.dumps([str(error), cause, error.exit_code, train(job, prepare(job))["resumed"]]))
"""


@pytest.mark.slow
def test_memory_that_the_system_refuses_stops_and_leaves_the_checkpoint(tmp_path: Path) -> None:
    # Large blocks are mapped, and given back when they are free.
    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HUNGRY, str(tmp_path)],
        env=os.environ | environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said, cause, code, resumed = json.loads(done.stdout.splitlines()[-1])
    assert cause in ("RuntimeError", "MemoryError")
    assert re.search(
        r"out of memory \(estimated.*largest part should be .*batch_size smaller", said
    )
    assert "checkpoint-2 stays, and the same command continues from it" in said
    assert (code, resumed) == (4, "checkpoint-2")


def test_labels_are_looked_at_once_more_before_training() -> None:
    good = Tokens([1, 2], [IGNORED, 2])
    check_examples([Example("r1", (good,))])
    with pytest.raises(UsageError, match="row r2: 1 labels for 2 tokens"):
        check_examples([Example("r1", (good,)), Example("r2", (Tokens([1, 2], [2]),))])
    with pytest.raises(UsageError, match="row r3: no token is supervised"):
        check_examples([Example("r3", (Tokens([1, 2], [IGNORED, IGNORED]),))])


def test_early_stopping_keeps_the_best(tmp_path: Path) -> None:
    # At this rate the held-out loss rises from the first evaluation on.
    job = job_of(tmp_path, held_out=0.4, patience=1, learning_rate=1.0, max_steps=40, warmup=0)
    report = train(job, prepare(job))
    assert report["steps"] < 40


@pytest.mark.slow
@pytest.mark.parametrize(("sign", "steps"), [(1, 6), (-1, 4)])
def test_patience_of_reinforcement_watches_the_reward(
    sign: int, steps: int, tmp_path: Path
) -> None:
    # The reward of held-out prompts rises, or falls, whatever the loss does. The first evaluation
    # that counts is that of step 2.
    (tmp_path / "mine.py").write_text(
        "calls = [0]\n\n\ndef reward(prompts, completions, **columns):\n    calls[0] += 1\n"
        f"    return [{sign}.0 * calls[0] + 0.1 * n for n in range(len(prompts))]\n"
    )
    given = {"held_out": 0.4, "patience": 1, "max_steps": 6, "learning_rate": 1e-4}
    made = job_of(tmp_path)
    way = method_called("rloo")
    generation = {"samples": 2, "max_tokens": 2}
    settings = settings_for(way, None, batch_size=4, every=2, generation=generation, **given)
    job = jobs.Job(
        way, settings, made.data, made.model, tmp_path / "out", f"{tmp_path / 'mine.py'}:reward"
    )
    assert train(job, prepare(job))["steps"] == steps


def test_settings_come_from_defaults_then_the_file_then_the_command(tmp_path: Path) -> None:
    way = method_called("dpo")
    assert settings_for(way).loss["beta"] == 0.1
    path = tmp_path / "dpo.yaml"
    path.write_text("epochs: 3\nadapter: {kind: lora, rank: 4}\nloss: {beta: 0.3}\n")
    found = settings_for(way, path, max_steps=7)
    assert (found.epochs, found.adapter.rank, found.max_steps) == (3, 4, 7)
    assert found.loss == {"kind": "sigmoid", "beta": 0.3, "noise": 0.0}
    # Ten times the rate of full training, unless a rate was given.
    assert found.learning_rate == pytest.approx(1e-5)
    assert settings_for(way, path, learning_rate=1e-3).learning_rate == 1e-3


@pytest.mark.parametrize(
    ("method", "text", "said"),
    [
        ("sft", "epochs: 1\nlearnrate: 2\n", r":2: there is no 'learnrate'.*`trl:`"),
        ("sft", "epochs: many\n", ":1: epochs must be"),
        ("sft", "adapter: {kind: lora, ranks: 3}\n", "there is no 'ranks'"),
        ("dpo", "packing: bfd\n", "packing is for sft"),
        ("kto", "learn: last\n", "learn is for sft"),
        ("dpo", "loss: {gamma: 1}\n", "loss of dpo has no 'gamma'"),
        ("kto", "batch_size: 1\n", "at least 2"),
        ("grpo", "generation: {samples: 3}\n", "divide batch_size x"),
        ("sft", "held_out: 1.5\n", "a share is below 1"),
        ("sft", "- a\n", "settings are a mapping"),
        # Numbers that turn a loss round, or that fail once the weights are loaded.
        ("dpo", "loss: {beta: -0.1}\n", r"loss\.beta is -0\.1; it must be above 0"),
        ("kto", "loss: {unwanted: 0}\n", r"loss\.unwanted is 0; it must be above 0"),
        ("cloning", "loss: {unwanted: -1}\n", r"loss\.unwanted is -1; it must be at least 0"),
        ("dpo", "loss: {beta: x}\n", r"loss\.beta is 'x'; it must be a number"),
        ("dpo", "epochs: 1\nloss: {kind: cdpo, noise: 0.9}\n", ":2: .*at least 0 and below 0.5"),
        ("dpo", "loss: {kind: dpo}\n", "loss.kind of dpo is 'dpo'; known: sigmoid"),
        ("dpo", "loss: {kind: [sigmoid, cdpo]}\n", "cdpo stands alone"),
        ("dpo", "loss: {kind: []}\n", "loss.kind of dpo is"),
        ("dpo", "loss: {kind: exo_pair}\n", "needs a noise above 0"),
        ("dpo", "loss: {kind: [sigmoid, hinge], weights: [1]}\n", "one for each of several"),
        ("sft", "loss: {kind: dft}\n", "loss.kind of sft is 'dft'; known: nll"),
        ("sft", "loss: {kl: -1}\n", "loss.kl is -1; it must be at least 0"),
        ("sft", "packing: bfd\nloss: {kl: 0.1}\n", "set `packing: none`"),
        ("rrhf", "loss: {imitate: null}\n", "loss.imitate is null; leave it out for 1.0"),
        ("ppo", "loss: {gamma: 1.5}\n", "loss.gamma is 1.5; it must be at least 0 and at most 1"),
        ("ppo", "loss: {passes: 0}\n", "loss.passes is 0"),
        ("grpo", "generation: {temperature: 0}\n", "generation.temperature is 0; it must be above"),
        ("sft", "adapter: {kind: lora, rank: 0}\n", "adapter.rank is 0; it must be at least 1"),
        ("sft", "warmup: -1\n", "warmup is -1; it must be at least 0"),
        ("sft", "loss: 3\n", "loss is 3; it must be a mapping of fields, or a kind by its name"),
        ("rloo", "generation: hot\n", "generation is 'hot'; it must be a mapping of fields"),
        ("grpo", "loss: {kind: gspo}\n", "loss.kind of grpo is 'gspo'; known: dapo, grpo"),
        # What would be ignored.
        ("ppo", "epochs: 1\ntrl: {optim: sgd}\n", ":2: trl plays no part in ppo"),
        ("ppo", "report_to: wandb\n", "report_to plays no part in ppo"),
        ("ppo", "patience: 2\n", "patience plays no part in ppo"),
        ("ppo", "adapter: {kind: lora, dropout: 0.1}\n", "adapter.dropout would change"),
        ("reward", "adapter: prompt\n", "where a padded row ends; use lora or prefix"),
        ("sft", "report_to: none\n", "report_to must be"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    method: str, text: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=said):
        settings_for(method_called(method), path)


def test_what_limits_leave_out_is_allowed() -> None:
    given = {"loss": {"gamma": 2.5}, "generation": {"top_p": 1}}
    assert settings_for(method_called("simpo"), **given).loss["gamma"] == 2.5
    # 0 leaves the worse class of cloning out; in KTO it would be one class alone.
    assert settings_for(method_called("cloning"), loss={"unwanted": 0}).loss["unwanted"] == 0
    # PPO samples one answer to each prompt, whatever `samples` says.
    assert settings_for(method_called("ppo"), batch_size=6).batch_size == 6
    mixed = {"kind": ["sigmoid", "robust"], "weights": [1, 0.5], "noise": 0.1}
    assert settings_for(method_called("dpo"), loss=mixed).loss["kind"] == ("sigmoid", "robust")


def test_a_kind_of_loss_has_numbers_of_its_own() -> None:
    way = method_called("dpo")
    betas = [settings_for(way, None, loss=loss).loss["beta"] for loss in (
        "hinge", "sigmoid_norm", {"kind": "sigmoid_norm", "beta": 0.3}, ["sigmoid_norm", "sft"]
    )]  # fmt: skip
    assert betas == [0.1, 5.0, 0.3, 5.0]
    with pytest.raises(
        RecipeError, match=r"differ \(0\.1 of sigmoid, 5\.0 of sigmoid_norm\): give it"
    ):
        settings_for(way, None, loss=["sigmoid", "sigmoid_norm"])
    shared = {"kind": ["sigmoid", "sigmoid_norm"], "beta": 1.0}
    assert settings_for(way, None, loss=shared).loss["beta"] == 1.0


@pytest.mark.parametrize(
    ("method", "column", "changes", "said"),
    [
        ("dpo", {"p_chosen": 0.7}, {"loss": "apo_zero"}, "'apo_zero' has no form for soft labels"),
        ("sft", {"weight": 0.5}, {"packing": "bfd_split"}, "rows have weights, which packing"),
    ],
)
def test_rows_that_settings_cannot_follow_are_found_by_the_check(
    method: str, column: dict[str, Any], changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    job = job_of(tmp_path)
    ask, answers = [{"role": "user", "content": "a"}], [[{"role": "assistant", "content": "b"}]] * 2
    talk = {"messages": ask + answers[0]}
    pair = {"prompt": ask, "chosen": answers[0], "rejected": answers[1]}
    Path(job.data).write_text(json.dumps((talk if method == "sft" else pair) | column))
    way = method_called(method)
    other = dataclasses.replace(job, method=way, settings=settings_for(way, None, **changes))
    with pytest.raises(UsageError, match=said):
        prepare(other)


def test_patience_without_held_out_rows_is_refused_before_the_weights(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none are held out: set `held_out: 0\.05`"):
        prepare(job_of(tmp_path, patience=1))


def test_what_only_trl_knows_is_passed_on_and_refused_by_name(tmp_path: Path) -> None:
    from curate.train.trainers import TrainerInputs, config_for

    job = job_of(tmp_path, trl={"weight_decay": 0.1})
    inputs = TrainerInputs(None, prepare(job).chat, job.method, job.settings, [], [], "cpu")
    assert config_for(inputs, str(tmp_path)).weight_decay == 0.1
    # A value that TRL's own checks refuse.
    wrong = job_of(tmp_path, trl={"eval_strategy": "never"})
    with pytest.raises(UsageError, match=r"TRL does not take.*never.*`trl:`"):
        config_for(inputs._replace(settings=wrong.settings), str(tmp_path))


@pytest.mark.parametrize(
    ("method", "given", "better"),
    [
        ("dpo", {}, ("eval_loss", False)),
        ("dpo", {"metric_for_best_model": "eval_rewards/accuracies"},
         ("eval_rewards/accuracies", True)),
        ("rloo", {}, ("eval_reward", True)),
        ("rloo", {"metric_for_best_model": "eval_loss"}, ("eval_loss", False)),
    ],
)  # fmt: skip
def test_patience_goes_after_the_better_side_of_the_metric_that_it_watches(
    method: str, given: dict[str, Any], better: tuple[str, bool], tmp_path: Path
) -> None:
    from curate.train.trainers import TrainerInputs, config_for

    way, example = method_called(method), Example("a", ())
    settings = settings_for(way, None, patience=1, trl=given)
    inputs = TrainerInputs(None, None, way, settings, [example], [example], "cpu")  # type: ignore[arg-type]
    config = config_for(inputs, str(tmp_path))
    assert (config.metric_for_best_model, config.greater_is_better) == better


@pytest.mark.parametrize(
    ("method", "given", "said"),
    [
        (
            "sft",
            {"weight_decy": 0.1},
            "weight_decy' is not a field of TRL's SFTConfig.*'weight_decay'",
        ),
        ("sft", {"scale_rewards": False}, "'scale_rewards' is not a field of TRL's SFTConfig"),
        ("sft", {"max_prompt_length": 5}, "'max_prompt_length' is not a field of TRL's SFTConfig"),
        ("sft", {"dataset_text_field": "x"}, "'dataset_text_field' plays no part in sft: leave it"),
        ("grpo", {"chat_template_kwargs": {}}, "'chat_template_kwargs' plays no part in grpo"),
        ("dpo", {"loss_type": "hinge"}, "place of `loss.kind`.*set `loss.kind` of dpo"),
        ("grpo", {"loss_type": "bnpo"}, "place of `loss.kind`"),
        ("rloo", {"beta": 0.1}, "place of `loss.kl`"),
        ("orpo", {"packing": True}, "place of `packing`"),
        ("sft", {"eval_packing": True}, "place of `packing`"),
        ("sft", {"output_dir": "x"}, "'output_dir' plays no part in sft"),
        ("reward", {"center_rewards_coefficient": 0.01}, "plays no part in reward: leave it out"),
        ("sft", {"learning_rate": 1e-3}, "place of `learning_rate`"),
        ("dpo", {"num_train_epochs": 3}, "place of `epochs`"),
        ("grpo", {"num_generations": 2}, "place of `generation.samples`"),
    ],
)
def test_a_field_of_trl_that_plays_no_part_is_refused_before_weights(
    method: str, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    way = method_called(method)
    settings = settings_for(way, None, trl=given)
    # There is neither a model nor data: nothing is read before.
    job = jobs.Job(way, settings, str(tmp_path / "none"), str(tmp_path / "none"), tmp_path / "out")
    with pytest.raises(UsageError, match=said):
        prepare(job)


def test_losses_of_grpo_that_only_trl_knows_are_passed_on() -> None:
    from curate.train.trl_config import check_trl_keys

    given = {"loss_type": "cispo", "epsilon_high": 5.0, "pad_to_multiple_of": 8}
    check_trl_keys(method_called("grpo"), given)


def test_every_method_has_defaults_and_a_source() -> None:
    for way in methods().values():
        assert way.source
        assert way.trl_too_long
        if way.trainer == "ranker":
            assert way.defaults == {}
            ranker_settings_for()
            continue
        settings_for(way)
        assert way.defaults["loss"]["kind"]


def test_memory_is_mostly_what_it_should_be() -> None:
    config = tiny.model().config
    sft, dpo = method_called("sft"), method_called("dpo")
    full = estimate(config, sft, settings_for(sft), 1, 64, "cpu")
    count = sum(p.numel() for p in tiny.model().parameters())
    assert full.terms["weights"] == 4 * count
    assert full.terms["Adam"] == 8 * count
    assert "reference" not in full.terms
    assert estimate(config, dpo, settings_for(dpo), 2, 64, "cpu").terms["reference"] == 4 * count
    small = estimate(config, sft, settings_for(sft, adapter="lora"), 1, 64, "cpu")
    assert small.terms["Adam"] < full.terms["Adam"]
    long = estimate(config, sft, settings_for(sft), 1, 4096, "cpu")
    assert long.largest == "activations"


def test_adapters_are_counted_as_peft_makes_them() -> None:
    from curate.train.memory_estimate import adapter_parameters
    from curate.train.weights import with_adapter

    way = method_called("sft")
    for kind in ("lora", "prompt"):
        settings = settings_for(way, adapter=kind)
        made = with_adapter(tiny.model(), settings.adapter, way)
        trained = sum(p.numel() for p in made.parameters() if p.requires_grad)
        assert adapter_parameters(tiny.model().config, settings) == trained, kind


def test_pace_counts_from_where_a_training_was_taken_up() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0], 10)
    now[0] = 20.0
    progress = pace.at(20, 40, 1000, {})
    assert progress.tokens_per_second == 50
    assert progress.seconds_left == 40


def test_a_model_that_answers_over_a_network_is_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    for model, said in (("openai:gpt", "cannot be trained here"), ("/nowhere", "cannot be loaded")):
        other = jobs.Job(job.method, job.settings, job.data, model, job.out)
        with pytest.raises(UsageError, match=said):
            prepare(other)


def test_only_lora_is_merged_and_only_what_is_installed_reported_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    merged = dataclasses.replace(job_of(tmp_path), merge=True)
    with pytest.raises(UsageError, match="this trains 'full': leave it out"):
        prepare(merged)
    monkeypatch.setattr("curate.train.training.find_spec", lambda name: None)
    told = job_of(tmp_path, report_to="trackio")
    with pytest.raises(UsageError, match="pip install trackio"):
        prepare(told)


def test_reinforcement_needs_a_reward(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    way = method_called("rloo")
    other = jobs.Job(way, settings_for(way), job.data, job.model, job.out)
    with pytest.raises(UsageError, match="needs a reward: --reward"):
        prepare(other)
