"""A short run of the fuzzer over every reader, the same mutants each time; and that it can fail."""

from __future__ import annotations

import random
import time

import pytest

from curate.errors import InputError
from tests.fuzz.readers import Finding, Hang, Target, check, limited
from tests.fuzz.targets import TARGETS

COUNT = 25


@pytest.mark.parametrize("name", TARGETS)
def test_mutants_are_read_or_refused_in_words(name, tmp_path):
    if name == "pdf":
        pytest.importorskip("pypdf")
    target, ends = TARGETS[name], set()
    for number in range(COUNT):
        ends.add(check(target, target.mutant(random.Random(f"{name} {number}")), tmp_path))
    assert ends <= {"read", "refused"}


def test_a_mutant_is_the_same_each_time():
    for name, target in TARGETS.items():
        one, two = (repr(target.mutant(random.Random(f"{name} 1"))) for _ in range(2))
        assert one == two


def _refuses(mutant, folder):
    raise InputError("no.")


def _loses_a_row(mutant, folder):
    raise Finding("2 records came in")


def _is_unexpected(mutant, folder):
    raise KeyError("x")


@pytest.mark.parametrize(
    ("read", "error"),
    [(_refuses, "a message of 3"), (_loses_a_row, "2 records"), (_is_unexpected, "x")],
)
def test_the_fuzzer_finds_faults(read, error, tmp_path):
    with pytest.raises((Finding, KeyError), match=error):
        check(Target(lambda rng: None, read), None, tmp_path)


def test_the_fuzzer_finds_what_hangs():
    with pytest.raises(Hang), limited(0.01):
        while True:
            time.sleep(0.001)
