"""Prompts as files: what they ask, which variables they take, where they come from.

A prompt is a Markdown file with front matter, found by name among those of the package or by the
path of the user's own. Its body is a template in a sandbox; rows and replies are only ever its
values, never templates. The price of strictness: a template that names a variable which its front
matter does not declare, or the reverse, is refused before anything is asked.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import RecipeError, UsageError
from curate.system import package_data as data
from curate.system import plain_yaml

FENCE = "---"
# What front matter may say: each key with the type of its value; the first four are required.
KEYS: dict[str, type] = {
    "name": str,
    "version": int,
    "source": str,
    "variables": list,
    "optional": list,
    "system": str,
    "schema": dict,
    "items": list,
}
REQUIRED = ("name", "version", "source", "variables")
# Names that a mapping has already.
_TAKEN = [name for name in dir(dict) if not name.startswith("_")]
_TYPES = {str: "a string", int: "a whole number", list: "a list", dict: "a mapping"}


class PromptItem(NamedTuple):
    """One entry of a prompt's list: a principle, an exemplar, a persona.

    `id` is what ledgers call it; a template reads `values` as `item.NAME`.
    """

    id: str
    values: Mapping[str, str]


class Rendered(NamedTuple):
    """The two texts of a request: the user's turn, and the system prompt where there is one."""

    text: str
    system: str | None


@dataclass(frozen=True)
class Prompt:
    """One prompt file, read and checked.

    `variables` must be given to `render`; those in `optional` are `None` where they are not.
    `schema` is the JSON Schema of the reply that the prompt asks for.
    """

    name: str
    version: int
    source: str
    variables: tuple[str, ...]
    body: str
    path: Path
    optional: tuple[str, ...] = ()
    system: str | None = None
    schema: Mapping[str, Any] | None = None
    items: tuple[PromptItem, ...] = ()

    def item(self, id: str) -> PromptItem:
        """Return the item of that id.

        Raises:
            UsageError: there is none; the message lists those that there are.
        """
        for one in self.items:
            if one.id == id:
                return one
        known = ", ".join(one.id for one in self.items) or "it has no items"
        raise UsageError(f"the prompt '{self.name}' ({self.path}) has no item '{id}': {known}")

    def render(self, **values: Any) -> Rendered:
        """Return the texts with `values` filled in, as they are: nothing in them is evaluated.

        A `PromptItem` among the values is seen as a mapping with its `id`. A template that uses
        `items` gets all of the file's, unless some are given.
        """
        missing = [name for name in self.variables if name not in values]
        allowed = {*self.variables, *self.optional, *(("items",) if self.items else ())}
        unknown = sorted(set(values) - allowed)
        if missing or unknown:
            found = f"lacks {missing}" if missing else f"does not take {unknown}"
            raise UsageError(
                f"the prompt '{self.name}' ({self.path}) {found}; it takes "
                f"{list(self.variables)}, optionally {list(self.optional)}"
            )
        given = {"items": self.items, **dict.fromkeys(self.optional), **values}
        given = {name: _shown_to_template(value) for name, value in given.items()}
        system = None if self.system is None else self._fill(self.system, given)
        return Rendered(self._fill(self.body, given), system)

    def render_from(self, values: Mapping[str, Any]) -> Rendered:
        """Return the texts with those of `values` filled in that the prompt takes."""
        wanted = {*self.variables, *self.optional}
        return self.render(**{n: v for n, v in values.items() if n in wanted})

    def _fill(self, template: str, values: Mapping[str, Any]) -> str:
        from jinja2 import TemplateError

        from curate.prompts.sandbox import compiled, rendered

        try:
            return rendered(compiled(template), values)
        except (TemplateError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
            raise UsageError(
                f"the prompt '{self.name}' ({self.path}) cannot be filled in: {error}; "
                "templates see only their variables, and no attribute that leads out of them"
            ) from error


def names() -> dict[str, Path]:
    """Return the prompts that come with the package, by name."""
    return {path.stem: path for path in sorted(data.folder("prompts").glob("*.md"))}


def find(given: str) -> Path:
    """Return the file that `given` means: a path ending in `.md`, or the name of a prompt."""
    path = Path(given)
    if path.suffix != ".md" and path.name == given:
        path = data.folder("prompts") / f"{given}.md"
    if path.suffix == ".md" and path.is_file():
        return path
    raise UsageError(
        f"there is no prompt '{given}'; give the path of a file that ends in .md, or one of: "
        f"{', '.join(names()) or 'none are installed'}"
    )


def load(given: str) -> Prompt:
    """Return the prompt at the path `given`, or the package's prompt of that name."""
    path = find(given)
    stat = path.stat()
    # Steps load their prompt for every row: an unchanged file is read once, a changed one again.
    return _read(path, stat.st_mtime_ns, stat.st_size)


def load_with(given: str, variables: Sequence[str]) -> Prompt:
    """Return the prompt `given`, once it takes no other variables than the step can fill in.

    Raises:
        UsageError: it takes others; the message names them and those that it is given.
    """
    prompt = load(given)
    unknown = [v for v in (*prompt.variables, *prompt.optional) if v not in variables]
    if unknown:
        raise UsageError(
            f"the prompt '{prompt.name}' ({prompt.path}) takes {unknown}; this step gives it "
            f"{', '.join(variables)}"
        )
    return prompt


def digest(*given: str) -> str | None:
    """Return the digests of prompt files, for fingerprints; `None` where a file is missing."""
    try:
        texts = [find(name).read_bytes() for name in given]
    except (UsageError, OSError):
        return None
    return "-".join(hashlib.blake2b(text).hexdigest()[:32] for text in texts)


def mark_of(*texts: str) -> str:
    """Return a code for the markers around `texts` that none of them can hold.

    It depends on the texts alone; whoever writes a text cannot know the digest of one that holds
    it.
    """
    return hashlib.blake2b("\x1f".join(texts).encode(), digest_size=4).hexdigest()


@functools.lru_cache(maxsize=256)
def _read(path: Path, modified: int, size: int) -> Prompt:
    try:
        return parse(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise RecipeError(f"not UTF-8: {error}; save it as UTF-8", file=str(path)) from error


def parse(text: str, path: Path) -> Prompt:
    """Return the prompt that `text` writes; `path` is named in errors."""
    from jinja2 import TemplateSyntaxError

    from curate.prompts.sandbox import compiled, never_renders, variables_of

    lines = text.removeprefix("\ufeff").splitlines()
    if not lines or lines[0].rstrip() != FENCE:
        raise RecipeError(
            f"must begin with front matter between two lines '{FENCE}'", file=str(path)
        )
    end = next((n for n, line in enumerate(lines[1:], 1) if line.rstrip() == FENCE), None)
    if end is None:
        raise RecipeError(f"front matter is not closed by a line '{FENCE}'", file=str(path))
    head = _front_matter("\n".join(lines[1:end]), path)
    body = "\n".join(lines[end + 1 :]).strip("\n")
    if not body.strip():
        raise RecipeError("has no text after its front matter", file=str(path), line=end + 1)
    for key in ("variables", "optional"):
        head[key] = tuple(head.get(key, ()))
    prompt = Prompt(**head, body=body, path=path)
    # Line numbers of the body count from the file's start: leading blank lines were cut.
    offset = end + 1 + next(n for n, line in enumerate(lines[end + 1 :]) if line)

    used: set[str] = set()
    for template, before in ((prompt.body, offset), (prompt.system or "", 0)):
        try:
            used |= variables_of(template)
            compiled(template)
        except TemplateSyntaxError as error:
            line = before + error.lineno if before else None
            raise RecipeError(
                f"is not a valid template: {error.message}", file=str(prompt.path), line=line
            ) from error
    declared = {*prompt.variables, *prompt.optional}
    if prompt.items:
        used.discard("items")
    if used != declared:
        raise RecipeError(
            f"uses the variables {sorted(used)} but declares {sorted(declared)}; "
            "'variables' and 'optional' together must name exactly those used",
            file=str(prompt.path),
        )
    # What no values can change is said now, and not by every row.
    for template in filter(None, (prompt.body, prompt.system)):
        if why := never_renders(template, [*declared, *(["items"] if prompt.items else [])]):
            raise RecipeError(f"cannot be rendered: {why}", file=str(prompt.path))
    return prompt


def _front_matter(text: str, path: Path) -> dict[str, Any]:
    # The first line of the file is the fence.
    head = plain_yaml.parse(text, str(path), first_line=2).data
    if not isinstance(head, dict):
        raise RecipeError(f"front matter must be a mapping of {list(KEYS)}", file=str(path))
    lacking = [key for key in REQUIRED if key not in head]
    if lacking:
        raise RecipeError(
            f"front matter lacks {', '.join(map(repr, lacking))}; it must have "
            f"{', '.join(f'{key} ({_TYPES[KEYS[key]]})' for key in REQUIRED)}",
            file=str(path),
            line=1,
        )
    for key, value in head.items():
        if key not in KEYS:
            known = ", ".join(KEYS)
            said = f"front matter has the unknown key '{key}'; allowed: {known}"
            raise RecipeError(said, file=str(path))
        if type(value) is not KEYS[key]:
            said = f"front matter's '{key}' is {value!r}; it must be {_TYPES[KEYS[key]]}"
            raise RecipeError(said, file=str(path))
        if isinstance(value, list) and key != "items":
            wrong = [n for n in value if not isinstance(n, str) or not n.isidentifier()]
            if wrong:
                raise RecipeError(f"'{key}' holds {wrong}, which are not names", file=str(path))
    if "items" in head:
        head["items"] = _items(head["items"], path)
    return head


def _items(given: list[Any], path: Path) -> tuple[PromptItem, ...]:
    """Return the items of a prompt, each with an id of its own and the same fields."""
    found: dict[str, PromptItem] = {}
    for number, one in enumerate(given, 1):
        where = f"front matter's item {number}"
        if not isinstance(one, dict) or not all(isinstance(v, str) for v in one.values()):
            raise RecipeError(
                f"{where} is {one!r:.60}; it must be a mapping of texts, as in "
                "{id: honest, text: Say what is true.}",
                file=str(path),
            )
        values = dict(one)
        id_ = values.pop("id", "")
        if not re.fullmatch(r"[\w-]+", id_) or id_ in found:
            raise RecipeError(
                f"{where} has the id '{id_}'; each needs its own, of letters, digits, - and _",
                file=str(path),
            )
        fields = next(iter(found.values())).values if found else values
        odd = [n for n in values if not str(n).isidentifier() or str(n) in _TAKEN]
        if odd or not values or values.keys() != fields.keys():
            raise RecipeError(
                f"{where} ('{id_}') has the fields {list(values)}; all items have the same ones "
                f"({list(fields)}), which are names and not {sorted(_TAKEN)}",
                file=str(path),
            )
        found[id_] = PromptItem(id_, values)
    return tuple(found.values())


def _shown_to_template(value: Any) -> Any:
    if isinstance(value, PromptItem):
        return {"id": value.id, **value.values}
    if isinstance(value, list | tuple):
        return [_shown_to_template(one) for one in value]
    return value
