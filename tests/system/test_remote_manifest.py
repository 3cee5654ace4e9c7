from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate.errors import InputError
from curate.read.inputs import open_inputs
from curate.system.remote_manifest import MANIFEST, Manifest, describe_file, parse_manifest
from tests.read.reading import read_all

LINE = b'{"instruction": "Say", "output": "%s"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Any:
    """A folder in memory, `memory:///listed`, with two files of which its manifest lists one."""
    system = fsspec.filesystem("memory")
    local = tmp_path / "a.jsonl"
    local.write_bytes(LINE % b"listed")
    text = Manifest({"a.jsonl": describe_file(local)}, complete=True).text
    system.pipe(
        {
            "/listed/a.jsonl": local.read_bytes(),
            "/listed/b.jsonl": LINE % b"of an export before",
            f"/listed/{MANIFEST}": text.encode(),
        }
    )
    yield system
    system.rm("/listed", recursive=True)


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    manifest = Manifest({"a": describe_file(tmp_path / "a")}, complete=False)
    assert manifest.files["a"].size == 3
    assert parse_manifest(manifest.text.encode(), "s3://b") == manifest


def test_only_the_files_of_the_manifest_are_read(folder: Any) -> None:
    assert [row.response for row in read_all("memory:///listed").rows] == ["listed"]


def test_a_folder_whose_files_are_on_their_way_is_refused(folder: Any) -> None:
    folder.pipe_file(f"/listed/{MANIFEST}", Manifest({}, complete=False).text.encode())
    with pytest.raises(InputError, match=r"memory:///listed: .*broke off.*--replace"):
        open_inputs("memory:///listed")


@pytest.mark.parametrize("now", [LINE % b"lister", LINE % b"longer than it was"])
def test_a_file_that_is_not_what_was_listed_is_refused(folder: Any, now: bytes) -> None:
    folder.pipe_file("/listed/a.jsonl", now)
    with pytest.raises(InputError, match=rf"a\.jsonl: has {len(now)} bytes.*manifest says 43"):
        open_inputs("memory:///listed")


def test_a_listed_file_that_is_gone_is_named(folder: Any) -> None:
    folder.rm_file("/listed/a.jsonl")
    with pytest.raises(InputError, match="no such file"):
        open_inputs("memory:///listed")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "is not a manifest"),
        ([], "is not a manifest"),
        ({"format": 1, "complete": True}, "is not a manifest"),
        ({"format": 1, "complete": True, "files": {"a": {"size": "x"}}}, "is not a manifest"),
        ({"format": 3, "complete": True, "files": {}}, "has format 3"),
        (
            {"format": 1, "complete": True, "files": {"../a": {"size": 1, "sha256": ""}}},
            r"names '\.\./a'",
        ),
    ],
)
def test_a_damaged_manifest_is_named(data: Any, said: str) -> None:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    with pytest.raises(InputError, match=rf"s3://b/x/{MANIFEST}: {said}"):
        parse_manifest(text, "s3://b/x")
