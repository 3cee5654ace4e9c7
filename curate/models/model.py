"""What the driver expects of a model, and how a recipe's model string or mapping becomes one.

`PREFIX:NAME` names the module of `curate.models.providers` that answers: the tree is the registry.
Each such module describes a model (`describe`) before anything is loaded, and opens it
(`open_spec`). Sampling values of a mapping are filled into each request before its key is made, so
a reply is shared only by requests that were sent alike; prices, concurrency and key names never
change a key.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast
from urllib.parse import unquote, urlsplit

import curate.models.providers
from curate.ask import Ask, Embed, Reply, Request
from curate.errors import RecipeError
from curate.recipe.catalog import closest
from curate.system.credentials import (
    holds_credentials,
    holds_token,
    looks_like_key,
    source_of_secret,
)

if TYPE_CHECKING:
    from curate.models.providers.openai_batch import OpenAIBatch
    from curate.recipe.recipe import Recipe

SAMPLING = (
    "temperature", "top_p", "top_k", "max_tokens", "stop", "stop_tokens", "seed",
    "presence_penalty", "frequency_penalty",
)  # fmt: skip
_TEXTS = ("stop", "stop_tokens")
# How often a model of this process is loaded on the nodes of a cluster.
REPLICAS = "replicas"
RATES = ("requests_per_minute", "tokens_per_minute")
COMMON_OPTIONS = (
    "model", "identity", "price", "max_concurrency", *RATES, "base_url", "api_key_env", "prefix",
)  # fmt: skip
# Modules of that package that serve a provider and are not prefixes themselves.
_SHARED = ("openai_batch",)
# Where other distributions name their prefixes: `name = "module:Adapter"`.
GROUP = "curate.models"


class Price(NamedTuple):
    """US dollars per million tokens."""

    input: float
    output: float


class Discount(NamedTuple):
    """The part of the price that is taken off in batch jobs, and who says so."""

    share: float
    source: str


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What is known of a model before it is opened: keys, money and limits rest on it alone.

    `identity` is part of every key; vectors are stored under `embed_identity`, where a model has
    one. `defaults` are the sampling values for fields left at `None`. `retry_delay` is the pause in
    seconds before a second try; it doubles with each further one. `embed_texts` is how many texts
    go into one `Embed`, of at most `embed_characters` together. A model with a `discount` is asked
    in batch jobs, and is a `BatchModel`; its price has the discount taken off. A `chat_only` one
    writes whole answers and nothing else: no user's turn, and no answer that is already begun. A
    model of this process computes on `gpus` GPUs where there are some.
    """

    identity: str
    forms: tuple[str, ...]
    embed_identity: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    price: Price | None = None
    max_concurrency: int = 64
    retry_delay: float = 0.5
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    embed_texts: int = 1
    embed_characters: int = sys.maxsize
    discount: Discount | None = None
    chat_only: bool = False
    gpus: int = 0

    def identity_for(self, request: Request) -> str:
        """Return the identity under which the reply to `request` is stored."""
        embeds = isinstance(request, Embed) and self.embed_identity
        return embeds or self.identity


class Model(Protocol):
    """Whatever answers requests. One task calls `answer` for each attempt, many at a time."""

    info: ModelInfo

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply, or raise `TemporaryFault` or `PermanentFault`."""
        ...

    async def close(self) -> None:
        """Let go of connections and memory."""
        ...


@dataclass(frozen=True)
class ModelSpec:
    """A model as the recipe describes it; `options` are those only its prefix knows.

    `replicas` is how often it is loaded on the nodes of a cluster; without one it changes nothing.
    """

    prefix: str
    name: str
    identity: str
    price: Price | None = None
    max_concurrency: int | None = None
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    replicas: int | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


class BatchModel(Model, Protocol):
    """A model whose requests can go to its provider in batch jobs, by way of `batch`."""

    batch: OpenAIBatch


class Provider(Protocol):
    """What a module of providers declares for its prefix."""

    # Options of a model's mapping that only this prefix knows.
    OPTIONS: tuple[str, ...]
    # Whether its models compute where they are opened, so that nodes of a cluster can have them.
    IN_PROCESS: bool

    def describe(self, spec: ModelSpec, folder: Path) -> ModelInfo:
        """Return what is known of the model; nothing is loaded and no server is asked."""
        ...

    def open_spec(self, spec: ModelSpec, folder: Path) -> Model:
        """Return the model; relative file names start at `folder`."""
        ...


def prefixes() -> list[str]:
    """Return the prefixes there are: modules of `curate.models.providers`, and entry points."""
    return sorted({*_own_prefixes(), *(point.name for point in entry_points(group=GROUP))})


@functools.cache
def _own_prefixes() -> tuple[str, ...]:
    found = (module.name for module in pkgutil.iter_modules(curate.models.providers.__path__))
    return tuple(name for name in found if name not in _SHARED)


def provider_of(prefix: str) -> Provider:
    """Return the provider that answers for `prefix`; this package's own go before others."""
    if prefix in _own_prefixes():
        return cast("Provider", importlib.import_module(f"curate.models.providers.{prefix}"))
    (point, *_) = entry_points(group=GROUP, name=prefix)
    owner = point.dist.name if point.dist is not None else "an unknown distribution"
    adapter = importlib.import_module("curate.models.inprocess.adapter")
    try:
        return cast("Provider", adapter.AdapterProvider(prefix, point.load()))
    except Exception as error:  # A third party's module may fail in any way.
        raise RecipeError(
            f"the model prefix '{prefix}' of {owner} cannot be loaded from {point.value}: "
            f"{type(error).__name__}: {error}"
        ) from error


def open_model(
    spec: str | Mapping[str, Any], *, name: str = "model", folder: Path | None = None
) -> Model:
    """Return the model that `spec` describes.

    Args:
        spec: `PREFIX:NAME`, or a mapping with at least `model: PREFIX:NAME`.
        name: what the recipe calls it, for messages.
        folder: where relative file names in the spec start; the working directory by default.
    """
    parsed = parse_spec(spec, name=name)
    return provider_of(parsed.prefix).open_spec(parsed, folder or Path())


def info_of(
    spec: str | Mapping[str, Any], *, name: str = "model", folder: Path | None = None
) -> ModelInfo:
    """Return what the opened model's `info` will be; nothing is opened for it."""
    parsed = parse_spec(spec, name=name)
    return provider_of(parsed.prefix).describe(parsed, folder or Path())


def check_specs(recipe: Recipe) -> None:
    """Raise `RecipeError`, with file and line, for the first model that is not as it must be.

    It opens nothing, so it can come before anything of the recipe is written anywhere.
    """
    for part in ("models", "encoders"):
        for name, spec in (getattr(recipe, part) or {}).items():
            try:
                parse_spec(spec, name=name)
            except RecipeError as error:
                raise recipe.error((part, name), error.message) from None


def parse_spec(spec: str | Mapping[str, Any], *, name: str = "model") -> ModelSpec:
    """Return `spec` checked and taken apart; no value that could be a secret is ever printed."""
    where = f"model '{name}': "
    values = {"model": spec} if isinstance(spec, str) else spec
    if not isinstance(values, Mapping) or not isinstance(values.get("model"), str):
        raise RecipeError(
            f"{where}found {_shown(spec)}; write PREFIX:NAME, or a mapping with "
            f"'model: PREFIX:NAME'; prefixes: {', '.join(prefixes())}"
        )
    prefix, _, rest = values["model"].partition(":")
    # To look for those of other distributions takes 10 ms.
    if prefix not in _own_prefixes() and prefix not in prefixes():
        guess = closest(prefix, prefixes())
        bare = ":" not in values["model"] and not guess
        form = f"; write PREFIX:NAME, such as openai:{_shown(prefix)}" if bare else guess
        raise RecipeError(
            f"{where}unknown prefix '{prefix}' in '{_shown(values['model'])}'{form} "
            f"(this version knows: {', '.join(prefixes())})"
        )
    if looks_like_key(rest) or source_of_secret(rest):
        raise RecipeError(
            f"{where}what stands for the model's name looks like a key; write {prefix}:MODEL, put "
            "the key into an environment variable, and name that in 'api_key_env'"
        )
    options = _own_options(prefix, values, where)
    if "of" in options:  # A model that asks another one.
        parse_spec(options["of"], name=name)
    # Someone who pasted the key itself must not read it again in a log.
    key = values.get("api_key_env")
    if key is not None and not (isinstance(key, str) and re.fullmatch(r"[A-Za-z_]\w*", key)):
        raise RecipeError(
            f"{where}'api_key_env' must be the name of an environment variable, not the key itself"
        )
    identity = values.get("identity")
    if identity is not None and (not isinstance(identity, str) or not identity):
        raise RecipeError(f"{where}'identity' is {identity!r}; it must be a string")
    price: Any = values.get("price")
    if price is not None:
        named = isinstance(price, Mapping) and set(price) == {"input", "output"}
        if not named or not all(_is_number(one) and 0 <= one < 1e6 for one in price.values()):
            raise RecipeError(
                f"{where}'price' is {price!r}; it must be a mapping with 'input' and 'output', "
                "in US dollars per million tokens"
            )
        price = Price(float(price["input"]), float(price["output"]))
    base_url = _checked_url(values.get("base_url"), where)
    return ModelSpec(
        prefix=prefix,
        name=rest,
        identity=identity or values["model"] + (f" at {base_url}" if base_url else ""),
        price=price,
        max_concurrency=_count("max_concurrency", values, where),
        requests_per_minute=_rate("requests_per_minute", values, where),
        tokens_per_minute=_rate("tokens_per_minute", values, where),
        base_url=values.get("base_url"),
        api_key_env=values.get("api_key_env"),
        replicas=_count(REPLICAS, values, where),
        defaults=_sampling(values, where),
        options=options,
    )


def with_defaults(request: Request, defaults: Mapping[str, Any]) -> Request:
    """Return `request` with sampling fields left at `None` taken from the model's defaults.

    An encoder's `prefix` goes before each text.
    """
    if isinstance(request, Embed) and (prefix := defaults.get("prefix")):
        return dataclasses.replace(request, texts=tuple(prefix + text for text in request.texts))
    if not isinstance(request, Ask):
        return request
    missing = {
        name: value
        for name, value in defaults.items()
        if name in SAMPLING and getattr(request, name) in (None, ())
    }
    return dataclasses.replace(request, **missing) if missing else request


def options_of_prefix(prefix: str) -> tuple[str, ...]:
    """Return the options of a model's mapping that not every prefix knows."""
    provider = provider_of(prefix)
    return (*provider.OPTIONS, *((REPLICAS,) if provider.IN_PROCESS else ()))


def _own_options(prefix: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    own = provider_of(prefix).OPTIONS
    allowed = (*COMMON_OPTIONS, *SAMPLING, *options_of_prefix(prefix))
    for key in values:
        if key == "api_key":
            raise RecipeError(
                f"{where}a key must not stand in a recipe; put it into an environment variable "
                "and name that in 'api_key_env'"
            )
        if key not in allowed:
            guess = closest(key, allowed)
            raise RecipeError(
                f"{where}unknown option '{key}'{guess} (allowed: {', '.join(sorted(allowed))})"
            )
    return {key: values[key] for key in own if values.get(key) is not None}


def _checked_url(url: Any, where: str) -> str | None:
    """Return the URL without its query, or refuse one that holds credentials."""
    if url is None:
        return None
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise RecipeError(f"{where}'base_url' must start with http:// or https://")
    try:
        parts = urlsplit(url)
        secret = holds_credentials(url) or holds_token(url) or source_of_secret(unquote(url))
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        raise RecipeError(f"{where}'base_url' is not a valid URL") from None
    if secret:
        raise RecipeError(
            f"{where}'base_url' holds credentials, or a part that looks like a key; put the "
            "key into an environment variable and name that in 'api_key_env'"
        )
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path.rstrip('/')}"


def _count(name: str, values: Mapping[str, Any], where: str) -> int | None:
    value: int | None = values.get(name)
    if value is None or (isinstance(value, int) and value >= 1 and value is not True):
        return value
    raise RecipeError(f"{where}'{name}' is {value!r}; it must be a whole number from 1 on")


def _rate(name: str, values: Mapping[str, Any], where: str) -> float | None:
    value = values.get(name)
    if value is None or (_is_number(value) and 1 <= value < 1e12):
        return value
    raise RecipeError(f"{where}'{name}' is {value!r}; it must be a number from 1 on")


def _sampling(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    prefix = values.get("prefix")
    if prefix is not None and not isinstance(prefix, str):
        raise RecipeError(f"{where}'prefix' is {prefix!r}; it must be a string, as 'query: '")
    found = {name: values[name] for name in SAMPLING if values.get(name) is not None}
    for name, value in found.items():
        whole = name in ("max_tokens", "seed", "top_k")
        if name in _TEXTS:
            found[name] = (value,) if isinstance(value, str) else tuple(value)
        elif not (_is_number(value) and (not whole or isinstance(value, int))):
            kind = "a whole number" if whole else "a number"
            raise RecipeError(f"{where}'{name}' is {value!r}; it must be {kind}")
    if found.get("max_tokens", 1) < 1:
        raise RecipeError(f"{where}'max_tokens' is {found['max_tokens']}; it must be 1 or more")
    return {**found, "prefix": prefix} if prefix else found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """Return a short form of `value` for a message, with anything like a URL's login cut out."""
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, Mapping):
        text = f"a mapping with {', '.join(map(str, value)) or 'nothing in it'}"
    text = re.sub(r"//[^/@\s]*@", "//***@", text)
    return re.sub(r"[\w-]{12,}", lambda one: "***" if looks_like_key(one[0]) else one[0], text)[:80]
