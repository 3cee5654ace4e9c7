"""What models cost where nothing else was said: a small, dated table with its sources."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from curate.models.model import Discount, ModelSpec, Price

HOME = "api.openai.com"
TABLE = Path(__file__).with_name("prices.json")


def discount_of(spec: ModelSpec) -> Discount | None:
    """Return what batch jobs of a model take off its price; `None` where it sends none.

    Nothing is taken off where neither the recipe nor the table says so: a price that is too low
    would break a ceiling.
    """
    batch = spec.options.get("batch")
    if not batch:
        return None
    if isinstance(batch, Mapping):
        return Discount(float(batch["discount"]), "the recipe")
    host = urlsplit(spec.base_url).hostname if spec.base_url else HOME
    found = table()["hosts"].get(host, {}).get("batch")
    if found is None:
        return Discount(0.0, "none is known for this server; say 'batch: {discount: 0.5}'")
    return Discount(float(found["discount"]), str(found["source"]))


def price_of(spec: ModelSpec) -> Price | None:
    """Return what an `openai:` model costs: the recipe's price or the table's, less a discount."""
    price, discount = spec.price, discount_of(spec)
    host = urlsplit(spec.base_url).hostname if spec.base_url else HOME
    # A dated name (`gpt-4o-mini-2024-07-18`) has a line of its own or none: a new version may cost
    # more, and a price that is too low would break a ceiling.
    listed = table()["hosts"].get(host, {}).get("models", {}).get(spec.name)
    if price is None and listed:
        price = Price(*map(float, listed))
    if price is None or discount is None:
        return price
    return Price(*(value * (1 - discount.share) for value in price))


@functools.cache
def table() -> dict[str, Any]:
    """Return the whole table: its date, and for each host its source and prices."""
    data: dict[str, Any] = json.loads(TABLE.read_text(encoding="utf-8"))
    return data
