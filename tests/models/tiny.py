"""A two-layer Llama with random weights: real enough for every path through transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

TEMPLATE = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"
# A template in the form of real ones: begin-of-text, headers, an end of each turn.
HEADED = (
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
WORDS = "the letter A or B, A is not B. Say A, say B; (A) and (B), AB or BA. yes no Yes No 1 2 3"


def byte_tokenizer() -> Any:
    """Return a tokenizer whose tokens are the bytes of a text."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: number for number, piece in enumerate(["<pad>", "<end>", *alphabet])}
    plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", chat_template=TEMPLATE
    )


def save_tiny(folder: Path, kind: str, context: int, **extra: Any) -> Path:
    """Write a model of class `kind`, with random weights and a tokenizer of bytes."""
    return _save(folder, kind, context, byte_tokenizer(), **extra)


def save_trained(folder: Path, family: str, context: int = 256) -> Path:
    """Write a causal model with a tokenizer trained here: byte-level BPE, or SentencePiece's form.

    Both have a begin-of-text token that they put before a raw text, and special header tokens.
    """
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<pad>", "<end>", *SPECIAL]
    if family == "bpe":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer: Any = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet
        )
    else:
        made = Tokenizer(models.Unigram())
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        made.decoder = decoders.Metaspace(prepend_scheme="first")
        trainer = trainers.UnigramTrainer(
            vocab_size=120, special_tokens=[*special, "<unk>"], unk_token="<unk>",
            initial_alphabet=["A", "B", "\u2581"],
        )  # fmt: skip
    made.train_from_iterator([WORDS] * 20, trainer)
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="<end>", bos_token="<s>",
        additional_special_tokens=list(SPECIAL[1:]), chat_template=HEADED,
    )  # fmt: skip
    return _save(folder, "LlamaForCausalLM", context, tokenizer)


def _save(folder: Path, kind: str, context: int, tokenizer: Any, **extra: Any) -> Path:
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=context,
        initializer_range=0.4, pad_token_id=0, bos_token_id=None, eos_token_id=1, **extra,
    )  # fmt: skip
    getattr(transformers, kind)(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_encoder(folder: Path, words: str, **extra: Any) -> Path:
    """Write a two-layer BERT with random weights, and a tokenizer with a token for each word."""
    import torch
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(words.split())]
    made = Tokenizer(models.WordLevel({p: n for n, p in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]",
    )  # fmt: skip
    torch.manual_seed(0)
    given: dict[str, Any] = {
        "vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 64,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 64,
    }  # fmt: skip
    transformers.BertModel(transformers.BertConfig(**{**given, **extra})).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
