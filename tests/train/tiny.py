"""A tokenizer of bytes and a two-layer model with random weights, built in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")
# What TRL, transformers and torch say about themselves while they train.
QUIET = (
    "ignore:.*gradient_checkpointing.*is deprecated",
    "ignore:.*pin_memory.*:UserWarning",
    "ignore:.*use_reentrant.*:UserWarning",
    "ignore:.*torch.jit.script.*:DeprecationWarning",
)


def tokenizer(
    template: str | None = CHATML, special: Sequence[str] = SPECIAL, eos: str = "<|im_end|>"
) -> Any:
    """Return a tokenizer with a token for each byte and each of `special`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={c: n for n, c in enumerate(alphabet)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    made: Any = PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token=eos,
        pad_token=special[0],
        additional_special_tokens=[t for t in special if t not in (eos, special[0])],
    )
    made.chat_template = template
    return made


def model(seed: int = 0, *, vocabulary: int = 260, **config: Any) -> Any:
    """Return a Llama of two layers, 32 wide, float32, without dropout."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    given = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": False,
        "pad_token_id": 256,
        "eos_token_id": 258,
    }
    return LlamaForCausalLM(LlamaConfig(**{**given, **config}))


def folder(path: Path, seed: int = 0, **config: Any) -> Path:
    """Write model and tokenizer into `path` as a user would have them, and return it."""
    model(seed, **config).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path
