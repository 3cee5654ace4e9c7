"""What of a run may be shown to strangers: names without local paths, recipes without addresses.

A card travels further than a run folder. Where files lay, which server answered and which variable
held its key tell nothing about the data, and something about whoever made it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

# Of a model: where it was reached, and what is only about spending time and money there.
_PRIVATE = ("base_url", "api_key_env", "max_concurrency")
# Addresses that mean the same to everybody, and the package's own example data.
_PUBLIC = ("hub://", "https://", "http://", "s3://", "gs://", "pipelines/data/")


def public_name(where: str) -> str:
    """Return a file's name as strangers may see it: an address as it is, else without folders."""
    return where if where.startswith(_PUBLIC) else PurePath(where).name or where


def public_recipe(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe, as `run.yaml` holds it, without local paths, addresses and outputs."""
    found = copy.deepcopy(dict(recipe))
    found.pop("outputs", None)
    for section in ("models", "encoders"):
        for spec in (found.get(section) or {}).values():
            if isinstance(spec, dict):
                for name in _PRIVATE:
                    spec.pop(name, None)
    return {name: _public(value, name == "inputs") for name, value in found.items()}


def _public(value: Any, is_input: bool) -> Any:
    """Return a value with every path in it reduced to its name."""
    if isinstance(value, Mapping):
        # Below `inputs` whatever is called `path`, or stands for a source, is one.
        return {k: _public(v, is_input and k in ("path", *value)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one, is_input) for one in value]
    if not isinstance(value, str):
        return value
    prefix, colon, rest = value.partition(":")
    if colon and prefix in ("scripted", "record", "hf", "vllm") and _is_path(rest):
        return f"{prefix}:{PurePath(rest).name}"
    # `name=path`, as steps name the sets that they compare with.
    name, equals, path = value.partition("=")
    if equals and name.isidentifier() and ("/" in path or _is_path(path)):
        return f"{name}={public_name(path)}"
    if _is_path(value) or (is_input and "://" not in value):
        return public_name(value)
    return value


def _is_path(text: str) -> bool:
    """Tell whether a text is the path of a file here, and not a name with a slash in it."""
    begins = text.startswith(("/", "~", "./", "../")) and " " not in text and "\n" not in text
    return begins and len(text) > 1
