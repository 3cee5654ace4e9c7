"""A conversation by a tokenizer's chat template, rendered in the sandbox of prompts.

The template is chosen, and the turns are prepared, as transformers does; only the rendering itself
is our own, since that of transformers has no bound: a template may loop for hours, or double a text
until the memory is full.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from curate.errors import RecipeError
from curate.prompts.sandbox import MOST_SOURCE

# Under these names, models write what they thought; templates read the first, or `thinking`.
_THOUGHTS = ("reasoning_content", "thinking", "reasoning")
_FILES = ("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja")
# A vocabulary of added tokens may lie beside the template.
_CONFIG, _MOST_CONFIG = "tokenizer_config.json", 32 << 20


def render_turns(
    tokenizer: Any,
    turns: Sequence[Mapping[str, Any]],
    *,
    template: str | None = None,
    ask: bool = False,
    options: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of a conversation.

    Args:
        tokenizer: a tokenizer of transformers, or what renders by itself as such do.
        turns: the messages, as mappings.
        template: a template instead of the tokenizer's own.
        ask: whether the header of the next answer follows.
        options: what else the template is given, such as `tools`.

    Raises:
        jinja2.TemplateError: the template raises an error, or asks for too much.
        ValueError: there is no template, or there are no turns.
    """
    given = dict(options or {})
    if not hasattr(tokenizer, "get_chat_template"):
        text = tokenizer.apply_chat_template(
            list(turns), add_generation_prompt=ask, tokenize=False, **given
        )
        return str(text)
    from curate.prompts.chat_sandbox import chat_text

    if not turns:
        raise ValueError("there are no turns to render")
    source = tokenizer.get_chat_template(template, given.get("tools"))
    values = {**tokenizer.special_tokens_map, "tools": None, "documents": None, **given}
    messages = []
    for turn in turns:
        # As transformers gives it to templates: no nulls, thoughts by each name.
        held = {name: value for name, value in turn.items() if value is not None}
        thought = next((held[name] for name in _THOUGHTS if name in held), None)
        if thought is not None:
            held = {"thinking": thought, **held, "reasoning_content": thought}
        messages.append(held)
    return chat_text(source, {**values, "messages": messages, "add_generation_prompt": ask})


def check_template_files(where: str | Path) -> None:
    """Check that the templates in a model's folder are no larger than one may be.

    Raises:
        RecipeError: a file is.
    """
    folder = Path(where)
    limits = [(path, 4 * MOST_SOURCE) for pattern in _FILES for path in folder.glob(pattern)]
    for path, most in [*limits, (folder / _CONFIG, _MOST_CONFIG)]:
        if path.is_file():
            check_template_file(path, most)


def check_template_file(path: Path, most: int = 4 * MOST_SOURCE) -> None:
    """Check that a file is no larger than a template may be, in bytes.

    Raises:
        RecipeError: it is.
    """
    if (size := path.stat().st_size) > most:
        raise RecipeError(
            f"{path}: {size:,} bytes; a chat template may have {MOST_SOURCE:,} characters, and "
            f"this file {most:,} bytes: is it the right file?"
        )
