"""What a new user types first: flags that say a model in full, refusals that leave nothing."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import curate as package
import curate.steps
from curate import Pipeline
from curate.cli.flags import Flags
from curate.errors import RecipeError, UsageError
from curate.row import Row
from curate.steps import Alpagasus, Respond, Rubric
from tests.house.places import ROOT
from tests.models.chaos import Server, chat


def test_flags_say_the_whole_model(ok: Callable[..., str], home: Path) -> None:
    server = Server(lambda received: chat("Score: 8", tokens=(100, 10)))
    with server:
        said = ok(
            "filter", "rows.jsonl", "rubric:at_least=5", "--model", "openai:judge",
            "--base-url", server.url, "--price", "1,2", "--max-tokens", "30",
            "--max-cost", "1", "-o", "o.jsonl",
        )  # fmt: skip
    assert "4 sent" in said
    assert {one.body["max_tokens"] for one in server.received} == {30}
    spent = json.loads(Path("runs/o/report.json").read_text())["cost_usd"]
    assert spent == pytest.approx(4 * (100 * 1 + 10 * 2) / 1e6)


@pytest.mark.parametrize(
    ("step", "asked"),
    [
        ("evolve:on=response", 30),  # its own default is 2,048
        ("evolve:on=response,max_tokens=9", 9),
        ("evolve:on=response,max_tokens=50", 30),
        ("self_instruct", 30),  # a preset's limit, where the field is null
    ],
)
def test_a_limit_of_replies_holds_for_steps_with_one_of_their_own(
    curate: Callable[..., Any], home: Path, step: str, asked: int
) -> None:
    with Server(lambda received: chat("Name a colour.", tokens=(10, 10))) as server:
        curate(
            "generate", step, "rows.jsonl", "--model", "openai:m", "--base-url", server.url,
            "--max-tokens", "30", "--max-requests", "2", "-o", "o.jsonl",
        )  # fmt: skip
    assert {one.body["max_tokens"] for one in server.received} == {asked}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--price", "1"], "--price takes IN,OUT"),
        (["--price", "1,x"], "--price takes IN,OUT"),
        (["--price", "1,-2"], "--price takes IN,OUT"),
        (["--base-url", "http://127.0.0.1:1"], "--base-url has nothing to set"),
        (["--max-tokens", "8"], "--max-tokens has nothing to set"),
        (["--allow-failed", "5"], "found '5'; give a share from 0 to 1, or from 0% to 100%"),
        (["--allow-failed", "x%"], "found 'x%'"),
    ],
)
def test_flags_that_say_nothing_are_refused(
    curate: Callable[..., Any], home: Path, flags: list[str], message: str
) -> None:
    done = curate("filter", "rows.jsonl", "length", "-o", "o.jsonl", *flags)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr
    assert sorted(p.name for p in home.iterdir()) == ["recipe.yaml", "rows.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # An address stands where a name of the recipe belongs.
        (["filter", "rows.jsonl", "rubric:model=openai:m", "-o", "o.jsonl"],
         "give --model openai:m instead"),
        (["filter", "rows.jsonl", "./own.py:Own", "-o", "o.jsonl"], "or give --model MODEL"),
        (["filter", "rows.jsonl", "./own.py:max=0.5", "-o", "o.jsonl"],
         "names no class: a step of a file is ./own.py:CLASS, and its fields follow behind, as in "
         "./own.py:CLASS:max=0.5"),
        # A shell puts all files in the place of a pattern without quotes.
        (["filter", "rows.jsonl", "folder/b.jsonl", "length", "-o", "o.jsonl"],
         "as a folder, or as a pattern in quotes, which the shell leaves alone: 'folder/*.jsonl'"),
        (["preview", "rows.jsonl", "b.jsonl", "length"], "leaves alone: '*.jsonl'"),
        (["filter", "length", "rows.jsonl", "-o", "o.jsonl"],
         "rows.jsonl is data, and the input comes before the steps: rows.jsonl length ..."),
        (["export", "runs/none", "--split", "test", "-o", "o.jsonl"], "runs/none: no such file"),
        (["export", "runs/none", "--marks", "-o", "o.jsonl"], "runs/none: no such file"),
        (["export", "rows.jsonl", "--split", "test", "-o", "o.jsonl"],
         "rows.jsonl is not one"),
    ],
)  # fmt: skip
def test_what_to_write_instead_is_said(
    curate: Callable[..., Any], home: Path, arguments: list[str], message: str
) -> None:
    (home / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "from curate.ask import Ask\n"
        "from curate.step import Filter\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\n"
        "class Own(Filter):\n"
        '    """Ask."""\n\n'
        "    model: str | None = None\n\n"
        "    def score(self, row):\n"
        "        reply = yield Ask.text(row.response, model=self.model)\n"
        "        return float(len(reply.text))\n"
    )
    done = curate(*arguments)
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr


def test_one_model_is_that_of_judges_too(home: Path) -> None:
    # `--model` is said to be that of every step, and a judge is asked as a writer is.
    steps = "steps: [sdf: {model: writer, judge: judge}]\n"
    (home / "two.yaml").write_text(
        "inputs: rows.jsonl\nmodels: {writer: local, judge: local}\n" + steps
    )
    pipeline, _ = Flags(model="openai:m").applied(Pipeline.from_yaml(home / "two.yaml"))
    assert pipeline.models == {"writer": "openai:m", "judge": "openai:m"}


def test_a_share_may_be_a_percentage(ok: Callable[..., str], curate: Callable[..., Any]) -> None:
    Path("rows.jsonl").write_text('{"instruction": "a", "output": "b"}\n' * 3 + "{\n")
    assert curate("filter", "rows.jsonl", "length", "-o", "o.jsonl").exit_code == 1
    ok("filter", "rows.jsonl", "length", "-o", "o.jsonl", "--allow-failed", "25%")


def test_a_refused_start_leaves_no_run_folder(curate: Callable[..., Any], home: Path) -> None:
    asked = ("filter", "rows.jsonl", "rubric", "--model", "openai:unheard", "-o", "o.jsonl")
    done = curate(*asked, "--base-url", "http://127.0.0.1:1/v1", "--max-cost", "1")
    assert (done.exit_code, "--price IN,OUT" in done.stderr) == (2, True)
    assert not (home / "runs").exists()
    # One that somebody made stays, whatever is wrong.
    (home / "runs" / "o").mkdir(parents=True)
    assert curate(*asked, "--base-url", "http://127.0.0.1:1/v1", "--max-cost", "1").exit_code == 2
    assert (home / "runs" / "o").is_dir()


def test_a_limit_of_replies_raises_no_limit_of_a_step(home: Path) -> None:
    # What is written may equal the default.
    steps = [Alpagasus(model="m", max_tokens=256), Rubric(model="m")]
    pipeline = Pipeline(steps, models={"m": "openai:m"})
    changed, _ = Flags(max_tokens=1000).applied(pipeline)
    assert changed.steps == pipeline.steps
    assert changed.models == {"m": {"model": "openai:m", "max_tokens": 1000}}


@pytest.mark.parametrize("first", [(), ("--max-cost", "1")])
def test_a_ceiling_bounds_a_rubric_and_leaves_its_keys_alone(
    ok: Callable[..., str], home: Path, first: tuple[str, ...]
) -> None:
    server = Server(lambda received: chat("Score: 8", tokens=(100, 10)))
    with server:
        asked = (
            "filter", "rows.jsonl", "rubric:at_least=5", "--model", "openai:judge",
            "--base-url", server.url, "--price", "1,2", "--store", "one.store", "-o", "o.jsonl",
        )  # fmt: skip
        assert "4 sent" in ok(*asked, "--run", "first", *first)
        second = () if first else ("--max-cost", "1")
        # In its own folder and in the first one's, which continues.
        for run in ("second", "first"):
            assert "0 sent" in ok(*asked, "--run", run, *second)
    assert len(server.received) == 4
    (most,) = {one.body.get("max_tokens") for one in server.received}
    assert (500 < most < 2000) if first else most is None


def test_what_no_schema_bounds_needs_max_tokens(curate: Callable[..., Any], home: Path) -> None:
    server = Server(lambda received: chat("It is so. Answer: 4", tokens=(100, 10)))
    recipe = {
        "inputs": "rows.jsonl",
        "models": {
            "w": {"model": "openai:w", "base_url": server.url, "price": {"input": 1, "output": 2}}
        },
        "steps": [{"reason": {"model": "w"}}],
    }
    (home / "recipe.yaml").write_text(json.dumps(recipe))
    with server:
        done = curate("run", "recipe.yaml", "--max-cost", "1")
    assert (done.exit_code, server.received) == (2, [])
    assert "no 'max_tokens', so --max-cost cannot be kept" in done.stderr


def test_respond_takes_one_model_by_the_name_that_other_steps_use() -> None:
    assert Respond(model="a").reads_models() == ("a",)
    assert Respond(model="a", models=("b",)).reads_models() == ("a", "b")
    with pytest.raises(RecipeError, match="models names one twice"):
        Pipeline([Respond(model="a", models=("a",))])


def test_preview_shows_rows_without_a_step(ok: Callable[..., str]) -> None:
    said = ok("preview", "rows.jsonl", "-n", "2")
    assert "Name a colour." in said and said.endswith("2 kept\n")


def test_preview_renders_templates(home: Path, ok: Callable[..., str]) -> None:
    rows = '{"prompt": "How many are two and two?", "completion": "2+2=4.\\n#### 4"}\n'
    (home / "sums.jsonl").write_text(rows)
    said = ok(
        "preview", "sums.jsonl", "template:collection=gsm8k,templates=[answer only]",
        "--shape", "table",
    )  # fmt: skip
    assert "Reply with the number alone." in said
    assert "assistant: 4" in said and "template: gsm8k: answer only" in said


def test_names_are_listed_and_suggested_once() -> None:
    assert dir(package) == ["Pipeline", "Result", "read", "select"]
    assert "VerbNouns" in dir(curate.steps)
    for name in dir(curate.steps):
        assert getattr(curate.steps, name).__name__ == name
    with pytest.raises(RecipeError) as caught:
        Pipeline.from_yaml("steps:\n- length: {mn: 3}\n")
    assert str(caught.value).endswith(
        "unknown field 'mn'; did you mean 'min'? (known: label, max, min, on, only, unit)"
    )


def test_characters_that_a_terminal_lacks_are_replaced(
    home: Path, environment: dict[str, str]
) -> None:
    (home / "rows.jsonl").write_text('{"instruction": "a \u2713", "output": "b"}\n', "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "curate.cli", "preview", "rows.jsonl"],
        cwd=home,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"user: a ?" in done.stdout


def test_a_function_that_fails_on_every_row_raises(tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": "b"}] * 3

    def broken(row: Row) -> bool:
        return bool(row.nothing)  # type: ignore[attr-defined]

    with pytest.raises(UsageError, match=r"broken failed on every row .*\(3\), first with: Attr"):
        Pipeline([broken]).run(rows, run=tmp_path / "r")

    def odd(row: Row) -> bool:
        return bool(1 / row.seq[-1])

    assert Pipeline([odd]).run(rows, run=tmp_path / "s").summary["failed"] == 1


def test_flags_know_their_defaults() -> None:
    assert (Flags().allow_failed, Flags().price, Flags().base_url) == (0.0, None, None)


@pytest.mark.parametrize("output", ["-", "/dev/stdout"])
def test_rows_go_to_stdout_and_the_report_to_stderr(
    curate: Callable[..., Any], home: Path, output: str
) -> None:
    done = curate("filter", "rows.jsonl", "length:min=3", "-o", output)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["instruction"] for row in rows] == [
        "Name a colour.",
        "Name a colour!",
        "Name a bad thing.",
    ]
    assert "4 in + 0 made = 3 kept" in done.stderr
    # Another command of the pipe has a folder of its own.
    assert curate("filter", "rows.jsonl", "length:min=1", "-o", output).exit_code == 0
    assert len(list((home / "runs").iterdir())) == 2
