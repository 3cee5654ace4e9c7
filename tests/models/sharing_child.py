"""Ask texts when told to, then print the answers.

Usage: `sharing_child.py FOLDER URL KIND COUNT RUN SILENCE`. KIND is "batch" or "direct"; SILENCE:
seconds for which the leases of a killed process hold. It says "ready" once it could begin, and
begins with a line of input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate.models.model import open_model
from curate.requests import sender
from curate.requests.batch import poll as follow
from curate.requests.batch import queue as batch
from curate.store import replies
from tests.engine.asking import driver, one


def main() -> None:
    folder, url, kind, count, run, silence = sys.argv[1:]
    replies.LEASE_SECONDS = float(silence)
    sender.RENEWED_SECONDS = replies.LEASE_SECONDS / 4
    batch.GATHER_SECONDS, follow.FIRST_POLL_SECONDS, follow.LONGEST_POLL_SECONDS = 0.05, 0.05, 0.1
    spec = {"model": "openai:tiny", "base_url": url, "price": {"input": 1.0, "output": 2.0}}
    model = open_model(spec | ({"batch": {"discount": 0.5}} if kind == "batch" else {}))
    print("ready", flush=True)
    sys.stdin.readline()
    with driver(Path(folder), model, run_id=run) as opened:
        outcomes = opened.run([one(f"text {number}") for number in range(int(count))])
        sent = opened.spending.tally().sent
    said = [str(outcome.error or outcome.value) for outcome in outcomes]
    print(json.dumps({"said": said, "sent": sent}), flush=True)


if __name__ == "__main__":
    main()
