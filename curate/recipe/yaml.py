"""YAML as recipes use it: plain data only, every value with its line, no key twice.

The rules are those of `yaml.safe_load` with two exceptions that spare surprises: keys are always
text (YAML 1.1 reads the key `on` as true), and dates stay text. Positions are kept beside the data,
not inside it, so that the rest of the package sees ordinary lists and dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate.errors import RecipeError

Path_ = tuple[str | int, ...]
# Aliases may repeat a part of the text; beyond this many values they are an attack, not a recipe.
MOST_VALUES = 100_000
_MERGE = "tag:yaml.org,2002:merge"
_TEXTS = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:timestamp")
_SCALARS = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float"))


@dataclass(frozen=True)
class Document:
    """What a YAML text holds, and the line of every value by its path in the data."""

    data: Any
    file: str | None = None
    lines: Mapping[Path_, int] = field(default_factory=dict)

    def line(self, path: Path_) -> int | None:
        """Return the line of the value at `path`, or of the closest value around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path)

    def error(self, path: Path_, message: str, *, step: str | None = None) -> RecipeError:
        """Return an error about the value at `path`."""
        return RecipeError(message, file=self.file, line=self.line(path), step=step)


def read_text(source: str | Path) -> tuple[str, str | None]:
    """Return the YAML text of `source`, a path or the text itself, and the name of its file.

    Raises:
        RecipeError: the file is not there, or is no text.
    """
    is_path = isinstance(source, Path) or (
        "\n" not in source and (source.endswith((".yaml", ".yml")) or ":" not in source)
    )
    if not is_path:
        return str(source), None
    path = Path(source)
    try:
        return path.read_text(encoding="utf-8-sig"), str(path)
    except UnicodeDecodeError as error:
        raise RecipeError(f"is not UTF-8 text: {error}", file=str(path)) from error
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", file=str(path)) from error


def parse(text: str, file: str | None = None) -> Document:
    """Return the document that `text` holds.

    Raises:
        RecipeError: `text` is no YAML, holds a key twice, or asks for more than plain data.
    """
    # Errors always name a place: a recipe given as text is called what it is.
    name = file or "<recipe>"
    text = text.removeprefix("\ufeff")
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd is not None:
        raise RecipeError(
            f"holds the character U+{ord(odd.group()):04X}, which YAML does not allow; write it "
            'as an escape in double quotes ("\\u....")',
            file=name,
            line=text.count("\n", 0, odd.start()) + 1,
        )
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return Document(None, name, {(): 1})
        builder = _Builder(loader, name)
        return Document(builder.build(node, ()), name, builder.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in message:
            message += " (YAML is indented with blanks, not with tabs)"
        raise RecipeError(
            f"not valid YAML: {message}", file=name, line=mark.line + 1 if mark else 1
        ) from error
    except RecursionError as error:
        raise RecipeError("is nested too deeply", file=name, line=1) from error
    finally:
        loader.dispose()


class _Builder:
    """Turn nodes into data, noting lines."""

    def __init__(self, loader: yaml.SafeLoader, file: str) -> None:
        self.loader, self.file = loader, file
        self.lines: dict[Path_, int] = {}

    def build(self, node: yaml.Node, path: Path_) -> Any:
        """Return the data of `node`, which lies at `path`."""
        if len(self.lines) >= MOST_VALUES:
            raise self._error(node, "its aliases repeat themselves too often")
        self.lines[path] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            if node.tag in _TEXTS:
                return node.value
            if node.tag in _SCALARS:
                try:
                    return self.loader.construct_object(node)
                except ValueError as error:
                    raise self._error(node, f"'{node.value}' cannot be read: {error}") from error
            raise self._error(node, f"the tag '{node.tag}' is not allowed: a recipe is plain data")
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            out: dict[str, Any] = {}
            first: dict[str, int] = {}
            for key, value in self._pairs(node):
                if key.value in first:
                    raise self._error(
                        key,
                        f"the key '{key.value}' is there twice (first in line {first[key.value]})",
                    )
                first[key.value] = key.start_mark.line + 1
                out[key.value] = self.build(value, (*path, key.value))
                # A message about a field should point at its name, also when the value is below it.
                self.lines[(*path, key.value)] = key.start_mark.line + 1
            for key, value in self._merged(node):
                if key.value not in out:
                    out[key.value] = self.build(value, (*path, key.value))
            return out
        raise self._error(node, f"the tag '{node.tag}' is not allowed: a recipe is plain data")

    def _pairs(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self._error(key, "a key must be a name, found a list or a mapping")
            if key.tag != _MERGE:
                yield key, value

    def _merged(self, node: yaml.MappingNode) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """Yield what `<<` brings in; earlier mappings win, as in YAML 1.1."""
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(source, yaml.MappingNode) or source is node:
                    raise self._error(value, "'<<' takes a mapping or a list of mappings")
                yield from self._pairs(source)
                yield from self._merged(source)

    def _error(self, node: yaml.Node, message: str) -> RecipeError:
        return RecipeError(message, file=self.file, line=node.start_mark.line + 1)


class _Dumper(yaml.SafeDumper):
    """Write exotic line breaks as escapes: YAML would read them back as ordinary ones."""


_EXOTIC = re.compile("[\x85\u2028\u2029\ufeff]")
_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if _EXOTIC.search(text) else None
    ),
)


def dump(data: Any) -> str:
    """Return plain data as YAML, in the order given."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    return text
