"""The list of planted faults is about the code as it is; planting them takes minutes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.places import ROOT
from tests.mutation.__main__ import seen
from tests.mutation.faults import FAULTS, Fault
from tests.mutation.tree import Tree


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.says.replace(" ", "-"))
def test_a_planted_fault_is_one_line_that_is_there(fault: Fault) -> None:
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    assert compile(fault.planted(text), fault.file, "exec", dont_inherit=True)
    assert all((ROOT / name).is_file() for name in fault.tests)


def test_a_line_that_is_gone_or_stands_twice_is_an_error() -> None:
    fault = Fault("x", "a.py", "b", "c", ())
    for text in ("a", "b b"):
        with pytest.raises(ValueError, match=r"a\.py holds 'b' \d times"):
            fault.planted(text)


@pytest.mark.slow
def test_a_fault_that_no_test_sees_is_told(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """In a tree of one module and one test, the test sees one fault of two."""
    tree = Tree(tmp_path)
    says = "from curate.half import half\n\ndef test_4():\n    assert half(4) == 2\n"
    for name, text in {
        "curate/__init__.py": "",
        "curate/half.py": "def half(n):\n    return n // 2  # down\n",
        "tests/test_half.py": says,
    }.items():
        path = tree.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    half = ("curate/half.py", "n // 2")
    down = Fault("it rounds up", *half, "(n + 1) // 2", ("tests/test_half.py",))
    third = Fault("it is a third", *half, "n // 3", ("tests/test_half.py",))
    assert (seen(tree, down), seen(tree, third)) == (False, True)
    told = capsys.readouterr().out
    assert "it rounds up (curate/half.py): NOT SEEN" in told
    assert "it is a third (curate/half.py): tests/test_half.py::test_4" in told
    assert "n // 2" in (tree.root / "curate" / "half.py").read_text()
