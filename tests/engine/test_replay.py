"""Promise 2: a changed rule asks nothing for rows that reached a step, only what is new after."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from curate.pipeline import Result

from .conftest import fingerprint, run
from .contract_steps import Judge, Novel, TwoReplies, judge_script, numbered, write_script


def sent(folder: Path) -> list[str]:
    """Return the keys that the scripted models were sent, in order."""
    path = folder / "sent.log"
    return path.read_text().split() if path.exists() else []


def test_a_second_run_sends_nothing(models: dict[str, Any], tmp_path: Path) -> None:
    steps = [Judge(at_least=3.0), TwoReplies()]
    rows = numbered(120)
    first = run(steps, rows, tmp_path, models=models)
    want, before = fingerprint(first.folder), sent(tmp_path)
    # Requests that got no reply are asked again; they alone.
    never = {n for n in range(120) if n % 53 == 11}
    second = run(steps, rows, tmp_path, models=models)
    again = sent(tmp_path)[len(before) :]
    assert len(set(again)) == len(never & {n if n % 9 != 8 else n - 4 for n in range(120)})
    assert fingerprint(second.folder) == want


def test_a_changed_threshold_asks_only_what_is_new(models: dict[str, Any], tmp_path: Path) -> None:
    rows = numbered(120)
    first = run([Judge(at_least=6.0), TwoReplies()], rows, tmp_path, models=models)
    asked = set(sent(tmp_path))
    stricter = first_again(first, tmp_path, rows, models, 8.0)
    fresh = set(sent(tmp_path)) - asked
    assert not fresh
    assert stricter.summary["kept"] < first.summary["kept"]
    looser = first_again(first, tmp_path, rows, models, 5.0)
    fresh = set(sent(tmp_path)) - asked
    newly = looser.summary["steps"][0]["kept"] - first.summary["steps"][0]["kept"]
    assert newly > 0
    # Two replies for each row that was newly let through, none for the judge.
    assert len(fresh) == 2 * newly


def first_again(
    first: Result, folder: Path, rows: Any, models: dict[str, Any], at_least: float
) -> Result:
    return run(
        [Judge(at_least=at_least), TwoReplies()],
        rows,
        folder,
        models=models,
        run=first.folder.with_name(f"at-least-{at_least}"),
    )


def test_a_failed_row_stays_failed_until_asked_to_retry(tmp_path: Path) -> None:
    script = write_script(tmp_path / "judge.jsonl", judge_script(40))
    models = {
        "judge": {"model": f"scripted:{script}", "identity": "j", "log": str(tmp_path / "sent.log")}
    }
    rows = numbered(40, repeat_every=99)
    first = run([Judge()], rows, tmp_path, models=models)
    unusable = [r for r in first.failed if r.response == "answer 7"]
    assert unusable
    before = sent(tmp_path)
    mended = [e | {"reply": "9"} if e["reply"] == "no idea" else e for e in judge_script(40)]
    write_script(script, mended)
    again = run([Judge()], rows, tmp_path, models=models)
    assert again.summary["failed"] == first.summary["failed"]
    retried = run([Judge()], rows, tmp_path, models=models, retry_failed=True)
    assert "answer 7" not in {r.response for r in retried.failed}
    assert "answer 7" in {r.response for r in retried.kept}
    assert sent(tmp_path) != before
    after = run([Judge()], rows, tmp_path, models=models)
    assert fingerprint(after.folder) == fingerprint(retried.folder)


def test_a_closed_round_is_never_reopened(models: dict[str, Any], tmp_path: Path) -> None:
    step = Novel(target=25, round_size=5, patience=6)
    first = run([step], numbered(10), tmp_path, models=models)
    count, want = len(sent(tmp_path)), fingerprint(first.folder)
    assert first.summary["failed"] > 0
    again = run([step], numbered(10), tmp_path, models=models, retry_failed=True)
    assert (len(sent(tmp_path)), fingerprint(again.folder)) == (count, want)


def test_growth_that_repeats_itself_publishes_and_says_so(
    models: dict[str, Any], tmp_path: Path
) -> None:
    step = Novel(target=1000, round_size=5, patience=3)
    first = run([step], numbered(10), tmp_path, models=models)
    assert first.exit_code == 4
    assert first.message is not None and "3 rounds in a row" in first.message
    assert first.summary["kept"] > 10
    count = len(sent(tmp_path))
    again = run([step], numbered(10), tmp_path, models=models)
    assert again.exit_code == 4
    assert len(sent(tmp_path)) == count
