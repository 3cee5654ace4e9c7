"""A model's chat template, for servers that take raw text: from a file, or from its tokenizer.

What is made here holds no begin-of-text token where servers add it when they tokenise. Not all do:
a tokenizer that adds none itself leaves it to the template, as those of ChatML do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from curate.ask import Ask
from curate.errors import RecipeError
from curate.models.inprocess.chat_rendering import check_template_file, check_template_files
from curate.models.inprocess.tokens import chat_text, with_turn_ends
from curate.row import Message


class ChatTemplate:
    """The template that a model's mapping names by `template` or `tokenizer`."""

    def __init__(self, tokenizer: Any) -> None:
        """Take what renders: a tokenizer, or a `JinjaTemplate`."""
        self._tokenizer = tokenizer
        # Some models call the header of a turn so, and their servers add none of it to a text.
        bos: str = tokenizer.bos_token or ""
        added = bos and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
        # What is before every text at the server, and what has to be sent so that something is.
        self._given, self.begin = (bos, "") if added else ("", bos)

    def text(self, messages: Sequence[Message], turn: Literal["assistant", "user"]) -> str:
        """Return a chat up to and including the header of `turn`, as the server is to read it."""
        return chat_text(self._tokenizer, messages, turn).removeprefix(self._given)

    def with_turn_ends(self, request: Ask) -> Ask:
        """Return a request for a user's turn that ends where the template ends such a turn."""
        return with_turn_ends(self._tokenizer, request)


class JinjaTemplate:
    """A template file in the form of transformers, rendered in the sandbox of prompts."""

    bos_token = ""
    # Both are empty in it.
    special_tokens_map: Mapping[str, str] = {"bos_token": "", "eos_token": ""}

    def __init__(self, template: str) -> None:
        """Read the template."""
        from jinja2 import TemplateSyntaxError

        from curate.prompts.chat_sandbox import check_chat_template

        self.chat_template = template
        try:
            check_chat_template(template)
        except TemplateSyntaxError as error:
            raise RecipeError(f"'template' is not a Jinja template: {error}") from None

    def get_added_vocab(self) -> dict[str, int]:
        """Return no tokens: a file knows none, so marks are searched as texts."""
        return {}

    def get_chat_template(self, template: str | None, tools: Any) -> str:
        """Return the template, as a tokenizer does."""
        return template or self.chat_template


def template_of(options: Mapping[str, Any], folder: Path) -> ChatTemplate | None:
    """Return the template that a model's options name, or `None` where the server has its own."""
    if "template" in options:
        return ChatTemplate(JinjaTemplate(_file(options, folder).read_text(encoding="utf-8")))
    if "tokenizer" not in options:
        return None
    from curate.system.package_data import require_extra

    require_extra("local", "'tokenizer'", "transformers")
    from transformers import AutoTokenizer

    named = options["tokenizer"]
    where = folder / named
    if where.is_dir():
        check_template_files(where)
    try:
        loaded: Any = AutoTokenizer.from_pretrained(
            str(where) if where.is_dir() else named, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        said = " ".join(str(error).split())[:200]
        raise RecipeError(f"'tokenizer' {named} cannot be loaded: {said}") from None
    return ChatTemplate(loaded)


def template_identity(options: Mapping[str, Any], folder: Path) -> str:
    """Return what names a model's template in its identity; nothing where it names none."""
    both = {"template", "tokenizer"} & set(options)
    if len(both) == 2:
        raise RecipeError("a model has a 'template' or a 'tokenizer', not both")
    for name in both:
        if not isinstance(options[name], str):
            raise RecipeError(f"'{name}' is {options[name]!r}; it must be a string")
    if "template" in options:
        digest = hashlib.blake2b(_file(options, folder).read_bytes(), digest_size=8).hexdigest()
        return f" template={digest}"
    return f" tokenizer={options['tokenizer']}" if "tokenizer" in options else ""


def _file(options: Mapping[str, Any], folder: Path) -> Path:
    path = folder / str(options["template"])
    if not path.is_file():
        raise RecipeError(
            f"'template' names '{options['template']}', and there is no such file; write the "
            "path of a Jinja chat template, or name a 'tokenizer'"
        )
    check_template_file(path)
    return path
