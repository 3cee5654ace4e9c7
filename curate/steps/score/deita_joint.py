"""Score variants of one instruction, or of one answer, side by side (DEITA)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from curate.ask import Ask, check_asking
from curate.errors import CurateError
from curate.kernels.arrays.groups import group_of
from curate.prompts import prompt as prompts
from curate.prompts.replies.objects import ask_until, object_in
from curate.prompts.replies.plain_lines import shown
from curate.row import Message, Record, Row
from curate.step import Asking, Gather, Made
from curate.steps.pairs._answers import rescored
from curate.steps.score._judge import conversation, shown_turn

SHOWN = ("instruction", "variants", "of", "mark")


@dataclass(frozen=True, kw_only=True)
class DeitaJoint(Gather):
    """Score the variants of an instruction, or of an answer, from 1 to 6 in one request (DEITA).

    Scored one by one, most variants get the same score; side by side, a judge can tell them apart.
    Rows that share their first parent are variants, together with that parent if it is still there
    (`evolve: {every: true, keep_parent: true}`). `per` names a column whose equal values group
    variants instead. `on: instruction` scores how complex their instructions are, `on: response`
    how good their answers are. A `ranked` row is a group of its own: its candidates are the
    variants of the answer, and get their scores, with the reasons in `extra` (and a score that they
    already had as `score_before_LABEL`). Other rows are made anew with their score, which `by:
    deita_joint` finds. `model` sees the variants in an order drawn from the seed of the group's
    first row, which the ledger records with the reasons. `prompt` is the name or path of another
    prompt. `repairs` is how often a reply without a score for each variant is asked for again; then
    the group fails. `temperature` and `max_tokens` override those of the model.
    """

    model: str | None = None
    on: Literal["instruction", "response"] = "instruction"
    per: str | None = None
    prompt: str = "deita_joint"
    repairs: int = 1
    temperature: float | None = 0.0
    max_tokens: int | None = 1024

    source: ClassVar[str] = "Liu et al. 2023 (DEITA), arXiv 2312.15685, sections 2.2 and 2.3"
    kinds: ClassVar[tuple[str, ...]] = ("prompt", "sft", "ranked")
    scores_made: ClassVar[bool] = True
    judges: ClassVar[bool] = True
    shares_replies: ClassVar[bool] = True

    def check(self) -> None:
        """Reject a step that asks nobody, and limits that nothing can meet."""
        check_asking(
            self.model,
            repairs=self.repairs,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    def prepare(self) -> None:
        """Read the prompt, and reject one that takes other variables."""
        try:
            prompts.load_with(self.prompt, SHOWN)
        except CurateError as error:
            raise ValueError(str(error)) from None

    def fingerprint(self) -> dict[str, Any]:
        """Add the prompt's text: a changed file is another judge under the same name."""
        return {**super().fingerprint(), "prompt_text": prompts.digest(self.prompt)}

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """Rows leave as what they were."""
        return kinds

    def key(self, row: Row) -> str:
        """Return the origin of a row: its first parent, or itself; or the value of `per`."""
        if row.kind == "ranked":
            return f"ranked {row.id}"
        if self.per is None:
            return row.parents[0] if row.parents else row.id
        return group_of(row, self.per)

    def make(self, rows: Sequence[Row]) -> Asking:
        """Ask for the scores of a group, and hand them out."""
        first = rows[0]
        if not self.key(first):
            raise ValueError(f"the row has no column '{self.per}' that says whose variant it is")
        instruction, variants = first.instruction, [row.text(self.on) for row in rows]
        if first.kind == "ranked":
            instruction = conversation(first.prompt)
            variants = ["\n".join(map(shown_turn, one.messages)) for one in first.candidates]
        if not variants or not all(text.strip() for text in variants):
            raise ValueError(f"a variant has no {self.on} to score")
        order = list(range(len(variants)))
        first.random(self.title).shuffle(order)
        ranks = first.kind == "ranked" or self.on == "response"
        values: Mapping[str, Any] = {
            "instruction": instruction if ranks else None,
            "variants": [variants[place] for place in order],
            "of": "response" if ranks else "instruction",
            "mark": prompts.mark_of(instruction, *variants),
        }
        prompt = prompts.load(self.prompt)
        filled = prompt.render_from(values)
        found, _ = yield from ask_until(
            Ask(
                model=self.model,
                messages=(Message("user", filled.text),),
                system=filled.system,
                temperature=self.temperature,
                max_tokens=self.max_tokens,
            ),
            lambda text: scores_in(text, prompt.schema, len(variants)),
            repairs=self.repairs,
        )
        scores = [0.0] * len(variants)
        for place, score in zip(order, found["scores"], strict=True):
            scores[place] = float(score)
        detail = {"scores": scores, "shown": order, "rationale": found.get("rationale")}
        if first.kind != "ranked":
            return [
                Made(Record(r.kind, r.fields, r.extra, (r.id,)), score, detail)
                for r, score in zip(rows, scores, strict=True)
            ]
        said = {"rationale": found.get("rationale")}
        candidates = tuple(
            rescored(one, score, self.title).with_extra(self.title, said)
            for one, score in zip(first.candidates, scores, strict=True)
        )
        return Made(first.rewrite(candidates=candidates), max(scores), detail)


def scores_in(text: str, schema: Any, count: int) -> Any:
    """Return the object of a reply, once it has a score for each of `count` variants.

    Raises:
        ValueError: it is none, or has more scores or fewer.
    """
    found = object_in(text, schema or {})
    if len(found["scores"]) != count:
        raise ValueError(
            f"it has {len(found['scores'])} scores for {count} variants: {shown(text)}"
        )
    return found
