"""Train a style ranker on triples: SCAR's recipe as a small loop, with checkpoints that continue.

TRL has no such trainer. Order and dropout of a step depend on the seed and the step's number alone,
so a training that was killed goes on from its last checkpoint to the same weights. The checkpoint
that orders most pairs of the validation side is the one that is published. Departures from the
authors' code: triples without a pair that counts are left out before training and not during it, an
instruction is encoded once for its three answers, and equal instructions are on one side of the
split.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from curate.encoders.precision import has_gpu
from curate.models.inprocess.style_ranker import (
    Encoded,
    RankerShape,
    Styled,
    StyleRanker,
    new_ranker,
    save_ranker,
    tokenized,
)
from curate.models.inprocess.transformer import padded
from curate.recipe.fields import plain
from curate.row import seed_of
from curate.system.posix import peak_memory_mb, sync, write_atomically
from curate.train.data import read_data
from curate.train.interruptions import NotFinite, last_checkpoint, told_apart
from curate.train.job import RankerJob
from curate.train.pace import Listener, Pace
from curate.train.ranker_losses import TRIPLETS, ranker_loss
from curate.train.settings import method_called, require_packages
from curate.train.training import claim, digest_of, publish, set_environment
from curate.train.triples import (
    ORDERINGS,
    Sides,
    Triple,
    counted,
    figures_of_triples,
    sides_of,
)

METHOD = "scar"
_EVALUATED = 16
_STATE = "trainer_state.json"


class PreparedRanker(NamedTuple):
    """Triples that were read and found good, with their figures and what the training is."""

    sides: Sides
    figures: dict[str, float]
    purpose: dict[str, Any]


@dataclass
class RankerState:
    """How far a training is: what a checkpoint holds besides weights."""

    step: int = 0
    tokens: int = 0
    best: float = -1.0
    best_step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    # The accuracy on the test side before the first step.
    before: dict[str, float] = field(default_factory=dict)


def prepare_ranker(job: RankerJob) -> PreparedRanker:
    """Read and split a job's triples, without loading any weight.

    Raises:
        UsageError: the data hold no triples, or too few.
    """
    require_packages("torch", "transformers", "safetensors")
    set_environment()
    method = method_called(METHOD)
    data = read_data(job.data, method, job.shape)
    sides = sides_of(data, job.settings)
    purpose = {
        "method": method.name,
        "model": job.model,
        "data": job.data,
        "rows": digest_of([*data.rows, *data.held_out]),
        "settings": plain(dataclasses.asdict(job.settings)),
    }
    return PreparedRanker(sides, figures_of_triples(sides, job.settings), purpose)


def train_ranker(
    job: RankerJob, prepared: PreparedRanker, listener: Listener | None = None
) -> dict[str, Any]:
    """Train, publish the best checkpoint into the job's folder, and return the report.

    Raises:
        UsageError: the folder holds another training, or there is no encoder.
        StoppedShort: the loss is not a number, or disk or memory are full; a checkpoint stays.
    """
    from curate.train.describe import write_curves

    done = claim(job.out, prepared.purpose, replace=job.replace)
    if done is not None:
        return done
    began = time.monotonic()
    gpus = list(range(torch.cuda.device_count())) if has_gpu() else []
    with told_apart(job, None), torch.random.fork_rng(gpus):
        loop = RankerLoop(job, prepared.sides, "cuda" if gpus else "cpu")
        resumed = loop.resume()
        if resumed is None:
            loop.progress.before = loop.evaluate(prepared.sides.test)
        loop.run(listener)
        loop.take_best()
        after = loop.evaluate(prepared.sides.test)
        save_ranker(loop.ranker, loop.tokenizer, job.out)
    progress = loop.progress
    write_curves(progress.history, job.out)
    report = {
        **prepared.purpose,
        "steps": progress.step,
        "resumed": resumed,
        "best_step": progress.best_step,
        "validation": {"accuracy": progress.best},
        "before": progress.before,
        "after": after,
        "max_length": loop.ranker.shape.max_length,
        "cut_texts": loop.cut,
        "seconds": round(time.monotonic() - began, 1),
        "peak_memory_mb": round(peak_memory_mb()),
        "figures": prepared.figures,
    }
    write_atomically(job.out / "README.md", ranker_card(job, report))
    publish(job.out, report)
    return report


class RankerLoop:
    """A ranker and its optimiser over the triples of a job."""

    def __init__(self, job: RankerJob, sides: Sides, device: str) -> None:
        """Load the encoder, put new heads on it, and tokenise all texts."""
        settings = job.settings
        self._settings, self._sides, self._device = settings, sides, device
        self._folder = job.out / "checkpoints"
        torch.manual_seed(settings.seed)
        shape = RankerShape(settings.width, settings.cls, settings.max_length)
        ranker, self.tokenizer = new_ranker(job.model.removeprefix("hf:"), shape)
        self.ranker: StyleRanker = ranker.to(device)
        if settings.freeze:
            self.ranker.encoder.requires_grad_(False)
        self._learnt = [p for p in self.ranker.parameters() if p.requires_grad]
        self._optimizer = torch.optim.AdamW(
            self._learnt, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        texts = {
            text: None
            for side in sides
            for one in side
            for text in (one.instruction, *one.answers.values())
        }
        read = tokenized(self.tokenizer, list(texts), self.ranker.shape.max_length)
        self._tokens = {text: one.ids for text, one in zip(texts, read, strict=True)}
        self.cut = sum(one.cut for one in read)
        self.frozen: dict[str, Encoded] = {}
        self.progress = RankerState()
        self._per_epoch = math.ceil(len(sides.train) / settings.batch_size)
        self.steps = min(settings.epochs * self._per_epoch, settings.max_steps or 1 << 62)

    def run(self, listener: Listener | None) -> None:
        """Train from where it stands to the end."""
        settings, progress = self._settings, self.progress
        pace, first = Pace(time.monotonic, progress.step), progress.tokens
        while progress.step < self.steps:
            terms = self._step(self._batch(progress.step))
            progress.step += 1
            progress.history.append({"step": progress.step, **terms})
            if progress.step % self._per_epoch == 0 or progress.step == self.steps:
                accuracy = self.evaluate(self._sides.validation)
                progress.history[-1].update({f"eval_{k}": v for k, v in accuracy.items()})
                if accuracy["accuracy"] > progress.best:
                    progress.best, progress.best_step = accuracy["accuracy"], progress.step
                    self._write(self._folder / f"best-{progress.step}.safetensors", self._weights())
                self._checkpoint()
            elif progress.step % settings.every == 0:
                self._checkpoint()
            if listener is not None:
                read = progress.tokens - first
                listener(pace.at(progress.step, self.steps, read, progress.history[-1]))

    def _batch(self, step: int) -> list[Triple]:
        """Return the triples of a step (from 0); each epoch has an order of its own."""
        epoch, number = divmod(step, self._per_epoch)
        train, seed = self._sides.train, self._settings.seed
        drawn = torch.Generator().manual_seed(seed_of("scar order", seed, epoch) >> 1)
        order = torch.randperm(len(train), generator=drawn).tolist()
        size = self._settings.batch_size
        return [train[n] for n in order[number * size : (number + 1) * size]]

    def _step(self, triples: Sequence[Triple]) -> dict[str, float]:
        """Learn from a batch, and return its loss and terms.

        Raises:
            NotFinite: the loss or a gradient is not a number; no weight was changed.
        """
        settings, step = self._settings, self.progress.step
        torch.manual_seed(seed_of("scar step", settings.seed, step) >> 1)
        self.ranker.train(not settings.freeze)
        for group in self._optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_at(step, self.steps, settings.warmup)
        self.progress.tokens += sum(
            len(self._tokens[text])
            for one in triples
            for text in (one.instruction, *one.answers.values())
        )
        places, styled = self.styled(triples)
        total, parts = ranker_loss(triples, places, styled, settings)
        assert total is not None, "a triple without a pair to learn from is in no batch"
        loss = float(total.detach())
        if not math.isfinite(loss):
            raise NotFinite(f"the loss of step {step + 1} is {loss}")
        self._optimizer.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        norm = float(torch.nn.utils.clip_grad_norm_(self._learnt, settings.clip))
        if not math.isfinite(norm):
            raise NotFinite(f"the gradients' norm of step {step + 1} is {norm}")
        self._optimizer.step()
        return {"loss": loss, **{name: float(part.detach()) for name, part in parts.items()}}

    def styled(self, triples: Sequence[Triple]) -> tuple[dict[tuple[int, str], int], Styled]:
        """Return scores and vectors of all answers of some triples, and where each one is."""
        flat = [(n, origin) for n, one in enumerate(triples) for origin in one.answers]
        asked = self._encoded([one.instruction for one in triples])
        said = self._encoded([triples[n].answers[origin] for n, origin in flat])
        numbers = torch.tensor([n for n, _ in flat], device=self._device)
        styled = self.ranker.style(asked.cls[numbers], said)
        return {place: row for row, place in enumerate(flat)}, styled

    def _encoded(self, texts: Sequence[str]) -> Encoded:
        """Return the vectors of texts; those of a frozen encoder are computed once, alone."""
        if not self._settings.freeze:
            return self._encode(texts)
        for text in texts:
            if text not in self.frozen:
                with torch.no_grad():
                    self.frozen[text] = self._encode([text])
        found = [self.frozen[text] for text in texts]
        return Encoded(*(torch.cat(side) for side in zip(*found, strict=True)))

    def _encode(self, texts: Sequence[str]) -> Encoded:
        rows = [self._tokens[text] for text in texts]
        return self.ranker.encode(
            *padded(rows, self.tokenizer.pad_token_id or 0, self._device, left=False)
        )

    @torch.no_grad()
    def evaluate(self, triples: Sequence[Triple]) -> dict[str, float]:
        """Return the share of pairs that are ordered rightly, overall and by ordering.

        All pairs of different texts count, whatever their quality; a tie is wrong. `form_triplets`
        and `surprisal_triplets` are the shares of whole triples in whose vectors the anchor is
        nearer to its positive than to its negative (see `ranker_losses.TRIPLETS`).
        """
        self.ranker.eval()
        right: Counter[str] = Counter()
        there: Counter[str] = Counter()
        for start in range(0, len(triples), _EVALUATED):
            part = triples[start : start + _EVALUATED]
            places, styled = self.styled(part)
            scores = styled.score.tolist()
            whole = set(range(len(part)))
            for name, (better, worse) in ORDERINGS.items():
                counting = {n for n, one in enumerate(part) if counted(one, better, worse)}
                whole &= counting
                there[name] += len(counting)
                right[name] += sum(
                    scores[places[n, better]] > scores[places[n, worse]] for n in counting
                )
            for name, origins in TRIPLETS.items():
                vectors = getattr(styled, name)
                there[f"{name}_triplets"] += len(whole)
                for n in whole:
                    anchor, positive, negative = (vectors[places[n, o]] for o in origins)
                    near, far = (
                        torch.linalg.vector_norm(anchor - one) for one in (positive, negative)
                    )
                    right[f"{name}_triplets"] += int(near < far)
        pairs = sum(there[name] for name in ORDERINGS)
        if not pairs:
            return {}
        shares = {name: right[name] / count for name, count in there.items() if count}
        return {"accuracy": sum(right[n] for n in ORDERINGS) / pairs, "pairs": pairs, **shares}

    # -- checkpoints -------------------------------------------------------------------------------

    def resume(self) -> str | None:
        """Go on from the last whole checkpoint, and return its name if there is one."""
        from safetensors.torch import load_file

        found = last_checkpoint(self._folder)
        if found is None:
            return None
        self.progress = RankerState(**json.loads((found / _STATE).read_text(encoding="utf-8")))
        self.ranker.load_state_dict(load_file(found / "model.safetensors"))
        moments: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in load_file(found / "optimizer.safetensors").items():
            number, _, what = name.partition(".")
            moments.setdefault(int(number), {})[what] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": moments, "param_groups": groups})
        return found.name

    def _checkpoint(self) -> None:
        """Write weights, the optimiser's moments and the state, the state last; keep one."""
        own = self._folder / f"checkpoint-{self.progress.step}"
        own.mkdir(parents=True, exist_ok=True)
        self._write(own / "model.safetensors", self._weights())
        moments = self._optimizer.state_dict()["state"]
        flat = {f"{n}.{what}": value for n, one in moments.items() for what, value in one.items()}
        self._write(own / "optimizer.safetensors", flat)
        write_atomically(own / _STATE, json.dumps(dataclasses.asdict(self.progress)))
        for path in self._folder.iterdir():
            if path.name not in (own.name, f"best-{self.progress.best_step}.safetensors"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def take_best(self) -> None:
        """Put the weights of the best checkpoint into the ranker."""
        from safetensors.torch import load_file

        best = self._folder / f"best-{self.progress.best_step}.safetensors"
        self.ranker.load_state_dict(load_file(best))

    def _weights(self) -> dict[str, torch.Tensor]:
        return {k: v.detach().cpu().contiguous() for k, v in self.ranker.state_dict().items()}

    def _write(self, path: Path, tensors: dict[str, torch.Tensor]) -> None:
        from safetensors.torch import save_file

        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(path.name + ".tmp")
        save_file(tensors, str(partial))
        sync(partial)
        os.replace(partial, path)


def rate_at(step: int, steps: int, warmup: float) -> float:
    """Return the share of the learning rate at a step (from 0): up linearly, then down to 0."""
    rising = int(warmup * steps)
    if step < rising:
        return step / rising
    return (steps - step) / max(1, steps - rising)


def ranker_card(job: RankerJob, report: dict[str, Any]) -> str:
    """Return the ranker's card: data, settings, figures, and how to use it."""
    import yaml

    from curate.row import printable

    method = method_called(METHOD)
    head = {
        "base_model": job.model,
        "pipeline_tag": "text-classification",
        "tags": ["curate", "scar"],
    }
    return (
        "\n\n".join(
            [
                f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
                f"# {job.out.name}",
                f"A style ranker on `{printable(job.model)}`, trained by `curate train scar` on "
                f"`{printable(job.data)}`. {method.summary} Method: {method.source}.",
                "## Figures\n\n" + "\n".join(f"- {line}" for line in _lines(report)),
                "## Settings\n\n```yaml\n"
                + yaml.safe_dump(report["settings"], sort_keys=False)
                + "```",
                "## Use\n\nScores of two rankers cannot be compared, and a threshold holds for one "
                f"ranker only.\n\n```sh\ncurate filter DATA scar:share=0.25 --model scar:{job.out} "
                "-o OUT.jsonl\n```",
            ]
        )
        + "\n"
    )


def _lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield a finished training's figures in words."""
    figures = report["figures"]
    yield (
        f"{figures['train triples']:,} triples learnt, {figures['validation triples']:,} to choose "
        f"a checkpoint by, {figures['test triples']:,} to test on"
    )
    counts = [
        f"{figures[f'{name} pairs learnt']:,} of {figures[f'{name} pairs']:,} {name}"
        for name in ORDERINGS
    ]
    quality = report["settings"]["quality"]
    rule = "no quality constraint" if quality is None else f"quality between {quality}"
    yield f"pairs learnt ({rule}): {', '.join(counts)}"
    yield (
        f"best checkpoint: step {report['best_step']:,} of {report['steps']:,}, "
        f"{report['validation']['accuracy']:.1%} of the validation pairs in order"
    )
    if report["after"]:
        shares = [
            f"{name} {report['before'][name]:.1%} before, {share:.1%} after"
            for name, share in report["after"].items()
            # A checkpoint of an earlier version holds fewer shares.
            if name != "pairs" and name in report["before"]
        ]
        yield f"test side ({report['after']['pairs']:,} pairs): {'; '.join(shares)}"
    yield f"{report['cut_texts']:,} texts cut at {report['max_length']:,} tokens"
    yield f"{report['seconds']:,} s, {report['peak_memory_mb']:,} MB at most"


def ranker_summary(report: dict[str, Any]) -> str:
    """Return a finished training as text for a terminal."""
    return "\n".join([f"scar: {report['steps']:,} steps", *_lines(report)])
