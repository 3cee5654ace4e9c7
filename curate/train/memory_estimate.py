"""How much memory training takes, before any weight is loaded.

Parameters are counted on the model itself, built without storage; activations follow Korthikanti
et al. 2022 (arXiv 2205.05198) for attention that keeps no scores. An estimate is within some 20 %:
it says whether a run is far from fitting, and what to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from curate.system.posix import usable_memory
from curate.train.settings import Method, TrainingSettings

_ADAM, _FLOAT, _HALF = 8, 4, 2
# Bytes per token and hidden unit that a layer keeps for its backward pass, in bfloat16.
_LAYER_BYTES = 34


class Memory(NamedTuple):
    """Bytes by what takes them, and what the device has."""

    terms: Mapping[str, int]
    available: int | None

    @property
    def total(self) -> int:
        """All bytes together."""
        return sum(self.terms.values())

    @property
    def largest(self) -> str:
        """The name of the largest term."""
        return max(self.terms, key=lambda name: self.terms[name])

    @property
    def fits(self) -> bool:
        """Whether the device has room, with a tenth to spare."""
        return self.available is None or self.total < 0.9 * self.available


def estimate(
    config: Any, method: Method, settings: TrainingSettings, answers: int, longest: int, device: str
) -> Memory:
    """Return the memory that training takes.

    `answers` are those of one row, and `longest` their longest length in tokens.
    """
    import torch
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in build(config).parameters())
    text = config.get_text_config()
    hidden, layers = text.hidden_size, text.num_hidden_layers
    adapter = settings.adapter
    trained = count if adapter.kind == "full" else adapter_parameters(text, settings)
    bytes_each = _FLOAT if adapter.kind == "full" or device == "cpu" else _HALF
    weights = count * bytes_each if adapter.kind != "qlora" else count * 0.55
    tokens = settings.batch_size * max(1, answers) * longest
    scale = _FLOAT / _HALF if device == "cpu" else 1
    per_layer = tokens * hidden * scale
    # With checkpointing only what enters each layer is kept, and one layer is built again.
    kept = per_layer * (_HALF * layers + _LAYER_BYTES)
    if not checkpoints(settings, device):
        kept = per_layer * _LAYER_BYTES * layers
    terms = {
        "weights": weights,
        "gradients": trained * _FLOAT,
        "Adam": trained * _ADAM,
        "activations": kept,
    }
    if method.reference and adapter.kind == "full":
        terms["reference"] = count * bytes_each
    if method.name == "ppo" or (method.name == "sft" and settings.loss.get("kl")):
        # Both distributions over the vocabulary at once, and their gradients.
        terms["logits"] = 3 * tokens * text.vocab_size * _FLOAT
    return Memory({name: int(value) for name, value in terms.items()}, available(device))


def adapter_parameters(config: Any, settings: TrainingSettings) -> int:
    """Return about how many parameters an adapter trains."""
    adapter, layers, hidden = settings.adapter, config.num_hidden_layers, config.hidden_size
    if adapter.kind in ("lora", "qlora"):
        inner = getattr(config, "intermediate_size", 4 * hidden)
        heads = config.num_attention_heads
        keys = hidden * (getattr(config, "num_key_value_heads", None) or heads) // heads
        attention = 2 * (hidden + hidden) + 2 * (hidden + keys)
        return int(layers * adapter.rank * (attention + 3 * (hidden + inner)))
    return int(adapter.tokens * hidden * (2 * layers if adapter.kind == "prefix" else 1))


def checkpoints(settings: TrainingSettings, device: str) -> bool:
    """Tell whether activations are computed again rather than kept: on a GPU, as TRL does."""
    return device != "cpu" and settings.adapter.kind != "prefix"


def available(device: str) -> int | None:
    """Return the bytes of memory that a device has, or `None` where that is not known."""
    if device == "cpu":
        return usable_memory()
    import torch

    return int(torch.cuda.mem_get_info()[1]) if torch.cuda.is_available() else None


def gigabytes(count: int) -> str:
    """Return a number of bytes for people."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
