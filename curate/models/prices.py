"""What models cost where nothing else was said: a small, dated table with its sources."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.models.model import Price

TABLE = Path(__file__).with_name("prices.json")


def known_price(model: str, base_url: str | None = None) -> Price | None:
    """Return the table's price of `model` at a server, or `None` when the table has none.

    A dated name (`gpt-4o-mini-2024-07-18`) has a line of its own or none: a new version may cost
    more, and a price that is too low would break a ceiling.
    """
    host = urlsplit(base_url).hostname if base_url else "api.openai.com"
    found = table()["hosts"].get(host, {}).get("models", {}).get(model)
    return Price(float(found[0]), float(found[1])) if found else None


@functools.cache
def table() -> dict[str, Any]:
    """Return the whole table: its date, and for each host its source and prices."""
    data: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return data
