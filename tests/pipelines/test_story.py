"""The story's stages: files between them, the guard on rows, going on, and being made anew."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import yaml

from curate.pipeline import Pipeline
from tests.train import tiny

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "pipelines" / "story" / "story.py"


@pytest.fixture(scope="module")
def story():
    spec = importlib.util.spec_from_file_location("told_story", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["told_story"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["told_story"]


@pytest.fixture
def small(tmp_path):
    """Write a story of two runs in a folder, and rows for it."""
    rows = [{"instruction": f"Ask {n}?", "output": "yes " * (n % 5 + 1)} for n in range(40)]
    out = tmp_path / "out"
    out.mkdir()
    (out / "raw.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe(tmp_path, "long", "raw", "length: {on: response, unit: words, min: 2}")
    recipe(tmp_path, "few", "long", "sample: {count: 10}")
    stages(tmp_path, {"name": "long", "run": "long.yaml"}, {"name": "few", "run": "few.yaml"})
    return tmp_path


def recipe(folder, name, reads, step):
    text = f"inputs: {reads}.jsonl\nsteps:\n- {step}\noutputs:\n  sft: {{path: {name}.jsonl}}\n"
    (folder / f"{name}.yaml").write_text(text)


def stages(folder, *entries):
    (folder / "story.yaml").write_text(yaml.safe_dump({"stages": list(entries)}))


def tell(story, folder):
    found = story.stages_of(folder / "story.yaml")
    return story.tell(found, folder / "out", folder / "out" / "story.json")


def test_every_stage_of_the_shipped_story_is_one(story):
    found = story.stages_of(SCRIPT.with_name("story.yaml"))
    assert [one.name for one in found][:6] == [
        "prompts", "answers", "filtered", "deduplicated", "diverse", "sft",
    ]  # fmt: skip
    assert [one.name for one in found][6:10] == ["samples", "scored", "pairs", "dpo"]
    for one in found:
        if one.kind == "run":
            pipeline = Pipeline.from_yaml(one.words[1])
            pipeline.check()
            # What comes next reads what this one writes.
            assert pipeline.outputs
    by_name = {one.name: one for one in found}
    assert by_name["samples"].reads[1:] == ("deduplicated.jsonl", "sft/merged")
    assert by_name["dpo"].reads[1:] == ("pairs", "sft/merged")


def test_what_passes_all_rows_or_none_is_refused_unless_declared(story):
    stage = story.Stage("x", "run", (), ())
    story.check_passed(stage, {"in": 4, "passed": 3, "dropped": 1, "failed": 0})
    story.check_passed(stage, {"in": 4, "passed": 3, "dropped": 0, "failed": 1})
    every = {"in": 4, "passed": 4, "dropped": 0, "failed": 0}
    nothing = {"in": 4, "passed": 0, "dropped": 3, "failed": 1}
    with pytest.raises(story.StoryStopped, match=r"'x' let every row pass \(4 in, 4 passed"):
        story.check_passed(stage, every)
    with pytest.raises(story.StoryStopped, match=r"let no row pass .* declare `none: WHY`"):
        story.check_passed(stage, nothing)
    story.check_passed(stage._replace(everything="annotates"), every)
    story.check_passed(stage._replace(nothing="a trap"), nothing)
    with pytest.raises(story.StoryStopped, match="let no row pass"):
        story.check_passed(stage._replace(everything="annotates"), nothing)


@pytest.mark.slow
def test_the_same_command_goes_on_and_makes_anew_what_changed(story, small, monkeypatch):
    ran = []
    run = story.run_command

    def counted(stage, folder, *, replace):
        ran.append((stage.name, replace))
        if stage.name == "few" and len(ran) == 2:
            raise KeyboardInterrupt
        run(stage, folder, replace=replace)

    monkeypatch.setattr(story, "run_command", counted)
    with pytest.raises(KeyboardInterrupt):
        tell(story, small)
    known = tell(story, small)
    # The first stage had ended; the second goes on under its own name.
    assert ran == [("long", False), ("few", False), ("few", False)]
    counts = ("in", "made", "passed", "dropped", "failed")
    assert {key: known["long"][key] for key in counts} == {
        "in": 40, "made": 0, "passed": 32, "dropped": 8, "failed": 0,
    }  # fmt: skip
    assert known["few"]["passed"] == 10
    assert len((small / "out" / "few.jsonl").read_text().splitlines()) == 10
    assert tell(story, small) == known
    assert len(ran) == 3
    assert "| few | 32 | 0 | 10 | 22 | 0 |" in story.told(
        story.stages_of(small / "story.yaml"), known, small / "out"
    )
    # Another recipe makes its stage anew, and what reads from it.
    recipe(small, "long", "raw", "length: {on: response, unit: words, min: 4}")
    assert tell(story, small)["few"]["in"] == 16
    assert ran[3:] == [("long", True), ("few", True)]
    # One that keeps all rows ends the story, again and again, until it says otherwise.
    recipe(small, "few", "long", "sample: {count: 100}")
    for _ in range(2):
        with pytest.raises(story.StoryStopped, match="'few' let every row pass"):
            tell(story, small)
    stages(small, {"name": "long", "run": "long.yaml"},
           {"name": "few", "run": "few.yaml", "all": "there are few"})  # fmt: skip
    assert tell(story, small)["few"]["passed"] == 16


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")
def test_a_training_and_an_evaluation_are_stages_too(story, small):
    tiny.folder(small / "out" / "model")
    (small / "sft.yaml").write_text("adapter: lora\nmax_steps: 2\nbatch_size: 2\nmax_length: 64\n")
    stages(
        small,
        {"name": "long", "run": "long.yaml"},
        {"name": "sft", "train": "sft", "data": "long.jsonl", "model": "model",
         "config": "sft.yaml"},
        {"name": "worth", "evaluate": "sft/merged", "held_out": "raw.jsonl"},
    )  # fmt: skip
    known = tell(story, small)
    assert known["sft"]["passed"] == 32
    assert known["worth"]["passed"] == 40
    text = story.told(story.stages_of(small / "story.yaml"), known, small / "out")
    assert "- sft: 2 steps" in text
    assert "- worth: loss " in text
    # A command that fails names its stage.
    (small / "sft.yaml").write_text("max_stepps: 2\n")
    with pytest.raises(story.StoryStopped, match="'sft' ended with exit code 2"):
        tell(story, small)
