"""What is wrong with a row or a table of rows, before it is tokens."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence

from curate.kernels.text.phrase_lists import listed_search
from curate.models.inprocess.chat import Chat, TemplateRefused, turns_for
from curate.read.shapes.record_fields import mark, rendering_options, without_nulls
from curate.row import Message, Row, canonical_bytes, digest
from curate.train.data import TrainingData, columns_of, extras, prompt_key
from curate.train.examples import Defect, Example, answers_of
from curate.train.settings import Method

# Columns that mean something to some method.
MEANINGFUL = {"margin", "p_chosen", "score", "label", "weight", "tools", "chat_template_kwargs"}
# From this many pairs on, a side that is longer in this share of them is no accident.
_PAIRS, _SHARE, _RATIO = 20, 0.8, 1.5
Found = Iterator[tuple[str, str | None, str, int]]


class Seen:
    """What earlier rows said, as digests: to find repeats, contradictions and overlap."""

    def __init__(self) -> None:
        self.rows: set[bytes] = set()
        self.pairs: set[bytes] = set()
        self.prompts: set[bytes] = set()
        self.held_out = False

    def begin_held_out(self) -> None:
        """Compare what follows with what was there to learn from."""
        self.held_out = True
        self.rows, self.pairs = set(), set()


def inspect_row(row: Row, chat: Chat, method: Method, seen: Seen) -> Iterator[Defect]:
    """Yield what is wrong with a row, alone and beside those before it."""
    own = digest(canonical_bytes(row.kind, row.fields))
    if own in seen.rows:
        yield Defect("duplicates")
    seen.rows.add(own)
    prompt = digest(prompt_key(row).encode())
    if seen.held_out and prompt in seen.prompts:
        yield Defect("overlap")
    elif not seen.held_out:
        seen.prompts.add(prompt)
    turns = [
        turn
        for value in row.fields.values()
        for item in (value if isinstance(value, tuple | list) else ())
        for turn in ([item] if isinstance(item, Message) else item.messages)
    ]
    for token in chat.control_tokens:
        if any(token in turn.content for turn in turns):
            yield Defect("control_tokens", f"it holds {token}")
            break
    if any(turn.parts for turn in turns) and (lost := _lost_parts(row, chat)):
        yield Defect("parts_dropped", lost)
    last = row.messages[-1].role if row.kind == "sft" and row.messages else "assistant"
    if last != "assistant" and not method.online:
        yield Defect("ends_with_user", f"its last turn is the {last}'s")
    if row.kind == "preference" and not method.online:
        yield from _pair(row, seen)
    tools = extras(row).get("tools")
    # What is not JSON, or is nested too deeply, is named as the template's defect.
    with contextlib.suppress(ValueError, RecursionError):
        tools = json.loads(tools) if isinstance(tools, str) else tools
        if without_nulls(tools) != tools:
            yield Defect("tool_nulls")


def _lost_parts(row: Row, chat: Chat) -> str:
    """Return the name of a part that the template leaves out, empty where it shows them all."""
    try:
        options = rendering_options(extras(row))
    except (ValueError, RecursionError):
        # Named as the template's defect.
        return ""
    if row.kind == "sft":
        conversations = [row.messages]
    elif row.kind == "unpaired":
        conversations = [row.prompt + row.completion]
    else:
        answers = answers_of(row) if row.kind in ("preference", "ranked") else [()]
        conversations = [row.prompt + answer for answer in answers]
    for turns in conversations:
        media = next((turn for turn in turns if '"content":[' in (turn.parts or "")), None)
        if media is not None:
            parts = json.loads(media.parts or "{}").get("content") or ()
            kinds = [p.get("type", "?") for p in parts if isinstance(p, dict)]
            kind = next((str(kind) for kind in kinds if kind != "text"), "")
            if kind:
                return f"{kind} in a turn of the {media.role}"
        plain = turns_for(turns)
        for index, turn in enumerate(plain):
            for key in sorted(set(turn) - {"role", "content"}):
                without = [*plain[:index], {k: v for k, v in turn.items() if k != key}]
                try:
                    same = chat.render([*without, *plain[index + 1 :]], **options) == chat.render(
                        plain, **options
                    )
                except TemplateRefused:
                    continue
                if same:
                    return f"'{key}' of a turn of the {turn['role']}"
    return ""


def _pair(row: Row, seen: Seen) -> Iterator[Defect]:
    if not row.prompt:
        yield Defect("prompts_differ")
    if not _said(row.chosen) or not _said(row.rejected):
        yield Defect("empty_side")
    elif row.chosen == row.rejected:
        yield Defect("equal_pair")
    if mark(row, "implicit_prompt") == "text":
        # Do two texts that begin alike differ first inside a word?
        before = "".join(turn.content for turn in row.prompt)
        texts = [before + answer[0].content for answer in (row.chosen, row.rejected)]
        shorter = min(map(len, texts))
        at = next((n for n in range(shorter) if texts[0][n] != texts[1][n]), shorter)
        after = "".join(text[at : at + 1] for text in texts)
        if at > 0 and texts[0][at - 1].isalnum() and any(c.isalnum() for c in after):
            yield Defect("implicit_prompt_split")
    order = digest(repr((row.prompt, row.chosen, row.rejected)).encode())
    if digest(repr((row.prompt, row.rejected, row.chosen)).encode()) in seen.pairs:
        yield Defect("contradictory_pairs")
    seen.pairs.add(order)
    if listed_search("refusal").count(row.response) and not listed_search("refusal").count(
        " ".join(turn.content for turn in row.rejected)
    ):
        yield Defect("refusal_chosen")


def _said(answer: Sequence[Message]) -> bool:
    """Tell whether an answer says or calls anything."""
    return any(turn.content.strip() or turn.parts for turn in answer)


def inspect_table(data: TrainingData, examples: Sequence[Example], method: Method) -> Found:
    """Yield what is wrong with the data as a whole: code, a row or column, a detail, how often."""
    for one in data.unread:
        yield "other_shape", f"{one.file}:{one.line}", one.error, 1
    for kind, count in data.other_kinds.items():
        yield "other_kinds", None, f"{count:,} {kind}", count
    # A reward is given all columns.
    found = () if method.online else columns_of(data.rows)
    columns = [column for column in found if column not in method.uses]
    for column in MEANINGFUL.intersection(columns):
        yield "columns_ignored", None, f"column '{column}'", 1
    if extra := [column for column in columns if column not in MEANINGFUL]:
        yield "extra_columns", None, ", ".join(extra[:8]), len(extra)
    if gap := _length_gap(examples):
        yield "length_gap", None, gap, 1
    labels = {example.label for example in examples}
    if method.name == "kto" and len(labels) == 1:
        yield "one_class", None, f"all are {labels}", 1
    if len(examples) == 1:
        yield "one_row", examples[0].row, "", 1
    if not any(example.weight for example in examples):
        yield "nothing_left", None, f"of {len(data.rows):,} rows", 1


def _length_gap(examples: Sequence[Example]) -> str:
    """Say how chosen and rejected answers differ in length, where that gives the choice away."""
    pairs = [
        (e.answers[0].supervised, e.answers[1].supervised) for e in examples if len(e.answers) == 2
    ]
    if len(pairs) < _PAIRS:
        return ""
    longer = sum(a > b for a, b in pairs) / len(pairs)
    shorter = sum(a < b for a, b in pairs) / len(pairs)
    ratio = sum(a for a, _ in pairs) / max(1, sum(b for _, b in pairs))
    if max(longer, shorter) < _SHARE and 1 / _RATIO < ratio < _RATIO:
        return ""
    return (
        f"chosen is the longer in {longer:.0%} of {len(pairs):,} pairs, and {ratio:.2f} times as "
        "long on average"
    )
