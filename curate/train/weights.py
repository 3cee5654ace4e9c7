"""Models and adapters: how they are loaded, what of them is trained, and how they are put together.

The one module that knows peft's names. No code of a model's repository runs, and only safetensors
are read.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.errors import StoppedShort, UsageError
from curate.models.inprocess.chat_rendering import check_template_files
from curate.train.settings import Adapter, Method, TrainingSettings

_GIVEN: dict[str, Any] = {"trust_remote_code": False}


def where_is(model: str) -> str:
    """Return the folder or Hub name that `--model` means: `local`, `hf:NAME`, or either itself.

    Raises:
        UsageError: it is a model that answers over a network, which cannot be trained.
    """
    if model == "local":
        from curate.models.providers.local import model_folder

        return str(model_folder())
    prefix, colon, name = model.partition(":")
    if colon and prefix != "hf":
        raise UsageError(
            f"'{model}' cannot be trained here; give a folder, a name on the Hub, hf:NAME or local"
        )
    return name if colon else model


def base_model(model: str) -> str:
    """Return the folder or Hub name that `--model` means, as `where_is`.

    Raises:
        UsageError: it cannot be trained: it answers over a network, or is an adapter alone.
    """
    where = where_is(model)
    folder = Path(where)
    if (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file():
        merged = folder / "merged"
        how = "name" if merged.is_dir() else "train it again with --merge, and name"
        raise UsageError(f"{where} holds an adapter and no model to train: {how} {merged}")
    return where


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Turn what transformers raises over a model into an error that names it."""
    try:
        yield
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{where} cannot be loaded (it reads safetensors only, and runs no code of a model's "
            f"repository): {said}"
        ) from None


def load_tokenizer(where: str) -> Any:
    """Return the tokenizer of a model, with a token to pad with."""
    from transformers import AutoTokenizer

    check_template_files(where)
    with _named(where):
        tokenizer: Any = AutoTokenizer.from_pretrained(where, **_GIVEN)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_config(where: str) -> Any:
    """Return the configuration of a model."""
    from transformers import AutoConfig

    with _named(where):
        return AutoConfig.from_pretrained(where, **_GIVEN)


def load_model(where: str, method: Method, settings: TrainingSettings, device: str) -> Any:
    """Return a model to be trained: one that writes, or one with a head for a reward."""
    import torch
    import transformers

    # Weights that are trained stay in float32, or small updates would be lost; frozen ones take
    # half the room on a GPU.
    frozen = settings.adapter.kind != "full" and device != "cpu"
    dtype = torch.bfloat16 if frozen else torch.float32
    if settings.dtype != "auto":
        dtype = getattr(torch, settings.dtype)
    auto = "AutoModelForCausalLM"
    given: dict[str, Any] = {"use_safetensors": True, "dtype": dtype}
    if method.name == "reward":
        auto, given["num_labels"] = "AutoModelForSequenceClassification", 1
    if settings.adapter.kind == "qlora":
        if device == "cpu":
            raise UsageError("qlora needs a GPU (bitsandbytes); on a CPU use `adapter: lora`")
        given["quantization_config"] = in_four_bits()
    transformers.set_seed(settings.seed)
    with _named(where):
        model: Any = getattr(transformers, auto).from_pretrained(where, **given, **_GIVEN)
    return model


def in_four_bits() -> Any:
    """Return how QLoRA keeps frozen weights (Dettmers et al. 2023, arXiv 2305.14314)."""
    import torch
    import transformers

    quantization: Any = transformers.BitsAndBytesConfig
    return quantization(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def peft_config(adapter: Adapter, method: Method) -> Any:
    """Return peft's configuration of an adapter, or `None` where the whole model is trained."""
    if adapter.kind == "full":
        return None
    import peft

    task = "SEQ_CLS" if method.name == "reward" else "CAUSAL_LM"
    if adapter.kind == "prefix":
        return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=adapter.tokens)
    if adapter.kind == "prompt":
        return peft.PromptTuningConfig(task_type=task, num_virtual_tokens=adapter.tokens)
    targets = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    return peft.LoraConfig(
        task_type=task,
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        # The head of a reward model is new, and is learnt as a whole.
        modules_to_save=["score"] if method.name == "reward" else None,
    )


def with_adapter(model: Any, adapter: Adapter, method: Method) -> Any:
    """Return a model with a new adapter, or itself where the whole model is trained."""
    config = peft_config(adapter, method)
    if config is None:
        return model
    import peft

    return peft.get_peft_model(model, config)


def merge(folder: Path, out: Path, *, reward: bool = False) -> None:
    """Write base model and adapter of `folder` as one model into `out`.

    Raises:
        UsageError: the folder holds no adapter that can be merged.
    """
    import torch

    model, tokenizer = load_trained(folder, reward=reward, dtype=torch.float32)
    if not hasattr(model, "merge_and_unload"):
        raise UsageError(f"{folder} holds no adapter of LoRA's kind; there is nothing to merge")
    merged = model.merge_and_unload()
    merged.save_pretrained(out)
    tokenizer.save_pretrained(out)


def load_trained(
    folder: str | Path, *, reward: bool = False, dtype: Any = None, quantized: bool = False
) -> tuple[Any, Any]:
    """Return a model that was trained, with its adapter where it has one, and its tokenizer.

    With `quantized` its base is held in four bits, as QLoRA trained on it, on the GPU.
    """
    import peft
    import transformers

    kind = "SequenceClassification" if reward else "CausalLM"
    given: dict[str, Any] = {"num_labels": 1} if reward else {}
    if dtype is not None:
        given["dtype"] = dtype
    if quantized:
        given |= {"quantization_config": in_four_bits(), "device_map": {"": 0}}
    adapted = (Path(folder) / "adapter_config.json").is_file()
    package: Any = peft if adapted else transformers
    auto = f"Auto{'Peft' if adapted else ''}ModelFor{kind}"
    with _named(str(folder)):
        model = getattr(package, auto).from_pretrained(folder, **given)
        tokenizer = load_tokenizer(str(folder))
    if reward:
        model.config.pad_token_id = tokenizer.pad_token_id
    else:
        stop_at_turns(model, tokenizer)
    return model.eval(), tokenizer


def stop_at_turns(model: Any, tokenizer: Any) -> None:
    """Let a model's answers end with the token that ends a turn of its chat template.

    Base models end texts with another one, and would go on to write the next turn of the user; so
    it is added to those of the generation configuration, which is saved with the model.
    """
    from curate.models.inprocess.chat import Chat, TemplateRefused

    with contextlib.suppress(TemplateRefused):
        chat = Chat(tokenizer)
        ending = chat.end_of_turn.strip() if chat.template else ""
        token = tokenizer.get_added_vocab().get(ending)
        given = model.generation_config.eos_token_id
        known = given if isinstance(given, list) else [given]
        if token is not None and token not in known:
            ends = [token, *(one for one in known if one is not None)]
            model.generation_config.eos_token_id = ends


def free_memory() -> None:
    """Give back what a finished trainer holds, whose parts refer to each other."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def sample(model: Any, tokenizer: Any, text: str, *, max_tokens: int, seed: int = 0) -> str:
    """Return what a model answers to a text that ends where its answer begins.

    Raises:
        StoppedShort: the model's numbers are not finite.
    """
    import torch

    torch.manual_seed(seed)
    given = tokenizer(text, add_special_tokens=False, return_tensors="pt").to(model.device)
    with torch.inference_mode():
        if not torch.isfinite(model(**given).logits[:, -1]).all():
            raise StoppedShort(
                "the trained model's logits are not finite: lower learning_rate, add warmup, and "
                "train it again with --replace"
            )
        made = model.generate(
            **given, max_new_tokens=max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id
        )
    start = given["input_ids"].shape[1]
    return str(tokenizer.decode(made[0, start:], skip_special_tokens=True))
