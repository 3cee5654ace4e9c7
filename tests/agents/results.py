"""Tasks about finished runs: why a row is gone, and what two runs do differently."""

from __future__ import annotations

import json
import re

from .cleaning import BASES, talk
from .place import Place, Task, Way, command, table


# Explain a row.
def _prepare_explain(place: Place) -> None:
    rows = [talk(f"Explain matter {n}.", f"{base}.") for n, base in enumerate(BASES)]
    rows.insert(3, talk("Explain matter 1.", f"{BASES[1]} for long."))
    place.write("rows.jsonl", rows)
    command("curate filter rows.jsonl length:min=3 near -o kept.jsonl --run runs/made")


def _check_explain(place: Place) -> list[str]:
    path = place.folder / "why.json"
    if not path.is_file():
        return ["there is no why.json"]
    try:
        text = json.dumps(json.loads(path.read_text("utf-8")))
    except ValueError as error:
        return [f"why.json is not JSON: {error}"]
    (event,) = place.ledger("near")
    wanted = {
        "the row": event["row"][:8],
        "the step": "near",
        "the reason": event["reason"],
        "the row it repeats": event["partner"][:8],
    }
    left = {what: said for what, said in wanted.items() if said not in text}
    return [f"why.json does not name {what} ({said})" for what, said in left.items()]


EXPLAIN = Task(
    "explain",
    """
    The fourth line of rows.jsonl is not among the rows that runs/made kept. Find out why, and
    write it to why.json: the ids of the row and of the row that it repeats, the step, and the
    reason.
    """,
    _prepare_explain,
    _check_explain,
    Way(["curate explain runs/made rows.jsonl:4 --json > why.json"]),
    Way(["curate explain runs/made rows.jsonl:3 --json > why.json"]),
)


# Compare two runs.
def _prepare_compare(place: Place) -> None:
    place.write("rows.jsonl", [talk(f"Count to {n}.", "word " * n) for n in range(1, 41)])
    command("curate filter rows.jsonl length:min=5 -o a.jsonl --run runs/a")
    command("curate filter rows.jsonl length:min=20,max=38 -o b.jsonl --run runs/b")


def _check_compare(place: Place) -> list[str]:
    path = place.folder / "changed.json"
    if not path.is_file():
        return ["there is no changed.json"]
    kept, dropped = (
        {row["id"] for row in table(place.folder / name)}
        for name in ("runs/a/kept", "runs/b/dropped")
    )
    named = set(re.findall(r"\b[0-9a-f]{32}\b", path.read_text("utf-8")))
    wanted = kept & dropped
    assert len(wanted) == 17
    wrong = [f"{len(wanted - named)} of 17 rows are missing"] if wanted - named else []
    return wrong + ([f"{len(named - wanted)} rows too many"] if named - wanted else [])


COMPARE = Task(
    "compare",
    """
    runs/a and runs/b are runs over the same rows. Write the ids of all rows that the first kept
    and the second dropped to changed.json, and no other ids.
    """,
    _prepare_compare,
    _check_compare,
    Way(["curate compare runs/a runs/b -n 1000 --json > changed.json"]),
    Way(["curate compare runs/a runs/b --json > changed.json"]),
)
