"""TRL's configuration of each method, and what `trl:` of the settings may hold of it.

TRL takes any field of its configuration, whether or not something reads it. Rows come to it as
tokens and losses are chosen in `loss`, so some of its fields would be ignored, and others would
silently take the place of what the settings say. The check runs before weights are loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from trl import DPOConfig, GRPOConfig, KTOConfig, RewardConfig, RLOOConfig, SFTConfig

from curate.errors import UsageError
from curate.recipe.catalog import closest
from curate.train.examples import Example, class_weights
from curate.train.settings import Method, TrainingSettings, limits

# Methods that are not here (lists of answers, hindsight, cloning) run on SFT's configuration.
CONFIGS: Mapping[str, type[Any]] = {
    "dpo": DPOConfig,
    "reward": RewardConfig,
    "kto": KTOConfig,
    "grpo": GRPOConfig,
    "rloo": RLOOConfig,
}
# What the settings say in a field of their own.
_OWN = {
    "beta": "loss.beta",
    "loss_type": "loss.kind",
    "loss_weights": "loss.weights",
    "label_smoothing": "loss.noise",
    "desirable_weight": "loss.wanted",
    "undesirable_weight": "loss.unwanted",
    "assistant_only_loss": "learn",
    "completion_only_loss": "learn",
    "chat_template_path": "template",
    "max_length": "max_length",
    "truncation_mode": "too_long",
    "packing": "packing",
    "packing_strategy": "packing",
    "padding_free": "packing",
    "eval_packing": "packing",
    "learning_rate": "learning_rate",
    "num_train_epochs": "epochs",
    "max_steps": "max_steps",
    "per_device_train_batch_size": "batch_size",
    "gradient_accumulation_steps": "accumulate",
    "warmup_steps": "warmup",
    "seed": "seed",
    "num_generations": "generation.samples",
    "max_completion_length": "generation.max_tokens",
    "temperature": "generation.temperature",
    "top_p": "generation.top_p",
}
# What nothing reads: the model is loaded before, rows are tokens before TRL sees them, and training
# goes on from the last checkpoint in its own folder, whatever these say.
_UNREAD = (
    *("dataset_kwargs", "dataset_text_field", "model_init_kwargs", "trust_remote_code"),
    *("output_dir", "resume_from_checkpoint", "do_train", "do_eval", "do_predict"),
)
# The loss of rankings is our own.
_UNREAD_BY = {"reward": ("center_rewards_coefficient",)}
_UNREAD_OF = {
    # Batches are padded here; of sampled answers, TRL pads them.
    False: ("pad_to_multiple_of",),
    # Each prompt is rendered with the options of its own row, and TRL calls no tool.
    True: ("chat_template_kwargs", "max_tool_calling_iterations"),
}


def config_of(method: Method) -> type[Any]:
    """Return the class of TRL's configuration that a method runs on."""
    return CONFIGS.get(method.name, SFTConfig)


def values_of(
    method: Method, settings: TrainingSettings, examples: Sequence[Example]
) -> dict[str, Any]:
    """Return what one method's configuration has and the others do not."""
    loss, generation = settings.loss, settings.generation
    if method.name == "dpo":
        kinds = [loss["kind"]] if isinstance(loss["kind"], str) else list(loss["kind"])
        return {
            "max_length": None,
            "beta": loss["beta"],
            # Our own losses take TRL's place, which would refuse their names.
            "loss_type": ["sigmoid"] if kinds in (["cdpo"], ["ipo_sum"]) else kinds,
            "loss_weights": list(loss["weights"]) if loss.get("weights") else None,
            "label_smoothing": 0.0 if kinds == ["cdpo"] else loss["noise"],
        }
    if method.name == "kto":
        wanted, unwanted = class_weights(examples, loss)
        return {
            "max_length": None,
            "beta": loss["beta"],
            "desirable_weight": wanted,
            "undesirable_weight": unwanted,
        }
    if method.name in ("grpo", "rloo"):
        return {
            **({"loss_type": loss["kind"]} if method.name == "grpo" else {}),
            "beta": loss["kl"],
            "num_generations": generation.samples,
            "max_completion_length": generation.max_tokens,
            "temperature": generation.temperature,
            "top_p": generation.top_p,
        }
    if settings.packing != "none":
        return {
            "packing": True,
            "packing_strategy": settings.packing,
            "max_length": settings.max_length,
        }
    return {"max_length": None}


def check_trl_keys(method: Method, given: Mapping[str, Any]) -> None:
    """Refuse a field of `trl:` that TRL does not have or the method makes no use of.

    Raises:
        UsageError: such a field is there; the message says what to do instead.
    """
    fields = {field.name for field in dataclasses.fields(config_of(method))}
    unread = (*_UNREAD, *_UNREAD_OF[method.online], *_UNREAD_BY.get(method.name, ()))
    for name, value in given.items():
        where = f"trl: '{name}'"
        if name not in fields:
            raise UsageError(
                f"{where} is not a field of TRL's {config_of(method).__name__}, which "
                f"{method.name} runs on{closest(name, fields) or '; leave it out'}"
            )
        # GRPO has losses that need numbers of their own, which `loss` does not know.
        beyond = method.name == "grpo" and value not in limits()["kinds"]["grpo"]
        if name in _OWN and not (name == "loss_type" and beyond):
            own = "loss.kl" if name == "beta" and method.online else _OWN[name]
            raise UsageError(
                f"{where} would take the place of `{own}`, which the settings have for it: set "
                f"`{own}` of {method.name} instead"
            )
        if name in unread:
            raise UsageError(f"{where} plays no part in {method.name}: leave it out")
