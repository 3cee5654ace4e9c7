"""`scar:FOLDER`: a style ranker of `curate train scar`, or a published one, in this process.

It answers `Reward`: the score of the last answer of a conversation, higher where its style is the
more consistent one (SCAR, arXiv 2406.10882). Scores have no scale: those of two rankers cannot be
compared, and neither can thresholds. Only safetensors are read, and no code of a repository runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.encoders.precision import has_gpu
from curate.errors import RecipeError, StoppedShort, UsageError
from curate.models.inprocess.adapter import AdapterModel
from curate.models.inprocess.worker import Backend
from curate.models.model import ModelInfo, ModelSpec
from curate.models.providers.hf import (
    BATCHES_WAITING,
    FREE,
    batch_size_of,
    check_options,
    digest_of_weights,
    identity_with,
)
from curate.system.package_data import require_extra

OPTIONS = ("dtype", "device", "revision", "batch_size", "threads")


def open_spec(spec: ModelSpec, folder: Path) -> AdapterModel:
    """Return the ranker that `spec` names; a relative path starts at `folder`."""
    if not spec.name:
        raise RecipeError("'scar:' names no ranker; write scar:FOLDER or scar:ORG/NAME")
    require_extra("local", "'scar:'", "torch", "transformers")
    check_options(spec.options)
    path = folder / spec.name
    if not path.is_dir() and (spec.name[0] in "./~" or spec.name.count("/") != 1):
        raise RecipeError(
            f"'{spec.name}' is no folder; write scar:FOLDER (curate train scar DATA --model local "
            "-o FOLDER) or scar:ORG/NAME"
        )
    where = str(path) if path.is_dir() else spec.name

    def load() -> Backend:
        import torch

        from curate.models.inprocess.style_ranker import StyleScorer, load_ranker
        from curate.models.inprocess.transformer import prepare_torch

        prepare_torch(spec.options)
        dtype, device = _computes(spec.options)
        try:
            ranker, tokenizer = load_ranker(where, spec.options.get("revision"))
        except UsageError as error:
            raise StoppedShort(f"scar:{spec.name} cannot be loaded: {error}") from None
        return StyleScorer(ranker.to(getattr(torch, dtype)), tokenizer, device)

    return AdapterModel(describe(spec, folder), batch_size_of(spec), load)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the ranker; of a folder that it is in, a digest of the weights."""
    identity, path = spec.identity, folder / spec.name
    dtype, device = _computes(spec.options)
    options = {**spec.options, "dtype": dtype}
    if identity != f"scar:{spec.name}":
        options = dict(spec.options)
    elif path.is_dir():
        identity = f"scar:{path.name} {digest_of_weights(path)}"
    size = batch_size_of(spec)
    return ModelInfo(
        identity=f"{identity_with(identity, options)} on {device.partition(':')[0]}",
        forms=("reward",),
        defaults=spec.defaults,
        price=spec.price or FREE,
        max_concurrency=spec.max_concurrency or BATCHES_WAITING * size,
        retry_delay=0.1,
    )


def _computes(options: Mapping[str, Any]) -> tuple[str, str]:
    """Return precision and device: float32 everywhere, for a ranking rests on small differences."""
    device = str(options.get("device") or ("cuda" if has_gpu() else "cpu"))
    return str(options.get("dtype") or "float32"), device
