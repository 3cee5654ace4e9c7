"""Run `curate ARGUMENTS` with a model in this process that is slow, and says what it does.

Each token takes `CURATE_TEST_TOKEN_SECONDS`. "writing" is printed once a reply has been handed
over while others of its batch are still being written; "loading" with the weights' loading, which
then takes `CURATE_TEST_LOAD_SECONDS`.
"""

from __future__ import annotations

import os
import time
from typing import Any

from curate.cli.main import main
from curate.models import transformer
from curate.models.sampling import Drafting

TOKEN = float(os.environ.get("CURATE_TEST_TOKEN_SECONDS", "0"))
LOAD = float(os.environ.get("CURATE_TEST_LOAD_SECONDS", "0"))
choose, load = Drafting.__call__, transformer.load_transformer
said: list[str] = []


def slow(self: Drafting, *given: Any) -> Any:
    time.sleep(TOKEN)
    settled = sum(draft.waiting.future.done() for draft in self._drafts)
    if not said and 0 < settled < len(self._drafts):
        said.append("writing")
        print("writing", flush=True)
    return choose(self, *given)


def slow_load(*given: Any) -> Any:
    print("loading", flush=True)
    time.sleep(LOAD)
    return load(*given)


Drafting.__call__ = slow  # type: ignore[method-assign]
transformer.load_transformer = slow_load

if __name__ == "__main__":
    main()
