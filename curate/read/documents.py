"""Documents: files of prose, each of which is one row, with its whole text as a prompt.

Text and Markdown are taken as they stand, so that places in the row's text are places in the file;
HTML and PDF are turned into text. A file that holds no text, or cannot be read, is a failed row
under its own name: one scan among a hundred documents stops nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from curate.errors import InputError
from curate.read.part import LINE_BYTES, RAW_BYTES, Read
from curate.read.strict_json import describe, too_long
from curate.system.package_data import DOCUMENTS, require_extra

# The shape of documents, which makes a folder of them an input, whatever else lies there.
DOCUMENT = "document"
# Most of a PDF are its pictures and fonts.
_PDF_BYTES = 128 << 20
_FORMATS = {".txt": "text", ".md": "markdown", ".markdown": "markdown", ".pdf": "pdf"}
# What is not prose, whatever a file's ending says: an object of JSON on its first line.
_RECORDS = re.compile(rb'(?:\xef\xbb\xbf)?\s*\{"[^\n]*\}[ \t\r]*(?:\n|\Z)')
_TITLE = re.compile(r"^#[ \t]+([^ \t\n].*)$", re.MULTILINE)


class DocumentFile(NamedTuple):
    """A document's file: what its user calls it, and where it lies."""

    name: str
    path: Path


def is_document(path: Path) -> bool:
    """Tell by its ending whether a file is a document."""
    return path.suffix.lower() in DOCUMENTS


def documents_in(folder: Path) -> list[Path]:
    """Return the documents of a folder and of those in it, by the bytes of their names.

    Files and folders whose names begin with a point are left alone.
    """
    found = [
        path
        for path in folder.rglob("*")
        if is_document(path)
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return sorted(found, key=os.fsencode)


def check_documents(where: str, files: Sequence[tuple[str, Path]]) -> list[DocumentFile]:
    """Return the documents that an input names, once all its files are some and can be read.

    Raises:
        InputError: there are none, or other files among them.
        MissingExtra: there is a PDF, and its reader is not installed.
    """
    others = [name for name, path in files if not is_document(path)]
    if others or not files:
        found = f"holds {others[0]}, which is not a document" if others else "no document here"
        raise InputError(
            f"{where}: {found}; documents end in {', '.join(DOCUMENTS)}, and other files are an "
            "input of their own"
        )
    if any(path.suffix.lower() == ".pdf" for _, path in files):
        require_extra("pdf", f"{where}: reading PDF", "pypdf")
    return [DocumentFile(name, path) for name, path in files]


def read_documents(documents: Iterable[DocumentFile]) -> Iterator[Read]:
    """Yield each document as a record of its text, name, format and title, or why it is none."""
    for name, path in documents:
        most = _PDF_BYTES if path.suffix.lower() == ".pdf" else LINE_BYTES
        with open(path, "rb") as file:
            data = file.read(most + 1)
        try:
            if len(data) > most:
                raise ValueError(f"longer than {most >> 20} MB: split it")
            if not data.strip():
                raise ValueError("the file is empty")
            if _RECORDS.match(data):
                raise ValueError(
                    "it holds JSON objects, a line each, and would be read as prose; give it the "
                    "ending .jsonl"
                )
            record = {"text": "", "file": name, **_content(path.suffix.lower(), data)}
            if len(record["text"]) > LINE_BYTES:
                raise ValueError(f"its text is {too_long()}: split it")
            if not record["text"].strip():
                raise ValueError("it holds no text")
        except (ValueError, RecursionError) as error:
            yield Read(None, describe(error), data[:RAW_BYTES], 1, file=name)
            continue
        yield Read(record, size=len(record["text"]), file=name)


def _content(ending: str, data: bytes) -> dict[str, Any]:
    """Return a document's text and what else is known of it.

    Raises:
        ValueError: the bytes are not such a document.
    """
    if ending == ".pdf":
        from curate.read.pdf_text import pdf_text

        return {"format": "pdf", **pdf_text(data)}
    if ending in (".html", ".htm"):
        from curate.read.html_text import decoded, html_text

        title, text = html_text(decoded(data))
        return {"text": text, "format": "html", **({"title": title} if title else {})}
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"invalid UTF-8 at byte {error.start + 1} (0x{data[error.start]:02x}); convert it: "
            "iconv -f ENCODING -t UTF-8"
        ) from None
    record = {"text": text, "format": _FORMATS[ending]}
    heading = _TITLE.search(text) if ending != ".txt" else None
    if heading is None:
        return record
    # By hand: one expression for all of it tries each blank of a long line as the title's end.
    title = heading[1].removesuffix("\r").rstrip(" \t").rstrip("#").rstrip(" \t")
    return record | {"title": title or heading[1][0]}
