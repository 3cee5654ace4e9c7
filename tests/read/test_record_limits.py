"""A record at its limit is read, one beyond it fails alone, wherever in its file it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from curate.read import columns, json_document, sniff, strict_json, tables
from curate.read.columns import lines_at_once
from curate.read.json_document import read_document
from curate.read.part import Part
from curate.read.sniff import first_records
from curate.read.strict_json import read_lines
from curate.read.tables import read_csv, read_flan

LIMIT = 1 << 20
MESSAGES = Part(0, 0, "rows.jsonl", "rows", "messages", "lines")


@pytest.fixture(autouse=True)
def smaller_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (columns, json_document, strict_json, tables):
        monkeypatch.setattr(module, "LINE_BYTES", LIMIT)
    for module in (columns, strict_json):
        monkeypatch.setattr(module, "MOST_VALUES", 1000)


@pytest.mark.parametrize("before", range(4))
def test_a_record_of_csv_cut_off_in_a_character_is_one_failure(tmp_path: Path, before: int) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"text\na\n{'x' * before}{'é' * 2 * LIMIT}\nb\nc,d\n")
    found = [(read.line, read.record, read.error) for read in read_csv(path, ",")]
    assert [line for line, _, _ in found] == [2, 3, 4, 5]
    assert [record for _, record, _ in found] == [{"text": "a"}, None, {"text": "b"}, None]
    assert "longer than" in str(found[1][2])


@pytest.mark.parametrize("character", ["x", "é", "語"])
def test_lines_of_flan_keep_their_numbers_behind_one_that_is_too_long(
    tmp_path: Path, character: str
) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text(f"a\tb\tc\n{character * 3 * LIMIT}\tb\tc\r\nd\te\tf\ng\n")
    found = [(read.line, read.error is None) for read in read_flan(path)]
    assert found == [(1, True), (2, False), (3, True), (4, False)]


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("over", [0, 1])
def test_columns_read_no_line_that_is_refused_alone(end: str, place: int, over: int) -> None:
    def line(size: int) -> str:
        text = '{"messages": [{"role": "user", "content": "%s"}]}'
        return text % ("x" * (size - len(text) + 2))

    # A carriage return counts as part of its line.
    size = LIMIT + over - (end == "\r\n")
    lines = [line(size if number == place else 100) for number in range(3)]
    data = ((end or "\n").join(lines) + end).encode()
    one_by_one = [read.error for read in read_lines(data)]
    assert [error is not None for error in one_by_one] == [
        over == 1 and number == place for number in range(3)
    ]
    assert (lines_at_once(MESSAGES, data) is None) == bool(over)


@pytest.mark.parametrize("turns", [300, 400])
def test_columns_read_no_line_of_too_many_values(turns: int) -> None:
    row = {"messages": [{"role": "user", "content": "a"}] * turns}
    data = (json.dumps(row) + "\n").encode() * 2
    wrong = any(read.error is not None for read in read_lines(data))
    assert wrong == (turns == 400)
    assert (lines_at_once(MESSAGES, data) is None) == wrong


@pytest.mark.parametrize("before", [0, 500_000, 900_000])
@pytest.mark.parametrize("over", [0, 1])
def test_an_element_beyond_the_limit_fails_wherever_it_stands(
    tmp_path: Path, before: int, over: int
) -> None:
    size = LIMIT + over - len('{"a": ""}')
    large = '{"a": "%s"}' % ("é" * (size // 2) + "x" * (size % 2))
    path = tmp_path / "rows.json"
    path.write_text(f'[{{"a": "{"y" * before}"}},\n{large}]')
    found = [(read.line, read.error is None) for read in read_document(path)]
    assert found == [(1, True), (2, not over)]


def test_a_large_line_that_is_no_record_leaves_the_shape_to_all_first_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sniff, "_SNIFFED_BYTES", 1000)
    path = tmp_path / "rows.jsonl"
    path.write_text("x" * 2000 + "\n" + '{"prompt": "a"}\n' * 30)
    assert len(first_records(path, ".jsonl", "rows.jsonl")) == sniff.SNIFFED - 1
