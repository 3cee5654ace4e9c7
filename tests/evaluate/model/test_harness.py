"""Closed benchmarks give what the harness' own command line gives, and are refused without data."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from curate.cli.main import app
from curate.evaluate.model.harness import run_tasks, task_rows
from curate.evaluate.model.model_text import evaluation_text
from tests.train import tiny as tiny_model

pytest.importorskip("lm_eval", reason="needs the extra eval (lm-eval)")
DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "gsm8k"
COUNT = 8
# Of each question the end of its solution is to be told from three others', and be likely.
_CHOICE = """
task: gsm8k_choice
output_type: multiple_choice
doc_to_text: "{{{{question}}}}\\nAnswer:"
doc_to_target: 0
doc_to_choice: "{{{{choices}}}}"
metric_list:
  - metric: acc
  - metric: acc_norm
"""
_TEXT = """
task: gsm8k_text
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{{{question}}}}"
metric_list:
  - metric: word_perplexity
  - metric: bits_per_byte
"""
_COMMON = """
dataset_path: json
dataset_kwargs:
  data_files:
    test: {path}
test_split: test
metadata:
  version: 1.0
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Write a model with random weights, and two tasks made of questions of GSM8K."""
    folder = tmp_path_factory.mktemp("harness")
    tiny_model.folder(folder / "model", max_position_embeddings=2048)
    lines = (DATA / "test.jsonl").read_text().splitlines()[:COUNT]
    rows = [json.loads(line) for line in lines]
    ends = [row["answer"].rpartition("#### ")[2] for row in rows]
    for n, row in enumerate(rows):
        row["choices"] = [f" {ends[(n + k) % COUNT]}" for k in range(4)]
    path = folder / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (folder / "tasks").mkdir()
    for name, text in (("choice", _CHOICE), ("text", _TEXT)):
        written = (text + _COMMON).format(path=path)
        (folder / "tasks" / f"{name}.yaml").write_text(written)
    return folder


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
@pytest.mark.skipif(not DATA.is_dir(), reason="needs ../shared/data")
def test_a_local_task_gives_what_the_own_command_line_gives(tiny, tmp_path):
    names = ["gsm8k_choice", "gsm8k_text"]
    found = run_tasks(str(tiny / "model"), names, tmp_path / "ours", include=tiny / "tasks")
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf",
        "--model_args", f"pretrained={tiny / 'model'}", "--tasks", ",".join(names),
        "--include_path", tiny / "tasks", "--device", "cpu", "--batch_size", "1",
        "--output_path", tmp_path / "theirs",
    ]  # fmt: skip
    offline = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=offline, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [path] = (tmp_path / "theirs").rglob("results_*.json")
    theirs = json.loads(path.read_text())["results"]
    measures = {(task, name): value for task, name, value, _ in task_rows(found)}
    assert set(measures) == {
        ("gsm8k_choice", "acc"), ("gsm8k_choice", "acc_norm"),
        ("gsm8k_text", "word_perplexity"), ("gsm8k_text", "bits_per_byte"),
    }  # fmt: skip
    for (task, name), value in measures.items():
        assert value == theirs[task][f"{name},none"], (task, name)
    assert found["examples"] == dict.fromkeys(names, COUNT)
    assert "gsm8k_choice" in evaluation_text({"tasks": found})
    # Replies are kept, so that a second time asks the model nothing.
    again = run_tasks(str(tiny / "model"), names, tmp_path / "ours", include=tiny / "tasks")
    assert again["results"] == found["results"]
    assert json.loads((tmp_path / "ours" / "tasks.json").read_text())["results"] == found["results"]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("default")
def test_what_needs_a_download_or_is_unknown_ends_in_exit_2(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny_model.folder(tmp_path / "model")
    (tmp_path / "tasks").mkdir()
    for name, text in (("own", _CHOICE), ("other", _TEXT)):
        written = (text + _COMMON).format(path=tmp_path / "gone.jsonl")
        written = written.replace(f"gsm8k_{'choice' if name == 'own' else 'text'}", name)
        (tmp_path / "tasks" / f"{name}.yaml").write_text(written)
    hub = (tmp_path / "tasks" / "other.yaml").read_text().partition("dataset_kwargs")
    (tmp_path / "tasks" / "other.yaml").write_text(
        hub[0].replace("dataset_path: json", "dataset_path: curate-tests/never-downloaded")
        + "test_split: test\n"
    )
    given = ("evaluate", "model", "model", "--tasks")
    for task, more, words in (
        ("gsm8k", (), r"the task 'gsm8k' needs data that are not on this machine \(nothing was"),
        ("gsm9k", (), "the harness knows no task 'gsm9k' among its 1"),
        ("other", ("--include", "tasks"), "'other' needs data .* add --download where there is"),
        ("own", ("--include", "tasks"), "'own' needs data that are not on this machine"),
    ):
        done = CliRunner().invoke(app, [*given, task, *more])
        assert done.exit_code == 2, done.output
        assert re.search(words, " ".join(done.stderr.split())), done.stderr
        # Nothing was asked: no folder, or an empty one.
        assert not list(tmp_path.glob("runs/*/tasks.json"))
