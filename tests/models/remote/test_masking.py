"""Replies without the key that the server was sent, in whatever pieces it comes back."""

from __future__ import annotations

from curate.ask import Reply
from curate.models.remote.masking import Secrets
from tests.system.planted import found_in

KEY, PASSWORD = "sk-Zq8/Yw+3nT7=vB2kLm9", "p4ss w@rd/of+a=proxy"


def token(text: str, **top: float) -> dict[str, object]:
    return {"token": text, "logprob": -0.5, "top": {text: -0.5, **top}}


def test_every_text_of_a_reply_is_masked() -> None:
    secrets = Secrets(KEY, "http://ann:p4ss%20w%40rd%2Fof%2Ba%3Dproxy@proxy:3128")
    reply = Reply(text=f"a {KEY}", reasoning=f"b {PASSWORD}", finish_reason=KEY, input_tokens=3)
    assert secrets.masked_reply(reply) == Reply(
        text="a ***", reasoning="b ***", finish_reason="***", input_tokens=3
    )
    assert secrets.masked(f"{KEY} and {PASSWORD}") == "*** and ***"


def test_tokens_that_spell_a_key_are_masked_with_what_stood_beside_them() -> None:
    pieces = [KEY[start : start + 4] for start in range(0, len(KEY), 4)]
    tokens = (token("so", Sk=-2.0), *map(token, pieces), token(" it", **{KEY: -3.0}), token("."))
    found = Secrets(KEY, None).masked_reply(Reply(text=f"so{KEY} it.", logprobs=tokens))
    assert [one["token"] for one in found.logprobs] == ["so", *["***"] * len(pieces), " it", "."]
    assert [one["top"] for one in found.logprobs[1:-1]] == [{}] * (len(pieces) + 1)
    assert found.logprobs[0] == tokens[0] and found.logprobs[-1] == tokens[-1]
    assert found_in("".join(str(one) for one in found.logprobs), KEY) is None


def test_what_is_too_short_for_a_secret_stays_in_a_reply() -> None:
    secrets = Secrets("EMPTY", "http://ann:word@proxy:3128")
    reply = Reply(text="An EMPTY word.", logprobs=(token("EMPTY"), token(" word")))
    assert secrets.masked_reply(reply) is reply
    assert secrets.masked("no EMPTY here") == "no *** here"
    assert Secrets(None, None).masked_reply(reply) is reply


def test_a_reply_without_a_key_is_the_same_object() -> None:
    reply = Reply(text="A fine answer.", logprobs=(token("A"), token(" fine")))
    assert Secrets(KEY, None).masked_reply(reply) is reply
