"""Tell whether an address holds credentials: those never reach a file, a log or a message."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlsplit

_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|signature|^sig$", re.IGNORECASE)


def holds_credentials(address: str) -> bool:
    """Tell whether the URL `address` holds a login, or a key or signature in its query.

    Raises:
        ValueError: it is no valid URL.
    """
    # `hub://name@split` names a split, and the Hub's addresses hold no login.
    if "://" not in address or address.startswith("hub://"):
        return False
    parts = urlsplit(address)
    return "@" in parts.netloc or any(_SECRET_NAME.search(n) for n, _ in parse_qsl(parts.query))
