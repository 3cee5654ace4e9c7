"""Two datasets side by side: every cell recomputed by other means, and blanks where nothing is."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curate import Pipeline
from curate.kernels.arrays.groups import draw_of
from curate.kernels.sets.rouge import common_length
from curate.kernels.sets.shingles import shingle_set
from curate.kernels.text.style_features import (
    FEATURES,
    opening,
    style_counts,
    style_features,
)
from curate.kernels.text.words import compared_words
from curate.kernels.text.words import words as words_of
from curate.pipeline import Result
from curate.runs.dataset_table import GROUPS, Dataset, dataset_table
from curate.steps import Scar, Style

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def opened(rows: Any, folder: Path, *steps: Any) -> Result:
    return Pipeline(list(steps)).run(rows, run=folder / "run", store=folder / "store")


def as_dataset(run: Result, **changed: Any) -> Dataset:
    return Dataset(run.kept, {**run.summary, **changed})


def text_of(row: dict[str, str]) -> tuple[str, str]:
    """Return instruction and response of a record in Alpaca's columns."""
    return "\n\n".join(filter(None, (row["instruction"], row["input"]))), row["output"]


def slow_novel(own: list[str], others: list[str]) -> float:
    """Return the share of instructions that a pool accepts one by one, the others being in it.

    What two texts have in common as bags of words bounds what they have as sequences.
    """
    import scipy.sparse as sparse

    words = [found for text in (*own, *others) if (found := compared_words(text))]
    count = sum(bool(compared_words(text)) for text in own)
    numbers: dict[tuple[str, int], int] = {}
    places: list[tuple[int, int]] = []
    for row, tokens in enumerate(words):
        seen: dict[str, int] = {}
        for token in tokens:
            seen[token] = seen.get(token, 0) + 1
            places.append((row, numbers.setdefault((token, seen[token]), len(numbers))))
    at = np.array(places)
    bags = sparse.csr_matrix((np.ones(len(at), np.int32), (at[:, 0], at[:, 1])))
    sizes = np.array([len(tokens) for tokens in words])
    accepted = [row >= count for row in range(len(words))]
    for row in range(count):
        if row % 1000 == 0:
            block = (bags[row : min(row + 1000, count)] @ bags.T).tocsr()
        own_bag = block[row % 1000]
        most = 2 * own_bag.data > 0.7 * (sizes[own_bag.indices] + sizes[row]) - 1e-6
        near = own_bag.indices[most]
        accepted[row] = not any(
            accepted[other] and _rouge(words[row], words[other]) > 0.7
            for other in near.tolist()
            if other != row
        )
    return sum(accepted[:count]) / count


def _rouge(one: list[str], other: list[str]) -> float:
    common = common_length(one, other)
    precision, recall = common / len(one), common / len(other)
    return 2 * precision * recall / (precision + recall) if common else 0.0


def recomputed(
    sides: list[list[dict[str, str]]], ids: list[list[str]]
) -> dict[str, dict[str, list[float]]]:
    """Return the table of two files in Alpaca's columns, each cell from its definition."""
    table: dict[str, dict[str, list[float]]] = {group: {} for group in GROUPS}

    def put(group: str, name: str, value: float) -> None:
        table[group].setdefault(name, []).append(value)

    texts = [[text_of(row) for row in rows] for rows in sides]
    order = [sorted(range(len(own)), key=lambda n: draw_of(own[n], "compare", 0)) for own in ids]
    for side, rows in enumerate(texts):
        put("scale", "rows", len(rows))
        put("scale", "sft rows", len(rows))
        put("scale", "failed rows", 0)
        for place, on in enumerate(("instruction", "response")):
            words = [len(words_of(row[place])) for row in rows]
            put("scale", f"words of the {on}, mean", statistics.fmean(words))
            put("scale", f"words of the {on}, median", statistics.median(words))
        counts = np.array([style_counts(row[1]) for row in rows if row[1]])
        for name, values in zip(FEATURES, style_features(counts, 50).T.tolist(), strict=True):
            known = [value for value in values if value == value]
            if name != "words" and known:
                put("writing style", f"{name}, mean", statistics.fmean(known))
                put("writing style", f"{name}, spread", statistics.pstdev(known))
        firsts = sorted(filter(None, (opening(row[1]) for row in rows)))
        runs = [firsts.count(one) for one in dict.fromkeys(firsts)]
        alike = sum(n * (n - 1) for n in runs) / (len(firsts) * (len(firsts) - 1))
        put("writing style", "alike openings", alike)
        asked = [[row[0] for row in own] for own in texts]
        put("creativity", "novel instructions (ROUGE-L <= 0.7)", slow_novel(asked[side], []))
        beside = slow_novel(asked[side], asked[1 - side])
        put("creativity", "novel beside the other dataset, too", beside)
    for place, on in enumerate(("instruction", "response")):
        pairs = [[shingle_set(row[place], 2).tolist() for row in rows] for rows in texts]
        compared = min(100_000, *(sum(map(len, own)) for own in pairs))
        for own, rows_in_order in zip(pairs, order, strict=True):
            drawn = [pair for row in rows_in_order for pair in own[row]][:compared]
            share = len(set(drawn)) / compared
            put("diversity", f"{on}: different pairs among {compared:,}", share)
    return table


@pytest.mark.real
@pytest.mark.slow
def test_every_cell_of_dolly_against_alpaca_is_recomputed(tmp_path: Path) -> None:
    if not DATA.is_dir():
        pytest.skip("../shared/data is absent")
    paths = [DATA / "dolly" / "dolly_3k.json", DATA / "alpaca" / "alpaca_5000.json"]
    runs = [opened(str(path), tmp_path / path.stem) for path in paths]
    found = dataset_table(*map(as_dataset, runs))
    sides = [json.loads(path.read_text("utf-8")) for path in paths]
    expected = recomputed(sides, [[row.id for row in run.kept] for run in runs])
    assert list(found) == list(GROUPS)
    assert {group: set(cells) for group, cells in found.items()} == {
        group: set(cells) for group, cells in expected.items()
    }
    for group, cells in expected.items():
        for name, values in cells.items():
            assert found[group][name] == pytest.approx(values, rel=1e-9), name
    # Nothing was asked and nobody judged: these have no cells at all.
    assert (found["cost"], found["quality"], found["preference"]) == ({}, {}, {})
    human, machine = found["creativity"]["novel instructions (ROUGE-L <= 0.7)"]
    assert human < machine


ROWS = [
    {"instruction": "Name a colour.", "input": "", "output": "Red is a colour."},
    {"instruction": "Name a colour, please.", "input": "", "output": "Blue. It is a colour."},
    {"instruction": "How far is the moon?", "input": "", "output": ""},
]


def test_small_tables_equal_their_definitions(tmp_path: Path) -> None:
    sides = [ROWS, [*ROWS[:1], *ROWS[1:]][::-1]]
    runs = [opened(rows, tmp_path / str(number)) for number, rows in enumerate(sides)]
    found = dataset_table(*map(as_dataset, runs))
    expected = recomputed(sides, [[row.id for row in run.kept] for run in runs])
    for group, cells in expected.items():
        for name, values in cells.items():
            if found[group].get(name) is not None:
                assert found[group][name] == pytest.approx(values, rel=1e-9), name


def test_a_run_that_asked_and_judged_has_costs_and_qualities(tmp_path: Path) -> None:
    judged = opened(ROWS[:2], tmp_path / "judged", Style(label="reward", feature="words"))
    requests = {"sent": 2, "replayed": 0, "failed": 0, "retried": 0}
    summary = {
        "requests": requests,
        "tokens": {"input": 50, "output": 9},
        "cost_usd": 0.5,
        "steps": [{"label": "reward", "name": "reward_score"}, {"label": "x", "name": "no_such"}],
        "figures": {"rank": {"orders agree": 0.75, "rows": 2.0}},
    }
    plain = opened(ROWS[:2], tmp_path / "plain")
    found = dataset_table(as_dataset(judged, **summary), as_dataset(plain))
    assert found["cost"] == {
        "requests": [2, None],
        "input tokens": [50, None],
        "output tokens": [9, None],
        "USD": [0.5, None],
        "USD per 1,000 rows": [250, None],
    }
    assert found["quality"] == {"reward, mean": [4.5, None], "reward, spread": [0.5, None]}
    assert found["preference"] == {"rank: orders agree": [0.75, None]}


def test_pairs_and_votes_tell_of_preference(tmp_path: Path) -> None:
    pairs = [
        {"prompt": "q", "chosen": "a b c", "rejected": "a"},
        {"prompt": "r", "chosen": "a", "rejected": "b"},
        {"prompt": "s", "chosen": "a", "rejected": "b c"},
    ]
    votes = [
        {"instruction": "q", "input": "", "response1": "a", "response2": "b"}
        | {"annotator1": 1, "annotator2": 1, "annotator3": 2},
        {"instruction": "r", "input": "", "response1": "a", "response2": "b"}
        | {"annotator1": 2, "annotator2": 2, "annotator3": 2},
    ]
    one, two = opened(pairs, tmp_path / "pairs"), opened(votes, tmp_path / "votes")
    found = dataset_table(as_dataset(one), as_dataset(two))
    assert found["preference"] == {
        "longer answer chosen, share of pairs": [0.5, None],
        "annotators agree, share of pairs of votes": [None, pytest.approx(4 / 6)],
    }
    assert found["quality"] == {"best candidate's score, mean": [None, pytest.approx(5 / 6)]}
    assert found["scale"]["preference rows"] == [3, None]
    assert found["scale"]["ranked rows"] == [None, 2]


def test_one_rule_says_which_steps_judge(tmp_path: Path) -> None:
    from curate.recipe.catalog import is_judge, usable

    judges = {cls.name for cls in usable()[0] if is_judge(cls)}
    assert judges >= {"rubric", "alpagasus", "reward_score", "safety", "scar", "ensemble", "rank"}
    assert judges >= {"prefer", "constitutional_prefer", "rlaif_prefer", "deita_joint"}
    measured = {"style", "style_distance", "length", "pairs", "aggregate", "unpack", "semantic"}
    assert not judges & {*measured, "evolve", "magpie", "self_instruct"}
    # A judge that decides on the whole dataset is warned of as one that decides on single rows is.
    script = tmp_path / "ranker.jsonl"
    script.write_text(json.dumps({"when": {}, "values": [1.5]}))
    rows = [{"instruction": f"q {n}?", "output": f"a {n}"} for n in range(20)]
    step = Scar(model="ranker")
    done = Pipeline([step], models={"ranker": f"scripted:{script}"}).run(
        rows, run=tmp_path / "run", store=tmp_path / "store"
    )
    assert "20 of 20 scores (100%) of 'scar' are 1.5" in done.summary["steps"][0]["remarks"][0]
    assert as_dataset(done).quality() == {"scar, mean": 1.5, "scar, spread": 0.0}
