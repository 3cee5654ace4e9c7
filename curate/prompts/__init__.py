"""Prompts, and the grammar that reads the replies to them."""

from curate.prompts.prompt import (
    FENCE,
    KEYS,
    REQUIRED,
    Prompt,
    PromptItem,
    Rendered,
    find,
    load,
    names,
    parse,
)

__all__ = [
    "FENCE",
    "KEYS",
    "REQUIRED",
    "Prompt",
    "PromptItem",
    "Rendered",
    "find",
    "load",
    "names",
    "parse",
]
