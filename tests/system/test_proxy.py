"""The environment names the proxy, as for curl; a server on this machine has none."""

from __future__ import annotations

import pytest

from curate.errors import RecipeError
from curate.system.proxy import is_this_machine, proxy_of


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://api.example.com/v1", "http://proxy:3128"),
        ("http://api.example.com/v1", None),
        ("https://10.0.0.7:8000/v1", None),
        ("https://here.example.com/v1", None),
        ("https://at.port.example.org:8443/v1", None),
        ("https://at.port.example.org/v1", "http://proxy:3128"),
    ],
)
def test_the_environment_names_the_proxy(
    url: str, proxy: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "localhost,10.0.0.7,here.example.com,at.port.example.org:8443")
    assert proxy_of(url) == proxy


def test_one_for_all_comes_last_and_an_address_may_lack_its_scheme(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", "ann:word@proxy:3128")
    assert proxy_of("https://api.example.com/v1") == "http://ann:word@proxy:3128"
    monkeypatch.setenv("https_proxy", "https://own:3128")
    assert proxy_of("https://api.example.com/v1") == "https://own:3128"
    assert proxy_of("http://api.example.com/v1") == "http://ann:word@proxy:3128"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.3.2.1", "[::1]", "vllm.localhost"])
def test_a_server_on_this_machine_is_asked_directly(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://proxy:3128")
    assert proxy_of(f"http://{host}:8000/v1") is None


@pytest.mark.parametrize("host", ["localhost.example.com", "10.0.0.1", "::2", ""])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://ann:pass-word@proxy:1080", "names a socks5 proxy"),
        ("http://ann:pass-word@", "names no address"),
        ("http://ann:pass-word@[proxy", "names no address"),
        ("http://ann:pass-word@proxy:port", "names no address"),
    ],
)
def test_what_is_no_http_proxy_is_refused_without_its_login(
    proxy: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(RecipeError, match=f"https_proxy .*{said}.*NO_PROXY") as error:
        proxy_of("https://api.example.com/v1")
    assert "pass-word" not in str(error.value) and "ann" not in str(error.value)
    assert proxy_of("http://api.example.com/v1") is None
