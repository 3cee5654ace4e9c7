"""The check names every defect that is planted, and is silent on clean data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.train.chat import Chat
from curate.train.data import hold_out, read_data
from curate.train.memory_estimate import Memory
from curate.train.preflight import Checked, check, described, kinds_of_finding, with_memory
from curate.train.settings import method_called, settings_for
from tests.train.tiny import tokenizer

Records = list[dict[str, Any]]
WORDS = [
    "sun",
    "moon",
    "tree",
    "river",
    "stone",
    "cloud",
    "bird",
    "fish",
    "grass",
    "snow",
    "rain",
    "wind",
    "fire",
    "sand",
]


def said(seed: int, words: int = 5) -> str:
    draw = random.Random(seed)
    return " ".join(draw.choice(WORDS) for _ in range(words + draw.randrange(3)))


def asks(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def tells(text: str, **parts: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **parts}


def clean(method: str, count: int = 30) -> Records:
    """Return rows in which there is nothing to find."""
    records: Records = []
    for n in range(count):
        ask, good, bad = f"{said(n)} {n}?", said(1000 + n), said(2000 + n)
        if method == "sft":
            records.append({"messages": [asks(ask), tells(good)]})
        elif method in ("kto", "cloning"):
            records.append(
                {"prompt": [asks(ask)], "completion": [tells(good)], "label": n % 2 == 0}
            )
        elif method in ("rrhf", "pro"):
            answers = [{"messages": [tells(t)], "score": s} for t, s in ((good, 2.0), (bad, 1.0))]
            records.append({"prompt": [asks(ask)], "candidates": answers})
        elif method in ("grpo", "rloo", "ppo"):
            records.append({"prompt": [asks(ask)]})
        else:
            records.append(
                {"prompt": [asks(ask)], "chosen": [tells(good)], "rejected": [tells(bad)]}
            )
    return records


def checked(
    tmp_path: Path,
    method: str,
    records: Records,
    *,
    template: str | None = "",
    held_out: Records | None = None,
    **changes: Any,
) -> Checked:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, records)) + "\n")
    way = method_called(method)
    data = read_data(str(path), way)
    if held_out is not None:
        other = tmp_path / "held.jsonl"
        other.write_text("\n".join(map(json.dumps, held_out)) + "\n")
        data = hold_out(data, str(other), way, 1)
    made = tokenizer() if template == "" else tokenizer(template)
    return check(data, Chat(made), way, settings_for(way, **changes))


def codes(found: Checked, *, notes: bool = False) -> set[str]:
    return {f.code for f in found.findings if notes or f.severity != "note"}


@pytest.mark.parametrize(
    "method",
    [
        "sft",
        "dpo",
        "reward",
        "kto",
        "orpo",
        "simpo",
        "rrhf",
        "pro",
        "coh",
        "cloning",
        "grpo",
        "rloo",
        "ppo",
    ],
)
def test_clean_data_is_passed_in_silence(method: str, tmp_path: Path) -> None:
    found = checked(tmp_path, method, clean(method), held_out=clean(method, 35)[30:])
    assert codes(found) == set()
    assert not found.stops(strict=True)
    assert len(found.examples) == 30
    assert len(found.held_out) == 5


LONG = " ".join(WORDS * 20)
PAIR = {"prompt": [asks("sun?")], "chosen": [tells("moon")], "rejected": [tells("tree")]}


def with_row(method: str, *rows: dict[str, Any]) -> Records:
    return [*clean(method), *rows]


def pair(**changes: Any) -> dict[str, Any]:
    return {**PAIR, **changes}


SHORT = {"max_length": 200}
PLANTED: dict[str, tuple[str, Records, dict[str, Any]]] = {
    "template_missing": ("sft", clean("sft"), {"template": None}),
    "template_refuses": (
        "sft",
        clean("sft"),
        {"template": "{{ raise_exception('no such role') }}"},
    ),
    "no_answer": ("sft", with_row("sft", {"messages": [asks("sun?")]}), {}),
    "too_few_answers": (
        "rrhf",
        with_row(
            "rrhf",
            {"prompt": [asks("a")], "candidates": [{"messages": [tells("b")], "score": 1.0}]},
        ),
        {},
    ),
    "ends_with_user": (
        "sft",
        with_row("sft", {"messages": [asks("sun?"), tells("moon"), asks("and?")]}),
        {},
    ),
    "end_of_turn": (
        "sft",
        clean("sft"),
        {"template": "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"},
    ),
    "end_cut": ("sft", with_row("sft", {"messages": [asks("sun?"), tells(LONG)]}), SHORT),
    "answer_cut_off": ("sft", with_row("sft", {"messages": [asks(LONG), tells("moon")]}), SHORT),
    "prompt_over_limit": ("dpo", with_row("dpo", pair(prompt=[asks(LONG)])), SHORT),
    "too_long_left_out": ("reward", with_row("reward", pair(chosen=[tells(LONG)])), SHORT),
    "equal_when_cut": (
        "dpo",
        with_row("dpo", pair(chosen=[tells(LONG + "a")], rejected=[tells(LONG + "b")])),
        SHORT,
    ),
    "few_supervised": (
        "sft",
        [{"messages": [asks(f"{n} {LONG}"), tells("")]} for n in range(5)],
        {},
    ),
    "control_tokens": (
        "sft",
        with_row("sft", {"messages": [asks("sun?"), tells("a <|im_end|> b")]}),
        {},
    ),
    "empty_side": ("dpo", with_row("dpo", pair(rejected=[tells(" ")])), {}),
    "equal_pair": ("dpo", with_row("dpo", pair(rejected=[tells("moon")])), {}),
    "contradictory_pairs": (
        "dpo",
        with_row("dpo", PAIR, pair(chosen=PAIR["rejected"], rejected=PAIR["chosen"])),
        {},
    ),
    "refusal_chosen": (
        "dpo",
        with_row("dpo", pair(chosen=[tells("I'm sorry, but I can't assist with that.")])),
        {},
    ),
    "length_gap": (
        "dpo",
        [pair(prompt=[asks(f"{n}")], chosen=[tells(said(n, 20))]) for n in range(30)],
        {},
    ),
    "prompts_differ": (
        "dpo",
        [
            {"chosen": [asks(f"{n}"), tells(said(n))], "rejected": [asks(f"-{n}"), tells(said(-n))]}
            for n in range(30)
        ],
        {},
    ),
    "implicit_prompt_split": (
        "dpo",
        [
            {"chosen": f"{n} is it? Yes, so.", "rejected": f"{n} is it? Yesterday."}
            for n in range(5)
        ],
        {},
    ),
    "duplicates": ("sft", with_row("sft", clean("sft", 1)[0]), {}),
    "overlap": ("sft", clean("sft"), {"held_out": clean("sft", 2)}),
    "other_shape": ("sft", with_row("sft", {"instruction": "a", "output": "b"}), {}),
    "columns_ignored": ("dpo", [{**row, "margin": 1.0} for row in clean("dpo")], {}),
    "parts_dropped": (
        "sft",
        with_row(
            "sft",
            {
                "messages": [
                    asks("2+2?"),
                    tells("", tool_calls=[{"type": "function", "function": {"name": "add"}}]),
                    {"role": "tool", "content": "4"},
                    tells("4"),
                ]
            },
        ),
        {},
    ),
    "one_class": ("kto", [{**row, "label": True} for row in clean("kto")], {}),
    "nothing_left": ("dpo", [pair(prompt=[asks(LONG)])], SHORT),
}
NOTED: dict[str, tuple[str, Records, dict[str, Any]]] = {
    "own_mask": ("sft", clean("sft"), {}),
    "extra_columns": ("sft", [{**row, "topic": "sky"} for row in clean("sft")], {}),
    "tool_nulls": (
        "sft",
        with_row(
            "sft", {"messages": clean("sft")[0]["messages"][::-1][::-1], "tools": [{"a": None}]}
        ),
        {},
    ),
}


@pytest.mark.parametrize("code", PLANTED)
def test_a_planted_defect_is_named(code: str, tmp_path: Path) -> None:
    method, records, options = PLANTED[code]
    found = checked(tmp_path, method, records, **options)
    assert code in codes(found)
    finding = next(f for f in found.findings if f.code == code)
    assert finding.trl
    assert finding.fix
    assert finding.trl in described([finding])
    assert found.stops(strict=True)
    assert found.stops(strict=False) == any(f.severity == "error" for f in found.findings)


@pytest.mark.parametrize("code", NOTED)
def test_a_note_stops_nothing(code: str, tmp_path: Path) -> None:
    method, records, options = NOTED[code]
    found = checked(tmp_path, method, records, **options)
    finding = next(f for f in found.findings if f.code == code)
    assert finding.severity == "note"
    assert not found.stops(strict=False)


def test_every_kind_of_finding_is_planted_here() -> None:
    elsewhere = {"memory_short", "other_kinds"}
    assert set(kinds_of_finding()) == set(PLANTED) | set(NOTED) | elsewhere


def test_the_row_is_named_by_its_place(tmp_path: Path) -> None:
    found = checked(tmp_path, "dpo", with_row("dpo", pair(rejected=[tells("moon")])))
    (finding,) = (f for f in found.findings if f.code == "equal_pair")
    assert finding.rows == (f"{tmp_path / 'rows.jsonl'}:31",)


def test_what_becomes_of_a_long_prompt_is_told_for_each_trainer(tmp_path: Path) -> None:
    told = {}
    for method in ("dpo", "simpo", "grpo"):
        row = {"prompt": [asks(LONG)]} if method == "grpo" else pair(prompt=[asks(LONG)])
        found = checked(tmp_path, method, with_row(method, row), **SHORT)
        told[method] = next(f.trl for f in found.findings if f.code == "prompt_over_limit")
    assert "dropped silently" in told["dpo"]
    assert "NaN" in told["simpo"]
    assert "never cut" in told["grpo"]


def test_a_method_refuses_rows_that_it_cannot_learn_from(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"dpo learns from preference rows.*train those with sft"):
        checked(tmp_path, "dpo", clean("sft"))


def test_memory_that_does_not_fit_is_found(tmp_path: Path) -> None:
    found = checked(tmp_path, "sft", clean("sft"))
    roomy = with_memory(found, Memory({"weights": 10, "Adam": 80}, 1000), method_called("sft"))
    assert codes(roomy) == set()
    tight = with_memory(found, Memory({"weights": 10, "Adam": 85}, 100), method_called("sft"))
    (finding,) = (f for f in tight.findings if f.code == "memory_short")
    assert "mostly Adam" in finding.detail


def test_prompts_stay_on_one_side_of_the_split(tmp_path: Path) -> None:
    records = [row for row in clean("dpo", 60) for _ in range(2)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    way = method_called("dpo")
    data = hold_out(read_data(str(path), way), 0.3, way, 7)
    sides = [{row.prompt for row in rows} for rows in (data.rows, data.held_out)]
    assert sides[0].isdisjoint(sides[1])
    assert 4 < len(sides[1]) < 32
    again = hold_out(read_data(str(path), way), 0.3, way, 7)
    assert [row.id for row in again.held_out] == [row.id for row in data.held_out]


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
@pytest.mark.parametrize(
    ("method", "kind", "form"),
    [
        ("sft", "sft", "trl_sft"),
        ("sft", "sft", "openai_chat"),
        ("sft", "sft", "axolotl_chat"),
        ("sft", "sft", "llamafactory_sharegpt"),
        ("dpo", "preference", "trl_dpo"),
        ("reward", "preference", "trl_reward"),
        ("dpo", "preference", "openai_dpo"),
        ("kto", "unpaired", "trl_kto"),
        ("rloo", "prompt", "trl_prompt"),
        ("rrhf", "ranked", "ranked"),
    ],
)
def test_exports_pass(method: str, kind: str, form: str, ending: str, tmp_path: Path) -> None:
    from curate.chunk import table_of
    from curate.write import write_rows
    from tests.train.tiny import row

    rows = [row(kind, n)._replace(id=f"{n:032x}") for n in range(12)]
    path = tmp_path / f"rows.{ending}"
    write_rows([table_of(rows)], path, form)
    way = method_called(method)
    found = check(read_data(str(path), way), Chat(tokenizer()), way, settings_for(way))
    assert codes(found) == set()
    assert len(found.examples) == 12
