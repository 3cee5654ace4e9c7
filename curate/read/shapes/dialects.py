"""Datasets whose records are those of a mapping: which columns each of them has."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from curate.read.shapes.mapped import shape_of
from curate.read.shapes.record_fields import listed

_ROLE_MARKS = re.compile(
    r"(?:^|\n)\s*(?:#+\s*)?(?:Assistant|Response|Answer|Bot):|<\|im_start\|>|\[/INST\]"
)


class _Dialect(NamedTuple):
    """A mapping by name; a record has none of the columns `without`, and passes the `check`."""

    doc: str
    columns: Mapping[str, str]
    without: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], bool] | None = None


def _is_list(data: Mapping[str, Any], column: str, type_: type) -> bool:
    found = listed(data.get(column))
    return isinstance(found, list) and bool(found) and all(isinstance(t, type_) for t in found)


def _is_turns(data: Mapping[str, Any]) -> bool:
    found = listed(data.get("turns"))
    return isinstance(found, list) and all(
        isinstance(t, str) or (isinstance(t, Mapping) and set(t) == {"content"}) for t in found
    )


def _is_question(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("text"), str) and not _ROLE_MARKS.search(data["text"])


def _is_labelled(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("label"), bool)


def _is_document(data: Mapping[str, Any]) -> bool:
    return data.get("format") in ("text", "markdown", "html", "pdf")


_DIALECTS = {
    "document": _Dialect(
        "Documents: a `text` and its `format`, as files of text, Markdown, HTML and PDF are read.",
        {"prompt": "text"},
        (),
        _is_document,
    ),
    "question_answer": _Dialect(
        "A question and its answer, as GSM8K and many test sets write them.",
        {"instruction": "question", "response": "answer"},
        ("rationale", "chosen", "rejected"),
    ),
    "prompt_response": _Dialect(
        "A prompt and its response, as HelpSteer writes them; its ratings are extra columns.",
        {"prompt": "prompt", "response": "response"},
        ("chosen", "rejected"),
    ),
    "query_response": _Dialect(
        "A query and its response, as MetaMathQA writes them.",
        {"instruction": "query", "response": "response"},
    ),
    "problem_solution": _Dialect(
        "A problem and its solution, as collections of mathematics write them.",
        {"instruction": "problem", "response": "solution"},
    ),
    "question_response": _Dialect(
        "A question and its response, with a system prompt in OpenOrca.",
        {"instruction": "question", "response": "response"},
    ),
    "input_output": _Dialect(
        "An input and an output, without an instruction.",
        {"instruction": "input", "response": "output"},
        ("instruction", "chosen", "rejected"),
    ),
    "firefly": _Dialect(
        "Firefly: `input` and `target`, with the `kind` of task.",
        {"instruction": "input", "response": "target"},
    ),
    "aya": _Dialect(
        "Aya: `inputs` and `targets` in many languages (Singh et al. 2024).",
        {"instruction": "inputs", "response": "targets"},
    ),
    "question_preference": _Dialect(
        "A question with a chosen and a rejected answer, as Orca's DPO pairs.",
        {"instruction": "question", "chosen": "chosen", "rejected": "rejected"},
        ("prompt",),
    ),
    "alpaca_preference": _Dialect(
        "Alpaca's task with a chosen and a rejected answer (LLaMA-Factory).",
        {
            "instruction": "instruction",
            "input": "input",
            "chosen": "chosen",
            "rejected": "rejected",
        },
        ("prompt",),
    ),
    "positive_negative": _Dialect(
        "An instruction with a positive (safe) and a negative answer, as safety sets write them.",
        {"instruction": "instruction", "chosen": "positive", "rejected": "negative"},
        ("prompt", "chosen", "rejected"),
    ),
    "input_preference": _Dialect(
        "An input with a chosen and a rejected answer.",
        {"instruction": "input", "chosen": "chosen", "rejected": "rejected"},
        ("prompt", "instruction"),
    ),
    "lima": _Dialect(
        "LIMA: `conversations` of plain texts, the user's first (Zhou et al. 2023).",
        {"messages": "conversations"},
        (),
        functools.partial(_is_list, column="conversations", type_=str),
    ),
    "human_assistant": _Dialect(
        "Conversations of `human` and `assistant` pairs, as MOSS and Firefly write them.",
        {"messages": "conversation"},
        (),
        lambda data: (
            _is_list(data, "conversation", dict)
            and all(set(turn) == {"human", "assistant"} for turn in listed(data["conversation"]))
        ),
    ),
    "kto": _Dialect(
        "Messages and whether their last answer is wanted (LLaMA-Factory's KTO).",
        {"messages": "messages", "label": "label"},
        ("prompt", "completion"),
        _is_labelled,
    ),
    "turns": _Dialect(
        "Questions of several turns, as MT-bench and Arena-Hard ask them: a prompt of all of them.",
        {"prompt": "turns"},
        ("prompt", "answers"),
        _is_turns,
    ),
    "question_set": _Dialect(
        "Questions in a column `text`, as Vicuna's benchmark asks them.",
        {"prompt": "text"},
        ("prompt", "instruction", "question", "messages", "conversations", "format"),
        _is_question,
    ),
}
# Mappings of shapes that have modules of their own: they are looked for by other cases of names.
OWN = (
    {"instruction": "instruction", "input": "input", "response": "output"},
    {"instruction": "instruction", "input": "context", "response": "response"},
    {"instruction": "instruction", "input": "input", "response": "response"},
    {"prompt": "prompt", "completion": "completion", "label": "label"},
    {"prompt": "prompt", "completion": "completion"},
    {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    {"messages": "messages"},
    {"messages": "conversations"},
    {"chosen": "chosen", "rejected": "rejected"},
    *(dialect.columns for dialect in _DIALECTS.values()),
    {"prompt": "prompt"},
)


def _detect(dialect: _Dialect) -> Callable[[Mapping[str, Any]], bool]:
    fits = shape_of("", "", dialect.columns).detect

    def detect(data: Mapping[str, Any]) -> bool:
        if any(name in data for name in dialect.without):
            return False
        return (dialect.check is None or dialect.check(data)) and fits(data)

    return detect


SHAPES = tuple(
    shape_of(name, dialect.doc, dialect.columns, _detect(dialect))
    for name, dialect in _DIALECTS.items()
)
