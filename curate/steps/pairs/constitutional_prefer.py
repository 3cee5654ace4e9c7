"""Let a judge say which answer keeps to a principle: Constitutional AI's second half."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from curate.errors import CurateError
from curate.prompts import prompt as prompts
from curate.row import Row
from curate.steps.pairs._comparison import PairJudge, Preference, digest_of
from curate.steps.pairs.critique_revise import principles_in
from curate.steps.pairs.prefer import Prefer


@dataclass(frozen=True, kw_only=True)
class ConstitutionalPrefer(Prefer):
    """Have a judge choose between two answers by a principle of a constitution, drawn per row.

    It works like `prefer`, on preference pairs and on `ranked` rows with two candidates, and its
    fields have the same meaning except for these. `constitution` is the name or path of a prompt
    file; one of its items is drawn uniformly from the row's seed. `principles` lists the ids of the
    items to draw from. The judge sees the item's text `prefer`, after the constitution's own text.
    The ledger records the principle.

    The labels are soft, like the model's probabilities. With `reason`, the model reasons first, and
    is then nearly certain of whatever it says. So `clamp` limits each probability to the range from
    1 - `clamp` to `clamp` before they are averaged: 0.97 becomes 0.6, 0.03 becomes 0.4, and 0.5
    stays. `clamp: null` leaves them unchanged. The ledger records every probability before
    clamping.
    """

    prompt: str = "compare_by_principle"
    constitution: str = "constitution_harmlessness"
    clamp: float | None = 0.6

    for_small_models: ClassVar[Mapping[str, Any]] = {
        "prompt": "compare_by_principle_brief",
        "complete": True,
    }
    source: ClassVar[str] = "Bai et al. 2022 (Constitutional AI), arXiv 2212.08073, section 4.1"

    def check(self) -> None:
        """Reject limits that nothing can meet, too."""
        super().check()
        if self.clamp is None:
            return
        if not 0.5 < self.clamp <= 1:
            raise ValueError(
                f"clamp is {self.clamp:g}; it is the highest probability of a label after "
                "reasoning, above 0.5 and at most 1, or null"
            )
        if self.reason and self.at_least is not None and self.at_least > self.clamp:
            raise ValueError(
                f"at_least is {self.at_least:g}, and no label after reasoning is above clamp, "
                f"which is {self.clamp:g}; lower the one or raise the other"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Add the constitution's text."""
        text = (digest_of(self.prompt, self.reason), prompts.digest(self.constitution))
        return {**super().fingerprint(), "prompt_text": text}

    def judge(self, row: Row | None = None) -> PairJudge:
        """Return who compares by the principle that is drawn for `row`; by all, without one."""
        try:
            items = principles_in(self.constitution, self.principles, needed=("prefer",))
        except CurateError as error:
            raise ValueError(str(error)) from None
        if row is not None:
            items = (row.random(f"{self.title} principle").choice(items),)
        return PairJudge(
            models=self.reads_models(),
            prompt=self.prompt,
            principles=items,
            options=self.options,
            reason=self.reason,
            complete=self.complete,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            values={"preamble": prompts.load(self.constitution).render().text},
        )

    def counted(self, said: Preference) -> Preference:
        """Return the opinions as they count: after reasoning, none beyond `clamp`."""
        if not self.reason or self.clamp is None:
            return said
        least, most = 1 - self.clamp, self.clamp
        return Preference(
            tuple(one._replace(p_first=min(max(one.p_first, least), most)) for one in said.opinions)
        )
