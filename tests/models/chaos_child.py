"""Run a recipe of two asking steps against a server: `chaos_child.py FOLDER URL ROWS`."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate import Pipeline
from curate.models.providers.openai import OpenAI
from curate.row import Message, Record, Row
from curate.step import Asking, Generate, dataclass
from tests.engine.contract_steps import Judge, numbered


@dataclass(frozen=True, kw_only=True)
class Respond(Generate):
    """Answer the instruction anew."""

    def make(self, row: Row) -> Asking:
        from curate.ask import Ask

        reply = yield Ask.text(f"Answer {row.instruction}", model="writer", max_tokens=16)
        turns = (Message("user", row.instruction), Message("assistant", reply.whole()))
        return [Record("sft", {"messages": turns}, row.extra)]


def main(folder: Path, url: str, rows: int) -> int:
    """Run it, with the pauses between tries 2,500 times shorter."""
    original = OpenAI.__init__

    def quick(self: OpenAI, *args: object) -> None:
        original(self, *args)  # type: ignore[arg-type]
        self.info = replace(self.info, retry_delay=0.0002)

    OpenAI.__init__ = quick  # type: ignore[method-assign,assignment]
    spec = {"model": "openai:tiny", "base_url": url, "idle_timeout": 0.8, "max_concurrency": 16}
    spec |= {"price": {"input": 1.0, "output": 2.0}, "api_key_env": "PLANTED_KEY"}
    spec = spec if "PLANTED_KEY" in os.environ else {**spec, "api_key_env": None}
    pipeline = Pipeline([Judge(at_least=2.0), Respond()], models={"judge": spec, "writer": spec})
    result = pipeline.run(numbered(rows), run=folder / "run", store=folder / "store", max_cost=5.0)
    return result.exit_code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
