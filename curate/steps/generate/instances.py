"""Write inputs and outputs for tasks (Self-Instruct's third and fourth stage)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.ask import Ask, Reply, check_asking
from curate.errors import CurateError, UnusableReply
from curate.kernels.text.task_rules import holds_control_characters
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_until, object_in
from curate.prompts.replies.task_instances import Instance, input_first, output_first
from curate.prompts.replies.usable_text import is_loop
from curate.row import Message, Row
from curate.step import Asking, Drop, Generate, Product
from curate.steps.generate._tasks import SeedTask, conversation, task_of

CONFLICT = "two outputs for one input"
CUT = "cut off at max_tokens"


@dataclass(frozen=True, kw_only=True)
class Instances(Generate):
    """Write instances of a row's task: conversations of an input and an output.

    `most` is the maximum number of instances per task. `by` names the step whose score is the
    probability of a classification task; `by: null` writes all instances input-first. From
    `threshold` on, instances are written output-first (a label, and then an input for it), so that
    all labels occur; below it, input-first. `preset: paper` sends one of two prompts with worked
    examples as raw text to be completed; `modern` asks a chat model for an object. With `complete:
    false`, the paper's prompt is sent to a chat model as its only turn. `structured` makes the
    server enforce the schema of `modern`, if it can. `repairs` is how often an unusable object is
    asked for again. `prompt` and `label_prompt` are the names or paths of other prompts. An
    instance is rejected if it has no output, equals its input, ends with a colon, contains control
    characters, loops a few words, repeats another one, or was the last one of a reply cut off at
    `max_tokens`. A task with two outputs for one input is dropped; of more than `most` instances,
    some are drawn from the row's seed. A reply without the expected markers or object fails the
    row. `temperature`, `presence_penalty` and `max_tokens` override those of the preset.
    """

    model: str | None = None
    by: str | None = "classification_task"
    threshold: float = 0.5
    preset: Literal["paper", "modern"] = "modern"
    prompt: str | None = None
    label_prompt: str | None = None
    most: int = 5
    complete: bool | None = None
    structured: bool = False
    repairs: int = 1
    temperature: float | None = 0.0
    presence_penalty: float | None = None
    max_tokens: int | None = None

    source: ClassVar[str] = "Wang et al. 2022 (Self-Instruct), arXiv 2212.10560, section 2.2"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")

    def check(self) -> None:
        """Reject a step that asks nobody, or for nothing."""
        check_asking(self.model, repairs=self.repairs, max_tokens=self.max_tokens)
        if self.most < 1:
            raise ValueError(f"most is {self.most}; it must be 1 or more")
        if self.preset == "modern" and self.complete:
            raise ValueError("complete: true goes with preset: paper, whose prompts are completed")

    def prepare(self) -> None:
        """Read both prompts, and reject those that take other variables."""
        given = (
            ("task", "classification", "count", "mark") if self.preset == "modern" else ("task",)
        )
        try:
            for classifies in (False, True):
                found = prompts.load_with(self._prompt(classifies), given)
                if self.preset == "modern" and not found.schema:
                    raise ValueError(f"the prompt '{found.name}' has no schema for the reply")
                raw = self.preset == "paper" and self.complete is not False
                if raw and found.system is not None:
                    raise ValueError(f"complete sends no system prompt, but {found.name} has one")
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        text = prompts.digest(self._prompt(False), self._prompt(True))
        return {**super().fingerprint(), "prompt_text": text}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Instances are conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Ask for the instances, read them and refuse what breaks a rule."""
        task = task_of(row).task.strip()
        if not task:
            raise ValueError("the row has no task to write instances of")
        classifies = False
        if self.by is not None:
            score = row.scores.get(self.by)
            if score is None:
                raise ValueError(f"the row has no score of '{self.by}'; by: null needs none")
            classifies = score >= self.threshold
        if self.preset == "modern":
            found, reply = yield from self._object(row, task, classifies)
        else:
            # The paper's request, with its limits (generate_instances.py of its repository).
            filled = prompts.load(self._prompt(classifies)).render(task=task)
            raw = self.complete is not False
            reply = yield Ask(
                model=self.model,
                messages=() if raw else (Message("user", filled.text),),
                prompt=filled.text if raw else None,
                system=None if raw else filled.system,
                temperature=self.temperature,
                presence_penalty=1.5 if self.presence_penalty is None else self.presence_penalty,
                max_tokens=self.max_tokens or (300 if classifies else 350),
                stop=(f"Example {self.most + 1}", "Task:"),
            )
            cut = reply.finish_reason == "length"
            if not cut:
                reply.whole()
            try:
                found = output_first(reply.text) if classifies else input_first(reply.text, cut)
            except ValueError as error:
                said = f"the reply holds no instances: {error}"
                raise UnusableReply(said, key=reply.key) from error
        return self._products(row, SeedTask(task, is_classification=classifies), found, reply)

    def _object(self, row: Row, task: str, classifies: bool) -> Asking:
        """Ask a chat model for an object, and return its instances and the reply."""
        prompt = prompts.load(self._prompt(classifies))
        filled = prompt.render(
            task=task, classification=classifies, count=self.most, mark=prompts.mark_of(task)
        )
        schema = prompt.schema or {}
        ask = Ask(
            model=self.model,
            messages=(Message("user", filled.text),),
            system=filled.system,
            temperature=self.temperature,
            presence_penalty=self.presence_penalty,
            max_tokens=self.max_tokens or 2048,
        )
        if self.structured:
            ask = dataclasses.replace(ask, schema=schema)
        said, reply = yield from ask_until(
            ask, lambda text: object_in(text, schema), repairs=self.repairs
        )
        return [
            Instance(one["input"].strip(), one["output"].strip()) for one in said["instances"]
        ], reply

    def _products(
        self, row: Row, task: SeedTask, found: Sequence[Instance], reply: Reply
    ) -> list[Product]:
        """Return the conversations of instances, and why others are none."""
        records = [
            conversation(task._replace(input=one.input, output=one.output), row.extra)
            for one in found
        ]
        reasons = [broken_by_instance(one) for one in found]
        if reply.finish_reason == "length":
            reasons[-1] = CUT
        sound = [place for place, reason in enumerate(reasons) if reason is None]
        outputs: dict[str, str] = {}
        for place in sound:
            given, output = found[place]
            if given and outputs.setdefault(given, output) != output:
                return [Drop(CONFLICT, detail={"input": given})]
        first = dict.fromkeys(found[place] for place in sound)
        drawn = set(row.random(self.title).sample(list(first), min(self.most, len(first))))
        products: list[Product] = []
        for one, record, reason in zip(found, records, reasons, strict=True):
            if reason is None and one not in first:
                reason = "equal to another instance"
            elif reason is None and one not in drawn:
                reason = f"more than {self.most} instances"
            if reason is None:
                del first[one]
            products.append(record if reason is None else Drop(reason, record=record))
        return products

    def _prompt(self, classifies: bool) -> str:
        if self.preset == "modern":
            return (self.label_prompt if classifies else None) or self.prompt or "instances"
        if classifies:
            return self.label_prompt or "instances_output_first"
        return self.prompt or "instances_input_first"


def broken_by_instance(instance: Instance) -> str | None:
    """Return the rule of Self-Instruct that an instance breaks, or `None`."""
    if not instance.output:
        return "no output"
    if instance.input == instance.output:
        return "input and output are equal"
    if instance.input.endswith(":") or instance.output.endswith(":"):
        return "ends with a colon"
    if holds_control_characters(instance.input + instance.output):
        return "control characters"
    if is_loop(instance.input) or is_loop(instance.output):
        return "repeats itself"
    return None
