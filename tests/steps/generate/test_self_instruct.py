"""Self-Instruct: its rules by name, its samples, and pools that nothing but the replies decides."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from curate import Pipeline
from curate.ask import Reply
from curate.cli.main import app
from curate.errors import UnusableReply
from curate.row import Message, Record
from curate.step import Drop, Failed, Made, Scored
from curate.steps.generate._tasks import shipped_seeds, task_of
from curate.steps.generate.classification_task import ClassificationTask
from curate.steps.generate.instances import Instances
from curate.steps.generate.self_instruct import SelfInstruct
from tests.engine.conftest import assert_conserved, fingerprint
from tests.models.chaos import Answer, Received, Server, chat

PAPER = SelfInstruct(model="m", preset="paper")
MODERN = SelfInstruct(model="m", preset="modern", repairs=0)


def proposed(step: SelfInstruct, reply: str | Reply, rows: Any = ()) -> tuple[Any, Any]:
    """Return what `step` makes of one reply, and what it asked."""
    sample = step.pool(rows).sample(random.Random(1))
    asking = step.propose(sample, random.Random(2))
    assert not isinstance(asking, list)
    asked = next(asking)  # type: ignore[call-overload]
    try:
        asking.send(Reply(text=reply) if isinstance(reply, str) else reply)  # type: ignore[union-attr]
    except StopIteration as end:
        return end.value, asked
    raise AssertionError("it asks again")


def texts(products: Any) -> list[str]:
    return [p.record.fields["prompt"][0].content for p in products if isinstance(p, Made)]


def reasons(products: Any) -> list[str | None]:
    return [p.reason if isinstance(p, Drop) else None for p in products]


# -- what a request shows, and asks for ------------------------------------------------------------


def test_the_shipped_seeds_are_those_of_the_paper():
    seeds = shipped_seeds()
    assert len(seeds) == 175
    assert sum(task_of(row).is_classification for row in seeds) == 26
    assert seeds[1].id == "seed_task_1"
    assert task_of(seeds[1]).task == "What is the relation between the given pairs?"
    assert task_of(seeds[1]).input == "Night : Day :: Right : Left"


def test_the_paper_shows_eight_tasks_and_leaves_the_ninth_open():
    _, asked = proposed(PAPER, " Name a metal that is liquid.")
    lines = asked.prompt.splitlines()
    assert [line.split(".")[0] for line in lines[2:]] == [str(n) for n in range(1, 10)]
    assert lines[-1] == "9."
    assert (asked.temperature, asked.top_p, asked.presence_penalty) == (0.7, 0.5, 2.0)
    assert (asked.max_tokens, asked.stop) == (1024, ("\n\n", "\n16."))


def test_six_seeds_and_two_grown_tasks_are_shown_once_there_are_any(make_row):
    pool = PAPER.pool(())
    seeds = {row.id for row in shipped_seeds()}
    assert len({row.id for row in pool.sample(random.Random(0))} & seeds) == 8
    for number, metal in enumerate(("iron", "tin", "zinc")):
        text = f"{metal} {metal}ware {metal}like {metal}ish thing{number}"
        record = Record("prompt", {"prompt": (Message("user", text),)})
        assert isinstance(pool.accept(record, f"grown {number}"), Scored)
    shown = [row.id for row in pool.sample(random.Random(0))]
    assert len(shown) == len(set(shown)) == 8
    assert len(set(shown) & seeds) == 6


def test_classification_alone_shows_marked_seeds(make_row):
    step = dataclasses.replace(PAPER, tasks="classification")
    _, asked = proposed(step, " Decide whether the fruit is ripe.")
    marked = {task_of(row).task for row in shipped_seeds() if task_of(row).is_classification}
    shown = [line.split(". ", 1)[1] for line in asked.prompt.splitlines()[2:-1]]
    assert len(shown) == 8
    assert all(any(line in " ".join(task.split()) for task in marked) for line in shown)
    assert "labels" in asked.prompt.splitlines()[0]
    row = make_row("prompt", {"prompt": (Message("user", "Name a metal, please."),)})
    with pytest.raises(ValueError, match="is_classification"):
        step.pool([row])


def test_rows_with_an_instruction_are_the_seeds(make_row):
    rows = [
        make_row("prompt", {"prompt": (Message("user", f"Say {word} in French, please."),)})
        for word in ("cat", "dog", "")
    ]
    blank = make_row("prompt", {"prompt": ()})
    products, asked = proposed(PAPER, " Name a metal that is liquid.", [*rows, blank])
    assert "Say cat in French, please." in asked.prompt
    assert asked.prompt.endswith("\n4.")
    # Shipped seeds are not rows of the run; the ledger names them.
    products, _ = proposed(PAPER, " Name a metal that is liquid.", [blank])
    assert len(products[0].detail["shown"]) == 8


# -- replies ---------------------------------------------------------------------------------------


def test_a_list_goes_on_and_keeps_acronyms():
    reply = " explain what NASA does in Houston\n10. write a haiku about SQL joins.\n11.  "
    products, _ = proposed(PAPER, reply)
    assert texts(products) == [
        "Explain what NASA does in Houston",
        "Write a haiku about SQL joins.",
    ]
    assert reasons(products)[2] == "no words"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("Name a metal", "fewer than 4 words"),
        ("word " * 151, "more than 150 words"),
        ("Describe the image in one line", "asks for what a text model cannot do"),
        ("Tell me where to go to at night", "asks for what a text model cannot do"),
        ("Describe how imagery works in poems", None),
        ("Write a program that adds two numbers", 'begins with "Write a program"'),
        ("- list three metals that rust", "begins with punctuation"),
        ("Écris un poème sur la mer", "begins with a character outside ASCII"),
        ("I'm sorry, but I cannot help with that", "refuses"),
        ("Name a \x1b[31mred metal for me", "control characters"),
        ("same " * 10_000, "more than 150 words"),
    ],
)
def test_each_rule_drops_by_its_name(task, reason):
    products, _ = proposed(PAPER, f" {task}")
    assert reasons(products) == [reason]


def test_modern_tasks_may_be_in_any_language_and_about_files():
    tasks = [
        "写一首关于大海的短诗",
        "Rename the file by its date, please",
        "¿Qué es el mar, en dos frases?",
    ]
    products, asked = proposed(MODERN, json.dumps({"tasks": tasks}))
    assert texts(products) == tasks
    assert asked.prompt is None
    assert asked.messages[0].role == "user"


@pytest.mark.parametrize(
    ("step", "reply"),
    [
        (PAPER, ""),
        (PAPER, " \n\t "),
        (PAPER, " Name a metal for me\n11. Name a gas for me"),
        (PAPER, " Name a metal for me\n9. Name a gas for me"),
        (PAPER, " 1. Write a poem about the sea"),
        (PAPER, Reply(text=" Name a metal for me\n10. Na", finish_reason="length")),
        (MODERN, "I'm sorry, but I cannot help with that."),
        (MODERN, '{"tasks": ["Name a metal for me",'),
        (MODERN, '{"tasks": []}'),
        (MODERN, '{"tasks": "Name a metal for me"}'),
        (MODERN, '{"tasks": ["a"]} {"tasks": ["b"]}'),
        (MODERN, "the " * 10_000),
        (SelfInstruct(model="m", preset="alpaca"), ""),
    ],
)
def test_what_cannot_be_read_fails_with_its_reply(step, reply):
    with pytest.raises(UnusableReply):
        proposed(step, reply)


def test_alpaca_tasks_come_with_input_and_output_and_bad_ones_fail_alone():
    reply = Reply(
        text=" Name a metal for me.\n4. Input:\n<noinput>\n4. Output:\nIron.\n###\n"
        "5. Instruction: Translate the word.\n5. Input:\ncat\n5. Output:\n###chat\n\n###\n"
        "7. Instruction: Count it all.\n7. Input:\nx\n7. Output:\n1\n###\n"
        "7. Instruction: Play some music now.\n7. Input:\nx\n7. Output:\n1\n###\n"
        "8. Instruction: Say something nice now.\n8. Input:\nx\n8. Output:\n1",
        finish_reason="length",
        key="k",
    )
    step = SelfInstruct(model="m", preset="alpaca")
    products, asked = proposed(step, reply)
    assert asked.prompt.endswith("###\n4. Instruction:")
    assert asked.stop == ("\n21.",)
    first, second, wrong, banned, cut = products
    assert [m.content for m in first.record.fields["messages"]] == ["Name a metal for me.", "Iron."]
    assert [m.content for m in second.record.fields["messages"]] == [
        "Translate the word.\n\ncat",
        "###chat",
    ]
    assert isinstance(wrong, Failed)
    assert "7. Instruction" in str(wrong.error)
    assert wrong.reply == reply
    assert (banned.reason, cut.reason) == (
        "asks for what a text model cannot do",
        "cut off at max_tokens",
    )


# -- the pool --------------------------------------------------------------------------------------


def test_a_task_at_the_limit_stays_and_one_above_names_its_witness(make_row):
    words = "one two three four five six seven eight nine ten"
    seed = make_row("prompt", {"prompt": (Message("user", words),)})
    step = dataclasses.replace(PAPER, neighbours=3)
    pool = step.pool([seed])

    def accept(text: str, row_id: str) -> Any:
        return pool.accept(Record("prompt", {"prompt": (Message("user", text),)}), row_id)

    at = accept("one two three four five six seven a b c", "a" * 32)
    assert at.value == 0.7
    assert at.detail == {"most_similar": [[seed.id, 0.7]], "mean": 0.7}
    above = accept("two three four five six seven eight nine x y", "b" * 32)
    assert (above.reason, above.partner) == ("similar to a seed task", seed.id)
    assert above.score == pytest.approx(0.8)
    # What was accepted counts at once, and what was refused never.
    like = accept("one two three four five six seven a b d", "c" * 32)
    assert (like.reason, like.partner) == ("similar to an accepted task", "a" * 32)
    assert len(like.detail["most_similar"]) == 2


# -- runs ------------------------------------------------------------------------------------------


def tasks_in(text: str, count: int) -> list[str]:
    """Return so many tasks that only `text` decides, no two of which share a word."""
    digest = hashlib.sha256(text.encode()).hexdigest()
    return [" ".join(f"w{digest[:6]}{task}x{k}" for k in range(5)) for task in range(count)]


def answer(request: Received, repeat: bool = False) -> Answer:
    """Answer every request of the recipe, each by its own text alone, at different speeds."""
    text = request.text
    delay = int(hashlib.sha256(text.encode()).hexdigest()[:2], 16) / 20_000
    if "Classification:" in text:
        said = "Yes" if len(text) % 2 else "No"
        likely = [{"token": one, "logprob": -1.0 - (one != said)} for one in ("Yes", "No")]
        top = {"token": said, "logprob": -1.0, "top_logprobs": likely}
        return dataclasses.replace(chat(said, logprobs={"content": [top]}), delay=delay)
    if 'Reply with one JSON object:\n{"instances"' in text:
        said = json.dumps(
            {"instances": [{"input": f"given {n}", "output": "so"} for n in range(2)]}
        )
    else:
        said = json.dumps({"tasks": tasks_in("same" if repeat else text, 3)})
    return dataclasses.replace(chat(said), delay=delay)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(answer) as opened:
        yield opened


def pipeline(server: Server, *, concurrency: int = 8, **fields: Any) -> Pipeline:
    model = {"model": "openai:writer", "base_url": server.url, "max_concurrency": concurrency}
    model |= {"identity": fields.pop("identity", "writer")}
    fields = {"target": 60, "round_size": 4, "batch": 3, "keep_pool": True, **fields}
    steps = [
        SelfInstruct(model="writer", **fields),
        ClassificationTask(model="writer", only=("prompt",), examples=2),
        Instances(model="writer", only=("prompt",)),
    ]
    return Pipeline(steps, models={"writer": model}, inputs="pipelines/data/seed_tasks.jsonl.gz")


def test_pools_are_equal_at_any_concurrency_and_requests_as_many_as_counted(
    server: Server, tmp_path: Path
):
    calm = pipeline(server).run(run=tmp_path / "calm", store=tmp_path / "a")
    assert_conserved(calm)
    known = {row.id for row in (*calm.kept, *calm.used)}
    grown = [row for row in calm.used if row.kind == "prompt"]
    assert len(grown) == 60
    assert all(len(row.parents) == 8 and known.issuperset(row.parents) for row in grown)
    # Rounds of 4 requests with 3 tasks each, then two requests for each task.
    assert len(server.received) == calm.summary["requests"]["sent"] == 60 // 12 * 4 + 2 * 60
    assert calm.summary["kept"] == 175 + 2 * 60
    for number in (1, 64):
        other = pipeline(server, concurrency=number)
        other.run(run=tmp_path / f"{number}", store=tmp_path / f"store {number}")
        assert fingerprint(tmp_path / f"{number}") == fingerprint(tmp_path / "calm")


def test_another_model_temperature_or_prompt_asks_anew(server: Server, tmp_path: Path):
    own = tmp_path / "own.md"
    text = Path("prompts/self_instruct_modern.md").read_text()
    own.write_text(text.replace("Below are", "Here are"))
    sent = []
    variants: list[dict[str, Any]] = [
        {},
        {},
        {"identity": "another"},
        {"temperature": 0.5},
        {"prompt": str(own)},
        {"target": 24},
    ]
    for number, fields in enumerate(variants):
        fields = {"target": 12, **fields}
        short = dataclasses.replace(
            pipeline(server, **fields), steps=pipeline(server, **fields).steps[:1]
        )
        done = short.run(run=tmp_path / f"{number}", store=tmp_path / "store")
        sent.append(done.summary["requests"]["sent"])
    # The same again asks nothing, and a higher target only what is missing.
    assert sent == [4, 0, 4, 4, 4, 4]


def test_a_model_that_repeats_itself_ends_in_exit_4_with_what_was_made(tmp_path: Path):
    with Server(lambda request: answer(request, repeat=True)) as server:
        steps = pipeline(server).steps[:1]
        one = dataclasses.replace(pipeline(server), steps=steps)
        done = one.run(run=tmp_path / "run", store=tmp_path / "store")
        assert done.exit_code == 4
        assert done.summary["kept"] == 178
        reasons = done.summary["steps"][0]["reasons"]
        assert reasons == {"similar to an accepted task": 4 * 4 * 3 - 3}
        again = one.run(run=tmp_path / "run", store=tmp_path / "store")
        assert again.exit_code == 4
        assert len(server.received) == 16


def test_bad_replies_in_a_pool_fail_with_the_reply_kept(tmp_path: Path):
    said = ["", '{"tasks": [', "I cannot help with that.", json.dumps({"tasks": ["\x00 a b c d"]})]

    def bad(request: Received) -> Answer:
        return chat(said[len(server.received) % 4] or " ")

    with Server(bad) as server:
        # From nothing: shipped seeds are not rows of the run, and no parents of what fails.
        one = pipeline(server, concurrency=1, budget=4, repairs=0)
        one = dataclasses.replace(one, steps=one.steps[:1], inputs={"blank": {"count": 1}})
        done = one.run(run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0)
    step = done.summary["steps"][0]
    assert (step["made"], step["failed"], step["dropped"]) == (4, 3, 1)
    assert step["reasons"] == {"control characters": 1}
    failed = [row for path in done.failed.files() for row in pq.read_table(path).to_pylist()]
    assert [row["parents"] for row in failed] == [[]] * 3
    assert sorted(row["raw"].decode() for row in failed) == sorted([" ", *said[1:3]])


@pytest.mark.slow
def test_a_pool_survives_being_killed_at_seeded_instants(tmp_path: Path):
    dice = random.Random("self-instruct kills")
    with Server(answer) as server:
        pipeline(server).run(run=tmp_path / "calm", store=tmp_path / "calm store")
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(pipeline(server).to_yaml())
        command = [sys.executable, "-m", "curate", "run", str(recipe)]
        command += ["--store", str(tmp_path / "store"), "-o", str(tmp_path / "run")]
        for _ in range(5):
            until = len(server.received) + dice.randint(2, 25)
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            while process.poll() is None and len(server.received) < until:
                time.sleep(0.002)
            process.kill()
            process.wait()
        assert subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0
        # Nothing whose reply was committed is sent again: at most what was in flight at each kill.
        assert 2 * 140 <= len(server.received) <= 2 * 140 + 5 * 8
    assert fingerprint(tmp_path / "run") == fingerprint(tmp_path / "calm")


def test_generate_grows_from_the_shipped_seeds(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    command = ["generate", "self_instruct:batch=3", "-n", "12", "-o", "tasks.jsonl"]
    command += ["--model", "openai:writer", "--base-url", server.url]
    shown = CliRunner().invoke(app, [*command, "--dry-run"], prog_name="curate")
    # One round of five requests with three tasks each, and a repair for each at most.
    assert json.loads(shown.stdout)["estimate"]["requests"] == 10
    done = CliRunner().invoke(app, command, prog_name="curate")
    assert done.exit_code == 0, done.output
    assert len(Path("tasks.jsonl").read_text().splitlines()) == 12
    shown = server.received[0].text
    assert sum(task_of(row).task[:40] in shown for row in shipped_seeds()) >= 6


@pytest.mark.parametrize(
    ("output", "reason"),
    [("a\x1b[2J", "control characters"), ("ha " * 1000, "repeats itself"), ("Iron.", None)],
)
def test_alpaca_outputs_are_written_ones(output, reason):
    reply = f" Name a metal for me.\n4. Input:\n<noinput>\n4. Output:\n{output}"
    products, _ = proposed(SelfInstruct(model="m", preset="alpaca"), reply)
    assert reasons(products) == [reason]


def test_a_system_prompt_that_is_not_sent_is_refused(tmp_path: Path):
    own = tmp_path / "own.md"
    head = "---\nname: own\nversion: 1\nsource: me\nsystem: Be odd.\nvariables: "
    used = "{{ tasks }} {{ classification }} {{ first }} {{ last }}"
    own.write_text(f"{head}[tasks, classification, first, last]\n---\n{used}")
    with pytest.raises(ValueError, match="complete sends no system prompt, but own has one"):
        dataclasses.replace(PAPER, prompt=str(own)).prepare()
    dataclasses.replace(PAPER, prompt=str(own), complete=False).prepare()
    own.write_text(head + "[task]\n---\n{{ task }}")
    for step in (ClassificationTask, Instances):
        fields: dict[str, Any] = {"preset": "paper"} if step is Instances else {}
        with pytest.raises(ValueError, match="complete sends no system prompt"):
            step(model="m", prompt=str(own), complete=True, **fields).prepare()
        step(model="m", prompt=str(own), complete=False, **fields).prepare()
