"""Label preferences with a model in the place of people, as RLAIF does, and measure it on them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.row import Row
from curate.step import Asking, Figures
from curate.steps.pairs._comparison import PairJudge, digest_of, verdict_of
from curate.steps.pairs.prefer import Prefer, pair_of

# What an exemplar says, beside which answer is better: 1 or 2.
EXEMPLAR = ("instruction", "first", "second", "rationale", "better")


@dataclass(frozen=True, kw_only=True)
class RlaifPrefer(Prefer):
    """Label pairs with a model as RLAIF does: preamble, exemplars, reasoning, both orders.

    It works like `prefer`, on preference pairs and on `ranked` rows with two candidates, and its
    fields have the same meaning except for these. `preamble` is the item of the prompt with which
    it begins: `base` is one question, `detailed` a rater's guideline. `shots` is the number of
    exemplars that follow, with their rationales if `reason` is set. `exemplars` is the prompt file
    with these. The soft label is the mean of both orders; `principles` is not used.

    `human` says where the choice made by people is: `chosen`, if the row's sides are theirs (with a
    `p_chosen`, the likelier side; of candidates, the one with the higher score), or the name of a
    column that has 1 or 2, for the first or the second answer. The report then has
    `ai_labeler_alignment`, the share of pairs in which the label prefers the answer that people
    chose (a label of exactly 0.5 counts half; pairs on which people are undecided are left out).
    Its `position_bias` is the share in which the same position wins in both orders.
    """

    prompt: str = "compare_rlaif"
    options: tuple[str, ...] = ("1", "2")
    preamble: str = "detailed"
    exemplars: str = "rlaif_exemplars"
    shots: int = 0
    human: str | None = None

    # Letters, because many small models have a space and a digit as two tokens.
    for_small_models: ClassVar[Mapping[str, Any]] = {
        "shots": 2,
        "complete": True,
        "options": ("A", "B"),
    }
    source: ClassVar[str] = "Lee et al. 2023 (RLAIF), arXiv 2309.00267, sections 2 and 3"

    def check(self) -> None:
        """Reject exemplars without a number, and principles, too."""
        super().check()
        if self.shots < 0:
            raise ValueError(f"shots is {self.shots}; it must be 0 or more")
        if self.principles:
            raise ValueError("principles is for prefer and constitutional_prefer; give preamble")

    def prepare(self) -> None:
        """Read the prompts, and reject exemplars that do not say all that is needed."""
        super().prepare()
        if not self.shots:
            return
        items = self.judge().values["exemplars"]
        if len(items) < self.shots:
            raise ValueError(
                f"shots is {self.shots}, and '{self.exemplars}' has {len(items)} items"
            )
        for item in items:
            lacking = [name for name in EXEMPLAR if name not in item.values]
            if lacking:
                raise ValueError(f"'{self.exemplars}': the item '{item.id}' lacks {lacking}")
            if item.values["better"] not in ("1", "2"):
                said = item.values["better"]
                raise ValueError(
                    f"'{self.exemplars}': better is {said!r} in the item '{item.id}'; it must be "
                    "'1' or '2', in quotes"
                )

    def fingerprint(self) -> dict[str, Any]:
        """Add the exemplars' texts."""
        shown = prompts.digest(self.exemplars) if self.shots else ""
        return {
            **super().fingerprint(),
            "prompt_text": (digest_of(self.prompt, self.reason), shown),
        }

    def judge(self, row: Row | None = None) -> PairJudge:
        """Return the labeler, with its preamble and exemplars."""
        try:
            preamble = prompts.load(self.prompt).item(self.preamble)
            shown = prompts.load(self.exemplars).items[: self.shots] if self.shots else ()
        except CurateError as error:
            raise ValueError(str(error)) from None
        found = super().judge(row)
        return dataclasses.replace(found, principles=(preamble,), values={"exemplars": shown})

    def make(self, row: Row) -> Asking:
        """Label the pair, and compare the label with what people chose."""
        human = self.human_choice(row)
        product, said = yield from super().make(row)
        figures = dict(said.values)
        if "same_place_wins" in figures:
            figures["position_bias"] = figures.pop("same_place_wins")
        if human is not None:
            verdict = verdict_of(product.detail["p_first"])
            figures["ai_labeler_alignment"] = verdict if human == 1 else 1 - verdict
        return [product, Figures(figures)]

    def human_choice(self, row: Row) -> int | None:
        """Return which answer people chose, 1 or 2; `None`: they said neither, or nothing.

        Raises:
            ValueError: there is no column `human`, or it holds something else.
        """
        if self.human is None:
            return None
        if self.human == "chosen":
            p_chosen, margin = row.fields.get("p_chosen"), pair_of(row).margin
            apart = margin if row.kind == "ranked" else 1 if p_chosen is None else p_chosen - 0.5
            return None if not apart else 1 if apart > 0 else 2
        columns = json.loads(row.extra or "{}")
        if self.human not in columns:
            raise ValueError(
                f"the row has no column '{self.human}' with people's choice; it has "
                f"{', '.join(columns) or 'none'} (human: chosen takes the row's own sides)"
            )
        said = columns[self.human]
        if said in (1, 2, "1", "2") and said is not True:
            return int(said)
        if said is None:
            return None
        raise ValueError(
            f"the column '{self.human}' holds {said!r}; people's choice is 1 for the first answer "
            "(chosen), 2 for the second, or empty"
        )
