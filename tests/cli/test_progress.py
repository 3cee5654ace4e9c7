"""Progress is one line, on stderr, and rare where nobody watches."""

import pytest

from curate.cli import progress
from curate.cli.progress import ProgressLine, clock, listening
from curate.engine import progress_line
from curate.engine.options import Progress


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (progress, progress_line):
        monkeypatch.setattr(module, "time", clock)
    return clock


def test_the_line_says_how_far_how_fast_and_how_long(time: Clock) -> None:
    line = ProgressLine()
    assert line.text(Progress("reading", rows=1200)) == "reading | 1,200 rows | 0:00 elapsed"
    time.now += 60
    assert line.text(Progress("judge", 0, 4, 2000)).startswith("judge | ░░░░░░░░░░ 0% | 2,000 rows")
    time.now += 30
    said = line.text(Progress("judge", 1, 4, 2000, 45, 5, 1000, 20, 0.5))
    assert said == (
        "judge | ██░░░░░░░░ 25% | 2,000 rows | 45 sent (0.5/s), 5 replayed | "
        "1,000 + 20 tokens (0.2/s) | "
        "$0.5000 | 1:30 elapsed | 1:30 left"
    )


def test_texts_are_counted_while_they_are_encoded(time: Clock) -> None:
    line = ProgressLine()
    progress = Progress("reading", rows=1000, texts=900, encoded=0, expected_rows=4000)
    line.text(progress)
    time.now += 20
    progress.encoded, progress.asking, progress.answered = 720, 15, 3
    said = line.text(progress)
    assert "720 of 3,600 texts encoded (36.0/s) | ██░░░░░░░░ 20%" in said
    assert said.endswith("0:20 elapsed | 1:20 left")
    assert "rows answered" not in said
    progress.encoded = 900
    assert "texts" not in line.text(progress)


def test_clocks() -> None:
    assert [clock(s) for s in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]


def test_plain_lines_come_seldom_and_on_stderr(
    time: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with listening() as listener:
        for second in range(25):
            time.now = 100.0 + second
            listener(Progress("reading", rows=second))
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "reading | 10 rows | 0:10 elapsed",
        "reading | 20 rows | 0:20 elapsed",
    ]


def test_what_brought_no_reply_is_told_by_cause() -> None:
    progress = Progress(sent=9, causes={"timeout": 1, "rate_limit": 1200})
    assert " | 1,200 rate_limit | 1 timeout | " in ProgressLine().text(progress)


def test_batch_jobs_are_told_together() -> None:
    progress = Progress(rows=9, batches={"one": (40, 1000), "two": (2, 500)})
    said = "| batch jobs: 2 in progress, 42 of 1,500 requests done |"
    assert said in ProgressLine().text(progress)
    progress.batches.clear()
    assert "batch" not in ProgressLine().text(progress)


def test_while_models_are_asked_the_rows_tell_how_long(time: Clock) -> None:
    line = ProgressLine()
    line.text(Progress("reading"))
    time.now += 10
    asked = Progress("reading", rows=500, sent=150, asking=400, answered=100, busy=64)
    said = line.text(asked)
    assert said.startswith("reading | 100 of 400 rows answered | ██░░░░░░░░ 25% | 500 rows | 150 ")
    assert "| 64 at once | 0:10 elapsed | 0:30 left" in said
