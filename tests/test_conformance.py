"""Every operator in the tree keeps the contract; an operator added tomorrow is held to it, too."""

import importlib.util
import inspect
import itertools
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate import Pipeline
from curate.chunk import Chunk, table_of
from curate.engine.kinds.sketch import arrow_type
from curate.errors import UnusableReply
from curate.recipe import catalog
from curate.row import KINDS, Row
from curate.step import Decider, Drop, Filter, Generate, Product, Step, Verdicts, Whole
from tests.conformance import (
    Driver,
    embedded,
    made_by,
    outcome,
    reworded,
    rows_of_kind,
    same,
    scored,
)
from tests.step_values import steps

NAMES = list(catalog.operators())
any_operator = pytest.mark.parametrize("name", NAMES)


def runnable(name: str) -> Any:
    """Return an operator's name, with its tests left out where its extra is not installed."""
    cls = catalog.find(name)
    absent = [package for package in cls.packages if importlib.util.find_spec(package) is None]
    why = f"needs the extra '{cls.extra}'"
    marks = [pytest.mark.skipif(bool(absent), reason=why)]
    # It parses every text anew, for each example.
    marks += [pytest.mark.slow] if name == "verb_nouns" else []
    return pytest.param(name, marks=marks)


any_installed_operator = pytest.mark.parametrize("name", [runnable(n) for n in NAMES])
# Compiled kernels make the first example slow, and the data decide how many are tried.
few = settings(
    max_examples=8,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def accepted(step: Step) -> list[tuple[str, list[Row]]]:
    """Return the fixed rows of every kind that `step` takes and can read."""
    bare = ("prompt", "ranked") if getattr(step, "on", "") == "response" else ()
    return [(kind, rows_of_kind(kind, step)) for kind in step.kinds if kind not in bare]


@any_operator
def test_it_says_what_it_is_for(name: str) -> None:
    cls = catalog.find(name)
    first, *rest = inspect.cleandoc(cls.__doc__ or "").split("\n")
    assert re.match(r"[A-Z][a-z]+ .*\.$", first), "one sentence in the imperative"
    assert not rest or rest[0] == "", "a blank line behind the first sentence"
    assert cls.source, "cite the paper (or say that the method is common, or our own)"
    undocumented = [f["name"] for f in catalog.describe(cls)["fields"] if not f["doc"]]
    assert not undocumented, "name these fields in the docstring, in backticks"


@any_operator
def test_it_declares_what_it_takes(name: str) -> None:
    cls = catalog.find(name)
    assert set(cls.kinds) <= set(KINDS)
    assert cls.kinds
    assert cls.version >= 1
    assert catalog.kind_of(cls) != "step"
    assert not cls.packages or cls.extra, "a step that needs packages names their extra"


@any_installed_operator
@few
@given(st.data())
def test_yaml_and_python_are_the_same_step(name: str, data: st.DataObject) -> None:
    step = data.draw(steps([name]))
    assert Pipeline.from_yaml(Pipeline([step]).to_yaml()).steps == (step,)
    assert hash(step) == hash(replace(step))
    rules = {field: getattr(step, field) for field in step.rules()}
    assert replace(step, **rules).fingerprint() == step.fingerprint()
    assert not set(rules) & set(step.fingerprint())


@any_installed_operator
@few
@given(st.data())
def test_it_asks_and_answers_the_same_twice(name: str, data: st.DataObject) -> None:
    step = data.draw(steps([name]))
    for kind, rows in accepted(step):
        one, two = Driver(), Driver()
        assert same(outcome(step, rows, one), outcome(replace(step), rows, two)), kind
        assert one.asked == two.asked
        named = {request.model for request in one.asked}
        # An encoder left out is filled in when a pipeline is resolved.
        allowed = {*step.reads_models(), *([None] if step.embeds() else [])}
        assert named <= allowed, "a step asks only models that it declares"


@any_installed_operator
@few
@given(st.data())
def test_both_forms_agree(name: str, data: st.DataObject) -> None:
    step = data.draw(steps([name]))
    for kind, rows in accepted(step):
        chunk = Chunk(table_of(rows, step.reads_scores()), large=True)
        many = _many(step, chunk, rows)
        if many is not None:
            assert same(many, outcome(step, rows, Driver())), kind


def _many(step: Step, chunk: Chunk, rows: list[Row]) -> Any:
    """Return what the vectorised form says, in the form of `outcome`; `None`: it has none."""
    if isinstance(step, Filter):
        scores = step.score_many(chunk)
        if scores is None:
            return None
        details = scores.details or [None] * len(rows)
        values = [None if value != value else value for value in scores.values.tolist()]
        return [scored(v)._replace(detail=d) for v, d in zip(values, details, strict=True)]
    if isinstance(step, Generate):
        made = step.make_many(chunk)
        return None if made is None else [made_by(m, r) for m, r in zip(made, rows, strict=True)]
    if isinstance(step, Whole):
        columns = step.sketch_many(chunk)
        return None if columns is None else _sketches(step, columns).to_pylist()
    return None


def _sketches(step: Whole, columns: Any) -> pa.Table:
    if isinstance(columns, list):
        names = {name: [row[name] for row in columns] for name in step.sketch_types()}
        columns = {name: pa.array(v, _type(step, name)) for name, v in names.items()}
    return pa.table({name: _cast(columns[name], _type(step, name)) for name in step.sketch_types()})


def _type(step: Whole, name: str) -> pa.DataType:
    return arrow_type(step.sketch_types()[name])


def _cast(column: Any, type_: pa.DataType) -> Any:
    return column.cast(type_)


@any_installed_operator
@few
@given(st.data())
def test_a_drop_has_a_reason(name: str, data: st.DataObject) -> None:
    step = data.draw(steps([name]))
    for _, rows in accepted(step):
        for reason in _reasons(step, rows):
            assert reason.strip() == reason != ""
            assert reason.isprintable()
            assert len(reason) <= 80, "a reason is short: the ledger counts equal ones"


def _reasons(step: Step, rows: list[Row]) -> list[str]:
    try:
        found = outcome(step, rows, Driver())
    except UnusableReply:
        # The rows fail (no log-probabilities, say), and nothing is dropped.
        return []
    if isinstance(step, Filter):
        kept = [step.keep(score.value) for score in found]
        return [reason for reason in kept if reason is not None]
    if isinstance(step, Whole):
        try:
            verdicts = decided(step, rows)
        except ValueError:
            # It cannot decide about such rows: the run would stop, and nothing is dropped.
            return []
        return [verdicts.reasons[code] for code in verdicts.code if code >= 0]
    made = found.values() if isinstance(found, dict) else found
    flat = [one for many in made for one in (many if isinstance(many, list) else [many])]
    assert all(isinstance(one, Product) for one in flat), "a row it made is a Record"
    return [one.reason for one in flat if isinstance(one, Drop)]


def decided(step: Whole, rows: list[Row]) -> Verdicts:
    """Return the verdicts on `rows`, once they are seen to be sound and the same twice."""
    import numpy as np

    # A row whose replies cannot be used fails, and takes no part.
    sketched = [one for one in outcome(step, rows, Driver()) if isinstance(one, dict)]
    rows = rows[: len(sketched)]
    sketches = embedded(step, _sketches(step, sketched))
    positions = np.arange(len(rows), dtype=np.int64)
    one, two = step.decide(positions, sketches), step.decide(positions, sketches)
    for field in ("code", "score", "partner", "details", "notes"):
        assert same(getattr(one, field), getattr(two, field)), field
    assert len(one.code) == len(rows)
    if one.partner is not None:
        for code, partner in zip(one.code, one.partner, strict=True):
            assert partner < 0 or (code >= 0 and one.code[partner] < 0), "a partner is kept"
    empty = step.decide(positions[:0], sketches.slice(0, 0))
    assert len(empty.code) == 0
    decider = step.decider()
    if decider is not None:
        assert decided_as_they_come(decider, sketches) == decided_at_once(one, len(rows))
    return one


def decided_at_once(verdicts: Verdicts, count: int) -> list[tuple[Any, ...]]:
    """Return reason, score, partner, detail and note of every row."""
    nothing = [None] * count
    return [
        (verdicts.reasons[code] if code >= 0 else None, repr(float(score or 0)), *rest)
        for code, score, *rest in zip(
            verdicts.code.tolist(),
            nothing if verdicts.score is None else verdicts.score.tolist(),
            nothing if verdicts.partner is None else verdicts.partner.tolist(),
            verdicts.details or nothing,
            verdicts.notes or nothing,
            strict=True,
        )
    ]


def decided_as_they_come(decider: Decider, sketches: Any) -> list[tuple[Any, ...]]:
    """Return the same of rows that come in pieces of none to three."""
    out: list[tuple[Any, ...]] = []
    for size in itertools.cycle((1, 0, 3)):
        piece = sketches.slice(len(out), size)
        out += decided_at_once(decider.decide(piece), piece.num_rows)
        if len(out) == sketches.num_rows:
            return out
    raise AssertionError("unreachable")


@any_installed_operator
@few
@given(st.data())
def test_it_reads_only_the_text_it_names(name: str, data: st.DataObject) -> None:
    step = data.draw(steps([name]))
    # A `Whole` may group by the prompt besides, a judge shows a model the question, too, and test
    # sets are looked for in every turn.
    if not hasattr(step, "on") or not isinstance(step, Filter) or step.reads_models():
        return
    if getattr(step, "mode", None) == "ngrams":
        return
    for on, role in (("response", "user"), ("instruction", "assistant")):
        reading = replace(step, on=on)
        if "sft" not in reading.kinds:
            continue
        rows = rows_of_kind("sft", reading)
        others = [reworded(row, lambda turn, role=role: turn.role == role) for row in rows]
        assert same(outcome(reading, rows, Driver()), outcome(reading, others, Driver()))


# -- an operator added without touching a line here ------------------------------------------------

PLUGIN = '''
"""Shouting."""

from dataclasses import dataclass
from typing import ClassVar

from curate.row import On, Row
from curate.step import Filter, rule


@dataclass(frozen=True, kw_only=True)
class Shouting(Filter):
    """Drop rows whose text is mostly capital letters.

    The score is the share of capitals among letters; above `max` the row is dropped.
    """

    on: On = "whole"
    max: float | None = rule(None)

    source: ClassVar[str] = "our own"

    def score(self, row: Row) -> float:
        letters = [c for c in row.text(self.on) if c.isalpha()]
        return sum(c.isupper() for c in letters) / len(letters) if letters else 0.0

    def keep(self, score: float | None) -> str | None:
        if score is not None and self.max is not None and score > self.max:
            return f"share of capitals above {self.max:g}"
        return None
'''


@pytest.fixture
def plugin(tmp_path: Path) -> dict[str, str]:
    """Install a distribution with one operator in a folder of its own; return the environment."""
    (tmp_path / "loudness.py").write_text(PLUGIN)
    info = tmp_path / "loudness-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loudness\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[curate.steps]\nshouting = loudness:Shouting\n")
    return {**os.environ, "PYTHONPATH": str(tmp_path)}


def test_an_operator_of_a_plugin_is_found_and_held_to_the_contract(plugin: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", __file__, "-k", "shouting"]
    done = subprocess.run(
        [*command, "-p", "no:cacheprovider"],
        env=plugin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout, done.stdout


def test_a_plugin_works_like_any_other_step(plugin: dict[str, str], tmp_path: Path) -> None:
    code = (
        "from curate import Pipeline; from curate.steps import Shouting\n"
        "rows = [{'prompt': 'HELLO', 'completion': 'WORLD'}, {'prompt': 'a', 'completion': 'b'}]\n"
        "p = Pipeline.from_yaml('steps: [{shouting: {max: 0.5}}]')\n"
        "assert p == Pipeline([Shouting(max=0.5)])\n"
        "r = p.run(rows, run='run')\n"
        "assert r.summary['steps'][0]['reasons'] == {'share of capitals above 0.5': 1}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plugin,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_two_operators_of_one_name_are_refused(plugin: dict[str, str], tmp_path: Path) -> None:
    points = tmp_path / "loudness-1.0.dist-info" / "entry_points.txt"
    points.write_text("[curate.steps]\nlength = loudness:Shouting\n")
    command = [sys.executable, "-m", "curate.cli", "steps"]
    done = subprocess.run(command, env=plugin, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "two operators are named 'length'" in done.stderr
    assert "loudness" in done.stderr
