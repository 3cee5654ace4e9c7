"""Write conversations that call tools, from the tools' schemas."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from curate.ask import Ask, check_asking
from curate.errors import CurateError
from curate.kernels.text.tool_schemas import tool_of
from curate.kernels.verifiers.answers import unfenced
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_until, object_in
from curate.prompts.replies.usable_text import check_written
from curate.row import Message, Record, Row
from curate.step import Asking, Generate, Made
from curate.system.package_data import shipped

_PROMPTS = {
    "prompt": ("tool", "topic"),
    "result_prompt": ("tool", "name", "question", "arguments"),
    "answer_prompt": ("tool", "name", "question", "arguments", "result"),
    "none_prompt": ("question", "tools", "names"),
}
_SENTENCE = "Here is what I have found for you, in a sentence of some twenty words."
_LINES = re.compile(r"\s*(?:Question:)?\s*(?P<question>\S.*?)\s*\nArguments:\s*(?P<arguments>\{.*)")


@dataclass(frozen=True, kw_only=True)
class ToolCalls(Generate):
    """Make conversations with tool calls: a question, the call, its result, the answer.

    `tools` is a file with one tool per record, in OpenAI's format or bare. For every row, one of
    them is drawn, together with distractors. `offered` is the number of tools that a row offers.
    `model` writes a user's request that needs this tool, with the arguments of the call, then plays
    the tool, then answers from the result; if the row has a text, it is what the user has in mind.
    `repairs` is how often the model is told about arguments that do not match the schema, or
    results that are not JSON, and asked again; then the row fails. `none` is the share of rows in
    which the needed tool is not offered: the answer says so, and the row's column `expect` is
    `none`, otherwise `call`. The step `tools` checks both. With `results: false`, a conversation
    ends with the call.

    `prompt`, `result_prompt`, `answer_prompt` and `none_prompt` are the names or paths of the
    prompts. `complete` sends them as raw text to be completed, for small models that do not follow
    instructions (`tool_calls_brief` and so on). `temperature` and `max_tokens` override those of
    the model. A row takes three requests, one without a fitting tool two, and each repair one more,
    which no estimate includes.
    """

    model: str | None = None
    tools: str | None = None
    offered: int = 3
    none: float = 0.2
    results: bool = True
    prompt: str = "tool_calls"
    result_prompt: str = "tool_result"
    answer_prompt: str = "tool_answer"
    none_prompt: str = "no_tool"
    complete: bool = False
    repairs: int = 1
    temperature: float | None = None
    max_tokens: int | None = 512

    kinds: ClassVar[tuple[str, ...]] = ("prompt",)
    source: ClassVar[str] = (
        "after APIGen, Liu et al. 2024, arXiv 2406.18518; rows that no tool fits: Patil et al. 2025"
    )

    def check(self) -> None:
        """Reject a step that asks nobody, or has no tools to offer."""
        check_asking(
            self.model,
            repairs=self.repairs,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
        if not self.tools:
            raise ValueError("tools must name a file with a tool in each record")
        if self.offered < 1:
            raise ValueError(f"offered is {self.offered}; it must be 1 or more")
        if not 0 <= self.none <= 1:
            raise ValueError(f"none is {self.none:g}; a share is from 0 to 1")

    def prepare(self) -> None:
        """Read the tools and the prompts."""
        found = self._pool()
        needed = self.offered + (1 if self.none else 0)
        if len(found) < needed:
            raise ValueError(f"{self.tools} has {len(found)} tools; {needed} or more are needed")
        for name, variables in _PROMPTS.items():
            try:
                own = prompts.load_with(getattr(self, name), variables)
            except CurateError as error:
                raise ValueError(str(error)) from None
            if self.complete and (own.system is not None or own.schema is not None):
                raise ValueError(
                    f"complete sends a raw text, and {own.name} has a system prompt or a schema; "
                    "give another, as tool_calls_brief"
                )
            if own.schema is None:
                continue
            if name != "prompt":
                raise ValueError(f"{own.name} has a schema, and {name} is for a text; leave it out")
            if not {"question", "arguments"} <= set(own.schema.get("required", ())):
                raise ValueError(
                    f"the schema of {own.name} must require 'question' and 'arguments', which are "
                    "what is read"
                )

    def data_digest(self) -> str | None:
        """Return a digest of the files with tools."""
        path = Path(shipped(self.tools or ""))
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompts' texts: a changed file is another step under the same name."""
        texts = [prompts.digest(getattr(self, name)) for name in _PROMPTS]
        return {**super().fingerprint(), "prompt_texts": texts}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows become conversations."""
        return frozenset({"sft"}) | (kinds if self.keep_parent else frozenset())

    def make(self, row: Row) -> Asking:
        """Draw the tools, and ask for question, call, result and answer."""
        pool, dice = self._pool(), row.random(self.title)
        gold, *others = dice.sample(range(len(pool)), min(len(pool), self.offered + 1))
        fits = dice.random() >= self.none
        numbers = [gold, *others[: self.offered - 1]] if fits else others[: self.offered]
        dice.shuffle(numbers)
        tool, offered = pool[gold], [pool[number] for number in numbers]
        function = tool["function"]
        values: dict[str, Any] = {
            "tool": json.dumps(function, ensure_ascii=False),
            "name": function["name"],
            "topic": row.instruction.strip() or None,
        }
        # Two lines may be an object as well.
        form = prompts.load(self.prompt).schema or prompts.load("tool_calls").schema
        asks = functools.partial(_asked, tool, form)
        example = _example(function["name"], tool_of(json.dumps(tool)).fitting())
        (question, arguments), _ = yield from self._ask("prompt", values, asks, example)
        values |= {"question": question, "arguments": json.dumps(arguments, ensure_ascii=False)}
        turns = [Message("user", question)]
        if fits:
            turns += yield from self._called(values)
        else:
            functions = [one["function"] for one in offered]
            values["tools"] = "\n".join(json.dumps(f, ensure_ascii=False) for f in functions)
            values["names"] = ", ".join(f["name"] for f in functions)
            text, _ = yield from self._ask("none_prompt", values, _said, _SENTENCE)
            turns.append(Message("assistant", text))
        columns = json.loads(row.extra) if row.extra else {}
        columns |= {"tools": offered, "expect": "call" if fits else "none"}
        extra = json.dumps(columns, ensure_ascii=False)
        detail = {"tool": function["name"], "offered": [one["function"]["name"] for one in offered]}
        return Made(Record("sft", {"messages": tuple(turns)}, extra), None, detail)

    def _called(self, values: dict[str, Any]) -> Asking:
        """Return the call, and where they are wanted its result and the answer."""
        function = {"name": values["name"], "arguments": values["arguments"]}
        call = {"id": "call_1", "type": "function", "function": function}
        parts = json.dumps({"content": None, "tool_calls": [call]}, ensure_ascii=False)
        turns = [Message("assistant", "", parts)]
        if self.results:
            result = '{"result": "as a tool returns it, some twenty words of JSON"}'
            values["result"], _ = yield from self._ask("result_prompt", values, _result, result)
            turns.append(Message("tool", values["result"], '{"tool_call_id": "call_1"}'))
            text, _ = yield from self._ask("answer_prompt", values, _said, _SENTENCE)
            turns.append(Message("assistant", text))
        return turns

    def _ask(self, name: str, values: Mapping[str, Any], read: Any, example: str | None) -> Asking:
        """Ask one of the prompts, and read its reply; `example` is one for estimates."""
        prompt = prompts.load(getattr(self, name))
        filled = prompt.render_from(values)
        ask = Ask(
            model=self.model,
            messages=() if self.complete else (Message("user", filled.text),),
            prompt=filled.text if self.complete else None,
            # Two lines make a question with its arguments.
            stop=("\n\n",) if self.complete and name == "prompt" else ("\n",) * self.complete,
            system=filled.system,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            example=example,
        )
        found = yield from ask_until(ask, read, repairs=self.repairs)
        return found

    def _pool(self) -> Sequence[Mapping[str, Any]]:
        path = shipped(self.tools or "")
        if not Path(path).is_file():
            raise ValueError(f"tools must name a file, and there is none at {self.tools}")
        return tools_in(path, Path(path).stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def tools_in(where: str, modified: int) -> tuple[Mapping[str, Any], ...]:
    """Return the tools of a file, in OpenAI's form, each read once while the file is `modified` so.

    Raises:
        ValueError: a record is not a tool, or two have one name.
    """
    # Steps are listed without what readers load.
    from curate.read.inputs import open_records

    found: dict[str, Mapping[str, Any]] = {}
    try:
        for file, reads in open_records(where):
            for number, read in enumerate(reads, 1):
                if read.error is not None:
                    raise ValueError(f"record {number} of {file}: {read.error}")
                tool = tool_of(json.dumps(read.record))
                if tool.error or tool.name in found:
                    why = tool.error or f"'{tool.name}' is there twice"
                    raise ValueError(f"record {number} of {file} is not a tool: {why}")
                record: Any = read.record
                inner = record.get("function")
                own = inner if isinstance(inner, Mapping) else record
                found[tool.name] = {"type": "function", "function": own}
    except CurateError as error:
        raise ValueError(str(error)) from None
    return tuple(found.values())


def _example(name: str, arguments: Mapping[str, Any] | None) -> str | None:
    """Return what a model could write for a tool with these arguments."""
    if arguments is None:
        return None
    question = f"Please use what you have for {name.replace('_', ' ')}, as I have told you before."
    return json.dumps({"question": question, "arguments": arguments}, ensure_ascii=False)


def _asked(tool: Mapping[str, Any], form: Any, text: str) -> tuple[str, dict[str, Any]]:
    """Return question and arguments of a reply: a JSON object of this form, or two lines."""
    from curate.read.strict_json import parse

    lines = _LINES.fullmatch(text.rstrip())
    if lines is not None:
        question, arguments = lines["question"], parse(lines["arguments"])
    else:
        found = object_in(text, form)
        question, arguments = found["question"], found["arguments"]
    misfits = tool_of(json.dumps(tool)).misfits(arguments)
    if misfits:
        raise ValueError(f"the arguments do not fit the schema: {misfits[0].found}")
    return check_written(question, "the question"), dict(arguments)


def _result(text: str) -> str:
    """Return the JSON that a tool returns, as it was written."""
    from curate.read.strict_json import parse

    inner = unfenced(text)
    try:
        parse(inner)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the result is not JSON: {error}") from None
    return inner


def _said(text: str) -> str:
    """Return an answer as it is kept."""
    return check_written(text, "the answer")
