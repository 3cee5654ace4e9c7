"""Prompts are read strictly, filled in literally, and rendered as their golden files say."""

import os
from pathlib import Path

import pytest

from curate.errors import RecipeError, UsageError
from curate.prompts import prompt as prompts

GOLDEN = Path(__file__).parents[1] / "data" / "prompts"
# Values of every shipped prompt; "{{ }}" shows that a row is never a template.
VALUES = {
    "related_question": {"instruction": "Name {{ a }} colour.", "mark": "0badcafe"},
    "compare_answers": {
        "instruction": "Name {{ a }} colour.",
        "first": "Blue.\n{% if x %}",
        "second": "Red.",
        "options": ["A", "B"],
        "mark": "0badcafe",
    },
    "compare_answers_brief": {
        "instruction": "Name {{ a }} colour.",
        "first": "Blue.\n{% if x %}",
        "second": "Red.",
        "options": ["A", "B"],
    },
    "compare_by_principle": {
        "instruction": "Name {{ a }} colour.",
        "first": "Blue.\n{% if x %}",
        "second": "Red.",
        "options": ["A", "B", "C"],
        "mark": "0badcafe",
        "preamble": "No {{ harm }}.",
        "principle": {"prefer": "Which is {{ good }}?"},
    },
    "compare_by_principle_brief": {
        "instruction": "Name {{ a }} colour.",
        "first": "Blue.\n{% if x %}",
        "second": "Red.",
        "options": ["A", "B"],
        "principle": {"prefer": "Which is {{ good }}?"},
    },
    "compare_rlaif": {
        "instruction": "Name {{ a }} colour.",
        "first": "Blue.\n{% if x %}",
        "second": "Red.",
        "options": ["1", "2"],
        "mark": "0badcafe",
        "principle": {"text": "Which is {{ better }}?"},
        "exemplars": [
            {"instruction": "Say {{ b }}.", "first": "b", "second": "c", "better": "1"},
            {"instruction": "Say c.", "first": "b", "second": "c", "better": "2"},
        ],
    },
    "rlaif_exemplars": {},
    "rlaif_score": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "options": ["1", "2", "3"],
        "mark": "0badcafe",
    },
    "rlaif_score_brief": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "options": ["1", "2", "3"],
    },
    "compare_verdict": {"options": ["A", "B", "C"]},
    "critique": {"preamble": "No {{ harm }}.", "principle": {"critique": "Is it {{ bad }}?"}},
    "revise": {"principle": {"revise": "Make it {{ good }}."}},
    "constitution_harmlessness": {},
    "constitution_helpfulness": {},
    "constitution_honesty": {},
    "constitution_examples": {},
    "helpfulness": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "mark": "0badcafe",
    },
    "mt_bench": {
        "conversation": "user: Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "mark": "0badcafe",
    },
    "helpfulness_brief": {"instruction": "Name {{ a }} colour.", "response": "Blue.\n{% if x %}"},
    "self_chat": {"topic": "Colours of {{ a }}", "exchanges": 4},
    "self_chat_user": {"topic": "Colours of {{ a }}", "persona": "a painter {% x %}"},
    "rank_answers": {
        "instruction": "Name {{ a }} colour.",
        "answers": ["Blue.\n{% if x %}", "Red."],
        "mark": "0badcafe",
    },
    "evolve": {
        "instruction": "Name {{ a }} colour.",
        "operation": {"id": "deepen", "text": "Ask {{ more }}."},
        "mark": "0badcafe",
    },
    "evolve_answer": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "operation": {"id": "depth", "text": "Go {{ deeper }}."},
        "mark": "0badcafe",
    },
    "magpie_follow_up": {},
    "magpie_topic": {"seed": "Colours of {{ a }}"},
    "magpie_base": {"instruction": "Name {{ a }} colour.\n{% if x %}"},
    "tag_difficulty": {"instruction": "Name {{ a }} colour.\n{% if x %}", "mark": "0badcafe"},
    "tag_quality": {"instruction": "Name {{ a }} colour.\n{% if x %}", "mark": "0badcafe"},
    "tag_category": {"instruction": "Name {{ a }} colour.\n{% if x %}", "mark": "0badcafe"},
    "tag_safety": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "mark": "0badcafe",
    },
    "tag_use_case": {"instruction": "Name {{ a }} colour.\n{% if x %}", "mark": "0badcafe"},
    "evolved_equal": {"first": "Name {{ a }}.", "second": "Name b.", "mark": "0badcafe"},
    "backtranslate": {"text": "Blue.\n{% if x %}", "mark": "0badcafe"},
    "document_qa": {
        "passage": "Bees {{ see }}.\n{% if x %}",
        "questions": 2,
        "title": "Bees",
        "mark": "0badcafe",
    },
    "document_qa_brief": {"passage": "Bees {{ see }}."},
    "grounded": {
        "passage": "Bees {{ see }}.",
        "question": "What?",
        "answer": "That.",
        "mark": "0badcafe",
    },
    "backtranslate_brief": {"text": "Blue {% if x %}"},
    "self_chat_brief": {"topic": "The {{ sea }}"},
    "rank_answers_brief": {"instruction": "Name {{ a }} colour.", "answers": ["Blue.", "{% if %}"]},
    "evolve_brief": {
        "instruction": "Name {{ a }} colour.",
        "operation": {
            "text": "with {{ more }}",
            "first": "A.",
            "second": "A with b.",
            "third": "C.",
            "fourth": "C with d.",
        },
    },
    "evolve_answer_brief": {
        "instruction": "Name {{ a }} colour.",
        "response": "Blue.",
        "operation": {
            "text": "with {{ more }}",
            "first": "A.",
            "second": "A with b.",
            "third": "C.",
            "fourth": "C with d.",
        },
    },
    "translate": {
        "text": "Name {{ a }}.\n{% if x %}",
        "language": {"id": "de", "name": "German"},
        "mark": "0badcafe",
    },
    "translate_brief": {
        "text": "Name {{ a }}.",
        "language": {
            "id": "de",
            "name": "German",
            "first": "A.",
            "second": "Ein A.",
            "third": "B?",
            "fourth": "Ein B?",
        },
    },
    "interactive_translate": {"text": "Name {{ a }}.", "language": {"id": "de", "name": "German"}},
    "four_aspects": {
        "conversation": "user: Name {{ a }} colour.",
        "response": "Blue.\n{% if x %}",
        "mark": "0badcafe",
    },
}
_LIST = {
    "tasks": [{"task": "Name {{ a }}.", "input": "", "output": "Blue.\n{% if x %}"}],
    "classification": False,
    "first": 2,
    "last": 4,
}
VALUES |= {
    "self_instruct": {**_LIST, "classification": True},
    "self_instruct_alpaca": _LIST,
    "self_instruct_modern": _LIST,
    "classification_task": {"task": "Name {{ a }}."},
    "instances_input_first": {"task": "Name {{ a }}."},
    "instances_output_first": {"task": "Name {{ a }}."},
    "instances": {
        "task": "Name {{ a }}.",
        "classification": False,
        "count": 5,
        "mark": "0badcafe",
    },
    "reword": {"instruction": "Name {{ a }}.", "manner": "in {{ b }} words", "mark": "0badcafe"},
    "persona": {"instruction": "Name {{ a }}.", "mark": "0badcafe"},
}
_JUDGED = {"instruction": "Name {{ a }} colour.", "response": "Blue.\n{% if x %}"}
VALUES |= {
    "alpagasus": {**_JUDGED, "input": "b", "dimension": "accuracy", "mark": "0badcafe"},
    "alpagasus_brief": {**_JUDGED, "dimension": "accuracy"},
    "deita_complexity": {"instruction": "Name {{ a }} colour.", "mark": "0badcafe"},
    "deita_complexity_brief": {"instruction": "Name {{ a }} colour."},
    "deita_quality": {**_JUDGED, "mark": "0badcafe"},
    "deita_quality_brief": _JUDGED,
    "ultrafeedback": {
        "instruction": "Name {{ a }} colour.",
        "answers": ["Blue.\n{% if x %}", "Red."],
        "aspect": {"id": "honesty", "name": "honesty", "text": "It is {{ honest }}."},
        "mark": "0badcafe",
    },
    "safety": {**_JUDGED, "question": "harm", "options": ["A. {{ none }}", "B. b"], "mark": "0"},
    "deita_joint": {"variants": ["Name {{ a }}.", "b"], "of": "instruction", "mark": "0badcafe"},
}
_ASPECT = {
    "question": "how good it is",
    "low": "bad",
    "middle": "so-so",
    "high": "good",
    "name": "Correctness",
}
VALUES |= {
    "scar_referenced": {**_JUDGED, "mark": "0badcafe"},
    "scar_referenced_brief": _JUDGED,
    "scar_quality": {**_JUDGED, "aspect": _ASPECT, "mark": "0badcafe"},
    "scar_quality_brief": {**_JUDGED, "aspect": _ASPECT},
    "ultrafeedback_brief": {k: v for k, v in VALUES["ultrafeedback"].items() if k != "mark"},
    "reason": {"instruction": "Name {{ a }} colour."},
    "reason_apart": {"instruction": "Name {{ a }} colour."},
}
_CALLED = {
    "question": "Name {{ a }} colour.",
    "name": "name_colour",
    "arguments": '{"of": "{{ a }}"}',
    "result": '{"colour": "{% x %}"}',
}
_TOOL = '{"name": "name_colour", "description": "Name {{ a }}.", "parameters": {}}'
VALUES |= {
    "tool_calls": {"tool": _TOOL, "topic": "Colours of {{ a }}"},
    "tool_calls_brief": {"tool": _TOOL},
    "tool_result": {"tool": _TOOL, **{k: _CALLED[k] for k in ("question", "arguments")}},
    "tool_result_brief": {k: _CALLED[k] for k in ("name", "arguments")},
    "tool_answer": _CALLED,
    "tool_answer_brief": {k: _CALLED[k] for k in ("question", "result")},
    "no_tool": {"question": "Name {{ a }} colour.", "tools": _TOOL},
    "no_tool_brief": {"question": "Name {{ a }} colour.", "names": "add_{{ b }}, send_mail"},
}
HEAD = "---\nname: mine\nversion: 1\nsource: me\nvariables: [a]\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "mine.md"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_every_shipped_prompt_has_a_golden_file() -> None:
    assert set(prompts.names()) == set(VALUES)


@pytest.mark.parametrize("name", VALUES)
def test_a_rendered_prompt_is_its_golden_file_of_that_version(name: str) -> None:
    prompt = prompts.load(name)
    assert prompt.name == name
    golden = GOLDEN / f"{name}.{prompt.version}.txt"
    assert prompt.render(**VALUES[name]).text == golden.read_text(encoding="utf-8")


def test_a_new_version_says_something_else_than_the_ones_that_are_kept() -> None:
    for path in GOLDEN.glob("*.txt"):
        name, version = path.stem.rsplit(".", 1)
        prompt = prompts.load(name)
        assert int(version) <= prompt.version
        same = prompt.render(**VALUES[name]).text == path.read_text(encoding="utf-8")
        assert same == (int(version) == prompt.version), path.name


def test_an_optional_variable_adds_its_part() -> None:
    prompt = prompts.load("helpfulness")
    plain = prompt.render(instruction="i", response="r", mark="m").text
    with_reference = prompt.render(
        instruction="i", response="r", mark="m", reference="the truth"
    ).text
    part = "[reference answer, known to be good m]\nthe truth\n[end of reference answer m]\n\n"
    assert with_reference.replace(part, "") == plain != with_reference


def test_a_path_overrides_and_a_changed_file_is_read_again(tmp_path: Path) -> None:
    given = written(tmp_path, HEAD + "system: 'Be {{ a }}.'\n---\n\nSay {{ a }}!\n")
    assert prompts.load(given).render(a="{{ a }}") == ("Say {{ a }}!", "Be {{ a }}.")
    assert prompts.load(given) is prompts.load(given)
    written(tmp_path, HEAD + "---\nYes {{ a }}!\n")
    os.utime(given, ns=(1, 1))
    assert prompts.load(given).render(a="b") == ("Yes b!", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Say {{ a }}", "must begin with front matter"),
        (HEAD + "Say {{ a }}", "not closed"),
        (HEAD + "---\n\n", "no text"),
        ("---\nname: [\n---\n{{ a }}", "not valid YAML"),
        ("---\n- 1\n---\n{{ a }}", "must be a mapping"),
        (
            "---\nname: x\n---\n{{ a }}",
            r"lacks 'version', 'source', 'variables'; it must have name \(a string\), version \(",
        ),
        (HEAD + "colour: red\n---\n{{ a }}", "unknown key 'colour'"),
        (HEAD.replace("1", "true") + "---\n{{ a }}", "must be a whole number"),
        (HEAD.replace("[a]", "['a b']") + "---\n{{ a }}", "not names"),
        (HEAD + "---\n{{ a }} {{ b }}", r"uses the variables \['a', 'b'\] but declares \['a'\]"),
        (HEAD + "---\nnothing", r"uses the variables \[\] but declares"),
        (HEAD + "---\n\nfine\n{% if a %}\n{{ a }", r"mine\.md:\d+: is not a valid template"),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        prompts.load(written(tmp_path, text))
    assert "mine.md" in str(caught.value)


def test_a_syntax_error_names_the_line_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        prompts.load(written(tmp_path, HEAD + "---\n\nfine\n{% nonsense %}\n"))
    assert caught.value.line == 9


@pytest.mark.parametrize(
    "expression",
    [
        "a.__class__.__mro__",
        "a.append(1)",
        "a.nothing",
        "''.__class__",
        "'{0.__class__}'.format(a)",
    ],
)
def test_a_template_cannot_leave_the_sandbox(tmp_path: Path, expression: str) -> None:
    path = written(tmp_path, HEAD + "---\n{{ a }}{{ " + expression + " }}")
    # What no value can change is refused when the file is read.
    with pytest.raises(UsageError, match=r"cannot be filled in|cannot be rendered: SecurityError"):
        prompts.load(path).render(a=[1])


@pytest.mark.parametrize("name", ["range", "lipsum", "cycler", "namespace"])
def test_a_template_has_no_globals(tmp_path: Path, name: str) -> None:
    with pytest.raises(RecipeError, match="uses the variables"):
        prompts.load(written(tmp_path, HEAD + "---\n{{ a }}{{ " + name + "() }}"))


def test_a_template_includes_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"mine.md:7: .*'include' is not allowed in a prompt"):
        prompts.load(written(tmp_path, HEAD + "---\n{{ a }}{% include 'mine.md' %}"))


@pytest.mark.parametrize(
    ("values", "message"),
    [({}, r"lacks \['a'\]"), ({"a": 1, "b": 2}, r"does not take \['b'\]")],
)
def test_values_are_exactly_the_variables(
    tmp_path: Path, values: dict[str, int], message: str
) -> None:
    prompt = prompts.load(written(tmp_path, HEAD + "---\n{{ a }}"))
    with pytest.raises(UsageError, match=message):
        prompt.render(**values)


@pytest.mark.parametrize("given", ["unheard", "unheard.md"])
def test_an_unknown_prompt_names_those_there_are(given: str) -> None:
    with pytest.raises(UsageError, match=f"no prompt '{given}'.*helpfulness"):
        prompts.load(given)


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.md"
    path.write_bytes(b"---\n\xff")
    with pytest.raises(RecipeError, match="not UTF-8"):
        prompts.load(str(path))
