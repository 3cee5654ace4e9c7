"""Templates over columns: PromptSource's files load and render as PromptSource renders them."""

from pathlib import Path

import jinja2
import pytest

from curate.errors import RecipeError, UsageError
from curate.prompts import collection as collections
from curate.prompts.collection import TaskTemplate, TemplateFault

PROMPTSOURCE = Path(__file__).resolve().parents[3] / "shared" / "data" / "promptsource"
# Rows with the columns of each dataset; some fields hold separators and templates.
ROWS = {
    "ag_news": [{"text": "Oil rises ||| again {{ x }}", "label": 2}],
    "cosmos_qa": [
        {"context": "c", "question": "q?", "label": n}
        | {"answer0": "a", "answer1": "b ||| x", "answer2": "None of these", "answer3": "d"}
        for n in range(4)
    ],
    "imdb": [{"text": "Great film", "label": 1}],
    "piqa": [{"goal": "To boil", "sol1": "Heat it", "sol2": "Cool it", "label": n} for n in (0, 1)],
    "squad": [
        {"title": "T", "context": "C", "question": "Q?", "id": "1"}
        | {"answers": {"text": ["A ||| B"], "answer_start": [0]}}
    ],
    "super_glue/boolq": [
        {"passage": "P", "question": "is it", "label": label} for label in (1, -1)
    ],
    "trec": [
        {"text": "Who?", "coarse_label": coarse, "fine_label": fine}
        for coarse, fine in ((0, 0), (1, 2), (2, 24), (3, 28), (4, 32), (5, 38))
    ],
    "xsum": [{"document": "D", "summary": "S", "id": "1"}],
}
PIPE = "3ed2dface8203c4c9dfb1a5dc58e41e0"


def escaped(value):
    if isinstance(value, dict):
        return {key: escaped(one) for key, one in value.items()}
    if isinstance(value, list):
        return [escaped(one) for one in value]
    return value.replace("|||", PIPE) if isinstance(value, str) else value


def as_promptsource_does(template, row):
    """Return the stripped parts: values escaped, rendered by plain jinja, split, unescaped."""
    environment, values = jinja2.Environment(), escaped(row)
    if template.answer_choices is not None:
        choices = environment.from_string(template.answer_choices).render(**values)
        values["answer_choices"] = [choice.strip() for choice in choices.split("|||")]
    text = environment.from_string(template.jinja).render(**values)
    return [part.strip().replace(PIPE, "|||") for part in text.split("|||")]


@pytest.mark.skipif(not PROMPTSOURCE.is_dir(), reason="needs ../shared/data/promptsource")
@pytest.mark.parametrize("name", sorted(ROWS))
def test_promptsource_files_render_as_there(name):
    found = collections.load(str(PROMPTSOURCE / f"{name.replace('/', '_')}.yaml"))
    assert found.title == name
    numbers = {"ag_news": 7, "cosmos_qa": 13, "imdb": 11, "piqa": 11, "squad": 6}
    assert len(found.templates) == (numbers | {"super_glue/boolq": 10, "trec": 18, "xsum": 10}).get(
        name
    )
    for template in found.templates:
        for row in ROWS[name]:
            task = template.render(row)
            wanted = as_promptsource_does(template, row)
            if task.input is None:
                assert wanted == [""], template.name
            else:
                assert [task.input, task.target] == wanted, template.name


def template(jinja, choices=None):
    return TaskTemplate("1", "mine", jinja, choices)


def test_a_separator_in_a_field_is_text():
    row = {"a": "left ||| right", "b": ["x|||", {"c": "|||y"}]}
    task = template(
        "{{ a }} ||| {{ b[0] }} {{ answer_choices | join(', ') }}", "{{ a }} ||| {{ b[1].c }}"
    ).render(row)
    assert task == ("left ||| right", "x||| left ||| right, |||y", ("left ||| right", "|||y"))


@pytest.mark.parametrize(
    ("jinja", "choices", "row", "message"),
    [
        ("{{ q }} ||| {{ answer_choices[label] }}", "no ||| yes", {"q": "?", "label": 2},
         r"'mine': list object has no element 2; the row's columns are q, label; it has 2 answer"),
        ("{{ q }} ||| {{ answer_choices[label] }}", "no ||| yes", {"q": "?", "label": -1},
         r"the place -1 is negative; a hidden label names no choice"),
        ("{{ q }} ||| {{ [a, q][label] }}", None, {"q": "?", "a": "!", "label": -1}, "hidden"),
        ("{{ q }} ||| {{ answer_choices[label] }}", "no ||| yes", {"q": "?", "label": "1"},
         r"'list object' has no attribute '1'"),
        ("{{ q }} ||| {{ answer }}", None, {"q": "?"},
         r"'answer' is undefined; the row's columns are q"),
        ("{{ q }} ||| {{ answer_choices[0] }}", None, {"q": "?"}, "'answer_choices' is undefined"),
        ("{% for x in q %}{{ x }} ||| {% endfor %}", None, {"q": ["a", "b"]},
         r"renders 3 parts; it must render an input and a target"),
        ("{{ q }}{% if q == '' %}|||{% endif %}", None, {"q": "?"}, "renders 1 parts"),
        ("{{ q * 99999999 }} ||| ", None, {"q": "?"}, "more than 10,000,000 characters"),
        ("{{ ','.join(q * 9999999) }} ||| ", None, {"q": "???"}, "more than 10,000,000 characters"),
        ("{{ range(10**9) | list }} ||| ", None, {}, "more than 200,000 numbers"),
        ("{{ q.__class__.__mro__ }} ||| ", None, {"q": "?"}, "unsafe"),
        ("{{ q }} ||| a", None, {"q": "a \udfff b"}, "half of a surrogate pair"),
    ],
)  # fmt: skip
def test_what_cannot_be_rendered_is_named(jinja, choices, row, message):
    with pytest.raises(TemplateFault, match=message):
        template(jinja, choices).render(row)


def test_a_constant_place_from_the_end_is_meant():
    listed = template("{{ ', '.join(a[:-1]) }} or {{ a[-1] }} ||| {{ a[-1] }}")
    assert listed.render({"a": [*"xyz"]}) == ("x, y or z", "z", None)


def test_choice_draws_from_the_seed():
    drawn = template("{{ a | choice }} ||| {{ a | most_frequent | join }}")
    row = {"a": ["x", "y", "y", "z"]}
    assert {drawn.render(row, seed).input for seed in range(20)} == {"x", "y", "z"}
    assert all(drawn.render(row, seed) == drawn.render(row, seed) for seed in range(20))
    assert drawn.render(row).target == "y"


FILE = "dataset: mine\ntemplates:\n  a:\n    name: one\n    jinja: 'x ||| y'\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("x ||| y", "x ||| y ||| z"), r"template 'one' has 2 separators; exactly one"),
        (FILE.replace("x ||| y", "x"), r"template 'one' has no separator; exactly one"),
        (FILE.replace("x ||| y", "{{ a ||| y"), r"'one' is not a valid template: .*line 1"),
        (FILE.replace("x ||| y", "{% include b %} ||| y"), r"'include' is not allowed"),
        (FILE + "  b:\n    name: one\n    jinja: 'x ||| y'\n", "two templates are named 'one'"),
        (FILE + "  a:\n    name: two\n    jinja: 'x ||| y'\n", "the key 'a' is there twice"),
        (FILE + "    choices: [a]\n", r"template a has the unknown keys \['choices'\]; allowed"),
        (FILE + "    answer_choices: 1\n", r"answer_choices is 1; it must be a string"),
        (FILE + "    metadata: !!python/object:os.system {}\n", "only plain data is"),
        (FILE + "    metadata: &a [*a]\n", "'a' contains itself"),
        ("templates: {}\n", r"the file lacks \['dataset'\]"),
        ("dataset: a\ntemplates: {}\n", "templates must be a mapping of ids"),
        ("- a\n", "the file must be a mapping"),
    ],
)
def test_a_broken_file_is_refused_when_it_is_loaded(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=message) as caught:
        collections.load(str(path))
    assert str(path) in str(caught.value)


def test_two_branches_may_each_have_a_separator(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(FILE.replace("x ||| y", "{% if a %}x ||| y{% else %}z ||| w{% endif %}"))
    [found] = collections.load(str(path)).templates
    assert (found.render({"a": 1})[:2], found.render({"a": 0})[:2]) == (("x", "y"), ("z", "w"))


def test_collections_are_found_by_name_and_templates_by_name_or_id():
    found = collections.load("gsm8k")
    assert [t.name for t in found.named(("answer_only", "explain the answer"))] == [
        "answer only",
        "explain the answer",
    ]
    with pytest.raises(UsageError, match=r"no template \['answer'\]; it has 'solve step by step'"):
        found.named(("answer",))
    with pytest.raises(UsageError, match=r"there is no collection 'gsm'; .*gsm8k"):
        collections.load("gsm")
    with pytest.raises(UsageError, match="there is no collection"):
        collections.load(str(Path("nowhere.yaml")))


def test_every_collection_of_the_package_loads():
    assert all(collections.load(name).templates for name in collections.names())
