"""What scores sampled answers: a reward model, a function, a step, or a recipe of steps.

`--reward` names all of them. A step's own limits play no part: who trains on scores wants the bad
answers, too. A recipe keeps its rules.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from curate.errors import UsageError
from curate.models.inprocess.chat import turns_for
from curate.pipeline import Pipeline
from curate.recipe.fields import types_of
from curate.row import Row
from curate.step import Filter, Gather, Scored, Step, Whole
from curate.steps.score.reward_score import RewardScore
from curate.train.data import extras
from curate.train.examples import Example
from curate.train.rewards import Reward, StepReward, function_called, reward_text, rewards_of
from curate.train.weights import where_is

# What the sampled model is called in the recipe of a round.
POLICY = "policy"
_SCORER = "scorer"
RECIPES = (".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Rewarded(Filter):
    """Score a conversation's last answer by a reward function; nothing is dropped.

    `reward` says in words what `function` is: that is what a record of the run can hold.
    """

    function: Reward
    reward: str

    kinds: ClassVar[tuple[str, ...]] = ("sft",)

    def score(self, row: Row) -> Scored:
        """Call the function with the row's prompt, answer and columns."""
        turns = turns_for(row.messages)
        asked = Example(row.id, (), turns=tuple(turns[:-1]), columns=extras(row))
        return Scored(rewards_of(self.function, [asked], [turns[-1:]])[0])

    def keep(self, score: float | None) -> None:
        """Keep every row."""

    def fields(self) -> dict[str, Any]:
        """Return the reward in words, and no function."""
        return {"reward": self.reward}

    def fingerprint(self) -> dict[str, Any]:
        """Return what the score depends on: the words hold a digest of the function's file."""
        own = super().fingerprint()
        del own["function"]
        return own


class Scoring(NamedTuple):
    """Steps that score conversations, the label of the score that counts, and who answers them."""

    steps: tuple[Step, ...]
    by: str
    models: Mapping[str, Any] = {}
    encoders: Mapping[str, Any] | None = None

    @property
    def measuring(self) -> tuple[Step, ...]:
        """The steps up to the score that counts, without those that make other rows of it."""
        titles = [step.title for step in self.steps]
        return self.steps[: titles.index(self.by) + 1]

    @property
    def gathers(self) -> bool:
        """Whether they make pairs, or choose, by themselves."""
        return any(isinstance(step, Gather) for step in self.steps)


def scoring_of(reward: str | Filter, judge: str | None = None) -> Scoring:
    """Return how answers are scored by what `--reward` names.

    Args:
        reward: a folder or Hub name of a reward model, a function, a recipe file, or a step.
        judge: the model that answers a step's requests.

    Raises:
        UsageError: it names nothing that can score, or nobody answers.
    """
    if isinstance(reward, Filter):
        return scoring_by_step(reward, judge)
    if judge is not None:
        raise UsageError("--judge answers the requests of a step, and --reward names none")
    if Path(reward).suffix in RECIPES:
        pipeline = Pipeline.from_yaml(Path(reward))
        if pipeline.inputs is not None or pipeline.outputs is not None:
            raise UsageError(
                f"{reward} has inputs or outputs; a recipe for --reward has steps and models only, "
                "and gets the sampled answers"
            )
        if POLICY in (pipeline.models or {}):
            raise UsageError(
                f"{reward}: '{POLICY}' is what the sampled model is called; rename yours"
            )
        steps = pipeline.resolved().steps
        scores = [step.title for step in steps if isinstance(step, Filter | Whole)]
        if not scores:
            raise UsageError(
                f"{reward} holds no step that scores answers, as rubric or reward_score do"
            )
        # What pairs go by is what counts.
        gathering = (getattr(step, "by", None) for step in steps if isinstance(step, Gather))
        by = next(gathering, None) or scores[-1]
        return Scoring(steps, by, pipeline.models or {}, pipeline.encoders)
    if function := function_called(reward):
        step = Rewarded(function=function, reward=reward_text(reward) or "", label="reward")
        return Scoring((step,), step.title)
    where = where_is(reward)
    if (Path(where) / "adapter_config.json").is_file():
        raise UsageError(
            f"{where} holds an adapter, which cannot score by itself; train the reward model with "
            f"--merge, and name {Path(where) / 'merged'}"
        )
    scorer = RewardScore(model=_SCORER, at_least=None)
    return Scoring((scorer,), scorer.title, {_SCORER: f"hf:{where}"})


def scoring_by_step(step: Filter, judge: str | None = None) -> Scoring:
    """Return how answers are scored by a step, without its limits; `judge` is whom it asks.

    Raises:
        UsageError: nobody answers, or nothing is asked.
    """
    asked = step.reads_models()
    if not asked and judge is not None:
        raise UsageError(f"--judge answers requests, and the step '{step.title}' makes none")
    if not asked and not step.embeds():
        words = reward_text(step) or ""
        return Scoring(
            (Rewarded(function=StepReward(step), reward=words, label="reward"),), "reward"
        )
    if asked and judge is None:
        raise UsageError(
            f"the step '{step.title}' asks a model: name it with --judge MODEL, or give --reward "
            "RECIPE.yaml with the step and its models"
        )
    types = types_of(type(step))
    # A rule left at null drops nothing.
    rules: dict[str, Any] = {
        rule: None for rule in step.rules() if type(None) in typing.get_args(types[rule])
    }
    scoring = dataclasses.replace(step, **rules)
    return Scoring((scoring,), scoring.title, dict.fromkeys(asked, judge))
