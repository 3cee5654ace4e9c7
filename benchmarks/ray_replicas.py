"""A model in this process, and one replica of it on a Ray cluster: requests and tokens a second.

    python benchmarks/ray_replicas.py --model vllm:models/my-model --count 2000

Both answer the same greedy requests, as many at once as a run sends; loading is not counted. With a
model that answers at once it is the cost of the way to a replica and back. On a machine with GPUs
the replica has `tensor_parallel_size` of them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from contextlib import ExitStack
from typing import Any

from curate.ask import Ask
from curate.engine.ray.replicas import ModelsOnNodes
from curate.models.model import Model, open_model


async def measured(model: Model, count: int, max_tokens: int) -> tuple[float, int]:
    """Return the seconds that all requests took, and the tokens that were written."""
    places = asyncio.Semaphore(model.info.max_concurrency)

    async def one(number: int) -> int:
        request = Ask.text(
            f"Write a line about the number {number}.", temperature=0, max_tokens=max_tokens
        )
        async with places:
            reply = await model.answer(request, key=str(number), attempt=0)
        return reply.output_tokens

    await one(-1)  # It loads the model.
    began = time.perf_counter()
    tokens = sum(await asyncio.gather(*map(one, range(count))))
    return time.perf_counter() - began, tokens


async def show(name: str, model: Model, count: int, max_tokens: int) -> None:
    try:
        seconds, tokens = await measured(model, count, max_tokens)
    finally:
        await model.close()
    print(
        f"{name:12} {count / seconds:9.1f} requests/s {tokens / seconds:11.1f} tokens/s", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local")
    parser.add_argument("--options", type=json.loads, default={}, help="of the mapping, as JSON")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--full", action="store_true", help="for `make bench-full`: 256 requests")
    given = parser.parse_args()
    count = 256 if given.full else given.count
    spec: dict[str, Any] = {"model": given.model, **given.options, "replicas": given.replicas}
    asyncio.run(show("here", open_model(spec), count, given.max_tokens))
    with ExitStack() as stack:
        replicas = ModelsOnNodes({"m": spec}, None, stack).open("m")
        asyncio.run(show(f"{given.replicas} on nodes", replicas, count, given.max_tokens))


if __name__ == "__main__":
    main()
