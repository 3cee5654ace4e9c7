"""Templates of prompts in a sandbox that bounds their time and memory.

jinja's own sandbox keeps a template from reaching out of its values, not from doubling a text
thirty times. Here every operation that can multiply is checked before it is done, loops are counted
together, and what could recurse or load other files is refused when the template is read.

Prompts are strict about white space and helpers. Templates over a dataset's columns are written for
PromptSource, so they get what its environment has: jinja's own white space, `zip`, `range`,
`choice`, and texts that join others.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import multimode
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
# What separates the parts of a dataset's template, and what stands for it in the rendered text:
# half of a surrogate pair, which no text of a row can hold.
SEPARATOR = "|||"
SEPARATED = "\udfff"
_COUNT = "curate rounds"
_RANDOM = "curate random"
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
# Methods of texts that PromptSource's templates call and that the sandbox has as bounded filters.
_AS_FILTERS = ("join", "replace")
_REFUSED = (
    nodes.Macro, nodes.CallBlock, nodes.Block, nodes.Include, nodes.Import, nodes.FromImport,
    nodes.Extends, nodes.FilterBlock,
)  # fmt: skip


class TooMuch(SecurityError):
    """A template that asks for more text, or more rounds, than a prompt may have."""


def compiled(source: str, *, of_columns: bool = False) -> Template:
    """Return `source` as a template; `rendered` fills it in.

    With `of_columns` it is a dataset's template: its `|||` become `SEPARATED`, those of values stay
    what they are.

    Raises:
        TemplateSyntaxError: it is no template, or holds what a prompt may not.
    """
    return _compiled(source, of_columns)


def variables_of(source: str, *, of_columns: bool = False) -> set[str]:
    """Return the names that `source` takes from its values."""
    environment = _environment(of_columns)
    return meta.find_undeclared_variables(environment.parse(source)) - environment.globals.keys()


def separators(source: str) -> tuple[int, int]:
    """Return how many `|||` a dataset's template always renders, and how many it holds at all."""
    tree = _environment(True).parse(source)

    def count(node: nodes.Node) -> int:
        held = node.find_all((nodes.TemplateData, nodes.Const))
        texts = (one.as_const() for one in held)
        return sum(text.count(SEPARATOR) for text in texts if isinstance(text, str))

    outputs = (node for node in tree.body if isinstance(node, nodes.Output))
    plain = (one for node in outputs for one in node.nodes if isinstance(one, nodes.TemplateData))
    return sum(one.data.count(SEPARATOR) for one in plain), count(tree)


def rendered(template: Template, values: Mapping[str, Any], seed: int = 0) -> str:
    """Return the text of `template` with `values` filled in; `choice` draws from `seed` on.

    Raises:
        TooMuch: it would be longer, or take more rounds, than is allowed.
    """
    parts, size = [], 0
    for part in template.generate({**values, _COUNT: [0], _RANDOM: random.Random(seed)}):
        size += len(part)
        _check_size(size)
        parts.append(part)
    return "".join(parts)


@functools.lru_cache(maxsize=512)
def _compiled(source: str, of_columns: bool) -> Template:
    environment = _environment(of_columns)
    tree = environment.parse(source)
    for refused in tree.find_all(_REFUSED):
        name = type(refused).__name__.lower()
        raise TemplateSyntaxError(f"'{name}' is not allowed in a prompt", refused.lineno)
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateSyntaxError("a recursive loop is not allowed in a prompt", loop.lineno)
        loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
    # `a ~ b` joins texts without asking the sandbox; the filter `join` checks its size.
    _replace_nodes(tree, _of_columns if of_columns else _checked_concat)
    return environment.from_string(tree)


def _replace_nodes(node: nodes.Node, change: Callable[[nodes.Node], nodes.Node]) -> None:
    """Put what `change` makes of every node below `node` into its place, the innermost first."""
    for name, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for at, child in enumerate(children):
            if isinstance(child, nodes.Node):
                _replace_nodes(child, change)
                children[at] = change(child)
        if not isinstance(value, list):
            setattr(node, name, children[0])


def _checked_concat(node: nodes.Node) -> nodes.Node:
    if not isinstance(node, nodes.Concat):
        return node
    parts = nodes.List(node.nodes, lineno=node.lineno)
    return nodes.Filter(parts, "join", [], [], None, None, lineno=node.lineno)


def _of_columns(node: nodes.Node) -> nodes.Node:
    """Return a node of a dataset's template: separators marked, methods bounded, places checked."""
    line = node.lineno
    if isinstance(node, nodes.TemplateData):
        return nodes.TemplateData(node.data.replace(SEPARATOR, SEPARATED), lineno=line)
    if isinstance(node, nodes.Const) and isinstance(node.value, str):
        return nodes.Const(node.value.replace(SEPARATOR, SEPARATED), lineno=line)
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Getattr):
        method, value = node.node.attr, node.node.node
        if method in _AS_FILTERS and node.args and not node.kwargs:
            given = [value, *node.args[1:]] if method == "join" else node.args
            of = node.args[0] if method == "join" else value
            return nodes.Filter(of, method, given, [], None, None, lineno=line)
    # A hidden label is -1, which would silently be the last choice. A constant -1 is meant.
    if isinstance(node, nodes.Getitem) and not isinstance(
        node.arg, nodes.Const | nodes.Neg | nodes.Slice
    ):
        node.arg = nodes.Filter(node.arg, "place", [], [], None, None, lineno=line)
    return _checked_concat(node)


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
def _environment(of_columns: bool = False) -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        trim_blocks=not of_columns,
        lstrip_blocks=not of_columns,
        optimized=False,
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
    if of_columns:
        environment.globals.update(zip=zip, range=_range)
        own |= {"choice": _choice, "random": _choice, "most_frequent": multimode}
        own |= {"highlight": str, "place": _place, "abs": abs}
    environment.filters = {**{name: FILTERS[name] for name in _FILTERS}, **own}
    return environment


def _range(*bounds: int) -> range:
    found = range(*bounds)
    if len(found) > MOST_ROUNDS:
        raise TooMuch(f"a range of {len(found):,} has more than {MOST_ROUNDS:,} numbers")
    return found


@pass_context
def _choice(context: Context, items: Sequence[Any]) -> Any:
    """Draw one of `items`, as PromptSource's helper does, from the row's own seed."""
    return context.parent[_RANDOM].choice(items)


def _place(index: Any) -> Any:
    if isinstance(index, int) and index < 0:
        raise ValueError(f"the place {index} is negative; a hidden label names no choice")
    return index


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
