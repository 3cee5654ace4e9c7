"""Promise 2 over real HTTP: killed at any instant, against a chaotic server, the same bytes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from curate.store.store import Store
from tests.engine.conftest import fingerprint
from tests.engine.contract_steps import number_in

from . import chaos
from .chaos import Answer, Received, Server, chat
from .chaos_kills import CHILD, KILLS, ROWS, campaign, check_whole, child, handler, stored


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_twenty_kills_change_no_byte_and_ask_nothing_answered_again(tmp_path: Path) -> None:
    """One campaign; `python -m tests.models.chaos_kills` runs fifty."""
    with Server(handler) as server:
        assert child(tmp_path / "calm", server).wait(240) == 1
        want = fingerprint(tmp_path / "calm" / "run")
        assert len(want) >= 4
        server.forget()
        signals = campaign(tmp_path / "killed", server, random.Random("kills"), KILLS)
        # The last run ends with the campaign, so the replies before it are counted here.
        counts = [stored(tmp_path / "killed") for _ in signals]
        assert 20 < counts[-1] < ROWS, "the kills came too early or too late to show anything"
        check_whole(tmp_path / "killed", want, server)


def test_a_planted_key_is_in_no_file_and_no_output(tmp_path: Path) -> None:
    key = "sk-planted-fedcba9876543210"

    def leaky(request: Received) -> Answer:
        told = request.headers["authorization"]
        kind = number_in(request.text) % 5
        if kind == 0:
            return chat(f"5 {told}") if "Rate" not in request.text else chat("5")
        return {
            1: chaos.refusal(403, f"wrong key: {told}", headers={"x-echo": told}),
            2: Answer(f"<b>{told}</b>".encode(), 502, content_type="text/html"),
            3: Answer(told.encode()),
            4: chat(told),
        }[kind]

    with Server(leaky) as server:
        command = [sys.executable, str(CHILD), str(tmp_path), server.url, "25"]
        done = subprocess.run(
            command, env={**os.environ, "PLANTED_KEY": key}, capture_output=True, timeout=60
        )
        assert done.returncode == 1, done.stderr
        assert all(key in request.headers["authorization"] for request in server.received)
    assert key.encode() not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"report.json", "run.yaml", "store.db"} <= {path.name for path in files}
    assert not [path for path in files if key.encode() in path.read_bytes()]
    # Parquet is compressed, and so are the requests in the store: look inside, too.
    texts = [str(pq.read_table(path).to_pylist()) for path in tmp_path.rglob("*.parquet")]
    with Store.open(tmp_path / "store") as store:
        texts += [str(exchange) for exchange in store.exchanges()]
    assert len(texts) > 10 and "***" in "".join(texts)
    assert key not in "".join(texts)
