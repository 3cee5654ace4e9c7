"""Whether answers follow from the passages that they were made from."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from curate.ask import Choose, Reply
from curate.errors import CurateError
from curate.kernels.text.protected import protected
from curate.kernels.text.words import compared_words
from curate.prompts import prompt as prompts
from curate.row import RESPONSE_FIELD, Message, Row
from curate.step import Asking, Verdicts, Whole, rule

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

REASONS = (
    "not supported by its passage",
    "a number that is not in its passage",
    "not supported by its passage, says the judge",
)
# Words are taken to be one where all but the last three letters are, and four or more of them.
_ENDING, _STEM = 3, 4
# What answers a question of yes and no, whatever words its passage has.
_VERDICTS = frozenset(("yes", "no", "true", "false"))
_SHOWN = 12


class Support(NamedTuple):
    """Evidence of how much of an answer is found in its passage.

    `precision` is the share of its content words, `None` if it has none; `words` and `numbers` are
    those that are neither in the passage nor in the question.
    """

    precision: float | None
    words: tuple[str, ...]
    numbers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Groundedness(Whole):
    """Drop answers that do not follow from the passage in their row, and report their share.

    The score is the share of an answer's content words (all but English stop words) that occur in
    the column `passage` or in the question (K-precision, after Adlakha et al.; words that differ in
    at most their last three letters count as equal). Rows below `min` are dropped. With `numbers`,
    so are rows whose answer has a number found in neither. Words prove little: only a judge can
    detect a sentence turned into its opposite, or the passage's words in a meaningless order.
    `model` is such a judge: it is asked for each answer whether every statement follows from the
    passage, and the score is the probability that it says yes (1 or 0 without log-probabilities).
    `prompt` is the name or path of the prompt for that. `judged` is the threshold for that
    probability. The report has the share of answers that are not supported. An answer without a
    content word ("Yes.") is decided by the judge alone. The ledger records words and numbers that
    the passage lacks.
    """

    passage: str = "passage"
    model: str | None = None
    prompt: str = "grounded"
    min: float | None = rule(0.5)
    numbers: bool = rule(True)
    judged: float | None = rule(0.5)

    source: ClassVar[str] = (
        "Adlakha et al. 2023 (K-precision), arXiv 2307.16877; Es et al. 2023 (RAGAS), 2309.15217"
    )
    kinds: ClassVar[tuple[str, ...]] = tuple(RESPONSE_FIELD)

    def check(self) -> None:
        """Reject limits that nothing can meet."""
        for name in ("min", "judged"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"{name} is {value}; it is a share from 0 to 1")
        if self.model is None and self.prompt != "grounded":
            raise ValueError("prompt is what a judge is asked; name it as model")

    def prepare(self) -> None:
        """Read the judge's prompt, and reject one that takes other variables."""
        if self.model is None:
            return
        try:
            prompts.load_with(self.prompt, ("passage", "question", "answer", "mark"))
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        own = super().fingerprint()
        return own if self.model is None else {**own, "prompt_text": prompts.digest(self.prompt)}

    def sketch_types(self) -> dict[str, str]:
        """Return the two scores, and what the passage lacks as JSON text."""
        return {"precision": "float64", "judged": "float64", "detail": "string"}

    def sketch(self, row: Row) -> Asking:
        """Compare one answer with its passage, and ask the judge if there is one."""
        passage = json.loads(row.extra or "{}").get(self.passage)
        if not isinstance(passage, str) or not passage.strip():
            raise ValueError(f"the row has no passage in its column '{self.passage}'")
        question, answer = row.instruction, row.response
        if not answer.strip():
            raise ValueError("the row has no answer to compare with its passage")
        found = support(answer, f"{passage}\n{question}")
        detail: dict[str, Any] = {}
        if found.words:
            detail["words"] = found.words[:_SHOWN]
        if found.numbers:
            detail["numbers"] = found.numbers[:_SHOWN]
        judged = None
        if self.model is not None:
            values = {"passage": passage, "question": question, "answer": answer}
            values["mark"] = prompts.mark_of(*values.values())
            prompt = prompts.load(self.prompt)
            filled = prompt.render_from(values)
            reply: Reply = yield Choose(
                model=self.model,
                messages=(Message("user", filled.text),),
                system=filled.system,
                options=("A", "B"),
            )
            judged = reply.chances(("A", "B"))[0]
            detail |= {"judged": round(judged, 4), "precision": found.precision}
            detail |= {} if reply.mass is None else {"mass": round(reply.mass, 4)}
        return {
            "precision": found.precision,
            "judged": judged,
            "detail": json.dumps(detail, ensure_ascii=False) if detail else None,
        }

    def decide(self, positions: np.ndarray, sketches: pa.Table) -> Verdicts:
        """Compare the scores with the limits, and count what is not supported."""
        import numpy as np

        precision = np.array(sketches.column("precision").to_pylist(), np.float64)
        judged = np.array(sketches.column("judged").to_pylist(), np.float64)
        details = [
            json.loads(text) if text else None for text in sketches.column("detail").to_pylist()
        ]
        lacking = np.array([bool(detail and "numbers" in detail) for detail in details], bool)
        broken = (
            precision < (-math.inf if self.min is None else self.min),
            lacking & self.numbers,
            judged < (-math.inf if self.judged is None else self.judged),
        )
        code = np.full(len(positions), -1, np.int64)
        for number in reversed(range(len(broken))):
            code[broken[number]] = number
        count = max(1, len(positions))
        known = precision[~np.isnan(precision)]
        figures = {
            "answers": float(len(positions)),
            "unsupported_share": float(np.count_nonzero(code >= 0)) / count,
            **({"mean_precision": float(known.mean())} if len(known) else {}),
        }
        if self.model is not None and len(positions):
            figures["mean_judged"] = float(np.nanmean(judged))
        return Verdicts(
            code=code,
            reasons=REASONS,
            score=precision if self.model is None else judged,
            details=details,
            figures=figures,
        )


def support(answer: str, source: str) -> Support:
    """Return how much of `answer` stands in `source`, word by word and number by number."""
    from curate.kernels.text.topic_terms import english_stop_words

    stop = english_stop_words() | _VERDICTS
    there = set(compared_words(source))
    beginnings = {start for word in there for start in _beginnings(word)}
    content = [w for w in compared_words(answer) if w not in stop and not w.isdecimal()]
    lacking = [
        word
        for word in content
        if word not in there and not any(start in beginnings for start in _beginnings(word))
    ]
    known = {value for values in protected(source).numbers for value in values}
    numbers = protected(answer).numbers
    foreign = [min(sorted(values), key=len) for values in numbers if not values & known]
    total = len(content) + len(numbers)
    return Support(
        1 - (len(lacking) + len(foreign)) / total if total else None,
        tuple(dict.fromkeys(lacking)),
        tuple(dict.fromkeys(foreign)),
    )


def _beginnings(word: str) -> list[str]:
    """Return a word without up to three letters of its end, where enough is left to tell it by."""
    return [word[:end] for end in range(max(_STEM, len(word) - _ENDING), len(word) + 1)]
