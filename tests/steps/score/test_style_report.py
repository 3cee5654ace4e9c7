"""The report of styles: two dimensions per source, and every row's place on the map."""

import json
import random

import numpy as np
import pytest

from curate import Pipeline
from curate.kernels.text.style_features import FEATURES, style_counts, style_features
from curate.steps.score.style_report import FORM, StyleReport

PLAIN = "The {} cat sat on the mat. The {} dog ran to the {} house, and it was {} happy."
ORNATE = "- **Considerable** {} sophistication; notwithstanding {}!\n# {} {}"
WORDS = ["big", "small", "red", "very", "old", "quite", "young", "odd"]


def texts_of(form, count, seed, most=1):
    draw = random.Random(seed)
    return [
        " ".join(form.format(*draw.choices(WORDS, k=4)) for _ in range(draw.randint(1, most)))
        for _ in range(count)
    ]


def sourced(conversation, texts, source, start=0, scores=None):
    return [
        conversation("q", text)._replace(
            source=source,
            id=f"{start + n:032x}",
            seq=(0, 0, start + n),
            scores={} if scores is None else {"surprisal": scores[n]},
        )
        for n, text in enumerate(texts)
    ]


def spread_of(values):
    """Return the variance of each column over the rows that have it; NaN with less than two."""
    known = [column[~np.isnan(column)] for column in values.T]
    return np.array([column.var() if len(column) > 1 else np.nan for column in known])


@pytest.fixture
def rows(conversation):
    human = texts_of(PLAIN, 20, 1, 3) + texts_of(ORNATE, 20, 2, 3)
    machine = texts_of(PLAIN, 40, 3, 3)
    draw = random.Random(4)
    scores = [draw.gauss(2, 1) for _ in human], [draw.gauss(1, 0.1) for _ in machine]
    return [
        *sourced(conversation, human, "human", 0, scores[0]),
        *sourced(conversation, machine, "machine", 40, scores[1]),
    ]


def test_figures_are_those_of_a_slow_count(rows, decide):
    step = StyleReport(by="surprisal", control_length=False)
    assert step.reads_scores() == ("surprisal",)
    verdicts = decide(step, rows)
    found = verdicts.figures
    assert (verdicts.code == -1).all()
    counts = np.array([style_counts(row.response) for row in rows])
    values = style_features(counts, 50)
    whole = spread_of(values[:, 1:])
    for source, own in (("human", values[:40]), ("machine", values[40:])):
        for place, name in enumerate(FEATURES):
            known = own[~np.isnan(own[:, place]), place]
            assert found[f"{source}: {name}"] == pytest.approx(known.mean())
            assert found[f"{source}: {name}, spread"] == pytest.approx(known.std())
        ratios = spread_of(own[:, 1:])[whole > 0] / whole[whole > 0]
        ratios = ratios[~np.isnan(ratios)]
        assert found[f"{source}: form spread"] == pytest.approx(np.sqrt(ratios.mean()))
        assert found[f"{source}: form consistency"] == pytest.approx(1 - ratios.mean())
    surprisal = np.array([row.scores["surprisal"] for row in rows])
    expected = 1 - surprisal[40:].var() / surprisal.var()
    assert found["machine: surprisal consistency"] == pytest.approx(expected)
    assert found["machine: surprisal"] == pytest.approx(surprisal[40:].mean())


def test_the_source_that_mixes_two_forms_is_the_less_consistent(rows, decide):
    for control in (True, False):
        found = decide(StyleReport(by="surprisal", control_length=control), rows).figures
        assert found["machine: form consistency"] > 0.3 > 0.1 > found["human: form consistency"]
        assert found["machine: surprisal consistency"] > 0.9
        # The second form is shorter than every text of the machine: it has no length in common.
        assert found["human: lengths in common"] == pytest.approx(
            found["machine: lengths in common"]
        )
        gap = found["human: form spread"] - found["machine: form spread"]
        fair = "form spread, same lengths"
        assert found[f"human: {fair}"] - found[f"machine: {fair}"] < gap


def test_a_source_that_only_varies_in_length_is_not_less_consistent(conversation, decide):
    # Both repeat the same sentences; the first has answers of one to nine of them.
    long = texts_of(PLAIN, 150, 5, 9)
    short = texts_of(PLAIN, 150, 6, 2)
    rows = sourced(conversation, long, "long") + sourced(conversation, short, "short", 150)
    raw, fair = (decide(StyleReport(control_length=control), rows) for control in (False, True))
    assert fair.figures["length explains type_token_ratio"] > 0.9
    figures = fair.figures
    assert figures["long: type_token_ratio"] < figures["short: type_token_ratio"] - 0.1
    gaps = []
    for verdicts in (raw, fair):
        places = np.array([[one["x"], one["y"]] for one in verdicts.details])
        gaps.append(np.linalg.norm(places[:150].mean(axis=0) - places[150:].mean(axis=0)))
    # The map no longer shows which source has long answers.
    assert gaps[0] > 1 > 0.5 > gaps[1]


def test_places_are_the_same_again_and_scores_are_distances(rows, decide):
    one, two = decide(StyleReport(), rows), decide(StyleReport(), rows)
    assert one.details == two.details
    assert set(one.details[0]) <= {"group", "x", "y", *FEATURES}
    assert np.sqrt((one.score[:40] ** 2).mean()) == pytest.approx(
        one.figures["human: form spread"], rel=0.2
    )
    # The farthest row of a source is the one that is written in another form.
    odd = one.details[int(one.score[:40].argmax())]
    assert odd["group"] == "human"


def test_alike_openings_are_pairs(conversation, decide):
    texts = ["Sure, here is it.", "Sure! Here is that.", "No.", "Sure. Here is more."]
    found = decide(StyleReport(), sourced(conversation, texts, "one")).figures
    assert found["one: alike openings"] == pytest.approx(3 / 6)
    assert "one: lengths in common" not in found


def test_too_many_sources_and_no_such_column_are_refused(conversation, decide):
    rows = [
        one
        for n in range(21)
        for one in sourced(conversation, ["Some text here."], f"source {n}", n)
    ]
    with pytest.raises(ValueError, match="21 different sources; a map shows 20 at most"):
        decide(StyleReport(), rows)
    with pytest.raises(ValueError, match="no row has a column or a score 'author'"):
        decide(StyleReport(per=("author",)), rows)


def test_sources_may_be_combinations(conversation, decide):
    rows = [
        one._replace(extra=json.dumps({"level": n % 2} if n % 4 else {"level": None}))
        for n, one in enumerate(sourced(conversation, texts_of(PLAIN, 24, 3, 2), "human"))
    ]
    found = decide(StyleReport(per=("source", "level")), rows).figures
    sizes = {name: found[f"human, {name}: rows"] for name in ("none", "0", "1")}
    assert sizes == {"none": 6, "0": 6, "1": 12}
    with pytest.raises(ValueError, match="no row has a column or a score 'levle'"):
        decide(StyleReport(per=("source", "levle")), rows)
    with pytest.raises(ValueError, match="per is empty"):
        StyleReport(per=()).check()


def test_an_empty_input_and_texts_without_words_are_no_error(conversation, decide):
    assert decide(StyleReport(), []).figures == {}
    found = decide(StyleReport(), sourced(conversation, ["", "..."], "one"))
    assert np.isnan(found.score).all()
    assert found.figures["one: rows"] == 2
    assert FORM[0] not in found.details[0]


def test_a_run_gives_the_same_bytes_for_any_chunk(tmp_path):
    texts = texts_of(PLAIN, 30, 7, 3) + texts_of(ORNATE, 30, 8)
    rows = [
        {"instruction": "q", "output": text, "who": "ab"[n % 2]} for n, text in enumerate(texts)
    ]
    ledgers = []
    for size in (7, 4096):
        run = Pipeline([StyleReport(per="who")]).run(
            rows, run=tmp_path / str(size), store=tmp_path / "store", chunk_rows=size
        )
        (path,) = (run.folder / "ledger" / "style_report").glob("*.parquet")
        ledgers.append(path.read_bytes())
    assert ledgers[0] == ledgers[1]
