"""Sort labelled rows into the groups that are measured apart: by a column, or by language.

Where no column is named and none says the language, it is detected by the model of the step
`language`. Detection errs on short texts and code, and a language that a handful of rows seem to be
in is as often none of theirs; so what is unsure or rare is in no group.
"""

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from curate.errors import UsageError
from curate.kernels.text.languages import detector
from curate.row import Row
from curate.steps.filters.language import Language
from curate.system.package_data import install_command

# The group of rows that are in none.
NO_GROUP = "-"
# Columns that say which language a row is in, where none is named.
_LANGUAGES = ("language", "lang")
# As the step `language`, detection looks at the beginning of a text; below a half it is unsure.
_LOOKED_AT, _SURE = 200, 0.5
# A share of fewer rows has an interval of 40 points and more.
FEWEST_DETECTED = 20


def no_such_group(column: str) -> UsageError:
    """Return the error that no row says its group in a column."""
    return UsageError(
        f"no row has anything in a column '{column}', by whose values it could be measured apart; "
        "name another with --by, or leave it out"
    )


class Grouped(Protocol):
    """What is measured: it knows its group."""

    @property
    def group(self) -> str:
        """The name of the group."""
        ...


Item = TypeVar("Item", bound=Grouped)


class RowGroups:
    """The groups of some rows, and how they were found."""

    def __init__(self, by: str | None = None) -> None:
        """Read the column `by`, or find each row's language if none is named."""
        self._by = by
        self._detects = by is None and all(map(importlib.util.find_spec, Language.packages))
        # How many rows have each column, which groups columns name, and the languages detected.
        self._columns: Counter[str] = Counter()
        self._named: set[str] = set()
        self._detected: Counter[str] = Counter()

    def of(self, row: Row) -> str:
        """Return the group of a row, `-` for none."""
        columns: Mapping[str, Any] = json.loads(row.extra or "{}")
        for name in (self._by,) if self._by else _LANGUAGES:
            if columns.get(name) not in (None, ""):
                self._columns[name] += 1
                self._named.add(group := str(columns[name]))
                return group
        if not self._detects:
            return NO_GROUP
        text = row.whole[:_LOOKED_AT]
        guesses = detector()(text) if any(map(str.isalpha, text)) else []
        sure = bool(guesses) and guesses[0][1] >= _SURE
        language = guesses[0][0] if sure else NO_GROUP
        self._detected[language] += 1
        return language

    def parts(self, items: Sequence[Item]) -> dict[str, list[Item]]:
        """Return the items by group, by name; none where there are fewer than two groups.

        `items` are of rows that `of` was asked about.

        Raises:
            UsageError: none of these rows has the column that was named.
        """
        if self._by is not None and items and not self._columns:
            raise no_such_group(self._by)
        rare = {
            name
            for name, count in self._detected.items()
            if count < FEWEST_DETECTED and name not in self._named
        }
        found: dict[str, list[Item]] = {}
        for one in items:
            found.setdefault(NO_GROUP if one.group in rare else one.group, []).append(one)
        # Where languages are detected, those that are not clear are nothing to compare one with.
        compared = found if self._named else found.keys() - {NO_GROUP}
        return dict(sorted(found.items())) if len(compared) > 1 else {}

    @property
    def said(self) -> str | None:
        """How the groups were found, as a sentence for people; `None` where nobody was asked."""
        parts = [f"the column '{name}' ({n:,} rows)" for name, n in self._columns.items()]
        if detected := self._detected.total():
            parts.append(f"detection ({detected:,} rows)")
        if parts:
            return f"by {' and '.join(parts)}"
        if self._by is None and not self._detects:
            return f"not by language: detecting it takes {install_command(Language.extra or '')}"
        return None
