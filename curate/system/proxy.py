"""The proxy that requests to a server go through: HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY.

As curl reads them, but for one thing: a server on this machine is never asked through a proxy. Only
HTTP proxies are used. A login in such an address is sent to the proxy, and stands in no message.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from curate.errors import RecipeError


def proxy_of(url: str) -> str | None:
    """Return the proxy that the environment names for `url`, or `None`.

    Raises:
        RecipeError: it is not an HTTP proxy.
    """
    # aiohttp's own way, trust_env, reads ~/.netrc for every request, in another thread.
    parts = urlsplit(url)
    host = parts.hostname or ""
    with_port = f"{host}:{parts.port}" if parts.port else host
    if is_this_machine(host) or proxy_bypass(with_port):
        return None
    named = getproxies()
    found = next((named[name] for name in (parts.scheme, "all") if named.get(name)), None)
    if found is None:
        return None
    proxy = found if "://" in found else f"http://{found}"
    try:
        scheme, there = urlsplit(proxy).scheme, bool(urlsplit(proxy).hostname)
        _ = urlsplit(proxy).port
    except ValueError:
        scheme, there = "", False
    if scheme not in ("http", "https") or not there:
        what = f"a {scheme} proxy" if scheme and there else "no address"
        variable = f"{parts.scheme}_proxy" if named.get(parts.scheme) else "all_proxy"
        raise RecipeError(
            f"the environment variable {variable} (or {variable.upper()}) names {what} for "
            f"{parts.scheme}://{host}; only HTTP proxies can be used: write http://HOST:PORT "
            f"there, or put {host} into NO_PROXY to connect without a proxy"
        )
    return proxy


def is_this_machine(host: str) -> bool:
    """Tell whether `host` names this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
