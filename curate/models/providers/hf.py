"""`hf:MODEL`: transformers in this process, on the CPU or a GPU.

`MODEL` is a folder or a name of the Hugging Face Hub. A causal language model writes, gives
log-probabilities and likelihoods; a sequence classifier scores (`Reward`); a sentence-transformers
model embeds. No code of a model's repository runs, and only safetensors weights are read.

A reply depends on its request alone. Greedy text is the same whatever else is in the batch, and so
is sampled text: each draw comes from the request's `seed`, or from its key. The law holds up to the
rounding of `dtype`: in float32, the default on a CPU, batches move a log-probability by some 1e-5;
in bfloat16 by some 0.05, enough to turn a close choice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from curate.ask import Embed, Reply, Request
from curate.encoders.precision import has_gpu, native_dtype
from curate.errors import RecipeError
from curate.models.inprocess.worker import Backend, Worker
from curate.models.model import ModelInfo, ModelSpec, Price
from curate.system.package_data import require_extra

OPTIONS = ("dtype", "device", "revision", "batch_size", "threads", "max_length")
DTYPES = ("float32", "bfloat16", "float16")
BATCH_SIZE = 32
# Texts of one `Embed`, and their characters: two batches of the encoder on a CPU, a second's work.
EMBED_TEXTS, EMBED_CHARACTERS = 256, 16_384
# Requests that may wait: enough to choose neighbours in length from.
BATCHES_WAITING = 4
WRITES = ("ask", "choose", "embed", "likelihood", "turn_likelihood")
SCORES = ("embed", "reward")
# What a model may give whose configuration is not at hand.
FORMS = (*WRITES, "reward")
# What runs in this process costs nothing.
FREE = Price(0.0, 0.0)
# What a digest of weights reads: so many blocks of so many bytes, spread over each file.
_BLOCKS, _BLOCK_BYTES = 1024, 4096
# The files by which transformers, peft, vLLM and sentence-transformers load a model, and none of
# those that trainers and people leave beside it. Vocabularies have many names.
_OF_A_MODEL = (
    *("config.json", "generation_config.json", "adapter_config.json", "quant*_config.json"),
    *("*.safetensors", "*.safetensors.index.json"),
    *("tokenizer*", "special_tokens_map.json", "added_tokens.json", "*vocab*", "merges.txt"),
    *("*.model", "*.tiktoken", "dict.txt", "emoji.json", "byte_maps.json", "normalizer.json"),
    *("chat_template*", "modules.json", "config_sentence_transformers.json"),
    *("sentence_*_config.json", "router_config.json"),
)
# PPO's, which only its own training goes on from.
_NOT_OF_A_MODEL = ("value_head.safetensors",)
_TEMPLATES = "additional_chat_templates"

Load = Callable[[], Backend]


class InProcess:
    """A model that computes in a thread of this process; requests are free of charge."""

    def __init__(self, info: ModelInfo, batch_size: int, load: Load, load_encoder: Load) -> None:
        """Load nothing yet: weights are read with the first request of their kind."""
        self.info = info
        # Threads that spin while they wait for each other starve on shared cores: beside other work
        # generation was ten times slower. OpenMP reads this when torch is first imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        self._writer = Worker(load, batch_size, info.identity)
        self._encoder = Worker(load_encoder, batch_size, info.embed_identity or info.identity)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply of the thread that has the model."""
        worker = self._encoder if isinstance(request, Embed) else self._writer
        return await worker.answer(request, key, attempt)

    async def close(self) -> None:
        """End the threads and let go of the weights."""
        await self._writer.close()
        await self._encoder.close()


def open_spec(spec: ModelSpec, folder: Path) -> InProcess:
    """Return the model that `spec` describes; a relative path starts at `folder`."""
    if not spec.name:
        raise RecipeError("'hf:' names no model; write hf:FOLDER or hf:ORG/NAME")
    require_extra("local", "'hf:'", "torch", "transformers")
    check_options(spec.options)
    where = spec.name
    if (path := folder / spec.name).is_dir():
        where = str(path)
    elif spec.name.startswith((".", "/", "~")) or spec.name.count("/") > 1:
        raise RecipeError(f"'{spec.name}' is not a folder; write hf:FOLDER or hf:ORG/NAME")
    encoding = {**spec.options, "prefix": spec.defaults.get("prefix")}

    def load() -> Backend:
        from curate.models.inprocess.transformer import load_transformer

        return load_transformer(where, resolved(spec.options))

    def load_encoder() -> Backend:
        require_extra("vectors", f"the encoder 'hf:{spec.name}'", "sentence_transformers")
        from curate.models.inprocess.embedding import Embedding

        return Embedding(where, encoding)

    return InProcess(describe(spec, folder), batch_size_of(spec), load, load_encoder)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model; of a folder that it is in, a digest of the weights."""
    identity, own, path = spec.identity, spec.identity != f"hf:{spec.name}", folder / spec.name
    if path.is_dir() and not own:
        identity = f"hf:{path.name} {digest_of_weights(path)}"
    writes = identity_with(identity, spec.options) if own else identity_on(identity, spec.options)
    embeds = embed_identity_with(identity_with(identity, spec.options), spec)
    forms: tuple[str, ...] = FORMS
    with contextlib.suppress(OSError, ValueError, AttributeError):
        architectures = json.loads((path / "config.json").read_text()).get("architectures") or ()
        if any(str(one).endswith("SequenceClassification") for one in architectures):
            forms = SCORES
        elif any(str(one).endswith("ForCausalLM") for one in architectures):
            forms = WRITES
    return described(spec, writes, embeds, forms)


def described(
    spec: ModelSpec, identity: str, embed_identity: str, forms: tuple[str, ...]
) -> ModelInfo:
    """Return what is known of a transformers model of this identity, its price included: none."""
    size = batch_size_of(spec)
    return ModelInfo(
        identity=identity,
        embed_identity=embed_identity,
        forms=forms,
        defaults=spec.defaults,
        price=spec.price or FREE,
        max_concurrency=spec.max_concurrency or BATCHES_WAITING * size,
        retry_delay=0.1,
        embed_texts=EMBED_TEXTS,
        embed_characters=EMBED_CHARACTERS,
    )


def batch_size_of(spec: ModelSpec) -> int:
    """Return how many requests are computed together at most."""
    return int(spec.options.get("batch_size", BATCH_SIZE))


def resolved(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` with the device and the precision that a model computes in by default.

    float32 on a CPU, where batches must not turn close choices; bfloat16 on a GPU.
    """
    device = str(options.get("device") or ("cuda" if has_gpu() else "cpu"))
    dtype = options.get("dtype") or ("float32" if device == "cpu" else "bfloat16")
    return {**options, "device": device, "dtype": dtype}


def check_options(options: Mapping[str, Any]) -> None:
    """Raise `RecipeError` for a value that no model can have."""
    dtype = options.get("dtype", "float32")
    if dtype not in DTYPES:
        raise RecipeError(f"'dtype' is {dtype!r}; allowed: {', '.join(DTYPES)}")
    for name in ("batch_size", "threads", "max_length"):
        value = options.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise RecipeError(f"'{name}' is {value!r}; it must be a whole number from 1 on")
    for name in ("device", "revision"):
        if not isinstance(options.get(name, ""), str):
            raise RecipeError(f"'{name}' is {options[name]!r}; it must be a string")


def identity_with(identity: str, options: Mapping[str, Any]) -> str:
    """Return `identity` with the options that decide a reply."""
    deciding = [f"{name}={options[name]}" for name in ("revision", "dtype") if name in options]
    return " ".join([identity, *deciding])


def identity_on(identity: str, options: Mapping[str, Any]) -> str:
    """Return `identity` with what decides a reply, also where this machine chose it.

    Precision and kind of device turn close choices: a store that moves to a machine with a GPU does
    not answer for it. Who names an `identity` says that such replies are the same.
    """
    found = resolved(options)
    return f"{identity_with(identity, found)} on {found['device'].partition(':')[0]}"


def embed_identity_with(identity: str, spec: ModelSpec) -> str:
    """Return `identity` with everything else that decides a vector."""
    options = spec.options
    dtype = options.get("dtype") or native_dtype(options.get("device"))
    deciding = [] if "dtype" in options else [f"dtype={dtype}"]
    if "max_length" in options:
        deciding.append(f"max_length={options['max_length']}")
    if spec.defaults.get("prefix"):
        # It is part of each text, but takes the place of the model's own prompt, which is not.
        deciding.append("prefixed")
    return " ".join([identity, *deciding, "by sentence-transformers"])


def digest_of_weights(folder: Path) -> str:
    """Return 16 hex digits over a model folder, so that other weights never answer in its name.

    Small files count whole. Of weights, blocks spread over the file do: to read them whole would
    take as long as loading them, before it is known whether anything will be asked.
    """
    digest = hashlib.blake2b(digest_size=8)
    for path in files_of_model(folder):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        step = max(_BLOCK_BYTES, size // _BLOCKS)
        with path.open("rb") as file:
            for start in range(0, size, step):
                os.lseek(file.fileno(), start, os.SEEK_SET)
                digest.update(os.read(file.fileno(), _BLOCK_BYTES))
    return digest.hexdigest()


def files_of_model(folder: Path) -> list[Path]:
    """Return the files that make the model in a folder: what else lies there changes no reply.

    Reports, cards, checkpoints and other models below it do not count.
    """
    own = [
        path
        for pattern in _OF_A_MODEL
        for path in folder.glob(pattern)
        if path.name not in _NOT_OF_A_MODEL
    ]
    inner = [folder / _TEMPLATES]
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        # The parts of a sentence-transformers model, each with files of its own.
        modules = json.loads((folder / "modules.json").read_bytes())
        parts = [folder / module["path"] for module in modules if module["path"]]
        inner += [part for part in parts if part.resolve().is_relative_to(folder.resolve())]
    own += [path for part in inner for path in part.rglob("*")]
    return sorted({path for path in own if path.is_file()})
