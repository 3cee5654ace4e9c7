"""Whether prompts ask for harm, answers do it, and refusals were called for."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from curate.ask import Choose, Reply
from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.row import KINDS, RESPONSE_FIELD, Message, Row
from curate.step import Asking, Verdicts, Whole, rule
from curate.steps.score._judge import asked_and_answered, conversation, shown_turn

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SHOWN = ("instruction", "response", "question", "options", "mark")
NONE = "none"
OUTCOMES = ("answered", "harmful answer", "refusal", "over-refusal")


@dataclass(frozen=True, kw_only=True)
class Safety(Whole):
    """Find prompts that ask for harm, answers that do harm, and unnecessary refusals.

    `of: prompt` asks the model which harm the prompt asks for, `of: answer` which one the answer
    does, and `of: pair` both, and whether the answer refuses. `model` answers each by choosing a
    letter. `prompt` is the name or path of the prompt file, whose items are the harms. A pair is
    then a `harmful answer`, a `refusal` (the prompt asked for harm), an `over-refusal` (it did not)
    or `answered`. Labels are stored in the row's notes (`harm`, `answer_harm`, `outcome`), the
    report counts them, and the ledger records the probabilities. The score is the probability that
    there is no harm, in the answer if that is judged (1 or 0 for a model without
    log-probabilities). `drop` lists labels and outcomes whose rows are dropped, as in `[harmful
    answer, over-refusal]`; by default none. Rows that score below `at_least` are dropped, too.
    """

    model: str | None = None
    of: Literal["prompt", "answer", "pair"] = "pair"
    prompt: str = "safety"
    drop: tuple[str, ...] = rule(())
    at_least: float | None = rule(None)

    source: ClassVar[str] = (
        "categories in our own words, after Inan et al. 2023 (Llama Guard), arXiv 2312.06674; "
        "over-refusal: Roettger et al. 2023 (XSTest), 2308.01263"
    )
    kinds: ClassVar[tuple[str, ...]] = tuple(KINDS)

    def check(self) -> None:
        """Reject a step that asks nobody, and a limit that is not a probability."""
        if not self.model:
            raise ValueError("model must name one of the recipe's models (or give --model MODEL)")
        if self.at_least is not None and not 0 <= self.at_least <= 1:
            raise ValueError(f"at_least is {self.at_least}; it is a probability from 0 to 1")

    def prepare(self) -> None:
        """Read the prompt, and reject labels that are never given."""
        try:
            prompt = prompts.load_with(self.prompt, SHOWN)
        except CurateError as error:
            raise ValueError(str(error)) from None
        if not 0 < len(prompt.items) < len(string.ascii_uppercase):
            raise ValueError(f"the prompt '{prompt.name}' needs 1 to 25 items; each is a harm")
        known = [*(item.id for item in prompt.items), *OUTCOMES * (self.of == "pair")]
        if unknown := [name for name in self.drop if name not in known]:
            raise ValueError(f"drop names {unknown}; of: {self.of} has {', '.join(known)}")

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def sketch_types(self) -> dict[str, str]:
        """Keep the labels as JSON, and the probability of no harm."""
        return {"labels": "string", "safe": "float64"}

    def sketch(self, row: Row) -> Asking:
        """Ask for the labels of one row."""
        if self.of == "prompt":
            turns = row.prompt if row.kind != "sft" else row.messages
            last = max((n for n, turn in enumerate(turns) if turn.role == "user"), default=-1)
            if last < 0 or not shown_turn(turns[last]).strip():
                raise ValueError("the row has no user's turn to judge, or an empty one")
            asked, answer = conversation(turns[: last + 1]), ""
        elif row.kind not in RESPONSE_FIELD:
            raise ValueError(f"a {row.kind} row has no answer to judge; say of: prompt")
        else:
            asked, answer = asked_and_answered(row)
        prompt = prompts.load(self.prompt)
        harms = [NONE, *(item.id for item in prompt.items)]
        texts = ["none of these", *(item.values["text"] for item in prompt.items)]
        conduct = ["it answers, in full or in part", "it refuses, and gives none of what was asked"]
        questions = [
            ("harm", harms, texts, {"response": None}),
            ("answer_harm", harms, texts, {"instruction": None} if self.of == "answer" else {}),
            ("refuses", ["no", "yes"], conduct, {}),
        ]
        wanted = {"prompt": questions[:1], "answer": questions[1:2], "pair": questions}[self.of]
        asks = []
        for name, _, options, without in wanted:
            letters = string.ascii_uppercase[: len(options)]
            values: dict[str, Any] = {
                "instruction": asked,
                "response": answer,
                "question": name,
                "options": [f"{a}. {b}" for a, b in zip(letters, options, strict=True)],
                "mark": prompts.mark_of(asked, answer),
                **without,
            }
            filled = prompt.render_from(values)
            asks.append(
                Choose(
                    model=self.model,
                    messages=(Message("user", filled.text),),
                    system=filled.system,
                    options=tuple(letters),
                )
            )
        replies: Sequence[Reply] = yield asks
        found: dict[str, Any] = {}
        safe = 1.0
        for ask, reply, (name, labels, _, _) in zip(asks, replies, wanted, strict=True):
            found[name] = labels[reply.chosen(ask.options)]
            chances = reply.chances(ask.options)
            if reply.values:
                shares = [round(one, 6) for one in chances]
                found[f"{name}_chances"] = dict(zip(labels, shares, strict=True))
            if labels is harms:
                safe = chances[0]
        if self.of == "pair":
            harmful = found["answer_harm"] != NONE
            refused = "refusal" if found["harm"] != NONE else "over-refusal"
            found["outcome"] = "harmful answer" if harmful else "answered"
            if found["refuses"] == "yes":
                found["outcome"] = refused
        return {"labels": json.dumps(found, ensure_ascii=False), "safe": safe}

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Count the labels, and drop rows whose labels or probabilities are not wanted."""
        import numpy as np

        safe = np.array(sketches.column("safe").to_pylist(), np.float64)
        found = [json.loads(text.as_py()) for text in sketches.column("labels")]
        names = [n for n in ("harm", "answer_harm", "outcome") if any(n in one for one in found)]
        notes = [{name: one[name] for name in names if name in one} for one in found]
        reasons = [*self.drop, f"probability of no harm below {self.at_least or 0:g}"]
        code = np.full(len(found), -1, np.int64)
        for place, note in enumerate(notes):
            code[place] = next((n for n, w in enumerate(self.drop) if w in note.values()), -1)
        if self.at_least is not None:
            code[(code < 0) & (safe < self.at_least)] = len(self.drop)
        figures: dict[str, float] = {}
        remarks = []
        for name in names:
            counts = Counter(note[name] for note in notes)
            told = (f"{one} {n:,} ({n / len(found):.0%})" for one, n in counts.most_common())
            remarks.append(f"{name}: {', '.join(told)}")
            figures |= {f"{name}: {one}": float(n) for one, n in sorted(counts.items())}
        return Verdicts(
            code,
            tuple(reasons),
            score=safe,
            details=found,
            notes=notes,
            remarks=tuple(remarks),
            figures=figures,
        )
