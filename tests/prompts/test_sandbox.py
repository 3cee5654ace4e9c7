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
    began = time.monotonic()
    with pytest.raises(RecipeError, match=r"mine.md: cannot be rendered: "):
        prompt_of(tmp_path, body)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.monotonic() - began < 10
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
    with pytest.raises(RecipeError, match=r"mine.md:7: is no valid template: "):
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
        "a: &a [x, x]\nb: [*a, *a]",
        "a: &a {x: 1}\nb:\n  <<: [*a, *a]",
        "schema: " + "[" * 3000 + "]" * 3000,
    ],
)
def test_aliases_and_depth_in_front_matter_are_refused(tmp_path: Path, head: str) -> None:
    path = tmp_path / "mine.md"
    path.write_text(HEAD.replace("---\n", f"---\n{head}\n", 1) + "{{ a }}", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"anchor or alias|nested too deeply"):
        prompts.load(str(path))
