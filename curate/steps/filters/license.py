"""Keep rows whose licence allows the use that is planned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

from curate.row import Row
from curate.rows.license_terms import licences_of_row, uses_allowed
from curate.step import Filter, Scored, rule


@dataclass(frozen=True, kw_only=True)
class License(Filter):
    """Drop rows whose licence does not allow a use, or is unknown.

    The licence is that of the row's own column `license`; else the one that `licenses` gives for
    the row's input; else the known one of that input: of the example data, of a dataset on the Hub
    (`hub://`) from its card, of a finished run from everything that it read. The score is 2 if
    commercial use is allowed, 1 if only other use is, and 0 if no licence is known. `use:
    commercial` drops rows below 2, `use: research` rows below 1; if unset, every row passes with
    its licence noted.

    Attributes:
        licenses: Licences by input (`input` if it has no name), as the Hub writes them.
    """

    use: Literal["commercial", "research"] | None = rule(None)
    licenses: Mapping[str, str] = field(default_factory=dict)

    source: ClassVar[str] = "Longpre et al. 2023 (Data Provenance), arXiv 2310.16787: by use"

    def score(self, row: Row) -> Scored:
        """Return what the row's licences allow, with their names."""
        extra = json.loads(row.extra) if row.extra else {}
        found = licences_of_row(row.source, extra, self.licenses)
        return Scored(float(uses_allowed(found)), {"licences": list(found)})

    def with_sources(self, sources: Mapping[str, Sequence[str]]) -> Self:
        """Return the step with the licences of inputs filled in where they are known."""
        from curate.read.known_licences import licences_of

        known: dict[str, str] = {}
        for name, files in sources.items():
            if name in self.licenses:
                continue
            found = [licences_of(file) for file in files]
            if found and None not in found:
                known[name] = ", ".join(dict.fromkeys(one for some in found for one in some or ()))
        return replace(self, licenses={**known, **self.licenses}) if known else self

    def keep(self, score: float | None) -> str | None:
        """Compare what is allowed with the use."""
        needed = {None: 0, "research": 1, "commercial": 2}[self.use]
        if score is None or score >= needed:
            return None
        return "licence not known" if score < 1 else "licence forbids commercial use"
