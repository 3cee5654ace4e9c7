"""Labels as rows: what was shown and what one person said of it, a record a label.

That is the form in which `aggregate` counts votes and `evaluate pairs` and `evaluate judge` measure
judges; `reviewed` reads decisions, which name rows of a run by their ids.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

from curate.chunk import rows_of
from curate.errors import UsageError
from curate.review.label_events import Label, ranks_in
from curate.review.review_queue import tables_of
from curate.row import Row
from curate.runs.report import ENDINGS
from curate.write.writer import records_as

_TIED = "tied"
# What judges said of a pair before: a record of one person's vote must not repeat it as theirs.
_STRENGTH = {"margin": None, "p_chosen": None}


def labelled_rows(run: Path, labels: Iterable[Label]) -> Iterator[dict[str, Any]]:
    """Yield the rows of a run that people labelled, one record for each label.

    A choice between two answers is a preference as that person has it, a tie one with `tie: true`.
    The best of several candidates is a preference over each other one, and ranks are a preference
    between every two candidates, a tie where their ranks are equal. A rating is a column
    `rating`, keep and drop are a column `keep` that is true or false, and a labelled answer has the
    label that it was given. All have `annotator`, and `comment` where there is one.

    Raises:
        UsageError: a labelled row is not in the run, has one of those columns already, or has
            other candidates than those of the label.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    by_row: dict[str, list[Label]] = {}
    for label in labels:
        by_row.setdefault(label.item, []).append(label)
    for _, table in tables_of(run, ENDINGS, None):
        ids = table.column("id")
        wanted = pa.array([bytes.fromhex(name) for name in by_row], ids.type)
        for row in rows_of(table.filter(pc.is_in(ids, wanted))):
            for label in by_row.pop(row.id, []):
                own = {"annotator": label.who}
                if label.comment is not None:
                    own["comment"] = label.comment
                for labelled, said in _said_of(row, label):
                    known = json.loads(labelled.extra) if labelled.extra else {}
                    if taken := sorted({*own, *said, "tie"} & known.keys()):
                        raise UsageError(
                            f"row {row.id} has a column '{taken[0]}' of its own, which the label "
                            "would replace; leave it out with --columns when the rows are read, "
                            "or export decisions"
                        )
                    for record in records_as(labelled, labelled.kind):
                        yield {**record, **own, **said}
    if by_row:
        raise UsageError(
            f"{len(by_row):,} labelled rows are not in {run}, the first being {min(by_row)}: the "
            "labels are those of another run, or of another version of the file"
        )


def _said_of(row: Row, label: Label) -> Iterator[tuple[Row, dict[str, Any]]]:
    """Yield the row as a person has it, and what they said beside it: several of a choice of n."""
    answers: list[Any] = []
    if row.kind == "preference":
        answers = [row.chosen, row.rejected]
    elif row.kind == "ranked":
        answers = [one.messages for one in row.candidates]
    if label.decision not in ("chosen", "ranks"):
        rated = label.decision == "rating"
        said = {"rating": float(label.value or 0)} if rated else {"keep": label.decision == "keep"}
        yield row, said
        return
    if row.kind == "unpaired":
        yield row._replace(fields={**row.fields, "label": label.value == "true"}), {}
        return
    count = len(answers)
    if label.decision == "ranks":
        ranks = ranks_in(label.value)
        if len(ranks) != count:
            raise _of_others(row, f"ranks {len(ranks)}", count)
        pairs = [
            (i, j) if ranks[i] <= ranks[j] else (j, i) for i, j in combinations(range(count), 2)
        ]
        tied = {(i, j) for i, j in pairs if ranks[i] == ranks[j]}
    elif label.value == _TIED:
        pairs = list(combinations(range(count), 2))
        tied = set(pairs)
    else:
        sides = {"chosen": 0, "rejected": 1}
        best = sides[label.value] if label.value in sides else int(label.value or 0) - 1
        if best >= count:
            raise _of_others(row, f"chose the one with the number {best + 1}", count)
        pairs, tied = [(best, k) for k in range(count) if k != best], set()
    for chosen, rejected in pairs:
        fields = {"prompt": row.prompt, "chosen": answers[chosen], "rejected": answers[rejected]}
        said = {"tie": True} if (chosen, rejected) in tied else {}
        yield row._replace(kind="preference", fields=fields | _STRENGTH), said


def _of_others(row: Row, said: str, count: int) -> UsageError:
    """Return the error of a label that is about other candidates than a row has."""
    return UsageError(
        f"a label of row {row.id} {said} of its candidates, and it has {count}: a step made it "
        "anew since; review the row again"
    )
