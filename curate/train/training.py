"""One training from its data to a folder that says what it is: check, train, save, describe.

The folder continues: the same command goes on from the last whole checkpoint, and another training
is refused there. `report.json` comes last, so a folder with a report is complete.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.errors import UsageError
from curate.models.inprocess.chat import Chat
from curate.models.inprocess.chat_rendering import check_template_file
from curate.recipe.fields import plain
from curate.row import Row, canonical_bytes, seed_of
from curate.system.launched_processes import (
    first_process_first,
    is_first_process,
    require_one_process,
)
from curate.system.posix import peak_memory_mb, write_atomically
from curate.train.data import hold_out, read_data
from curate.train.examples import check_examples, check_together
from curate.train.interruptions import last_checkpoint, told_apart
from curate.train.job import Job, Prepared
from curate.train.memory_estimate import estimate
from curate.train.pace import Listener
from curate.train.preflight import Checked, check, finding_record, with_memory
from curate.train.rewards import check_reward, reward_text
from curate.train.settings import Method, TrainingSettings, require_packages
from curate.train.weights import (
    base_model,
    load_config,
    load_model,
    load_tokenizer,
    merge,
    stop_at_turns,
)

# The names of what a finished training has written; nothing else is deleted by another one.
_FILES = ".files.json"


def prepare(job: Job) -> Prepared:
    """Read a job's data and check it, without loading any weight.

    Raises:
        UsageError: data, model or settings cannot be read, or do not go together.
    """
    from curate.encoders.precision import has_gpu

    require_trainer(job.method, job.settings)
    if job.method.trainer == "ppo":
        require_one_process("ppo")
    if job.merge and job.settings.adapter.kind not in ("lora", "qlora"):
        raise UsageError(
            "--merge puts a LoRA adapter into its model, and this trains "
            f"'{job.settings.adapter.kind}': leave it out, or set `adapter: lora`"
        )
    tracker = job.settings.report_to
    if tracker is not None and find_spec(tracker) is None:
        raise UsageError(f"report_to: {tracker} is not installed; run: pip install {tracker}")
    if job.method.online and job.reward is None:
        raise UsageError(
            f"{job.method.name} needs a reward: --reward FOLDER of a trained reward model, "
            "--reward FILE.py:FUNCTION, or --reward STEP such as verify:number"
        )
    if job.method.online:
        check_reward(job.reward)
    elif job.reward is not None:
        raise UsageError(
            f"{job.method.name} learns from rows as they are, and takes no --reward; with "
            "--rounds N it learns from answers that are sampled and scored"
        )
    data = read_data(job.data, job.method, job.shape)
    data = hold_out(data, job.settings.held_out, job.method, job.settings.seed)
    where = base_model(job.model)
    chat = chat_of(where, job.settings.template)
    checked = check(data, chat, job.method, job.settings)
    check_together([*checked.examples, *checked.held_out], job.method, job.settings)
    if job.settings.patience is not None and not checked.held_out:
        raise UsageError(
            f"patience watches the {'reward' if job.method.online else 'loss'} of held-out rows, "
            "and none are held out: set `held_out: "
            "0.05` (a share of the prompts, or a file), or leave patience out"
        )
    device = "cuda" if has_gpu() else "cpu"
    if checked.examples:
        answers = int(checked.figures["most_answers"])
        longest = int(min(checked.figures["longest"], job.settings.max_length))
        memory = estimate(load_config(where), job.method, job.settings, answers, longest, device)
        checked = with_memory(checked, memory, job.method)
    return Prepared(data, chat, checked, where, device)


def require_trainer(method: Method, settings: TrainingSettings) -> None:
    """Make ready what training is done with.

    Raises:
        RecipeError: a package is not installed.
        UsageError: `trl:` of the settings holds what the method makes no use of.
    """
    needs = ("peft",) if settings.adapter.kind != "full" else ()
    require_packages("torch", "transformers", "trl", "accelerate", *needs)
    set_environment()
    if settings.trl:
        from curate.train.trl_config import check_trl_keys

        check_trl_keys(method, settings.trl)


def chat_of(where: str, template: str | None) -> Chat:
    """Return the tokenizer of a model with its own template, or that of the file `template`.

    Raises:
        UsageError: there is no such model or file.
    """
    chat = Chat(load_tokenizer(where))
    if template is not None:
        path = Path(template)
        if not path.is_file():
            raise UsageError(f"template: there is no file {path}; it holds a chat template (Jinja)")
        check_template_file(path)
        # It is saved with the model, which then answers as it was trained.
        chat.template = chat.tokenizer.chat_template = path.read_text(encoding="utf-8")
    return chat


def set_environment() -> None:
    """Keep TRL from sending telemetry, and everybody from writing over our output."""
    # Threads that spin while they wait for each other starve on shared cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    import datasets

    from curate.models.inprocess.transformer import quiet

    quiet()
    datasets.disable_progress_bars()


def train(job: Job, prepared: Prepared, listener: Listener | None = None) -> dict[str, Any]:
    """Train, write the model and what describes it into the job's folder, and return the report.

    Of several processes the first one does all that but the training.

    Raises:
        UsageError: the folder holds another training.
        StoppedShort: the loss is not a number, or disk or memory are full; a checkpoint stays.
    """
    from curate.train.describe import write_description
    from curate.train.watch import quietly

    first = is_first_process()
    with first_process_first(prepared.device):
        done = claim(job.out, purpose(job, prepared), replace=job.replace and first)
    if done is not None:
        return done
    check_examples(prepared.checked.examples)
    began = time.monotonic()
    if first:
        write_atomically(job.out / "check.json", json.dumps(check_data(prepared.checked), indent=1))
    with told_apart(job, prepared.checked.memory), quietly():
        if job.method.trainer == "ppo":
            from curate.train.ppo import train_ppo

            outcome = train_ppo(job, prepared, listener)
        else:
            outcome = _train_with_trl(job, prepared, listener)
        if not first:
            return outcome
        if job.merge:
            merge(job.out, job.out / "merged", reward=job.method.name == "reward")
        report = {
            **purpose(job, prepared),
            **outcome,
            "seconds": round(time.monotonic() - began, 1),
            "peak_memory_mb": round(peak_memory_mb()),
            "figures": prepared.checked.figures,
        }
        write_description(job, prepared, report)
    publish(job.out, report)
    return report


def publish(out: Path, report: dict[str, Any]) -> None:
    """Write a finished training's report, after a list of all files that it wrote."""
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    write_atomically(out / _FILES, json.dumps(files))
    write_atomically(out / "report.json", json.dumps(report, indent=1))


def claim(out: Path, wanted: dict[str, Any], *, replace: bool) -> dict[str, Any] | None:
    """Take a folder for the training `wanted`, and return its report if it is done there already.

    Raises:
        UsageError: the folder holds something else.
    """
    path = out / "training.json"
    own = json.dumps(wanted, indent=1)
    if replace and path.is_file():
        own_files, note = {"training.json", "check.json", "report.json", _FILES}, out / _FILES
        own_files.update(json.loads(note.read_bytes()) if note.is_file() else ())
        for file in sorted(found for found in out.rglob("*") if found.is_file()):
            name = file.relative_to(out)
            if str(name) not in own_files and name.parts[0] not in ("checkpoints", "rounds"):
                raise UsageError(
                    f"{file} was written by no training and would be deleted; move it elsewhere, "
                    "or choose another folder"
                )
        shutil.rmtree(out)
    if not path.is_file():
        if out.exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty and holds no training; choose another folder")
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(path, own)
        return None
    before, now = json.loads(path.read_text(encoding="utf-8")), json.loads(own)
    if before != now:
        changed = ", ".join(name for name in now if before.get(name) != now[name])
        raise UsageError(
            f"{out} holds another training (other {changed}); choose another folder, or add "
            "--replace"
        )
    report = out / "report.json"
    return json.loads(report.read_text(encoding="utf-8")) if report.is_file() else None


def purpose(job: Job, prepared: Prepared) -> dict[str, Any]:
    """Return what a training is: another of these makes another one."""
    return {
        "method": job.method.name,
        "model": job.model,
        "data": job.data,
        "rows": digest_of(prepared.data.rows),
        "reward": reward_text(job.reward),
        "settings": plain(dataclasses.asdict(job.settings)),
    }


def digest_of(rows: Sequence[Row]) -> str:
    """Return a digest of what rows hold: other rows, another training."""
    return f"{seed_of(*(canonical_bytes(row.kind, row.fields) for row in rows)):016x}"


def check_data(checked: Checked) -> dict[str, Any]:
    """Return what a check found as JSON data."""
    memory = checked.memory
    return {
        "findings": [finding_record(finding) for finding in checked.findings],
        "figures": checked.figures,
        "memory_bytes": None if memory is None else {**memory.terms, "total": memory.total},
        "largest": None if memory is None else memory.largest,
    }


def _train_with_trl(job: Job, prepared: Prepared, listener: Listener | None) -> dict[str, Any]:
    """Train with one of TRL's trainers, and return its figures."""
    from curate.train import trainers
    from curate.train.rewards import reward_called
    from curate.train.watch import watch

    model = load_model(prepared.where, job.method, job.settings, prepared.device)
    if job.method.name != "reward":
        stop_at_turns(model, prepared.chat.tokenizer)
    reward = reward_called(job.reward, prepared.device) if job.reward else None
    checked = prepared.checked
    inputs = trainers.TrainerInputs(
        model,
        prepared.chat,
        job.method,
        job.settings,
        checked.examples,
        checked.held_out,
        prepared.device,
    )
    folder = job.out / "checkpoints"
    trainer = trainers.trainer_for(inputs, str(folder), reward=reward)
    watch(trainer, listener, patience=job.settings.patience)
    with first_process_first(prepared.device):
        resumed = last_checkpoint(folder)
    # Evaluated by itself before, a model would stay as it is then: apart in each process.
    trainer.args.eval_on_start = bool(checked.held_out) and resumed is None
    trainer.train(resume_from_checkpoint=str(resumed) if resumed else None)
    first, last = {}, {}
    if checked.held_out:
        state = trainer.state
        done = [line for line in state.log_history if "eval_loss" in line]
        if done and done[0]["step"] == 0:
            first = {k: v for k, v in done[0].items() if k.startswith("eval_")}
        if done and done[-1]["step"] == state.global_step and state.best_model_checkpoint is None:
            last = {k: v for k, v in done[-1].items() if k.startswith("eval_")}
        else:
            last = trainer.evaluate()
    trainer.save_model(str(job.out))
    if is_first_process():
        # Pickled, and nothing that the model needs.
        (job.out / "training_args.bin").unlink(missing_ok=True)
    return {
        "steps": trainer.state.global_step,
        "resumed": resumed.name if resumed else None,
        "history": trainer.state.log_history,
        "before": {k.removeprefix("eval_"): v for k, v in first.items()},
        "after": {k.removeprefix("eval_"): v for k, v in last.items()},
    }
