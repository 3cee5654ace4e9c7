"""Chat templates in the sandbox: the text of transformers for published ones, bounds for bombs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trl
from jinja2 import TemplateError

from curate.errors import RecipeError
from curate.models.inprocess.chat_rendering import check_template_files, render_turns
from curate.prompts.chat_sandbox import chat_text
from tests.train.tiny import tokenizer

TEMPLATES = sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja"))
CALL = {"type": "function", "function": {"name": "add", "arguments": {"a": 2, "b": [2, None]}}}
PARAMETERS = {
    "type": "object",
    "properties": {"a": {"type": "integer", "description": "One\ntwo."}, "b": {"type": "array"}},
    "required": ["a"],
}
ADD = {"name": "add", "description": "Add <two>.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": ADD}]
TALKS: list[list[dict[str, Any]]] = [
    [{"role": "user", "content": "Hi"}],
    [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": " Hi & <b>é</b>\n"},
        {"role": "assistant", "content": "<think>\nso\n</think>\n\nHello", "reasoning": "so"},
        {"role": "user", "content": "2+2?", "name": None},
        {"role": "assistant", "content": "4"},
    ],
    [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "4", "name": "add"},
        {"role": "assistant", "content": "It is 4."},
    ],
]


def text_or_error(render: Any) -> str | None:
    try:
        return str(render())
    except (TemplateError, TypeError, ValueError, KeyError):
        return None


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_published_templates_read_as_transformers_reads_them(path: Path) -> None:
    made = tokenizer(path.read_text())
    made.bos_token = "<s>"
    told = 0
    for talk in TALKS:
        for tools in (None, TOOLS):
            for ask in (False, True):
                for more in ({}, {"enable_thinking": False}):
                    options = more | ({"tools": tools} if tools else {})
                    expected = text_or_error(
                        lambda talk=talk, ask=ask, options=options: made.apply_chat_template(
                            talk, tokenize=False, add_generation_prompt=ask, **options
                        )
                    )
                    found = text_or_error(
                        lambda talk=talk, ask=ask, options=options: render_turns(
                            made, talk, ask=ask, options=options
                        )
                    )
                    assert found == expected
                    told += expected is not None
    assert told


HEAD = "{% set ns = namespace(x='0123456789', l=['a']) %}"
BOMBS = {
    "rounds": "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "range": "{% for a in range(10 ** 12) %}{% endfor %}",
    "doubled": HEAD + "{% for a in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "joined": HEAD + "{% for a in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "lists": HEAD + "{% for a in range(60) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
    "replaced": HEAD
    + "{% for a in range(60) %}{% set ns.x = ns.x.replace('0', ns.x) %}{% endfor %}",
    "filter": HEAD + "{% for a in range(60) %}{% set ns.x = ns.x|replace('0', ns.x) %}{% endfor %}",
    "method": HEAD + "{% for a in range(60) %}{% set ns.x = ns.x.join(ns.x) %}{% endfor %}",
    "times": "{{ 'a' * 10 ** 10 }}",
    "power": "{{ 2 ** 1000000 }}",
    "pads": "{{ '%1000000000d' % 1 }}",
    "format": "{{ '{:1000000000}'.format(1) }}",
    "center": "{{ 'a'.center(10 ** 10) }}",
    "rjust": "{{ 'a'.rjust(10 ** 10) }}",
    "set": "{% set a %}0123456789{% endset %}"
    + "".join("{% set a %}{{ a }}{{ a }}{% endset %}" for _ in range(40)),
    "loop in set": "{% set a %}{% for b in range(200000) %}"
    + "x" * 9000
    + "{% endfor %}{% endset %}",
    "macro": "{% macro d(x) %}{{ x }}{{ x }}{% endmacro %}{% set ns = namespace(x='0123456789') %}"
    "{% for a in range(60) %}{% set ns.x = d(ns.x) %}{% endfor %}",
    "tree": "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}"
    "{{ f(60) }}",
    "itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "caller": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}"
    + "{% call m() %}" * 15
    + "x" * 500
    + "{% endcall %}" * 15,
    "parts": "{% for a in range(200000) %}" + "{{ '' }}" * 5000 + "{% endfor %}",
    "branches": "{% for a in range(200000) %}" + "{% if a %}{% endif %}" * 3000 + "{% endfor %}",
    "indent": "{{ 'a\\nb' | indent(10 ** 10) }}",
    "tojson": "{{ [1] | tojson(indent=10 ** 9) }}",
    "dict": "{% set ns = namespace(d={'a': 1}) %}{% for a in range(60) %}"
    "{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d }}",
    "json of dict": "{% set ns = namespace(d={'a': 1}) %}{% for a in range(60) %}"
    "{% set ns.d = dict(a=ns.d, b=ns.d) %}{% endfor %}{{ ns.d | tojson }}",
    "recursive": "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "nested": "{% if a %}" * 5000 + "{% endif %}" * 5000,
    "source": "x" * 2_000_000,
    "include": "{% include '/etc/passwd' %}",
    "escape": "{{ ''.__class__.__mro__ }}{{ raise_exception(namespace(_a=1)) }}",
}
CHILD = """
import json, sys, time
from jinja2 import TemplateError
from curate.prompts.chat_sandbox import chat_text
from curate.system.posix import peak_memory_mb
said = {}
for name, source in json.load(sys.stdin).items():
    begun = time.process_time()
    try:
        chat_text(source, {"messages": [{"role": "user", "content": "x" * 1000}]})
        said[name] = [None, 0]
    except TemplateError as error:
        said[name] = [str(error), time.process_time() - begun]
print(json.dumps([said, peak_memory_mb()]))
"""


@pytest.mark.slow
def test_bombs_are_refused_in_seconds_and_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps(BOMBS), capture_output=True, text=True, check=True,
    )  # fmt: skip
    said, megabytes = json.loads(done.stdout)
    assert list(said) == list(BOMBS)
    for name, (words, seconds) in said.items():
        assert words, name
        assert seconds < 20, name
    assert megabytes < 500
    assert not done.stderr


def test_an_interrupt_ends_a_rendering() -> None:
    # The last moments of a template that is refused after seconds.
    source = "{% for a in range(190000) %}" + "{{ '' }}" * 10 + "{% endfor %}"
    code = "from curate.prompts.chat_sandbox import chat_text\nprint('on', flush=True)\nwhile True:"
    code += f"\n  try: chat_text({source!r}, {{}})\n  except ValueError: pass"
    child = subprocess.Popen(
        [sys.executable, "-c", "import signal\nsignal.signal(signal.SIGINT, "
         "signal.default_int_handler)\n" + code],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stdout.readline() == "on\n"
    time.sleep(0.5)
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert time.monotonic() - begun < 10


def test_a_template_may_do_what_published_ones_do() -> None:
    source = (
        "{%- set ns = namespace(n=0, seen=[]) -%}{%- macro show(x, sep=', ') -%}"
        "{{ x | join(sep) }}{%- endmacro -%}{%- for m in messages -%}{%- if m.skip -%}"
        "{%- continue -%}{%- endif -%}{%- set ns.n = ns.n + 1 -%}"
        "{%- set ns.seen = ns.seen + [m.content.split('x')[-1].strip()] -%}"
        "{% generation %}{{ loop.index0 }}{{ m['content'].replace('b', 'cc', 1) }}"
        "{% endgeneration %}"
        "{%- endfor -%}{{ show(ns.seen) }}{{ ns.n }}{{ {'a': 1} | tojson(indent=2) }}"
        "{{ undefined_name }}{{ '-'.join(['p', 'q']) }}{{ 'a\\n\\nb' | indent(2) }}"
    )
    messages = [{"content": "ax b b"}, {"content": "", "skip": True}, {"content": "bb"}]
    made = tokenizer(source)
    expected = made.apply_chat_template(messages, tokenize=False)
    assert render_turns(made, messages) == expected
    assert expected.startswith("0ax cc b2ccbb b, bb2{")


def test_a_template_says_why_it_refuses() -> None:
    with pytest.raises(TemplateError, match="only users"):
        chat_text("{{ raise_exception('only users') }}", {})


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer_config.json"])
def test_huge_files_of_templates_are_not_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    check_template_files(tmp_path)
    with open(tmp_path / name, "wb") as file:
        file.truncate(10 << 30)
    with pytest.raises(RecipeError, match=rf"{name}: 10,737,418,240 bytes; a chat template may"):
        check_template_files(tmp_path)
