"""Addresses that hold credentials are told from those that do not."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.system import credentials
from curate.system.credentials import (
    holds_credentials,
    holds_token,
    known_secrets,
    looks_like_key,
    masked,
    password_of,
    remember_secret,
    source_of_secret,
    without_secrets,
)
from tests.system.planted import forms, found_in


@pytest.mark.parametrize(
    "address",
    [
        "https://user:word@example.com/a",
        "https://word@example.com/a",
        "https://example.com/a?api_key=x",
        "https://example.com/a?page=1&X-Amz-Signature=x",
        "https://example.com/a?sig=x",
        "simplecache::ftp://user:word@example.com/a",
        "zip://a.jsonl::https://example.com/a.zip?sig=x",
        "s3://KEY:with/slash@bucket/a",
        "s3://KEY:with?mark@bucket/a",
        "abfs://name:word@account.dfs.core.windows.net/a",
    ],
)
def test_credentials_are_found(address: str) -> None:
    assert holds_credentials(address)


@pytest.mark.parametrize(
    "address",
    [
        "rows.jsonl",
        "a@b.jsonl",
        "https://example.com/a@b",
        "http://[::1]:8000/a@b",
        "hub://name@train",
        "s3://bucket/x?v=1",
        "simplecache::s3://bucket/x",
        "abfss://container@account.dfs.core.windows.net/x",
    ],
)
def test_other_addresses_hold_none(address: str) -> None:
    assert not holds_credentials(address)


KEY = "sk-Zq8/Yw+3nT7=vB2kLm9"


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/v1/sk-abcdefghijkl1234",
        "https://example.com/token/abc/v1",
        "https://example.com/apikey/abc/v1",
        "https://example.com/api_keys/abc/v1",
        "https://example.com/access-token/abc",
        "https://example.com/aB3dE5gH7jK9mN1pQ3sT5vX7/v1",
        "https://example.com/v1?t=a1b2c3d4e5f6a7b8",
        "https://example.com/v1#part",
    ],
)
def test_tokens_in_addresses_of_servers_are_found(address: str) -> None:
    assert holds_token(address)


@pytest.mark.parametrize(
    "address",
    [
        "https://name.openai.azure.com/openai/deployments/gpt-4o-mini-2024-07-18",
        "https://example.com/v1?api-version=2024-10-21-preview",
        "https://api.cloudflare.com/client/v4/accounts/023e105f4ecef8ad9ca31a8372d0c353/ai/v1",
        "https://generativelanguage.googleapis.com/v1beta/openai",
        "http://127.0.0.1:8000/v1",
        "https://example.com/tokenizer/v1",
        "https://example.com/turkey-llm/v1",
        "https://example.com/keycloak/v1",
    ],
)
def test_addresses_of_servers_are_no_tokens(address: str) -> None:
    assert not holds_token(address)


@pytest.mark.parametrize("name", ["gpt-4o-mini-2024-07-18", "Qwen/Qwen3-0.6B", "a.jsonl", "x" * 40])
def test_names_of_models_are_no_keys(name: str) -> None:
    assert not looks_like_key(name)


@pytest.mark.parametrize("form", forms(KEY).values(), ids=forms(KEY))
def test_a_key_is_masked_however_it_is_written(form: str) -> None:
    found = masked(f"before {form} after", KEY)
    assert "***" in found
    assert found.startswith("before ")
    assert found.endswith(" after")
    assert found_in(found, KEY) is None
    # Quoted as a message often is, and quoted again.
    for quoted in (repr([form]), json.dumps({"said": repr(form)}), repr(repr({form: form}))):
        assert found_in(masked(quoted, KEY), KEY) is None


@given(st.text(max_size=200))
def test_other_texts_are_left_alone(text: str) -> None:
    assert masked(text, KEY) == text
    assert masked(text, None) == text


def test_what_the_environment_holds_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", KEY)
    monkeypatch.setenv("HTTPS_PROXY", "http://ann:p%40ssw0rd%21@proxy:3128")
    monkeypatch.setenv("LOGIN_TOKEN_FILE", "/run/secrets/token")
    monkeypatch.setenv("SHORT_TOKEN", "EMPTY")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false, as always")
    known = known_secrets()
    assert known["SOME_API_KEY"] == KEY and known["HTTPS_PROXY"] == "p@ssw0rd!"
    assert not {"LOGIN_TOKEN_FILE", "SHORT_TOKEN", "TOKENIZERS_PARALLELISM"} & known.keys()
    said = f"407 of ann:p%40ssw0rd%21@proxy with {KEY}"
    assert without_secrets(said) == "407 of ann:***@proxy with ***"
    assert source_of_secret(f"a{KEY}b") == "SOME_API_KEY"
    assert source_of_secret("a text") is None


def test_a_secret_of_another_source_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_remembered", {})
    remember_secret("EMPTY", "a variable of no telling name")
    assert without_secrets("an EMPTY answer") == "an EMPTY answer"
    remember_secret(KEY * 2, "another variable")
    assert without_secrets(f"an answer with {KEY * 2}") == "an answer with ***"


@pytest.mark.parametrize(
    ("address", "password"),
    [
        ("http://ann:word@proxy:3128", "word"),
        ("ann:word@proxy:3128", "word"),
        ("http://ann:a%2Fb%40c@proxy", "a/b@c"),
        ("http://proxy:3128", None),
        ("http://[proxy:3128", None),
    ],
)
def test_the_password_of_a_proxy(address: str, password: str | None) -> None:
    assert password_of(address) == password


def test_masking_takes_no_time_whatever_the_text() -> None:
    began = time.process_time()
    for one in ("\\", "\n", KEY[0], KEY[:-1], "\\u", f"{KEY[0]}\n", "%"):
        masked(one * (200_000 // len(one)), KEY)
    assert time.process_time() - began < 3
