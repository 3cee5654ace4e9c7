"""`curate prove` from a recipe to a verdict: rows, plan, training, tests.

The folder holds `request.json` and `plan.json` (written before the first training), the runs that
made the rows, `arms/` with the scores of every run, and `proof.json`. The same command continues
where it was stopped.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.errors import UsageError
from curate.evaluate.model.judged import judging_step
from curate.evaluate.proof.arms import Arm, ArmTrainer, Listener, train_arms
from curate.evaluate.proof.claims import NAMES, Claim, Question, verdicts
from curate.evaluate.proof.designs import (
    LEAST_ROWS,
    Design,
    group_design,
    question_of,
    recipe_design,
    settings_design,
)
from curate.evaluate.proof.distributions import critical_t
from curate.evaluate.proof.draw_test import ALPHA, Difference, Values
from curate.evaluate.proof.judging import (
    METRIC,
    Judged,
    JudgeRequest,
    Judging,
    judge_arms,
    prepare_judging,
)
from curate.evaluate.proof.material import Material, dataset_material, recipe_material
from curate.evaluate.proof.proof_plan import claim_folder, fix_plan, room_on_disk
from curate.evaluate.proof.subsets import fingerprint
from curate.pipeline import Pipeline
from curate.recipe.fields import plain
from curate.row import Row
from curate.system.posix import write_atomically
from curate.train.data import prompt_key
from curate.train.fixed_budget import TokenBudget

if TYPE_CHECKING:
    from curate.engine.options import Progress

RESULT = "proof.json"
# Fewer held-out rows see little, and a recipe that keeps a larger share has hardly chosen.
FEW_ROWS, MOST_KEPT = 1000, 0.9


@dataclass(frozen=True, kw_only=True)
class ProofRequest:
    """What a proof is asked: draws, seeds, metrics, held-out rows, and what else to compare.

    `held_out` is a number of rows or a path; `variants` are ways to train; a `judge` is one more
    metric. A recipe that draws is run in `versions`, whose mean is compared.
    """

    draws: int = 12
    seeds: int = 1
    alpha: float = ALPHA
    metrics: tuple[str, ...] = ()
    held_out: int | str = FEW_ROWS
    seed: int = 0
    sizes: tuple[int, ...] = ()
    by: str | None = None
    between: tuple[str, ...] = ()
    variants: tuple[str, ...] = ()
    judge: JudgeRequest | None = None
    versions: int = 1

    def __post_init__(self) -> None:
        """Raise `UsageError` for numbers that no test can be made of."""
        if self.draws < 3:
            raise UsageError(f"{self.draws} draws have no spread to speak of; give 8 or more")
        if self.seeds < 1 or not 0 < self.alpha < 1:
            raise UsageError(f"seeds is {self.seeds} and alpha {self.alpha}; give at least 1, and a"
                             " number between 0 and 1")  # fmt: skip
        if self.versions < 1:
            raise UsageError(f"{self.versions} versions of a recipe cannot be run; give 1 or more")
        several = [n for n in ("sizes", "by", "between", "variants") if getattr(self, n)]
        several += ["versions"] if self.versions > 1 else []
        if len(several) > 1:
            raise UsageError(f"{' and '.join(several)} are different questions; ask one at a time")

    def as_data(self) -> dict[str, Any]:
        """Return what is asked as JSON data; what came later is left out where it is not asked.

        So proofs that were begun before there was such a question go on.
        """
        given = {n: list(v) if isinstance(v, tuple) else v
                 for n, v in dataclasses.asdict(self).items()}  # fmt: skip
        later = {"judge": None, "versions": 1}
        return {n: v for n, v in given.items() if n not in later or v != later[n]}


class Prompts(NamedTuple):
    """The different prompts of rows: the first row of each, and the prompt of every row."""

    first: NDArray[np.int64]
    where: NDArray[np.int64]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> Prompts:
        """Return the prompts of `rows`."""
        keys = [prompt_key(row) for row in rows]
        _, first, where = np.unique(keys, return_index=True, return_inverse=True)
        return cls(first, where)

    def means(self, values: Values) -> Values:
        """Return the mean of each prompt's rows, so that a prompt with many pairs counts once."""
        found: Values = np.bincount(self.where, weights=values) / np.bincount(self.where)
        return found


class PreparedProof(NamedTuple):
    """All that is known before the first training."""

    out: Path
    request: ProofRequest
    trainer: ArmTrainer
    prompts: Prompts
    clusters: NDArray[np.int64]
    design: Design
    budget: TokenBudget
    plan: Mapping[str, Any]
    notes: list[str]
    held_out: Sequence[Row]
    judging: Judging | None = None
    # How the judge's run is run: options of `Pipeline.run`.
    options: Mapping[str, Any] = {}

    @property
    def runs(self) -> int:
        """The number of trainings."""
        return len(self.design.subsets) * self.request.seeds


class Proof(NamedTuple):
    """The verdicts, every arm's figures, and what failed."""

    out: Path
    verdicts: Sequence[Claim]
    record: Mapping[str, Any]

    @property
    def exit_code(self) -> int:
        """0 where everything asked was measured, else 4."""
        return 4 if any(one.kind == "not measured" for one in self.verdicts) else 0


TrainerOf = Callable[[str], ArmTrainer]


def prepare_proof(
    recipe: Pipeline | None,
    trainer_of: TrainerOf,
    request: ProofRequest,
    out: Path,
    *,
    dry_run: bool = False,
    **options: Any,
) -> PreparedProof:
    """Read, split and curate, draw the subsets, and write the plan.

    `trainer_of` returns a trainer for a kind of rows; `options` go to `Pipeline.run`.

    Raises:
        UsageError: rows, options or folder do not allow the comparison; nothing was trained.
    """
    said = None
    if recipe is not None:
        steps = [(step.name, step.fields()) for step in recipe.steps]
        text = json.dumps([steps, recipe.to_yaml(partial=True)], sort_keys=True, default=str)
        said = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
    asked = {"recipe": said, **request.as_data()}
    # Rows may be made anew until there is a plan; what they cost still counts.
    given = {name: value for name, value in options.items() if name != "progress"}
    options["replace"] = not claim_folder(out, asked)
    if request.between:
        material = dataset_material(request.between, out, held_out=request.held_out, **options)
    else:
        assert recipe is not None
        material = recipe_material(
            recipe, out, held_out=request.held_out, seed=request.seed, by=request.by,
            versions=request.versions, asks=not dry_run, **options,
        )  # fmt: skip
    trainer = trainer_of(material.kind)
    notes = material.notes
    material, lengths = _learnable(material, trainer, notes)
    notes += trainer.remarks()
    design = _design(material, lengths, request, dry_run=dry_run)
    trainer.hold_out(material.held_out)
    judging = None
    if request.judge is not None:
        # A dry run asks nobody.
        judge = dataclasses.replace(request.judge, labels=None) if dry_run else request.judge
        models: Mapping[str, Any] = (recipe.models if recipe is not None else None) or {}
        judging = prepare_judging(judge, models.get(judge.model, judge.model),
                                  material.held_out, trainer, out, request.seed, notes,
                                  given)  # fmt: skip
    basis = next(s for s in design.subsets if s.name == design.asked[-1].one[0])
    budget = trainer.budget([lengths[row.id] for row in basis.rows])
    plan = {
        **asked,
        "trainer": trainer.identity(),
        "metrics": [*trainer.metrics, *([METRIC] if judging else [])],
        "candidates": _described(material.candidates),
        "held_out": _described(material.held_out),
        "prompt_groups_held_out": len(set(material.clusters.tolist())),
        "steps": budget.steps,
        "supervised_tokens": budget.tokens,
        "order": list(NAMES),
        "arms": [
            {"name": s.name, **_described(s.rows), "tokens": sum(lengths[r.id] for r in s.rows)}
            for s in design.subsets
        ],
    }
    if judging is not None:
        own = [material.held_out[place] for place in judging.places]
        step = judging_step(judging.model)
        plan["judged"] = {**_described(own), "step": {step.name: plain(step.fields())}}
        if judging.calibration is not None:
            plan["judged"]["calibration"] = judging.calibration._asdict()
    fix_plan(out, plan)
    return PreparedProof(out, request, trainer, Prompts.of(material.held_out), material.clusters,
                         design, budget, plan, notes, material.held_out, judging,
                         given)  # fmt: skip


def run_proof(
    prepared: PreparedProof,
    listener: Listener | None = None,
    watched: Callable[[], AbstractContextManager[Callable[[Progress], None] | None]] = nullcontext,
) -> Proof:
    """Train every arm that is missing, ask the judge, test, and write `proof.json`.

    `listener` is told of trainings; `watched` gives what is told of the judge's run.

    Raises:
        DiskFull: there was no room; what was trained stays.
        CeilingReached: the judge has spent what it may; the same call goes on.
        StoppedShort: the judge cannot be reached; what was trained and answered stays.
    """
    request, trainer = prepared.request, prepared.trainer
    seeds = range(request.seed, request.seed + request.seeds)
    arms, failed = train_arms(
        prepared.design.subsets, prepared.budget, seeds, trainer, prepared.out, listener
    )
    judged = None
    if prepared.judging is not None:
        with watched() as progress:
            options = {**prepared.options, "progress": progress}
            judged = judge_arms(prepared.judging, prepared.held_out, arms, prepared.out,
                                options)  # fmt: skip
    found = verdicts_of(prepared, arms, judged)
    record = _record(prepared, arms, failed, found, judged)
    text = json.dumps(record, indent=1, ensure_ascii=False)
    with room_on_disk(prepared.out):
        write_atomically(prepared.out / RESULT, text + "\n")
    return Proof(prepared.out, found, record)


def verdicts_of(
    prepared: PreparedProof, arms: Mapping[str, Arm], judged: Judged | None = None
) -> list[Claim]:
    """Return what may be said of every question and metric."""
    questions, clusters = [], prepared.clusters[prepared.prompts.first]
    for metric, lower in prepared.trainer.metrics.items():
        scores = {name: prepared.prompts.means(arm.scores[metric]) for name, arm in arms.items()}
        questions += [
            question_of(asked, scores, clusters, metric=metric, lower=lower,
                        alpha=prepared.request.alpha)
            for asked in prepared.design.asked
        ]  # fmt: skip
    if judged is not None:
        prompts = Prompts.of([prepared.held_out[place] for place in judged.places])
        clusters = prepared.clusters[judged.places][prompts.first]
        scores = {name: prompts.means(values) for name, values in judged.scores.items()}
        questions += [
            Question(asked.name, METRIC, [], [n for n in asked.subsets() if n not in scores],
                     asked.pair, judged.problem)
            if judged.problem
            else question_of(asked, scores, clusters, metric=METRIC, lower=False,
                             alpha=prepared.request.alpha)
            for asked in prepared.design.asked
        ]  # fmt: skip
    return verdicts(questions, alpha=prepared.request.alpha)


def _learnable(
    material: Material, trainer: ArmTrainer, notes: list[str]
) -> tuple[Material, dict[str, int]]:
    """Return rows of which something can be learnt, and the supervised tokens of each by id."""
    lengths: dict[str, int] = {}

    def left(rows: Sequence[Row], what: str) -> list[Row]:
        new = [row for row in rows if row.id not in lengths]
        lengths.update((r.id, n) for r, n in zip(new, trainer.lengths(new), strict=True))
        kept = [row for row in rows if lengths[row.id]]
        if len(kept) < len(rows):
            count = len(rows) - len(kept)
            notes.append(f"{count:,} {what} rows cannot be learnt (template, length) and are out")
        return kept

    held = left(material.held_out, "held-out")
    ids = {row.id for row in held}
    own = np.array([row.id in ids for row in material.held_out], np.bool_)
    return (
        material._replace(
            held_out=held,
            clusters=material.clusters[own],
            candidates=left(material.candidates, "candidate"),
            curated=left(material.curated, "curated"),
            versions=[left(rows, "curated") for rows in material.versions],
            groups={name: left(rows, name) for name, rows in material.groups.items()},
        ),
        lengths,
    )


def _design(
    material: Material, lengths: Mapping[str, int], request: ProofRequest, *, dry_run: bool
) -> Design:
    draws, seed = request.draws, request.seed
    if len(set(material.clusters.tolist())) < 2:
        raise UsageError(
            f"{len(material.held_out):,} held-out rows measure nothing; there must be more of them "
            "(--held-out)"
        )
    if len(material.held_out) < FEW_ROWS:
        material.notes.append(
            f"{len(material.held_out):,} held-out rows are few: below {FEW_ROWS:,} the choice of "
            "rows hides most effects (--held-out)"
        )
    if material.groups:
        large = {n: r for n, r in material.groups.items() if len(r) >= 2 * LEAST_ROWS}
        if small := set(material.groups) - set(large):
            said = ", ".join(f"{n} ({len(material.groups[n]):,} rows)" for n in sorted(small))
            said = f"groups of under {2 * LEAST_ROWS} rows are not compared: {said}"
            if len(large) < 2:
                raise UsageError(f"fewer than two groups are left to compare; {said}")
            material.notes.append(said)
        return group_design(large, draws=draws, seed=seed)
    if request.variants:
        return settings_design(material.curated, request.variants, draws=draws, seed=seed)
    curated = material.curated
    share = len(curated) / len(material.candidates)
    if share > MOST_KEPT:
        material.notes.append(
            f"the recipe keeps {share:.0%} of the candidates: draws of as many rows are nearly the "
            "same rows, and little can be seen"
        )
    if dry_run and len(curated) == len(material.candidates):
        curated = curated[:-1]
    return recipe_design(curated, material.candidates, lengths, draws=draws, seed=seed,
                         sizes=request.sizes, versions=material.versions)  # fmt: skip


def _described(rows: Sequence[Row]) -> dict[str, Any]:
    return {"rows": len(rows), "digest": fingerprint(rows)}


def _record(
    prepared: PreparedProof,
    arms: Mapping[str, Arm],
    failed: Mapping[str, str],
    found: Sequence[Claim],
    judged: Judged | None = None,
) -> dict[str, Any]:
    """Return everything that was found, as JSON data."""
    judging = prepared.judging
    calibration = None if judging is None else judging.calibration

    def corrected(one: Difference) -> dict[str, Any]:
        if calibration is None:
            return {}
        effect, error = calibration.corrected_difference(one.effect, one.error)
        half = critical_t(prepared.request.alpha, one.df) * error
        return {"corrected": {"effect": effect, "low": effect - half, "high": effect + half}}

    table, groups = [], prepared.design.groups()
    for subset, planned in zip(prepared.design.subsets, prepared.plan["arms"], strict=True):
        entry = {"name": subset.name, "group": groups[subset.name], "rows": planned["rows"],
                 "tokens": planned["tokens"]}  # fmt: skip
        arm = arms.get(subset.name)
        if arm is not None:
            means = {m: float(prepared.prompts.means(v).mean()) for m, v in arm.scores.items()}
            if judged is not None and not judged.problem:
                means[METRIC] = float(judged.scores[subset.name].mean())
            entry |= {"epochs": arm.exposure.epochs, "distinct_rows": arm.exposure.distinct_rows,
                      "trained_tokens": arm.exposure.tokens, "seconds": arm.seconds,
                      "scores": means}  # fmt: skip
        else:
            entry["failed"] = failed[subset.name]
        table.append(entry)
    return {
        "verdicts": [
            {
                "question": one.name,
                "metric": one.metric,
                "verdict": one.kind,
                "text": one.text,
                "tests": [
                    {
                        **{
                            name: None if value in (math.inf, -math.inf) else value
                            for name, value in tested.difference._asdict().items()
                        },
                        "p_adjusted": tested.p,
                        **(corrected(tested.difference) if one.metric == METRIC else {}),
                    }
                    for tested in one.tested
                ],
            }
            for one in found
        ],
        "arms": table,
        "notes": list(prepared.notes),
        "held_out_rows": len(prepared.prompts.where),
        "prompt_groups_held_out": prepared.plan["prompt_groups_held_out"],
        "steps": prepared.budget.steps,
        "supervised_tokens": prepared.budget.tokens,
        "alpha": prepared.request.alpha,
        "seeds": prepared.request.seeds,
        **({"judge": judged.figures} if judged is not None else {}),
    }
