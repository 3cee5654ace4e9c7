"""Score answers from 0 to 5 by one dimension, and keep the best (AlpaGasus)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.prompts.replies.rubric import marks_in, scales_of
from curate.row import RESPONSE_FIELD, Row
from curate.step import Asking, rule
from curate.steps.score._judge import Found, Judge, asked_and_answered, mean_of_samples

# What the prompt may show; `mark` closes its markers so that no text of a row can.
SHOWN = ("instruction", "input", "response", "dimension", "mark")


@dataclass(frozen=True, kw_only=True)
class Alpagasus(Judge):
    """Score the accuracy of each answer from 0 to 5, and keep 4.5 and above (AlpaGasus).

    One request to `model` shows three labelled blocks (instruction, input, response; an Alpaca
    row's input is kept apart) and asks for the score on the first line, in steps of 0.5, and the
    reasons below it. `dimension` is the paper's choice, `accuracy`, or its variant, `helpfulness`.
    The reply must state exactly one score: `4.5`, `Score: 4`, `4.5/5`, `Score – 4` (any dash) and a
    number on a line of its own after a preamble are accepted; 7, 4.3, NaN, `4-5`, two different
    scores and a reply without one are not. `repairs` is how often the model is told what is wrong
    and asked again; then the row fails (the authors' code counts it as -1). Score and reasons are
    recorded in the ledger. `prompt` is the name or path of another prompt with the same variables.
    `complete` sends it as raw text to be completed up to the end of the line, for small models.
    `samples` is the number of requests per row (with a temperature above 0); the score is their
    mean, and the ledger shows each and their spread. `temperature` and `max_tokens` override those
    of the model. Rows that score below `at_least` are dropped: 4.5 is the paper's threshold, which
    kept 9,229 of Alpaca's 52,002 rows.
    """

    dimension: Literal["accuracy", "helpfulness"] = "accuracy"
    prompt: str = "alpagasus"
    max_tokens: int | None = 256
    at_least: float | None = rule(4.5)

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "alpagasus_brief",
        "complete": True,
        "max_tokens": 8,
    }
    source: ClassVar[str] = "Chen et al. 2023 (AlpaGasus), arXiv 2307.08701, section 2 and figure 3"
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables or asks for several scores."""
        try:
            prompt = prompts.load_with(self.prompt, SHOWN)
            scales = scales_of(prompt)
        except CurateError as error:
            raise ValueError(str(error)) from None
        if len(scales) > 1:
            raise ValueError(f"one score is read, but the prompt '{prompt.name}' has {[*scales]}")
        if self.complete and prompt.system is not None:
            raise ValueError(
                f"complete sends no system prompt, but '{prompt.name}' has one; give another, as "
                "alpagasus_brief"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def score(self, row: Row) -> Asking:
        """Show the model the three blocks, and read its score."""
        from curate.read.shapes.alpaca import parted

        asked, answer = asked_and_answered(row)
        instruction, material = parted(row, asked)
        values = {
            "instruction": instruction,
            "input": material or None,
            "response": answer,
            "dimension": self.dimension,
            "mark": prompts.mark_of(asked, answer),
        }
        prompt = prompts.load(self.prompt)
        scales = scales_of(prompt)
        filled = prompt.render_from(values)
        name = next(iter(scales))
        # "Accuracy: 4.5" states the score, too.
        found: list[Found] = yield from self.asked(
            self.request(filled), lambda text: marks_in(text, prompt, scales, self.dimension)
        )
        marks = [read for read, _ in found]
        return mean_of_samples([float(one[name]) for one in marks], marks)
