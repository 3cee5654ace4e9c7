"""Progress is told while models are asked, not only when a part is done."""

from __future__ import annotations

from pathlib import Path

from curate.engine.options import Progress
from curate.steps import Sample

from .conftest import run
from .contract_steps import Judge, numbered, write_script


def test_progress_is_told_within_a_part(tmp_path: Path) -> None:
    script = write_script(tmp_path / "judge.jsonl", [{"when": {}, "reply": "5", "delay": 0.02}])
    seen: list[tuple[int, int, int]] = []

    def listen(progress: Progress) -> None:
        seen.append((progress.answered, progress.asking, progress.busy))

    run(
        [Judge()], numbered(80), tmp_path, progress=listen, concurrency=2,
        models={"judge": {"model": f"scripted:{script}"}},
    )  # fmt: skip
    between = [told for told in seen if 0 < told[0] < 80]
    assert between and all(asking == 80 and busy <= 2 for _, asking, busy in between)
    assert [told[0] for told in seen] == sorted(told[0] for told in seen)
    assert seen[-1][:2] == (80, 80)


def test_the_phase_is_the_step_that_asks(tmp_path: Path) -> None:
    script = write_script(tmp_path / "judge.jsonl", [{"when": {}, "reply": "5", "delay": 0.02}])
    seen: set[str] = set()

    def listen(progress: Progress) -> None:
        if progress.answered < progress.asking:
            seen.add(progress.phase)

    run(
        [Sample(count=20), Judge()], numbered(80), tmp_path, progress=listen, concurrency=2,
        models={"judge": {"model": f"scripted:{script}"}},
    )  # fmt: skip
    assert seen == {"judge"}
