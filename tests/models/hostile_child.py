"""Answer rows by a server, then print what came and the peak of memory: `FOLDER URL ROWS`.

A row whose text begins with `vectors` asks for vectors of 32 texts.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from curate.ask import Ask, Embed
from curate.models.model import open_model
from curate.requests.session import RowTask
from curate.system.posix import peak_memory_mb
from tests.engine.asking import driver


def main() -> None:
    """Ask every row at once, streamed and not, with pauses between tries that are short."""
    folder, url, texts = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
    before = peak_memory_mb()
    spec = {"model": "openai:tiny", "base_url": url, "idle_timeout": 2.0, "max_concurrency": 64}
    models = {}
    for name in ("whole", "stream"):
        model = open_model({**spec, "stream": name == "stream"})
        model.info = replace(model.info, retry_delay=0.0002)
        models[name] = model

    def job(text: str, model: str) -> RowTask:
        def start() -> object:
            if text.startswith("vectors "):
                reply = yield Embed(texts=tuple(f"{text} {n}" for n in range(32)), model=model)
                return f"{len(reply.values)} of {len(reply.values[0])}"
            reply = yield Ask.text(text, model=model, max_tokens=256)
            return reply.text

        return RowTask(start, salt=f"{text} {model}")

    with driver(folder, models) as opened:
        outcomes = opened.run([job(text, name) for text in texts for name in models])
    said = [str(one.error) if one.error else one.value for one in outcomes]
    print(json.dumps({"said": said, "before": before, "peak": peak_memory_mb()}))


if __name__ == "__main__":
    main()
