"""Run a recipe of two asking steps in batch jobs: `batch_child.py FOLDER URL ROWS [STATE]`.

With a STATE it kills itself, as `kill -9` would, the first time that a job stands there.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate import Pipeline
from curate.models.providers.openai_batch import OpenAIBatch
from curate.requests.batch import collect, submit
from curate.requests.batch import poll as follow
from curate.requests.batch import queue as batch
from curate.requests.batch.jobs import BatchJobs
from tests.engine.contract_steps import Judge, numbered
from tests.models.chaos_child import Respond

# In the order in which a job passes them: what is called, and whether it ends here before it runs
# or after, where the arguments or the result are such.
STATES: dict[str, tuple[Any, str, str, Callable[[Any], bool]]] = {
    "written down": (batch.BatchQueue, "_follow", "before", lambda call: True),
    "file written": (submit.BatchSubmitter, "_write", "after", lambda call: True),
    "uploaded": (OpenAIBatch, "upload", "after", lambda call: True),
    "upload noted": (BatchJobs, "note", "after", lambda call: "file" in call),
    "about to be made": (BatchJobs, "note", "after", lambda call: call.get("sent_at") is not None),
    "made": (OpenAIBatch, "create", "after", lambda call: True),
    "noted": (BatchJobs, "note", "after", lambda call: "remote" in call),
    "in progress": (OpenAIBatch, "retrieve", "after", lambda call: not call["result"].ended),
    "completed": (OpenAIBatch, "retrieve", "after", lambda call: call["result"].ended),
    "partly collected": (collect.BatchCollector, "_settle", "after", lambda call: True),
    "collected": (batch.BatchQueue, "_over", "before", lambda call: True),
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def kill_at(state: str) -> None:
    """Wrap what stands for `state`, so that the process ends there."""
    owner, name, when, applies = STATES[state]
    original = getattr(owner, name)

    def plain(*given: Any, **named: Any) -> Any:
        if when == "before":
            die()
        result = original(*given, **named)
        die()
        return result

    async def waiting(*given: Any, **named: Any) -> Any:
        result = await original(*given, **named)
        if applies({**named, "result": result}):
            die()
        return result

    setattr(owner, name, waiting if name in WAITING else plain)


WAITING = ("upload", "note", "create", "retrieve", "_settle")


def main() -> int:
    """Run it, waiting as short as possible for everything."""
    folder, url, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    batch.GATHER_SECONDS, follow.FIRST_POLL_SECONDS = 0.02, 0.01
    submit.LISTED_SECONDS, submit.LOOK_SECONDS = 0.5, 0.02
    collect.TOGETHER = 16
    if len(sys.argv) > 4:
        kill_at(sys.argv[4])
    spec = {"model": "openai:tiny", "base_url": url, "batch": {"discount": 0.5}}
    spec |= {"price": {"input": 1.0, "output": 2.0}, "api_key_env": "PLANTED_KEY"}
    pipeline = Pipeline([Judge(at_least=2.0), Respond()], models={"judge": spec, "writer": spec})
    result = pipeline.run(numbered(rows), run=folder / "run", store=folder / "store", max_cost=5.0)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main())
