"""Collections of templates that make tasks of a dataset's columns, in PromptSource's files.

A collection is a YAML file with the tags `!Template` and `!TemplateMetadata`, which stand for plain
mappings and may be left out. A template renders an input and a target around exactly one `|||`;
`answer_choices` render to texts that `|||` separates. Whatever a row holds is a value and never a
template, and `|||` in it stays what it is. Bach et al. 2022 (PromptSource), arXiv 2202.01279.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import RecipeError, UsageError
from curate.system import package_data as data
from curate.system import plain_yaml

SUFFIXES = (".yaml", ".yml")
_TAGS = ("!Template", "!TemplateMetadata")
# What a file and a template may say, and whether they must.
_FILE_KEYS = {"dataset": True, "subset": False, "templates": True, "source": False}
_KEYS = {
    "name": True,
    "jinja": True,
    **dict.fromkeys(("answer_choices", "id", "metadata", "reference"), False),
}


class TemplateFault(ValueError):
    """A template that cannot be rendered from a row, or renders something else than two parts."""


class Task(NamedTuple):
    """What a template makes of a row: stripped texts; `choices` are `None` where it has none.

    A template that renders nothing at all does not apply to the row, and has no input.
    """

    input: str | None
    target: str
    choices: tuple[str, ...] | None


@dataclass(frozen=True)
class TaskTemplate:
    """One template of a collection; `metadata` is PromptSource's (`choices_in_prompt`, ...)."""

    id: str
    name: str
    jinja: str
    answer_choices: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def columns_read(self) -> frozenset[str]:
        """Return the names that the template and its choices take from a row."""
        return _names_in(self.jinja) | _names_in(self.answer_choices or "")

    def render(self, columns: Mapping[str, Any], seed: int = 0) -> Task:
        """Return the task of a row with these columns; `seed` decides what `choice` draws.

        Raises:
            TemplateFault: a column or a choice is missing, there are not two parts, or the template
                asks for more than the sandbox allows.
        """
        values, choices = dict(columns), None
        _check_texts(columns)
        if self.answer_choices is not None:
            choices = tuple(self._parts(self.answer_choices, values, seed))
            values["answer_choices"] = list(choices)
        parts = self._parts(self.jinja, values, seed)
        if not any(parts):
            return Task(None, "", choices)
        if len(parts) != 2:
            raise TemplateFault(
                f"template '{self.name}' renders {len(parts)} parts; it must render an input and a "
                "target, with one '|||' between them"
            )
        return Task(parts[0], parts[1], choices)

    def _parts(self, source: str, values: Mapping[str, Any], seed: int) -> list[str]:
        from jinja2 import TemplateError, UndefinedError

        from curate.prompts.sandbox import SEPARATED, compiled, rendered

        try:
            text = rendered(compiled(source, of_columns=True), values, seed)
        except UndefinedError as error:
            listed = ", ".join(name for name in values if name != "answer_choices")
            choices = values.get("answer_choices")
            count = "" if choices is None else f"; it has {len(choices)} answer choices"
            raise TemplateFault(
                f"template '{self.name}': {error.message}; the row's columns are {listed}{count}"
            ) from error
        except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise TemplateFault(f"template '{self.name}': {error}") from error
        except RecursionError as error:
            raise TemplateFault(f"template '{self.name}' is nested too deeply") from error
        return [part.strip() for part in text.split(SEPARATED)]


@functools.lru_cache(maxsize=2048)
def _names_in(source: str) -> frozenset[str]:
    from curate.prompts.sandbox import variables_of

    return frozenset(variables_of(source, of_columns=True))


def _check_texts(value: Any) -> None:
    """Raise `TemplateFault` where a value holds what stands for a separator."""
    from curate.prompts.sandbox import SEPARATED

    if isinstance(value, str):
        if SEPARATED in value:
            raise TemplateFault("a column holds half of a surrogate pair, which is not text")
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            _check_texts(one)


@dataclass(frozen=True)
class Collection:
    """The templates of one dataset, in the order of their file."""

    dataset: str
    subset: str | None
    templates: tuple[TaskTemplate, ...]
    path: Path

    @property
    def title(self) -> str:
        """The dataset's name, with its subset where it has one."""
        return self.dataset if self.subset is None else f"{self.dataset}/{self.subset}"

    def named(self, names: tuple[str, ...]) -> tuple[TaskTemplate, ...]:
        """Return the templates of these names or ids, in the file's order; without names, all.

        Raises:
            UsageError: one is not there; the message lists those that are.
        """
        unknown = [n for n in names if not any(n in (t.name, t.id) for t in self.templates)]
        if unknown:
            known = ", ".join(f"'{t.name}'" for t in self.templates)
            raise UsageError(
                f"the collection '{self.title}' ({self.path}) has no template {unknown}; it has "
                f"{known}"
            )
        return tuple(t for t in self.templates if not names or t.name in names or t.id in names)


def names() -> dict[str, Path]:
    """Return the collections that come with the package, by name."""
    return {path.stem: path for path in sorted(_folder().glob("*.yaml"))}


def _folder() -> Path:
    return data.folder("prompts") / "collections"


def find(given: str) -> Path:
    """Return the file that `given` means: a path ending in `.yaml`, or a collection's name."""
    path = Path(given)
    if path.suffix not in SUFFIXES and path.name == given:
        path = _folder() / f"{given}.yaml"
    if path.suffix in SUFFIXES and path.is_file():
        return path
    raise UsageError(
        f"there is no collection '{given}'; give the path of a file that ends in .yaml, or one of: "
        f"{', '.join(names()) or 'none are installed'}"
    )


def load(given: str) -> Collection:
    """Return the collection at the path `given`, or the package's of that name."""
    path = find(given)
    stat = path.stat()
    return _read(path, stat.st_mtime_ns, stat.st_size)


def digest(given: str) -> str | None:
    """Return a digest of a collection's file, for fingerprints; `None` where it is missing."""
    try:
        text = find(given).read_bytes()
    except (UsageError, OSError):
        return None
    return hashlib.blake2b(text).hexdigest()[:32]


@functools.lru_cache(maxsize=512)
def _read(path: Path, modified: int, size: int) -> Collection:
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8: {error}; save it as UTF-8", file=str(path)) from error


def parse(text: str, path: Path) -> Collection:
    """Return the collection that `text` writes; `path` is named in errors.

    Raises:
        RecipeError: it is not such a file, or one of its templates cannot be used.
    """
    # Tags say nothing here that the keys do not.
    given = plain_yaml.parse(text, str(path), mapping_tags=_TAGS).data
    _check_keys(given, _FILE_KEYS, "the file", path)
    entries = given["templates"]
    if not isinstance(entries, dict) or not entries:
        raise RecipeError("templates must be a mapping of ids to templates", file=str(path))
    found: list[TaskTemplate] = []
    for id_, entry in entries.items():
        where = f"template {id_}"
        _check_keys(entry, _KEYS, where, path)
        texts = {key: entry.get(key) for key in ("name", "jinja", "answer_choices")}
        for key, value in texts.items():
            if not isinstance(value, str) and (value is not None or key != "answer_choices"):
                said = f"{where}: {key} is {value!r:.60}; it must be a string (put it in quotes)"
                raise RecipeError(said, file=str(path))
        metadata = entry.get("metadata") or {}
        if not isinstance(metadata, dict):
            raise RecipeError(f"{where}: metadata must be a mapping", file=str(path))
        if any(texts["name"] == other.name for other in found):
            raise RecipeError(f"two templates are named '{texts['name']}'", file=str(path))
        template = TaskTemplate(str(id_), **texts, metadata=metadata)
        _check_template(template, path)
        found.append(template)
    title, subset = given["dataset"], given.get("subset")
    if not isinstance(title, str) or not isinstance(subset, str | None):
        raise RecipeError("dataset and subset must be strings", file=str(path))
    return Collection(title, subset, tuple(found), path)


def _check_keys(given: Any, keys: Mapping[str, bool], where: str, path: Path) -> None:
    if not isinstance(given, dict):
        raise RecipeError(f"{where} must be a mapping of {', '.join(keys)}", file=str(path))
    unknown = [key for key in given if key not in keys]
    lacking = [key for key, must in keys.items() if must and key not in given]
    if unknown or lacking:
        said = f"has the unknown keys {unknown}" if unknown else f"lacks {lacking}"
        raise RecipeError(f"{where} {said}; allowed: {', '.join(keys)}", file=str(path))


def _check_template(template: TaskTemplate, path: Path) -> None:
    """Raise `RecipeError` where a template cannot render two parts, whatever the row."""
    from jinja2 import TemplateSyntaxError

    from curate.prompts.sandbox import never_renders, separators, variables_of

    where = f"template '{template.name}'"
    try:
        for source in filter(None, (template.jinja, template.answer_choices)):
            wanted = variables_of(source, of_columns=True)
            if why := never_renders(source, wanted, of_columns=True):
                raise RecipeError(f"{where} cannot be rendered: {why}", file=str(path))
        always, anywhere = separators(template.jinja)
    except TemplateSyntaxError as error:
        said = f"{where} is not a valid template: {error.message} (its line {error.lineno})"
        raise RecipeError(said, file=str(path)) from error
    if always > 1 or not anywhere:
        found = f"{always} separators" if always > 1 else "no separator"
        raise RecipeError(
            f"{where} has {found}; exactly one '|||' lies between input and target", file=str(path)
        )
