"""PRO's ranked lists: a `prefix` for every `suffix`, best first, and a `reward` each.

Song et al. 2023 (arXiv 2306.17492), as the authors' preparation of HH-RLHF writes them. A prefix is
a list of turns that begin with `<|prompter|>` or `<|assistant|>`, the last one open; `sft_index` is
the answer that the loss also imitates, the best one (0). The lists have no place for a system
prompt, for models and for what else is known of an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.read.shapes.lists.rrhf import candidates_in, lists_of
from curate.read.shapes.record_fields import extra_columns, extra_of, kind_of, with_extra
from curate.read.shapes.shape import Shape
from curate.row import Message, Record, Row

_MARKS = {"<|prompter|>": "user", "<|assistant|>": "assistant"}
_OPEN = "<|assistant|>"
_COLUMNS = ("prefix", "suffix", "reward")
_BEST = "sft_index"


def detect(data: Mapping[str, Any]) -> bool:
    """Tell whether a record has lists of prefixes, suffixes and rewards."""
    return all(isinstance(data.get(name), list) for name in _COLUMNS)


def to_record(data: Mapping[str, Any]) -> Record:
    """Return the suffixes as candidates of the prompt that their prefixes hold."""
    candidates = candidates_in(data, "suffix", "reward")
    prefixes = data.get("prefix")
    if not isinstance(prefixes, list) or len(prefixes) != len(candidates):
        raise ValueError(f"column 'prefix' must be a list of {len(candidates)} lists of turns")
    if any(prefix != prefixes[0] for prefix in prefixes):
        raise ValueError("the prefixes differ: answers to several prompts make no ranked row")
    prefix, turns = prefixes[0], []
    if not isinstance(prefix, list) or not prefix or prefix[-1] != _OPEN:
        raise ValueError(
            f"a prefix must be a list of turns that ends in '{_OPEN}', found {kind_of(prefix)}"
        )
    for turn in prefix[:-1]:
        mark = next((m for m in _MARKS if isinstance(turn, str) and turn.startswith(m)), None)
        if mark is None:
            raise ValueError(f"a turn must begin with {' or '.join(_MARKS)}, found {turn!r:.40}")
        turns.append(Message(_MARKS[mark], turn.removeprefix(mark)))
    fields = {"prompt": tuple(turns), "candidates": candidates}
    # The best one is the usual place; another one travels along.
    usual = (_BEST,) if data.get(_BEST) == 0 else ()
    return Record("ranked", fields, extra_of(data, (*_COLUMNS, *usual)))


def from_row(row: Row) -> dict[str, Any]:
    """Return scored answers as PRO's lists, the best one first."""
    marks = {role: mark for mark, role in _MARKS.items()}
    prefix = []
    for turn in row.prompt:
        if turn.role not in marks or turn.parts is not None:
            raise ValueError(f"a prefix holds plain turns of user and assistant, no {turn.role}'s")
        prefix.append(marks[turn.role] + turn.content)
    texts, scores = lists_of(row.candidates)
    said = [*(turn.content for turn in row.prompt), *texts]
    told = next((text for text in said for mark in _MARKS if mark in text), None)
    if told is not None:
        raise ValueError(f"a text holds a mark of turns, which PRO's reader replaces: {told!r:.60}")
    order = sorted(range(len(texts)), key=lambda place: -scores[place])
    given = extra_columns(row)
    if _BEST in given and order != sorted(order):
        raise ValueError(f"its '{_BEST}' names another answer once the best one stands first")
    out = {
        "prefix": [[*prefix, _OPEN] for _ in order],
        "suffix": [texts[place] for place in order],
        "reward": [scores[place] for place in order],
        **({} if _BEST in given else {_BEST: 0}),
    }
    return with_extra(out, row)


SHAPES = (
    Shape("pro", "ranked", __doc__ or "", (_COLUMNS,), detect, to_record, from_row, system=()),
)
