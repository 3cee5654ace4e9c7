"""Files of templates that a page writes: a template is added to its file, and nothing else changes.

A file is changed as text. What people wrote there by hand (comments, the order of keys, quotes)
stays as it is; the new text is read back before it replaces the old one, and has to hold the same
templates but for the one that was meant.
"""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from collections.abc import Iterator
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from curate.errors import CurateError, DiskFull, RecipeError, StoreError, UsageError
from curate.prompts import collection as collections
from curate.prompts.collection import Collection, TaskTemplate
from curate.review.local_page import Conflict
from curate.system.posix import no_room, sync, write_atomically

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_SURROGATE = re.compile("[\ud800-\udfff]")
_MOST_NAME = 200


class TemplateFile(NamedTuple):
    """A file of templates; `collection` is `None` and `error` says why where it cannot be read.

    `digest` is that of its bytes.
    """

    name: str
    digest: str
    collection: Collection | None
    error: str | None = None


class TemplateFolder:
    """The files of templates in one folder."""

    def __init__(self, path: Path) -> None:
        """Name the folder; it is made when the first template is saved."""
        self.path = path

    def files(self) -> Iterator[TemplateFile]:
        """Yield the files by name, also those that cannot be read."""
        for path in sorted(self.path.glob("*.y*ml")):
            if path.suffix in collections.SUFFIXES and path.is_file():
                yield _read(path)

    def file(self, name: Any) -> Path:
        """Return the path of a file that a page names.

        Raises:
            UsageError: the name is none, or leads out of the folder.
        """
        given = name if isinstance(name, str) else ""
        given = given if Path(given).suffix in collections.SUFFIXES else f"{given}.yaml"
        if not _FILE_NAME.fullmatch(given):
            raise UsageError(
                f"the file's name is {name!r:.100}; it takes up to 80 letters (a to z), digits, _, "
                ". and -, begins with a letter or a digit and names no folder"
            )
        path = self.path / given
        if path.is_symlink():
            raise UsageError(f"{path} is a link to another file; choose another name")
        return path

    def save(
        self,
        name: Any,
        dataset: str,
        template: TaskTemplate,
        *,
        seen: str | None,
        replace: bool = False,
    ) -> Collection:
        """Add a template to a file, or make the file with it, and return what it holds then.

        The same template twice is saved once, so that a request can be sent again.

        Args:
            name: The file's name.
            dataset: What a new file calls its dataset.
            template: The template; its id is made of its name where that is new.
            seen: The digest of the file as the page knows it, `None` where it knows none.
            replace: Put it in the place of one that has its name.

        Raises:
            UsageError: it is not a template, or the file cannot take one.
            Conflict: a file or a template of that name is there, or the file was changed meanwhile.
        """
        path = self.file(name)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                return _made(path, dataset, template)
            found = _read(path)
            if found.collection is None:
                raise UsageError(f"{found.error}; fix it, or choose another file name")
            same = next((t for t in found.collection.templates if t.name == template.name), None)
            if same is not None and replaced(same, id=template.id) == template:
                return found.collection
            if seen != found.digest:
                what = "is there already" if seen is None else "was changed since it was read"
                listed = ", ".join(f"'{t.name}'" for t in found.collection.templates)
                raise Conflict(
                    f"{path} {what} and holds {listed}; load the list of files again and choose it "
                    "there to add to it, or save under another file name"
                )
            if same is not None and not replace:
                raise Conflict(
                    f"{path} has a template '{template.name}' already; give this one another name, "
                    "or say that it replaces that one"
                )
            return _changed(path, found.collection, same, template)
        except OSError as error:
            kind = DiskFull if no_room(error) else StoreError
            raise kind(f"{path}: the template was not saved: {error.strerror}") from error


def _read(path: Path) -> TemplateFile:
    try:
        text = path.read_bytes()
        return TemplateFile(path.name, _digest(text), collections.load(str(path)))
    except (CurateError, OSError) as error:
        return TemplateFile(path.name, "", None, str(error))


def _digest(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def template_of(given: dict[str, Any]) -> TaskTemplate:
    """Return the template that a page sent.

    Raises:
        UsageError: a field is not text, or the name is none.
    """
    texts = {key: given.get(key) or "" for key in ("name", "jinja", "answer_choices")}
    for key, text in texts.items():
        if not isinstance(text, str) or _SURROGATE.search(text):
            raise UsageError(f"{key} is {text!r:.60}; it must be a string")
    name = texts["name"].strip()
    if not name or len(name) > _MOST_NAME or not name.isprintable():
        raise UsageError(f"the template's name is a printable text of 1 to {_MOST_NAME} letters")
    metadata = given.get("metadata") or {}
    if not isinstance(metadata, dict) or not all(map(_is_metadata, metadata.values())):
        raise UsageError("metadata holds true or false, texts and lists of texts")
    id_ = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40]
    if not id_ or not name.isascii():
        id_ = f"{id_}_{_digest(name.encode())[:8]}".strip("_")
    choices = texts["answer_choices"] if texts["answer_choices"].strip() else None
    return TaskTemplate(id_, name, texts["jinja"], choices, metadata)


def _is_metadata(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return all(
        isinstance(item, bool) or (isinstance(item, str) and not _SURROGATE.search(item))
        for item in items
    )


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, as people write them."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal lists out twice: readers refuse anchors."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Write a text so that it comes back as it is."""
        # YAML folds other breaks than the plain one, and hides other characters.
        plain = data.replace("\n", "").isprintable()
        style = '"' if not plain else "|" if "\n" in data else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)


def _entry(template: TaskTemplate, column: int) -> str:
    """Return the lines of a template, `column` spaces from the left."""
    fields: dict[str, Any] = {"name": template.name}
    if template.answer_choices is not None:
        fields["answer_choices"] = template.answer_choices
    fields["jinja"] = template.jinja
    if template.metadata:
        fields["metadata"] = dict(template.metadata)
    return textwrap.indent(_dumped({template.id: fields}), " " * column)


def _dumped(value: Any) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=float("inf"))
    return str(text)


def _made(path: Path, dataset: str, template: TaskTemplate) -> Collection:
    """Write a new file; one that came there meanwhile stays what it is."""
    title = dataset.strip()
    if not title or len(title) > _MOST_NAME or not title.isprintable():
        raise UsageError(f"the dataset's name is a printable text of 1 to {_MOST_NAME} letters")
    text = _dumped({"dataset": title}) + "templates:\n" + _entry(template, 2)
    made = _checked(text, path, (template,))
    partial = path.with_name(path.name + ".new")
    write_atomically(partial, text)
    try:
        os.link(partial, path)
    except FileExistsError:
        raise Conflict(f"{path} is there already; save under another file name") from None
    finally:
        partial.unlink()
    sync(path.parent)
    return made


def _changed(
    path: Path, old: Collection, same: TaskTemplate | None, template: TaskTemplate
) -> Collection:
    """Put a template into a file, in the place of `same` where there is one."""
    text = path.read_bytes().decode("utf-8")
    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = next(value for key, value in root.value if key.value == "templates")
    if listed.flow_style:
        raise UsageError(f"{path} has its templates in braces; choose another file name")
    column = listed.value[0][0].start_mark.column
    if same is None:
        taken = {one.id for one in old.templates}
        count = next(n for n in range(1, len(taken) + 2) if _numbered(template.id, n) not in taken)
        template = replaced(template, id=_numbered(template.id, count))
        wanted = (*old.templates, template)
        start = end = listed.end_mark.index
    else:
        template = replaced(template, id=same.id)
        wanted = tuple(template if one is same else one for one in old.templates)
        place = old.templates.index(same)
        key, value = listed.value[place]
        start, end = key.start_mark.index - column, value.end_mark.index
        end = start + len(_own_lines(text[start:end], column))
    before = text[:start] if not start or text[:start].endswith("\n") else text[:start] + "\n"
    changed = before + _entry(template, column) + text[end:]
    made = _checked(changed, path, wanted)
    write_atomically(path, changed)
    return made


def _numbered(id_: str, count: int) -> str:
    return id_ if count == 1 else f"{id_}_{count}"


def _own_lines(text: str, column: int) -> str:
    """Return the lines of an entry without the blank lines and comments of the next one."""
    lines = text.splitlines(keepends=True)
    while lines:
        line = lines[-1].strip()
        indent = len(lines[-1]) - len(lines[-1].lstrip(" "))
        if line and (indent > column or not line.startswith("#")):
            break
        lines.pop()
    return "".join(lines)


def _checked(text: str, path: Path, wanted: tuple[TaskTemplate, ...]) -> Collection:
    """Return what the new text holds, which is to be these templates.

    Raises:
        UsageError: it is something else.
    """
    try:
        found = collections.parse(text, path)
    except RecipeError as error:
        raise UsageError(error.message) from None
    if found.templates != wanted:
        raise UsageError(
            f"{path} is written in a way that this page cannot add to; choose another file name"
        )
    return found
