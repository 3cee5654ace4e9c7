"""Whatever stands in a record, reading it gives a row or an error that fails this record alone."""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.read.shapes import shape
from tests.read.shapes.test_round_trips import SHAPES

GONE = object()
# What no column of any shape expects everywhere; a number that no float holds is one of them.
ODD = [GONE, None, "", 0, -1, 1.5, True, [], {}, [None], [[]], {"a": 1}, ["x"], "x", 10**400]


def places(value, at=()):
    """Every place in a record, as the keys that lead there."""
    keys = value if isinstance(value, dict) else range(len(value) if isinstance(value, list) else 0)
    for key in keys:
        yield (*at, key)
        yield from places(value[key], (*at, key))


def broken(record, place, odd):
    out = copy.deepcopy(record)
    holder = out
    for key in place[:-1]:
        holder = holder[key]
    if odd is not GONE:
        holder[place[-1]] = odd
    elif isinstance(holder, dict):
        del holder[place[-1]]
    return out


def assert_it_fails_alone(name, data):
    form = shape(name)
    record = data.draw(SHAPES[name])
    place = data.draw(st.sampled_from(list(places(record))))
    odd = broken(record, place, data.draw(st.sampled_from(ODD)))
    form.detect(odd)
    for one in form.instances(odd) if form.instances else [odd]:
        # What else is raised would end the run.
        try:
            form.read(one)
        except (ValueError, TypeError):
            continue


@pytest.mark.parametrize("name", sorted(SHAPES))
@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_broken_record_fails_alone(name, data):
    assert_it_fails_alone(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SHAPES))
@settings(max_examples=80, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_many_broken_records_fail_alone(name, data):
    assert_it_fails_alone(name, data)
