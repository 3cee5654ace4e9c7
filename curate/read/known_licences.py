"""The licences of what an input reads: known of example data, said by a card, noted by a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.errors import InputError, RecipeError
from curate.read.finished_runs import description_of, run_of
from curate.read.remote import hub_name, is_hub
from curate.rows.license_terms import UNKNOWN, shipped_licences
from curate.system import plain_yaml

# A file's own folder, and two above it: `data/` or `CONFIG/`, then the root of the clone.
_DEEPEST = 3


def licences_of(file: str) -> tuple[str, ...] | None:
    """Return the licences of a file or of a dataset on the Hub, `None` where they are not known.

    Those of a run's kept rows are those of all that it read.

    Raises:
        InputError: the card of a dataset, on the Hub or in its clone, cannot be read.
    """
    if is_hub(file):
        return card_licences(hub_name(file)) or None
    if run_of(file) is not None:
        # What its run was told, else what is known of the file.
        found = [
            entry.get("licences") or licences_of(str(entry["file"])) or (UNKNOWN,)
            for entry in inputs_of_run(file)
        ]
        every = dict.fromkeys(one for licences in found for one in licences)
        return None if UNKNOWN in every or not every else tuple(every)
    known = shipped_licences(file)
    return clone_licences(file) if known is None else known[0]


def inputs_of_run(file: str) -> Iterator[dict[str, Any]]:
    """Yield the inputs of the run to which a file of kept rows belongs, as its `run.yaml` has them.

    An entry has `licences` where the step `license` knew them.
    """
    run = run_of(file)
    assert run is not None, "asked for files of runs alone"
    described = description_of(run)
    told = told_licences(described.get("recipe") or {})
    for entry in described.get("inputs") or ():
        known = {"licences": told[entry["input"]]} if entry["input"] in told else {}
        yield {**entry, **known}


def told_licences(recipe: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the licences that steps `license` of a recipe name, by input."""
    found: dict[str, tuple[str, ...]] = {}
    for step in recipe.get("steps") or ():
        fields = step.get("license") if isinstance(step, Mapping) else None
        named = fields.get("licenses") if isinstance(fields, Mapping) else None
        for source, licences in (named or {}).items():
            found[source] = tuple(one.strip().lower() for one in str(licences).split(","))
    return found


def card_licences(dataset: str) -> tuple[str, ...]:
    """Return the licences that the card of a dataset on the Hub names, none where it names none.

    Raises:
        InputError: the card cannot be read.
    """
    from huggingface_hub import HfApi

    try:
        card = HfApi().dataset_info(dataset).card_data
    except Exception as error:  # the Hub's client raises errors of many packages
        said = " ".join(str(error).split())[:200]
        raise InputError(
            f"hub://{dataset}: its card, which names its licence, cannot be read "
            f"({type(error).__name__}: {said}); name the licence instead, as in "
            "license: {licenses: {INPUT: cc-by-4.0}}"
        ) from error
    return _named(getattr(card, "license", None))


def clone_licences(file: str) -> tuple[str, ...] | None:
    """Return the licences that the card of a file's clone names, `None` where there is none.

    A clone from the Hub has its card at its root, the data there or up to two folders below. The
    nearest `README.md` that begins with metadata is the card; the search ends at a `.git`.

    Raises:
        InputError: the metadata is not a YAML mapping.
    """
    if "://" in file:
        return None
    for folder in list(Path(file).absolute().parents)[:_DEEPEST]:
        card = folder / "README.md"
        lines = card.read_text("utf-8-sig", "replace").splitlines() if card.is_file() else []
        marks = [number for number, line in enumerate(lines) if line.rstrip() == "---"]
        if marks[:1] == [0] and len(marks) > 1:
            try:
                said = plain_yaml.load("\n".join(lines[1 : marks[1]]), "README.md")
                if not isinstance(said, dict | None):
                    raise RecipeError(f"a {type(said).__name__}, not a mapping")
            except RecipeError as error:
                raise InputError(
                    f"{card}: its metadata, which names the licence of {file}, cannot be read "
                    f"({' '.join(error.message.split())[:200]}); fix it, or name the licence, as "
                    "in license: {licenses: {INPUT: cc-by-4.0}}"
                ) from error
            return _named((said or {}).get("license")) or None
        if (folder / ".git").exists():
            return None
    return None


def _named(found: Any) -> tuple[str, ...]:
    """Return what a card has as `license`, one name or several."""
    several = [found] if isinstance(found, str) else found or ()
    return tuple(str(one).strip().lower() for one in several)
