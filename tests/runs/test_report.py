"""The report for people: what each step did, why rows went, and nothing that says nothing."""

from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.pipeline import Result
from curate.row import Record, Row
from curate.runs.report import (
    Failure,
    ScoreDistribution,
    public_name,
    public_recipe,
    render,
    score_distributions,
)
from curate.step import Generate
from curate.steps import Exact, Length, Pii


def step(label: str, came: int, **ends: int) -> dict[str, Any]:
    """Return a step of `report.json` through which the rows came that did not end there."""
    counts = {"made": 0, "used": 0, "dropped": 0, "failed": 0, **ends}
    kept = came + counts["made"] - counts["used"] - counts["dropped"] - counts["failed"]
    return {"label": label, "in": came, **counts, "kept": kept, "seconds": 0.5, "reasons": {}}


def summary(*steps: dict[str, Any], **others: Any) -> dict[str, Any]:
    """Return a `report.json` of 1,000 rows that went through `steps`."""
    totals = {name: sum(s[name] for s in steps) for name in ("made", "used", "dropped", "failed")}
    return {
        "in": 1000,
        **totals,
        "kept": steps[-1]["kept"],
        "seconds": 1.0,
        "peak_memory_mb": 100.0,
        "steps": list(steps),
        "requests": dict.fromkeys(("sent", "replayed", "failed", "retried"), 0),
        "tokens": {"input": 0, "output": 0},
        "cost_usd": 0.0,
        "unreadable": [],
        **others,
    }


def funnel(said: str) -> list[list[str]]:
    return [line.split() for line in said.split("\n\n")[1].splitlines()]


def test_what_each_step_has_spent_is_a_table() -> None:
    def part(label: str | None, *counts: int, cost: float) -> dict[str, Any]:
        names = ("sent", "replayed", "failed", "retried")
        tokens = {"input": counts[4], "output": counts[5]}
        requests = dict(zip(names, counts, strict=False))
        return {"step": label, "requests": requests, "tokens": tokens, "cost_usd": cost}

    whole = part("", 1310, 20, 4, 6, 9000, 800, cost=1.25)
    parts = [
        part("judge", 1300, 0, 4, 6, 8000, 700, cost=1.0),
        part(None, 10, 20, 0, 0, 1000, 100, cost=0.25),
    ]
    ran = summary(step("judge", 1000), **whole, spending=parts)
    said = render(ran, by_step=True)
    lines = said[said.index("spent by step") :].split("\n\n")[0].splitlines()
    assert [line.split() for line in lines] == [
        ["spent", "by", "step"],
        ["step", "sent", "replayed", "failed", "retried", "tokens", "in", "tokens", "out", "cost"],
        ["judge", "1,300", "0", "4", "6", "8,000", "700", "$1.0000"],
        ["(not", "recorded", "by", "step)", "10", "20", "0", "0", "1,000", "100", "$0.2500"],
    ]
    assert "spent by step" not in render(ran)
    assert "spent by step" not in render(summary(step("length", 1000)), by_step=True)


def test_columns_without_a_count_are_left_out() -> None:
    said = render(summary(step("length", 1000, dropped=250), step("near", 750, dropped=245)))
    assert said.splitlines()[0] == "1,000 in + 0 made = 505 kept + 0 used + 495 dropped + 0 failed"
    assert funnel(said) == [
        ["step", "in", "dropped", "kept", "left", "seconds"],
        ["length", "1,000", "250", "750", "75.0%", "█" * 10, "0.50"],
        ["near", "750", "245", "505", "50.5%", "█" * 7, "0.50"],
    ]


def test_rare_counts_have_columns_where_there_are_any() -> None:
    said = render(summary(step("pii", 1000, made=6, used=6), step("judge", 1000, failed=999)))
    assert funnel(said) == [
        ["step", "in", "made", "used", "dropped", "failed", "kept", "left", "seconds"],
        ["pii", "1,000", "6", "6", "0", "-", "1,000", "100.0%", "█" * 14, "0.50"],
        ["judge", "1,000", "-", "-", "0", "999", "1", "0.1%", "█", "0.50"],
    ]


def test_rewritten_rows_are_neither_made_nor_used_in_the_table() -> None:
    steps = (step("pii", 1000, made=6, used=6, rewritten=6), step("near", 1000, dropped=10))
    said = render(summary(*steps))
    assert said.splitlines()[:2] == [
        "1,000 in + 6 made = 990 kept + 6 used + 10 dropped + 0 failed",
        "6 rewritten: each counts as used, and as made in its new form",
    ]
    assert funnel(said) == [
        ["step", "in", "rewritten", "dropped", "kept", "left", "seconds"],
        ["pii", "1,000", "6", "0", "1,000", "100.0%", "█" * 14, "0.50"],
        ["near", "1,000", "-", "10", "990", "99.0%", "█" * 14, "0.50"],
    ]


class Twice(Generate):
    """Make two rows of each."""

    def make(self, row: Row) -> list[Record]:
        """Say it twice."""
        return [row.rewrite(prompt=row.fields["prompt"] * n) for n in (1, 2)]


def test_one_row_in_place_of_another_is_rewritten_and_two_are_not(tmp_path: Path) -> None:
    mails = ("jane.roe@gmail.com", "joe.bloggs@gmail.com")
    rows = [{"prompt": f"Write to {mail}"} for mail in mails] + [{"prompt": "Nothing here"}]
    ran = Pipeline([Pii(), Twice()]).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    masked, doubled = ran.summary["steps"]
    assert (masked["made"], masked["used"], masked["rewritten"]) == (2, 2, 2)
    assert "rewritten" not in doubled and doubled["made"] == 6
    assert "\n2 rewritten: " in render(ran.summary)


def test_rows_made_of_nothing_fill_the_bar() -> None:
    said = render(summary(step("grow", 0, made=40), step("length", 40, dropped=40), **{"in": 0}))
    assert [line[-3:] for line in funnel(said)[1:]] == [
        ["100.0%", "█" * 14, "0.50"],
        ["0", "0.0%", "0.50"],
    ]


def test_reasons_and_errors_line_up_and_are_escaped() -> None:
    length = {**step("length", 1000, dropped=39), "reasons": {"fewer than 3 words": 39}}
    failures = [Failure("judge", f"error {n}\x1b", 961 - n) for n in range(7)]
    said = render(summary(length, step("judge", 961, failed=961)), failures)
    _, reasons, errors = (part.splitlines() for part in said.split("\n\n")[1:4])
    assert reasons == ["dropped because", "  39  3.9%  length  fewer than 3 words"]
    assert errors[0] == "failed because"
    assert errors[1] == "  961  96.1%  judge  error 0\\x1b"
    assert errors[6:] == ["  ... and 2 other errors (in failed/)"]


def test_errors_that_differ_by_the_reply_they_show_are_one() -> None:
    said = "it does not state a number, alone on its line or as 'score: NUMBER': "
    replies = [repr(text) for text in ("It's 'good'", 'Say "no"', "fine: 'yes'")]
    failures = [Failure("judge", said + reply, 2, True) for reply in replies]
    failures += [Failure("judge", "the model 'x' is not there", 5), Failure("other", said, 1)]
    errors = render(summary(step("judge", 12, failed=12)), failures).split("failed because\n")[1]
    assert [line.strip().split("  ", 3) for line in errors.splitlines()[:3]] == [
        ["6", "0.6%", "judge", f"{said}{replies[0]} and 2 other replies"],
        ["5", "0.5%", "judge", "the model 'x' is not there"],
        ["1", "0.1%", "other", said.rstrip()],
    ]


def test_errors_that_tell_something_in_quotes_stay_apart() -> None:
    own = [Failure("own", f"KeyError: {key!r}", 2) for key in "ab"]
    own += [Failure("own", f"ValueError: no column: {key!r}", 1) for key in "ab"]
    # An exception of an asking step, not of a reply; and one reply alone, which is shown.
    own += [Failure("judge", f"KeyError: {key!r}", 1, True) for key in "ab"]
    own += [Failure("rank", "not a rank: 'x'", 1, True), Failure("rank", "not a rank: 'y'", 1)]
    for some in (own[:4], own[4:]):
        said = render(summary(step("own", 12, failed=12)), some)
        assert all(f"  {one.error}\n" in said for one in some), said
        assert "repl" not in said
    two = [Failure("rank", f"not a rank: {key!r}", 1, True) for key in "ab"]
    assert "not a rank: 'a' and 1 other reply\n" in render(summary(step("rank", 2, failed=2)), two)


def test_reasons_are_shares_of_what_the_funnel_counts_as_the_whole() -> None:
    made = step("unpack", 1000, made=2000, used=1000)
    dropped = {**step("length", 2000, dropped=1500), "reasons": {"too short": 1500}}
    assert "  1,500  75.0%  length  too short" in render(summary(made, dropped))


def test_unreadable_lines_are_named_and_counted() -> None:
    lines = [{"file": "a.jsonl", "line": n, "error": "broken"} for n in range(8)]
    said = render(summary(step("length", 992), failed=8, unreadable=lines))
    assert "unreadable lines: 8\n  a.jsonl:0: broken\n" in said
    assert "  ... and 3 more (in failed/)" in said


def test_spending_is_shown_where_requests_were_made() -> None:
    assert "cost" not in render(summary(step("length", 1000)))
    requests = {"sent": 1200, "replayed": 0, "failed": 0, "retried": 3}
    said = render(summary(step("judge", 1000), requests=requests, cost_usd=0.5))
    assert "requests   1,200 sent, 0 replayed, 0 failed, 3 retried" in said
    assert "cost       $0.5000" in said


def test_what_this_time_asked_is_told_where_earlier_executions_asked_more() -> None:
    requests = {"sent": 49, "replayed": 98, "failed": 0, "retried": 0}
    own = {"sent": 0, "replayed": 49, "cost_usd": 0.0}
    said = render(summary(step("judge", 1000), requests=requests, this_time=own))
    assert "requests   49 sent, 98 replayed" in said
    assert "this time  0 sent, 49 replayed, $0.0000; the lines above count all" in said
    first = {"sent": 49, "replayed": 98, "cost_usd": 0.0}
    assert "this time" not in render(
        summary(step("judge", 1000), requests=requests, this_time=first)
    )


def test_scores_are_spread_over_the_rows_that_have_one(tmp_path: Path) -> None:
    rows = [{"instruction": "x", "output": "w " * n} for n in range(1, 101)]
    steps = [
        Length(on="response", min=11),
        Length(on="instruction", label="question"),
        Exact(on="instruction"),
    ]
    result = Pipeline(steps).run(rows, run=tmp_path / "run")
    labels = ["length", "question", "exact"]
    assert score_distributions(result.folder, labels) == [
        ScoreDistribution("length", 100, (1, 10, 25, 50, 75, 90, 100))
    ]
    said = Result.open(result.folder).report(scores=True)
    section = next(part.splitlines() for part in said.split("\n\n") if part.startswith("scores"))
    assert section[0].split() == [
        "scores",
        "rows",
        "least",
        "10%",
        "25%",
        "50%",
        "75%",
        "90%",
        "most",
    ]
    assert section[1].split() == ["length", "100", "1", "10", "25", "50", "75", "90", "100"]
    assert "\nscores" not in result.report()


def test_few_scores_are_counted_each(tmp_path: Path) -> None:
    rows = [{"instruction": "x", "output": "w " * n} for n in (1, 1, 1, 2, 5)]
    result = Pipeline([Length(on="response")]).run(rows, run=tmp_path / "run")
    (one,) = score_distributions(result.folder, ["length"])
    assert one.counts == ((1, 3), (2, 1), (5, 1))
    assert "\n  length  3 of 1, 1 of 2, 1 of 5\n" in result.report(scores=True)


# -- what strangers may see --


def test_many_figures_are_shown_by_family() -> None:
    # Families without a name in common; those that share names are a table.
    levels = {f"{one}: {one} level {n}": float(n) for one in ("one", "two") for n in range(12)}
    figures = {"few": {"spread": 0.25}, "many": {"rows": 7.0, **levels}}
    shown = render(summary(step("many", 1000), figures=figures)).splitlines()
    at = shown.index("many")
    assert "few: spread 0.25" in shown
    assert shown[at + 1] == "  rows 7"
    assert shown[at + 2].startswith("  one: one level 0 0, one level 1 1, ")
    assert shown[at + 3].startswith("    ") and shown[at + 4].startswith("  two: ")
    assert all(len(line) <= 100 for line in shown[at:])


@pytest.mark.parametrize(
    ("where", "seen"),
    [
        ("/srv/a/rows.jsonl", "rows.jsonl"),
        ("../rows.jsonl", "rows.jsonl"),
        ("a/b.jsonl", "b.jsonl"),
        ("hub://org/name@train", "hub://org/name@train"),
        ("s3://bucket/rows.jsonl", "s3://bucket/rows.jsonl"),
        ("pipelines/data/math.jsonl.gz", "pipelines/data/math.jsonl.gz"),
        ("-", "-"),
    ],
)
def test_a_name_without_folders(where: str, seen: str) -> None:
    assert public_name(where) == seen


def test_a_recipe_without_paths_and_addresses() -> None:
    recipe = {
        "inputs": {"a": "deep/a.jsonl", "b": {"path": "/x/b.jsonl", "shape": "alpaca"}},
        "models": {
            "m": {"model": "openai:m", "base_url": "http://10.0.0.1/v1", "api_key_env": "KEY"},
            "s": "scripted:/x/replies.jsonl",
        },
        "steps": [
            "exact",
            {"contamination": {"against": ["gsm8k=/x/gsm8k.jsonl", "math=data/math.jsonl"]}},
            {"rubric": {"prompt": "./prompts/mine.md", "at_least": 4}},
            {"keywords": {"phrases": ["and/or", "/ slash", "a=b"], "pattern": "https?://"}},
        ],
        "outputs": {"sft": "/x/out.jsonl"},
    }
    assert public_recipe(recipe) == {
        "inputs": {"a": "a.jsonl", "b": {"path": "b.jsonl", "shape": "alpaca"}},
        "models": {"m": {"model": "openai:m"}, "s": "scripted:replies.jsonl"},
        "steps": [
            "exact",
            {"contamination": {"against": ["gsm8k=gsm8k.jsonl", "math=math.jsonl"]}},
            {"rubric": {"prompt": "mine.md", "at_least": 4}},
            {"keywords": {"phrases": ["and/or", "/ slash", "a=b"], "pattern": "https?://"}},
        ],
    }
    assert "outputs" in recipe, "the recipe itself is left alone"


def test_groups_of_one_step_share_a_table() -> None:
    figures = {"rows": 3.0}
    figures |= {f"{who}: {what}": 0.5 for who in ("a", "b") for what in ("rows", "length")}
    figures |= {"a: only": 2.0, "left: alone": 4.0}
    lines = render(summary(step("style", 3), figures={"style": figures})).splitlines()
    at = lines.index("style: rows 3, left: alone 4")
    assert lines[at + 1 : at + 6] == [
        "",
        "style       a    b",
        "  rows    0.5  0.5",
        "  length  0.5  0.5",
        "  only      2    -",
    ]
