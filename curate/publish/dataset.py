"""Push a run to the Hugging Face Hub: what may go is checked first, and the card goes last."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import yaml

from curate.errors import InputError, UsageError
from curate.publish.card import Facts, card
from curate.publish.croissant import croissant
from curate.publish.hub import MARK, MARKED, Repository, url_of
from curate.publish.layout import write_parts
from curate.publish.licences import sources_of, warnings_of
from curate.read.finished_runs import description_of, note_of
from curate.read.known_licences import card_licences, told_licences
from curate.runs.rows import Rows
from curate.system.credentials import refuse_address
from curate.system.posix import no_room, sync_all

CARD = "README.md"
# What describes the data goes after it, and with it the deletion of what is no longer part of it.
LAST = ("croissant.json", CARD)
_NAME = re.compile(r"[\w.-]+/[\w.-]{1,96}", re.ASCII)


class Pushed(NamedTuple):
    """Where a dataset is, its rows, the paths sent and deleted, licence warnings and its card.

    After a dry run `sent` and `deleted` are the paths that would be; where a folder was written,
    all paths of the dataset are `sent`.
    """

    url: str
    rows: int
    sent: list[str]
    deleted: list[str]
    warnings: list[str]
    card: str


def _asked_licences(dataset: str) -> tuple[str, ...]:
    """Return the licences of a card, none where it cannot be read: the new card says so."""
    try:
        return card_licences(dataset)
    except InputError:
        return ()


def _no_licences(dataset: str) -> tuple[str, ...]:
    """Return none, without asking for the card of the dataset: the new card says "unknown"."""
    return ()


def push(
    run: Path,
    name: str,
    *,
    public: bool = False,
    split: str | None = None,
    shape: str | None = None,
    title: str | None = None,
    dry_run: bool = False,
) -> Pushed:
    """Push the kept rows of a finished run as a dataset.

    Args:
        run: the run folder.
        name: the dataset on the Hub, `ORG/NAME`.
        public: whether everybody may see it.
        split: only the rows that the step `split` put on this side.
        shape: the shape of the records; by default each kind's own.
        title: the title of the card; by default the recipe's name.
        dry_run: check everything and make the card, and send nothing.

    Raises:
        UsageError: the dataset cannot be written there, or not in this shape; nothing was sent.
        StoppedShort: the Hub failed; what has arrived stays, and the same call continues.
    """
    _check_name(name)
    repository = Repository(name, public=public)
    with tempfile.TemporaryDirectory(prefix="curate-push-") as aside:
        made = _make(run, Path(aside), name, split, shape, title, _asked_licences)
        files = {path: Path(aside) / path for path in made.sent}
        sent, deleted = repository.difference(files) if dry_run else repository.send(files, LAST)
    return made._replace(sent=sent, deleted=deleted)


def write_dataset(
    run: Path,
    name: str,
    folder: Path,
    *,
    split: str | None = None,
    shape: str | None = None,
    title: str | None = None,
) -> Pushed:
    """Write to a new folder what `push` would send to an empty repository; the Hub is not asked.

    So the licences of inputs on the Hub are unknown to its card, unless the run was told them.
    `datasets.load_dataset` reads the folder, and any client of the Hub can upload it.

    Raises:
        UsageError: the folder is there or cannot be made, or the dataset cannot be written in this
            shape.
    """
    _check_name(name)
    refuse_address(folder, "the folder (--folder)", "choose one of this machine, and upload that")
    with _beside(folder) as aside:
        fresh = Path(aside, "dataset")
        fresh.mkdir()
        made = _make(run, fresh, name, split, shape, title, _no_licences)
        sync_all(fresh)
        fresh.rename(folder)
    return made


def _beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    """Make a folder that is deleted later, in which `folder` can be written before it is moved."""
    try:
        # A link that leads nowhere is in the way, too.
        if os.path.lexists(folder):
            raise UsageError(f"{folder} is there; name a folder that is not, or delete it first")
        parent = folder.absolute().parent
        parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=parent)
    except OSError as error:
        if no_room(error):
            raise
        raise UsageError(
            f"{folder}: the folder cannot be made ({error.filename}: {error.strerror}); name one "
            "in a folder that you may write"
        ) from error


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is not a dataset on the Hub; it is ORG/NAME, or YOUR-NAME/NAME, of letters, "
            "digits, '-', '_' and '.'"
        )


def _make(
    run: Path,
    folder: Path,
    name: str,
    split: str | None,
    shape: str | None,
    title: str | None,
    card_of: Callable[[str], tuple[str, ...]],
) -> Pushed:
    """Write the files of a dataset to a folder, as if all of them were to be sent.

    `card_of` returns the licences that the card of a dataset on the Hub names.
    """
    summary, described = note_of(run / "report.json"), description_of(run)
    told = told_licences(described.get("recipe") or {})
    sources = sources_of(described.get("inputs") or (), card_of, told)
    called = (described.get("recipe") or {}).get("name")
    parts = write_parts(Rows(run / "kept"), folder, split, shape)
    facts = Facts(
        title or called or name.partition("/")[2], run, summary, described, parts, sources
    )
    recipe = yaml.safe_dump(facts.recipe, sort_keys=False, allow_unicode=True)
    (folder / MARK).write_text(f"{MARKED.decode()}; see {CARD}.\n{recipe}", "utf-8")
    url, text = url_of(name), card(facts)
    (folder / "croissant.json").write_text(croissant(facts, folder, name, url), "utf-8")
    (folder / CARD).write_text(text, "utf-8")
    paths = [MARK, *(file for part in parts for file in part.files), *LAST]
    return Pushed(url, facts.rows, paths, [], warnings_of(sources), text)
