"""What a training run is told: a method, its defaults, and the short YAML file that changes them.

Some fifteen fields have names of our own, so that a file reads the same for every method; whatever
else TRL's configuration classes know goes through `trl:` untouched. Defaults and their sources are
in `methods.yaml`.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from curate.errors import RecipeError, UsageError
from curate.recipe.catalog import closest
from curate.recipe.fields import FieldProblem, fit, types_of
from curate.system.plain_yaml import load, parse, read_text

# LoRA learns best at about ten times the rate of full training (Thinking Machines 2025, "LoRA
# Without Regret"); prompts and prefixes want more still (Lester et al. 2021: 0.3 with Adafactor).
RATE_OF = {"full": 1, "lora": 10, "qlora": 10, "prefix": 100, "prompt": 1000}


@dataclass(frozen=True)
class Method:
    """A way to train: what it learns from, what it needs, and how it is done by default."""

    name: str
    summary: str
    learns_from: tuple[str, ...]
    uses: tuple[str, ...]
    source: str
    trl_too_long: str
    defaults: Mapping[str, Any]
    # Numbers of a kind of loss that differ from those of the method's own kind.
    loss_of: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    reference: bool = False
    online: bool = False
    # Whose loop trains: TRL's, or one of our own for PPO or style rankers, which have settings of
    # their own (`RankerSettings`).
    trainer: Literal["trl", "ppo", "ranker"] = "trl"


@functools.cache
def methods() -> Mapping[str, Method]:
    """Return every method by name."""
    given = load(Path(__file__).with_name("methods.yaml").read_text(encoding="utf-8"))
    names = {item.name for item in dataclasses.fields(Method)} - {"defaults"}
    found = {}
    for name, entry in given.items():
        own: dict[str, Any] = {key: entry.pop(key) for key in names & set(entry)}
        own |= {key: tuple(own[key]) for key in ("learns_from", "uses")}
        found[name] = Method(name=name, defaults=entry, **own)
    return found


def method_called(name: str) -> Method:
    """Return the method `name`, or raise `UsageError` with the nearest one."""
    if name not in methods():
        known = ", ".join(methods())
        raise UsageError(f"unknown method '{name}'{closest(name, methods())} Known: {known}")
    return methods()[name]


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What is trained of the model: all of it, or a small part that is kept in files of its own."""

    kind: Literal["full", "lora", "qlora", "prefix", "prompt"] = "full"
    rank: int = 16
    alpha: float = 32
    dropout: float = 0.0
    # Names of layers, or all linear ones but the head.
    targets: str | tuple[str, ...] = "all-linear"
    # Virtual tokens of prefix and prompt tuning.
    tokens: int = 20


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How answers are sampled while training by reinforcement, or in rounds."""

    samples: int = 4
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    # In rounds: the prompts of each, the next ones in shuffled order; all where it is not given.
    prompts: int | None = None


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """A training run's settings; `from_file` fills in a method's defaults."""

    learning_rate: float
    epochs: float = 1
    # Ends training earlier or later than `epochs` would.
    max_steps: int | None = None
    # Rows per device and step, and steps whose gradients are summed.
    batch_size: int = 8
    accumulate: int = 1
    warmup: float = 0.03
    max_length: int = 2048
    too_long: Literal["cut", "drop"] = "cut"
    # Of conversations: every answer, or the last one only.
    learn: Literal["all", "last"] = "all"
    packing: Literal["none", "bfd", "bfd_split"] = "none"
    adapter: Adapter = Adapter()
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    # A share of the prompts, or a file or run; a run that was split holds out its test side.
    held_out: float | str = 0.0
    # Steps between two checkpoints, each with an evaluation where rows are held out.
    every: int = 100
    # Evaluations without a gain after which training ends.
    patience: int | None = None
    template: str | None = None
    generation: Generation = Generation()
    report_to: Literal["trackio", "wandb", "tensorboard"] | None = None
    seed: int = 42
    loss: Mapping[str, Any] = field(default_factory=dict)
    trl: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RankerSettings:
    """The settings of `curate train scar`: defaults are those of the authors' code."""

    learning_rate: float = 2e-5
    epochs: int = 10
    # Ends training earlier than `epochs` would.
    max_steps: int | None = None
    # Triples per step.
    batch_size: int = 4
    warmup: float = 0.1
    clip: float = 1.0
    weight_decay: float = 0.01
    # Tokens of an instruction, and of an answer.
    max_length: int = 512
    # Hidden units of both heads; 512 in the authors' run with gte-base.
    width: int = 512
    # What stands for a whole text: the state of its first token, or the encoder's pooler.
    cls: Literal["state", "pooler"] = "state"
    # Train the heads only, on vectors that are computed once.
    freeze: bool = False
    # The quality of both answers of a pair lies strictly between these; null: any will do.
    quality: tuple[float, float] | None = (5.0, 10.0)
    margin: float = 0.5
    triplet_margin: float = 1.0
    # The weight of the mean of both triplet losses.
    triplet_weight: float = 0.1
    # The terms of the loss: leave one out to see what it does.
    orderings: tuple[str, ...] = ("direct_referenced", "referenced_human", "direct_human")
    triplets: tuple[str, ...] = ("surprisal", "form")
    # Shares of the instructions.
    validation: float = 0.1
    test: float = 0.1
    # Steps between two checkpoints; there is also one after each epoch.
    every: int = 100
    seed: int = 42


def ranker_settings_for(file: str | Path | None = None, **changes: Any) -> RankerSettings:
    """Return the settings of a style ranker: defaults, what `file` says, then `changes`.

    Raises:
        RecipeError: a field is unknown, or its value is not allowed.
    """
    document = parse(*read_text(file)) if file is not None else parse("{}")
    given = document.data or {}
    if not isinstance(given, dict):
        raise document.error((), "settings are a mapping of fields, e.g. `epochs: 1`")
    given = {**given, **changes}
    try:
        settings = RankerSettings(**fitted(RankerSettings, given))
        check_ranker(settings)
    except FieldProblem as problem:
        raise document.error((problem.field,), str(problem)) from None
    return settings


def check_ranker(settings: RankerSettings) -> None:
    """Raise `FieldProblem` for values that are not allowed, or do not go together."""
    positive = ("learning_rate", "epochs", "batch_size", "max_length", "width", "every", "clip")
    for name in (*positive, "max_steps"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise FieldProblem(name, f"{name} is {value}; it must be more than 0")
    for name in ("warmup", "validation", "test"):
        if not 0 <= getattr(settings, name) < 1:
            raise FieldProblem(name, f"{name} is {getattr(settings, name)}; a share is below 1")
    if settings.quality is not None and settings.quality[0] >= settings.quality[1]:
        raise FieldProblem("quality", f"quality is {list(settings.quality)}; low goes first")
    whole = RankerSettings()
    for name in ("orderings", "triplets"):
        known = getattr(whole, name)
        if wrong := set(getattr(settings, name)) - set(known):
            raise FieldProblem(name, f"{name} has no '{min(wrong)}'; known: {', '.join(known)}")
    if not settings.orderings:
        raise FieldProblem("orderings", "orderings is empty, and nothing would be learnt")


_GROUPS = {"adapter": Adapter, "generation": Generation}


def settings_for(
    method: Method, file: str | Path | None = None, **changes: Any
) -> TrainingSettings:
    """Return the settings of a run: defaults of the method, what `file` says, then `changes`.

    Raises:
        RecipeError: a field is unknown, or its value is not allowed.
    """
    assert method.trainer != "ranker", f"the settings of {method.name} are RankerSettings"
    document = parse(*read_text(file)) if file is not None else parse("{}")
    given = document.data or {}
    if not isinstance(given, dict):
        raise document.error((), "settings are a mapping of fields, e.g. `epochs: 1`")
    given = {**given, **{k: v for k, v in changes.items() if v is not None}}
    values = {**method.defaults, **given}
    groups: dict[str, Any] = {}
    try:
        loss = group_of("loss", given.get("loss"))
        values["loss"] = {**method.defaults["loss"], **_own_numbers(method, loss), **loss}
        for name in [name for name in values if name in _GROUPS]:
            value = group_of(name, values.pop(name))
            groups[name] = _GROUPS[name](**fitted(_GROUPS[name], value, name))
        settings = TrainingSettings(**fitted(TrainingSettings, values), **groups)
        check_settings(method, settings)
    except FieldProblem as problem:
        raise document.error((problem.field,), str(problem)) from None
    if "learning_rate" in given:
        return settings
    rate = settings.learning_rate * RATE_OF[settings.adapter.kind]
    return dataclasses.replace(settings, learning_rate=rate)


def _own_numbers(method: Method, loss: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the numbers that the kinds of a loss have instead of the method's.

    Raises:
        FieldProblem: they share a number that each has another default of, and it is not given.
    """
    kind = loss.get("kind")
    kinds = [kind] if isinstance(kind, str) else list(kind or ())
    # The loss of SFT has none.
    wanted = {str(one): method.loss_of.get(str(one), {}) for one in kinds if one != "sft"}
    numbers = {name: value for own in wanted.values() for name, value in own.items()}
    for name in numbers:
        found = {one: own.get(name, method.defaults["loss"][name]) for one, own in wanted.items()}
        if name not in loss and len(set(found.values())) > 1:
            each = ", ".join(f"{value} of {one}" for one, value in found.items())
            raise FieldProblem(
                "loss",
                f"'{name}' is one number for all kinds, and their defaults differ ({each}): give "
                f"it, as in `loss: {{kind: [...], {name}: {next(iter(found.values()))}}}`",
            )
    return numbers


def group_of(name: str, value: Any) -> dict[str, Any]:
    """Return the fields of a group: `adapter: lora` is short for `adapter: {kind: lora}`.

    Raises:
        FieldProblem: they are not a mapping.
    """
    if name in ("adapter", "loss") and isinstance(value, str | list | tuple):
        return {"kind": value}
    if not isinstance(value, Mapping | None):
        short = ", or a kind by its name" if name in ("adapter", "loss") else ""
        raise FieldProblem(name, f"{name} is {value!r:.40}; it must be a mapping of fields{short}")
    return dict(value or {})


def fitted(cls: type[Any], values: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Return values that fit the fields of `cls`, or raise `FieldProblem`, naming the `group`."""
    types = types_of(cls)
    fitted = {}
    for name, value in values.items():
        if name not in types:
            known = ", ".join(types)
            hint = "; what only TRL knows goes below `trl:`" if "trl" in types else ""
            raise FieldProblem(group or name, f"there is no '{name}'; known: {known}{hint}")
        try:
            fitted[name] = fit(name, value, types[name])
        except FieldProblem as problem:
            raise FieldProblem(group or name, str(problem)) from None
    return fitted


def check_settings(method: Method, settings: TrainingSettings) -> None:
    """Raise `FieldProblem` for values that are not allowed, or do not go together."""
    unknown = set(settings.loss) - set(method.defaults["loss"]) - {"weights"}
    if unknown:
        known = ", ".join(method.defaults["loss"])
        raise FieldProblem("loss", f"loss of {method.name} has no '{min(unknown)}'; known: {known}")
    check_loss(method, settings.loss)
    check_limits("settings", vars(settings))
    for part in _GROUPS:
        check_limits(part, vars(getattr(settings, part)))
    if isinstance(settings.held_out, float) and not 0 <= settings.held_out < 1:
        raise FieldProblem("held_out", f"held_out is {settings.held_out}; a share is below 1")
    if method.name == "kto" and settings.batch_size < 2:
        raise FieldProblem(
            "batch_size", "batch_size is 1; KTO pairs neighbours in a batch for its KL: at least 2"
        )
    if settings.learn != "all" and method.name != "sft":
        raise FieldProblem("learn", f"learn is for sft; {method.name} learns answers to prompts")
    if settings.packing != "none" and method.name != "sft":
        raise FieldProblem("packing", f"packing is for sft; {method.name} pads its rows: leave it")
    if settings.packing != "none" and settings.loss.get("kl"):
        raise FieldProblem("packing", "the KL of loss is of single rows: set `packing: none`")
    if method.trainer == "ppo":
        for name in ("trl", "report_to", "patience"):
            if getattr(settings, name):
                raise FieldProblem(
                    name, f"{name} plays no part in ppo, whose loop is not TRL's: leave it out"
                )
        if settings.adapter.dropout:
            raise FieldProblem(
                "adapter", "adapter.dropout would change ppo's ratios from pass to pass: leave it 0"
            )
    if method.name == "reward" and settings.adapter.kind == "prompt":
        raise FieldProblem(
            "adapter",
            "adapter: prompt hides from a reward model where a padded row ends; use lora or prefix",
        )
    # PPO samples one answer to each prompt of a batch.
    if method.online and method.trainer != "ppo":
        group = settings.batch_size * settings.accumulate
        samples = settings.generation.samples
        if samples < 2 or group % samples:
            raise FieldProblem(
                "generation",
                f"generation.samples is {samples}; it must be 2 or more, and divide batch_size x "
                f"accumulate ({group})",
            )


@functools.cache
def limits() -> Mapping[str, Any]:
    """Return what numbers of the settings may be, by group and name, and the kinds of losses."""
    text = Path(__file__).with_name("limits.yaml").read_text(encoding="utf-8")
    return dict(load(text))


def check_limits(group: str, values: Mapping[str, Any], method: str = "") -> None:
    """Raise `FieldProblem` for a number of a group that is beyond its limits."""
    for name, own in {**limits()[group], **limits().get(method, {})}.items():
        value = values.get(name)
        if value is None:
            continue
        where = name if group == "settings" else f"{group}.{name}"
        field_ = name if group == "settings" else group
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FieldProblem(field_, f"{where} is {value!r:.40}; it must be a number")
        holds = {
            "least": value >= own.get("least", value),
            "above": "above" not in own or value > own["above"],
            "most": value <= own.get("most", value),
            "below": "below" not in own or value < own["below"],
        }
        if not all(holds.values()):
            words = " and ".join(f"{_WORDS[name]} {limit:g}" for name, limit in own.items())
            raise FieldProblem(field_, f"{where} is {value:g}; it must be {words}")


_WORDS = {"least": "at least", "above": "above", "most": "at most", "below": "below"}


def check_loss(method: Method, loss: Mapping[str, Any]) -> None:
    """Raise `FieldProblem` for a loss that a method does not have, or whose numbers mean nothing.

    The margin of a loss that is turned round is a preference for what was rejected.
    """
    defaults, given, kinds_of = method.defaults["loss"], loss["kind"], limits()["kinds"]
    mixes = method.name == "dpo"
    known = [*kinds_of["trl"], *kinds_of["own"]] if mixes else [defaults["kind"]]
    known = kinds_of.get(method.name, known)
    kinds = list(given) if mixes and isinstance(given, list | tuple) else [given]
    if not kinds or any(kind not in known for kind in kinds):
        also = ", or a list of those of TRL" if mixes else ""
        raise FieldProblem(
            "loss",
            f"loss.kind of {method.name} is {given!r:.60}; known: {', '.join(known)}{also}",
        )
    if len(kinds) > 1 and (ours := [kind for kind in kinds if kind in kinds_of["own"]]):
        raise FieldProblem("loss", f"loss.kind: {ours[0]} stands alone; TRL mixes its own losses")
    if nulls := [name for name in defaults if loss[name] is None and defaults[name] is not None]:
        raise FieldProblem(
            "loss", f"loss.{nulls[0]} is null; leave it out for {defaults[nulls[0]]}"
        )
    check_limits("loss", {name: loss[name] for name in defaults}, method.name)
    if loss.get("noise") and not set(kinds) & set(kinds_of["noisy"]):
        raise FieldProblem(
            "loss",
            f"loss.noise plays no part in {' and '.join(kinds)}; it does in "
            f"{', '.join(kinds_of['noisy'])}",
        )
    if "exo_pair" in kinds and not loss["noise"]:
        raise FieldProblem("loss", "loss.kind: exo_pair needs a noise above 0, as `noise: 0.001`")
    weights = loss.get("weights")
    if weights is not None:
        numbers = isinstance(weights, list | tuple) and all(
            isinstance(one, int | float) and not isinstance(one, bool) and one >= 0
            for one in weights
        )
        if not mixes or not numbers or len(weights) != len(kinds):
            raise FieldProblem(
                "loss", "loss.weights are numbers from 0 on, one for each of several `kind`s"
            )


def check_in_rounds(settings: TrainingSettings) -> None:
    """Raise `UsageError` for settings that a loop of rounds cannot have."""
    if settings.adapter.kind not in ("full", "lora"):
        raise UsageError(
            f"adapter: {settings.adapter.kind} cannot be merged into its model, which the next "
            "round samples from; use lora or full with --rounds"
        )
    if settings.template is not None:
        raise UsageError(
            "template: the model is asked with its own chat template; write the other one into its "
            "folder (chat_template.jinja), and leave it out with --rounds"
        )
    if settings.patience is not None:
        raise UsageError(
            "patience watches the loss of held-out pairs, and in rounds the reward of held-out "
            "prompts is measured; leave it out with --rounds"
        )
    if settings.generation.prompts is not None and settings.generation.prompts < 1:
        raise UsageError(
            f"generation.prompts is {settings.generation.prompts}; a round needs 1 or more"
        )
    if settings.generation.samples < 2:
        raise UsageError(
            f"generation.samples is {settings.generation.samples}; to choose among the answers to "
            "a prompt, it must be 2 or more"
        )


def require_packages(*packages: str) -> None:
    """Raise `RecipeError` with the command that helps where the trainer's extra is missing."""
    from importlib.util import find_spec

    from curate.system.package_data import install_command

    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise RecipeError(
            f"training needs {', '.join(missing)}, not installed here; run: "
            f"{install_command('train')}"
        )
