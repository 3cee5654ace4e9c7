"""The drawing of a proof, whose names are the user's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.evaluate.proof.proof_text import draw_proof


def test_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = [r"$\frac{$", "$x_{$ \x1b[31m"]
    arms = [{"name": name, "group": name, "scores": {"loss": 1.0}} for name in names]
    test = {"against": names[0], "effect": 0.1, "low": -0.1, "high": 0.3}
    verdict: dict[str, Any] = {"question": names[1], "metric": "loss", "tests": [test]}
    draw_proof({"arms": arms, "verdicts": [verdict], "alpha": 0.01}, tmp_path / "proof.png")
    assert (tmp_path / "proof.png").stat().st_size > 1000
