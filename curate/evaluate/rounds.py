"""Online preference training in rounds: sample answers, score them, pair them, train, and again.

Each round starts from the model of the one before it: iterative DPO (Xu et al. 2023, arXiv
2312.16682) and its kin, and RAFT for `sft` (Dong et al. 2023, arXiv 2304.06767, algorithm 1), which
imitates the best answer of each prompt. A round is a run (`answers`: replies, ledger, ceilings) and
a training (`model`) in a folder of its own below `rounds/`. Both continue where they were stopped,
and so does the loop: nothing is asked or trained twice.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from curate.errors import StoppedShort, UsageError
from curate.evaluate.round_prompts import RoundPrompts, of_round, prompt_line, read_prompts
from curate.evaluate.rounds_report import history_of, line_text, rounds_card
from curate.evaluate.scoring import POLICY, RECIPES, Scoring, scoring_of
from curate.pipeline import Pipeline, Result
from curate.recipe.fields import plain
from curate.row import Row, seed_of
from curate.runs.folder import RunFolder
from curate.runs.ledger_scores import ledger_scores
from curate.step import Step
from curate.steps.generate.respond import Respond
from curate.steps.pairs.best_of import BestOf
from curate.steps.pairs.pairs import Pairs
from curate.system.posix import peak_memory_mb, write_atomically
from curate.train.describe import write_curves
from curate.train.job import Job
from curate.train.pace import Listener
from curate.train.preflight import described
from curate.train.rewards import reward_text
from curate.train.settings import check_in_rounds
from curate.train.training import (
    claim,
    digest_of,
    prepare,
    publish,
    require_trainer,
    train,
)
from curate.train.weights import where_is

if TYPE_CHECKING:
    from curate.engine.options import Progress

# The methods that learn from pairs of answers, or from the best one.
METHODS = ("sft", "dpo", "kto", "orpo", "simpo")
# What a training writes beside the model; the rest of its folder is the model.
_BESIDE = (
    "training.json", "check.json", "report.json", "README.md", "curves.csv", "curves.png",
    ".files.json",
)  # fmt: skip


@dataclass(frozen=True)
class Display:
    """Show how far a loop is: its stages as text, a run's and a training's progress."""

    say: Callable[[str], None] = lambda text: None
    asking: Callable[[], AbstractContextManager[Callable[[Progress], None] | None]] = nullcontext
    training: Callable[[], AbstractContextManager[Listener | None]] = nullcontext


@dataclass(frozen=True)
class Rounds:
    """What is repeated, how often, and what scores the answers.

    `job.data` holds the prompts. `judge` answers where the scoring step asks. `allow_failed` is the
    share of a round's rows that may fail (an answer that was cut off fails); `options` are those of
    `Pipeline.run`: `store`, `max_cost` and `max_requests`, which hold for all rounds together.
    """

    job: Job
    count: int
    judge: str | None = None
    allow_failed: float = 0.5
    strict: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


class PreparedRounds(NamedTuple):
    """What a loop begins with: its prompts, and how answers to them are scored."""

    prompts: RoundPrompts
    scoring: Scoring


def prepare_rounds(rounds: Rounds) -> PreparedRounds:
    """Read the prompts and check everything, without loading any weight or asking anybody.

    Raises:
        UsageError: data, model, reward or settings cannot be used so.
    """
    job, settings = rounds.job, rounds.job.settings
    if job.method.name not in METHODS:
        why = "samples and learns by itself" if job.method.online else "does not learn so"
        raise UsageError(f"{job.method.name} {why}; --rounds is for {', '.join(METHODS)}")
    if job.merge:
        raise UsageError("--rounds merges an adapter after each round; leave --merge out")
    if job.reward is None:
        raise UsageError(
            "--rounds needs what scores the sampled answers: --reward FOLDER of a reward model, "
            "FILE.py:FUNCTION, a step such as verify:number or rubric (with --judge), or a "
            "RECIPE.yaml of steps"
        )
    if rounds.count < 1:
        raise UsageError(f"--rounds is {rounds.count}; it must be 1 or more")
    check_in_rounds(settings)
    require_trainer(job.method, settings)
    return PreparedRounds(read_prompts(job), scoring_of(job.reward, rounds.judge))


def train_rounds(
    rounds: Rounds, prepared: PreparedRounds, display: Display | None = None
) -> dict[str, Any]:
    """Train round after round into the job's folder, and return the report.

    More rounds than before continue a finished loop.

    Raises:
        UsageError: the folder holds another training, or the check of a round stops it.
        CeilingReached: the next request could pass a ceiling of all rounds.
        StoppedShort: a round has nothing to learn from, or cannot go on; the same call continues.
    """
    return _Loop(rounds, prepared, display or Display()).go()


class _Loop:
    """A loop of rounds in its folder."""

    def __init__(self, rounds: Rounds, prepared: PreparedRounds, display: Display) -> None:
        self.rounds, self.job, self.prepared = rounds, rounds.job, prepared
        self.display, self.folder = display, rounds.job.out / "rounds"

    def go(self) -> dict[str, Any]:
        """Go through all rounds, then write what describes them."""
        count, tally = self.rounds.count, self.folder / "spending" / ".state" / "run-id"
        spent = tally.read_text(encoding="utf-8") if tally.is_file() else None
        done = claim(self.job.out, self.purpose(), replace=self.job.replace)
        if spent is not None and not tally.is_file():
            # What was spent counts on when another loop takes the folder.
            tally.parent.mkdir(parents=True)
            write_atomically(tally, spent)
        if done is not None:
            if len(done["rounds"]) > count:
                raise UsageError(
                    f"{self.job.out} holds {len(done['rounds'])} rounds already; ask for more of "
                    "them, or choose another folder"
                )
            if len(done["rounds"]) == count:
                return done
        began, policy, lines = time.monotonic(), self.job.model, list[dict[str, Any]]()
        first = self._measured(0, policy)
        for number in range(1, count + 1):
            line = self._round(number, policy)
            policy = line.pop("model")
            lines.append(line | self._measured(number, policy))
            self.display.say(f"round {number} of {count}: {line_text(lines[-1])}")
        # A report says that the folder is complete.
        (self.job.out / "report.json").unlink(missing_ok=True)
        take_over(Path(policy), self.job.out)
        report = {
            **self.purpose(),
            "before": first,
            "rounds": lines,
            "seconds": round(time.monotonic() - began, 1),
            "peak_memory_mb": round(peak_memory_mb()),
            "prompts": len(self.prepared.prompts.learnt),
            "held_out": len(self.prepared.prompts.held_out),
        }
        write_curves(history_of(report), self.job.out, by="round")
        write_atomically(self.job.out / "README.md", rounds_card(self.job, report))
        publish(self.job.out, report)
        return report

    def purpose(self) -> dict[str, Any]:
        """Return what the loop is; the number of rounds is not part of it."""
        reward = reward_text(self.job.reward)
        if isinstance(self.job.reward, str) and Path(self.job.reward).suffix in RECIPES:
            text = Path(self.job.reward).read_text(encoding="utf-8")
            reward = f"{reward} ({seed_of(text):016x})"
        return {
            "method": f"{self.job.method.name} in rounds",
            "model": self.job.model,
            "data": self.job.data,
            "rows": digest_of([*self.prepared.prompts.learnt, *self.prepared.prompts.held_out]),
            "reward": reward,
            "judge": self.rounds.judge,
            "settings": plain(dataclasses.asdict(self.job.settings)),
        }

    def _round(self, number: int, policy: str) -> dict[str, Any]:
        """Sample, score, pair and train once; what is done already is not done again."""
        folder, settings = self.folder / str(number), self.job.settings
        prompts = of_round(self.prepared.prompts.learnt, settings, number)
        self.display.say(
            f"round {number} of {self.rounds.count}: {settings.generation.samples} answers to each "
            f"of {len(prompts):,} prompts"
        )
        scoring, steps = self.prepared.scoring, list(self.prepared.scoring.steps)
        if not scoring.gathers:
            # What was cut off or could not be scored is a failed row; the others still compare.
            given: dict[str, Any] = {"by": scoring.by, "whole": False}
            steps.append(BestOf(**given) if self.job.method.name == "sft" else Pairs(**given))
        result = self._run(folder / "answers", prompts, policy, steps, number)
        kind = "sft" if self.job.method.name == "sft" else "preference"
        learnt = result.kept.by_kind().get(kind, ())
        if not len(learnt):
            raise StoppedShort(
                f"round {number} has nothing to learn from: of {result.summary['made']:,} answers "
                f"none is in a {'best one' if kind == 'sft' else 'pair'} ({_reasons(result)}); "
                f"`curate explain {result.folder}` shows why. Sample more answers or longer ones "
                "(generation: samples, temperature, max_tokens), or choose another reward"
            )
        report = self._trained(number, policy, folder)
        # The round is done, and its optimizer is as large as two models.
        shutil.rmtree(folder / "model" / "checkpoints", ignore_errors=True)
        # Without the reports beside it, which hold times: equal weights are one model, whose
        # replies are found again.
        merged = "merged" if settings.adapter.kind == "lora" else ""
        take_over(folder / "model" / merged, folder / "policy")
        scores = ledger_scores(result.folder, scoring.by)
        return {
            "round": number,
            "answers": len(prompts) * settings.generation.samples,
            "failed": result.summary["failed"],
            "learnt": len(learnt),
            "reward": math.fsum(scores.tolist()) / len(scores),
            "steps": report["steps"],
            "model": str(folder / "policy"),
        }

    def _trained(self, number: int, policy: str, folder: Path) -> dict[str, Any]:
        """Train on the answers of a round, and return the report."""
        out, settings = folder / "model", self.job.settings
        if (out / "report.json").is_file():
            return dict(json.loads((out / "report.json").read_text(encoding="utf-8")))
        job = dataclasses.replace(
            self.job,
            settings=dataclasses.replace(
                settings,
                held_out=0.0,
                seed=settings.seed + number,
                # The other answers of a conversation were not sampled.
                learn="last" if self.job.method.name == "sft" else "all",
            ),
            data=str(folder / "answers"),
            model=policy,
            out=out,
            reward=None,
            shape=None,
            merge=settings.adapter.kind == "lora",
            replace=False,
        )
        prepared = prepare(job)
        # Pairs of scored answers have margins, which few methods read.
        findings = [f for f in prepared.checked.findings if f.code != "columns_ignored"]
        checked = prepared.checked._replace(findings=findings)
        if checked.stops(strict=self.rounds.strict):
            raise UsageError(f"the check stops round {number}:\n{described(findings)}")
        if grave := [f for f in findings if f.severity != "note"]:
            self.display.say(described(grave))
        with self.display.training() as listener:
            return train(job, prepared._replace(checked=checked), listener)

    def _measured(self, number: int, policy: str) -> dict[str, float]:
        """Return the mean reward of answers to held-out prompts, which nothing was learnt from."""
        held_out, scoring = self.prepared.prompts.held_out, self.prepared.scoring
        if not held_out:
            return {}
        self.display.say(f"after round {number}: {len(held_out):,} held-out prompts")
        folder = self.folder / str(number) / "held_out"
        result = self._run(folder, held_out, policy, list(scoring.measuring), 0)
        scores = ledger_scores(result.folder, scoring.by)
        return {"held_out_reward": math.fsum(scores.tolist()) / len(scores)} if len(scores) else {}

    def _run(
        self, folder: Path, prompts: Sequence[Row], policy: str, steps: Sequence[Step], number: int
    ) -> Result:
        """Sample answers of the policy and score them, as a run of its own."""
        import torch

        if (folder / "report.json").is_file():
            return Result.open(folder)
        generation, scoring = self.job.settings.generation, self.prepared.scoring
        respond = Respond(
            model=POLICY,
            samples=generation.samples,
            to="sft",
            temperature=generation.temperature,
            top_p=generation.top_p,
            max_tokens=generation.max_tokens,
        )
        asked = folder.with_name(f"{folder.name}.jsonl")
        folder.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(asked, "".join(map(prompt_line, prompts)))
        where = where_is(policy)
        model = policy if policy == "local" else f"hf:{where}"
        pipeline = Pipeline(
            [respond, *steps],
            inputs={"prompts": {"path": str(asked), "shape": "prompt"}},
            models={POLICY: model, **scoring.models},
            encoders=scoring.encoders,
            seed=self.job.settings.seed + number,
        )
        RunFolder(folder).share_spending(RunFolder(self.folder / "spending"))
        threads = torch.get_num_threads()
        try:
            with self.display.asking() as listener:
                result = pipeline.run(
                    run=folder,
                    allow_failed=self.rounds.allow_failed,
                    progress=listener,
                    **self.rounds.options,
                )
        finally:
            # A model that samples sets their number, on which sums in training depend.
            torch.set_num_threads(threads)
        if result.exit_code:
            said = result.message or (
                f"{result.summary['failed']:,} rows failed, more than --allow-failed "
                f"{self.rounds.allow_failed:g} allows ({_reasons(result)}); answers that are cut "
                "off want more of generation.max_tokens"
            )
            # The folder is not taken for a finished one when the same command continues.
            (folder / "report.json").unlink(missing_ok=True)
            raise StoppedShort(f"{folder}: {said}")
        return result


def _reasons(result: Result) -> str:
    """Return why rows were dropped or failed, the most frequent reasons first."""
    reasons = {r: n for step in result.summary["steps"] for r, n in step["reasons"].items()}
    reasons |= {f"failed: {f.error}": f.rows for f in result.failures()}
    most = sorted(reasons.items(), key=lambda item: -item[1])[:3]
    return "; ".join(f"{count:,} {reason}" for reason, count in most) or "no reason was given"


def take_over(model: Path, out: Path) -> None:
    """Put a model's files into `out` as well, without a second copy where the disk can do that."""
    out.mkdir(exist_ok=True)
    for path in sorted(model.iterdir()):
        if path.is_file() and path.name not in _BESIDE and not path.name.startswith("adapter_"):
            target = out / path.name
            if target.exists() and target.samefile(path):
                continue
            partial = out / f"{path.name}.tmp"
            partial.unlink(missing_ok=True)
            try:
                os.link(path, partial)
            except OSError:
                shutil.copyfile(path, partial)
            partial.replace(target)
