"""Read the imports of a package without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house.places import read_once


class Import(NamedTuple):
    """One import: who imports what, on which line, and whether only a type checker sees it."""

    importer: str
    imported: str
    line: int
    typing_only: bool
    at_top: bool


def modules(package: Path) -> dict[str, Path]:
    """Return the modules of `package` by dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@read_once
def imports(package: Path) -> list[Import]:
    """Return every import in `package`, also those inside functions, of modules of any package."""
    known = modules(package)
    return [found for name, path in known.items() for found in _imports_of(name, path, known)]


def _imports_of(name: str, path: Path, known: dict[str, Path]) -> Iterator[Import]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    package = name if path.stem == "__init__" else name.rpartition(".")[0]
    for node, typing_only, at_top in _walk(tree, False, True):
        for target in _targets(node, package, known):
            if target != name:
                yield Import(name, target, node.lineno, typing_only, at_top)


def _walk(node: ast.AST, typing_only: bool, at_top: bool) -> Iterator[tuple[ast.stmt, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, typing_only, at_top
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for inner in child.body:
                yield from _walk(ast.Module([inner], []), True, at_top)
            for inner in child.orelse:
                yield from _walk(ast.Module([inner], []), typing_only, at_top)
        else:
            inside = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from _walk(child, typing_only, at_top and not inside)


def _targets(node: ast.stmt, package: str, known: dict[str, Path]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    assert isinstance(node, ast.ImportFrom)
    base = node.module or ""
    if node.level:
        up = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*up, base] if base else up)
    # `from curate.read import jsonl` imports a module, `from curate.row import Row` a name in one.
    names = [f"{base}.{alias.name}" for alias in node.names]
    inner = [name for name in names if name in known]
    return inner + ([base] if len(inner) < len(names) else [])


def cycles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of modules that import each other (strongly connected, two or more)."""
    order: list[str] = []
    seen: set[str] = set()

    def visit(node: str, graph: dict[str, set[str]], out: list[str]) -> None:
        stack = [(node, iter(sorted(graph.get(node, ()))))]
        seen.add(node)
        while stack:
            here, rest = stack[-1]
            following = next((n for n in rest if n not in seen), None)
            if following is None:
                out.append(here)
                stack.pop()
            else:
                seen.add(following)
                stack.append((following, iter(sorted(graph.get(following, ())))))

    for node in sorted(edges):
        if node not in seen:
            visit(node, edges, order)
    back: dict[str, set[str]] = {}
    for node, targets in edges.items():
        for target in targets:
            back.setdefault(target, set()).add(node)
    seen.clear()
    groups = []
    for node in reversed(order):
        if node not in seen:
            group: list[str] = []
            visit(node, back, group)
            groups.append(sorted(group))
    return [group for group in groups if len(group) > 1]
