"""A tokenizer of bytes and a two-layer model with random weights, built in a moment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.models.inprocess.chat import Chat
from curate.row import Candidate, Message, Row
from curate.train.examples import example_of
from curate.train.settings import method_called, settings_for

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SPECIAL = ("<|pad|>", "<|im_start|>", "<|im_end|>")


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
        "pad_token_id": 257,
        "eos_token_id": 256,
    }
    return LlamaForCausalLM(LlamaConfig(**{**given, **config}))


def folder(path: Path, seed: int = 0, **config: Any) -> Path:
    """Write model and tokenizer into `path` as a user would have them, and return it."""
    model(seed, **config).save_pretrained(path)
    tokenizer().save_pretrained(path)
    return path


def row(kind: str, number: int, **fields: Any) -> Row:
    """Return a row whose good answer says yes and whose bad one says no."""
    asks = (Message("user", f"q{number}?"),)
    good, bad = (Message("assistant", f"yes {number}"),), (Message("assistant", f"no, {number}"),)
    given = {
        "sft": {"messages": asks + good},
        "preference": {"prompt": asks, "chosen": good, "rejected": bad},
        "ranked": {
            "prompt": asks,
            "candidates": (
                Candidate((Message("assistant", "eh"),), 2.0),
                Candidate(good, 3.0),
                Candidate(bad, 1.0),
            ),
        },
        "unpaired": {
            "prompt": asks,
            "completion": good if number % 2 else bad,
            "label": bool(number % 2),
        },
        "prompt": {"prompt": asks},
    }[kind]
    extra = fields.pop("extra", None)
    return Row(f"r{number}", (number,), kind, {**given, **fields}, extra=extra)


def trainer(
    method: str,
    path: Path,
    *,
    given: Any = None,
    count: int = 8,
    kind: str | None = None,
    fields: dict[str, Any] | None = None,
    rows: Sequence[Row] | None = None,
    reward: Any = None,
    **changes: Any,
) -> Any:
    """Return a trainer of `rows`, or of `count` made ones, all of them held out as well."""
    from curate.train.trainers import TrainerInputs, trainer_for
    from curate.train.watch import quietly, watch

    way = method_called(method)
    settings = settings_for(way, None, **{"learning_rate": 1e-3, "every": 1000, **changes})
    chat = Chat(tokenizer())
    rows = rows or [row(kind or way.learns_from[0], n, **(fields or {})) for n in range(count)]
    examples = [e for one in rows for e in [example_of(one, chat, way, settings)[0]] if e]
    assert len(examples) == len(rows)
    if given is None:
        given = scorer() if method == "reward" else model()
    inputs = TrainerInputs(given, chat, way, settings, examples, examples, "cpu")
    with quietly():
        made = trainer_for(inputs, str(path), reward=reward)
    watch(made, None, patience=None)
    return made


def scorer(seed: int = 0) -> Any:
    """Return a two-layer reward model."""
    import torch
    from transformers import LlamaForSequenceClassification

    config = model(seed).config
    config.num_labels = 1
    torch.manual_seed(seed)
    return LlamaForSequenceClassification(config)
