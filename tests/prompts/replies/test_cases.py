"""The cases of the grammar: enough of them, most from recorded replies, quoted as they stand."""

import json
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

CASES = [
    json.loads(line)
    for line in Path(__file__).with_name("grammar_cases.jsonl").read_text().splitlines()
]
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


def test_most_cases_come_from_real_replies_and_many_must_fail():
    real = [case for case in CASES if "source" in case]
    assert len(CASES) >= 150
    assert len(real) >= 100
    assert sum(case["expect"] is None for case in real) >= 20
    assert sum(case["expect"] is None for case in CASES) >= 80


@pytest.mark.real
@pytest.mark.skipif(not DATA.is_dir(), reason="../shared/data is not here")
@pytest.mark.parametrize("source", sorted({c["source"] for c in CASES if "source" in c}))
def test_replies_are_quoted_word_for_word(source):
    text = (DATA / source).read_text()
    lines = source.endswith(".jsonl")
    data: Any = list(map(json.loads, text.splitlines())) if lines else json.loads(text)
    for case in CASES:
        if case.get("source") == source:
            assert reduce(lambda value, step: value[step], case["at"], data) == case["reply"]
