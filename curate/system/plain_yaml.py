"""The one reader of YAML: plain data only, every value with its line, no key twice.

The rules are those of `yaml.safe_load` with two exceptions that spare surprises: keys are always
text (YAML 1.1 reads the key `on` as true), and dates stay text. Positions are kept beside the data,
not inside it, so that the rest of the package sees ordinary lists and dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from curate.errors import RecipeError

Path_ = tuple[str | int, ...]
# Far beyond any recipe, and the description of a run over 50,000 files.
MOST_CHARACTERS = 16 << 20
# Aliases may repeat a part of the text; beyond this many values they are an attack, not a recipe.
MOST_REPEATED = 100_000
MOST_DEPTH = 100
# Texts that are read again where they are wrong, for a better message.
_SHORT = 100_000
_LONGEST_NUMBER = 4300
_PLAIN = "only plain data is"
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

    def below(self, name: str) -> Document:
        """Return what stands under a key, as a document of the same file."""
        lines = {path[1:]: line for path, line in self.lines.items() if path[:1] == (name,)}
        return Document(self.data[name], self.file, lines)

    def error(self, path: Path_, message: str, *, step: str | None = None) -> RecipeError:
        """Return an error about the value at `path`."""
        return RecipeError(message, file=self.file, line=self.line(path), step=step)


def read_text(source: str | Path) -> tuple[str, str | None]:
    """Return the YAML text of `source`, a path or the text itself, and the name of its file.

    Raises:
        RecipeError: the file is not there, or is not text.
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


def load(text: str, file: str | None = None) -> Any:
    """Return the data that a YAML text holds; `parse` says what is refused."""
    return parse(text, file).data


def parse(
    text: str,
    file: str | None = None,
    *,
    first_line: int = 1,
    mapping_tags: Collection[str] = (),
) -> Document:
    """Return the document that `text` holds, in time and memory that its length bounds.

    Args:
        text: the YAML text.
        file: what errors call it.
        first_line: the number of the text's first line in its file.
        mapping_tags: tags of one's own that stand before mappings, and say nothing else.

    Raises:
        RecipeError: `text` is not YAML, holds a key twice, or asks for more than plain data.
    """
    # Errors always name a place: a recipe given as text is called what it is.
    name = file or "<recipe>"
    text = text.removeprefix("\ufeff")
    if len(text) > MOST_CHARACTERS:
        said = f"holds {len(text):,} characters; YAML may have {MOST_CHARACTERS:,}"
        raise RecipeError(said, file=name, line=first_line)
    odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
    if odd is not None:
        raise RecipeError(
            f"holds the character U+{ord(odd.group()):04X}, which YAML does not allow; write it "
            'as an escape in double quotes ("\\u....")',
            file=name,
            line=text.count("\n", 0, odd.start()) + first_line,
        )
    # libyaml is many times as fast; the other parser knows better words for what is wrong.
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return _Builder(fast, name, first_line, mapping_tags).document(text)
    except yaml.YAMLError as error:
        wrong = error
    if len(text) <= _SHORT:
        try:
            return _Builder(yaml.SafeLoader, name, first_line, mapping_tags).document(text)
        except yaml.YAMLError as error:
            wrong = error
    mark = getattr(wrong, "problem_mark", None) or getattr(wrong, "context_mark", None)
    parts = (getattr(wrong, "context", None), getattr(wrong, "problem", str(wrong)))
    message = " ".join(part for part in parts if part)
    if "'\\t'" in message:
        message += " (YAML is indented with blanks, not with tabs)"
    raise RecipeError(
        f"not valid YAML: {message}", file=name, line=mark.line + first_line if mark else first_line
    ) from wrong


class _Open:
    """A list or mapping whose end has not come yet."""

    def __init__(self, value: Any, path: Path_, anchor: str | None, before: int) -> None:
        self.value, self.path, self.anchor, self.before = value, path, anchor, before
        # Of a mapping: the key whose value comes next, the lines of all keys, and what `<<` names.
        self.key: str | None = None
        self.keys: dict[str, int] = {}
        self.merged: list[tuple[Any, int]] = []


class _Builder:
    """Turn YAML's events into data, noting lines; nothing here calls itself, however deep it is.

    An alias is the value that it names, and counts as all that this holds: a few lines of them can
    mean more values than any memory has.
    """

    def __init__(
        self, loader: type[Any], file: str, first_line: int, mapping_tags: Collection[str]
    ) -> None:
        self.class_, self.file, self.first_line = loader, file, first_line
        self.mapping_tags = mapping_tags
        self.lines: dict[Path_, int] = {}
        self.open: list[_Open] = []
        # By anchor: a value and how many it holds; `None` while it is not yet complete.
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        # Values of the text, and those that only aliases repeat.
        self.count = self.repeated = 0
        self.data: Any = None

    def document(self, text: str) -> Document:
        """Return the only document of a text."""
        self.loader = self.class_(text)
        documents = 0
        try:
            while self.loader.check_event():
                event = self.loader.get_event()
                documents += isinstance(event, yaml.DocumentStartEvent)
                if documents > 1:
                    raise self._error(event, "must be a single document, and '---' begins another")
                self._take(event)
        finally:
            self.loader.dispose()
        return Document(self.data, self.file, self.lines or {(): self.first_line})

    def _take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.CollectionEndEvent):
            self._close(event)
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise self._error(event, f"undefined alias '{event.anchor}'")
            known = self.anchors[event.anchor]
            if known is None:
                raise self._error(event, f"'{event.anchor}' contains itself")
            self.repeated += known[1]
            if self.repeated > MOST_REPEATED:
                raise self._error(
                    event,
                    f"its aliases repeat themselves too often: more than {MOST_REPEATED:,} values",
                )
            self._place(event, known[0])
        elif isinstance(event, yaml.ScalarEvent):
            top = self.open[-1] if self.open else None
            if top is not None and isinstance(top.value, dict) and top.key is None:
                self._name(top, event)
                return
            self.count += 1
            value = self._scalar(event)
            self._place(event, value)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._begin(event)

    def _begin(self, event: yaml.CollectionStartEvent) -> None:
        is_map = isinstance(event, yaml.MappingStartEvent)
        usual = f"tag:yaml.org,2002:{'map' if is_map else 'seq'}"
        if event.tag not in (None, "!", usual) and not (is_map and event.tag in self.mapping_tags):
            raise self._error(event, f"the tag '{event.tag}' is not allowed: {_PLAIN}")
        if len(self.open) >= MOST_DEPTH:
            raise self._error(event, f"is nested too deeply: more than {MOST_DEPTH} levels")
        self.count += 1
        value: Any = {} if is_map else []
        path = self._place(event, value)
        self.open.append(_Open(value, path, event.anchor, self.count + self.repeated))
        if event.anchor:
            self.anchors[event.anchor] = None

    def _place(self, event: yaml.Event, value: Any) -> Path_:
        """Put a value where it belongs; return its path."""
        line = self._line(event)
        if not self.open:
            self.data = value
            self.lines[()] = line
            return ()
        top = self.open[-1]
        if isinstance(top.value, list):
            top.value.append(value)
            path = (*top.path, len(top.value) - 1)
            self.lines[path] = line
            return path
        if top.key is None:
            raise self._error(event, "a key must be a name, found a list, a mapping or an alias")
        path = (*top.path, top.key)
        if top.key == _MERGE:
            top.merged.append((value, line))
        else:
            top.value[top.key] = value
        top.key = None
        return path

    def _name(self, top: _Open, event: yaml.ScalarEvent) -> None:
        """Take the key of the next value."""
        if self._tag(event) == _MERGE:
            top.key = _MERGE
            return
        line = self._line(event)
        if event.value in top.keys:
            first = top.keys[event.value]
            said = f"the key '{event.value}' is there twice (first in line {first})"
            raise self._error(event, said)
        top.keys[event.value] = line
        top.key = event.value
        if event.anchor:
            self.anchors[event.anchor] = (event.value, 1)
        # A message about a field points at its name, also where the value is below it.
        self.lines[(*top.path, event.value)] = line

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        top = self.open.pop()
        for source, line in top.merged:
            # Earlier mappings win, as in YAML 1.1.
            for one in source if isinstance(source, list) else [source]:
                if not isinstance(one, dict):
                    said = "'<<' takes a mapping or a list of mappings"
                    raise RecipeError(said, file=self.file, line=line)
                for key, value in one.items():
                    top.value.setdefault(key, value)
        if top.anchor:
            size = self.count + self.repeated - top.before + 1
            self.anchors[top.anchor] = (top.value, size)

    def _tag(self, event: yaml.ScalarEvent) -> str:
        if event.tag in (None, "!"):
            return str(self.loader.resolve(yaml.ScalarNode, event.value, event.implicit))
        return str(event.tag)

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        tag = self._tag(event)
        if tag in _TEXTS:
            return event.value
        if tag not in _SCALARS:
            raise self._error(event, f"the tag '{tag}' is not allowed: {_PLAIN}")
        shown = event.value if len(event.value) <= 40 else f"{event.value[:40]}..."
        try:
            if len(event.value) > _LONGEST_NUMBER:
                raise ValueError(f"a number of {len(event.value):,} characters")
            value = self.loader.construct_object(yaml.ScalarNode(tag, event.value))
            # Python writes no whole number of more digits, so that no file could hold it.
            str(value)
        except (ValueError, LookupError) as error:
            # PyYAML looks a truth value up, and begins to read a number without a figure.
            wanted = tag.rpartition(":")[2]
            why = error if isinstance(error, ValueError) else f"it is not a valid {wanted}"
            raise self._error(event, f"'{shown}' cannot be read: {why}") from error
        return value

    def _line(self, event: yaml.Event) -> int:
        mark = event.start_mark
        return (mark.line if mark else 0) + self.first_line

    def _error(self, event: yaml.Event, message: str) -> RecipeError:
        return RecipeError(message, file=self.file, line=self._line(event))


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
