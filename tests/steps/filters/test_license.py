import json
from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.row import Message, Row
from curate.steps.filters.license import License
from tests.house.places import ROOT


def row(source: str | None, **extra: object) -> Row:
    fields = {"messages": (Message("user", "q"), Message("assistant", "a"))}
    text = json.dumps(extra) if extra else None
    return Row("0" * 32, (0, 0, 0), "sft", fields, source=source, extra=text)


@pytest.mark.parametrize(
    ("given", "score", "licences"),
    [
        (row("pairs"), 2, ["apache-2.0", "mit"]),
        (row("closed"), 1, ["cc-by-nc-4.0"]),
        (row("mixed"), 1, ["mit", "cc-by-nc-4.0"]),
        (row("pairs", license="CC-BY-NC-SA-4.0"), 1, ["cc-by-nc-sa-4.0"]),
        (row(None, licence="mit"), 2, ["mit"]),
        (row("other", license=3), 0, ["unknown"]),
        (row(None), 0, ["unknown"]),
    ],
)
def test_the_licence_of_a_row(given: Row, score: float, licences: list[str]) -> None:
    named = {"closed": "cc-by-nc-4.0", "pairs": "Apache-2.0, MIT", "mixed": "mit,cc-by-nc-4.0"}
    found = License(licenses=named).score(given)
    assert found.value == score
    assert found.detail == {"licences": licences}


def test_example_data_is_known() -> None:
    sources = {
        "math": ["pipelines/data/math.jsonl.gz"],
        "two": ["pipelines/data/pairs.jsonl.gz", "pipelines/data/chat.jsonl.gz"],
        "half": ["pipelines/data/math.jsonl.gz", "mine.jsonl"],
        "elsewhere": ["/x/math.jsonl.gz"],
        "named": ["pipelines/data/math.jsonl.gz"],
    }
    step = License(licenses={"named": "cc0-1.0"}).with_sources(sources)
    assert step.licenses == {"math": "mit", "two": "apache-2.0, mit", "named": "cc0-1.0"}
    assert License().with_sources({"a": ["b.jsonl"]}) == License()


def test_a_run_over_example_data(tmp_path: Path) -> None:
    file = ROOT / "pipelines" / "data" / "math.jsonl.gz"
    run = Pipeline([License(use="commercial")]).run(
        file, limit=20, run=tmp_path / "run", store=tmp_path / "store"
    )
    assert len(run.kept) == 20
    assert run.recipe["recipe"]["steps"][0]["license"]["licenses"] == {"input": "mit"}


def test_rules() -> None:
    assert [License().keep(n) for n in (0, 1, 2)] == [None, None, None]
    assert License(use="research").keep(0) == "licence not known"
    assert License(use="research").keep(1) is None
    assert License(use="commercial").keep(0) == "licence not known"
    assert License(use="commercial").keep(1) == "licence forbids commercial use"
    assert License(use="commercial").keep(2) is None


def test_a_mixture_is_cut_to_what_may_be_used(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {n}.", "output": f"{n}"} for n in range(6)]
    paths = {}
    for name, some in {"open": rows[:2], "closed": rows[2:5], "unknown": rows[5:]}.items():
        paths[name] = str(tmp_path / f"{name}.jsonl")
        Path(paths[name]).write_text("".join(json.dumps(r) + "\n" for r in some))
    known = {"open": "mit", "closed": "cc-by-nc-4.0"}
    pipeline = Pipeline([License(use="commercial", licenses=known)], inputs=paths)
    result = pipeline.run(run=tmp_path / "run", store=tmp_path / "store")
    assert len(result.kept) == 2
    assert result.summary["steps"][0]["reasons"] == {
        "licence forbids commercial use": 3,
        "licence not known": 1,
    }
