"""Contests as rows: what a judge is shown, and what judges and annotators said of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from curate.errors import UsageError
from curate.evaluate.judgement_columns import verdict_at
from curate.evaluate.model.alpaca_eval import preference_of, soft_label
from curate.evaluate.model.contests import Contest
from curate.evaluate.model.stages import GROUPS, column
from curate.evaluate.pair_measures import JudgedPair
from curate.evaluate.pairs import length_of, turns_of
from curate.pipeline import Result
from curate.row import Row
from curate.runs.ledger_scores import ledger_details
from curate.steps.pairs._answers import prompt_key
from curate.steps.pairs._comparison import Opinion, Preference
from curate.steps.pairs.rank import Rank

ANSWERS = "answers"
# In a model's place: whatever answer the labels prefer.
CHOSEN = "chosen"


def contest_records(
    rows: Iterable[Row], baseline: str | None, constant: str | None
) -> Iterator[dict[str, Any]]:
    """Yield the record of each contest: a prompt, the model's (or a constant) answer, the other."""
    from curate.read.shapes.record_fields import turns_of

    parents, made = dict[str, Row](), list[Row]()
    for row in rows:
        if row.parents:
            made.append(row)
        else:
            parents[row.id] = row
    missing = 0
    for row in made:
        if baseline is None:
            own, other = (one.messages[-1].content for one in row.candidates)
            prompt: Sequence[Any] = row.prompt
        else:
            parent = parents.get(row.parents[0], row)
            own, prompt = row.messages[-1].content, row.messages[:-1]
            said = parent.response
            if baseline != ANSWERS:
                value = json.loads(row.extra or "{}").get(baseline)
                said = value if isinstance(value, str) else ""
            if not said.strip():
                missing += 1
                continue
            other = said
        about = {kind: column(row, *names) for kind, names in GROUPS.items()}
        for who, text in (("model", own), ("constant", constant)):
            if text is None:
                continue
            answers = [{"role": "assistant", "content": one} for one in (text, other)]
            yield {
                "prompt": turns_of(prompt),
                "candidates": [
                    {"messages": [turn], "model": name}
                    for turn, name in zip(answers, (who, "baseline"), strict=True)
                ],
                "contest": who,
                **about,
            }
    if missing:
        where = "no answer of its own" if baseline == ANSWERS else f"no text in '{baseline}'"
        raise UsageError(
            f"{missing:,} of {len(made):,} rows have {where} for the model to be compared with; "
            "give --baseline MODEL, or rows that have one"
        )


def judged_contests(result: Result, judge: Rank) -> Iterator[tuple[str, Contest]]:
    """Yield whose answer was judged, and what the judge said of it; the model's stands first."""
    rows = {row.id: row for row in result.kept}
    for parent, detail in ledger_details(result.folder, judge.title):
        row = rows.get(parent)
        if row is None or "pairs" not in detail:
            continue
        opinions = [Opinion(**{"principle": None, **own}) for own in detail["pairs"][0]["opinions"]]
        said = Preference(tuple(opinions))
        own, other = (one.messages[-1].content for one in row.candidates)
        contest = Contest(
            prompt_key(row), said.p_first, said.order(False), said.order(True), len(own),
            len(other), column(row, "category"), column(row, "language"),
        )  # fmt: skip
        yield column(row, "contest"), contest


def recorded_contests(
    rows: Iterable[Row], difficulty: Sequence[float] | Mapping[str, float] | None = None
) -> Iterator[Contest]:
    """Yield the comparison of each annotated row, in order.

    Args:
        rows: ranked rows with two candidates, the baseline's answer first, as annotations are read.
        difficulty: of the instructions, by their place in the file or by instruction.

    Raises:
        UsageError: a row is not an annotation, its preference is unreadable, or it has no
            difficulty.
    """
    for row in rows:
        if row.kind != "ranked" or len(row.candidates) != 2:
            raise UsageError(
                f"row {row.id} is not an annotation of two answers; --recorded reads AlpacaEval's "
                "annotations: instruction, output_1, output_2 and preference"
            )
        columns = json.loads(row.extra or "{}")
        if "preference" not in columns:
            raise UsageError(
                f"row {row.id} has no column 'preference'; name the column of its verdicts: "
                "--verdicts COLUMN, or --verdicts COLUMN,SWAPPED"
            )
        try:
            wins = preference_of(columns)
        except ValueError as error:
            raise UsageError(f"row {row.id}: {error}") from error
        baseline, own = (one.messages[-1].content for one in row.candidates)
        yield Contest(
            row.id, wins, None, None, len(own), len(baseline), column(row, *GROUPS["category"]),
            column(row, *GROUPS["language"]), difficulty_at(row, difficulty),
        )  # fmt: skip


def recorded_verdicts(
    rows: Iterable[Row],
    model: str,
    given: str,
    swapped: str | None = None,
    difficulty: Sequence[float] | Mapping[str, float] | None = None,
) -> Iterator[Contest]:
    """Yield what recorded verdicts say of a model's answers, in one order of the answers or both.

    Args:
        rows: of two answers each; those without an answer of the model are passed over.
        model: its name, as the answers' models are called; or `chosen`, for the answer that the
            labels prefer, whose win rate is the accuracy of who judged.
        given: the column of the verdicts in the order in which answers stand (`judgement_columns`).
        swapped: that of the verdicts with the answers swapped.
        difficulty: as of `recorded_contests`.

    Raises:
        UsageError: a verdict cannot be read, or no row has an answer of the model.
    """
    others, found = set[str](), False
    for row in rows:
        answers = turns_of(row) if row.kind in ("preference", "ranked") else []
        if len(answers) != 2:
            raise UsageError(f"row {row.id} holds no two answers that verdicts could be about")
        names = [one.model for one in row.candidates] if row.kind == "ranked" else []
        others.update(name for name in names if name is not None)
        place = _place_of(row, model)
        if place is None:
            continue
        columns, found = json.loads(row.extra or "{}"), True
        try:
            first, second = (None if name is None else verdict_at(columns, name)
                             for name in (given, swapped))  # fmt: skip
        except ValueError as error:
            raise UsageError(f"row {row.id}: {error}") from error
        pair = JudgedPair(row.id, 0.5, first, second, 0.5)
        # The model's answer comes first, as where a judge is asked here.
        pair = pair.turned() if place else pair
        lengths = [length_of(turns) for turns in answers]
        yield Contest(
            row.id, None if first is second is None else pair.p_first, pair.given, pair.swapped,
            lengths[place], lengths[1 - place], column(row, *GROUPS["category"]),
            column(row, *GROUPS["language"]), difficulty_at(row, difficulty),
        )  # fmt: skip
    if not found:
        known = f"answers are by {', '.join(sorted(others))}" if others else "answers name no model"
        raise UsageError(
            f"no row has an answer of '{model}': {known}; `chosen` stands for the answer that the "
            "labels prefer"
        )


def _place_of(row: Row, model: str) -> int | None:
    """Return which of two answers is the model's, `None` for neither."""
    if row.kind == "preference":
        return 0 if model == CHOSEN else None
    if model != CHOSEN:
        names = [one.model for one in row.candidates]
        return names.index(model) if model in names else None
    one, other = (candidate.score for candidate in row.candidates)
    return None if one is None or other is None or one == other else int(other > one)


def difficulty_at(
    row: Row, difficulty: Sequence[float] | Mapping[str, float] | None
) -> float | None:
    """Return how difficult a row's instruction is, by its place in the file or by instruction.

    Raises:
        UsageError: difficulties are given, and none for this row.
    """
    if difficulty is None:
        return None
    try:
        if isinstance(difficulty, Mapping):
            return difficulty[row.instruction]
        return difficulty[row.seq[2]]
    except (KeyError, IndexError):
        raise UsageError(
            f"row {row.id} has no difficulty: {len(difficulty):,} are given, by place in the file "
            "or by instruction"
        ) from None


def recorded_soft_labels(rows: Iterable[Row]) -> dict[str, Any]:
    """Return how many annotations have log-probabilities, and how far preferences are from them.

    Nothing where none has any. A large difference means that preferences were changed afterwards,
    or that another annotator recorded them.
    """
    gaps = []
    for row in rows:
        columns = json.loads(row.extra or "{}")
        label, wins = soft_label(columns, row.instruction), preference_of(columns)
        if label is not None and wins is not None:
            gaps.append(abs(label - wins))
    return {"rows": len(gaps), "largest_difference": max(gaps)} if gaps else {}
