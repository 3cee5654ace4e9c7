"""Argilla's own reader makes a record of every row."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from curate.write import as_shape
from tests.read.reading import read_all
from tests.write.formats.consumers import exported

# Its reader of files, and the model that it sends to its server. A process of its own, because
# importing argilla 2.8 warns of its own dependencies.
READ = """
import json, sys, warnings
from argilla.records._io import JsonIO
warnings.simplefilter("error")
for record in JsonIO._records_from_json(sys.argv[1]):
    print(record.api_model().model_dump_json())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["prompt", "sft", "preference", "ranked", "unpaired"])
def test_its_own_reader_makes_records(kind: str, tmp_path: Path) -> None:
    if find_spec("argilla") is None:
        pytest.skip("argilla is not installed (make consumers)")
    path = exported(f"argilla_{kind}", kind, tmp_path, "json")
    done = subprocess.run(
        [sys.executable, "-c", READ, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warn" not in done.stderr.lower()
    made, given = (
        [json.loads(line) for line in done.stdout.splitlines()],
        json.loads(path.read_text("utf-8")),
    )
    assert [one["external_id"] for one in made] == [one["id"] for one in given]
    assert [one["fields"] for one in made] == [one["fields"] for one in given]
    assert [one["metadata"] for one in made] == [one["metadata"] for one in given]


CALL = {"name": "look", "arguments": {"at": None}}


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        ({"tool_calls": [{"type": "function", "function": CALL}]}, '"name":"look"'),
        ({"function_call": CALL}, '"name":"look"'),
        ({"reasoning_content": "Hm."}, ""),
        ({"name": "ann"}, ""),
    ],
)
def test_no_content_is_null_and_a_call_is_seen(turn: dict[str, Any], said: str) -> None:
    """Its server takes no null, and shows nothing but the content."""
    asked = {"role": "user", "content": "Where?"}
    record = {"messages": [asked, {"role": "assistant", "content": None, **turn}]}
    [row] = read_all([record]).rows
    content = as_shape(row, "argilla_sft")["fields"]["messages"][1]["content"]
    assert isinstance(content, str)
    assert said in content and bool(content) is bool(said)
