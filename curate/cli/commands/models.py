"""`curate models`: how a recipe names a model, and whether one of them answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curate.cli.flags import Debug

if TYPE_CHECKING:
    from curate.models.model import Model

# Seconds that a check waits for a busy server at most.
LONGEST_PAUSE = 10.0
ABOUT = {
    "openai": ("openai:MODEL", "any OpenAI-compatible server (base_url, api_key_env)"),
    "vllm": ("vllm:MODEL", "vLLM's offline engine, in this process"),
    "hf": ("hf:MODEL", "transformers in this process, on CPU or GPU"),
    "local": ("local", "the embedded small model; needs no network"),
    "scripted": ("scripted:FILE", "recorded replies from a JSON Lines file"),
    "scar": ("scar:FOLDER", "a style ranker of `curate train scar`, for the step scar"),
    "record": ("record:FILE", "asks the model `of`, and writes such a file"),
}


def command(
    check: Annotated[
        str | None,
        typer.Option("--check", metavar="MODEL", help="Ask MODEL once, for a few tokens."),
    ] = None,
    base_url: Annotated[
        str | None, typer.Option("--base-url", help="The server of an openai: model.")
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="The variable that holds its key.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="Print a list of JSON: model, about; with --check an object: identity, reply, "
            "latency, tokens, price, and what the model supports.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """List the kinds of models, or check one with live requests."""
    import asyncio

    from curate.cli.text_layout import json_text, table
    from curate.models.model import open_model, prefixes

    if check is None:
        rows = [list(ABOUT.get(prefix, (f"{prefix}:NAME", ""))) for prefix in prefixes()]
        if as_json:
            typer.echo(json_text([{"model": name, "about": about} for name, about in rows]))
            return
        typer.echo(table(["model", "what it is"], rows))
        return
    given = {"model": check, "base_url": base_url, "api_key_env": api_key_env}
    spec = {name: value for name, value in given.items() if value is not None}
    lines = asyncio.run(_ask_all(open_model(spec)))
    typer.echo(json_text(dict(lines)) if as_json else table(["", ""], lines))


async def _ask_all(model: Model) -> list[list[str]]:
    """Return a line for the plain request, which must work, and one for each capability."""
    from curate.ask import Ask, Likelihood
    from curate.errors import ModelError

    schema = {
        "type": "object",
        "properties": {"word": {"type": "string", "maxLength": 8}},
        "required": ["word"],
    }
    probes: dict[str, tuple[Any, Callable[[Any], bool]]] = {
        "log-probabilities": (
            Ask.text("Say yes.", max_tokens=4, logprobs=1),
            lambda reply: bool(reply.logprobs),
        ),
        # Nothing in the words asks for JSON: what comes as an object was held to the schema.
        "JSON schema": (Ask.text("Say yes.", max_tokens=64, schema=schema), _is_object),
        "raw completion": (Ask(prompt="Once upon", max_tokens=4), lambda reply: True),
        "likelihood": (
            Likelihood(prompt="Once upon", answer=" a time"),
            lambda reply: bool(reply.values),
        ),
    }
    try:
        reply, seconds = await _answered(model, Ask.text("Say yes.", max_tokens=16), adapt=True)
        price = model.info.price
        per_million = "not known: give 'price: {input: USD, output: USD}' to use --max-cost"
        if price:
            per_million = f"${price.input:g} in, ${price.output:g} out per million tokens"
        lines = [
            ["identity", model.info.identity],
            ["reply", f"{reply.text[:60]!r} ({reply.finish_reason})"],
            ["latency", f"{seconds * 1000:.0f} ms"],
            ["tokens", f"{reply.input_tokens} in, {reply.output_tokens} out"],
            ["price", per_million],
        ]
        for name, (request, holds) in probes.items():
            try:
                reply, _ = await _answered(model, request)
            except ModelError as error:
                lines.append([name, f"no: {error}"])
                continue
            without = "no: it was asked for, and the reply came without it"
            lines.append([name, "yes" if holds(reply) else without])
        return lines
    finally:
        await model.close()


async def _answered(model: Model, request: Any, *, adapt: bool = False) -> tuple[Any, float]:
    """Return the reply and how long it took; a fault that may pass is met with a second try.

    Where the server wants the request in another form, it gets that if asked to `adapt`.
    """
    import asyncio
    import time

    from curate.errors import TemporaryFault
    from curate.models.remote.faults import ADAPTED

    began = time.perf_counter()
    try:
        reply = await model.answer(request, key="check", attempt=0)
    except TemporaryFault as fault:
        if fault.cause != ADAPTED:
            await asyncio.sleep(min(fault.retry_after or model.info.retry_delay, LONGEST_PAUSE))
        elif not adapt:
            raise
        began = time.perf_counter()
        reply = await model.answer(request, key="check", attempt=1)
    return reply, time.perf_counter() - began


def _is_object(reply: Any) -> bool:
    import json

    try:
        return isinstance(json.loads(reply.text), dict)
    except ValueError:
        return False
