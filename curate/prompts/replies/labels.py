"""The one label of several that a reply states.

A statement is a line that is nothing but a label, a label set off from the prose after it ("No: it
invents a source."), a named one ("Verdict: B") or a marked one ("[[A]]"). There must be one and all
must agree. A line that names another label, too ("A, but B is close"), states neither.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from curate.ask import Reply
from curate.prompts.replies.plain_lines import lines, marks, plain, read, shown

_NAMED = re.compile(
    r"(?i)^(?:(?:my|the)\s+)?(?:final\s+)?"
    r"(?:answer|verdict|label|category|choice|winner|judge?ment|decision|class)"
    r"(?:\s*[:=—]\s*|\s+[-–]\s+|\s+is\s*:?\s+)(?P<rest>.+)$"
)
_PAIRS = ('""', "''", "()", "[]")


def read_label(reply: Reply, labels: Sequence[str]) -> str:
    """Return the one of `labels` that `reply` states."""
    return read(reply, lambda text: label_in(text, labels))


def label_in(text: str, labels: Sequence[str]) -> str:
    """Return the label that `text` states, or raise `ValueError` saying why there is none."""
    known = _Labels(labels)
    found = set(filter(None, map(known.equal, marks(text))))
    for number, line in enumerate(lines(text)):
        named = _NAMED.match(line)
        said = named["rest"] if named else line
        label = known.equal(said)
        if label is None and (named or not number):
            label = known.leading(said)
        if label is not None:
            found.add(label)
    if len(found) == 1:
        return found.pop()
    allowed = ", ".join(labels)
    said = f"it states several labels ({', '.join(sorted(found))})" if found else "it states none"
    raise ValueError(f"{said} of the labels {allowed}: {shown(text)}")


class _Labels:
    """The labels by what they look like in a reply: case counts only where it must."""

    def __init__(self, labels: Sequence[str]) -> None:
        folded = {_spaced(label).casefold() for label in labels}
        self._cased = len(folded) < len(labels)
        self._by_form: Mapping[str, str] = {self._form(label): label for label in labels}
        longest = sorted(map(re.escape, self._by_form), key=len, reverse=True)
        self._any = re.compile(rf"(?<!\w)(?:{'|'.join(longest)})(?!\w)")

    def _form(self, text: str) -> str:
        text = _spaced(plain(text))
        return text if self._cased else text.casefold()

    def equal(self, text: str) -> str | None:
        """Return the label that `text` is, apart from brackets, quotes and a full stop."""
        form = self._form(text)
        while form and form not in self._by_form:
            if form[-1] in ".!":
                form = form[:-1].rstrip()
            elif len(form) > 1 and form[0] + form[-1] in _PAIRS:
                form = form[1:-1].strip()
            else:
                return None
        return self._by_form.get(form)

    def leading(self, text: str) -> str | None:
        """Return the label that begins `text`, with prose set off from it that names no other."""
        form = self._form(text)
        begins = self._any.match(form)
        if begins is None:
            return None
        rest = form[begins.end() :]
        prose = re.match(r"(?:[,;:.]\s+|\s[-–]\s+|\s*—\s*)\w", rest)
        others = {found[0] for found in self._any.finditer(rest)} - {begins[0]}
        return self._by_form[begins[0]] if prose and not others else None


def _spaced(text: str) -> str:
    return " ".join(text.split())
