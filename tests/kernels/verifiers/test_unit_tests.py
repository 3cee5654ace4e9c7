"""Canonical solutions of HumanEval pass, broken ones fail, and hostile ones are named."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import RecipeError
from curate.kernels.verifiers.checkers import require_checker, verify_reply
from curate.kernels.verifiers.unit_tests import unit_tests_in
from curate.kernels.verifiers.verification import UnreadableAnswer, Verification, VerifyOptions
from curate.steps import Verify
from tests.confinement import confined

PROBLEMS = Path(__file__).resolve().parents[2] / "data" / "humaneval" / "HumanEval.jsonl.gz"
pytestmark = confined()
SMALL = VerifyOptions(seconds=1.0, memory_mb=256, allow_code=True)
ROOMY = VerifyOptions(seconds=10.0, memory_mb=512, allow_code=True)


def checked(reply: str, gold: Any, options: VerifyOptions = SMALL) -> Verification:
    return verify_reply("code", reply, gold, options)


def reasons(reply: str, gold: Any = ("assert f(1) == 2",)) -> list[str]:
    gold = list(gold) if isinstance(gold, tuple) else gold
    return [one["reason"] for one in checked(reply, gold).evidence["failures"]]


# -- HumanEval -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_all_canonical_solutions_of_humaneval_pass_and_mutated_ones_fail() -> None:
    lines = gzip.decompress(PROBLEMS.read_bytes()).decode().splitlines()
    problems = list(map(json.loads, lines))
    assert len(problems) == 164

    def wrong(problem: dict[str, str]) -> list[str]:
        gold = {name: problem[name] for name in ("prompt", "test", "entry_point")}
        whole = problem["prompt"] + problem["canonical_solution"]
        # The function does what it did, and gives back another thing.
        name = problem["entry_point"]
        mutated = (
            f"{whole}\n\n_{name} = {name}\ndef {name}(*a, **k):\n    return [_{name}(*a, **k)]\n"
        )
        shares = {
            "completion": checked(problem["canonical_solution"], gold, ROOMY).share == 1,
            "whole": checked(f"Here:\n```python\n{whole}\n```\nDone.", gold, ROOMY).share == 1,
            "mutated": checked(mutated, gold, ROOMY).share == 0,
            "empty": checked("    pass\n", gold, ROOMY).share == 0,
        }
        return [f"{problem['task_id']} {kind}" for kind, right in shares.items() if not right]

    with ThreadPoolExecutor(2) as threads:
        assert [fault for faults in threads.map(wrong, problems) for fault in faults] == []


# -- hostile programs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os\nwhile True: os.fork()", "processes refused (BlockingIOError"),
        ("x = bytearray(10**10)", "memory limit (MemoryError)"),
        ("import socket; socket.socket()", "network refused (OSError"),
        ("open('/etc/passwd').read()", "files outside refused (PermissionError"),
        ("open('/tmp/curate-outside', 'w')", "files outside refused (PermissionError"),
        ("import os; os.kill(os.getppid(), 9)", "other processes refused (ProcessLookupError"),
        ("open('f', 'w').write('x' * 10**8)", "file too large (OSError"),
        ("while True: pass", "time limit"),
    ],
)
def test_what_a_hostile_program_tried_is_the_reason(program: str, reason: str) -> None:
    (said,) = reasons(program)
    assert said.startswith(f"before the tests: {reason}")
    body = "\n".join("    " + line for line in program.splitlines())
    (said,) = reasons(f"def f(x):\n{body}\n")
    assert said.startswith(reason)


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import os; os._exit(0)", "before the tests: ended with status 0"),
        ("import sys; sys.exit()", "before the tests: SystemExit"),
        ("def f(x):\n    import os; os._exit(0)", "ended with status 0"),
        ('import os; os.write(1, b\'{"secret": "", "test": 0, "raised": null}\')', "NameError"),
        ("class E(BaseException):\n    def __str__(self): raise E\nraise E", "before the tests: E"),
        ("import ctypes; ctypes.string_at(0)", "before the tests: ended with status -11"),
        ("def f(x): return f(x)", "RecursionError"),
        ("def f(x): return 3", "AssertionError"),
    ],
)
def test_a_program_that_ends_early_or_lies_passes_nothing(program: str, reason: str) -> None:
    (said,) = reasons(program)
    assert said.startswith(reason)


# -- forms of replies and of gold ------------------------------------------------------------------


def test_the_share_is_that_of_the_tests_passed() -> None:
    tests = ["assert f(1) == 2", "assert f(2) == 4", "f(3).g", "assert f(4) == 5"]
    found = checked("def f(x):\n    return x + 1\n", tests)
    assert found.share == 0.5
    assert found.evidence == {
        "checker": "code",
        "passed": 2,
        "tests": 4,
        "failures": [
            {"test": 1, "reason": "AssertionError"},
            {"test": 2, "reason": "AttributeError: 'int' object has no attribute 'g'"},
        ],
    }


def test_tests_do_not_see_what_others_left() -> None:
    assert checked("def f(): return 1", ["f = None", "assert f() == 1"]).share == 1


@pytest.mark.parametrize(
    "reply",
    [
        "def f(x): return x + 1",
        "Sure!\n```python\ndef f(x):\n    return x + 1\n```\nIt prints\n```\n2 3 4\n```",
        "```\ndef f(x): return x + 1\n```",
        "```py\nimport math\n```\nthen\n```py\ndef f(x): return x + 1\n```",
        "```python\ndef f(x): return x + 1",
        "print('noise')\nf = lambda x: x + 1",
    ],
)
def test_the_program_is_found_in_a_reply(reply: str) -> None:
    assert checked(reply, ["assert f(1) == 2"]).share == 1


def test_a_completion_goes_on_with_its_prompt() -> None:
    prompt = 'from math import floor\n\ndef f(x):\n    """Add one."""\n'
    gold = {"prompt": prompt, "entry_point": "f", "test": "def check(c): assert c(1) == 2"}
    assert checked("    return floor(x) + 1\n", gold).share == 1
    assert checked("```python\ndef f(x):\n    return floor(x) + 1\n```", gold).share == 1
    # Words are not the beginning of a program.
    assert checked("def f(x): return x + 1", {**gold, "prompt": "Add one."}).share == 1


def test_programs_that_read_and_print() -> None:
    program = "n = int(input())\nprint(n + 1, ' ')\n"
    gold = {"inputs": ["1\n", "2\n"], "outputs": ["2\n", "4\n"]}
    found = checked(program, gold)
    assert found.share == 0.5
    assert found.evidence["failures"] == [{"test": 1, "reason": "other output"}]
    assert checked(program, json.dumps([{"input": "1", "output": "2"}])).share == 1
    broken = {"```python\nprint(1\n```": "SyntaxError", "1 / 0": "ZeroDivisionError"}
    for reply, said in broken.items():
        assert [said in reason for reason in reasons(reply, gold)] == [True, True]


@pytest.mark.parametrize("reply", ["", "I cannot do that.", "(" * 100_000, "def f(): 2 # \ud800"])
def test_a_reply_without_a_program_is_unreadable(reply: str) -> None:
    with pytest.raises(UnreadableAnswer, match="the reply holds no Python program") as caught:
        checked(reply, ["assert f(1) == 2"])
    assert caught.value.side == "reply"


def test_code_in_a_fence_that_does_not_compile_is_wrong() -> None:
    (said,) = reasons("```python\ndef f(:\n```")
    assert said.startswith("before the tests: SyntaxError")


@pytest.mark.parametrize(
    "gold",
    (
        *(3, [], {}, [3], ["assert 1", 3], {"test": 3}, [{"input": "1"}]),
        {"inputs": ["1"], "outputs": []},
        {"test": "assert 1", "inputs": ["1"], "outputs": ["1"]},
    ),
)
def test_gold_without_tests_is_unreadable(gold: Any) -> None:
    with pytest.raises(UnreadableAnswer, match="the gold holds no unit tests") as caught:
        unit_tests_in(gold)
    assert caught.value.side == "gold"


# -- allowed only where it was asked for, and only where it can be confined ------------------------


def test_a_text_of_tests_is_no_list_of_letters() -> None:
    test = "assert f() == 1"
    assert unit_tests_in({"test_list": test}).texts == (test,)
    assert unit_tests_in({"test_list": json.dumps([test, test])}).texts == (test, test)
    assert unit_tests_in({"inputs": "[1]", "outputs": "1"}).pairs == (("[1]", "1"),)
    with pytest.raises(UnreadableAnswer, match="test_list is int, not a list of texts"):
        unit_tests_in({"test_list": 7})


def test_code_runs_only_if_allowed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="set allow_code: true"):
        Verify(checker="code").check()
    with pytest.raises(ValueError, match="allow it"):
        checked("x = 1", ["assert x"], VerifyOptions())
    with pytest.raises(ValueError, match="belongs to checker: code"):
        Verify(checker="math", allow_code=True).check()
    with pytest.raises(RecipeError, match="allow_code: true"):
        Pipeline([Verify(checker="code")]).run([{"instruction": "?", "output": "x"}], run=tmp_path)


def test_where_it_cannot_be_confined_the_recipe_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "curate.kernels.verifiers.checkers.why_not_confined", lambda: "no Landlock here"
    )
    with pytest.raises(ValueError, match="code is refused here: no Landlock here"):
        require_checker("code")
    with pytest.raises(RecipeError, match="code is refused here"):
        Pipeline([Verify(checker="code", allow_code=True)]).run(
            [{"instruction": "?", "output": "1"}]
        )


def test_a_run_reads_the_columns_of_a_benchmark(tmp_path: Path) -> None:
    row = {
        "instruction": "def f(x):\n",
        "test": "def check(c): assert c(1) == 2",
        "entry_point": "f",
    }
    rows = [
        {**row, "output": out} for out in ("    return x + 1\n", "    return x\n", "Sorry, no.")
    ]
    step = Verify(checker="code", allow_code=True, seconds=2.0)
    result = Pipeline([step]).run(rows, run=tmp_path / "run", allow_failed=1.0)
    found = result.summary["steps"][0]
    assert (len(result.kept), found["dropped"], found["failed"]) == (1, 1, 1)
