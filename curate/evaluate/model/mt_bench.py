"""MT-bench: questions of two turns, answered one after the other, each answer rated 1 to 10.

Zheng et al. 2023, arXiv 2306.05685, section 2.2 and appendix A; its answers are generated with a
temperature by category, and rated one by one ("single answer grading"). The prompt of the judge is
our own.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curate.errors import InputError, UsageError
from curate.evaluate.model.resampling import bootstrap
from curate.evaluate.model.stages import Stages, column
from curate.row import Row
from curate.runs.ledger_scores import scores_by_row
from curate.steps.generate.respond import Respond
from curate.steps.score.rubric import Rubric

# FastChat's temperatures; categories that are not named have 0.7, as there.
TEMPERATURES: Mapping[str, float] = {
    "writing": 0.7, "roleplay": 0.7, "extraction": 0.0, "math": 0.0, "coding": 0.0,
    "reasoning": 0.0, "stem": 0.1, "humanities": 0.1,
}  # fmt: skip
_USUAL = 0.7


def read_questions(path: str) -> list[dict[str, Any]]:
    """Return the questions of a file: `turns`, and what else it has (`category`).

    A question without a `question_id` has its place as one.

    Raises:
        InputError: a line is not a question.
    """
    found = list[dict[str, Any]]()
    try:
        # Not `splitlines`: JSON may hold line separators of Unicode as they are.
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: questions cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            one = json.loads(line)
        except ValueError as error:
            raise InputError(f"{path}:{number}: not JSON: {error}") from None
        turns = one.get("turns") if isinstance(one, dict) else None
        if not isinstance(turns, list) or not turns or not all(
            isinstance(turn, str) and turn.strip() for turn in turns
        ):  # fmt: skip
            raise InputError(f"{path}:{number}: a question has `turns`, a list of texts")
        found.append({**one, "question_id": str(one.get("question_id", len(found) + 1))})
    if not found:
        raise InputError(f"{path} holds no question")
    for name, count in Counter(one["question_id"] for one in found).items():
        if count > 1:
            raise InputError(
                f"{path}: the question_id {name} stands twice; questions need their own"
            )
    return found


def rate_turns(
    stages: Stages, path: str, judge: Rubric | None = None, *, limit: int | None = None
) -> dict[str, Any]:
    """Let a model answer the turns of questions, and a judge rate every answer.

    Args:
        stages: where the runs go; its models are `candidate` and `judge`.
        path: the questions, one JSON object a line.
        judge: the step that rates, `rubric` with the prompt `mt_bench` unless another is given.
        limit: take the first questions only.

    Returns:
        The mean rating of all answers, of each turn and of each category, with 95 % intervals by
        drawing questions.

    Raises:
        UsageError: there is no question, or one cannot be read.
    """
    judge = rating_step() if judge is None else judge
    questions = read_questions(path)[:limit]
    if not questions:
        raise UsageError(f"no question of {path} is left to ask: the limit is {limit}")
    talks: list[dict[str, Any]] = [
        {
            "messages": [],
            "category": str(one.get("category") or "-"),
            "language": str(one.get("language") or "-"),
            "question": one["question_id"],
        }
        for one in questions
    ]
    rated = list[dict[str, Any]]()
    for turn in range(max(len(one["turns"]) for one in questions)):
        asked: dict[float, list[dict[str, Any]]] = {}
        for question, talk in zip(questions, talks, strict=True):
            # A question whose turn failed ends there.
            if turn < len(question["turns"]) and len(talk["messages"]) == 2 * turn:
                talk["messages"].append({"role": "user", "content": question["turns"][turn]})
                heat = TEMPERATURES.get(talk["category"], _USUAL)
                asked.setdefault(heat, []).append(talk)
        by_question = {talk["question"]: talk for talk in talks}
        for heat, own in sorted(asked.items()):
            name = f"turn-{turn + 1}-at-{heat:g}"
            records = ({"prompt": one["messages"], "question": one["question"]} for one in own)
            step = Respond(model="candidate", to="sft", temperature=heat)
            result = stages.run(
                name, [step], stages.write(name, records), shape="prompt", limit=None
            )
            for row in result.kept:
                talk = by_question[column(row, "question")]
                answer = {"role": "assistant", "content": row.messages[-1].content}
                talk["messages"].append(answer)
                rated.append({**talk, "messages": list(talk["messages"]), "turn": turn + 1})
    result = stages.run(
        "rated", [judge], stages.write("rated", rated), shape="messages", limit=None
    )
    scores = scores_by_row(result.folder, judge.title)
    rows = [row for row in result.kept if row.id in scores]
    found: dict[str, Any] = {
        "questions": len(questions),
        "answers": len(rated),
        "rated": len(rows),
        "rating": _rating(rows, scores),
        "groups": {},
    }
    for kind in ("turn", "category", "language"):
        groups: dict[str, list[Row]] = {}
        for row in rows:
            groups.setdefault(column(row, kind), []).append(row)
        if len(groups) > 1:
            found["groups"][kind] = {
                name: {"answers": len(own), "rating": _rating(own, scores)}
                for name, own in sorted(groups.items())
            }
    return found


def rating_step(model: str | None = None) -> Rubric:
    """Return the step that rates, from 1 to 10.

    `model` is the judge as a recipe writes it: the embedded one rates the last answer to the first
    question, in the form for small models.
    """
    small = Rubric.for_small_models if model == "local" else {"prompt": "mt_bench"}
    return Rubric(model="judge", at_least=None, **small)


def _rating(rows: list[Row], scores: Mapping[str, float]) -> Any:
    return bootstrap([scores[row.id] for row in rows], [column(row, "question") for row in rows])
