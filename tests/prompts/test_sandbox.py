"""Templates that would take hours or gigabytes are refused, in words and at once."""

import resource
import time
import tracemalloc
from pathlib import Path

import pytest

from curate.errors import RecipeError, UsageError
from curate.prompts import prompt as prompts

HEAD = "---\nname: mine\nversion: 1\nsource: me\nvariables: [a]\n---\n"


def prompt_of(tmp_path: Path, body: str) -> prompts.Prompt:
    path = tmp_path / "mine.md"
    path.write_text(HEAD + body, encoding="utf-8")
    return prompts.load(str(path))


LOOP = "{% for b in 'x' * 1000 %}{% for c in 'x' * 1000 %}{% endfor %}{% endfor %}"
DOUBLED = "{% set x = a ~ a %}" + "{% set x = x ~ x %}" * 60 + "{{ x }}"
ADDED = "{% set x = a + a %}" + "{% set x = x + x %}" * 60 + "{{ x }}"
REPLACED = "{{ a" + " | replace('t', 'tttttttttttttttttttt')" * 30 + " }}"
JOINED = "{{ a" + " | join(a * 1000)" * 5 + " }}"


@pytest.mark.parametrize(
    "body",
    [
        "{{ a * 10**9 }}",
        "{{ a * (10**9) }}",
        "{{ [a] * 999999999 }}",
        "{{ '%999999999s' % a }}{{ a }}",
        "{{ 9 ** 99999999 }}{{ a }}",
        DOUBLED,
        ADDED,
        REPLACED,
        JOINED,
        LOOP + "{{ a }}",
    ],
    ids=lambda body: body[:30],
)
def test_what_multiplies_is_refused_when_the_prompt_is_loaded(tmp_path: Path, body: str) -> None:
    tracemalloc.start()
    began = time.process_time()
    with pytest.raises(RecipeError, match=r"mine.md: cannot be rendered: "):
        prompt_of(tmp_path, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < 10
    assert peak < 200e6, f"{peak / 1e6:.0f} MB, {resource.getrusage(resource.RUSAGE_SELF)}"


@pytest.mark.parametrize(
    "body",
    [
        "{% macro m() %}{{ m() }}{{ m() }}{% endmacro %}{{ m() }}{{ a }}",
        "{% for b in a recursive %}{{ loop(a) }}{% endfor %}",
        "{{ a | center(999999999) }}",
        "{{ a | format }}",
        "{% block b %}{{ a }}{% endblock %}",
    ],
)
def test_what_a_prompt_may_not_hold_is_refused(tmp_path: Path, body: str) -> None:
    with pytest.raises(RecipeError, match=r"mine.md:7: is not a valid template: "):
        prompt_of(tmp_path, body)


@pytest.mark.parametrize("method", ["center(999999999)", "format(a)", "zfill(10**9)", "ljust(9)"])
def test_methods_that_make_a_text_longer_are_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises((RecipeError, UsageError), match="cannot be"):
        prompt_of(tmp_path, "{{ a." + method + " }}").render(a="x")


def test_a_bomb_that_needs_the_row_fails_the_row(tmp_path: Path) -> None:
    squared = "{% for b in a %}{% for c in a %}{% endfor %}{% endfor %}"
    prompt = prompt_of(tmp_path, squared)
    assert prompt.render(a="x" * 100).text == ""
    with pytest.raises(UsageError, match="loops take more than 200,000 rounds"):
        prompt.render(a="x" * 1000)


def test_ordinary_templates_are_as_they_were(tmp_path: Path) -> None:
    body = (
        "{% for b in a %}{{ loop.index }}. {{ b | trim | upper }}{% if not loop.last %}, "
        "{% endif %}{% endfor %} {{ a | join('-') }} {{ a[0].strip().startswith('x') }} "
        "{{ 'n' ~ a | length }} {{ a | map('length') | list | tojson }} {{ 2 * 3 + 1 }}"
    )
    assert (
        prompt_of(tmp_path, body).render(a=["x ", "y"]).text == "1. X, 2. Y x -y True n2 [2, 1] 7"
    )


@pytest.mark.parametrize(
    "head",
    [
        "a: &a [x, x]\nb: [" + "*a, " * 40_000 + "*a]",
        "a: &a {x: 1}\nb:\n  <<: [" + "*a, " * 60_000 + "*a]",
        "schema: " + "[" * 3000 + "]" * 3000,
    ],
)
def test_front_matter_cannot_blow_up(tmp_path: Path, head: str) -> None:
    path = tmp_path / "mine.md"
    path.write_text(HEAD.replace("---\n", f"---\n{head}\n", 1) + "{{ a }}", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"mine.md:\d+: .*(too often|nested too deeply)"):
        prompts.load(str(path))


def test_a_number_that_python_does_not_read_is_an_error_of_the_template(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"not a valid template: a number in it cannot be read"):
        prompt_of(tmp_path, "{{ a }} {{ " + "9" * 5000 + " }}")


TWICE = "{% set b = ['x'] %}" + "{% set b = [b, b] %}" * 40


@pytest.mark.parametrize(
    "body",
    [
        TWICE + "{{ b }}{{ a }}",
        TWICE + "{{ b | tojson }}{{ a }}",
        TWICE + "{{ b | join }}{{ a }}",
        TWICE + "{{ b == [a] }}{{ b | string | length }}",
        "{% set b = ('x',) %}" + "{% set b = (b, b) %}" * 40 + "{{ {b: a} }}",
        "{% for b in a * 100 %}{{ ('x' * 9000000) | upper | length }}{% endfor %}",
        "{% set b = '<' * 9000000 %}{{ b | escape | escape | escape | length }}{{ a }}",
        "{{ ('a ' * 4000000) | title | length }}{{ a }}",
        "{{ ('a' * 9000000)[::-1][::-1][::-1][::-1][::-1][::-1][::-1] | length }}{{ a }}",
        "{{ 10 ** 5000 }}{{ a }}",
    ],
    ids=lambda body: body[-40:],
)
def test_work_that_repeats_is_refused_when_the_prompt_is_loaded(tmp_path: Path, body: str) -> None:
    with pytest.raises(RecipeError, match=r"mine.md: cannot be rendered: it (goes|makes)"):
        prompt_of(tmp_path, body)


@pytest.mark.parametrize(
    "body",
    [
        "{{ " + "(" * 3000 + "a" + ")" * 3000 + " }}",
        "{{ " + "not " * 3000 + "a }}",
        "{{ a" + " | string" * 3000 + " }}",
        "{% for b in a %}" * 25 + "{% endfor %}" * 25,
        "{% if a %}" * 120 + "{% endif %}" * 120,
        "{{ a }}" * 30_000,
    ],
    ids=lambda body: body[:30],
)
def test_a_template_that_is_too_deep_is_refused_in_words(tmp_path: Path, body: str) -> None:
    with pytest.raises(RecipeError, match=r"not a valid template: it (is nested too|has more)"):
        prompt_of(tmp_path, body)


def test_what_no_value_can_change_is_said_when_the_prompt_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be rendered: ZeroDivisionError"):
        prompt_of(tmp_path, "{{ a }}{{ 1 / 0 }}")
    # This is due to a value: rows have others than the texts of a first try.
    assert prompt_of(tmp_path, "{% for b, c in a.items() %}{{ b }}{% endfor %}").render(a={"x": 1})


@pytest.mark.parametrize(
    ("body", "value", "text"),
    [
        ("{% for b, c in a %}{{ b }}{{ c }}{% endfor %}", [("x", 1)], "x1"),
        ("{% for b, c in a | items %}{{ b }}{{ c }}{% endfor %}", {"x": 1}, "x1"),
        ("{{ 'odd' if a % 2 else 'even' }}", 3, "odd"),
        ("{{ {'yes': 1}[a | lower] }}", "Yes", "1"),
        ("{{ (a | trim).split(': ')[1] }}", " b: c", "c"),
        ("{% set b, c = (a | trim).split('|') %}{{ c }}", "b|c", "c"),
        ("{{ (a | string)[5] }}", 123456, "6"),
    ],
)
def test_what_some_values_make_a_text_is_no_fault_of_the_prompt(
    tmp_path: Path, body: str, value: object, text: str
) -> None:
    assert prompt_of(tmp_path, body).render(a=value).text == text
