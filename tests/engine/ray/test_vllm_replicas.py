"""vLLM under Ray, for real: two replicas are one model, also when one dies. `make test-vllm`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .conftest import MARK, environment, lines

# The folder of a small instruct model; the Makefile's target sets it.
MODEL = os.environ.get("CURATE_VLLM_MODEL")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.real,
    pytest.mark.skipif(
        any(find_spec(name) is None for name in ("vllm", "ray")) or not MODEL,
        reason="vLLM has its own set-up: make test-vllm",
    ),
]
# Greedy text of so many rows, and the likelihood of an answer that is given.
STEPS = """
import dataclasses, json
from pathlib import Path
from curate.ask import Ask, Likelihood
from curate.step import Filter


@dataclasses.dataclass(frozen=True, kw_only=True)
class Read(Filter):
    '''Note what a model writes, and how likely it finds a fixed answer.'''

    model: str | None = 'writer'
    log: str = ''

    def score(self, row):
        question = row.text('instruction')
        said, likely = yield [
            Ask.text(question, model=self.model, temperature=0, max_tokens=16, logprobs=2),
            Likelihood(prompt=question, answer=' It is a place in France.', model=self.model),
        ]
        tokens = [[one['token'], one['logprob'], one['top']] for one in said.logprobs]
        with Path(self.log).open('a') as file:
            file.write(json.dumps([question, tokens, list(likely.values)]) + '\\n')
        return sum(likely.values)

    def keep(self, score):
        return None
"""
PLACES = ("Paris", "Lyon", "Nice", "Lille", "Nantes", "Metz", "Tours", "Brest", "Arles", "Sens")
# So many that both replicas have some left when one is killed: forty took less than two seconds.
ROWS = 160
# Errors of bfloat16 depend on which requests are computed together; in float32 they are far less.
CLOSE = 0.02
# Engines take a minute to load, and several on cores that others use.
LONG = 400.0


def write(folder: Path) -> None:
    rows = [{"prompt": f"Where is {PLACES[n % 10]}, and who lives at number {n}?"}
            for n in range(ROWS)]  # fmt: skip
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "steps.py").write_text(STEPS)
    model = {"model": f"vllm:{MODEL}", "replicas": 2, "dtype": "float32", "enforce_eager": True,
             "max_model_len": 512, "max_num_seqs": 4}  # fmt: skip
    step = {"./steps.py:Read": {"log": str(folder / "log")}}
    whole = {"inputs": "rows.jsonl", "models": {"writer": model}, "steps": [step]}
    (folder / "recipe.yaml").write_text(json.dumps(whole))  # JSON is YAML.


def command(name: str, *more: str) -> list[str]:
    where = ["-o", name, "--store", f"{name}.store"]
    return [sys.executable, "-m", "curate", "run", "recipe.yaml", *where, *more]


def own(mark: str) -> dict[int, str]:
    """Return the processes that have a mark in their environment, and what they are called."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                called = path.with_name("cmdline").read_bytes().replace(b"\0", b" ")
                found[int(path.parent.name)] = called.decode(errors="replace").strip()
        except OSError:
            continue
    return found


def engines(mark: str) -> list[int]:
    return [pid for pid, name in own(mark).items() if name.startswith("VLLM::EngineCore")]


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def until(happened: Callable[[], bool], process: subprocess.Popen[str] | None) -> None:
    end = time.monotonic() + LONG
    while not happened():
        assert process is None or process.poll() is None, "the command has ended"
        assert time.monotonic() < end, "nothing came of it"
        time.sleep(0.2)


def said(log: Path) -> dict[str, Any]:
    """Return the tokens that were written and the likelihoods that were read, by question."""
    return {question: (tokens, likely) for question, tokens, likely in map(json.loads, lines(log))}


def far(one: Any, other: Any) -> float:
    """Return the largest difference of two answers' log-probabilities.

    Greedy texts part where two tokens are as likely as each other; what comes after says nothing.
    """
    (here, likely), (there, also) = one, other
    differences = [abs(a - b) for a, b in zip(likely, also, strict=True)]
    for (token, logprob, _), (second, reached, tops) in zip(here, there, strict=False):
        if token != second:
            differences.append(abs(reached - tops.get(token, -100.0)))
            break
        differences.append(abs(logprob - reached))
    return max(differences)


def test_two_replicas_are_one_model_and_one_may_die(tmp_path: Path) -> None:
    write(tmp_path)
    log, mark = tmp_path / "log", f"vllm-{os.getpid()}"
    own_environment = environment(**{MARK: mark, "VLLM_CPU_KVCACHE_SPACE": "1"})
    with (tmp_path / "told").open("w") as told:
        there = subprocess.Popen(
            command("there", "--engine", "ray"),
            cwd=tmp_path,
            env=own_environment,
            stdout=subprocess.DEVNULL,
            stderr=told,
            text=True,
        )
    try:
        until(lambda: len(engines(mark)) == 2 and len(lines(log)) >= 6, there)
        (first, _) = engines(mark)
        replica = parent(first)
        assert own(mark)[replica].startswith("ray::Replica")
        os.kill(replica, signal.SIGKILL)
        killed = time.monotonic()
        # Its engine would keep the memory that the next replica needs.
        until(lambda: first not in own(mark), there)
        print(f"the engine of a killed replica was gone after {time.monotonic() - killed:.1f} s")
        there.wait(timeout=LONG)
    finally:
        there.kill()
        there.wait()
    words = (tmp_path / "told").read_text()
    assert there.returncode == 0, words
    assert "writer: loading 2 replicas (2 on " in words
    assert "another one takes its place" in words
    until(lambda: not own(mark), None)
    two = said(log)
    log.unlink()
    here = subprocess.run(
        command("here"), cwd=tmp_path, env=own_environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr
    one = said(log)
    assert set(one) == set(two) and len(one) == ROWS
    reports = [json.loads((tmp_path / name / "report.json").read_text())
               for name in ("there", "here")]  # fmt: skip
    for report in reports:
        assert (report["kept"], report["failed"]) == (ROWS, 0)
        assert report["requests"] == {"sent": 2 * ROWS, "replayed": 0, "failed": 0, "retried": 0}
    distances = [far(one[question], two[question]) for question in one]
    same = sum([t for t, *_ in one[q][0]] == [t for t, *_ in two[q][0]] for q in one)
    print(f"{same} of {ROWS} greedy texts are equal, log-probabilities within {max(distances):.1e}")
    assert max(distances) < CLOSE
