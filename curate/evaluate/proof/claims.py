"""What may be claimed: comparisons in a fixed order, and the words for how far they went.

Random first, then the longest rows, then all: each is tested only where the one before was claimed,
which needs no correction. Where several questions are asked at once (sizes, groups, metrics), each
begins with an equal share of alpha, and hands on what it has claimed with (`gatekeeping`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from curate.evaluate.proof.draw_test import ALPHA, Difference
from curate.evaluate.proof.gatekeeping import adjusted

Kind = Literal["helped", "partly", "hurt", "better", "worse", "no evidence", "not measured"]
# The arms in the order in which they are tested, and what each is called.
RANDOM, TOKENS, LONGEST, ALL = "random", "random_tokens", "longest", "all"
NAMES: Mapping[str, str] = {
    RANDOM: "random rows",
    TOKENS: "random rows of as many tokens",
    LONGEST: "the longest rows",
    ALL: "all rows",
}


class Question(NamedTuple):
    """Comparisons in the order of their tests; `missing` names arms that were not trained.

    Where `problem` says why, nothing was measured, though all arms are there.
    """

    name: str
    metric: str
    comparisons: Sequence[Difference]
    missing: Sequence[str] = ()
    # The two that are compared, where it is not a recipe against random rows.
    pair: tuple[str, ...] | None = None
    problem: str = ""

    @property
    def measured(self) -> bool:
        """Tell whether there is anything to test."""
        return not self.missing and not self.problem


class Tested(NamedTuple):
    """A comparison as it counts: its adjusted p, or `None` where its turn never came."""

    difference: Difference
    p: float | None

    def claimed(self, alpha: float) -> bool:
        """Tell whether a difference is claimed, in either direction."""
        return self.p is not None and self.p < alpha


class Claim(NamedTuple):
    """What may be said of one question."""

    name: str
    metric: str
    kind: Kind
    text: str
    tested: Sequence[Tested]


def verdicts(questions: Sequence[Question], *, alpha: float = ALPHA) -> list[Claim]:
    """Return a verdict for each question."""
    chains = []
    for question in questions:
        worse = [one.effect <= 0 for one in question.comparisons]
        # Behind a difference to the worse nothing is tested, and its share stays there.
        chain = [1.0 if any(worse[:n]) else one.p for n, one in enumerate(question.comparisons)]
        # A question that was not measured still has its share.
        chains.append(chain if question.measured else [1.0])
    found = []
    for question, chain in zip(questions, adjusted(chains), strict=True):
        tested, is_open = list[Tested](), question.measured
        for place, one in enumerate(question.comparisons):
            p = chain[place] if is_open else None
            tested.append(Tested(one, p))
            is_open = p is not None and p < alpha and one.effect > 0
        found.append(tested)
    return [_verdict(q, tested, alpha) for q, tested in zip(questions, found, strict=True)]


def _verdict(question: Question, tested: Sequence[Tested], alpha: float) -> Claim:
    name, metric = question.name, question.metric
    if question.missing:
        arms = ", ".join(question.missing)
        text = f"not measured: {arms} failed; the same command trains again with the same seed"
        return Claim(name, metric, "not measured", text, tested)
    if question.problem:
        return Claim(name, metric, "not measured", f"not measured: {question.problem}", tested)
    first = tested[0]
    said = f"{metric} {span(first.difference, alpha)}, p = {p_text(first.p)}"
    if question.pair is not None:
        one, other = question.pair
        if not first.claimed(alpha):
            text = f"no evidence that {one} and {other} differ: {said}; {unseen(first.difference)}"
            return Claim(name, metric, "no evidence", text, tested)
        kind: Kind = "better" if first.difference.effect > 0 else "worse"
        return Claim(name, metric, kind, f"{one} is {kind} than {other}: {said}", tested)
    if not first.claimed(alpha):
        text = f"no evidence that the curation helped: {said}; {unseen(first.difference)}"
        return Claim(name, metric, "no evidence", text, tested)
    if first.difference.effect < 0:
        text = f"the curation hurt: worse than {first.difference.against}: {said}"
        return Claim(name, metric, "hurt", text, tested)
    won = [one for one in tested if one.claimed(alpha) and one.difference.effect > 0]
    beaten = " and ".join(one.difference.against for one in won)
    if len(won) == len(tested):
        text = f"the curation helped: better than {beaten}: {said}"
        return Claim(name, metric, "helped", text, tested)
    last = tested[len(won)]
    words = "worse than" if last.claimed(alpha) else "not than"
    other = last.difference.against
    # All rows are no other choice of as many rows: not to beat them takes nothing away.
    helped = other == NAMES[ALL]
    head = "the curation helped: " if helped else ""
    text = (
        f"{head}better than {beaten}, {words} {other}: {said}; "
        f"against {other} {span(last.difference, alpha)}, p = {p_text(last.p)}"
    )
    text += "" if last.claimed(alpha) else f"; {unseen(last.difference)}"
    return Claim(name, metric, "helped" if helped else "partly", text, tested)


def span(one: Difference, alpha: float) -> str:
    """Return an effect and its interval as words."""
    coverage = f"{100 * (1 - alpha):g} % interval"
    return f"{figure(one.effect)} ({coverage} {figure(one.low)} to {figure(one.high)})"


def unseen(one: Difference) -> str:
    """Say which effects a comparison could not have found."""
    return f"an effect under {one.visible:.4f} would not have been seen (80 % power)"


def figure(value: float) -> str:
    """Return an effect with its sign: + where it speaks for what is tested."""
    return f"{value:+.4f}"


def p_text(p: float | None) -> str:
    """Return a p value for people."""
    if p is None:
        return "not tested"
    return f"{p:.4f}" if p >= 1e-4 else f"{p:.0e}"
