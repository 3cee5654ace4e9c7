"""Templates of prompts in a sandbox that bounds their time and memory.

jinja's own sandbox keeps a template from reaching out of its values, not from doubling a text
thirty times. Here every operation that can multiply is checked before it is done; loops, and the
characters that filters, methods and operators go through, are counted together; and what could
recurse or load other files is refused when the template is read.

Prompts are strict about white space and helpers. Templates over a dataset's columns are written for
PromptSource, so they get what its environment has: jinja's own white space, `zip`, `range`,
`choice`, and texts that join others.
"""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextvars import ContextVar
from statistics import multimode
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateSyntaxError, meta, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from curate.prompts.anything import Anything

# Far above what a model reads; a rendered prompt beyond it is a mistake or an attack.
MOST_CHARACTERS = 10_000_000
# What all filters, methods and operators of one rendering may go through, in characters. A value
# in a list takes as long as a hundred; a title's letters, and words to be counted, as long as ten.
MOST_WORK = 50_000_000
_VALUE = 100
# What a part of a template takes each time that its loop or macro goes round, and a text written.
_NODE, _TEXT = 5, 10
_SLOW = {"title": 10, "wordcount": 10, "striptags": 10}
# Beyond these no template is read: its parser needs seconds for a million characters.
MOST_SOURCE = 1_000_000
MOST_NODES = 20_000
# Digits of a whole number, which Python writes no longer, and their bits.
_MOST_BITS = 14_284
# Filters that look at the things in a list, but not into them.
_SHALLOW = (
    "count", "d", "default", "first", "items", "last", "length", "list", "map", "reject",
    "rejectattr", "reverse", "select", "selectattr", "choice", "random", "place", "counted",
    "round",
)  # fmt: skip
_AT_ONCE = ("count", "d", "default", "first", "last", "length", "choice", "random", "place")
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
REFUSED = (nodes.Block, nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)


class TooMuch(SecurityError):
    """A template that asks for more text, rounds or work than a prompt may take."""


# The work that the rendering under way has left; `None` where there is none.
_work: ContextVar[list[int] | None] = ContextVar("work", default=None)


def spend(value: Any, times: int = 1) -> Any:
    """Return `value` once its size was taken from the work that the rendering has left.

    A list counts what it holds, again wherever that is repeated: twenty lists that each hold the
    one before twice are a million texts when they are written.
    """
    left = _work.get()
    if left is None:
        return value
    if isinstance(value, str | bytes):
        _take(len(value) * times)
        return value
    waiting = [value]
    while waiting:
        one = waiting.pop()
        left[0] -= _VALUE
        if isinstance(one, str | bytes):
            left[0] -= len(one) * times
        elif isinstance(one, Mapping):
            waiting += (*one.keys(), *one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            waiting += one
        if left[0] < len(waiting) * _VALUE:
            raise TooMuch(f"it goes through more than {MOST_WORK:,} characters")
    return value


def compiled(source: str, *, of_columns: bool = False) -> Template:
    """Return `source` as a template; `rendered` fills it in.

    With `of_columns` it is a dataset's template: its `|||` become `SEPARATED`, those of values stay
    what they are.

    Raises:
        TemplateSyntaxError: it is not a template, or holds what a prompt may not.
    """
    return _compiled(source, of_columns)


def variables_of(source: str, *, of_columns: bool = False) -> set[str]:
    """Return the names that `source` takes from its values."""
    environment = _environment(of_columns)
    compiled(source, of_columns=of_columns)
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
    begun = _work.set([MOST_WORK])
    try:
        for part in template.generate({**values, _COUNT: [0], _RANDOM: random.Random(seed)}):
            size += len(part)
            check_size(size)
            parts.append(part)
    finally:
        _work.reset(begun)
    return "".join(parts)


def never_renders(source: str, names: Iterable[str], *, of_columns: bool = False) -> str | None:
    """Return why no values make a text of `source`, as far as three tries tell; `None` if some may.

    What fails alike with texts, a mapping and a value that takes any operation is not due to the
    values, unless the last one had to make up a text, a number or an order before.
    """
    said = []
    anything = Anything()
    stand_ins: tuple[Any, ...] = ("text", {}, anything)
    for stand_in in stand_ins:
        values = dict.fromkeys(names, stand_in)
        try:
            rendered(compiled(source, of_columns=of_columns), values)
            return None
        except TemplateSyntaxError:
            raise
        except TooMuch as error:
            return str(error)
        except Exception as error:  # which ones, depends on the template
            said.append(f"{type(error).__name__}: {error}")
    return said[0] if len(set(said)) == 1 and not anything.made_up else None


@functools.lru_cache(maxsize=512)
def _compiled(source: str, of_columns: bool) -> Template:
    def check(tree: nodes.Template) -> None:
        for refused in tree.find_all((*REFUSED, nodes.Macro, nodes.CallBlock, nodes.FilterBlock)):
            name = type(refused).__name__.lower()
            raise TemplateSyntaxError(f"'{name}' is not allowed in a prompt", refused.lineno)
        replace_nodes(tree, _of_columns if of_columns else checked)

    return compiled_in(_environment(of_columns), source, check)


def compiled_in(
    environment: Bounded, source: str, check: Callable[[nodes.Template], None]
) -> Template:
    """Return `source` as a template of an environment, once `check` has seen and changed its parts.

    Raises:
        TemplateSyntaxError: it is not a template, or too large or too deep to be read.
    """
    if len(source) > MOST_SOURCE:
        raise TemplateSyntaxError(f"it has more than {MOST_SOURCE:,} characters", 1)
    try:
        tree = environment.parse(source)
        if next(itertools.islice(tree.find_all(nodes.Node), MOST_NODES, None), None) is not None:
            raise TemplateSyntaxError(f"it has more than {MOST_NODES:,} parts", 1)
        _count_rounds(tree)
        check(tree)
        return environment.from_string(tree)
    except (RecursionError, MemoryError, OverflowError) as error:
        raise TemplateSyntaxError("it is nested too deeply", 1) from error
    except SyntaxError as error:
        # Of the Python that a template becomes: blocks in blocks, or lines too far to the right.
        raise TemplateSyntaxError(f"it is nested too deeply ({error.msg})", 1) from error
    except ValueError as error:
        # A number of over 4,300 digits, which Python does not read.
        raise TemplateSyntaxError(f"a number in it cannot be read ({error})", 1) from error


def _count_rounds(tree: nodes.Template) -> None:
    """Have every round of a loop and every call of a macro counted, by what it does."""
    for loop in tree.find_all(nodes.For):
        if loop.recursive:
            raise TemplateSyntaxError("a recursive loop is not allowed", loop.lineno)
        weight = nodes.Const(_weight(loop), lineno=loop.lineno)
        loop.iter = nodes.Filter(loop.iter, "counted", [weight], [], None, None, lineno=loop.lineno)
    kinds = (nodes.Macro, nodes.CallBlock)
    macros: list[Any] = [one for kind in kinds for one in tree.find_all(kind)]
    for macro in macros:
        line = macro.lineno
        weight = nodes.Const(_weight(macro), lineno=line)
        called = nodes.Filter(weight, "called", [], [], None, None, lineno=line)
        macro.body = [nodes.ExprStmt(called, lineno=line), *macro.body]


def _weight(node: nodes.Node) -> int:
    return _NODE * sum(1 for _ in node.find_all(nodes.Node))


def replace_nodes(node: nodes.Node, change: Callable[[nodes.Node], nodes.Node]) -> None:
    """Put what `change` makes of every node below `node` into its place, the innermost first."""
    for name, value in node.iter_fields():
        children = value if isinstance(value, list) else [value]
        for at, child in enumerate(children):
            if isinstance(child, nodes.Node):
                replace_nodes(child, change)
                children[at] = change(child)
        if not isinstance(value, list):
            setattr(node, name, children[0])


def checked(node: nodes.Node) -> nodes.Node:
    """Return a node whose work is counted, where it asks the sandbox nothing by itself."""
    line = node.lineno
    # `a ~ b` joins texts; the filter `join` checks its size.
    if isinstance(node, nodes.Concat):
        parts = nodes.List(node.nodes, lineno=line)
        return nodes.Filter(parts, "join", [], [], None, None, lineno=line)
    # Comparisons, tests, keys and parts of a text go through what they are given.
    if isinstance(node, nodes.Compare):
        node.expr = _spent(node.expr)
        for operand in node.ops:
            operand.expr = _spent(operand.expr)
    elif isinstance(node, nodes.Test):
        node.node, node.args = _spent(node.node), [_spent(one) for one in node.args]
    elif isinstance(node, nodes.Pair):
        node.key = _spent(node.key)
    elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        node.node = _spent(node.node)
    elif isinstance(node, nodes.Getitem) and not isinstance(node.arg, nodes.Const):
        node.arg = _spent(node.arg)
    return node


def _spent(node: nodes.Expr) -> nodes.Expr:
    if isinstance(node, nodes.Const):
        return node
    return nodes.Filter(node, "spent", [], [], None, None, lineno=node.lineno)


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
    return checked(node)


class Bounded(ImmutableSandboxedEnvironment):
    """The sandbox, with a look at the size of every result before it is made."""

    intercepted_binops = frozenset(("+", "*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        """Take jinja's own options; no filters but those whose work is counted."""
        super().__init__(**options)
        self.filters = {}
        add_filters(self, {name: FILTERS[name] for name in _FILTERS})
        add_filters(self, {"counted": _counted, "join": _join, "replace": _replace})
        self.filters |= {"spent": spend, "called": _take}

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join the pieces of a macro or of a `set` block, unless they are too much."""
        pieces = list(parts)
        size = sum(map(len, pieces))
        check_size(size)
        _take(size)
        return "".join(pieces)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Do an operation whose result is not too large."""
        if operator == "%" and isinstance(left, str | bytes):
            raise SecurityError("texts are not formatted with % in a prompt")
        sequences = [one for one in (left, right) if isinstance(one, str | list | tuple)]
        numbers = [abs(one) for one in (left, right) if isinstance(one, int | float)]
        if operator == "+":
            check_size(sum(map(len, sequences)))
        if operator == "*" and sequences and numbers:
            check_size(len(sequences[0]) * numbers[0])
        if isinstance(left, int) and isinstance(right, int):
            bits = {"*": left.bit_length() + right.bit_length(), "**": left.bit_length() * right}
            if bits.get(operator, 0) > _MOST_BITS:
                raise TooMuch("it makes a number of more than 4,300 digits")
        found = super().call_binop(context, operator, left, right)
        if isinstance(found, str | list | tuple):
            _take(len(found))
        return found

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method; what it goes through, and what it makes, is counted."""
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | bytes):
            for one in (owner, *args):
                spend(one, _SLOW.get(getattr(obj, "__name__", ""), 1))
        found = super().call(context, obj, *args, **kwargs)
        if isinstance(found, str | list | tuple):
            _take(len(found))
        return found

    def wrap_str_format(self, value: Any) -> Any:
        """Leave `format` to `is_safe_attribute`, which refuses it: it pads to any width."""
        return None

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Tell whether a template may use this: no method of a text that makes it longer."""
        if isinstance(obj, str | bytes) and callable(value) and attr not in _METHODS:
            return False
        return super().is_safe_attribute(obj, attr, value)


@functools.cache
def _environment(of_columns: bool = False) -> Bounded:
    environment = Bounded(
        undefined=StrictUndefined,
        trim_blocks=not of_columns,
        lstrip_blocks=not of_columns,
        optimized=False,
        finalize=written,
    )
    # Without `range`, `lipsum` and the others a template can neither loop for long nor hold state.
    environment.globals.clear()
    own: dict[str, Callable[..., Any]] = {
        "indent": _indent,
        "tojson": lambda value: json.dumps(value, ensure_ascii=False, default=str),
    }
    if of_columns:
        environment.globals.update(zip=zip, range=bounded_range)
        own |= {"choice": _choice, "random": _choice, "most_frequent": multimode}
        own |= {"highlight": str, "place": _place, "abs": abs}
    add_filters(environment, own)
    return environment


def add_filters(environment: Bounded, filters: Mapping[str, Callable[..., Any]]) -> None:
    """Give an environment filters whose work is counted."""
    for name, made in filters.items():
        environment.filters[name] = _counted_filter(name, made)


def _counted_filter(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter whose work is counted: what it is given, and the text that it makes."""
    takes_context, times = hasattr(made, "jinja_pass_arg"), _SLOW.get(name, 1)

    def counted(*given: Any, **named: Any) -> Any:
        value, *others = given[1:] if takes_context else given
        if name not in _SHALLOW:
            for one in (value, *others, *named.values()):
                spend(one, times)
        elif isinstance(value, Sized) and name not in _AT_ONCE:
            _take(len(value))
        found = made(*given, **named)
        if isinstance(found, str):
            check_size(len(found))
            _take(len(found))
        return found

    if takes_context:
        counted.jinja_pass_arg = made.jinja_pass_arg  # type: ignore[attr-defined]
    return counted


def _take(work: int) -> None:
    left = _work.get()
    if left is not None:
        left[0] -= work
        if left[0] < 0:
            raise TooMuch(f"it goes through more than {MOST_WORK:,} characters")


@pass_context
def written(context: Context, value: Any) -> Any:
    """Return what is written into the text, once it is known that its text has an end."""
    if isinstance(value, Anything):
        return "text"
    if isinstance(value, str):
        _take(_TEXT + len(value))
        return value
    return spend(value)


def bounded_range(*bounds: int) -> range:
    """Return a range of no more numbers than loops may take rounds."""
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
def _counted(context: Context, items: Iterable[Any], weight: int) -> Iterator[Any]:
    rounds = context.parent[_COUNT]
    for item in items:
        rounds[0] += 1
        _take(weight)
        if rounds[0] > MOST_ROUNDS:
            raise TooMuch(f"its loops take more than {MOST_ROUNDS:,} rounds")
        yield item


def _join(items: Iterable[Any], between: str = "", attribute: str | None = None) -> str:
    found = items if attribute is None else [one[attribute] for one in items]
    texts, size = [], 0
    for one in found:
        texts.append(str(one))
        size += len(texts[-1]) + len(between)
        check_size(size)
    return between.join(texts)


def _replace(value: Any, old: str, new: str, count: int | None = -1) -> str:
    text = str(value)
    check_size(len(text) + text.count(old) * len(new))
    return text.replace(old, new, -1 if count is None else count)


def _indent(text: Any, width: int = 4, first: bool = False) -> str:
    between = "\n" + " " * min(width, 80)
    return (between[1:] if first else "") + _replace(text, "\n", between)


def check_size(size: float) -> None:
    """Raise `TooMuch` for a text of so many characters, where that is more than allowed."""
    if size > MOST_CHARACTERS:
        raise TooMuch(f"it makes more than {MOST_CHARACTERS:,} characters")
