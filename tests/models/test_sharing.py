"""Who may share a reply: equal judge requests, also in flight; nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.ask import Ask
from curate.models.model import open_model
from curate.requests.session import RowTask
from tests.engine.asking import driver

from .chaos import Answer, Received, Server, chat


def asked(
    text: str = "same prompt", *, shares: bool = True, salt: str = "", **fields: Any
) -> RowTask:
    def start() -> Any:
        return (yield Ask.text(text, max_tokens=16, **fields)).text

    return RowTask(start, salt=salt, shares=shares)


def test_equal_prompts_at_two_endpoints_never_share(tmp_path: Path) -> None:
    with Server(lambda r: chat("from one")) as one, Server(lambda r: chat("from two")) as two:
        models = {
            name: open_model({"model": "openai:tiny", "base_url": server.url})
            for name, server in (("one", one), ("two", two))
        }
        for _ in range(2):  # The second time both come from the store.
            with driver(tmp_path, models) as opened:
                outcomes = opened.run([asked(model="one"), asked(model="two")])
            assert [outcome.value for outcome in outcomes] == ["from one", "from two"]
        assert (len(one.received), len(two.received)) == (1, 1)


def test_two_system_prompts_never_share(tmp_path: Path) -> None:
    def told(request: Received) -> Answer:
        return chat(request.body["messages"][0]["content"])

    with Server(told) as server:
        model = open_model({"model": "openai:tiny", "base_url": server.url})
        with driver(tmp_path, model) as opened:
            systems = ("Be kind.", "Be strict.", None)
            outcomes = opened.run([asked(system=system) for system in systems])
        assert [o.value for o in outcomes] == ["Be kind.", "Be strict.", "same prompt"]
        assert len(server.received) == 3


def test_equal_judge_requests_in_flight_are_sent_once(tmp_path: Path) -> None:
    def slowly(request: Received) -> Answer:
        return Answer(chat(f"reply {len(server.received)}").body, delay=0.3)

    with Server(slowly) as server:
        model = open_model({"model": "openai:tiny", "base_url": server.url})
        with driver(tmp_path, model) as opened:
            judges = opened.run([asked() for _ in range(100)])
            assert len(server.received) == 1 and server.most_busy == 1
            assert {outcome.value for outcome in judges} == {"reply 1"}
            # Generators differ by their salt, and get a reply each.
            rows = [asked(shares=False, salt=f"row {n}") for n in range(20)]
            assert len({outcome.keys for outcome in opened.run(rows)}) == 20
        assert len(server.received) == 21
