"""The selecting steps over vectors: whom they keep, what they say of the others."""

import json

import numpy as np
import pytest

from curate import select
from curate.pipeline import Pipeline
from curate.steps.select.cluster import Cluster
from curate.steps.select.dpp import Dpp
from curate.steps.select.facility_location import FacilityLocation
from curate.steps.select.instag_cover import InstagCover
from curate.steps.select.k_center import KCenter
from curate.steps.select.qdit import Qdit
from curate.steps.select.repr_filter import ReprFilter
from tests.steps.select.deciding import around, decide, kept

CHOOSING = [KCenter, FacilityLocation, Qdit, Dpp, Cluster]


def made(cls, **values):
    by = {"by": "judge"} if cls is Qdit else {}
    return cls(**by, **values)


@pytest.mark.parametrize("cls", CHOOSING)
def test_without_an_amount_nothing_is_dropped(cls):
    assert kept(decide(made(cls), [*around(0, 10), [0, 0]], [1, 2, 3])) == [0, 1, 2]


@pytest.mark.parametrize("cls", CHOOSING)
@pytest.mark.parametrize(("amount", "many"), [({"count": 0}, 0), ({"count": 2}, 2),
                                              ({"share": 0.5}, 2), ({"count": 9}, 5)])  # fmt: skip
def test_an_amount_keeps_so_many_and_names_the_closest_kept_row(cls, amount, many):
    vectors = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    vectors[2] = 0
    verdicts = decide(made(cls, **amount), vectors, [1, 2, 3, 4, 5, 6])
    share = "share" in amount
    assert len(kept(verdicts)) == (3 if share else many)
    assert verdicts.code[2] == 1 and verdicts.partner[2] == -1
    for row in np.flatnonzero(verdicts.code == 0).tolist():
        if not kept(verdicts):
            assert verdicts.partner[row] == -1
            continue
        found = select.nearest_chosen(vectors, kept(verdicts))
        assert verdicts.score[row] == found.cosine[row]
        assert verdicts.partner[row] in kept(verdicts)
    places = [verdicts.details[row]["place"] for row in kept(verdicts)]
    assert sorted(places) == list(range(1, len(places) + 1))
    wanted = f"{amount['share']} share" if share else f"{amount['count']} rows"
    assert verdicts.reasons == (f"not among the {wanted} chosen", "no text to compare")


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (Qdit(), "by must name"),
        (Qdit(by="a", alpha=1.1), "alpha is from 0"),
        (Qdit(by="a", neighbours=0), "neighbours is at least 1"),
        (FacilityLocation(neighbours=0), "neighbours is at least 1"),
        (KCenter(count=1, share=0.5), "count or share, not both"),
        (Dpp(share=2), "share is a number"),
        (Cluster(clusters=0), "clusters is at least 1"),
        (Cluster(seed=-1), "seed is a number"),
        (ReprFilter(), "by must name"),
        (ReprFilter(by="a", similarity=1.0), "similarity is above 0"),
        (InstagCover(count=-1), "must not be negative"),
    ],
)
def test_contradictions_are_refused(step, message):
    with pytest.raises(ValueError, match=message):
        step.check()


def test_a_count_is_a_rule_and_what_changes_the_choice_is_none():
    assert KCenter(count=3).fingerprint() == KCenter().fingerprint()
    assert Qdit(by="a", alpha=0.5).fingerprint() != Qdit(by="a").fingerprint()


def test_the_witness_is_written_and_another_count_embeds_nothing(tmp_path):
    texts = {"north": 0, "nearly north": 10, "east": 90, "south": 180}
    file, log = tmp_path / "vectors.jsonl", tmp_path / "sent.log"
    file.write_text(
        "".join(
            json.dumps({"when": {"contains": text}, "values": around(texts[text])}) + "\n"
            for text in sorted(texts, key=len, reverse=True)
        )
    )
    rows = [{"instruction": text, "output": "yes"} for text in texts]

    def run(count):
        step = KCenter(on="instruction", count=count)
        pipeline = Pipeline([step], encoders={"e": {"model": f"scripted:{file}", "log": str(log)}})
        result = pipeline.run(rows, run=tmp_path / str(count), store=tmp_path / "store")
        return result, log.read_text()

    result, sent = run(2)
    kept_ids = {row.instruction: row.id for row in result.kept}
    assert len(kept_ids) == 2
    for one in result.dropped:
        (event,) = result.explain(one.id).events
        assert event["reason"] == "not among the 2 rows chosen"
        assert event["partner"] in kept_ids.values()
    more, sent_then = run(3)
    assert kept_ids.keys() < {row.instruction for row in more.kept}
    assert sent_then == sent
