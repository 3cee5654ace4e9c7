"""The judge as a metric of a proof: every run's answers, each against one fixed reference.

Runs are never compared with each other: a run's score of a prompt is the probability that its
answer is better than the reference, over both orders, so that the test of the draws holds as it
does for a loss. Answers are kept with the scores of their run, verdicts in the store. A prompt
counts where every run has a verdict; how many do not is said, and beyond the share that may fail
nothing is claimed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.evaluate.calibration import Calibration
from curate.evaluate.model.contest_rows import judged_contests
from curate.evaluate.model.judged import judging_step
from curate.evaluate.model.stages import Stages
from curate.evaluate.pairs import evaluate_pairs
from curate.evaluate.proof.arms import AnsweringTrainer, Arm, ArmTrainer
from curate.evaluate.proof.draw_test import Values
from curate.evaluate.proof.material import share_spending
from curate.evaluate.proof.proof_plan import room_on_disk
from curate.evaluate.proof.subsets import fingerprint
from curate.pipeline import Pipeline, Result
from curate.read.shapes.record_fields import turns_of
from curate.row import Row, seed_of
from curate.steps.score._answer import answer_of
from curate.system.posix import write_atomically

METRIC = "judge"
REFERENCE, LABELS = "reference.json", "labels"


@dataclass(frozen=True, kw_only=True)
class JudgeRequest:
    """Who judges, how many prompts, and against what.

    `reference` is the held-out row's own answer, or that of the untrained model. `labels` is a path
    to labelled pairs: what the judge gets wrong there corrects its shares.
    """

    model: str
    rows: int = 200
    max_tokens: int = 256
    reference: Literal["answers", "untrained"] = "answers"
    labels: str | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for numbers that ask nothing."""
        if self.rows < 2 or self.max_tokens < 1:
            raise UsageError(
                f"a judge of {self.rows} prompts and answers of {self.max_tokens} tokens measures "
                "nothing: 2 prompts and 1 token are the least (--judge-rows, --max-tokens)"
            )


class Judging(NamedTuple):
    """What is judged: the places of held-out rows whose prompts are answered, and against what.

    `model` is the judge as a recipe writes it; `calibration` what it did on labelled pairs.
    """

    request: JudgeRequest
    model: Any
    places: NDArray[np.int64]
    references: Sequence[str]
    calibration: Calibration | None = None


class Judged(NamedTuple):
    """The verdicts on every arm: the places that have one for each, and what there is to know.

    `scores` are those of `places`, by arm. Where `problem` says something nothing may be claimed.
    """

    places: NDArray[np.int64]
    scores: Mapping[str, Values]
    problem: str
    figures: dict[str, Any]


def prepare_judging(
    request: JudgeRequest,
    model: Any,
    rows: Sequence[Row],
    trainer: ArmTrainer,
    out: Path,
    seed: int,
    notes: list[str],
    options: Mapping[str, Any],
) -> Judging:
    """Choose the prompts that every run answers, and look at what the judge does with labels.

    Raises:
        UsageError: too few prompts can be answered or shown, or the judge is no better than chance.
    """
    if not isinstance(trainer, AnsweringTrainer):
        raise UsageError("this trainer's models write no answers, so that no judge can read them")
    able = list[int]()
    for place, row in enumerate(rows):
        # What a judge cannot be shown, as tool calls, is not text to compare.
        with contextlib.suppress(ValueError):
            before, answer = answer_of(row)
            if before and answer.content.strip() and trainer.can_answer(row, request.max_tokens):
                able.append(place)
    if len(able) < 2:
        raise UsageError(
            f"{len(able)} of {len(rows):,} held-out rows have a prompt that a judge can be shown "
            "and max_length holds, and an answer: leave --judge out, or hold other rows out"
        )
    if len(able) < len(rows):
        left = len(rows) - len(able)
        notes.append(f"{left:,} held-out rows are not judged: tool calls, media, long prompts")
    chosen = sorted(able, key=lambda place: seed_of("judged", rows[place].id, seed))[: request.rows]
    places = np.array(sorted(chosen), np.int64)
    trainer.ask([rows[place] for place in places], request.max_tokens)
    references = [answer_of(rows[place])[1].content for place in places]
    if request.reference == "untrained":
        path, asked = out / REFERENCE, [rows[place] for place in places]
        of = [fingerprint(asked), request.max_tokens, json.dumps(trainer.identity(), default=str)]
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if found.get("of") != of:
            found = {"of": of, "answers": [one.text for one in trainer.untrained()]}
            with room_on_disk(out):
                write_atomically(path, json.dumps(found, ensure_ascii=False))
        references = found["answers"]
    if request.labels is None:
        return Judging(request, model, places, references)
    share_spending(out / LABELS)
    found, result = evaluate_pairs(
        request.labels, model, step=judging_step(model), run=out / LABELS, **options
    )
    if lost := result.summary["failed"]:
        notes.append(f"{lost:,} of {result.summary['in']:,} labelled rows failed at the judge, and "
                     "count for nothing in its calibration")  # fmt: skip
    counts = found.get("calibration", {}).get("counts")
    if counts is None:
        raise UsageError(
            f"{request.labels}: {found['pairs']:,} labelled pairs were judged, but no two sorts of "
            "verdict can be counted; give more pairs with a better and a worse answer"
        )
    calibration = Calibration(**counts)
    try:
        calibration.corrected(1, 2)
    except ValueError as error:
        raise UsageError(f"{request.labels}: {error}; take another judge") from error
    return Judging(request, model, places, references, calibration)


def judge_arms(
    judging: Judging,
    rows: Sequence[Row],
    arms: Mapping[str, Arm],
    out: Path,
    options: Mapping[str, Any],
) -> Judged:
    """Let the judge compare the answers of all arms with the references.

    What `decided` knows is asked of nobody. `options` are those of `Pipeline.run`.

    Raises:
        CeilingReached: a ceiling was reached; the same call goes on.
        StoppedShort: the judge cannot be reached.
    """
    asked, references = [rows[n] for n in judging.places.tolist()], judging.references
    verdicts, records, empty, cut = dict[tuple[int, str], float](), dict[str, Any](), 0, 0
    for arm in arms.values():
        for answers in arm.answers:
            for number, answer in enumerate(answers):
                cut += answer.cut
                key = number, answer.text
                empty += not answer.text.strip()
                if (verdict := decided(answer.text, references[number])) is not None:
                    verdicts[key] = verdict
                    continue
                sides = ((answer.text, "model"), (references[number], "reference"))
                records[_name(key)] = {
                    "prompt": turns_of(answer_of(asked[number])[0]),
                    "candidates": [
                        {"messages": [{"role": "assistant", "content": text}], "model": who}
                        for text, who in sides
                    ],
                    "contest": _name(key),
                }
    wins = ask_judge(judging, list(records.values()), out, options)
    scores = {}
    for name, arm in arms.items():
        each = [
            [
                verdicts.get(key, wins.get(_name(key), np.nan))
                for key in ((number, answer.text) for number, answer in enumerate(answers))
            ]
            for answers in arm.answers
        ]
        scores[name] = np.array(each, np.float64).mean(0)
    missing = len(records) - len(wins)
    share = missing / max(1, len(records))
    found = np.array([*scores.values(), np.full(len(asked), 0.0 if scores else np.nan)])
    whole = np.isfinite(found).all(0)
    figures: dict[str, Any] = {
        "model": judging.request.model,
        "prompts": len(asked),
        "judged": int(whole.sum()),
        "comparisons": len(records),
        "failed": missing,
        "failed_share": share,
        "answers_empty": empty,
        "answers_cut": cut,
        "reference": judging.request.reference,
    }
    if (known := judging.calibration) is not None:
        shares = {n: getattr(known, n).value for n in ("sensitivity", "specificity")}
        figures["calibration"] = {"pairs": sum(known), "counts": known._asdict(), **shares}
    problem = ""
    if share > float(options.get("allow_failed", 0.0)):
        problem = (
            f"the judge failed on {missing:,} of {len(records):,} comparisons ({share:.1%}): "
            "--retry-failed asks again where a reply was unusable, --allow-failed SHARE leaves "
            f"their prompts out of all arms; curate report {out / 'judged'}"
        )
    elif whole.sum() < 2:
        problem = f"{int(whole.sum())} prompts have a verdict for every arm"
    scores = {name: values[whole] for name, values in scores.items()}
    return Judged(judging.places[whole], scores, problem, figures)


def decided(answer: str, reference: str) -> float | None:
    """Return the verdict that needs no judge: equal texts tie, and saying nothing loses."""
    said, other = answer.strip(), reference.strip()
    if said and other and answer != reference:
        return None
    return 0.5 if said == other else float(bool(said))


def _name(key: tuple[int, str]) -> str:
    """Return the name of a prompt's comparison: equal answers of several runs are judged once."""
    number, text = key
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{number}-{digest}"


def ask_judge(
    judging: Judging,
    records: Sequence[Mapping[str, Any]],
    out: Path,
    options: Mapping[str, Any],
) -> dict[str, float]:
    """Return the probability, by comparison, that a run's answer is better than the reference."""
    if not records:
        return {}

    def run(pipeline: Pipeline, **given: Any) -> Result:
        # Comparisons change where an arm was trained again; what was answered is in the store.
        return pipeline.run(**{**options, **given, "replace": True})

    stages, judge = Stages(out, {"judge": judging.model}, run), judging_step(judging.model)
    result = stages.run("judged", [judge], stages.write("contests", records), shape="ranked")
    found = judged_contests(result, judge)
    return {name: one.wins for name, one in found if one.wins is not None}
