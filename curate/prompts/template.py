"""Templates of prompts in a sandbox that bounds their time and memory.

jinja's own sandbox keeps a template from reaching out of its values, not from doubling a text
thirty times. Here every operation that can multiply is checked before it is done, loops are counted
together, and what could recurse or load other files is refused when the template is read.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

# Far above what a model reads; a rendered prompt beyond it is a mistake or an attack.
MOST_CHARACTERS = 10_000_000
# Rounds of all loops of one rendering together: two nested loops over 300 exemplars are 90,000.
MOST_ROUNDS = 200_000
_COUNT = "curate rounds"
_FILTERS = (
    "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float", "groupby",
    "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr",
    "reverse", "round", "safe", "select", "selectattr", "sort", "string", "striptags", "title",
    "trim", "truncate", "unique", "upper", "wordcount",
)  # fmt: skip
# Methods of texts whose result is no longer than the text.
_METHODS = (
    "capitalize", "casefold", "count", "endswith", "find", "isalnum", "isalpha", "isdecimal",
    "isdigit", "islower", "isnumeric", "isspace", "istitle", "isupper", "lower", "lstrip",
    "partition", "removeprefix", "removesuffix", "rfind", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "upper",
)  # fmt: skip
_REFUSED = (
    nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport,
    nodes.Extends, nodes.FilterBlock,
)  # fmt: skip


class TooMuch(SecurityError):
    """A template that asks for more text, or more rounds, than a prompt may have."""


def compiled(source: str) -> Template:
    """Return `source` as a template; `rendered` fills it in.

    Raises:
        TemplateSyntaxError: it is no template, or holds what a prompt may not.
    """
    return _compiled(source)


def variables_of(source: str) -> set[str]:
    """Return the names that `source` takes from its values."""
    return meta.find_undeclared_variables(_environment().parse(source))


def rendered(template: Template, values: Mapping[str, Any]) -> str:
    """Return the text of `template` with `values` filled in.

    Raises:
        TooMuch: it would be longer, or take more rounds, than is allowed.
    """
    parts, size = [], 0
    for part in template.generate({**values, _COUNT: [0]}):
        size += len(part)
        _check_size(size)
        parts.append(part)
    return "".join(parts)


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> Template:
    environment = _environment()
    tree = environment.parse(source)
    for refused in tree.find_all(_REFUSED):
        name = type(refused).__name__.lower()
        raise TemplateSyntaxError(f"'{name}' is not allowed in a prompt", refused.lineno)
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateSyntaxError("a recursive loop is not allowed in a prompt", loop.lineno)
        loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
    # `a ~ b` joins texts without asking the sandbox; the filter `join` checks its size.
    _checked_concats(tree)
    return environment.from_string(tree)


def _checked_concats(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for at, child in enumerate(children):
            if not isinstance(child, nodes.Node):
                continue
            _checked_concats(child)
            if isinstance(child, nodes.Concat):
                parts = nodes.List(child.nodes, lineno=child.lineno)
                child = nodes.Filter(parts, "join", [], [], None, None, lineno=child.lineno)
                children[at] = child
        if not isinstance(value, list):
            setattr(node, name, children[0])


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a look at the size of every result before it is made."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do an operation whose result is not too large."""
        if operator == "%" and isinstance(left, str | bytes):
            raise TooMuch("texts are not formatted with % in a prompt")
        sequences = [one for one in (left, right) if isinstance(one, str | list | tuple)]
        numbers = [abs(one) for one in (left, right) if isinstance(one, int | float)]
        if operator == "+":
            _check_size(sum(map(len, sequences)))
        if operator == "*" and sequences and numbers:
            _check_size(len(sequences[0]) * numbers[0])
        if operator == "**" and isinstance(left, int) and isinstance(right, int):
            _check_size(left.bit_length() * right * 1000)
        return super().call_binop(context, operator, left, right)

    def wrap_str_format(self, value: Any) -> Any:
        """Leave `format` to `is_safe_attribute`, which refuses it: it pads to any width."""
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may use this: no method of a text that makes it longer."""
        if isinstance(obj, str | bytes) and callable(value) and attr not in _METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


@functools.cache
def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, optimized=False
    )
    # Without `range`, `lipsum` and the others a template can neither loop for long nor hold state.
    environment.globals.clear()
    own: dict[str, Callable[..., Any]] = {
        "counted": _counted,
        "join": _join,
        "replace": _replace,
        "indent": _indent,
        "tojson": lambda value: json.dumps(value, ensure_ascii=False),
    }
    environment.filters = {**{name: FILTERS[name] for name in _FILTERS}, **own}
    return environment


@pass_context
def _counted(context: Context, items: Iterable[Any]) -> Iterator[Any]:
    rounds = context.parent[_COUNT]
    for item in items:
        rounds[0] += 1
        if rounds[0] > MOST_ROUNDS:
            raise TooMuch(f"its loops take more than {MOST_ROUNDS:,} rounds")
        yield item


def _join(items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    found = items if attribute is None else [one[attribute] for one in items]
    texts, size = [], 0
    for one in found:
        texts.append(str(one))
        size += len(texts[-1]) + len(between)
        _check_size(size)
    return between.join(texts)


def _replace(value: Any, old: str, new: str) -> str:
    text = str(value)
    _check_size(len(text) + text.count(old) * len(new))
    return text.replace(old, new)


def _indent(text: Any, width: int = 4, first: bool = False) -> str:
    between = "\n" + " " * min(width, 80)
    return (between[1:] if first else "") + _replace(text, "\n", between)


def _check_size(size: float) -> None:
    if size > MOST_CHARACTERS:
        raise TooMuch(f"it makes more than {MOST_CHARACTERS:,} characters")
