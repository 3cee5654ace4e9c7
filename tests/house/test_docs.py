"""The documentation is checked like code: commands exist, links lead somewhere, the site builds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.environments import EXTRAS, names_of
from tests.house.places import ROOT

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")

# A module, and behind it in brackets the functions to look for.
MODULE = re.compile(r"`((?:curate|tests)/[\w/]+\.py)`(?: \(([^)]*)\))?")


def dead_links(page: Path) -> list[str]:
    """Return the relative links of `page` that lead nowhere."""
    links = LINK.findall(page.read_text(encoding="utf-8"))
    return [to for to in links if "://" not in to and not (page.parent / to).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](page.md) [b](gone.md#x) [c](https://example.org/x)")
    assert dead_links(page) == ["gone.md"]


def merge_marks(text: str) -> list[str]:
    """Return the lines that a merge left where two versions contradicted each other."""
    return re.findall(r"(?m)^(?:<{7}|>{7}) .*$", text)


def test_no_page_holds_two_versions_of_itself() -> None:
    assert not [page for page in PAGES if merge_marks(page.read_text(encoding="utf-8"))]
    assert merge_marks("a\n<<<<<<< HEAD\nb") == ["<<<<<<< HEAD"]


def missing_modules(page: Path) -> list[str]:
    """Return the modules and functions that `page` names and that are not there."""
    missing = []
    for path, names in MODULE.findall(page.read_text(encoding="utf-8")):
        module = ROOT / path
        if not module.exists():
            missing.append(path)
            continue
        text = module.read_text(encoding="utf-8") if module.is_file() else ""
        missing += [n for n in re.findall(r"`(\w+)`", names) if f"def {n}(" not in text]
    return missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_that_are_named_are_there(page: Path) -> None:
    assert missing_modules(page) == []


# A module of the package, named by its rooms in a docstring or comment: `kernels.sets.jaccard`,
# with or without what it defines.
ROOMS = "|".join(sorted(p.parent.name for p in (ROOT / "curate").glob("*/__init__.py")))
INSIDE = re.compile(rf"`((?:{ROOMS})(?:\.(?!jsonl|yaml)[a-z_]+)+)`")


def unknown_modules(text: str) -> list[str]:
    """Return the modules that a source text names by their rooms and that are not there."""
    unknown = []
    for name in INSIDE.findall(text):
        path = ROOT.joinpath("curate", *name.split("."))
        known = path.is_dir(), path.with_suffix(".py").is_file()
        if not any(known) and not path.parent.with_suffix(".py").is_file():
            unknown.append(name)
    return unknown


def test_modules_that_docstrings_name_are_there() -> None:
    modules = sorted((ROOT / "curate").rglob("*.py"))
    found = {m.name: unknown_modules(m.read_text(encoding="utf-8")) for m in modules}
    assert {name: unknown for name, unknown in found.items() if unknown} == {}


def test_an_unknown_module_is_found() -> None:
    text = "`kernels.jaccard` `kernels.sets.jaccard` `kernels.sets.jaccard.nearest_kept`"
    assert unknown_modules(text) == ["kernels.jaccard"]


def test_a_missing_module_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`curate/gone.py` and `curate/errors.py` (`gone`) and `curate/recipe/fields.py` (`fit`)"
    )
    assert missing_modules(page) == ["curate/gone.py", "gone"]


QUESTIONS = (
    "Where is a row dropped?",
    "Where is a request sent?",
    "Where is a file written?",
    "Where is money counted?",
    "Where is a duplicate decided?",
)
NEIGHBOUR = re.compile(r"`(?:(curate/[\w/]*)/)?(\w+\.py)`")


def wrong_answers(page: str) -> list[str]:
    """Return the questions without one line of their own, and the files that are not there.

    A bare file name is a neighbour of the module that its line names before it.
    """
    wrong = [
        q for q in QUESTIONS if len(re.findall(rf"(?m)^\| {re.escape(q)} \| .+\|$", page)) != 1
    ]
    for line in page.splitlines():
        folder = ""
        for given, name in NEIGHBOUR.findall(line):
            folder = given or folder
            if not (ROOT / folder / name).is_file():
                wrong.append(f"{folder}/{name}")
    return wrong


def test_the_first_questions_are_answered_by_a_line_each() -> None:
    page = (DOCS / "how-to" / "find-your-way.md").read_text(encoding="utf-8")
    assert wrong_answers(page) == []
    broken = page.replace("Where is a request sent?", "").replace("`generate.py`", "`gone.py`")
    assert wrong_answers(broken) == ["Where is a request sent?", "curate/engine/kinds/gone.py"]


def unlisted(navigation: str, pages: list[str]) -> list[str]:
    """Return the pages that the site's navigation does not lead to, and those that it has twice."""
    listed = re.findall(r"(?m)^ +- (?:[^\n]*: )?([\w/-]+\.md)$", navigation)
    return [page for page in pages if listed.count(page) != 1]


def test_every_page_is_in_the_navigation() -> None:
    text = (DOCS / "material" / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [str(page.relative_to(DOCS)) for page in sorted(DOCS.rglob("*.md"))]
    assert unlisted(text, pages) == []
    assert unlisted("nav:\n  - A: a.md\n  - B: b.md\n  - b.md\n", ["a.md", "b.md", "c.md"]) == [
        "b.md",
        "c.md",
    ]


# The package is on no index: whoever takes the name there would be installed.
FROM_INDEX = re.compile(r"pip install[^\n`]*\bcurate(?:-align)?\b")
HISTORY = ("CHANGELOG.md", "log.md")


def test_no_page_installs_from_an_index_that_does_not_have_it() -> None:
    found = [
        (page.name, line)
        for page in PAGES
        if page.name not in HISTORY
        for line in FROM_INDEX.findall(page.read_text(encoding="utf-8"))
    ]
    assert found == []
    assert FROM_INDEX.search("run `pip install 'curate-align[local]'`")
    assert not FROM_INDEX.search("`pip install -c constraints.txt -e '.[local]'`, then `curate`")


def test_every_package_of_an_extra_has_its_licence_named() -> None:
    table = (DOCS / "licences.md").read_text(encoding="utf-8")
    lacking = []
    for extra in EXTRAS.keys() - {"all", "dev", "docs"}:
        for package in names_of(EXTRAS[extra]):
            rows = [line for line in table.splitlines() if f"| {package} |" in line]
            if len(rows) != 1 or f"`{extra}`" not in rows[0].split("|")[1]:
                lacking.append(f"{extra}: {package}")
    assert sorted(lacking) == []


@pytest.mark.slow
def test_the_site_builds(tmp_path: Path) -> None:
    site = tmp_path / "site"
    config = DOCS / "material" / "mkdocs.yml"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", config, "-d", site]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in (p for p in PAGES if p.is_relative_to(DOCS)):
        at = site / page.relative_to(DOCS).with_suffix("")
        assert (at if at.name != "index" else at.parent).joinpath("index.html").is_file()
