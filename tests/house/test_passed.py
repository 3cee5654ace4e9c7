"""A warm run passes few files, so that following one row through the house takes an afternoon."""

import pytest

from tests.house.passed import files_passed

MOST = {"length": 45, "rubric": 70, "semantic": 65}


@pytest.mark.parametrize("kind", MOST)
def test_a_warm_run_passes_few_files(kind: str) -> None:
    passed = files_passed(kind)
    assert len(passed) <= MOST[kind], "\n".join(passed)
    assert "curate/engine/run.py" in passed, "the count saw nothing of the run"
