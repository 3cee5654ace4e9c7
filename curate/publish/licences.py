"""The licences of a dataset's sources: which are known, which forbid something, which collide.

They are read, not judged: what a licence demands of a mixture is for its owner to decide. Known are
those of the example data, and of datasets on the Hub and their clones by their cards.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from curate.read.finished_runs import run_of
from curate.read.known_licences import clone_licences, inputs_of_run
from curate.read.remote import hub_name, is_hub
from curate.rows.license_terms import UNKNOWN, shipped_licences, table
from curate.runs.report import public_name


class LicensedSource(NamedTuple):
    """A file or dataset that rows came from, with its licences as the Hub writes them."""

    name: str
    licences: tuple[str, ...]
    url: str | None
    digest: str | None = None
    bytes: int | None = None


def sources_of(
    inputs: Iterable[Mapping[str, Any]],
    card_of: Callable[[str], tuple[str, ...]],
    told: Mapping[str, tuple[str, ...]] | None = None,
) -> list[LicensedSource]:
    """Return the sources of a run, in order, each with the licences that are known of it.

    The kept rows of another run stand for what that one was made from.

    Args:
        inputs: the entries of `inputs` in `run.yaml`.
        card_of: returns the licences that the card of a dataset on the Hub names.
        told: licences that the run's own step `license` was told, by input.
    """
    found: dict[tuple[str, str | None], LicensedSource] = {}
    for entry in inputs:
        file, said = str(entry["file"]), (told or {}).get(entry.get("input", ""))
        if run_of(file) is not None:
            named = {
                one["input"]: one["licences"] for one in inputs_of_run(file) if "licences" in one
            }
            for source in sources_of(inputs_of_run(file), card_of, named):
                found.setdefault((source.name, source.digest), source)
            continue
        name, url = public_name(file), None
        licences: tuple[str, ...] = (UNKNOWN,)
        if is_hub(file):
            repository = hub_name(file)
            licences = card_of(repository) or licences
            url = f"https://huggingface.co/datasets/{repository}"
        elif (known := shipped_licences(file)) is not None:
            licences, url = known
        elif "://" in file:
            url = file
        else:
            licences = clone_licences(file) or licences
        digest, size = entry.get("digest"), entry.get("size")
        # Files of one name in two folders are two sources.
        source = LicensedSource(name, said or licences, url, digest, size)
        found.setdefault((name, digest), source)
    return list(found.values())


def licence_of(sources: Iterable[LicensedSource]) -> str:
    """Return what stands as `license` in the card: the one that all share, `unknown` or `other`."""
    every = {licence for source in sources for licence in source.licences} or {UNKNOWN}
    if UNKNOWN in every:
        return UNKNOWN
    return every.pop() if len(every) == 1 else "other"


def warnings_of(sources: Iterable[LicensedSource]) -> list[str]:
    """Return a sentence for each licence that is unknown, forbids something or meets another."""
    holders: dict[str, list[str]] = {}
    for source in sources:
        for licence in source.licences:
            holders.setdefault(licence, []).append(source.name)
    known, out = table()["licences"], list[str]()
    for licence, names in sorted(holders.items()):
        of, facts = f"{', '.join(names)} (`{licence}`)", known.get(licence)
        if facts is None:
            out.append(
                f"**Terms not known**: {of}: find them out before you share or use the data."
            )
            continue
        if not facts.get("commercial", True):
            out.append(f"**Non-commercial**: {of} forbids commercial use, and so of this mixture.")
        if not facts.get("derivatives", True):
            out.append(f"**No derivatives**: {of} may not be shared in a changed form.")
        if "terms" in facts:
            out.append(f"**Terms of use**: {of}: {facts['terms']}.")

    # Each two licences whose demands on a mixture exclude each other.
    alike = [one for one in sorted(holders) if known.get(one, {}).get("share_alike")]
    closed = [one for one in sorted(holders) if not known.get(one, {}).get("commercial", True)]
    for one, other in itertools.combinations(alike, 2):
        out.append(
            f"**Conflict**: `{one}` and `{other}` each demand that what is made of them carries "
            "their own terms; a mixture cannot."
        )
    for one, other in itertools.product(alike, closed):
        if one != other and other not in alike:
            out.append(
                f"**Conflict**: `{one}` allows no further restriction, and `{other}` forbids "
                "commercial use."
            )
    return out
