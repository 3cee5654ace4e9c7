"""What Python sees of a finished run."""

import json
from pathlib import Path

from curate import Pipeline
from curate.row import Row


def test_failed_rows_say_why(tmp_path: Path) -> None:
    def stumble(row: Row) -> bool:
        if row.instruction == "c":
            raise ValueError("stumbled")
        return True

    good = {"instruction": "a", "output": "b"}
    lines = [json.dumps(good), "{no json", json.dumps({**good, "instruction": "c", "n": 1})]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    result = Pipeline([stumble]).run(path, run=tmp_path / "run")
    broken, stumbled = result.failed.to_list()
    assert (broken["file"], broken["line"], broken["raw"]) == (str(path), 2, "{no json")
    assert broken["error"].startswith("broken JSON at column 2")
    assert (stumbled["step"], stumbled["error"]) == ("stumble", "ValueError: stumbled")
    assert stumbled["messages"][0]["content"] == "c"
    assert stumbled["n"] == 1
    assert "raw" not in stumbled
    [kept] = result.kept.to_list()
    assert set(kept) == {"messages"}
