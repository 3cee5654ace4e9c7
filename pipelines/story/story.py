"""The whole story as runs that files join: prompts, curated answers, SFT, pairs, DPO, evaluation.

    python pipelines/story/story.py [--out runs/story]

`story.yaml` names the stages. A recipe is linear, so each is a run of its own, and what it leaves
is a named file in the folder, where the next one reads it. A stage that has ended is not run again
unless its recipe or what it reads has changed; then it is made anew, and so is what follows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import xxhash
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
STORY = "story.json"
REPORT = "story.md"
# What is told of a training's held-out rows.
LEARNT = ("loss", "rewards/accuracies")
SECONDS = ("seconds", "processor_seconds")


class StoryStopped(Exception):
    """A stage failed, or its rows say that it did nothing; the text is for people."""


class Stage(NamedTuple):
    """A command with the files that decide its outcome, and what it may do to rows.

    `everything` and `nothing` say why passing all rows, or none, is right.
    """

    name: str
    kind: str
    words: tuple[str, ...]
    reads: tuple[str, ...]
    everything: str | None = None
    nothing: str | None = None

    def digest(self, folder: Path) -> str:
        """Return a digest of the command and of what it reads."""
        found = xxhash.xxh3_64(json.dumps(self.words).encode())
        for name in self.reads:
            path = folder / name
            files = sorted(path.rglob("*.parquet")) if path.is_dir() else [path]
            if path.is_dir() and not files:
                files = sorted(path.glob("*.safetensors"))
            for file in files:
                found.update(file.name.encode() + file.read_bytes())
        return found.hexdigest()


def stages_of(path: Path) -> list[Stage]:
    """Return the stages that a file names.

    Raises:
        StoryStopped: an entry is none.
    """
    found = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8"))["stages"]:
        name, given = entry["name"], dict(entry)
        allowed = given.get("all"), given.get("none")
        if "run" in given:
            recipe = path.parent / given["run"]
            own = yaml.safe_load(recipe.read_text(encoding="utf-8"))
            inputs, models = own["inputs"], own.get("models", {})
            # Files of the story; what comes with the package does not change.
            reads = [one for one in [inputs] if isinstance(one, str) and "/" not in one]
            reads += [one.removeprefix("hf:") for one in models.values() if one.startswith("hf:")]
            words = ("run", str(recipe), "-o", name, "--allow-failed", given.get("failed", "0"))
            found.append(Stage(name, "run", words, (str(recipe), *reads), *allowed))
        elif "train" in given:
            config = path.parent / given["config"]
            words = ("train", given["train"], given["data"], "--model", given["model"], "--config",
                     str(config), "--merge", "-o", name)  # fmt: skip
            read = [given["data"], *([] if given["model"] == "local" else [given["model"]])]
            found.append(Stage(name, "train", words, (str(config), *read), *allowed))
        elif "evaluate" in given:
            model = given["evaluate"]
            words = ("evaluate", "model", model, "--held-out", given["held_out"], "--run", name)
            read = [given["held_out"], *([] if model == "local" else [model])]
            found.append(Stage(name, "evaluate", words, tuple(read), *allowed))
        else:
            raise StoryStopped(f"{path}: stage '{name}' has none of run, train and evaluate")
    return found


def counts_of(stage: Stage, folder: Path) -> dict[str, int]:
    """Return how many rows came in, were made, passed, were dropped, and failed."""
    report = json.loads((folder / stage.name / REPORTS[stage.kind]).read_text(encoding="utf-8"))
    if stage.kind == "run":
        names = {"in": "in", "made": "made", "passed": "kept", "dropped": "dropped"}
        return {**{name: report[key] for name, key in names.items()}, "failed": report["failed"]}
    if stage.kind == "train":
        rows = report["figures"]["rows"]
        return {"in": rows, "made": 0, "passed": rows, "dropped": 0, "failed": 0}
    own = report["held_out"]
    return {"in": own["rows"] + own["failed"], "made": 0, "passed": own["rows"], "dropped": 0,
            "failed": own["failed"]}  # fmt: skip


REPORTS = {"run": "report.json", "train": "report.json", "evaluate": "evaluation.json"}


def check_passed(stage: Stage, counts: Mapping[str, int]) -> None:
    """Refuse a stage that let pass nothing, or everything, where that was not declared.

    Raises:
        StoryStopped: it is so; or it was declared, and is not.
    """
    said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    if not counts["passed"] and stage.nothing is None:
        raise StoryStopped(f"stage '{stage.name}' let no row pass ({said}); declare `none: WHY`")
    if stage.kind == "run" and not counts["dropped"] + counts["failed"] and not stage.everything:
        raise StoryStopped(
            f"stage '{stage.name}' let every row pass ({said}), so it did nothing; declare "
            "`all: WHY` if that is right"
        )


def run_command(stage: Stage, folder: Path, *, replace: bool) -> None:
    """Run a stage's command in the story's folder.

    Raises:
        StoryStopped: it ended with another code than 0.
    """
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1"}
    words = [*stage.words, *(["--replace"] if replace else [])]
    say(f"\n== {stage.name}: curate {' '.join(words)}")
    command = [sys.executable, "-m", "curate", *words]
    code = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    if code:
        raise StoryStopped(f"stage '{stage.name}' ended with exit code {code}; the same command "
                           f"goes on once its reason is gone")  # fmt: skip


def tell(stages: Sequence[Stage], folder: Path, path: Path) -> dict[str, Any]:
    """Run the stages that have not ended, and return what is known of all.

    Raises:
        StoryStopped: one failed, or let pass all rows or none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for stage in stages:
        digest, before = stage.digest(folder), known.get(stage.name)
        if before is not None and before["digest"] == digest and "passed" in before:
            continue
        spent = [0.0, 0.0]
        if before is not None and before["digest"] == digest:
            spent = [before["seconds"], before["processor_seconds"]]
        began = clocks()
        # What was begun by another command is replaced; what was begun by this one goes on.
        replace = before is not None and before["digest"] != digest
        known[stage.name] = {"digest": digest, **dict(zip(SECONDS, spent, strict=True))}
        write(path, known)
        try:
            run_command(stage, folder, replace=replace)
        finally:
            for name, so_far, start, now in zip(SECONDS, spent, began, clocks(), strict=True):
                known[stage.name][name] = round(so_far + now - start, 1)
            write(path, known)
        counts = counts_of(stage, folder)
        check_passed(stage, counts)
        known[stage.name] |= counts
        write(path, known)
    return {stage.name: known[stage.name] for stage in stages}


def clocks() -> tuple[float, float]:
    """Return the time, and the processor time of all commands so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic(), used.ru_utime + used.ru_stime


def write(path: Path, known: Mapping[str, Any]) -> None:
    """Write what is known of the stages, as a whole."""
    written = path.with_suffix(".tmp")
    written.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    written.replace(path)


def told(stages: Sequence[Stage], known: Mapping[str, Any], folder: Path) -> str:
    """Return the table of stages, and what evaluations and trainings found, as Markdown."""
    lines = ["| stage | rows in | made | passed | dropped | failed | seconds | of processors |",
             "|---|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for name, one in known.items():
        cells = [f"{one[key]:,}" for key in ("in", "made", "passed", "dropped", "failed")]
        cells += [f"{one[key]:,.0f}" for key in SECONDS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    wall, used = (sum(one[key] for one in known.values()) / 60 for key in SECONDS)
    lines += ["", f"{wall:.1f} minutes in all, {used:.1f} minutes of processors", ""]
    for stage in stages:
        path = folder / stage.name / REPORTS[stage.kind]
        report = json.loads(path.read_text(encoding="utf-8"))
        if stage.kind == "train":
            lines.append(f"- {stage.name}: {report['steps']} steps")
            for name in LEARNT:
                sides = [(report.get(when) or {}).get(name) for when in ("before", "after")]
                if None not in sides:
                    lines[-1] += f"; held-out {name} {sides[0]:.3f} before, {sides[1]:.3f} after"
        elif stage.kind == "evaluate":
            own, contrast = report["held_out"], report["held_out"].get("prompt_contrast")
            loss = own["loss_per_row"]
            text = f"loss {loss['value']:.3f} ({loss['low']:.3f} to {loss['high']:.3f})"
            if contrast:
                text += (f", prompt contrast {contrast['value']:.3f} ({contrast['low']:.3f} to "
                         f"{contrast['high']:.3f})")  # fmt: skip
            lines.append(f"- {stage.name}: {text} on {own['rows']} rows")
    return "\n".join(lines)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> None:
    """Tell the story, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "story")
    parser.add_argument("--stages", type=Path, default=HERE / "story.yaml")
    given = parser.parse_args()
    folder = given.out.absolute()
    try:
        stages = stages_of(given.stages.absolute())
        known = tell(stages, folder, folder / STORY)
    except StoryStopped as stopped:
        sys.exit(f"error: {stopped}")
    text = told(stages, known, folder)
    (folder / REPORT).write_text(f"{text}\n", encoding="utf-8")
    say(f"\n{text}\n\nreport     {folder / REPORT}")


if __name__ == "__main__":
    main()
