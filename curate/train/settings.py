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

import yaml

from curate.errors import RecipeError, UsageError
from curate.recipe.catalog import closest
from curate.recipe.fields import FieldProblem, fit, types_of
from curate.recipe.yaml import parse, read_text

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
    reference: bool = False
    online: bool = False


@functools.cache
def methods() -> Mapping[str, Method]:
    """Return every method by name."""
    given = yaml.safe_load(Path(__file__).with_name("methods.yaml").read_text(encoding="utf-8"))
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
        known = (*methods(), "scar")
        raise UsageError(f"unknown method '{name}'{closest(name, known)} Known: {', '.join(known)}")
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
    """How answers are sampled while training by reinforcement."""

    samples: int = 4
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0


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
    report_to: str | None = None
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
    document = parse(*read_text(file)) if file is not None else parse("{}")
    given = document.data or {}
    if not isinstance(given, dict):
        raise document.error((), "settings are a mapping of fields, e.g. `epochs: 1`")
    given = {**given, **{k: v for k, v in changes.items() if v is not None}}
    values = {**method.defaults, **given}
    values["loss"] = {**method.defaults["loss"], **(given.get("loss") or {})}
    groups: dict[str, Any] = {}
    try:
        for name in [name for name in values if name in _GROUPS]:
            # `adapter: lora` is short for `adapter: {kind: lora}`.
            value = values.pop(name)
            value = {"kind": value} if isinstance(value, str) else value or {}
            groups[name] = _GROUPS[name](**fitted(_GROUPS[name], value, name))
        settings = TrainingSettings(**fitted(TrainingSettings, values), **groups)
        check_settings(method, settings)
    except FieldProblem as problem:
        raise document.error((problem.field,), str(problem)) from None
    if "learning_rate" in given:
        return settings
    rate = settings.learning_rate * RATE_OF[settings.adapter.kind]
    return dataclasses.replace(settings, learning_rate=rate)


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
    positive = ("learning_rate", "epochs", "batch_size", "accumulate", "max_length", "every")
    for name in (*positive, "max_steps", "patience"):
        value = getattr(settings, name)
        if value is not None and value <= 0:
            raise FieldProblem(name, f"{name} is {value}; it must be more than 0")
    if isinstance(settings.held_out, float) and not 0 <= settings.held_out < 1:
        raise FieldProblem("held_out", f"held_out is {settings.held_out}; a share is below 1")
    if method.name == "kto" and settings.batch_size < 2:
        raise FieldProblem(
            "batch_size", "batch_size is 1; KTO pairs neighbours in a batch for its KL: at least 2"
        )
    if settings.packing != "none" and method.name != "sft":
        raise FieldProblem("packing", f"packing is for sft; {method.name} pads its rows: leave it")
    if method.online:
        group = settings.batch_size * settings.accumulate
        samples = settings.generation.samples
        if samples < 2 or group % samples:
            raise FieldProblem(
                "generation",
                f"generation.samples is {samples}; it must be 2 or more, and divide batch_size x "
                f"accumulate ({group})",
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
