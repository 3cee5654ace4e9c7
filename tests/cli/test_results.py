"""Commands that look at finished runs: report, explain, compare, export, preview."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curate.pipeline import Result
from tests.cli.conftest import lines_of


@pytest.fixture
def run(home: Path, ok: Callable[..., str]) -> Result:
    """A finished run that keeps three rows and drops one."""
    ok("run", "recipe.yaml", "--run", "r")
    return Result.open(home / "r")


def test_report_as_text_and_as_data(run: Result, ok: Callable[..., str]) -> None:
    assert "  1  25.0%  length  fewer than 3 words" in ok("report", "r").splitlines()
    assert json.loads(ok("report", "r", "--json")) == dict(run.summary)


def test_explain_tells_a_life(run: Result, ok: Callable[..., str]) -> None:
    row = next(iter(run.dropped)).id
    told = ok("explain", "r", row[:12])
    assert told.splitlines()[0] == f"row        {row}"
    assert "came from  rows.jsonl, record 2" in told
    assert "user: Name a town." in told
    assert "length     dropped: fewer than 3 words (score 1)" in told
    assert told.splitlines()[-1] == "in the end dropped"
    data = json.loads(ok("explain", "r", row, "--json"))
    assert (data["id"], data["outcome"]) == (row, "dropped")


def test_explain_finds_a_record_by_its_place(run: Result, ok: Callable[..., str]) -> None:
    row = next(iter(run.dropped)).id
    assert ok("explain", "r", "rows.jsonl:2") == ok("explain", "r", row)


def test_explain_without_a_row_shows_some_for_every_reason(
    run: Result, ok: Callable[..., str]
) -> None:
    row = next(iter(run.dropped)).id
    first, second, _, last = ok("explain", "r").splitlines()
    assert first == "length: 1 dropped, fewer than 3 words"
    assert second.split() == [row[:8], *["Name", "a", "town.", "|", "Paris."]]
    assert last == f"History of one row: curate explain r {row[:8]}"
    data = json.loads(ok("explain", "r", "--json"))
    assert [(one["step"], one["count"], one["ids"]) for one in data] == [("length", 1, [row])]


def test_explain_tells_of_a_line_that_is_no_row(home: Path, ok: Callable[..., str]) -> None:
    good = json.dumps({"instruction": "a", "output": "b"})
    (home / "odd.jsonl").write_bytes(good.encode() + b'\n{"odd": "\xff\n')
    ok("filter", "odd.jsonl", "length", "-o", "o.jsonl", "--run", "odd", "--allow-failed", "0.5")
    told = ok("explain", "odd", "odd.jsonl:2")
    assert 'came from  odd.jsonl, line 2\n    raw: {"odd": "\N{REPLACEMENT CHARACTER}\n' in told
    assert "invalid UTF-8 at byte 10 (0xff)" in told
    assert (
        json.loads(ok("explain", "odd", "odd.jsonl:2", "--json"))["record"]["raw"][:6] == '{"odd"'
    )


def test_explain_says_where_nothing_went(home: Path, ok: Callable[..., str]) -> None:
    ok("filter", "rows.jsonl", "length", "-o", "o.jsonl")
    assert ok("explain", "runs/o") == "no row of runs/o was dropped or failed\n"


def test_explain_of_a_step_shows_pairs_the_least_similar_first(
    home: Path, ok: Callable[..., str]
) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    texts = [" ".join(words), " ".join([*words[:9], "last"]), " ".join([*words, "eleven"]), "other"]
    rows = [{"instruction": text, "output": f"Answer {n}."} for n, text in enumerate(texts)]
    (home / "near.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ok("filter", "near.jsonl", "near:on=instruction,similarity=0.5,shingle=1", "-o", "o.jsonl")
    kept, twin, closer = (ok("explain", "runs/o", f"near.jsonl:{n}").split()[1] for n in (1, 2, 3))
    said = ok("explain", "runs/o", "--step", "near").splitlines()
    assert said[0] == "near: 2 dropped, near duplicate; closest to the rule first"
    heads = [line.rstrip("=").strip() for line in said if line.startswith("==")]
    assert heads == [
        f"== {score}  {row[:8]} dropped | {kept[:8]} kept"
        for score, row in (("0.818182", twin), ("0.909091", closer))
    ]
    sides = [side.strip() for side in said[said.index("") + 2].split(" | ")]
    assert sides == [
        "user: one two three four five six seven eight",
        "user: one two three four five six seven eight",
    ]
    assert "assistant: Answer 1." in said[5] and said[5].endswith("| assistant: Answer 0.")
    assert twin[:8] in ok("explain", "runs/o", "--step", "near", "-n", "1")
    assert closer[:8] not in ok("explain", "runs/o", "--step", "near", "-n", "1")
    (data,) = json.loads(ok("explain", "runs/o", "--step", "near", "--json"))
    assert data["partners"] == {twin: kept, closer: kept}
    assert data["texts"][kept] == [texts[0], "Answer 0."]
    assert ok("explain", "runs/o", "--step", "read") == (
        "the step 'read' dropped no row of runs/o, and none failed there\n"
    )


def test_explain_of_a_step_shows_the_rows_that_a_rule_just_refused(
    home: Path, ok: Callable[..., str], curate: Callable[..., Any]
) -> None:
    rows = [{"instruction": "x", "output": "w " * n} for n in (1, 3, 2, 8, 9, 20, 30)]
    (home / "n.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ok("filter", "n.jsonl", "length:on=response,min=8,max=10", "-o", "o.jsonl")
    found = json.loads(ok("explain", "runs/o", "--step", "length", "-n", "2", "--json"))
    assert {one["reason"]: list(one["scores"].values()) for one in found} == {
        "fewer than 8 words": [3, 2],
        "more than 10 words": [20, 30],
    }
    assert "== 3  " in ok("explain", "runs/o", "--step", "length", "-n", "1")
    for arguments, says in (
        (["--step", "lenght"], "this run has length"),
        (["0", "--step", "length"], "leave one"),
    ):
        done = curate("explain", "runs/o", *arguments)
        assert done.exit_code == 2
        assert says in done.stderr


def test_explain_names_the_test_item_that_a_row_holds(home: Path, ok: Callable[..., str]) -> None:
    item = "Name a colour of the rainbow and say why it is there."
    (home / "test.jsonl").write_text(json.dumps({"question": item}) + "\n")
    (home / "n.jsonl").write_text(json.dumps({"instruction": item, "output": "Red."}) + "\n")
    ok("filter", "n.jsonl", "contamination:against=[t=test.jsonl],n=5", "length", "-o", "o.jsonl")
    said = ok("explain", "runs/o", "--step", "contamination")
    assert "dropped | t, item 0 ===" in said
    assert "| Name a colour of the rainbow and say why it is" in said
    (home / "test.jsonl").unlink()
    assert "dropped | t, item 0 ===" in ok("explain", "runs/o", "--step", "contamination")
    ok("filter", "n.jsonl", "exact:on=instruction,against=n.jsonl", "-o", "p.jsonl")
    assert " dropped | n.jsonl:1 ===" in ok("explain", "runs/p", "--step", "exact")


def test_explain_shows_the_kept_duplicate(home: Path, ok: Callable[..., str]) -> None:
    with (home / "rows.jsonl").open("a") as file:
        file.write(json.dumps({"instruction": "Name a town.", "output": "Paris."}) + "\n")
    ok("filter", "rows.jsonl", "exact", "-o", "o.jsonl")
    dropped = next(iter(Result.open("runs/o").dropped))
    told = ok("explain", "runs/o", dropped.id)
    kept = next(r.id for r in Result.open("runs/o").kept if "town" in r.whole)
    assert "exact      dropped: exact duplicate (score 1)" in told
    assert f"the kept row {kept}" in told


def test_data_cannot_drive_the_terminal(run: Result, ok: Callable[..., str]) -> None:
    red = next(row.id for row in run.kept if "bad" in row.whole)
    for said in (ok("explain", "r", red), ok("preview", "rows.jsonl", "length")):
        assert "\x1b" not in said
        assert "\\x1b[31mred" in said.replace("\n", "")


def test_a_long_text_is_cut_unless_full(home: Path, ok: Callable[..., str]) -> None:
    long = "\n".join(f"line {n} of many" for n in range(40))
    (home / "long.jsonl").write_text(json.dumps({"instruction": "x", "output": long}) + "\n")
    ok("filter", "long.jsonl", "length", "-o", "o.jsonl")
    row = next(iter(Result.open("runs/o").kept)).id
    cut = ok("explain", "runs/o", row)
    shown = [line.strip() for line in cut.splitlines() if "line" in line]
    assert shown == [
        "assistant: line 0 of many",
        *(f"line {n} of many" for n in range(1, 6)),
        "... 29 lines more (--full shows them) ...",
        *(f"line {n} of many" for n in range(35, 40)),
    ]
    assert "line 20" in ok("explain", "runs/o", row, "--full")


def test_compare_names_what_changed(run: Result, ok: Callable[..., str]) -> None:
    ok("run", "recipe.yaml", "--run", "s", "--set", "steps.length.min=8", "--limit", "3")
    found = json.loads(ok("compare", "r", "s", "--json"))
    assert found["counts"]["in"] == [4, 3]
    assert found["counts"]["kept"] == [3, 1]
    assert {"step": "length", "reason": "fewer than 8 words", "counts": [0, 2]} in found["reasons"]
    assert found["moves"] == [
        {"from": "kept", "to": None, "rows": 1},
        {"from": "kept", "to": "dropped", "rows": 1},
    ]
    assert "+    min: 8" in found["recipe"]
    told = ok("compare", "r", "s")
    moved = next(row.id for row in run.kept if "Red" in row.whole)
    lines = [line.split("  ") for line in told.splitlines()]
    row = ["", moved[:8], "kept -> dropped", "length: fewer than 8 words"]
    assert next(line[:4] for line in lines if moved[:8] in line) == row
    assert "Name a colour. Red is a colour" in told
    assert "  1 kept -> absent" in told
    assert "made" not in told
    one = ok("compare", "r", "s", "-n", "1")
    assert "... and 1 more (-n shows more" in one
    assert "... and" not in told


def test_compare_says_when_nothing_changed(run: Result, ok: Callable[..., str]) -> None:
    assert "every row ended the same way in both runs" in ok("compare", "r", "r")


def test_compare_datasets_shows_a_table_with_blanks(
    run: Result, ok: Callable[..., str], curate: Callable[..., Any], home: Path
) -> None:
    record = {"instruction": "Name a bird.", "input": "", "output": "A crow. It is black."}
    (home / "other.json").write_text(json.dumps([record, {**record, "instruction": "Why?"}]))
    found = json.loads(ok("compare", "--datasets", "r", "other.json", "--json"))
    assert found["scale"]["rows"] == [len(run.kept), 2]
    assert found["cost"] == {}
    lines = [line.split() for line in ok("compare", "r", "other.json", "--datasets").splitlines()]
    assert lines[:3] == [["r", "other.json"], ["cost"], ["quality"]]
    assert ["rows", str(len(run.kept)), "2"] in lines
    (home / "empty.json").write_text(json.dumps([record]))
    ok("filter", "empty.json", "length:min=99", "-o", "none.jsonl", "--run", "none")
    done = curate("compare", "--datasets", "none", "other.json")
    assert done.exit_code == 2
    assert "none has no rows to compare" in done.stderr


def test_compare_datasets_reads_data_beside_a_hidden_folder(
    run: Result, ok: Callable[..., str], home: Path
) -> None:
    (home / "data" / ".state").mkdir(parents=True)
    record = {"instruction": "Name a bird.", "input": "", "output": "A crow. It is black."}
    (home / "data" / "rows.json").write_text(json.dumps([record]))
    found = json.loads(ok("compare", "--datasets", "data", "r", "--json"))
    assert found["scale"]["rows"] == [1, len(run.kept)]


def test_report_draws_the_map_of_styles(ok: Callable[..., str], home: Path) -> None:
    ok("filter", "rows.jsonl", "style_report", "-o", "o.jsonl", "--run", "styled")
    drawn = ok("report", "styled", "--png", "maps").split()
    assert drawn[-2:] == ["maps/style_report.png", "maps/style_report.csv"]
    assert (home / "maps" / "style_report.csv").read_text().startswith('"id","form_distance"')


def test_export_writes_the_kept_rows(run: Result, ok: Callable[..., str], home: Path) -> None:
    assert ok("export", "r", "-o", "a.jsonl", "--as", "alpaca") == "3 rows written to a.jsonl\n"
    assert lines_of(home / "a.jsonl")[0]["output"] == "Red is a colour of the rainbow."
    ok("export", "r", "-o", "a.parquet")
    assert ok("export", "a.parquet", "-o", "b.jsonl") == "3 rows written to b.jsonl\n"


@pytest.mark.parametrize("target", ["a.jsonl", "shards/"])
def test_export_adds_marks_where_they_are_asked_for(
    run: Result, ok: Callable[..., str], curate: Callable[..., Any], home: Path, target: str
) -> None:
    ok("export", "r", "-o", target, "--as", "alpaca", "--marks")
    source = "a.jsonl" if target == "a.jsonl" else "shards/*.parquet"
    ok("export", source, "-o", "b.jsonl", "--as", "alpaca")
    first = lines_of(home / "b.jsonl")[0]
    row = next(iter(run.kept))
    assert first["curate"]["id"] == row.id
    assert first["curate"]["scores"] == {"length": row.scores["length"]}
    done = curate("export", "rows.jsonl", "-o", "c.jsonl", "--marks")
    assert (done.exit_code, "--marks takes a run" in done.stderr) == (2, True)


def test_export_of_data_names_what_it_could_not_read(
    curate: Callable[..., Any], home: Path
) -> None:
    with (home / "rows.jsonl").open("a") as file:
        file.write('{"instruction": \n')
    done = curate("export", "rows.jsonl", "-o", "b.jsonl", "--as", "messages")
    assert done.exit_code == 1
    assert done.stdout == "4 rows written to b.jsonl\n"
    assert "unreadable rows.jsonl:5: " in done.stderr
    assert len(lines_of(home / "b.jsonl")) == 4


def test_export_of_an_unfinished_run_says_so(
    run: Result, curate: Callable[..., Any], home: Path
) -> None:
    (run.folder / "report.json").unlink()
    refused = curate("export", "r", "-o", "a.jsonl")
    assert refused.exit_code == 2
    assert "a run that has not finished" in refused.stderr


def test_export_refuses_a_shape_that_does_not_fit(
    run: Result, curate: Callable[..., Any], home: Path
) -> None:
    done = curate("export", "r", "-o", "p.jsonl", "--as", "preference")
    assert done.exit_code == 2
    assert "'preference' holds preference rows, and those to be written are sft" in done.stderr
    assert not (home / "p.jsonl").exists()


def test_export_writes_either_side_of_a_split(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path
) -> None:
    ok("filter", "rows.jsonl", "split:count=1,similarity=null", "-o", "o.jsonl")
    assert ok("export", "runs/o", "--split", "train", "-o", "a.jsonl").startswith("3 rows")
    assert ok("export", "runs/o", "--split", "test", "-o", "b.jsonl").startswith("1 rows")
    sides = [*lines_of(home / "a.jsonl"), *lines_of(home / "b.jsonl")]
    done = curate("export", "runs/o", "-o", "all.jsonl")
    assert "both sides of the split are in all.jsonl; --split train or" in done.stderr
    assert sorted(map(str, sides)) == sorted(map(str, lines_of(home / "all.jsonl")))
    kept = Result.open("runs/o").kept
    held_out = next(iter(kept.split("test"))).id
    assert "split      passed (score 1)\n    split: test\n" in ok("explain", "runs/o", held_out)
    assert kept.split("test").to_list() == [next(iter(kept.split("test").to_datasets()))]
    assert [len(kept.split(side).to_pandas()) for side in ("train", "test")] == [3, 1]
    done = curate("export", "runs/o", "--split", "dev", "-o", "c.jsonl")
    assert (done.exit_code, "no row of runs/o/kept is marked 'dev'" in done.stderr) == (2, True)
    # The step is there: adding it would not help.
    assert "some as 'train'" in done.stderr and "add it to the recipe" not in done.stderr
    done = curate("export", "rows.jsonl", "--split", "test", "-o", "c.jsonl")
    assert (done.exit_code, "--split takes a run" in done.stderr) == (2, True)


@pytest.mark.parametrize("source", ["r", "rows.jsonl"])
def test_export_writes_shards_into_a_folder(
    run: Result, ok: Callable[..., str], home: Path, source: str
) -> None:
    said = ok("export", source, "-o", "v1.0/", "--as", "messages", "--shard-rows", "2")
    assert said == f"{3 if source == 'r' else 4} rows written to v1.0\n"
    names = sorted(path.name for path in (home / "v1.0").iterdir())
    assert names == ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"]
    ok("export", source, "-o", "whole.jsonl", "--as", "messages")
    ok("export", "v1.0/*.parquet", "-o", "back.jsonl", "--as", "messages")
    assert lines_of(home / "back.jsonl") == lines_of(home / "whole.jsonl")


def test_export_names_shards_after_their_split(ok: Callable[..., str], home: Path) -> None:
    ok("filter", "rows.jsonl", "split:count=1,similarity=null", "-o", "o.jsonl")
    ok("export", "runs/o", "--split", "test", "-o", "data/test")
    assert [path.name for path in (home / "data" / "test").iterdir()] == [
        "test-00000-of-00001.parquet"
    ]


def test_a_run_of_several_kinds_is_exported_by_kind(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path
) -> None:
    (home / "p.jsonl").write_text('{"prompt": "Why?"}\n' * 2)
    (home / "two.yaml").write_text("inputs: {a: rows.jsonl, b: p.jsonl}\nsteps: []\n")
    ok("run", "two.yaml", "-o", "runs/two")
    said = ok("export", "runs/two", "-o", "all.jsonl")
    assert said == "2 rows written to all.prompt.jsonl\n4 rows written to all.sft.jsonl\n"
    assert set(lines_of(home / "all.prompt.jsonl")[0]) == {"prompt"}
    ok("export", "runs/two", "-o", "shards/")
    assert sorted(p.parent.name for p in home.glob("shards/*/*.parquet")) == ["prompt", "sft"]
    done = curate("export", "runs/two", "--as", "trl_sft", "-o", "sft.jsonl")
    assert (done.exit_code, done.stdout) == (0, "4 rows written to sft.jsonl\n")
    assert "2 prompt rows are left out, as 'trl_sft' holds sft rows; write them with" in done.stderr
    refused = curate("export", "runs/two", "--as", "trl_dpo", "-o", "dpo.jsonl")
    assert refused.exit_code == 2 and "holds preference rows" in refused.stderr
    assert not (home / "dpo.jsonl").exists()


def test_a_kind_that_is_no_longer_kept_leaves_with_what_is_replaced(
    ok: Callable[..., str], curate: Callable[..., Any], home: Path
) -> None:
    (home / "p.jsonl").write_text('{"prompt": "Why?"}\n')
    (home / "c.jsonl").write_text('{"prompt": "Why?", "chosen": "So.", "rejected": "No."}\n')
    two = "a: rows.jsonl, b: p.jsonl"
    for name, inputs in (("three", f"{two}, c: c.jsonl"), ("two", two)):
        (home / f"{name}.yaml").write_text(f"inputs: {{{inputs}}}\nsteps: []\n")
        ok("run", f"{name}.yaml", "-o", f"runs/{name}")
    ok("export", "runs/three", "-o", "shards/")
    (home / "shards" / "notes").mkdir()
    refused = curate("export", "runs/two", "-o", "shards/")
    assert refused.exit_code == 2 and "--replace replaces it" in refused.stderr
    ok("export", "runs/two", "-o", "shards/", "--replace")
    assert sorted(p.parent.name for p in home.glob("shards/*/*.parquet")) == ["prompt", "sft"]
    assert sorted(p.name for p in (home / "shards").iterdir()) == ["notes", "prompt", "sft"]
    ok("export", "runs/three", "-o", "shards/", "--replace")
    (home / "shards" / "preference" / "thesis.txt").write_text("years of work")
    refused = curate("export", "runs/two", "-o", "shards/", "--replace")
    assert refused.exit_code == 2 and "no run wrote thesis.txt in it" in refused.stderr
    assert len(list((home / "shards" / "preference").iterdir())) == 2


def test_a_split_needs_files(ok: Callable[..., str], curate: Callable[..., Any]) -> None:
    split = "split:count=1,similarity=null"
    said = ok("filter", "rows.jsonl", split, "-o", "o.jsonl")
    assert "kept rows  o.train.jsonl\n           o.test.jsonl\n" in said
    refused = curate("filter", "rows.jsonl", split, "-o", "-")
    assert refused.exit_code == 2 and "split writes two files, and stdout is one" in refused.stderr


def test_export_replaces_what_runs_wrote_and_nothing_else(
    run: Result, ok: Callable[..., str], curate: Callable[..., Any], home: Path
) -> None:
    ok("export", "r", "-o", "a.jsonl")
    ok("export", "r", "-o", "a.jsonl", "--as", "alpaca")
    (home / "a.jsonl").write_text("corrected by hand")
    for source in ("r", "rows.jsonl"):
        refused = curate("export", source, "-o", "a.jsonl")
        assert refused.exit_code == 2
        assert (
            "a.jsonl exists, and its content is not what a run wrote; --replace" in refused.stderr
        )
    assert (home / "a.jsonl").read_text() == "corrected by hand"
    for source in ("rows.jsonl", "r"):
        ok("export", source, "-o", "a.jsonl", "--replace")
    ok("export", "r", "-o", "shards/")
    assert "--replace replaces it" in curate("export", "r", "-o", "shards/").stderr
    ok("export", "r", "-o", "shards/", "--replace", "--shard-rows", "2")
    assert len(list((home / "shards").iterdir())) == 2
    (home / "shards" / "thesis.txt").write_text("years of work")
    refused = curate("export", "r", "-o", "shards/", "--replace")
    assert refused.exit_code == 2 and "no run wrote thesis.txt in it" in refused.stderr
    assert (home / "shards" / "thesis.txt").exists()


def test_export_refuses_shards_where_they_cannot_go(
    run: Result, curate: Callable[..., Any], home: Path
) -> None:
    done = curate("export", "r", "-o", "a.parquet", "--shard-rows", "2")
    assert (done.exit_code, "--shard-rows takes a folder" in done.stderr) == (2, True)
    done = curate("export", "rows.jsonl", "-o", "r")
    assert (done.exit_code, "the folder r is not empty" in done.stderr) == (2, True)


def test_preview_shows_rows_beside_their_fate(ok: Callable[..., str], home: Path) -> None:
    lines = ok("preview", "recipe.yaml", "-n", "2").splitlines()
    assert lines[0].split("  ")[1].startswith("rows.jsonl, record 1 ====")
    assert lines[1].split(" | ") == [f"{'user: Name a colour.':<48}", "length  passed (score 7)"]
    assert "length  dropped: fewer than 3 words (score 1)" in lines[5]
    assert lines[-1] == "1 kept, 1 dropped"
    assert not (home / "runs").exists()


def test_preview_shows_what_is_made(ok: Callable[..., str], home: Path) -> None:
    row = {"instruction": "Write to jane@acme.org", "output": "Fine."}
    (home / "mail.jsonl").write_text(json.dumps(row) + "\n")
    title, *lines, _, ends = ok("preview", "mail.jsonl", "pii", "length:min=2").splitlines()
    assert title.endswith("=")
    sides = [[side.rstrip() for side in line.split(" | ")] for line in lines]
    assert sides == [
        ["user: Write to jane@acme.org", "pii     becomes"],
        ["assistant: Fine.", "  user: Write to [EMAIL]"],
        ["", "  assistant: Fine."],
        ["", "length  dropped: fewer than 2 words (score 1)"],
    ]
    assert ends == "1 dropped; 1 rewritten on the way"


def test_preview_shows_both_answers_of_a_pair_behind_a_long_talk(
    ok: Callable[..., str], home: Path
) -> None:
    talk = [{"role": ("user", "assistant")[n % 2], "content": f"turn {n}"} for n in range(7)]
    row = {"prompt": talk}
    for name in ("chosen", "rejected"):
        row[name] = [{"role": "assistant", "content": f"the {name} one"}]
    (home / "pairs.jsonl").write_text(json.dumps(row) + "\n")
    said = ok("preview", "pairs.jsonl", "length")
    left = [line.partition(" |")[0].rstrip() for line in said.splitlines()[1:10]]
    assert left == [
        "[prompt]",
        "user: turn 0",
        "... 3 more ...",
        "user: turn 4",
        "assistant: turn 5",
        "user: turn 6",
        "[chosen]",
        "assistant: the chosen one",
        "[rejected]",
    ]


def test_preview_needs_no_data(ok: Callable[..., str]) -> None:
    said = ok("preview", "length:min=1")
    assert said.count("length  passed") == 5
    assert said.splitlines()[-1] == "5 kept"
