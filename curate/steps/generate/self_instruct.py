"""Self-Instruct: grow new tasks from a few that people wrote, and from those grown before."""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from curate.ask import Ask, Reply
from curate.errors import CurateError, UnusableReply
from curate.kernels.text.task_rules import (
    ALPACA_WORDS,
    SELF_INSTRUCT_WORDS,
    broken_by_task,
    holds_control_characters,
)
from curate.kernels.text.words import Tokens
from curate.prompts import prompt as prompts
from curate.prompts.replies import read
from curate.prompts.replies.objects import ask_until, object_in
from curate.prompts.replies.task_lists import TaskText, blocks, numbered
from curate.prompts.replies.usable_text import is_loop
from curate.row import Message, Record, Row
from curate.step import Asking, Drop, Failed, Grow, Made, Pool, Product, Scored, rule
from curate.steps.generate._tasks import (
    SHIPPED,
    SeedTask,
    conversation,
    seed_digest,
    seed_file,
    shipped_seeds,
    task_of,
)

CUT = "cut off at max_tokens"


class _Preset(NamedTuple):
    """What a published procedure sets; a field of the step goes before it."""

    prompt: str
    human: int
    machine: int
    batch: int
    temperature: float
    top_p: float | None
    presence_penalty: float | None
    max_tokens: int
    complete: bool
    banned: tuple[str, ...]
    english: bool


_PRESETS = {
    # Wang et al. 2022, bootstrap_instructions.py: tasks 9 to 15 of a list of which 8 are shown.
    "paper": _Preset(
        "self_instruct", 6, 2, 7, 0.7, 0.5, 2.0, 1024, True, SELF_INSTRUCT_WORDS, True
    ),
    # Taori et al. 2023, generate_instruction.py: a list of 20 of which 3 are shown.
    "alpaca": _Preset(
        "self_instruct_alpaca", 3, 0, 17, 1.0, 1.0, None, 3072, True, ALPACA_WORDS, True
    ),
    # Ours: chat models that reply with an object. Recommended sampling is the model's own.
    "modern": _Preset("self_instruct_modern", 6, 2, 8, 1.0, None, None, 2048, False, (), False),
}


@dataclass(frozen=True, kw_only=True)
class SelfInstruct(Grow):
    r"""Grow new tasks from seed tasks, each unlike all before it by ROUGE-L.

    A request shows `model` tasks of the pool and asks for more. `human` is the number of examples
    from the input rows. `machine` is the number of examples generated before (seeds, as long as
    there are none). `batch` is the number of tasks that a request asks for. Rows without an
    instruction are not seeds; if there are no others, the paper's 175 human-written tasks are used,
    which are included.

    A new task is rejected by the paper's heuristics: fewer than `min_words` or more than
    `max_words` words, a word of the list `banned`, and others listed on the method's page. It is
    then rejected if its ROUGE-L F-measure with a seed or an accepted task is above `max` (0.7: a
    task at exactly 0.7 is kept); the ledger names the most similar one with its score. `neighbours`
    is the number of most similar tasks to record, with the mean over all. `tokens` are the words of
    `near` or of the package `rouge_score`, as in `novelty`.

    `preset` is `paper` (a completion model continues a numbered list), `alpaca` (it writes tasks
    with input and output, which become conversations), or `modern` (a chat model replies with an
    object). `prompt`, `temperature`, `top_p`, `presence_penalty`, `max_tokens` and those above
    override the values of the preset. `complete` sends the prompt as raw text to be completed.
    `structured` makes the server enforce the prompt's schema, if it can. `repairs` is how often a
    reply that does not match is asked for again. `tasks: classification` shows only seeds marked
    `is_classification`, and asks for such tasks.

    The input rows become *used*. With `keep_pool`, they pass. `round_size` requests form a round:
    they are sent together and see the pool as it was before. The pool is complete at `target`
    accepted tasks or after `budget` requests. It is exhausted after `patience` rounds without a new
    task.
    """

    model: str | None = None
    preset: Literal["paper", "alpaca", "modern"] = "modern"
    prompt: str | None = None
    tasks: Literal["all", "classification"] = "all"
    human: int | None = None
    machine: int | None = None
    batch: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    complete: bool | None = None
    structured: bool = False
    repairs: int = 1
    tokens: Tokens = "words"
    max: float | None = rule(0.7)
    min_words: int = rule(4)
    max_words: int = rule(150)
    banned: tuple[str, ...] | None = rule(None)
    neighbours: int = rule(0)
    round_size: int = 5
    keep_pool: bool = False

    source: ClassVar[str] = "Wang et al. 2022 (Self-Instruct), arXiv 2212.10560; Taori et al. 2023"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft")
    scores_made: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, shows nothing, or whose numbers are out of range."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        for name, least in (
            ("human", 0),
            ("machine", 0),
            ("batch", 1),
            ("max_tokens", 1),
            ("repairs", 0),
            ("min_words", 1),
            ("neighbours", 0),
            ("round_size", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}; it must be {least} or more")
        if not self._set("human") + self._set("machine"):
            raise ValueError("human and machine are 0: a request must show at least one task")
        if self.max is not None and not 0 <= self.max <= 1:
            raise ValueError(f"max is {self.max}; ROUGE-L lies between 0 and 1")
        if self.max_words < self.min_words:
            raise ValueError(f"max_words is {self.max_words}, and min_words {self.min_words}")

    def prepare(self) -> None:
        """Read the prompt and the shipped seeds."""
        try:
            found = prompts.load_with(
                self._set("prompt"), ("tasks", "classification", "first", "last")
            )
        except CurateError as error:
            raise ValueError(str(error)) from None
        if self.preset == "modern" and not found.schema:
            raise ValueError(f"the prompt '{found.name}' has no schema; modern replies are objects")
        if self._set("complete") and found.system is not None:
            raise ValueError(f"complete sends no system prompt, but {found.name} has one")
        if not seed_file().is_file():
            raise ValueError(f"the shipped seeds are missing: {seed_file()}; install curate anew")

    def reply_limit(self) -> int | None:
        """Return the preset's where the field is left out."""
        limit: int | None = self._set("max_tokens")
        return limit

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text, wherever its file lies, and the shipped seeds."""
        own = {name: value for name, value in super().fingerprint().items() if name != "prompt"}
        return {**own, "prompt_text": prompts.digest(self._set("prompt")), "seeds": seed_digest()}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Tasks are prompts; Alpaca's have an output, too."""
        made = frozenset({"sft" if self.preset == "alpaca" else "prompt"})
        return made | kinds if self.keep_pool else made

    def pool(self, rows: Sequence[Row]) -> Pool:
        """Return the pool of the seeds: the rows that have an instruction, or those shipped."""
        own = [row for row in rows if task_of(row).task.strip()]
        return _Tasks(self, own or shipped_seeds())

    def brings(self) -> int:
        """Return how many tasks a request asks for."""
        return int(self._set("batch"))

    def propose(self, sample: Sequence[Row], random: random.Random) -> Asking:
        """Ask for tasks that go on with those shown; refuse what breaks a rule."""
        first = len(sample) + 1
        last = first + self._set("batch") - 1
        prompt = prompts.load(self._set("prompt"))
        filled = prompt.render(
            tasks=[
                {**task._asdict(), "task": _clean(task.task).rstrip(":")}
                for task in map(task_of, sample)
            ],
            classification=self.tasks == "classification",
            first=first,
            last=last,
        )
        ask = self._ask(filled.text, filled.system, last + 1)
        schema = prompt.schema or {}
        found: list[TaskText | str]
        if self.preset == "modern":
            if self.structured:
                ask = dataclasses.replace(ask, schema=schema)
            said, reply = yield from ask_until(
                ask, lambda text: object_in(text, schema), repairs=self.repairs
            )
            found = [TaskText(str(text)) for text in said["tasks"]]
        elif self.preset == "alpaca":
            reply = yield ask
            if reply.finish_reason != "length":
                reply.whole()
            try:
                found = blocks(reply.text, first)
            except ValueError as error:
                said = f"the reply is not a list of tasks: {error}"
                raise UnusableReply(said, key=reply.key) from error
        else:
            reply = yield ask
            found = [TaskText(text) for text in read(reply, lambda text: numbered(text, first))]
        # Shipped seeds are not rows of the run, and so no parents: the ledger names them.
        shipped = [row.id for row in sample if row.source == SHIPPED]
        shown = {"shown": shipped} if shipped else None
        products = [self._product(one, reply, shown) for one in found]
        if reply.finish_reason == "length" and isinstance(end := products[-1], Made):
            # Alpaca's other blocks have an end.
            products[-1] = Drop(CUT, record=end.record)
        return products

    def _product(self, found: TaskText | str, reply: Reply, shown: Any) -> Product:
        """Return a proposed task, or why it is none."""
        if isinstance(found, str):
            return Failed(found, None, reply)
        text = _clean(found.task)
        banned = self._set("banned")
        reason = broken_by_task(
            text, self.min_words, self.max_words, banned, _PRESETS[self.preset].english
        )
        if self.preset == "alpaca":
            record = conversation(SeedTask(text, found.input, found.output))
            reason = reason or (None if found.output else "no output")
            if reason is None and holds_control_characters(found.input + found.output):
                reason = "control characters"
            elif reason is None and (is_loop(found.input) or is_loop(found.output)):
                reason = "repeats itself"
        else:
            record = Record("prompt", {"prompt": (Message("user", text),)})
        return Made(record, detail=shown) if reason is None else Drop(reason, record=record)

    def _ask(self, text: str, system: str | None, end: int) -> Ask:
        """Return the request for a filled prompt; a list that goes on ends before number `end`."""
        complete = self._set("complete")
        stop: tuple[str, ...] = ()
        if self.preset != "modern":
            stop = (f"\n{end}.",)
            stop = ("\n\n", *stop) if self.preset == "paper" and complete else stop
        return Ask(
            model=self.model,
            messages=() if complete else (Message("user", text),),
            prompt=text if complete else None,
            system=None if complete else system,
            temperature=self._set("temperature"),
            top_p=self._set("top_p"),
            presence_penalty=self._set("presence_penalty"),
            max_tokens=self._set("max_tokens"),
            stop=stop,
        )

    def _set(self, name: str) -> Any:
        """Return a field's value, or the preset's where it is left out."""
        own = getattr(self, name)
        return getattr(_PRESETS[self.preset], name) if own is None else own


class _Tasks(Pool):
    """Seeds and accepted tasks; each new one is compared with all of them, in the order asked."""

    def __init__(self, step: SelfInstruct, seeds: Sequence[Row]) -> None:
        from curate.kernels.sets.novelty_pool import NoveltyPool

        self.step, self.seeds, self.grown = step, list(seeds), list[Row]()
        self.shown = self.seeds
        if step.tasks == "classification":
            self.shown = [row for row in self.seeds if task_of(row).is_classification]
            if not self.shown:
                raise ValueError(
                    "no row that flows in is marked is_classification: true, and tasks: "
                    "classification shows such seeds alone; mark some, or leave tasks out"
                )
        self.novelty = NoveltyPool(step.tokens)
        for row in self.seeds:
            self.novelty.join(task_of(row).task)

    def accept(self, record: Record, row_id: str) -> Drop | Scored | None:
        """Join a task that is unlike all others; name the most similar one in any case."""
        row = Row(row_id, (), record.kind, record.fields, extra=record.extra)
        task, step = task_of(row).task, self.step
        found = self.novelty.similar(task, max(1, step.neighbours))
        names = [self._row(place).id for place in found.places]
        place, score = found.places[0], found.scores[0]
        detail: dict[str, Any] = {"most_similar": names[0]}
        if step.neighbours:
            listed = [list(pair) for pair in zip(names, found.scores, strict=True)]
            detail = {"most_similar": listed, "mean": found.mean}
        if step.max is not None and score > step.max:
            witness = self._row(place)
            seed = place < len(self.seeds)
            partner = None if witness.source == SHIPPED else witness.id
            reason = "similar to a seed task" if seed else "similar to an accepted task"
            return Drop(reason, score, record, detail, partner)
        self.novelty.join(task)
        self.grown.append(row)
        return Scored(score, detail)

    def sample(self, random: random.Random) -> Sequence[Row]:
        """Return grown tasks and seeds, shuffled; seeds stand for grown ones that are missing."""
        human, machine = self.step._set("human"), self.step._set("machine")
        grown = random.sample(self.grown, min(machine, len(self.grown)))
        rest = min(human + machine - len(grown), len(self.shown))
        chosen = [*grown, *random.sample(self.shown, rest)]
        random.shuffle(chosen)
        return chosen

    def _row(self, place: int) -> Row:
        seeds = len(self.seeds)
        return self.seeds[place] if place < seeds else self.grown[place - seeds]


def _clean(text: str) -> str:
    """Return a task in one line, its first letter a capital; the others stay as they are."""
    line = re.sub(r"\s+", " ", text).strip()
    return line[:1].upper() + line[1:]
