"""The text of an HTML page: what a browser would show of it, without its scripts and menus.

A paragraph, a heading, an item of a list or a row of a table is a block of its own, set off by a
blank line or a new line; white space is as a browser collapses it, except in `pre`. No page is
fetched, and nothing of one is run.
"""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser

# Elements of which nothing is shown, or that say nothing about the page's subject.
_HIDDEN = frozenset(
    (
        *("script", "style", "noscript", "template", "svg", "math", "iframe", "object", "canvas"),
        *("nav", "select", "button", "textarea", "head", "audio", "video"),
    )
)
# Elements that begin a paragraph, and those that begin a line.
_PARAGRAPHS = frozenset(
    (
        *("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "table", "pre", "blockquote"),
        *("div", "section", "article", "main", "header", "footer", "aside", "figure", "form", "hr"),
        *("address", "details", "fieldset", "body"),
    )
)
_LINES = frozenset(("li", "tr", "dt", "dd", "br", "figcaption", "summary", "caption", "option"))
_CELLS = frozenset(("td", "th"))
_SPACE = re.compile(r"[ \t\r\n\f]+")
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_PRESCAN = 1024
# Attributes of a tag, and spaces between them: each takes some 560 bytes while the tag is read.
_MOST_ATTRIBUTES = 100_000
_NAME = re.compile(r"<[a-zA-Z][^\s/>]*([\s/]*)")
_ATTRIBUTE = re.compile(
    r"""(?<=['"\s/])[^\s/>][^\s/=>]*(?:\s*=+\s*(?:'[^']*'|"[^"]*"|(?!['"])[^>\s]*))?([\s/]*)"""
)
# Each tag or comment that never ends is looked for to the end of the page. So many characters are
# looked through for all of them, about a second: 256 such tags at the head of a page of 64 KB.
_SEEN_AGAIN = 16 << 20


def decoded(data: bytes) -> str:
    """Return a page's text by its byte order mark, its `meta charset`, or as UTF-8.

    Raises:
        ValueError: the bytes are not of that encoding, or it is unknown.
    """
    marks = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), None)
    named = _CHARSET.search(data[:_PRESCAN])
    encoding = encoding or (named[1].decode("ascii") if named else "utf-8")
    try:
        return data.decode(encoding)
    except LookupError:
        raise ValueError(f"its encoding '{encoding}' is unknown; save it as UTF-8") from None
    except UnicodeDecodeError as error:
        raise ValueError(
            f"byte {error.start + 1} (0x{data[error.start]:02x}) is not {encoding}; save it as "
            "UTF-8, or name its encoding in <meta charset>"
        ) from None


def html_text(page: str) -> tuple[str, str]:
    """Return the title and the text of a page. A tag or a comment that never ends is text.

    Raises:
        ValueError: so many never end that the page would be read in quadratic time, or one has more
            attributes than a page's tag may have.
    """
    parser = _Page()
    parser.read(page)
    return _SPACE.sub(" ", "".join(parser.title)).strip(), parser.text()


class _Page(HTMLParser):
    """Collect a page's text block by block."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title: list[str] = []
        self._pieces: list[str] = []
        # The hidden elements that are open, the outermost of each name, and how many `pre` are.
        self._hidden: list[str] = []
        self._pre = 0
        self._in_title = False
        # Whether nothing was shown yet of a line or a cell: space there is none.
        self._fresh = True

    def read(self, page: str) -> None:
        """Take a whole page. `close` alone takes minutes for a page of `<a <a <a`, and hours."""
        self.feed(page)
        line, seen, unended = self.getpos()[0], 0, 0
        # What is left begins with a tag or a comment that never ends, or is text.
        while self.cdata_elem is None and self.rawdata.startswith("<") and len(self.rawdata) > 1:
            rest, self.rawdata = self.rawdata, ""
            seen, unended = seen + len(rest), unended + 1
            if seen > _SEEN_AGAIN:
                raise ValueError(
                    f"at least {unended} tags or comments never end, the first at line {line}; end "
                    "them, or write < as &lt;"
                )
            end = rest.find(">", 1) + 1 or rest.find("<", 1)
            end = end if end > 0 else 1
            self.handle_data(unescape(rest[:end]))
            self.feed(rest[end:])
        self.close()

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        # The parser of Python 3.11 has no answer to a section of unknown kind; a browser takes it
        # for a comment.
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i, report)

    def parse_starttag(self, i: int) -> int:
        """Read the tag at `i`, unless it has too many attributes; return where it ends."""
        found, count = _NAME.match(self.rawdata, i), 0
        while found is not None:
            count += 1 + len(found[1])
            if count > _MOST_ATTRIBUTES:
                raise ValueError(
                    f"the tag at line {self.getpos()[0]} has over {_MOST_ATTRIBUTES:,} attributes "
                    "and spaces between them; leave it out"
                )
            found = _ATTRIBUTE.match(self.rawdata, found.end())
        return super().parse_starttag(i)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title" and "svg" not in self._hidden
        if tag in _HIDDEN:
            if tag not in self._hidden:
                self._hidden.append(tag)
        elif tag == "body":
            # A head may be left open.
            self._hidden.clear()
        if not self._hidden:
            self._break(tag)
            self._pre += tag == "pre"

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if tag in self._hidden:
            # Whatever was left open inside it ends with it.
            del self._hidden[self._hidden.index(tag) :]
        elif not self._hidden and tag not in ("br", "hr", *_CELLS):
            self._pre -= tag == "pre" and self._pre > 0
            self._break(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if not self._hidden:
            self._break(tag)

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title.append(data)
        elif self._hidden:
            return
        elif self._pre:
            self._pieces.append(data)
            self._fresh = False
        else:
            data = _SPACE.sub(" ", data)
            data = data.lstrip(" ") if self._fresh else data
            self._pieces.append(data)
            self._fresh = self._fresh and not data

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._pieces.append("\n\n")
            self._fresh = True
        elif tag in _LINES and (tag == "br" or not self._fresh):
            self._pieces.append("\n")
            self._fresh = True
        elif tag in _CELLS and not self._fresh:
            self._pieces.append("\t")
            self._fresh = True

    def text(self) -> str:
        """Return the pieces as lines without space at their ends, and no two blank ones."""
        # Only where space begins is it looked through: from each of a million blanks, it is hours.
        text = re.sub(r"(?<![ \t])[ \t]+(?=[\t\n])", "", "".join(self._pieces))
        return re.sub(r"\n{3,}", "\n\n", text).strip()
