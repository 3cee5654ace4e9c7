"""SCAR's ranking: one rule of three, ties to the earlier row, another rule asks nothing."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate import Pipeline
from curate.ask import Reply
from curate.errors import RecipeError
from curate.steps.score.scar import Scar
from tests.models import tiny

SCORES = [0.5, -1.0, 2.0, 0.5, 0.25]


def decided(step: Scar):
    cut = [[], [1], [], [0, 1], []]
    table = pa.table({"score": SCORES, "cut": pa.array(cut, pa.list_(pa.int64()))})
    return step.decide(np.arange(5), table)


@pytest.mark.parametrize(
    ("rules", "places"),
    [
        ({"count": 2}, [0, 2]),
        ({"count": 3}, [0, 2, 3]),
        # Two fifths of five, and a share that is rounded down.
        ({"share": 0.4}, [0, 2]),
        ({"share": 0.59}, [0, 2]),
        ({"share": 0.01}, [2]),
        ({"at_least": 0.5}, [0, 2, 3]),
        ({}, [0, 1, 2, 3, 4]),
    ],
)
def test_one_rule_decides(rules, places):
    verdicts = decided(Scar(model="m", **rules))
    assert np.flatnonzero(np.asarray(verdicts.code) < 0).tolist() == places
    assert verdicts.score.tolist() == SCORES


def test_what_was_cut_is_said():
    verdicts = decided(Scar(model="m", count=1))
    assert verdicts.details[1] == {"cut": ["response"]}
    assert verdicts.details[3] == {"cut": ["instruction", "response"]}
    assert verdicts.figures["texts cut"] == 3
    assert verdicts.figures["mean score, kept"] == 2.0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "model must name"),
        ({"model": "m", "count": 2, "share": 0.5}, "count"),
        ({"model": "m", "count": 2, "at_least": 0.5}, "one of the three decides"),
    ],
)
def test_two_rules_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Scar(**fields).check()


def test_the_whole_conversation_is_asked_about(conversation):
    row = conversation("Why?", "Because.", "Really?", "Yes.")
    asking = Scar(model="m").sketch(row)
    asked = next(asking)
    with pytest.raises(StopIteration) as end:
        asking.send(Reply(values=(1.5,), cut=(1,)))
    assert [turn.content for turn in asked.messages] == ["Why?", "Because.", "Really?", "Yes."]
    assert end.value.value == {"score": 1.5, "cut": [1]}


@pytest.fixture(scope="module")
def ranker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    import torch

    from curate.models.inprocess.style_ranker import RankerShape, new_ranker, save_ranker

    folder = tmp_path_factory.mktemp("ranker")
    tiny.save_encoder(folder / "encoder", "a b c d e f g h i j k l m n o p")
    torch.manual_seed(1)
    save_ranker(*new_ranker(str(folder / "encoder"), RankerShape(width=8)), folder / "ranker")
    return folder / "ranker"


def rows(count: int) -> list[dict[str, str]]:
    letters = "abcdefghijklmnop"
    return [
        {"prompt": f"{letters[n % 16]} {letters[n % 5]}",
         "completion": " ".join(letters[(n * k) % 16] for k in range(1, 2 + n % 9))}
        for n in range(count)
    ]  # fmt: skip


def test_ranking_is_the_same_for_every_batch_and_another_rule_asks_nothing(ranker, tmp_path):
    def run(name: str, size: int, **rules):
        spec = {"model": f"scar:{ranker}", "batch_size": size, "threads": 1}
        pipeline = Pipeline([Scar(model="ranker", **rules)], models={"ranker": spec})
        done = pipeline.run(rows(50), store=tmp_path / "store", run=tmp_path / name)
        return done, [row.scores["scar"] for row in done.kept]

    whole, scores = run("all", 7)
    assert whole.summary["kept"] == 50
    assert whole.summary["requests"]["sent"] > 0
    half, _ = run("half", 7, share=0.5)
    assert half.summary["requests"]["sent"] == 0
    assert half.summary["kept"] == 25
    best = sorted(scores, reverse=True)[:25]
    assert min(row.scores["scar"] for row in half.kept) == best[-1]
    # 50 rows in batches of 7 end with a batch of one.
    for size in (1, 50):
        spec = {"model": f"scar:{ranker}", "batch_size": size, "threads": 1}
        pipeline = Pipeline([Scar(model="ranker")], models={"ranker": spec})
        again = pipeline.run(rows(50), store=tmp_path / f"s{size}", run=tmp_path / f"r{size}")
        assert [row.scores["scar"] for row in again.kept] == scores


def test_a_row_that_cannot_be_ranked_fails_alone(ranker, tmp_path):
    pipeline = Pipeline([Scar(model="ranker", count=1)], models={"ranker": f"scar:{ranker}"})
    given = [*rows(3), {"prompt": "a", "completion": ""}]
    done = pipeline.run(given, store=tmp_path / "s", run=tmp_path / "r", allow_failed=1.0)
    assert (done.summary["kept"], done.summary["dropped"], done.summary["failed"]) == (1, 2, 1)
    (failed,) = done.failed
    assert "the answer is empty" in str(done.explain(failed.id))


def test_another_kind_of_request_is_refused_before_anything_is_loaded(ranker, tmp_path):
    from curate.steps import Respond

    pipeline = Pipeline([Respond(model="ranker")], models={"ranker": f"scar:{ranker}"})
    with pytest.raises(RecipeError, match="reward"):
        pipeline.run([{"prompt": "a"}], store=tmp_path / "s", run=tmp_path / "r")
