"""Chat templates of model folders in the sandbox of prompts, which bounds their time and memory.

A template comes with a model and is run as soon as the model is asked. It reads as transformers
reads it, byte for byte, but for what no template of a published model uses: recursive loops, blocks
that are inherited, `format`, and filters that pad or link texts.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Mapping
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, TemplateSyntaxError, Undefined, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.utils import Cycler, Joiner, Namespace

from curate.prompts import sandbox

_PLAIN = ("abs", "sum")
_MOST_INDENT = 32


def chat_text(source: str, values: Mapping[str, Any]) -> str:
    """Return the text of a chat template.

    Raises:
        TemplateError: it is not a template, raises an error by itself, or asks for more than a
            prompt may.
    """
    try:
        return sandbox.rendered(_compiled(source), values)
    except (RecursionError, MemoryError, OverflowError) as error:
        raise TemplateError("it calls itself without end") from error


def check_chat_template(source: str) -> None:
    """Read a template.

    Raises:
        TemplateSyntaxError: it is not one.
    """
    _compiled(source)


@functools.lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    def check(tree: nodes.Template) -> None:
        for refused in tree.find_all(sandbox.REFUSED):
            name = type(refused).__name__.lower()
            raise TemplateSyntaxError(f"'{name}' is not allowed in a chat template", refused.lineno)
        sandbox.replace_nodes(tree, sandbox.checked)

    return sandbox.compiled_in(_environment(), source, check)


class _Generation(Extension):
    """The tag around what a model writes, which changes nothing of the text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _ChatEnvironment(sandbox.Bounded):
    """The sandbox with the methods of texts that chat templates call."""

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method or a macro; a text that it makes longer is measured before."""
        owner, name = getattr(obj, "__self__", None), getattr(obj, "__name__", "")
        if isinstance(owner, str) and name == "join" and args:
            return self.call_filter("join", args[0], [owner], context=context)
        if isinstance(owner, str) and name == "replace":
            given: dict[str, Any] = {
                key: kwargs[key] for key in ("old", "new", "count") if key in kwargs
            }
            return self.call_filter("replace", owner, args, given, context=context)
        return super().call(context, obj, *args, **kwargs)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may use this."""
        measured = isinstance(obj, str) and attr in ("join", "replace")
        return measured or super().is_safe_attribute(obj, attr, value)


@functools.cache
def _environment() -> _ChatEnvironment:
    def refuse(message: Any) -> NoReturn:
        raise TemplateError(str(message))

    environment = _ChatEnvironment(
        undefined=Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        finalize=sandbox.written,
        extensions=[_Generation, loopcontrols],
    )
    environment.globals.clear()
    environment.globals.update(
        range=sandbox.bounded_range,
        dict=dict,
        cycler=Cycler,
        joiner=Joiner,
        namespace=_PlainNamespace,
        raise_exception=refuse,
        strftime_now=lambda form: datetime.datetime.now().strftime(form),
    )
    sandbox.add_filters(environment, {name: FILTERS[name] for name in _PLAIN})
    sandbox.add_filters(environment, {"tojson": _tojson, "indent": _indent})
    return environment


class _PlainNamespace(Namespace):
    """A namespace without names that begin with an underscore, as in transformers."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, *others = args
        values = dict(*others, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise TemplateError(f"a namespace cannot hold {name!r}, which begins with an underscore")


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: Any = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    if len(str(indent)) > _MOST_INDENT or (isinstance(indent, int) and indent > _MOST_INDENT):
        raise sandbox.TooMuch(f"JSON is indented by at most {_MOST_INDENT} characters")
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> Any:
    space = width if isinstance(width, int) else len(width)
    sandbox.check_size(len(text) + (text.count("\n") + 1) * space)
    return FILTERS["indent"](text, width, first, blank)
