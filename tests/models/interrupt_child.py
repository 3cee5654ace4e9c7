"""Run `curate ARGUMENTS`, and say what a model in this process does: "loading", "writing".

"writing" is printed with the first reply that is handed over. With hf: and local, each token takes
`CURATE_TEST_TOKEN_SECONDS` and loading `CURATE_TEST_LOAD_SECONDS`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from curate.ask import Reply
from curate.cli.main import main
from curate.models.inprocess import transformer
from curate.models.inprocess.sampling import Drafting
from curate.models.inprocess.worker import Waiting

TOKEN = float(os.environ.get("CURATE_TEST_TOKEN_SECONDS", "0"))
LOAD = float(os.environ.get("CURATE_TEST_LOAD_SECONDS", "0"))
choose, load, settle = Drafting.__call__, transformer.load_transformer, Waiting.settle
said: list[str] = []


def slow(self: Drafting, *given: Any) -> Any:
    time.sleep(TOKEN)
    return choose(self, *given)


def slow_load(*given: Any) -> Any:
    print("loading", flush=True)
    time.sleep(LOAD)
    return load(*given)


def telling(self: Waiting, answer: Reply | Exception) -> None:
    settle(self, answer)
    if isinstance(answer, Reply) and not said:
        said.append("writing")
        print("writing", flush=True)


Drafting.__call__ = slow  # type: ignore[method-assign]
transformer.load_transformer = slow_load
Waiting.settle = telling  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
