"""The check names every defect that is planted, and is silent on clean data."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from curate.errors import UsageError
from curate.models.inprocess.chat import Chat
from curate.train.data import hold_out, read_data
from curate.train.memory_estimate import Memory
from curate.train.preflight import Checked, check, described, kinds_of_finding, with_memory
from curate.train.settings import method_called, methods, settings_for
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
    "score_missing": (
        "rrhf",
        with_row(
            "rrhf",
            {
                "prompt": [asks("a")],
                "candidates": [
                    {"messages": [tells(text)], "score": score}
                    for text, score in (("b", 1.0), ("c", 2.0), ("d", None))
                ],
            },
        ),
        {},
    ),
    "weight_unusable": ("sft", [{**row, "weight": "heavy"} for row in clean("sft")], {}),
    "one_row": ("sft", clean("sft", 1), {}),
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


@pytest.mark.parametrize("as_text", [True, False])
def test_a_tool_that_speaks_of_null_has_none(as_text: bool, tmp_path: Path) -> None:
    said = {"description": "Return null where nothing is found."}
    schema = {"type": "object", "properties": {"a": {"type": ["string", "null"], **said}}}
    for more, noted in (({}, False), ({"enum": None}, True)):
        tool = {"type": "function", "function": {"name": "f", "parameters": {**schema, **more}}}
        tools: Any = json.dumps([tool]) if as_text else [tool]
        found = checked(tmp_path, "sft", [{**row, "tools": tools} for row in clean("sft")])
        assert ("tool_nulls" in codes(found, notes=True)) == noted


def test_tools_without_end_are_a_defect_of_their_row(tmp_path: Path) -> None:
    first, *others = clean("sft")
    found = checked(tmp_path, "sft", [{**first, "tools": "[" * 50_000}, *others])
    assert "template_refuses" in codes(found)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"tools": "hammer"}, "Expecting value"),
        ({"chat_template_kwargs": [1]}, "chat_template_kwargs must be an object, found a list"),
    ],
)
def test_columns_that_no_template_reads_are_a_defect_of_their_row(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    first, *others = clean("sft")
    turns = [{**turn, "name": "a"} for turn in first["messages"]]
    found = checked(tmp_path, "sft", [{**first, "messages": turns, **columns}, *others])
    refused = [one for one in found.findings if one.code == "template_refuses"]
    assert [one.times for one in refused] == [1]
    assert said in refused[0].detail


@pytest.mark.parametrize(
    ("weight", "found"),
    [(0.5, 0.5), ("0.5", 0.5), (0, 0.0), (None, 1.0), (-1, None), ("", None), (True, None),
     ([1], None)],
)  # fmt: skip
def test_a_weight_is_a_number_or_named(weight: Any, found: float | None, tmp_path: Path) -> None:
    first, *others = clean("sft")
    seen = checked(tmp_path, "sft", [{**first, "weight": weight}, *others])
    assert ("weight_unusable" in codes(seen)) == (found is None)
    assert len(seen.examples) == 30 - (found is None)
    if found is not None:
        assert seen.examples[0].weight == found
    # Where nobody reads the column it may hold anything.
    row = {**clean("dpo")[0], "weight": weight}
    assert "weight_unusable" not in codes(checked(tmp_path, "dpo", [row, *clean("dpo")[1:]]))


def test_unwanted_answers_may_count_for_nothing_but_not_all_rows(tmp_path: Path) -> None:
    seen = checked(tmp_path, "cloning", clean("cloning"), loss={"unwanted": 0})
    assert codes(seen) == set()
    assert [one.weight for one in seen.examples] == [1.0, 0.0] * 15
    unwanted = [{**row, "label": False} for row in clean("cloning")]
    assert "nothing_left" in codes(checked(tmp_path, "cloning", unwanted, loss={"unwanted": 0}))
    assert "nothing_left" not in codes(checked(tmp_path, "cloning", unwanted))


def test_every_kind_of_finding_is_planted_here() -> None:
    elsewhere = {"memory_short", "other_kinds"}
    assert set(kinds_of_finding()) == set(PLANTED) | set(NOTED) | elsewhere


# What the check is to name, in words, and the codes that name it; each is planted above or below.
PROMISED: dict[str, tuple[str, ...]] = {
    "rows that will be cut, and at which end": ("end_cut", "too_long_left_out"),
    "an answer wholly cut": ("answer_cut_off",),
    "a prompt at or over the limit": ("prompt_over_limit",),
    "the share of supervised tokens": ("few_supervised", "no_answer"),
    "chat template, generation marks or our own mask": ("template_refuses", "own_mask"),
    "the end of turn is supervised": ("end_of_turn",),
    "no assistant turn": ("no_answer",),
    "ends with a user turn": ("ends_with_user",),
    "control tokens inside text": ("control_tokens",),
    "empty or equal pairs, equal after the cut, too": ("equal_pair", "equal_when_cut"),
    "an empty side": ("empty_side",),
    "contradictory pairs": ("contradictory_pairs",),
    "a refusal is chosen": ("refusal_chosen",),
    "a gap in length": ("length_gap",),
    "differing prompts of the two sides": ("prompts_differ",),
    "implicit prompts split inside a word": ("implicit_prompt_split",),
    "duplicates": ("duplicates",),
    "overlap of train and eval": ("overlap",),
    "rows of another shape than the first": ("other_shape", "other_kinds"),
    "columns that this trainer ignores": ("columns_ignored", "extra_columns"),
    "parts that it would drop": ("parts_dropped",),
    "tool schemas with nulls": ("tool_nulls",),
    "KTO with one class": ("one_class",),
    "lists without two scores, or with one too few": ("too_few_answers", "score_missing"),
    "weights that are not numbers": ("weight_unusable",),
    "a table empty after drops, or nearly so": ("nothing_left", "one_row"),
    "a model folder without template": ("template_missing",),
    "memory, with its largest term": ("memory_short",),
}


def test_what_was_promised_is_all_that_there_is_and_all_of_it() -> None:
    codes_promised = {code for some in PROMISED.values() for code in some}
    assert codes_promised == set(kinds_of_finding())


def test_the_end_that_is_cut_is_named(tmp_path: Path) -> None:
    found = checked(tmp_path, "sft", with_row("sft", {"messages": [asks("sun?"), tells(LONG)]}),
                    **SHORT)  # fmt: skip
    (finding,) = (f for f in found.findings if f.code == "end_cut")
    assert "its end is cut" in finding.what
    assert finding.rows[0].endswith("rows.jsonl:31")
    # The beginning is what is left, without the end of the turn.
    assert len(found.examples[-1].answers[0].ids) == 200
    made = tokenizer()
    kept = made.decode(found.examples[-1].answers[0].ids)
    assert kept.startswith("<|im_start|>user\nsun?")
    assert not kept.endswith("<|im_end|>")


@pytest.mark.parametrize("method", ["sft", "dpo", "reward", "kto", "orpo", "coh", "rloo"])
def test_a_prompt_is_over_the_limit_from_the_very_token_on(method: str, tmp_path: Path) -> None:
    records = clean(method, 1)
    whole = checked(tmp_path, method, records).examples[0]
    asked = whole.prompt_length
    at, above = (checked(tmp_path, method, records, max_length=asked + n) for n in (0, 1))
    over = {"answer_cut_off", "prompt_over_limit", "nothing_left"}
    assert codes(at) & over
    assert not at.examples
    assert not codes(above) & {"answer_cut_off", "prompt_over_limit"}
    # One token of the answer is left; a reward model reads the last one, and leaves the row out.
    assert bool(above.examples) == (method != "reward")


def test_rows_without_any_supervised_token_stop(tmp_path: Path) -> None:
    records = [{"messages": [asks(f"{n}")]} for n in range(5)]
    found = checked(tmp_path, "sft", records)
    assert {"no_answer", "nothing_left"} <= codes(found)
    assert found.stops(strict=False)


def test_generation_marks_are_told_from_our_own_mask(tmp_path: Path) -> None:
    marked = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}"
        "{{ m['content'] }}<|im_end|>{% endif %}{{ '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    own = checked(tmp_path, "sft", clean("sft"))
    theirs = checked(tmp_path, "sft", clean("sft"), template=marked)
    assert "own_mask" in codes(own, notes=True)
    assert "own_mask" not in codes(theirs, notes=True)
    assert [e.answers for e in theirs.examples] == [e.answers for e in own.examples]


@pytest.mark.parametrize("method", [m.name for m in methods().values() if m.trainer != "ranker"])
def test_notes_are_silent_on_clean_data_too(method: str, tmp_path: Path) -> None:
    found = checked(tmp_path, method, clean(method))
    assert codes(found, notes=True) <= {"own_mask"}


def test_a_run_with_rows_of_another_kind_says_which(tmp_path: Path) -> None:
    from curate import Pipeline
    from curate.steps import Exact

    rows = [*clean("sft", 4), *clean("dpo", 7)[4:]]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows[:4])))
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows[4:])))
    inputs = {"a": str(tmp_path / "a.jsonl"), "b": str(tmp_path / "b.jsonl")}
    run = Pipeline([Exact()], inputs=inputs).run(run=tmp_path / "run", store=tmp_path / "store")
    way = method_called("dpo")
    data = read_data(str(run.folder), way)
    found = check(data, Chat(tokenizer()), way, settings_for(way))
    (finding,) = (f for f in found.findings if f.code == "other_kinds")
    assert (finding.detail, finding.times) == ("4 sft", 4)
    assert len(found.examples) == 3


def test_memory_is_told_by_its_terms_and_logits_only_where_they_are_built() -> None:
    from curate.train.memory_estimate import estimate
    from tests.train import tiny

    config = tiny.model().config
    names = {}
    for method, changes in (
        ("sft", {}),
        ("sft", {"loss": {"kl": 0.1}}),
        ("dpo", {}),
        ("dpo", {"adapter": "lora"}),
        ("orpo", {}),
        ("ppo", {}),
    ):
        way = method_called(method)
        found = estimate(config, way, settings_for(way, **changes), 2, 64, "cpu")
        assert found.largest == max(found.terms, key=lambda name: found.terms[name])
        names[method, *changes] = set(found.terms)
    always = {"weights", "gradients", "Adam", "activations"}
    assert names == {
        ("sft",): always,
        ("sft", "loss"): always | {"logits"},
        ("dpo",): always | {"reference"},
        ("dpo", "adapter"): always,
        ("orpo",): always,
        ("ppo",): always | {"reference", "logits"},
    }


def test_what_is_held_out_is_read_as_closely(tmp_path: Path) -> None:
    odd = {"instruction": "a", "output": "b"}
    found = checked(tmp_path, "sft", clean("sft"), held_out=[*clean("sft", 60)[30:], odd])
    (finding,) = (f for f in found.findings if f.code == "other_shape")
    assert finding.rows == (f"{tmp_path / 'held.jsonl'}:31",)


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
    with pytest.raises(UsageError, match=r"curate filter INPUT unpack:side=chosen -o OUT"):
        checked(tmp_path, "sft", clean("dpo"))


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
    # A run that was split has its own.
    assert hold_out(data, 0.0, way, 7) is data
    with pytest.raises(UsageError, match=r"0\.3 is a share, but the split of .* holds out"):
        hold_out(data, 0.3, way, 7)


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


NATURAL = {
    "sft": "sft", "preference": "dpo", "ranked": "rrhf", "unpaired": "kto", "prompt": "rloo",
}  # fmt: skip
# Forms for people who label, and two of other trainers that tell not by themselves what they are.
OF_OTHERS = (
    "argilla_preference", "argilla_prompt", "argilla_ranked", "argilla_sft", "argilla_unpaired",
    "axolotl_dpo",
)  # fmt: skip


def test_everything_that_is_exported_passes_or_is_refused(tmp_path: Path) -> None:
    from curate.chunk import table_of
    from curate.write import format_names, write_rows
    from tests.train.tiny import row

    chat, passed = Chat(tokenizer()), set()
    for form in format_names():
        for kind, method in NATURAL.items():
            rows = [row(kind, n)._replace(id=f"{n:032x}") for n in range(12)]
            path, way = tmp_path / f"{form}-{kind}.jsonl", method_called(method)
            try:
                write_rows([table_of(rows)], path, form)
            except UsageError:
                continue
            shape = form if form == "turns" else None
            if form in OF_OTHERS:
                with pytest.raises(UsageError, match=r"--columns|learns from"):
                    read_data(str(path), way, shape)
                continue
            found = check(read_data(str(path), way, shape), chat, way, settings_for(way))
            assert (form, codes(found), len(found.examples)) == (form, set(), 12)
            passed.add(form)
    # The others take no row of a single plain exchange, such as trees and verified answers.
    assert len(passed) >= 40


@pytest.mark.parametrize(
    ("steps", "method"),
    [
        ([{"convert": {"to": "preference", "threshold": 1.5}}], "dpo"),
        ([{"convert": {"to": "unpaired", "threshold": 1.5}}], "kto"),
        ([{"convert": {"to": "hindsight", "threshold": 1.5}}], "sft"),
        ([{"convert": {"to": "conditioned", "threshold": 1.5}}], "sft"),
        (["pairs", {"convert": {"to": "ranked"}}], "pro"),
        (["pairs"], "reward"),
        ([], "rrhf"),
        (["pairs", {"convert": {"to": "unpaired"}}], "cloning"),
    ],
)
def test_what_converters_and_pairs_make_passes(
    steps: list[Any], method: str, tmp_path: Path
) -> None:
    import yaml

    from curate import Pipeline

    records = [
        {
            "prompt": [asks(f"{said(n)} {n}?")],
            "candidates": [
                {"messages": [tells(said(100 * k + n))], "score": float((k + n) % 3)}
                for k in range(1, 4)
            ],
        }
        for n in range(20)
    ]
    path = tmp_path / "ranked.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    recipe = yaml.safe_dump({"inputs": str(path), "steps": [*steps, {"exact": {"on": "whole"}}]})
    run = Pipeline.from_yaml(recipe).run(run=tmp_path / "run", store=tmp_path / "store")
    assert run.exit_code == 0
    way = method_called(method)
    data = read_data(str(run.folder), way)
    found = check(data, Chat(tokenizer()), way, settings_for(way))
    # Where a pair comes from, and its margin, stand beside it; only `reward` reads margins.
    assert codes(found) <= {"columns_ignored"}
    assert len(found.examples) >= 20
