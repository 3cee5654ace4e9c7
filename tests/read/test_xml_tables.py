"""Rows of XML dumps are records; what is not well-formed, or hostile, is told."""

import gzip
from pathlib import Path

import pytest

from curate.errors import InputError
from curate.read import open_inputs
from curate.read.tables import read_xml


def written(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_attributes_are_records_with_their_lines(tmp_path: Path) -> None:
    path = written(
        tmp_path / "a.xml",
        '<?xml version="1.0"?>\n<posts>\n<row Id="1" Body="&lt;p&gt;ä&#xA;b"/>\n<row Id="2"/>'
        "</posts>",
    )
    reads = list(read_xml(path, ""))
    assert [(r.record, r.line) for r in reads] == [
        ({"Id": "1", "Body": "<p>ä\nb"}, 3), ({"Id": "2"}, 4),
    ]  # fmt: skip
    packed = tmp_path / "a.xml.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [r.record for r in read_xml(packed, ".gz")] == [r.record for r in reads]


def test_a_file_that_breaks_off_counts_one_at_the_break(tmp_path: Path) -> None:
    path = written(tmp_path / "a.xml", '<posts><row Id="1"/>\n<row Id="2"')
    first, broken = read_xml(path, "")
    assert first.record == {"Id": "1"}
    assert (broken.record, broken.line) == (None, 2)
    assert str(broken.error).startswith("the XML breaks off: unclosed token")


@pytest.mark.parametrize(
    "text",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><posts><row Body="&b;"/></posts>',
        '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><posts><row Body="&a;"/></posts>',
    ],
)
def test_a_document_type_is_refused(text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.xml", text)
    [read] = read_xml(path, "")
    assert "a document type (<!DOCTYPE) is refused" in str(read.error)
    with pytest.raises(InputError, match="not one readable row"):
        open_inputs(str(path))


@pytest.mark.parametrize("text", ['<row Id="1"/><row Body="{}"/>', '<row Id="1"/><!-- {} -->'])
def test_what_has_no_end_is_not_held(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.read.tables.LINE_BYTES", 1 << 20)
    path = written(tmp_path / "a.xml", f"<p>{text.format('a' * (3 << 20))}</p>")
    first, broken = read_xml(path, "")
    assert first.record == {"Id": "1"}
    assert broken.error == "the XML breaks off: a tag or a text is larger than 1 MB"


@pytest.mark.parametrize("encoding", ["utv-8", "rot13", "utf-16", "big5", "idna"])
def test_an_encoding_that_cannot_be_read_is_said(encoding, tmp_path):
    path = tmp_path / "posts.xml"
    path.write_bytes(f'<?xml version="1.0" encoding="{encoding}"?><a><row b="1"/></a>'.encode())
    [found] = read_xml(path, "")
    assert str(found.error).startswith("the XML breaks off: ")
