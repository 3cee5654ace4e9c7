"""Documents: text, Markdown, HTML and PDF are rows; what holds no text fails under its own name."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
from pathlib import Path

import pytest

from curate.errors import InputError, MissingExtra
from curate.pipeline import Pipeline
from curate.read import open_inputs
from curate.read.html_text import html_text
from curate.steps.filters.length import Length
from tests.read.reading import read_all

pypdf = pytest.importorskip("pypdf")

GUIDE = "\ufeff# The guide #\r\n\r\nFirst words.\r\n\r\n\r\nLast words.\r\n"
PAGE = """<!doctype html><html><head><title>A &amp; B</title><style>p {color: red}</style></head>
<body><nav>Home | About</nav><h1>Bees</h1><p>Bees see <b>ultra</b>violet
light.</p><script>track()</script><ul><li>One</li><li>Two</li></ul>
<pre>a = 1
  b = 2</pre><table><tr><td>x</td><td>1</td></tr><tr><td>y</td><td>2</td></tr></table></body>"""
PAGE_TEXT = "Bees\n\nBees see ultraviolet light.\n\nOne\nTwo\n\na = 1\n  b = 2\n\nx\t1\ny\t2"


def pdf(*pages: str, password: str | None = None, title: str | None = None) -> bytes:
    """Return a PDF with a line of text on each page; an empty text makes a page without any."""
    from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

    writer = pypdf.PdfWriter()
    for text in pages:
        page = writer.add_blank_page(300, 300)
        if text:
            font = DictionaryObject(
                {
                    NameObject("/Type"): NameObject("/Font"),
                    NameObject("/Subtype"): NameObject("/Type1"),
                    NameObject("/BaseFont"): NameObject("/Helvetica"),
                }
            )
            fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
            page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
            stream = DecodedStreamObject()
            stream.set_data(f"BT /F1 12 Tf 20 200 Td ({text}) Tj ET".encode("latin-1"))
            page[NameObject("/Contents")] = writer._add_object(stream)
    if title:
        writer.add_metadata({"/Title": title})
    if password is not None:
        writer.encrypt(password, "owner", algorithm="RC4-128")
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with documents of every kind, good and bad."""
    home = tmp_path / "docs"
    (home / "deep").mkdir(parents=True)
    (home / ".git").mkdir()
    (home / ".git" / "hidden.md").write_text("never read")
    (home / "guide.md").write_bytes(GUIDE.encode())
    (home / "deep" / "page.HTML").write_text(PAGE)
    (home / "book.pdf").write_bytes(pdf("Chapter one", "", "Chapter two", title="The book"))
    (home / "secret.pdf").write_bytes(pdf("Hidden words", password="key"))
    (home / "scan.pdf").write_bytes(pdf("", ""))
    (home / "torn.pdf").write_bytes(pdf("Torn")[:40])
    (home / "empty.txt").write_bytes(b" \n")
    (home / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    return home


def test_every_kind_becomes_a_row_with_its_text_and_what_is_known_of_it(folder: Path) -> None:
    found = read_all(str(folder))
    known = {json.loads(row.extra)["file"].removeprefix(f"{folder}/"): row for row in found.rows}
    assert list(known) == ["book.pdf", "deep/page.HTML", "guide.md"]
    extras = {name: json.loads(row.extra) for name, row in known.items()}
    # The text of Markdown is the file's, to the byte; only its byte order mark is not text.
    assert known["guide.md"].instruction == GUIDE.removeprefix("\ufeff")
    assert (extras["guide.md"]["title"], extras["guide.md"]["format"]) == ("The guide", "markdown")
    assert known["deep/page.HTML"].instruction == PAGE_TEXT
    assert extras["deep/page.HTML"]["title"] == "A & B"
    text, pages = known["book.pdf"].instruction, extras["book.pdf"]["pages"]
    assert [text[begin:].split("\n")[0] for begin in pages] == ["Chapter one", "", "Chapter two"]
    assert extras["book.pdf"]["title"] == "The book"
    assert {row.kind for row in found.rows} == {"prompt"}


def test_what_holds_no_text_fails_by_its_name_and_stops_no_other(folder: Path) -> None:
    result = Pipeline([Length(on="whole", min=1)]).run(
        str(folder), run=folder.parent / "run", store=folder.parent / "store", allow_failed=1.0
    )
    assert (result.summary["in"], result.summary["kept"], result.summary["failed"]) == (8, 3, 5)
    errors = {Path(u["file"]).name: u["error"] for u in result.summary["unreadable"]}
    assert "the PDF is encrypted; remove its password" in errors.pop("secret.pdf")
    assert "no text on its 2 pages, so it may be a scan" in errors.pop("scan.pdf")
    assert "no readable PDF" in errors.pop("torn.pdf")
    assert errors.pop("empty.txt") == "the file is empty"
    assert "invalid UTF-8 at byte 4 (0xe9)" in errors.pop("latin.txt")
    assert not errors


@pytest.mark.parametrize("name", ["secret.pdf", "scan.pdf", "empty.txt"])
def test_an_input_without_one_readable_document_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"{name}: not one readable row; its first error"):
        Pipeline([Length(on="whole", min=1)]).run(
            str(folder / name), run=folder.parent / "run", store=folder.parent / "store"
        )


def test_a_pdf_without_its_reader_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.system.package_data.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, "pypdf")
    with pytest.raises(MissingExtra, match=r"needs pypdf, .* install it with: pip install .*pdf"):
        open_inputs(str(folder))
    assert read_all(str(folder / "guide.md")).records == 1


def test_a_folder_of_data_is_data_unless_the_shape_says_documents(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n')
    assert [row.kind for row in read_all(str(folder)).rows] == ["sft"]
    chosen = read_all({"input": {"path": str(folder), "shape": "document"}})
    assert [row.kind for row in chosen.rows] == ["prompt"] * 3
    with pytest.raises(InputError, match=r"rows\.jsonl, which is not a document; documents end in"):
        open_inputs(str(folder / "*.*"))


def test_a_column_of_texts_is_read_as_documents_where_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "One.", "url": "u"}\n')
    (row,) = read_all({"input": {"path": str(path), "shape": "document"}}).rows
    assert (row.instruction, row.extra) == ("One.", '{"url":"u"}')


def test_another_name_or_byte_is_another_input(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("One.")
    digests = [open_inputs(str(path)).fingerprint()[0]["digest"]]
    path.write_text("Two.")
    digests.append(open_inputs(str(path)).fingerprint()[0]["digest"])
    renamed = path.rename(tmp_path / "b.txt")
    digests.append(open_inputs(str(renamed)).fingerprint()[0]["digest"])
    assert len(set(digests)) == 3


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (PAGE, PAGE_TEXT),
        ("<p>a<br>b<p>c", "a\nb\n\nc"),
        ("<div><svg><title>x</title></svg>y</div>", "y"),
        ("<noscript><p>a</noscript>b", "b"),
        ("<p>1 &lt; 2 &nbsp;&eacute;</p>", "1 < 2 \u00a0\u00e9"),
        ("<pre>  a\n\n    b</pre>", "a\n\n    b"),
        ("plain", "plain"),
        ("<p>" * 5000 + "deep" + "</p>" * 5000, "deep"),
    ],
)
def test_the_text_of_a_page_is_what_a_browser_shows(page: str, text: str) -> None:
    assert html_text(page)[1] == text


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("a<p>b <!-- c <p>d</p> e", "a\n\nb <!-- c <p>d\n\ne"),
        ("a <b c", "a <b c"),
        ("a <b <i <u", "a <b <i <u"),
        ("<pre>a <b &lt; <i &amp", "a <b < <i &"),
        ('<a href="x>y</a> <p>z', '<a href="x>y\n\nz'),
        ("<p>a</p", "a</p"),
        ("a<?b", "a<?b"),
        ("a <", "a <"),
        ("a <!-- b <script> c", "a <!-- b <script> c"),
        ("a<![why]>b<![ if]>c", "abc"),
    ],
)
def test_a_tag_or_comment_that_never_ends_is_text(page: str, text: str) -> None:
    assert html_text(page)[1] == text


def test_what_is_hidden_ends_with_the_outermost_of_its_name() -> None:
    page = "<svg><math><svg>a</math>b</svg>c<math><svg><math>d</svg>e</math>f"
    assert html_text(page)[1] == "cf"


def test_space_before_an_end_of_line_is_left_out_of_preformatted_text() -> None:
    assert html_text("<pre>a \t \n  b \t  c\td \n \n</pre>")[1] == "a\n  b\t  c\td"


PATTERNS = {
    "comments": ("", "<!--", ""),
    "comments with dashes": ("", "<!-- --", ""),
    "tags": ("", "<a ", ""),
    "tags with quotes": ("", '<a x=">"', ""),
    "tags with an open quote": ("", "<a b='", ""),
    "end tags": ("", "</a ", ""),
    "instructions": ("", "<?", ""),
    "declarations": ("", "<!x", ""),
    "sections": ("", "<![CDATA[", ""),
    "conditions": ("", "<![if ", ""),
    "references": ("", "&a", ""),
    "hidden": ("", "<svg></b>", ""),
    "hidden, of two names": ("", "<svg></math>", ""),
    "hidden titles": ("", "<math><title>", ""),
    "blanks": ("<pre>", " ", "x"),
    "ends of script": ("<script>", "</ ", ""),
}


@pytest.mark.parametrize("name", PATTERNS)
def test_the_time_that_a_page_takes_does_not_grow_with_its_square(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Less than a reader takes, so that the test is done in seconds.
    monkeypatch.setattr("curate.read.html_text._SEEN_AGAIN", 2 << 20)
    head, unit, tail = PATTERNS[name]

    def seconds(size: int) -> float:
        page = head + unit * (size // len(unit)) + tail
        began = time.process_time()
        with contextlib.suppress(ValueError):
            html_text(page)
        return time.process_time() - began

    # With the square it is 64 times, and of minutes.
    assert seconds(1 << 20) < 24 * max(seconds(1 << 17), 0.1)


def test_a_page_of_tags_that_never_end_is_a_failed_row_in_words(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<p>a\n" + "<!--" * (1 << 17))
    (tmp_path / "b.txt").write_text("Prose.")
    found = read_all(str(tmp_path))
    (row,), (failed,) = found.rows, found.failed
    assert row.instruction == "Prose."
    assert "tags or comments never end, the first at line 2; end them, or write" in str(failed)


@pytest.mark.parametrize(
    ("line", "title"),
    [
        ("# The guide ##\r", "The guide"),
        ("#  \t A # b # \t", "A # b"),
        ("# C#", "C"),
        ("# ##", "#"),
        ("#\n#none\n# Some", "Some"),
        ("# a" + " " * 200_000 + "b #" + "#" * 200_000 + "b", None),
    ],
    ids=["closed", "space", "sharp", "only marks", "later", "long"],
)
def test_the_title_of_markdown_is_its_first_heading(
    tmp_path: Path, line: str, title: str | None
) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(line.encode() + b"\nText.\n")
    (row,) = read_all(str(path)).rows
    assert json.loads(row.extra or "{}")["title"] == (title or line[2:])


def test_a_page_names_its_encoding(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_bytes('<meta charset="iso-8859-1"><p>caf\u00e9'.encode("latin-1"))
    assert read_all(str(path)).rows[0].instruction == "caf\u00e9"
    path.write_bytes(b"<p>caf\xe9 <p>more")
    with pytest.raises(InputError, match=r"byte 7 \(0xe9\) is not utf-8"):
        Pipeline([Length(on="whole", min=1)]).run(
            str(path), run=tmp_path / "r", store=tmp_path / "s"
        )


def test_a_tag_of_long_values_and_many_attributes_is_a_tag():
    image = '<p id=1>a<img src="data:image/png;base64,' + "ab /+>" * 500_000 + '">b'
    assert html_text(image)[1] == "ab"
    assert html_text("a<br" + " b='c d'" * 30_000 + "/>e")[1] == "a\ne"


@pytest.mark.parametrize("unit", ["a ", "a=b ", "b='c' ", " ", "/ ", "\n"])
@pytest.mark.parametrize("head", ["<a b ", '<a b"', '<a b=c="', '<a b=\'"\' c=">" '])
def test_a_tag_of_too_many_attributes_is_refused(head, unit):
    with pytest.raises(ValueError, match=r"the tag at line 2 has over 100,000 attributes"):
        html_text("Hi\n" + head + unit * 200_000 + "'\">x")
