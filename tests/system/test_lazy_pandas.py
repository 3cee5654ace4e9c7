"""A run does without pandas; whoever imports it later finds that pyarrow knows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BEGIN = """
import sys
from curate.system.lazy_pandas import leave_pandas_for_later
leave_pandas_for_later()
leave_pandas_for_later()
import pyarrow as pa
assert pa.array([1, None, "a"][:2]).to_pylist() == [1, None]
assert "pandas" not in sys.modules
"""
# What pyarrow makes of these needs to know that they are pandas' own.
SEEN = """
assert pa.array(pd.Series([1.0, float("nan")])).null_count == 1
assert pa.types.is_dictionary(pa.array(pd.Series(["a"], dtype="category")).type)
assert pa.array(pd.Index([1, 2])).type == pa.int64()
"""


def _run(text: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", text], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "middle",
    [
        "import pandas as pd",
        "pa.table({'a': [1]}).to_pandas(); import pandas as pd",
        "import threading as t; one = t.Thread(target=__import__, args=['pandas']); one.start(); "
        "one.join(); import pandas as pd",
    ],
)
def test_pyarrow_knows_pandas_once_it_is_imported(middle: str, tmp_path: Path) -> None:
    _run(f"{BEGIN}\n{middle}\n{SEEN}", tmp_path)


def test_a_pipeline_in_python_runs_without_pandas(tmp_path: Path) -> None:
    run = """
import sys
from curate import Pipeline
def short(row) -> bool:
    return len(row.response) < 9
result = Pipeline([short]).run([{"instruction": "Say hi.", "output": "Hi."}], run="r")
assert "pandas" not in sys.modules
import pyarrow as pa, pandas as pd
assert type(result.kept.to_pandas()) is pd.DataFrame
"""
    _run(run + SEEN, tmp_path)
