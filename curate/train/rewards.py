"""Rewards: a trained reward model, a Python function, or a step that scores.

All are called alike, as TRL calls its own: with `prompts` and `completions` (lists of messages) and
the columns of each prompt's row by name, and return a number for each. A function comes from the
command line only, never from a settings file: those are data.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsFloat

from curate.errors import CurateError, UsageError
from curate.kernels.verifiers.verification import UnreadableAnswer
from curate.models.inprocess.chat import Chat
from curate.prompts.replies.thought_tags import BrokenThought, apart
from curate.read.shapes.record_fields import messages_of, rendering_options
from curate.recipe.fields import plain
from curate.recipe.step_file import digest_of
from curate.row import Message, Row, canonical_bytes, digest
from curate.step import Filter, Scored
from curate.train.examples import Example
from curate.train.weights import load_config, load_trained, where_is

Turns = Sequence[Mapping[str, Any]]
Reward = Callable[..., list[float]]
_FORMS = "FOLDER of a reward model, FILE.py:FUNCTION, MODULE:FUNCTION, or a step such as verify"


class RewardModel:
    """A trained reward model, which reads conversations just as it did when it was trained."""

    def __init__(self, folder: str, device: str = "cpu", batch_size: int = 16) -> None:
        self._model, tokenizer = load_trained(folder, reward=True)
        self._model = self._model.to(device)
        self._chat, self._batch_size = Chat(tokenizer), batch_size
        self.__name__ = "reward_model"

    def __call__(
        self, prompts: Sequence[Turns], completions: Sequence[Turns], **columns: Sequence[Any]
    ) -> list[float]:
        """Return the reward of each conversation."""
        import torch

        from curate.train.collate import padded

        tokens = []
        for number, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            options = rendering_options({k: v[number] for k, v in columns.items()})
            turns = [*prompt, *completion]
            tokens.append(self._chat.encode(turns, len(prompt), whole=True, **options))
        found: list[float] = []
        pad = self._chat.tokenizer.pad_token_id
        for start in range(0, len(tokens), self._batch_size):
            part = tokens[start : start + self._batch_size]
            batch = padded([t.ids for t in part], [t.labels for t in part], pad)
            given = {k: batch[k].to(self._model.device) for k in ("input_ids", "attention_mask")}
            with torch.inference_mode():
                found += self._model(**given).logits[:, 0].float().tolist()
        return found


class StepReward:
    """A step that scores rows without asking anybody, such as `verify`; its rules play no part.

    Where the step compares with a gold answer, thoughts are not looked at, and an answer that it
    cannot read is worth 0, as a wrong one is: a policy that has not learnt to answer yet must be
    told so.
    """

    def __init__(self, step: Filter) -> None:
        """Refuse a step that could not score each answer at once.

        Raises:
            UsageError: it asks a model, or does not read conversations.
        """
        if step.reads_models() or step.embeds():
            raise UsageError(
                f"the step '{step.title}' asks a model for each answer, which a reward of "
                "reinforcement cannot wait for; train on its judgements in rounds (`curate train "
                "dpo --rounds 3`), or learn a reward model from them (`curate train reward`)"
            )
        if "sft" not in step.kinds:
            raise UsageError(f"the step '{step.title}' scores {' and '.join(step.kinds)} rows only")
        try:
            step.prepare()
        except ValueError as error:
            raise UsageError(f"the step '{step.title}': {error}") from error
        self._step, self.__name__ = step, step.title
        self.gold: str = getattr(step, "gold", "")

    def __call__(
        self, prompts: Sequence[Turns], completions: Sequence[Turns], **columns: Sequence[Any]
    ) -> list[float]:
        """Return the score of each answer.

        Raises:
            UsageError: a row has no gold answer that can be read, or there is no score.
        """
        found = []
        for number, (prompt, answer) in enumerate(zip(prompts, completions, strict=True)):
            own = {k: v[number] for k, v in columns.items() if v[number] is not None}
            turns = messages_of([dict(turn) for turn in (*prompt, *answer)], "messages")
            found.append(self.of(turns, own))
        return found

    def of(self, turns: tuple[Message, ...], columns: Mapping[str, Any]) -> float:
        """Return the score of the answer that a conversation ends with.

        Raises:
            UsageError: the row has no gold answer that can be read, or there is no score.
        """
        *prompt, answer = turns
        try:
            return self._scored((*prompt, _answer_alone(answer) if self.gold else answer), columns)
        except Exception as error:  # as in a run, where it fails the row
            asked = prompt[-1].content[:80] if prompt else ""
            gold = columns.get(self.gold) if self.gold else None
            if gold is None:
                # The gold is in other columns, and was read.
                if isinstance(error, UnreadableAnswer) and error.side == "reply":
                    return 0.0
                raise UsageError(
                    f"'{self.__name__}' cannot score answers to {asked!r}: {error}"
                ) from error
            first = gold[0] if isinstance(gold, list) and gold else gold
            text = first if isinstance(first, str) else _json(first)
            try:
                # Where the gold answer cannot be read either, the row is at fault.
                self._scored((*prompt, Message("assistant", text)), columns)
            except Exception as unread:
                raise UsageError(
                    f"'{self.__name__}' cannot read the gold answer to {asked!r}, "
                    f"{text!r:.60}: {unread}"
                ) from unread
            return 0.0

    def _scored(self, turns: tuple[Message, ...], columns: Mapping[str, Any]) -> float:
        fields = {"messages": turns}
        extra = _json(columns) if columns else None
        key = digest(canonical_bytes("sft", fields)).hex()
        score: Any = self._step.score(Row(key, (0,), "sft", fields, extra=extra))
        value = score.value if isinstance(score, Scored) else score
        if value is None or not math.isfinite(value):
            raise ValueError("it gives no score")
        return float(value)


def _json(value: Any) -> str:
    """Return JSON text of what a trainer's table holds: dates and arrays as texts."""
    return json.dumps(value, ensure_ascii=False, default=str)


def _answer_alone(turn: Message) -> Message:
    """Return an answer without its thoughts; behind one that has no end there is none."""
    try:
        return apart(turn)
    except BrokenThought:
        return turn._replace(content="")


def reward_called(given: str | Filter, device: str) -> Reward:
    """Return the reward that `--reward` names: a model's folder, a function, or a step.

    Raises:
        UsageError: there is no such file or function, or the step cannot be a reward.
    """
    if isinstance(given, Filter):
        return StepReward(given)
    return function_called(given) or RewardModel(where_is(given), device)


def check_reward(given: str | Filter | None) -> None:
    """Raise `UsageError` where `given` cannot be a reward, before any weight is loaded."""
    if isinstance(given, Filter):
        StepReward(given)
    elif given is not None and function_called(given) is None:
        where = where_is(given)
        if not (Path(where) / "adapter_config.json").is_file():
            load_config(where)


def function_called(given: str) -> Reward | None:
    """Return the function FILE.py:NAME or MODULE:NAME, or `None` where `given` names no function.

    Raises:
        UsageError: there is no such file, module or function.
    """
    place, colon, name = given.rpartition(":")
    is_file = place.endswith(".py")
    parts = place.split(".")
    if not colon or place == "hf" or not (is_file or all(part.isidentifier() for part in parts)):
        return None
    if is_file and not Path(place).is_file():
        raise UsageError(f"there is no file {place}; --reward takes {_FORMS}")
    try:
        if is_file:
            spec = importlib.util.spec_from_file_location(Path(place).stem, place)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(place)
    except Exception as error:  # somebody's code may fail in any way
        raise UsageError(
            f"--reward {given}: {place} cannot be imported ({type(error).__name__}: {error}); "
            f"--reward takes {_FORMS}"
        ) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(f"{place} has no function '{name}'")
    found: Reward = function
    return found


def reward_text(given: str | Filter | None) -> str | None:
    """Return what `--reward` names as text; a file of Python with a digest of what it holds."""
    if isinstance(given, Filter):
        fields = plain(given.fields())
        return given.title + (f" {json.dumps(fields, sort_keys=True)}" if fields else "")
    file = Path(given.rpartition(":")[0]) if given else None
    if file is not None and file.suffix == ".py" and file.is_file():
        return f"{given} ({digest_of(file.read_bytes())[:8]})"
    return given


def rewards_of(
    reward: Reward, examples: Sequence[Example], completions: Sequence[Turns]
) -> list[float]:
    """Return the rewards of answers to the prompts of `examples`, which tell their columns.

    Raises:
        UsageError: it failed, gave another number of rewards, or something that is not a number.
    """
    name = getattr(reward, "__name__", type(reward).__name__)
    names = dict.fromkeys(name for example in examples for name in example.columns)
    columns = {name: [e.columns.get(name) for e in examples] for name in names}
    if clash := {"prompts", "completions"} & columns.keys():
        raise UsageError(f"a column is called '{min(clash)}', which a reward gets; rename it")
    prompts = [[dict(turn) for turn in example.turns] for example in examples]
    try:
        values = list(reward(prompts=prompts, completions=completions, **columns))
    except CurateError:
        raise
    except Exception as error:  # somebody's code may fail in any way
        raise UsageError(f"the reward {name} failed: {type(error).__name__}: {error}") from error
    if len(values) != len(examples):
        raise UsageError(
            f"the reward {name} returned {len(values)} numbers for {len(examples)} answers"
        )
    for value in values:
        if not isinstance(value, SupportsFloat) or not math.isfinite(float(value)):
            raise UsageError(f"the reward {name} returned {value!r}; a reward is a finite number")
    return [float(value) for value in values]
