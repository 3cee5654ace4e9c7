"""Push a run to the Hugging Face Hub: what may go is checked first, and the card goes last."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import yaml

from curate.errors import InputError, UsageError
from curate.publish.card import Facts, card
from curate.publish.croissant import croissant
from curate.publish.hub import MARK, MARKED, Repository
from curate.publish.layout import write_parts
from curate.publish.licences import sources_of, warnings_of
from curate.read.finished_runs import description_of, note_of
from curate.read.known_licences import card_licences, told_licences
from curate.runs.rows import Rows

CARD = "README.md"
# What describes the data goes after it, and with it the deletion of what is no longer part of it.
LAST = ("croissant.json", CARD)
_NAME = re.compile(r"[\w.-]+/[\w.-]{1,96}", re.ASCII)


class Pushed(NamedTuple):
    """Where a dataset is, its rows, the paths sent and deleted, licence warnings and its card.

    After a dry run `sent` and `deleted` are the paths that would be.
    """

    url: str
    rows: int
    sent: list[str]
    deleted: list[str]
    warnings: list[str]
    card: str


def _card_licences(dataset: str) -> tuple[str, ...]:
    """Return the licences of a card, none where it cannot be read: the new card says so."""
    try:
        return card_licences(dataset)
    except InputError:
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
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"'{name}' is not a dataset on the Hub; it is ORG/NAME, or YOUR-NAME/NAME, of letters, "
            "digits, '-', '_' and '.'"
        )
    repository = Repository(name, public=public)
    summary, described = note_of(run / "report.json"), description_of(run)
    told = told_licences(described.get("recipe") or {})
    sources = sources_of(described.get("inputs") or (), _card_licences, told)
    called = (described.get("recipe") or {}).get("name")
    with tempfile.TemporaryDirectory(prefix="curate-push-") as aside:
        folder = Path(aside)
        parts = write_parts(Rows(run / "kept"), folder, split, shape)
        facts = Facts(
            title or called or name.partition("/")[2], run, summary, described, parts, sources
        )
        recipe = yaml.safe_dump(facts.recipe, sort_keys=False, allow_unicode=True)
        (folder / MARK).write_text(f"{MARKED.decode()}; see {CARD}.\n{recipe}", "utf-8")
        (folder / "croissant.json").write_text(
            croissant(facts, folder, name, repository.url), "utf-8"
        )
        text = card(facts)
        (folder / CARD).write_text(text, "utf-8")
        paths = [MARK, *(file for part in parts for file in part.files), *LAST]
        files = {path: folder / path for path in paths}
        sent, deleted = repository.difference(files) if dry_run else repository.send(files, LAST)
    return Pushed(repository.url, facts.rows, sent, deleted, warnings_of(sources), text)
