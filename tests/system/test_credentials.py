"""Addresses that hold credentials are told from those that do not."""

import pytest

from curate.system.credentials import holds_credentials


@pytest.mark.parametrize(
    "address",
    [
        "https://user:word@example.com/a",
        "https://word@example.com/a",
        "https://example.com/a?api_key=x",
        "https://example.com/a?page=1&X-Amz-Signature=x",
        "https://example.com/a?sig=x",
    ],
)
def test_credentials_are_found(address: str) -> None:
    assert holds_credentials(address)


@pytest.mark.parametrize(
    "address",
    ["rows.jsonl", "a@b.jsonl", "https://example.com/a@b", "hub://name@train", "s3://bucket/x?v=1"],
)
def test_other_addresses_hold_none(address: str) -> None:
    assert not holds_credentials(address)
