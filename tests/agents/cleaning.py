"""Tasks that ask nobody: filter, deduplicate, hold out test items, pair, export."""

from __future__ import annotations

import json
from typing import Any

from .place import Place, Task, Way, answer, command, question

SHORT = {"Yes.", "No.", "Paris."}


def talk(asked: str, said: str) -> dict[str, Any]:
    return {"instruction": asked, "output": said}


# Filter.
def _prepare_filter(place: Place) -> None:
    rows = [talk(f"Describe city {n}.", f"City {n} lies at a river and is old.") for n in range(12)]
    for at, short in zip((2, 5, 9), sorted(SHORT), strict=True):
        rows[at]["output"] = short
    rows[7]["output"] = "Write to me at ann.lee@posteo.de about the museums of this city."
    place.write("rows.jsonl", rows)
    with (place.folder / "rows.jsonl").open("a") as file:
        file.write('{"instruction": "A broken li\n')


def _check_filter(place: Place) -> list[str]:
    kept = place.lines("kept.jsonl")
    if kept is None:
        return ["there is no kept.jsonl"]
    answers = [answer(row) for row in kept]
    wrong = [f"a short answer is kept: {a}" for a in answers if a in SHORT]
    wrong += [f"an address is kept: {a}" for a in answers if "ann.lee" in a]
    wrong += [] if len(kept) == 9 else [f"{len(kept)} rows are kept, 9 should be"]
    masked = [a for a in answers if a.startswith("Write to me at ")]
    wrong += [] if masked else ["the row with the address is gone, it should be masked"]
    return wrong + place.account(rows=13, kept=9)


def _filter_by_hand(place: Place) -> None:
    """Drop rows with a script: the file is right, and nothing says what became of the others."""
    text = (place.folder / "rows.jsonl").read_text().splitlines()[:-1]
    rows = [json.loads(line.replace("ann.lee@posteo.de", "[EMAIL]")) for line in text]
    place.write("kept.jsonl", [row for row in rows if row["output"] not in SHORT])


FILTER = Task(
    "filter",
    """
    rows.jsonl holds instructions with answers. Keep those whose answer has at least five words,
    mask e-mail addresses, and write them to kept.jsonl. One line of the file is known to be
    broken; that is accepted, but it must be visible afterwards what became of every line.
    """,
    _prepare_filter,
    _check_filter,
    Way(["curate filter rows.jsonl length:min=5 pii -o kept.jsonl --allow-failed 10%"]),
    _filter_by_hand,
)


# Deduplicate.
BASES = [
    "The tide rises and falls twice a day because the moon pulls at the water of the sea",
    "Bread rises because yeast eats the sugar of the flour and gives off gas while it rests",
    "A plane flies because air that is bent downwards by its wings pushes the wings up again",
    "Iron rusts in damp air because oxygen and water take electrons from its outer layer",
]


def _prepare_dedup(place: Place) -> None:
    rows = []
    for n, base in enumerate(BASES):
        rows.append(talk(f"Explain matter {n}.", f"{base}."))
        rows.append(talk(f"Explain matter {n}.", f"{base}, as everybody can see for himself."))
        rows.append(talk(f"Explain matter {n}.", f"{base}."))
    place.write("rows.jsonl", rows)


def _check_dedup(place: Place) -> list[str]:
    kept = place.lines("unique.jsonl")
    if kept is None:
        return ["there is no unique.jsonl"]
    answers = sorted(answer(row) for row in kept)
    longest = sorted(f"{base}, as everybody can see for himself." for base in BASES)
    wrong = [] if answers == longest else ["unique.jsonl is not the longest row of each group"]
    partners = [e["partner"] for step in ("exact", "near") for e in place.ledger(step)]
    wrong += [] if len(partners) == 8 and all(partners) else ["8 rows should name a kept row"]
    return wrong + place.account(rows=12, kept=4)


DEDUP = Task(
    "dedup",
    """
    rows.jsonl holds groups of nearly the same rows (they share more than half of their word
    triples). Keep the longest row of each group, in unique.jsonl. For every other row it must
    be on record which kept row it repeats.
    """,
    _prepare_dedup,
    _check_dedup,
    Way(["curate filter rows.jsonl near:similarity=0.5,keep=longest -o unique.jsonl --json"]),
    Way(["curate filter rows.jsonl exact -o unique.jsonl"]),
)


# Hold out contamination.
QUESTIONS = [
    "A train leaves the city at nine and another one an hour later; when do the two of them meet?",
    "If three painters need six hours for a wall of this size, how long do nine painters need?",
]


def _prepare_contamination(place: Place) -> None:
    rows = [talk(f"How many legs have {n} spiders?", f"{8 * n} legs.") for n in range(1, 9)]
    rows[3] = talk(f"Solve this for me, step by step. {QUESTIONS[0]}", "At noon.")
    rows[6] = talk(QUESTIONS[1].upper(), "Two hours.")
    place.write("train.jsonl", rows)
    place.write("test.jsonl", [{"question": item} for item in QUESTIONS])


def _check_contamination(place: Place) -> list[str]:
    kept = place.lines("clean.jsonl")
    if kept is None:
        return ["there is no clean.jsonl"]
    said = " ".join(question(row) for row in kept).lower()
    wrong = [f"a test item is left: {q}" for q in QUESTIONS if q.lower() in said]
    wrong += [] if len(kept) == 6 else [f"{len(kept)} rows are kept, 6 should be"]
    items = [json.loads(e["detail"])["item"] for e in place.ledger("contamination")]
    wrong += [] if len(items) == 2 else ["it is not on record which test items were found"]
    return wrong + place.account(rows=8, kept=6)


CONTAMINATION = Task(
    "contamination",
    """
    train.jsonl is to become training data, and a model is to be tested on test.jsonl. Write
    clean.jsonl, without rows that give away a test question, also inside a longer text, and
    keep on record which question each of them held.
    """,
    _prepare_contamination,
    _check_contamination,
    Way(["curate filter train.jsonl 'contamination:against=[test.jsonl]' -o clean.jsonl"]),
    Way(["curate filter train.jsonl exact:against=test.jsonl,on=instruction -o clean.jsonl"]),
)


# Preference pairs.
def _prepare_pairs(place: Place) -> None:
    rows = []
    for n in range(8):
        # In every fourth row the answers are nearly as good as one another.
        scores = [9.0, 8.5, 8.0] if n % 4 == 3 else [2.0, 9.0, 5.0]
        answers = [f"answer {n} of grade {score:g}" for score in scores]
        rows.append({"prompt": f"Question {n}?", "responses": answers, "scores": scores})
    place.write("answers.jsonl", rows)


def _check_pairs(place: Place) -> list[str]:
    pairs = place.lines("pairs.jsonl")
    if pairs is None:
        return ["there is no pairs.jsonl"]
    wrong = [] if len(pairs) == 6 else [f"there are {len(pairs)} pairs, 6 should be"]
    for pair in pairs:
        if not {"prompt", "chosen", "rejected"} <= set(pair):
            return [f"TRL's DPO trainer needs other columns than {sorted(pair)}"]
        best, worst = (pair[side][-1]["content"] for side in ("chosen", "rejected"))
        if not (best.endswith("grade 9") and worst.endswith("grade 2")):
            wrong.append(f"chosen '{best}', rejected '{worst}'")
    for _, report in place.runs():
        if report["in"] == 8 and report["made"] == 6 and report["dropped"] == 2:
            return wrong
    return [*wrong, "no run accounts for 8 rows read, 6 pairs made and 2 dropped"]


PAIRS = Task(
    "pairs",
    """
    answers.jsonl holds prompts with three answers and their scores each. Make preference pairs
    of the best and the worst answer for TRL's DPO trainer, in pairs.jsonl. Leave out prompts
    whose best and worst answer are less than 2 apart, and let it be on record which ones.
    """,
    _prepare_pairs,
    _check_pairs,
    Way(
        [
            "curate filter answers.jsonl pairs:margin=2 -o pairs.jsonl --as trl_dpo "
            "--columns prompt=prompt,candidates=responses,scores=scores --json"
        ]
    ),
    Way(
        [
            "curate filter answers.jsonl pairs:rejected=second -o pairs.jsonl --as trl_dpo "
            "--columns prompt=prompt,candidates=responses,scores=scores"
        ]
    ),
)


# Export.
def _prepare_export(place: Place) -> None:
    rows = [talk(f"Name a thing of kind {n}.", "word " * n) for n in range(1, 11)]
    place.write("rows.jsonl", rows)
    command("curate filter rows.jsonl length:min=4 -o kept.jsonl --run runs/made")
    (place.folder / "kept.jsonl").unlink()


def _check_export(place: Place) -> list[str]:
    rows = place.lines("train.jsonl")
    if rows is None:
        return ["there is no train.jsonl"]
    wrong = [] if len(rows) == 7 else [f"{len(rows)} rows are exported, 7 were kept"]
    for row in rows:
        roles = [turn.get("from") for turn in row.get("conversations", ())]
        if roles != ["human", "gpt"]:
            return [*wrong, f"a record is not a ShareGPT conversation: {json.dumps(row)[:80]}"]
    return wrong


EXPORT = Task(
    "export",
    """
    runs/made is a finished run. Write the rows that it kept to train.jsonl, as ShareGPT
    conversations for LLaMA-Factory.
    """,
    _prepare_export,
    _check_export,
    Way(["curate export runs/made --as llamafactory_sharegpt -o train.jsonl --json"]),
    Way(["curate export rows.jsonl --as llamafactory_sharegpt -o train.jsonl"]),
)
