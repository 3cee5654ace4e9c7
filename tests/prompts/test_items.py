"""Prompt files that hold lists: each item has an id, and the ledger can name it."""

from pathlib import Path
from typing import Any

import pytest

from curate import Pipeline
from curate.errors import RecipeError, UsageError
from curate.prompts import PromptItem, load
from curate.row import Row
from curate.step import Filter, Scored

HEAD = "---\nname: principles\nversion: 1\nsource: me\nvariables: [answer, item]\nitems:\n"
ITEMS = "  - {id: honest, text: Say what is true.}\n  - {id: brief, text: Say little.}\n"
BODY = "---\n{{ item.text }} ({{ item.id }})\n{{ answer }}\n"


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "principles.md"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_one_item_is_rendered_as_its_fields(tmp_path: Path) -> None:
    prompt = load(written(tmp_path, HEAD + ITEMS + BODY))
    assert [item.id for item in prompt.items] == ["honest", "brief"]
    assert prompt.item("brief") == PromptItem("brief", {"text": "Say little."})
    text = prompt.render(answer="{{ no }}", item=prompt.item("brief")).text
    assert text == "Say little. (brief)\n{{ no }}"
    with pytest.raises(UsageError, match="no item 'kind': honest, brief"):
        prompt.item("kind")


def test_a_template_may_show_all_items_or_those_it_is_given(tmp_path: Path) -> None:
    shots = HEAD.replace(", item]", "]") + (
        "  - {id: a, question: one, reply: '2'}\n  - {id: b, question: two, reply: '4'}\n"
    )
    each = "{% for one in items %}\nQ: {{ one.question }} A: {{ one.reply }}\n{% endfor %}\n"
    body = f"---\n{each}{{{{ answer }}}}"
    prompt = load(written(tmp_path, shots + body))
    assert prompt.render(answer="x").text == "Q: one A: 2\nQ: two A: 4\nx"
    assert prompt.render(answer="x", items=[prompt.item("b")]).text == "Q: two A: 4\nx"


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ("  - honest\n", "item 1 is 'honest'; it must be a mapping of texts"),
        ("  - {id: a, text: 3}\n", "it must be a mapping of texts"),
        ("  - {text: x}\n", "item 1 has the id ''; each needs its own"),
        ("  - {id: a b, text: x}\n", "has the id 'a b'"),
        ("  - {id: a, text: x}\n  - {id: a, text: y}\n", "item 2 has the id 'a'"),
        ("  - {id: a, text: x}\n  - {id: b, words: y}\n", r"item 2 \('b'\) has the fields"),
        ("  - {id: a, keys: x}\n", "names and not"),
        ("  - {id: a}\n", "has the fields"),
    ],
)
def test_items_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, items: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        load(written(tmp_path, HEAD + items + BODY))


def test_the_ledger_names_the_item(tmp_path: Path) -> None:
    path = written(tmp_path, HEAD + ITEMS + BODY)

    class Drawn(Filter):
        def score(self, row: Row) -> Scored:
            item = row.random("drawn").choice(load(path).items)
            return Scored(float(len(item.values["text"])), {"item": item.id})

        def keep(self, score: Any) -> str | None:
            return None

    rows = [{"instruction": f"q{n}", "output": "a"} for n in range(20)]
    result = Pipeline([Drawn()]).run(rows, run=tmp_path / "run", store=tmp_path / "store")
    lives = [result.explain(row.id).events for row in result.kept]
    named = {event["detail"]["item"] for events in lives for event in events}
    assert named == {"honest", "brief"}
