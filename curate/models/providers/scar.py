"""`scar:FOLDER`: a style ranker of `curate train scar`, or a published one, in this process.

It answers `Reward`: the score of the last answer of a conversation, higher where its style is the
more consistent one (SCAR, arXiv 2406.10882). Scores have no scale: those of two rankers cannot be
compared, and neither can thresholds. Only safetensors are read, and no code of a repository runs.
"""

from __future__ import annotations

from pathlib import Path

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
    identity_on,
    identity_with,
    resolved,
)
from curate.system.package_data import require_extra

OPTIONS = ("dtype", "device", "revision", "batch_size", "threads")
# On a GPU, too, where nothing else is said: a ranking rests on small differences.
FULL_PRECISION = {"dtype": "float32"}


def open_spec(spec: ModelSpec, folder: Path) -> AdapterModel:
    """Return the ranker that `spec` names; a relative path starts at `folder`."""
    if not spec.name:
        raise RecipeError("'scar:' names no ranker; write scar:FOLDER or scar:ORG/NAME")
    require_extra("local", "'scar:'", "torch", "transformers")
    check_options(spec.options)
    path = folder / spec.name
    if not path.is_dir() and (spec.name[0] in "./~" or spec.name.count("/") != 1):
        raise RecipeError(
            f"'{spec.name}' is not a folder; write scar:FOLDER (curate train scar DATA --model "
            "local -o FOLDER) or scar:ORG/NAME"
        )
    where = str(path) if path.is_dir() else spec.name

    def load() -> Backend:
        import torch

        from curate.models.inprocess.style_ranker import StyleScorer, load_ranker
        from curate.models.inprocess.transformer import prepare_torch

        prepare_torch(spec.options)
        found = resolved({**FULL_PRECISION, **spec.options})
        try:
            ranker, tokenizer = load_ranker(where, spec.options.get("revision"))
        except UsageError as error:
            raise StoppedShort(f"scar:{spec.name} cannot be loaded: {error}") from None
        return StyleScorer(ranker.to(getattr(torch, found["dtype"])), tokenizer, found["device"])

    return AdapterModel(describe(spec, folder), batch_size_of(spec), load)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the ranker; of a folder that it is in, a digest of the weights."""
    identity, path = spec.identity, folder / spec.name
    if identity != f"scar:{spec.name}":
        identity = identity_with(identity, spec.options)
    else:
        if path.is_dir():
            identity = f"scar:{path.name} {digest_of_weights(path)}"
        identity = identity_on(identity, {**FULL_PRECISION, **spec.options})
    size = batch_size_of(spec)
    return ModelInfo(
        identity=identity,
        forms=("reward",),
        defaults=spec.defaults,
        price=spec.price or FREE,
        max_concurrency=spec.max_concurrency or BATCHES_WAITING * size,
        retry_delay=0.1,
    )
