"""Commands on tables do without pandas, and whatever wants it afterwards finds it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FILTER = """
import sys
sys.argv = ["curate", "filter", "in.jsonl", "length:min=1", "-o", "out.jsonl"]
from curate.cli.main import main
try:
    main()
except SystemExit as end:
    assert not end.code
assert "pyarrow.parquet" in sys.modules and "pandas" not in sys.modules
import pyarrow as pa
frame = pa.table({"a": [1, None]}).to_pandas()
assert pa.array(frame["a"], from_pandas=True).to_pylist() == [1, None]
assert pa.Table.from_pandas(frame).column("a").null_count == 1
"""


def test_a_filter_runs_without_pandas_and_pandas_still_works(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"instruction": "Say hi.", "output": "Hi."}\n' * 2)
    done = subprocess.run(
        [sys.executable, "-c", FILTER], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
