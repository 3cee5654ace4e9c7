"""The training of a style ranker: what it learns, what it leaves, and how it goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from curate.errors import StoppedShort, UsageError
from curate.models.inprocess.style_ranker import load_ranker, tokenized
from curate.models.inprocess.transformer import padded
from curate.train import ranker
from curate.train.job import RankerJob
from curate.train.ranker import prepare_ranker, rate_at, train_ranker
from curate.train.settings import ranker_settings_for
from tests.models import tiny
from tests.train import planted


def job_of(tmp_path: Path, count: int = 30, out: str = "out", **changes: Any) -> RankerJob:
    if not (tmp_path / "encoder").exists():
        tiny.save_encoder(tmp_path / "encoder", planted.WORDS)
    data = tmp_path / "triples.jsonl"
    data.write_text("\n".join(json.dumps(planted.record(n)) for n in range(count)))
    given = {"learning_rate": 3e-3, "epochs": 2, "width": 16, "batch_size": 8, **changes}
    settings = ranker_settings_for(None, **given)
    return RankerJob(settings, str(data), str(tmp_path / "encoder"), tmp_path / out)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_a_training_leaves_a_ranker_curves_and_a_card(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    told: list[Any] = []
    report = train_ranker(job, prepare_ranker(job), told.append)
    assert [one.step for one in told] == [1, 2, 3, 4, 5, 6]
    assert told[-1].seconds_left == 0
    assert {"loss", "direct_human", "form", "surprisal"} <= told[0].metrics.keys()
    assert report["steps"] == 6
    assert report["best_step"] in (3, 6)
    assert report["figures"]["train triples"] == 24
    assert report["settings"]["quality"] == [5.0, 10.0]
    card = (job.out / "README.md").read_text()
    assert "quality between [5.0, 10.0]" in card
    assert f"--model scar:{job.out}" in card
    assert (job.out / "curves.csv").read_text().startswith("step,")
    load_ranker(str(job.out))


def test_the_same_command_does_nothing_twice_and_another_is_refused(tmp_path: Path) -> None:
    job = job_of(tmp_path)
    train_ranker(job, prepare_ranker(job))
    stamp = (job.out / "report.json").stat().st_mtime_ns
    train_ranker(job, prepare_ranker(job))
    assert (job.out / "report.json").stat().st_mtime_ns == stamp
    other = job_of(tmp_path, margin=0.4)
    with pytest.raises(UsageError, match=r"holds another training \(other settings\)"):
        train_ranker(other, prepare_ranker(other))
    replaced = dataclasses.replace(other, replace=True)
    assert train_ranker(replaced, prepare_ranker(replaced))["settings"]["margin"] == 0.4


@pytest.mark.parametrize("freeze", [False, True])
def test_a_killed_training_goes_on_to_the_same_weights(
    freeze: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = job_of(tmp_path, out="whole", freeze=freeze, every=2)
    train_ranker(whole, prepare_ranker(whole))
    job = job_of(tmp_path, freeze=freeze, every=2)
    step = ranker.RankerLoop._step

    def killed(self: Any, triples: Any) -> Any:
        if self.progress.step == 5:
            raise KeyboardInterrupt
        return step(self, triples)

    with monkeypatch.context() as patch:
        patch.setattr(ranker.RankerLoop, "_step", killed)
        with pytest.raises(KeyboardInterrupt):
            train_ranker(job, prepare_ranker(job))
    assert not (job.out / "report.json").exists()
    # A checkpoint that was broken off has no state, and counts for nothing.
    (job.out / "checkpoints" / "checkpoint-5").mkdir()
    report = train_ranker(job, prepare_ranker(job))
    assert report["resumed"] == "checkpoint-4"
    one, two = weights(whole.out), weights(job.out)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    first = json.loads((whole.out / "report.json").read_text())
    assert (report["before"], report["after"]) == (first["before"], first["after"])


def test_a_frozen_encoder_stays_as_it_was(tmp_path: Path) -> None:
    job = job_of(tmp_path, freeze=True)
    train_ranker(job, prepare_ranker(job))
    given, trained = weights(tmp_path / "encoder"), weights(job.out)
    same = [torch.equal(trained[f"encoder.{n}"], v) for n, v in given.items() if "pooler" not in n]
    assert same
    assert all(same)
    job = job_of(tmp_path, out="whole")
    train_ranker(job, prepare_ranker(job))
    trained = weights(job.out)
    assert not torch.equal(
        trained["encoder.encoder.layer.0.output.dense.weight"],
        given["encoder.layer.0.output.dense.weight"],
    )


def test_a_loss_that_is_no_number_stops_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path)
    found = ranker.ranker_loss

    def broken(*given: Any) -> Any:
        return found(*given)._replace(total=torch.tensor(float("nan")))

    monkeypatch.setattr(ranker, "ranker_loss", broken)
    with pytest.raises(StoppedShort, match=r"the loss of step 1 is nan.*Lower learning_rate"):
        train_ranker(job, prepare_ranker(job))


def test_the_rate_rises_and_falls_linearly() -> None:
    rates = [rate_at(step, 20, 0.1) for step in range(20)]
    assert rates[:4] == [0.0, 0.5, 1.0, 17 / 18]
    assert rates[-1] == pytest.approx(1 / 18)
    assert rate_at(0, 5, 0.0) == 1.0


def trained_on(tmp_path: Path, out: str, count: int, **changes: Any) -> tuple[Any, Path]:
    """Return the shares of a ranker on the test side that are in order, and its folder."""
    given = {"batch_size": 16, "width": 32, **changes}
    job = job_of(tmp_path, count, out, **given)
    return train_ranker(job, prepare_ranker(job))["after"], job.out


def encoder_without_dropout(folder: Path) -> None:
    off = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    tiny.save_encoder(folder / "encoder", planted.WORDS, **off)


@pytest.mark.slow
def test_planted_form_and_surprisal_are_both_learnt(tmp_path: Path) -> None:
    encoder_without_dropout(tmp_path)
    # With 400 triples and 3e-3 the ordering by surprisal was learnt by some seeds and thread counts
    # only; so many triples were learnt by ten of ten.
    after, folder = trained_on(tmp_path, "full", 1_200, epochs=20, learning_rate=2e-3)
    shares = (*ranker.ORDERINGS, "form_triplets", "surprisal_triplets")
    assert min(after[name] for name in shares) > 0.95
    # What no triple holds, a person's form with the topic asked for, has its place too.
    model, tokenizer = load_ranker(str(folder))
    better = {"direct": 0, "human": 0}
    for seed in range(1_000, 1_100):
        record = planted.record(seed)
        texts = {one["origin"]: one["messages"][0]["content"] for one in record["candidates"]}
        flat = [record["prompt"][0]["content"], texts["direct"], record["odd"], texts["human"]]
        ids, mask = padded([t.ids for t in tokenized(tokenizer, flat, 64)], 0, "cpu", left=False)
        with torch.no_grad():
            read = model.encode(ids, mask)
            answers = ranker.Encoded(read.cls[1:], read.form[1:])
            direct, odd, human = model.style(read.cls[:1].expand(3, -1), answers).score.tolist()
        better["direct"] += direct > odd
        better["human"] += odd > human
    assert better["direct"] >= 95
    assert better["human"] >= 95


# All terms of the loss that carry one of the two, direct over human included, which carries both.
CARRIES = {
    "form": {"orderings": ["direct_referenced"], "triplets": ["surprisal"]},
    "surprisal": {"orderings": ["referenced_human"], "triplets": ["form"]},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "ordering", "other"),
    [
        ("form", "referenced_human", "surprisal"),
        ("surprisal", "direct_referenced", "form"),
    ],
)
def test_without_its_losses_neither_is_learnt(
    lost: str, ordering: str, other: str, tmp_path: Path
) -> None:
    encoder_without_dropout(tmp_path)
    whole = {"epochs": 10, "learning_rate": 3e-3, "test": 0.2}
    full, _ = trained_on(tmp_path, "full", 500, **whole)
    assert min(full[f"{name}_triplets"] for name in CARRIES) > 0.95
    after, _ = trained_on(tmp_path, "less", 500, **whole, **CARRIES[lost])
    # Neither the vectors nor the scores tell what was left out; the other one is learnt as before.
    assert after[f"{lost}_triplets"] < 0.85
    assert after[ordering] < 0.75
    assert after[f"{other}_triplets"] > 0.95
