"""What does `curate prove` say of real datasets, on the embedded model?

`--table NAME` makes one of the tables of `prove_tables.yaml`, which fixes rows, steps and learning
rate beforehand: the quantity curve of a diverse choice (`sizes`), people against a model
(`by-source`), datasets (`between`), full training against LoRA (`ways`), and the training half of
the style experiment (`style-likeliest`, `style-drawn`). Each calls the command as a user would, in
a folder below `--out`, where the same call goes on after a kill. What comes of it goes to
`prove_tables.jsonl`, whatever it shows, and is not measured a second time.

Without `--table` the tables that were measured are printed; `--full` makes all that are missing.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from curate.row import seed_of

ROOT = Path(__file__).resolve().parents[1]
PLAN = Path(__file__).with_suffix(".yaml")
RESULTS = Path(__file__).with_suffix(".jsonl")
TASKS = ROOT / "pipelines" / "data" / "tasks.jsonl.gz"
# What is kept of each test.
TEST = ("against", "effect", "low", "high", "p", "p_adjusted", "visible", "draw_sd", "row_error",
        "draws_only_p", "rank")  # fmt: skip
# What is shown of the styles of a set.
FIGURES = ("rows", "words", "surprisal", "surprisal, spread", "form spread")
Record = dict[str, Any]


def fits(text: str, words: Sequence[int]) -> bool:
    return words[0] <= len(text.split()) <= words[1]


def chosen(path: Path, count: int, plan: Mapping[str, Any], why: str) -> list[Record]:
    """Return so many short rows of a file, in the order of a hash, each prompt once.

    Raises:
        SystemExit: there are not so many.
    """
    found: dict[str, Record] = {}
    for row in json.loads(path.read_text(encoding="utf-8")):
        ask, answer = row["instruction"].strip(), row["output"].strip()
        one_line = not row.get("input") and "\n" not in answer
        if one_line and fits(ask, plan["prompt"]) and fits(answer, plan["answer"]):
            found.setdefault(ask, {"instruction": ask, "output": answer})
    rows = sorted(found.values(), key=lambda row: seed_of("prove tables", row["instruction"]))
    if len(rows) < count:
        sys.exit(f"{path} has {len(rows)} rows that are short enough, and {why} takes {count}")
    return rows[:count]


def held_out(plan: Mapping[str, Any]) -> list[Record]:
    """Return the shipped tasks that every run is measured on."""
    wanted, found = plan["held_out"], []
    with gzip.open(TASKS, "rt", encoding="utf-8") as file:
        for row in map(json.loads, file):
            asked = f"{row['instruction']} {row['input']}"
            if (row["origin"] == wanted["origin"] and fits(asked, wanted["prompt"])
                    and fits(row["output"], wanted["answer"])):  # fmt: skip
                found.append(row)
    return found


def write_rows(path: Path, rows: Sequence[Record]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def curate(folder: Path, *words: str) -> int:
    """Run a command in a folder, say it, and return its exit code."""
    print("$ curate", *words, flush=True)
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "curate", *words]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


def prepare(name: str, plan: Mapping[str, Any], data: Path, folder: Path) -> list[str]:
    """Write the files of a table, and return the words of its command."""
    table = plan["tables"][name]
    folder.mkdir(parents=True, exist_ok=True)
    for file, parts in table["files"].items():
        rows = [row for source, count in parts.items()
                for row in chosen(data / plan["sources"][source], count, plan, name)]  # fmt: skip
        write_rows(folder / file, rows)
    write_rows(folder / "held_out.jsonl", held_out(plan))
    settings = table.get("training", plan["training"])
    (folder / "training.yaml").write_text(yaml.safe_dump(settings), "utf-8")
    if "recipe" in table:
        (folder / "recipe.yaml").write_text(table["recipe"], "utf-8")
    options = [word for option, value in plan["options"].items()
               for word in (f"--{option.replace('_', '-')}", str(value))]  # fmt: skip
    return [
        "prove", *table["arguments"], "--model", plan["model"], "--held-out", "held_out.jsonl",
        "--config", "training.yaml", *options, "--store", "store", "-o", "proof",
    ]  # fmt: skip


def make_styles(name: str, plan: Mapping[str, Any], folder: Path) -> tuple[list[str], Record]:
    """Make the answers of a level, a file for each set; return the commands and the style map."""
    level = plan["tables"][name]["styles"]["level"]
    run = folder.parent / "styles"
    run.mkdir(exist_ok=True)
    write_rows(run / "asked.jsonl", read(folder / "asked.jsonl"))
    changes = {"inputs.greedy.path": "asked.jsonl", "inputs.sampled.path": "asked.jsonl",
               **plan["styles"]}  # fmt: skip
    # Some triples are expected to fail: their answers do not end.
    words = ["run", str(ROOT / "pipelines" / "style_experiment.yaml"), "-o", "answers", "--store",
             "store", "--allow-failed", "1"]  # fmt: skip
    words += [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
    if code := curate(run, *words):
        sys.exit(code)
    if curate(run, "report", "answers", "--png", "maps"):
        print("no map was drawn (it needs the extra figures)")
    triples: dict[str, dict[str, Record]] = {}
    for row in kept_rows(run / "answers"):
        if row["source"] == level:
            one = {"instruction": row["messages"][0]["content"],
                   "output": row["messages"][-1]["content"]}  # fmt: skip
            triples.setdefault(one["instruction"], {})[row["set"]] = one
    whole = [one for one in triples.values() if len(one) == 3]
    whole = whole[: plan["tables"][name]["styles"]["triples"]]
    print(f"{len(whole)} instructions have all three answers")
    for kind in ("human", "referenced", "direct"):
        write_rows(folder / f"{kind}.jsonl", [one[kind] for one in whole])
    report = json.loads((run / "answers" / "report.json").read_text(encoding="utf-8"))
    [figures] = [own for label, own in report["figures"].items() if label.startswith("style_rep")]
    return [" ".join(words)], {"triples": len(whole), "figures": figures}


def read(path: Path) -> list[Record]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def kept_rows(run: Path) -> Iterator[Record]:
    """Yield the kept conversations of a run with their extra columns, in order."""
    from curate.runs.rows import Rows, as_record

    for row in Rows(run / "kept"):
        yield {**as_record(row), "source": row.source}


def measure(name: str, plan: Mapping[str, Any], data: Path, out: Path) -> Record | None:
    """Make a table, and return what is kept of it; nothing where the command stopped short."""
    began, folder = time.time(), out / name
    words = prepare(name, plan, data, folder)
    commands, styles = list[str](), Record()
    if "styles" in plan["tables"][name]:
        commands, styles = make_styles(name, plan, folder)
    code = curate(folder, *words)
    if code:
        print(f"{name} is not measured (exit code {code}); the same call goes on")
        return None
    proof = json.loads((folder / "proof" / "proof.json").read_text(encoding="utf-8"))
    arms: dict[str, list[Record]] = {}
    for arm in proof["arms"]:
        arms.setdefault(arm["group"], []).append(arm)
    return {
        "table": name,
        "plan": digest(plan, name),
        "commands": [*commands, " ".join(words)],
        "verdicts": [
            {**{key: one[key] for key in ("question", "metric", "verdict", "text")},
             "tests": [{key: rounded(test[key]) for key in TEST} for test in one["tests"]]}
            for one in proof["verdicts"]
        ],
        "arms": {group: [arm_of(arm) for arm in own] for group, own in arms.items()},
        "styles": styles,
        **{key: proof[key] for key in ("held_out_rows", "prompt_groups_held_out", "steps",
                                       "supervised_tokens", "alpha", "notes")},
        "seconds_trained": round(sum(arm["seconds"] for arm in proof["arms"])),
        "seconds_of_this_call": round(time.time() - began),
    }  # fmt: skip


def arm_of(arm: Record) -> Record:
    keys = ("name", "rows", "tokens", "distinct_rows", "epochs", "trained_tokens", "seconds")
    scores = {metric: rounded(value) for metric, value in arm["scores"].items()}
    return {**{key: rounded(arm[key]) for key in keys}, "scores": scores}


def rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def digest(plan: Mapping[str, Any], name: str) -> str:
    """Return a digest of what the plan says of a table."""
    rest = {key: value for key, value in plan.items() if key not in ("tables", "styles")}
    table = plan["tables"][name]
    own = [rest, table, plan["styles"] if "styles" in table else None]
    return f"{seed_of('plan', json.dumps(own, sort_keys=True)):016x}"


def summary(found: Sequence[Record], plan: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    return "\n\n".join(table_text(one, plan) for one in found) or "no table was measured"


def table_text(one: Record, plan: Mapping[str, Any]) -> str:
    name, coverage = one["table"], f"{100 * (1 - one['alpha']):g} % interval"
    stale = name not in plan["tables"] or one["plan"] != digest(plan, name)
    lines = [f"### {name}" + (" (of an earlier plan)" if stale else ""), ""]
    lines += [f"| | against | effect | {coverage} | p | adjusted | seen from | rank |",
              "|---|---|--:|---|--:|--:|--:|---|"]  # fmt: skip
    for verdict in one["verdicts"]:
        asked = verdict["question"] or "the recipe"
        for test in verdict["tests"]:
            rank = "" if test["rank"] is None else str(test["rank"])
            adjusted = "-" if test["p_adjusted"] is None else f"{test['p_adjusted']:.2g}"
            lines.append(
                f"| {asked} | {test['against']} | {test['effect']:+.4f} | {test['low']:+.4f} to "
                f"{test['high']:+.4f} | {test['p']:.2g} | {adjusted} | {test['visible']:.4f} | "
                f"{rank} |"
            )
    lines += ["", "| trained on | runs | rows | tokens | distinct rows | epochs | loss | sd |",
              "|---|--:|--:|--:|--:|--:|--:|--:|"]  # fmt: skip
    for group, arms in one["arms"].items():
        values = [value for arm in arms for value in arm["scores"].values()]
        mean = {key: statistics.fmean(arm[key] for arm in arms)
                for key in ("rows", "tokens", "distinct_rows", "epochs")}  # fmt: skip
        spread = f"{statistics.stdev(values):.4f}" if len(values) > 1 else ""
        lines.append(
            f"| {group} | {len(arms)} | {mean['rows']:,.0f} | {mean['tokens']:,.0f} | "
            f"{mean['distinct_rows']:,.0f} | {mean['epochs']:.2f} | "
            f"{statistics.fmean(values):.4f} | {spread} |"
        )
    figures = one["styles"].get("figures", {})
    if figures:
        lines += ["", "| style | " + " | ".join(FIGURES) + " |", "|---|" + "--:|" * len(FIGURES)]
        sets = [key.rpartition(": ")[0] for key in figures if key.endswith(": rows")]
        for kind in sets:
            values = [figures.get(f"{kind}: {figure}") for figure in FIGURES]
            cells = ["" if value is None else f"{value:.2f}" for value in values]
            lines.append(f"| {kind} | {' | '.join(cells)} |")
    lines += ["", *(f"- {verdict['text']}" for verdict in one["verdicts"])]
    lines += [f"- note: {note}" for note in one["notes"]]
    lines.append(
        f"- every run: {one['steps']} steps, {one['supervised_tokens']:,} supervised tokens; "
        f"{one['held_out_rows']} held-out rows; {one['seconds_trained'] / 60:.0f} minutes in all"
    )
    return "\n".join(lines)


def main() -> None:
    plan = yaml.safe_load(PLAN.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--table", choices=plan["tables"], help="make this table")
    parser.add_argument("--full", action="store_true", help="make all tables that are missing")
    parser.add_argument("--dry-run", action="store_true", help="say how long --table would take")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "prove_tables")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--model", help="another model, to try the script")
    given = parser.parse_args()
    if given.model:
        if given.results == RESULTS:
            sys.exit("the tables are of the model of the plan; give --results FILE for another one")
        plan["model"] = given.model
    found = read(given.results) if given.results.is_file() else []
    wanted = list(plan["tables"]) if given.full else [given.table] if given.table else []
    if wanted and not given.data.is_dir():
        sys.exit(f"{given.data} is not here: it holds Alpaca and Dolly (--data DIR)")
    for name in wanted:
        if any((one["table"], one["plan"]) == (name, digest(plan, name)) for one in found):
            continue
        if given.dry_run:
            folder = given.out.absolute() / name
            words = prepare(name, plan, given.data, folder)
            if "styles" in plan["tables"][name]:
                make_styles(name, plan, folder)
            curate(folder, *words, "--dry-run")
            continue
        new = measure(name, plan, given.data, given.out.absolute())
        if new is not None:
            with given.results.open("a", encoding="utf-8") as file:
                file.write(json.dumps(new, ensure_ascii=False) + "\n")
            found.append(new)
    shown = [one for one in found if not given.table or one["table"] == given.table]
    print(summary(shown, plan))


if __name__ == "__main__":
    main()
