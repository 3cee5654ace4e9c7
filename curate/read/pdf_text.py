"""The text of a PDF, page by page, with the place at which each page begins."""

from __future__ import annotations

import io
import logging
from typing import Any


def pdf_text(data: bytes) -> dict[str, Any]:
    """Return a PDF's `text`, `title` where it has one, and `pages`: where each begins in the text.

    Pages are joined by a blank line.

    Raises:
        ValueError: it is encrypted, has no text (a scan), or cannot be read.
    """
    import pypdf
    from pypdf.errors import DependencyError

    # What it mends it says of every object; what it cannot read is an error all the same.
    logging.getLogger("pypdf").setLevel(logging.ERROR)
    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise ValueError(
                "the PDF is encrypted; remove its password: qpdf --decrypt --password=... IN OUT"
            )
        texts = [_whole_characters(page.extract_text()).strip() for page in reader.pages]
        title = (reader.metadata.title if reader.metadata else None) or ""
    except ValueError:
        raise
    except DependencyError as error:
        raise ValueError(f"the PDF is encrypted, and {error}") from error
    except Exception as error:
        # Broken files end in errors of many classes.
        raise ValueError(f"no readable PDF: {type(error).__name__}: {error}") from error
    if not any(texts):
        raise ValueError(
            f"no text on its {len(texts)} pages, so it may be a scan; recognise its text first: "
            "ocrmypdf IN OUT"
        )
    pages, begin = [], 0
    for text in texts:
        pages.append(begin)
        begin += len(text) + 2
    return {
        "text": "\n\n".join(texts),
        "pages": pages,
        **({"title": _whole_characters(title).strip()} if title.strip() else {}),
    }


def _whole_characters(text: str) -> str:
    """Return `text` with surrogate pairs joined; a lone one, which is not text, becomes U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
