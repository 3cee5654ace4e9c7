"""Mutants of a module as cosmic-ray makes them, and a session that remembers how each ended.

Of its operators those are used that change what code says (comparisons, arithmetic, logic,
constants, control of the flow), each to its neighbours only: `<` to `<=` and to `>=`, not to `is`.
Annotations, blocks for type checkers and what tells numba how to compile are left alone: changed,
they do the same.
"""

from __future__ import annotations

import ast
import hashlib
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.house.places import ROOT
from tests.mutation.modules import Module

_OPERATORS = re.compile(
    r"core/(ReplaceComparisonOperator_(Eq_NotEq|NotEq_Eq|Is_IsNot|IsNot_Is|Lt_LtE|Lt_GtE|LtE_Lt|"
    r"LtE_Gt|Gt_GtE|Gt_LtE|GtE_Gt|GtE_Lt)|"
    r"ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Mul_Add|Div_Mul|FloorDiv_Mul|Mod_FloorDiv|"
    r"Pow_Mul|BitAnd_BitOr|BitOr_BitAnd|LShift_RShift|RShift_LShift)|"
    r"ReplaceUnaryOperator_(USub_UAdd|Delete_USub|Delete_Not|Delete_Invert)|"
    r"ReplaceTrueWithFalse|ReplaceFalseWithTrue|ReplaceAndWithOr|ReplaceOrWithAnd|AddNot|"
    r"ReplaceBreakWithContinue|ReplaceContinueWithBreak|NumberReplacer|ExceptionReplacer|"
    r"RemoveDecorator|ZeroIterationForLoop)"
)


class Mutant(NamedTuple):
    """A change of a module: the operator, which of its places there, and the line of that."""

    module: Module
    operator: str
    occurrence: int
    line: int

    @property
    def key(self) -> str:
        """What tells it from others of the same module."""
        return f"{self.operator.removeprefix('core/')}:{self.occurrence}"

    def __str__(self) -> str:
        return f"{self.module.file}:{self.line} {self.key}"


def mutants_of(module: Module) -> list[Mutant]:
    """Return all mutants of a module, in a fixed order."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    text = (ROOT / module.file).read_text(encoding="utf-8")
    skipped, nodes = _spans_without_meaning(text), list(ast_nodes(get_ast(text)))
    found = []
    for name in sorted(filter(_OPERATORS.fullmatch, operator_names())):
        operator = get_operator(name)()
        places = (place for node in nodes for place in operator.mutation_positions(node))
        for occurrence, (start, end) in enumerate(places):
            if not any(first <= start and end <= last for first, last in skipped):
                found.append(Mutant(module, name, occurrence, start[0]))
    return found


def mutated(mutant: Mutant) -> tuple[str, str]:
    """Return the text of a mutant's module with the change, and that as one line to read."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    before = (ROOT / mutant.module.file).read_text(encoding="utf-8")
    after = mutate_code(before, get_operator(mutant.operator)(), mutant.occurrence)
    assert after is not None, f"{mutant} changes nothing"
    lines = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next((a, b) for a, b in lines if a != b)
    return after, f"{old.strip()}  ->  {new.strip()}"


def sample(modules: Sequence[Module], count: int | None, seed: int) -> list[Mutant]:
    """Return a seeded sample of the mutants of all modules, those of one module together."""
    every = [mutant for module in modules for mutant in mutants_of(module)]
    if count is None or count >= len(every):
        return every
    chosen = sorted(random.Random(seed).sample(range(len(every)), count))
    return [every[place] for place in chosen]


class Session:
    """How the mutants of a module ended, in cosmic-ray's own file of a session.

    It belongs to one text of the module: a changed module begins another.
    """

    def __init__(self, folder: Path, module: Module) -> None:
        from cosmic_ray.work_db import WorkDB

        text = (ROOT / module.file).read_bytes()
        stem = module.file.removesuffix(".py").replace("/", ".")
        self.path = folder / f"{stem}-{hashlib.sha256(text).hexdigest()[:8]}.sqlite"
        self._module, self._db = module, WorkDB(str(self.path), WorkDB.Mode.create)
        self.results: dict[str, Any] = dict(self._db.results)

    def note(self, mutant: Mutant, change: str, failed: Sequence[str], seconds: float) -> None:
        """Write down that the tests `failed` saw the mutant, or that none did."""
        from cosmic_ray.work_item import (
            MutationSpec,
            TestOutcome,
            WorkerOutcome,
            WorkItem,
            WorkResult,
        )

        if mutant.key not in self.results:
            spec = MutationSpec(
                self._module.file, mutant.operator, mutant.occurrence, (mutant.line, 0),
                (mutant.line, 1),
            )  # fmt: skip
            self._db.add_work_item(WorkItem.single(mutant.key, spec))
        result = WorkResult(
            WorkerOutcome.NORMAL,
            f"{seconds:.1f} s {', '.join(failed)}",
            TestOutcome.KILLED if failed else TestOutcome.SURVIVED,
            change,
        )
        self._db.set_result(mutant.key, result)
        self.results[mutant.key] = result

    def survived(self, mutant: Mutant) -> bool | None:
        """Tell whether a mutant survived; `None` where it was not tried."""
        result = self.results.get(mutant.key)
        return None if result is None else not result.is_killed

    def change(self, mutant: Mutant) -> str:
        """Return what a mutant that was tried changes, as one line to read."""
        return str(self.results[mutant.key].diff)

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def _spans_without_meaning(text: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return where annotations, decorators of numba and blocks for type checkers stand."""

    def found(node: ast.AST) -> Iterator[ast.AST | None]:
        if isinstance(node, ast.AnnAssign | ast.arg):
            yield node.annotation
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.returns
            yield from (d for d in node.decorator_list if "njit" in ast.unparse(d))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield node
        # `list[int | None]()`, and aliases of types.
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) in ("list", "dict", "set"):
            yield node.slice

    spans = []
    for node in ast.walk(ast.parse(text)):
        for one in filter(None, found(node)):
            # A decorator's `@` stands before it.
            start = (one.lineno, max(0, one.col_offset - 1))
            spans.append((start, (one.end_lineno, one.end_col_offset)))
    return spans
