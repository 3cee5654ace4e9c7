"""The two columns that make a prompt verifiable: its gold answer, and the checker's name."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from curate.read.shapes.record_fields import dumps, extra_columns
from curate.row import Row

GOLD, VERIFIER = "ground_truth", "verifier"


class VerifiedBy(NamedTuple):
    """What a prompt's answers are compared with, and by which checker; `rest` are other columns.

    `verifier` is a checker's name, or where it has options the JSON text of its fields.
    """

    gold: Any
    verifier: str
    rest: dict[str, Any]

    @property
    def checker(self) -> str:
        """The checker's bare name."""
        if not self.verifier.startswith("{"):
            return self.verifier
        return str(json.loads(self.verifier).get("checker", "exact"))

    @property
    def gold_text(self) -> str:
        """The gold answer as a text: trainers want one type in a column, and lists as JSON."""
        return self.gold if isinstance(self.gold, str) else dumps(self.gold)


def verified_by(row: Row) -> VerifiedBy:
    """Return gold and checker of a prompt.

    Raises:
        ValueError: one is missing; the message says how to come by it.
    """
    columns = extra_columns(row)
    gold, verifier = columns.pop(GOLD, None), columns.pop(VERIFIER, None)
    for name, value in ((GOLD, gold), (VERIFIER, verifier)):
        if value in (None, "", []):
            raise ValueError(
                f"it has no column '{name}'; the steps verifiable and pass_rate make prompts with "
                "both a gold answer and its checker"
            )
    if not isinstance(verifier, str):
        verifier = dumps(verifier)
    return VerifiedBy(gold, verifier, columns)


def gold_in(text: Any) -> Any:
    """Return a gold answer from the text that an export wrote: a list or object from its JSON."""
    if isinstance(text, str) and text[:1] in ("[", "{"):
        try:
            found = json.loads(text)
        except ValueError:
            return text
        return found if dumps(found) == text else text
    return text
