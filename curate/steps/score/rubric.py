"""Score rows by a rubric: a prompt file that a model answers with marks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies import SCORE_NAMES
from curate.prompts.replies.expected import TOP, expected_score
from curate.prompts.replies.rubric import marks_in, most_tokens, scales_of
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking
from curate.steps.score._judge import Found, Judge, conversation, mean_of_samples, shown_turn

# What a rubric may show of a row; `mark` closes its markers so that no text of a row can.
SHOWN = ("instruction", "response", "conversation", "reference", "mark")


@dataclass(frozen=True, kw_only=True)
class Rubric(Judge):
    """Score each answer by a rubric that a model fills in.

    `prompt` is the name of a prompt or the path of your own; its schema lists the ratings and their
    scales. `model` is a name in the recipe's `models`. `dimension` names the rating that is the
    score; by default it is the mean of all ratings. The ledger records every rating and the
    rationale, where `curate explain` shows them. `reference` names the column with a known good
    answer; a row without one is judged without it. `structured` makes the server enforce the
    schema, if it can. `expectation` uses the mean over the probabilities of the score's tokens
    (G-Eval), for whole ratings up to 10 and models that return log-probabilities; if a tokenizer
    splits "10" so that it cannot be told from "1", the written rating counts, and the ledger
    records that. `complete` sends the prompt as raw text to be completed up to the end of the line,
    for small models that do not follow instructions; such replies are not repaired. `repairs` is
    how often an unusable reply is asked for again before the row fails. `samples` is the number of
    requests per row, of which the score is the mean. `temperature` and `max_tokens` override those
    of the model. Tool calls are shown as lines `name(arguments)` below the text of their turn; a
    row with images or audio fails. Rows that score below `at_least` are dropped.
    """

    prompt: str = "helpfulness"
    dimension: str | None = None
    reference: str | None = None
    structured: bool = False
    expectation: bool = False

    # What `--model local` sets where nothing else was chosen: small models go on with what they
    # would not obey, and a short mark costs them a tenth of a reason.
    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "helpfulness_brief",
        "complete": True,
        "max_tokens": 8,
    }
    source: ClassVar[str] = (
        "Liu et al. 2023 (G-Eval), arXiv 2303.16634; Zheng et al. 2023, 2306.05685"
    )
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject what the judges reject, and a completion that is held to a schema."""
        super().check()
        if self.complete and self.structured:
            raise ValueError("complete goes up to the end of a line; structured needs a chat")

    def prepare(self) -> None:
        """Read the prompt and reject one that this step cannot fill in or read replies to."""
        try:
            prompt = prompts.load(self.prompt)
            scales = scales_of(prompt)
        except CurateError as error:
            raise ValueError(str(error)) from None
        variables = (*prompt.variables, *prompt.optional)
        unknown = [name for name in variables if name not in SHOWN]
        if unknown:
            raise ValueError(
                f"the prompt '{prompt.name}' takes {unknown}; a rubric is given {', '.join(SHOWN)}"
            )
        if self.reference is None and "reference" in prompt.variables:
            raise ValueError(f"the prompt '{prompt.name}' needs `reference`, the name of a column")
        if self.reference is not None and "reference" not in variables:
            raise ValueError(
                f"the prompt '{prompt.name}' shows no reference; leave `reference` out"
            )
        if self.dimension is not None and self.dimension not in scales:
            raise ValueError(f"dimension is '{self.dimension}'; {self.prompt} has {list(scales)}")
        if self.complete and prompt.system is not None:
            raise ValueError(f"complete sends no system prompt, but {self.prompt} has one")
        if self.expectation and not all(scale.weighs for scale in scales.values()):
            listed = ", ".join(
                f"{name} {one.low:g} to {one.high:g}" for name, one in scales.items()
            )
            raise ValueError(
                f"expectation needs whole marks from 0 to 10; {self.prompt} has {listed}: choose "
                "another prompt, as four_aspects, or leave expectation out"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another rubric under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def score(self, row: Row) -> Asking:
        """Show the model the row, and read its marks."""
        prompt = prompts.load(self.prompt)
        scales = scales_of(prompt)
        # What the prompt shows of the row.
        texts = {
            name: "\n".join(map(shown_turn, row.turns(name)))
            for name in ("instruction", "response")
        }
        turns = row.messages if row.kind == "sft" else row.prompt
        if row.kind == "sft":
            places = (n for n, turn in enumerate(turns) if turn.role == "assistant")
            turns = turns[: max(places, default=None)]
        texts["conversation"] = conversation(turns)
        known = json.loads(row.extra or "{}").get(self.reference)
        if isinstance(known, str) and known.strip():
            texts["reference"] = known
        elif "reference" in prompt.variables:
            raise ValueError(f"the row has no reference answer in its column '{self.reference}'")
        texts["mark"] = prompts.mark_of(*texts.values())
        filled = prompt.render_from(texts)
        ask = dataclasses.replace(
            self.request(filled),
            schema=prompt.schema if self.structured else None,
            logprobs=TOP if self.expectation else None,
            longest_reply=most_tokens(prompt.schema or {}),
        )
        values, details = [], []
        found: list[Found] = yield from self.asked(ask, lambda text: marks_in(text, prompt, scales))
        for said, reply in found:
            marks = {name: float(said[name]) for name in scales}
            detail = dict(said)
            if self.expectation:
                # What was written stays in `detail`.
                names = SCORE_NAMES if len(scales) == 1 else ()
                expected = {
                    name: expected_score(
                        reply, name, value, scales[name].low, scales[name].high, names
                    )
                    for name, value in marks.items()
                }
                detail["expected"] = {name: one.to_json() for name, one in expected.items()}
                marks = {name: one.value for name, one in expected.items()}
            mean = sum(marks.values()) / len(marks)
            values.append(mean if self.dimension is None else marks[self.dimension])
            details.append(detail)
        return mean_of_samples(values, details)
