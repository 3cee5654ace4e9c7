"""Exact, near and semantic against another dataset, through the engine."""

from __future__ import annotations

import json
import math

import faiss
import numpy as np
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.errors import InputError, StoppedShort, UsageError
from curate.pipeline import Pipeline
from curate.steps import Length
from curate.steps.dedup.exact import Exact
from curate.steps.dedup.near import Near
from curate.steps.dedup.semantic import Semantic
from curate.store.faiss_index import VectorIndex, write_index

FOX = "the quick brown fox jumps over the lazy dog and runs away home"
# What the recorded encoder makes of a text with this word in it: an angle.
ANGLES = {"fox": 0, "vixen": 10, "fennec": 20, "cat": 90}


def write(path, texts):
    path.write_text("".join(json.dumps({"instruction": t, "output": ""}) + "\n" for t in texts))
    return str(path)


@pytest.fixture
def run(tmp_path):
    lines = [
        {
            "when": {"contains": word},
            "values": [[math.cos(math.radians(a)), math.sin(math.radians(a))]],
        }
        for word, a in ANGLES.items()
    ]
    vectors = tmp_path / "vectors.jsonl"
    vectors.write_text("".join(json.dumps(line) + "\n" for line in lines))
    encoders = {"e": {"model": f"scripted:{vectors}", "log": str(tmp_path / "sent.log")}}

    def run(step, texts, **options):
        rows = [{"instruction": text, "output": ""} for text in texts]
        pipeline = Pipeline([step], encoders=encoders if step.embeds() else None)
        options = {"run": tmp_path / "run", "store": tmp_path / "store", **options}
        return pipeline.run(rows, **options)

    return run


STEPS = [
    (Exact(against="", on="instruction", ignore_case=True), FOX.upper(), 1.0),
    (Near(against="", on="instruction"), FOX + " again", 11 / 12),
    (Semantic(against="", on="instruction"), "a vixen", math.cos(math.radians(10))),
]


@pytest.mark.parametrize("where", ["file", "run"])
@pytest.mark.parametrize(("step", "text", "score"), STEPS, ids=["exact", "near", "semantic"])
def test_a_row_of_another_dataset_is_dropped_with_file_and_record(
    step, text, score, where, run, tmp_path
):
    others = place = write(
        tmp_path / "test.jsonl", ["a cat is here", FOX, FOX + " again and again"]
    )
    if where == "run":
        # Of a run only the kept rows count: the longest text is none of them.
        others = str(tmp_path / "before")
        Pipeline([Length(max=16)]).run(place, run=others, store=tmp_path / "store")
        place = f"{others}/kept/sft/part-00000.parquet"
    step = type(step)(**{**step.fields(), "against": others})
    result = run(step, [text, "a cat was there", "a cat was there", text])
    reasons = result.summary["steps"][0]["reasons"]
    leak = next(reason for reason in reasons if others in reason)
    for row in result.dropped:
        (event,) = result.explain(row.id).events
        if event["reason"] == leak and row.instruction == text:
            assert event["detail"] == {"against": f"{place}:2"}
            assert event["score"] == pytest.approx(score, abs=1e-7)
            assert event["partner"] is None
    # Copies of a leaked row are leaks themselves, and not duplicates of a row that is not kept.
    assert reasons[leak] == (4 if step.name == "semantic" else 2)
    assert result.summary["kept"] == 4 - sum(reasons.values())


@pytest.mark.parametrize("keep", ["first", "longest"])
@pytest.mark.parametrize("kind", [Exact, Near])
def test_a_row_that_is_elsewhere_is_no_witness(kind, keep, run, tmp_path):
    others = write(tmp_path / "test.jsonl", [FOX + " x y"])
    rows = [FOX + " x y", FOX + " x", FOX, FOX]
    result = run(kind(against=others, on="instruction", keep=keep, **(
        {"similarity": 0.9} if kind is Near else {})), rows)  # fmt: skip
    kept = [row.instruction for row in result.kept]
    assert kept == ([FOX + " x", FOX] if kind is Exact else [FOX])


def test_a_row_near_to_one_that_is_elsewhere_stays(run, tmp_path):
    """With the test set the rows share 12 and 11 of 13 shingles, with each other 11 of 12.

    So only the leaked one could make the other a duplicate, and it is not kept.
    """
    others = write(tmp_path / "test.jsonl", [FOX + " x y"])
    for keep in ("first", "longest"):
        step = Near(against=others, on="instruction", similarity=0.9, keep=keep)
        result = run(step, [FOX + " x", FOX], run=tmp_path / keep)
        assert [row.instruction for row in result.kept] == [FOX]
        assert result.summary["steps"][0]["reasons"] == {f"near duplicate of {others}": 1}


@pytest.mark.parametrize("keep", ["first", "longest"])
@pytest.mark.parametrize("floor", [0.8, 0.99], ids=["stored neighbours", "searched again"])
def test_a_row_like_one_that_is_elsewhere_stays(keep, floor, run, tmp_path):
    """The fennec resembles the vixen, which stands in the test set; with the fox it does not."""
    others = write(tmp_path / "test.jsonl", ["a fox"])
    step = Semantic(against=others, on="instruction", similarity=0.98, floor=floor, keep=keep)
    result = run(step, ["one long vixen", "a fennec", "the fennec"])
    assert [row.instruction for row in result.kept] == [
        "a fennec" if keep == "first" else "the fennec"
    ]
    reasons = result.summary["steps"][0]["reasons"]
    assert reasons == {f"semantic duplicate of {others}": 1, "semantic duplicate": 1}
    twin = next(row for row in result.dropped if "fennec" in row.instruction)
    assert result.explain(twin.id).events[0]["partner"] == next(iter(result.kept)).id


def test_other_rows_are_not_compared_with_each_other(run, tmp_path):
    # Both are near to one another, and only the second one is near to the row.
    others = write(tmp_path / "test.jsonl", [FOX + " a", FOX + " a b"])
    result = run(Near(against=others, on="instruction", similarity=0.9), [FOX + " a b c"])
    assert result.summary["dropped"] == 1


def test_changed_content_needs_another_run_folder(run, tmp_path):
    path = tmp_path / "test.jsonl"
    step = Exact(against=write(path, [FOX]), on="instruction")
    assert run(step, [FOX, "b"]).summary["kept"] == 1
    write(path, ["b"])
    with pytest.raises(UsageError):
        run(step, [FOX, "b"])
    assert [row.instruction for row in run(step, [FOX, "b"], replace=True).kept] == [FOX]


def test_a_dataset_that_is_not_there_costs_nothing(run, tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.jsonl"):
        run(Semantic(against=str(tmp_path / "nowhere.jsonl")), [FOX])
    assert not (tmp_path / "sent.log").exists()


def test_a_line_of_it_that_cannot_be_read_stops_the_run(run, tmp_path):
    path = tmp_path / "test.jsonl"
    write(path, [FOX])
    path.write_text(path.read_text() + "{broken\n")
    with pytest.raises(StoppedShort, match=r"test\.jsonl:2 of against cannot be read"):
        run(Exact(against=str(path)), [FOX])


def test_a_row_of_it_without_a_vector_stops_the_run(run, tmp_path):
    others = write(tmp_path / "test.jsonl", ["a cat", "a dog that no line answers"])
    with pytest.raises(StoppedShort, match="1 rows of against cannot be compared"):
        run(Semantic(against=others, on="instruction"), ["a cat"])


def test_a_changed_threshold_asks_and_searches_nothing(run, tmp_path, monkeypatch):
    from curate.kernels.vectors import dedup

    others = write(tmp_path / "test.jsonl", ["a fox"])
    step = Semantic(against=others, on="instruction", similarity=0.99)
    assert run(step, ["a vixen", "a cat"]).summary["kept"] == 2
    sent = (tmp_path / "sent.log").read_text()
    for name in ("closest_other", "AllPairs", "IVFIndex"):
        monkeypatch.setattr(dedup, name, None)
    step = Semantic(against=others, on="instruction", similarity=0.9)
    again = run(step, ["a vixen", "a cat"], run=tmp_path / "again")
    assert again.summary["kept"] == 1
    assert (tmp_path / "sent.log").read_text() == sent


# -- a FAISS index --------------------------------------------------------------------------------


def team_index(folder, texts, kind=faiss.IndexFlatIP, ids=None):
    """Write an index as a team does that uses FAISS itself, with ids beside it."""
    angles = np.radians([ANGLES[text] for text in texts])
    index = kind(2)
    index.add(np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32))
    path = folder / "team.faiss"
    faiss.write_index(index, str(path))
    if ids:
        (folder / "team.ids.txt").write_text("".join(f"{one}\n" for one in ids))
    return str(path)


@pytest.mark.parametrize("ids", [None, ["doc-a", "doc-b"]])
@pytest.mark.parametrize("kind", [faiss.IndexFlatIP, faiss.IndexFlatL2])
def test_an_index_made_by_faiss_itself_is_compared_with(kind, ids, run, tmp_path):
    path = team_index(tmp_path, ["cat", "fox"], kind, ids)
    result = run(
        Semantic(against=path, on="instruction"), ["a vixen", "a cat", "no text of it"[:0]]
    )
    found = {row.instruction: result.explain(row.id).events[0] for row in result.dropped}
    first, second = ids or ["1", "2"]
    assert found["a vixen"]["detail"] == {"against": f"{path}:{second}"}
    assert found["a vixen"]["score"] == pytest.approx(math.cos(math.radians(10)), abs=1e-7)
    assert found["a cat"]["detail"] == {"against": f"{path}:{first}"}
    assert found["a cat"]["score"] == 1.0
    assert result.summary["kept"] == 1, "an empty text is near to nothing"


def test_an_index_of_a_run_says_what_the_run_itself_says(run, tmp_path):
    old = run(Semantic(on="instruction"), ["a fox"], run=tmp_path / "old")
    done = CliRunner().invoke(
        app, ["export", str(old.folder), "--as", "faiss", "-o", str(tmp_path / "index")]
    )
    assert done.output == f"1 vectors written to {tmp_path / 'index'}\n"
    about = json.loads((tmp_path / "index" / "index.json").read_text())
    assert about["on"] == "instruction" and about["rows"] == 1 and about["dimensions"] == 2
    texts, sent = ["a vixen", "a cat"], (tmp_path / "sent.log").read_text()
    by_index = run(Semantic(against=str(tmp_path / "index"), on="instruction"), texts)
    (row,) = by_index.dropped
    kept_id = next(iter(old.kept)).id
    (event,) = by_index.explain(row.id).events
    assert event["detail"] == {"against": f"{tmp_path / 'index'}:{kept_id}"}
    assert (tmp_path / "sent.log").read_text().count("fox") == sent.count("fox"), (
        "it is in the store"
    )
    by_rows = run(
        Semantic(against=write(tmp_path / "rows.jsonl", ["a fox"]), on="instruction"),
        texts,
        run=tmp_path / "by-rows",
    )
    assert [row.id for row in by_rows.kept] == [row.id for row in by_index.kept]


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (
            lambda folder: (folder / "team.faiss").write_bytes(b"no index"),
            "cannot be read as a FAISS",
        ),
        (lambda folder: (folder / "team.faiss").unlink(), "is not there; name a file .faiss"),
        (
            lambda folder: (folder / "team.ids.txt").write_text("one\n"),
            "2 vectors, and team.ids.txt 1",
        ),
        (
            lambda folder: faiss.write_index(
                faiss.IndexScalarQuantizer(2, faiss.ScalarQuantizer.QT_8bit),
                str(folder / "team.faiss"),
            ),
            "IndexScalarQuantizer, which does not store the original vectors; allowed are flat",
        ),
    ],
    ids=["damaged", "absent", "ids", "compressed"],
)
def test_an_index_that_cannot_be_compared_is_refused_before_anything_is_sent(
    break_it, said, run, tmp_path
):
    path = team_index(tmp_path, ["cat", "fox"])
    break_it(tmp_path)
    with pytest.raises(UsageError, match=said):
        run(Semantic(against=path, on="instruction"), ["a vixen"])
    assert not (tmp_path / "sent.log").exists()


def test_vectors_of_another_encoder_are_refused(run, tmp_path):
    index = VectorIndex(np.eye(2), ["a", "b"], {"encoder": "x", "identity": "hf:other"})
    write_index(tmp_path / "index", index)
    with pytest.raises(UsageError, match="are of the encoder hf:other, those of the step of"):
        run(Semantic(against=str(tmp_path / "index"), on="instruction"), ["a vixen"])
    write_index(tmp_path / "wide", VectorIndex(np.eye(3), ["a", "b", "c"], {}))
    with pytest.raises(
        UsageError, match="of against have 3 numbers, those of the step's encoder 2"
    ):
        run(
            Semantic(against=str(tmp_path / "wide"), on="instruction"),
            ["a cat"],
            run=tmp_path / "w",
        )


def test_near_compares_no_vectors(run, tmp_path):
    path = team_index(tmp_path, ["cat", "fox"])
    with pytest.raises(UsageError, match="compares no vectors; `semantic` does"):
        run(Near(against=path, on="instruction"), [FOX])
