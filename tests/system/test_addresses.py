from __future__ import annotations

import importlib.util
import urllib.request
from pathlib import Path

import pytest

from curate.errors import InputError, StoppedShort, UsageError
from curate.system.addresses import address_errors, open_address
from curate.system.credentials import address_of, is_address, refuse_address, shown_address


@pytest.mark.parametrize("where", ["s3://b/a.jsonl", "s3:/b/a.jsonl", "hdfs://nn:9000/a", "gs://b"])
def test_an_address_also_after_it_was_a_path(where: str) -> None:
    assert is_address(where)
    assert is_address(Path(where))
    assert address_of(Path(where)) == where.replace(":/", "://").replace(":///", "://")


def test_slashes_that_are_there_stay() -> None:
    assert address_of("file:///tmp/a") == "file:///tmp/a"
    assert address_of("s3:/b/a") == "s3://b/a"
    assert is_address("simplecache::s3://b/a")


@pytest.mark.parametrize(
    ("where", "shown"),
    [
        ("s3://KEY:hush@bucket/a", "s3://bucket/..."),
        ("s3://KEY:hu/sh@bucket/a", "s3://bucket/..."),
        ("s3://KEY:hu?sh@bucket/a", "s3://..."),
        ("simplecache::ftp://user:hush@host/a", "simplecache::ftp://host/..."),
        ("https://host/a?sig=hush", "https://host/..."),
        ("https://[host/a?sig=hush", "https://[host/..."),
        ("s3://bucket/a", "s3://bucket/a"),
    ],
)
def test_no_message_shows_what_an_address_holds(where: str, shown: str) -> None:
    assert shown_address(where) == shown
    with pytest.raises(UsageError) as caught:
        refuse_address(where, "the store", "choose a disk")
    assert str(caught.value) == f"the store cannot be {shown}: choose a disk"


@pytest.mark.parametrize("where", ["rows.jsonl", "/a/b", "a:b/c", "C:/rows", "runs/s3://x", "-"])
def test_a_path_is_none(where: str) -> None:
    assert not is_address(where)
    refuse_address(where, "the run folder", "choose another")


def test_a_refusal_names_the_address_and_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"the store cannot be s3://b/x: choose a disk"):
        refuse_address(Path("s3://b/x"), "the store", "choose a disk")
    refuse_address(None, "the store", "choose a disk")


def test_a_missing_package_is_named_with_its_command() -> None:
    if importlib.util.find_spec("ossfs") is not None:
        pytest.skip("ossfs is installed")
    with pytest.raises(UsageError, match=r"oss://b/a: needs the package ossfs: pip install"):
        open_address("oss://b/a")


def test_what_is_no_address_is_refused_as_such() -> None:
    with pytest.raises(UsageError, match=r"^https://\[host/\.\.\.: its host is invalid; write"):
        open_address("https://[host/rows.jsonl")


def test_credentials_in_an_address_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError, match="must not hold credentials") as caught:
        open_address("s3://key:hushhush@bucket/a.jsonl")
    assert "hushhush" not in str(caught.value)


def test_a_failure_is_one_line_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "averysecretaccesskey")
    text = "refused averysecretaccesskey\nlooked in /a\nlooked in /b"
    with (
        pytest.raises(StoppedShort) as caught,
        address_errors("s3://b/a", "written", StoppedShort),
    ):
        raise PermissionError(text)
    said = str(caught.value)
    assert said == "s3://b/a: cannot be written: PermissionError: refused ***"
    assert caught.value.__cause__ is None


def test_a_failure_does_not_repeat_the_signature_of_where_a_server_sent_it_on() -> None:
    sent_on = "https://b.example.com/rows.jsonl?X-Amz-Signature=hushhush&x=1"
    with (
        pytest.raises(InputError) as caught,
        address_errors("https://example.com/rows.jsonl", "read", InputError),
    ):
        raise OSError(f"403, message='Forbidden', url='{sent_on}'")
    assert str(caught.value).endswith("url='https://b.example.com/rows.jsonl?...'")


def test_a_full_disk_is_told_from_a_failing_server() -> None:
    with (
        pytest.raises(StoppedShort, match=r"no room for its copy.*TMPDIR"),
        address_errors("s3://b/a", "read", InputError),
    ):
        raise OSError(28, "No space left on device")


def test_an_address_of_the_web_takes_the_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(urllib.request, "proxy_bypass", lambda *_: False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    system, path = open_address("https://example.com/rows.jsonl")
    assert path == "https://example.com/rows.jsonl"
    assert system.client_kwargs == {"proxy": "http://proxy.example:3128"}
