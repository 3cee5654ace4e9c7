"""`curate train` from the command line: what it prints, writes, and ends with."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from curate.cli.commands.train import progress_text
from curate.cli.flags import methods_that_begin
from curate.train.pace import TrainingProgress
from curate.train.settings import methods
from tests.train import tiny

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")


def talks(path: Path, count: int = 12, **last: Any) -> Path:
    rows: list[dict[str, Any]] = [
        {
            "messages": [
                {"role": "user", "content": f"q{n}?"},
                {"role": "assistant", "content": f"yes {n}"},
            ]
        }
        for n in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, [*rows, *([last] if last else [])])))
    return path


def run(*words: str | Path) -> Any:
    from typer.testing import CliRunner

    from curate.cli.main import app

    return CliRunner().invoke(app, ["train", *map(str, words)])


@pytest.mark.slow
def test_a_file_is_trained_on_and_checked_first(tmp_path: Path) -> None:
    model = tiny.folder(tmp_path / "model")
    data = talks(tmp_path / "talks.jsonl")
    done = run("sft", data, "--model", model, "-o", tmp_path / "out", "--max-steps", "2")
    assert done.exit_code == 0, done.output
    assert "sft: 2 steps in" in done.stdout
    assert "12 rows (0 held out)" in done.stderr
    assert (tmp_path / "out" / "README.md").is_file()
    again = run("sft", data, "--model", model, "-o", tmp_path / "out", "--max-steps", "2")
    assert again.exit_code == 0


def test_the_check_alone_trains_nothing_and_warnings_stop_when_asked(tmp_path: Path) -> None:
    model = tiny.folder(tmp_path / "model")
    late = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    data = talks(tmp_path / "talks.jsonl", messages=[*late, {"role": "user", "content": "c"}])
    done = run("sft", data, "--model", model, "--check-only")
    assert done.exit_code == 0, done.output
    assert "warning: 1 x ends_with_user" in done.stdout
    assert "TRL alone:" in done.stdout
    assert "memory: about" in done.stdout
    strict = run("sft", data, "--model", model, "--check-only", "--strict", "--json")
    assert strict.exit_code == 2
    found = json.loads(strict.stdout)
    assert "ends_with_user" in [one["code"] for one in found["findings"]]
    assert found["figures"]["rows"] > 0 and found["memory_bytes"]["total"] > 0
    assert "the check stops training: ends_with_user" in strict.stderr
    empty = talks(tmp_path / "talks.jsonl", messages=[{"role": "user", "content": "c"}])
    assert run("sft", empty, "--model", model, "-o", tmp_path / "out").exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("stf",), "did you mean 'sft'?"),
        (("dpo",), "dpo learns from preference rows"),
        (("rloo", "--reward", "none.py:f"), "there is no file none.py"),
        (("grpo",), "needs a reward"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_the_next_step(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    model = tiny.folder(tmp_path / "model")
    data = talks(tmp_path / "talks.jsonl")
    method, *options = words
    done = run(method, data, "--model", model, "-o", tmp_path / "out", *options)
    assert done.exit_code == 2, done.output
    assert said in done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.folder(tmp_path_factory.mktemp("model"))


ASKED = {"prompt": [{"role": "user", "content": "q?"}]}
GOOD, BAD = ([{"role": "assistant", "content": text}] for text in ("yes", "no, never"))
# A row of each kind, and where a number or a text of it stands.
ROWS: dict[str, tuple[dict[str, Any], str]] = {
    "sft": ({"messages": [*ASKED["prompt"], *GOOD]}, '"yes"'),
    "preference": ({**ASKED, "chosen": GOOD, "rejected": BAD, "margin": 5}, "5"),
    "unpaired": ({**ASKED, "completion": GOOD, "label": True}, "true"),
    "ranked": (
        {**ASKED, "candidates": [{"messages": t, "score": s} for t, s in ((GOOD, 5), (BAD, 4))]},
        "5",
    ),
    "prompt": (ASKED, '"q?"'),
}


@pytest.mark.parametrize("method", methods())
def test_files_without_a_row_end_in_words_and_one_row_is_warned_of(
    method: str, model: Path, tmp_path: Path
) -> None:
    record, number = ROWS[methods()[method].learns_from[0]]
    row, data = json.dumps(record), tmp_path / "rows.jsonl"
    options = ("--reward", "math:sqrt") if methods()[method].online else ()
    words = (method, data, "--model", model, *options)
    for text, said in (
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
        (row.replace(number, "NaN"), "not one readable row; line 1: NaN is not a JSON number"),
        (row.replace(number, "1e999"), "not one readable row; line 1: the number 1e999 is out of"),
    ):
        data.write_text(text)
        done = run(*words, "-o", tmp_path / "out")
        assert (done.exit_code, said in done.stderr) == (2, True), done.output
        assert not (tmp_path / "out").exists()
    data.write_text(row)
    done = run(*words, "--check-only")
    # A style ranker wants triples, KTO both classes.
    said = {"scar": "scar learns from triples", "kto": "one_class"}.get(method, "1 x one_row")
    assert said in done.output, done.output


def test_a_folder_must_be_named(tmp_path: Path) -> None:
    done = run("sft", talks(tmp_path / "talks.jsonl"), "--model", "local")
    assert done.exit_code == 2
    assert "-o DIR" in done.stderr


def test_the_folder_is_one_of_this_machine(tmp_path: Path) -> None:
    refused = run("sft", talks(tmp_path / "talks.jsonl"), "--model", "m", "-o", "s3://b/model")
    assert refused.exit_code == 2
    assert "cannot be s3://b/model: choose one of this machine" in refused.stderr


def test_progress_says_speed_and_time_left() -> None:
    progress = TrainingProgress(3, 10, 1234.5, 61.0, {"loss": 0.5, "grad_norm": 1.0})
    assert progress_text(progress) == ("step 3 of 10 | loss 0.5000 | 1,234 tokens/s | 1:01 left")


def test_the_shell_completes_methods() -> None:
    assert methods_that_begin("r") == ["reward", "rrhf", "rloo"]
    assert methods_that_begin("s") == ["sft", "simpo", "scar"]


def test_the_help_names_every_method() -> None:
    from curate.train.settings import methods

    said = " ".join(run("--help").stdout.split())
    assert all(re.search(rf"\b{name}\b", said) for name in methods())
    unknown = run("scarr", "x", "--model", "local", "-o", "out")
    assert unknown.exit_code == 2
    assert "did you mean 'scar'?" in unknown.stderr


def test_a_style_ranker_is_trained_and_ranks(tmp_path: Path) -> None:
    from tests.models.tiny import save_encoder
    from tests.train import planted

    encoder = save_encoder(tmp_path / "encoder", planted.WORDS)
    data = tmp_path / "triples.jsonl"
    data.write_text("\n".join(json.dumps(planted.record(n)) for n in range(20)))
    only = run("scar", data, "--model", encoder, "--check-only")
    assert only.exit_code == 0, only.output
    assert "16 train triples" in only.stdout
    assert "16 direct_human pairs learnt" in only.stdout
    figures = json.loads(run("scar", data, "--model", encoder, "--check-only", "--json").stdout)
    assert figures["figures"]["direct_human pairs learnt"] == 16
    out = tmp_path / "ranker"
    done = run("scar", data, "--model", encoder, "-o", out, "--max-steps", "2")
    assert done.exit_code == 0, done.output
    assert "scar: 2 steps" in done.stdout
    assert f"scar --model scar:{out}" in done.stdout
    again = run("scar", data, "--model", encoder, "-o", out, "--max-steps", "2")
    assert again.stdout == done.stdout
    told = run("scar", data, "--model", encoder, "-o", out, "--max-steps", "2", "--json")
    assert json.loads(told.stdout)["report"]["steps"] == 2
    refused = run("scar", data, "--model", encoder, "-o", out, "--merge")
    assert refused.exit_code != 0
    assert "no --merge" in refused.output
