"""Turn judged answers into another form: pairs, ranked, labelled, in hindsight, conditioned."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

from curate.row import Candidate, Message, Record, Row, canonical_bytes, digest
from curate.step import Drop, Gather, Made, Product
from curate.steps.pairs._answers import shared_columns

Turns = tuple[Message, ...]
HINDSIGHT, CONDITION, WEIGHT, MARGIN_OF = "hindsight", "condition", "weight", "margin_of"
_SIDES = ("chosen", "rejected")
# Columns in which the forms keep what their typed fields do not hold.
_OWN = (HINDSIGHT, CONDITION, WEIGHT, MARGIN_OF, "score", "model",
        *(f"{side}_{what}" for side in _SIDES for what in ("score", "model")))  # fmt: skip


class _Judged(NamedTuple):
    """One answer to a prompt, and what is known of its worth."""

    row: Row
    prompt: Turns
    turns: Turns
    label: bool | None
    score: float | None
    model: str | None
    # The pair of whose margin the score is a part; it says nothing beside those of other pairs.
    margin_of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Convert(Gather):
    """Convert judged answers between the forms that trainers use.

    Rows with the same prompt form a group, and all that is known about its answers (whether they
    are wanted, scores, models) is carried into the new form. `to` names that form:

    `preference` keeps the two sides of a row together and pairs the first wanted answer of the
    others with the first unwanted one, and so on; two answers that only have scores form a pair,
    too (`pairs` has more rules). `ranked` lists all answers as candidates, equal ones once; if a
    group has a single pair, its margin becomes the candidates' scores. `unpaired` makes a labelled
    row of each answer. `threshold` is the score from which an answer without a label counts as
    wanted. `hindsight` makes a conversation that asks for an answer with good and one with bad
    feedback, in an order drawn from the row's seed (Chain of Hindsight). `good` and `bad` are the
    texts of that feedback, which is in the user's turns, so that a loss on answers ignores it.
    `conditioned` makes a conversation of each answer, with that text before the prompt's last turn
    and the columns `condition` and `weight`, as C-RLFT does. `low` is the weight of unwanted
    answers (1 for wanted ones). Conversations in these two forms are read back by the same texts.

    If the new form cannot hold something, the group fails with its name: `p_chosen`, a `margin`
    that is not the difference of the scores, the `extra` fields of a candidate, `columns` that
    differ between rows that become one. `lose` lists what may be lost, and the ledger records it.
    Wanted answers without an unwanted partner, or the reverse, are dropped when pairs are made. If
    pairs are split, an answer that is wanted in one and unwanted in another (B, if A is preferred
    to B, and B to C) fails the group: `aggregate` weighs such pairs.
    """

    to: Literal["preference", "ranked", "unpaired", "hindsight", "conditioned"] = "preference"
    lose: tuple[Literal["p_chosen", "margin", "extra", "columns"], ...] = ()
    threshold: float | None = None
    good: str = "A good answer:"
    bad: str = "A bad answer:"
    low: float = 0.1

    source: ClassVar[str] = (
        "Liu et al. 2023 (Chain of Hindsight), arXiv 2302.02676; Wang et al. 2023 (OpenChat, "
        "C-RLFT), arXiv 2309.11235; Ethayarajh et al. 2024 (KTO), arXiv 2402.01306"
    )
    version: ClassVar[int] = 3
    kinds: ClassVar[tuple[str, ...]] = ("sft", "preference", "ranked", "unpaired")

    def check(self) -> None:
        """Reject texts and weights by which answers cannot be told apart."""
        if not self.good.strip() or not self.bad.strip() or self.good == self.bad:
            raise ValueError("good and bad must be two different texts")
        if not 0 <= self.low <= 1:
            raise ValueError(f"low is {self.low:g}; it is a weight from 0 to 1")

    def kinds_made(self, kinds: frozenset[str]) -> frozenset[str]:
        """All rows have one kind."""
        kind = "sft" if self.to in ("hindsight", "conditioned") else self.to
        return frozenset({kind}) | (kinds if self.keep_parent else frozenset())

    def key(self, row: Row) -> str:
        """Return a key of the prompt, without what this step's forms put beside it."""
        try:
            prompt = self._judged(row)[0].prompt
        except ValueError:
            # It is a group of its own, which fails with the same words.
            return row.id
        return digest(canonical_bytes("prompt", {"prompt": prompt})).hex()

    def make(self, rows: Sequence[Row]) -> list[Product]:
        """Write the answers of one prompt in the new form."""
        answers = [one for row in rows for one in self._judged(row)]
        if self.threshold is not None:
            answers = [
                a._replace(label=a.score >= self.threshold)
                if a.label is None and a.score is not None
                else a
                for a in answers
            ]
        paired = self.to in ("preference", "hindsight")
        if paired and len(answers) == 2 and all(a.label is None for a in answers):
            one, two = (a.score for a in answers)
            if one is not None and two is not None:
                if one == two:
                    return [Drop("both answers have one score")]
                labels = (one > two, two > one)
                answers = [a._replace(label=b) for a, b in zip(answers, labels, strict=True)]
        if self.to != "ranked" and any(a.label is None for a in answers):
            raise ValueError(
                "nothing says which answers are wanted: they have no labels; give a threshold for "
                "scored ones, or make pairs of them by the step pairs"
            )
        two_sided: list[tuple[_Judged, ...]] = []
        alone = answers
        if paired:
            # The two sides of one pair are one already; only what is left is paired anew.
            by_pair: dict[str, list[_Judged]] = {}
            for a in answers:
                by_pair.setdefault(a.margin_of or a.row.id, []).append(a)
            parts = [_paired(own) for own in by_pair.values()]
            two_sided = [two for pairs, _ in parts for two in pairs]
            alone = [a for _, left in parts for a in left]
            two_sided += _paired(alone)[0]
        wanted = {a.turns for a in alone if a.label}
        for a in alone:
            if a.label is False and a.turns in wanted:
                raise ValueError(
                    f"the answer {a.turns[-1].text!r:.60} is wanted and unwanted; let the step "
                    "aggregate weigh such pairs first, with method: bradley_terry"
                )
        if self.to == "ranked":
            written = [self._written(answers)]
        elif paired:
            written = [self._written(two) for two in two_sided]
        else:
            written = [self._written([answer]) for answer in answers]
        for lost in (made.detail["lost"] for made in written if made.detail):
            unnamed = [name for name in lost if name not in self.lose]
            if unnamed:
                raise ValueError(
                    f"{', '.join(unnamed)} would be lost, as '{self.to}' has no place for it; to "
                    f"let it go, set lose: [{', '.join(unnamed)}]"
                )
        used = {parent for made in written for parent in made.record.parents or ()}
        left = [row.id for row in rows if row.id not in used]
        return [*written, *(Drop("no answer of the other label", row=one) for one in left)]

    def _judged(self, row: Row) -> list[_Judged]:
        """Return the answers of a row of any form."""
        columns = _columns(row)
        if row.kind == "ranked":
            beside = [json.loads(c.extra or "{}") for c in row.candidates]
            return [
                _Judged(
                    row, row.prompt, c.messages, b.get("label"), c.score, c.model, b.get(MARGIN_OF)
                )
                for c, b in zip(row.candidates, beside, strict=True)
            ]
        if row.kind == "preference":
            scores = [columns.get(f"{side}_score") for side in _SIDES]
            margin = row.fields.get("margin")
            margin_of = None
            if None in scores:
                # The margin is the difference of the scores, wherever these begin.
                scores = [None, None] if margin is None else [margin, 0.0]
                margin_of = None if margin is None else row.id
            models = [columns.get(f"{side}_model") for side in _SIDES]
            return [
                _Judged(
                    row, row.prompt, row.fields[side], side == "chosen", score, model, margin_of
                )
                for side, score, model in zip(_SIDES, scores, models, strict=True)
            ]
        known = (columns.get("score"), columns.get("model"), columns.get(MARGIN_OF))
        if row.kind == "unpaired":
            return [_Judged(row, row.prompt, row.completion, row.fields["label"], *known)]
        tags = {"good": self.good, "bad": self.bad}
        if columns.get(CONDITION) in tags:
            name = columns[CONDITION]
            prompt = _unmarked(row.messages[:-1], before=f"{tags[name]} ")
            return [_Judged(row, prompt, row.messages[-1:], name == "good", *known)]
        if HINDSIGHT not in columns:
            raise ValueError(
                "the conversation says nothing of its answer's worth: it has neither a column "
                f"'{CONDITION}' (good or bad) nor '{HINDSIGHT}'"
            )
        kept = columns[HINDSIGHT]
        *before, first, _, second = row.messages
        prompt = _unmarked(before, behind=f"\n\n{tags[kept['order'][0]]}")
        turns = dict(zip(kept["order"], (first, second), strict=True))
        return [
            _Judged(row, prompt, (turns[name],), name == "good", *kept[name])._replace(
                margin_of=kept.get(MARGIN_OF)
            )
            for name in ("good", "bad")
        ]

    def _written(self, answers: Sequence[_Judged]) -> Made:
        """Return the row of some answers in the new form, with the names of what it loses."""
        rows = list({a.row.id: a.row for a in answers}.values())
        lost, columns = self._lost(rows), shared_columns(rows, _OWN)
        if len({a.margin_of for a in answers}) > 1:
            # Margins of several pairs begin anywhere: side by side they order nothing.
            lost = sorted({*lost, *(["margin"] if any(a.margin_of for a in answers) else [])})
            answers = [
                a._replace(score=None, margin_of=None) if a.margin_of else a for a in answers
            ]
        first, prompt = answers[0], answers[0].prompt
        fields: dict[str, Any] = {"prompt": prompt}
        if self.to == "ranked":
            candidates = []
            for a in answers:
                known = {"label": a.label, MARGIN_OF: None if a.score is None else a.margin_of}
                known = {name: value for name, value in known.items() if value is not None}
                candidates.append(
                    Candidate(a.turns, a.score, a.model, json.dumps(known) if known else None)
                )
            fields["candidates"] = tuple(dict.fromkeys(candidates))
        elif self.to == "preference":
            one, two = answers
            scored = one.score is not None and two.score is not None
            margin = one.score - two.score if scored else None  # type: ignore[operator]
            p_chosen = rows[0].fields.get("p_chosen") if len(rows) == 1 else None
            fields |= {"chosen": one.turns, "rejected": two.turns}
            fields |= {"margin": margin, "p_chosen": p_chosen}
            # Where the rejected answer's score is 0, the margin says it all.
            scores = {"chosen_score": one.score, "rejected_score": two.score} if two.score else {}
            columns |= {**scores, "chosen_model": one.model, "rejected_model": two.model}
        elif self.to == "unpaired":
            fields |= {"completion": first.turns, "label": first.label}
            columns |= {"score": first.score, "model": first.model, MARGIN_OF: first.margin_of}
        else:
            fields, more = self._conversation(answers)
            columns |= more
        columns = {name: value for name, value in columns.items() if value is not None}
        kind = "sft" if self.to in ("hindsight", "conditioned") else self.to
        extra = json.dumps(columns, ensure_ascii=False) if columns else None
        record = Record(kind, fields, extra, tuple(row.id for row in rows))
        return Made(record, detail={"lost": lost} if lost else None)

    def _conversation(self, answers: Sequence[_Judged]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the messages and the columns of a conversation that holds the feedback."""
        prompt = answers[0].prompt
        odd = [a for a in answers if len(a.turns) != 1 or a.turns[0].role != "assistant"]
        if odd or not prompt or prompt[-1].role != "user" or prompt[-1].parts is not None:
            raise ValueError(
                f"'{self.to}' needs answers of one turn, and a prompt that ends in a user's text"
            )
        *before, last = prompt
        if self.to == "conditioned":
            [one] = answers
            name, tag = ("good", self.good) if one.label else ("bad", self.bad)
            asked = Message("user", f"{tag} {last.content}")
            weight = 1.0 if one.label else self.low
            beside = {"score": one.score, "model": one.model, CONDITION: name, WEIGHT: weight}
            beside |= {MARGIN_OF: one.margin_of}
            return {"messages": (*before, asked, *one.turns)}, beside
        sides = {"good": answers[0], "bad": answers[1]}
        tags = {"good": self.good, "bad": self.bad}
        order = ["good", "bad"]
        answers[0].row.random(self.title).shuffle(order)
        asked = Message("user", f"{last.content}\n\n{tags[order[0]]}")
        turns = (*before, asked, *sides[order[0]].turns)
        turns = (*turns, Message("user", tags[order[1]]), *sides[order[1]].turns)
        kept: dict[str, Any] = {name: [one.score, one.model] for name, one in sides.items()}
        if answers[0].margin_of is not None:
            kept[MARGIN_OF] = answers[0].margin_of
        return {"messages": turns}, {HINDSIGHT: {"order": order, **kept}}

    def _lost(self, rows: Sequence[Row]) -> list[str]:
        """Return the names of what the rows hold and the new form has no place for."""
        lost = set()
        columns = [_columns(row) for row in rows]
        if any(
            {**own, **dict.fromkeys(_OWN)} != {**columns[0], **dict.fromkeys(_OWN)}
            for own in columns
        ):
            lost.add("columns")
        for row in rows:
            if row.kind == "ranked":
                beside = [json.loads(c.extra or "{}") for c in row.candidates]
                lost |= (
                    {"extra"} if any(own.keys() - {"label", MARGIN_OF} for own in beside) else set()
                )
            if row.kind == "preference":
                one, two = self._judged(row)
                margin = row.fields.get("margin")
                gap = None if one.score is None or two.score is None else one.score - two.score
                lost |= {"margin"} if margin is not None and margin != gap else set()
                p_chosen = row.fields.get("p_chosen") is not None and self.to != "preference"
                lost |= {"p_chosen"} if p_chosen else set()
        return sorted(lost)


def _paired(
    answers: Sequence[_Judged],
) -> tuple[list[tuple[_Judged, ...]], list[_Judged]]:
    """Pair the first wanted answer with the first unwanted one, and so on; return those left."""
    sides = [[a for a in answers if a.label == label] for label in (True, False)]
    pairs = list(zip(*sides, strict=False))
    return pairs, [a for side in sides for a in side[len(pairs) :]]


def _columns(row: Row) -> dict[str, Any]:
    from curate.read.shapes.record_fields import extra_columns

    return extra_columns(row)


def _unmarked(turns: Sequence[Message], *, before: str = "", behind: str = "") -> Turns:
    """Return the prompt without the feedback that stands before or behind its last turn."""
    *rest, last = turns
    text = last.content
    if not text.startswith(before) or not text.endswith(behind):
        raise ValueError(
            f"the prompt has no feedback {(before or behind).strip()!r}; give good and bad the "
            "texts with which the rows were made"
        )
    return (*rest, Message(last.role, text.removeprefix(before).removesuffix(behind), last.parts))
