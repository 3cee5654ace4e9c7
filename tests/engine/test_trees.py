"""Where trees are read, `expand` runs first without being asked, and everything knows of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from curate import Pipeline
from curate.errors import RecipeError, UsageError
from curate.pipeline import Result
from curate.steps import Expand, Length, Near

from .conftest import assert_conserved, fingerprint, run
from .contract_steps import numbered


def node(role: str, text: str, *replies: dict[str, Any], **columns: Any) -> dict[str, Any]:
    return {"role": role, "text": text, "replies": [*replies]} | columns


def trees(count: int) -> list[dict[str, Any]]:
    """Return trees of two answers each, one of them answered again; every fifth has no answer."""
    out = []
    for n in range(count):
        long = node("assistant", f"a long answer to {n}", node("prompter", "more"), rank=0)
        replies = [] if n % 5 == 4 else [long, node("assistant", "short", rank=1)]
        out.append({"message_tree_id": f"t{n}", "prompt": node("prompter", f"q {n}", *replies)})
    return out


def written(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return str(path)


def test_trees_are_counted_in_and_their_conversations_made(tmp_path: Path) -> None:
    result = run([Length(min=2, on="response")], trees(10), tmp_path)
    assert_conserved(result)
    counts = {name: result.summary[name] for name in ("in", "made", "kept", "used", "dropped")}
    assert counts == {"in": 10, "made": 16, "kept": 8, "used": 8, "dropped": 10}
    first = result.summary["steps"][0]
    assert (first["label"], first["in"], first["made"], first["used"]) == ("expand", 10, 16, 8)
    assert first["reasons"] == {"no answer in the tree": 2}
    assert {row.kind for row in result.kept} == {"sft"}
    assert (result.folder / "ledger" / "expand").is_dir()


def test_explain_shows_the_tree_as_parent(tmp_path: Path) -> None:
    result = run([], trees(1), tmp_path)
    life = result.explain(next(iter(result.kept)).id)
    [parent] = life.parents
    assert (parent.outcome, parent.record["message_tree_id"]) == ("used", "t0")
    assert life.events[0]["step"] == "expand"
    assert len(result.explain(parent.id).children) == 2


def test_the_resolved_recipe_names_it_and_gives_the_same_run(tmp_path: Path) -> None:
    path = written(tmp_path / "trees.jsonl", trees(10))
    implicit = run([Length(min=2)], path, tmp_path / "a")
    resolved = yaml.safe_load((implicit.folder / "run.yaml").read_text())
    assert resolved["labels"] == ["expand", "length"]
    again = Pipeline.from_yaml(yaml.safe_dump(resolved["recipe"]))
    assert again.steps == (Expand(), Length(min=2))
    explicit = again.run(run=tmp_path / "b", store=tmp_path / "store")
    assert fingerprint(explicit.folder) == fingerprint(implicit.folder)
    # It is part of what the folder is for: the same folder takes both.
    assert again.run(run=implicit.folder, store=tmp_path / "a/store").exit_code == 0


def test_an_explicit_step_takes_its_place(tmp_path: Path) -> None:
    result = run([Expand(into="ranked")], trees(10), tmp_path)
    assert [step["label"] for step in result.summary["steps"]] == ["expand"]
    assert {row.kind for row in result.kept} == {"ranked"}
    assert result.summary["kept"] == 8


def test_both_conversations_and_rankings_can_be_made(tmp_path: Path) -> None:
    steps = [Expand(keep_parent=True), Expand(into="ranked")]
    result = run(steps, trees(10), tmp_path)
    assert_conserved(result)
    assert [step["label"] for step in result.summary["steps"]] == ["expand", "expand_2"]
    assert (result.folder / "kept" / "sft").is_dir()
    assert (result.folder / "kept" / "ranked").is_dir()


def test_rows_of_other_inputs_pass_unchanged(tmp_path: Path) -> None:
    alone = run([Length(min=1)], numbered(20), tmp_path / "alone")
    inputs = {
        "trees": written(tmp_path / "trees.jsonl", trees(10)),
        "input": written(tmp_path / "alpaca.jsonl", numbered(20)),
    }
    mixed = run([Length(min=1)], inputs, tmp_path / "mixed")
    assert_conserved(mixed)
    own = [row for row in mixed.kept if row.source == "input"]
    want = [(row.id, row.fields, row.extra, row.parents) for row in alone.kept]
    assert [(row.id, row.fields, row.extra, row.parents) for row in own] == want
    assert sum(row.source == "trees" for row in mixed.kept) == 16


def test_how_the_work_is_split_changes_no_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.engine import run as run_module

    path = written(tmp_path / "trees.jsonl", trees(200))
    steps = [Length(min=2, on="response"), Near()]
    want = fingerprint(run(steps, path, tmp_path / "a", workers=1).folder)
    monkeypatch.setattr(run_module, "LARGE_BYTES", 0)
    for number, variant in enumerate(({"workers": 2}, {"chunk_rows": 7})):
        again = run(steps, path, tmp_path / str(number), **variant)
        assert fingerprint(again.folder) == want


def test_later_steps_are_checked_against_what_it_makes(tmp_path: Path) -> None:
    path = written(tmp_path / "trees.jsonl", trees(2))
    # Prompts have no response, conversations have one.
    run([Length(min=1, on="response")], path, tmp_path / "fits")
    with pytest.raises(RecipeError, match="reads the response, but ranked rows reach it"):
        run([Expand(into="ranked"), Length(min=1, on="response")], path, tmp_path / "bare")
    with pytest.raises(UsageError, match="preference rows, and those to be written are sft rows"):
        run([], path, tmp_path / "shape", output=tmp_path / "o.jsonl", output_shape="trl_dpo")


def test_an_error_still_names_the_line_of_the_step_that_somebody_wrote(tmp_path: Path) -> None:
    path = written(tmp_path / "trees.jsonl", trees(2))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"inputs:\n  a: {path}\n  b: {written(tmp_path / 'p.jsonl', [{'prompt': 'q'}])}\n"
        "steps:\n  - length: {on: whole}\n  - length:\n      on: response\n"
    )
    with pytest.raises(RecipeError, match="prompt rows reach it") as caught:
        Pipeline.from_yaml(recipe).run(run=tmp_path / "run", store=tmp_path / "store")
    assert caught.value.line == 7


def test_other_rules_decide_again(tmp_path: Path) -> None:
    path = written(tmp_path / "trees.jsonl", trees(10))
    first = run([Length(min=1)], path, tmp_path)
    again = Result.open(first.folder).rethreshold(length={"min": 6})
    assert [step["label"] for step in again.summary["steps"]] == ["expand", "length"]
    assert again.summary["kept"] < first.summary["kept"]
    assert_conserved(again)


def test_its_label_is_its_own() -> None:
    def expand(row: Any) -> bool:
        return bool(row)

    steps = Pipeline([expand, Expand(), Expand(label="more")]).resolved().steps
    assert [step.title for step in steps] == ["expand_2", "expand", "more"]
    with pytest.raises(RecipeError, match="the label 'expand' is reserved"):
        Pipeline([Length(min=1, label="expand")]).resolved()
