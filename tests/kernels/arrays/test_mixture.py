"""The counts of a mixture equal its closed form, whatever the sizes."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.kernels.arrays.mixture import MixedTask, mixture_counts, mixture_figures

sizes = st.lists(st.integers(1, 10**6), min_size=1, max_size=12)


def tasks_of(sizes, cap=None, groups="a"):
    return [MixedTask(str(n), groups[n % len(groups)], size, cap) for n, size in enumerate(sizes)]


@given(sizes, st.integers(1, 10**5))
def test_without_count_each_task_gives_its_rows_up_to_the_cap(sizes, cap):
    assert mixture_counts(tasks_of(sizes, cap)) == [min(size, cap) for size in sizes]
    assert mixture_counts(tasks_of(sizes), repeat=3) == sizes


@given(sizes, st.integers(1, 10**5), st.integers(0, 10**5))
def test_a_count_is_divided_in_proportion_to_rates(sizes, cap, count):
    found = mixture_counts(tasks_of(sizes, cap), count=count, repeat=10**9)
    assert sum(found) == count
    total = sum(min(size, cap) for size in sizes)
    for number, size in zip(found, sizes, strict=True):
        assert abs(number - Fraction(count * min(size, cap), total)) < 1


@given(sizes, st.lists(st.integers(1, 99), min_size=3, max_size=3), st.integers(1, 4))
def test_weights_are_shares_of_groups_and_the_mixture_is_the_largest(sizes, numbers, repeat):
    tasks = tasks_of(sizes, groups="abc")
    weights = dict(zip("abc", numbers, strict=True))
    found = mixture_counts(tasks, weights=weights, repeat=repeat)
    present = {task.group for task in tasks}
    whole = sum(weights[name] for name in present)
    total = sum(found)
    for name in present:
        own = sum(n for n, task in zip(found, tasks, strict=True) if task.group == name)
        assert abs(own - Fraction(total * weights[name], whole)) < 1
    assert all(n <= repeat * task.size for n, task in zip(found, tasks, strict=True))
    size_of = {g: sum(t.size for t in tasks if t.group == g) for g in present}
    largest = min(Fraction(repeat * size_of[g] * whole, weights[g]) for g in present)
    assert total == min(math.floor(largest), sum(sizes))


def test_flans_weights_on_flans_caps():
    caps = {"flan2021": 30_000, "t0": 20_000, "cot": 100_000, "niv2": 5_000, "dialog": 200_000}
    weights = {"flan2021": 0.40, "t0": 0.32, "niv2": 0.20, "cot": 0.05, "dialog": 0.03}
    tasks = [
        MixedTask(f"{group}{n}", group, size, cap)
        for group, cap in caps.items()
        for n, size in enumerate((cap * 3, cap // 2, 1000))
    ]
    found = mixture_counts(tasks, weights=weights, count=10_000)
    by_group = {group: sum(found[3 * n : 3 * n + 3]) for n, group in enumerate(caps)}
    assert by_group == {"flan2021": 4000, "t0": 3200, "cot": 500, "niv2": 2000, "dialog": 300}
    # Rates of flan2021: 30,000 (capped from 90,000), 15,000, 1,000.
    assert found[:3] == [2609, 1304, 87]


def test_temperature_makes_tasks_more_equal():
    tasks = tasks_of([10_000, 100])
    assert mixture_counts(tasks, count=101) == [100, 1]
    assert mixture_counts(tasks, count=110, temperature=2) == [100, 10]
    assert mixture_counts(tasks, count=100, temperature=10**6) == [50, 50]


def test_too_few_rows_are_named_with_what_would_do():
    tasks = tasks_of([100, 1000], groups="ab")
    weights = {"a": 1, "b": 1}
    with pytest.raises(ValueError, match=r"1,000 rows need 500 of '0', which has 100: .*repeat: 5"):
        mixture_counts(tasks, weights=weights, count=1000)
    assert mixture_counts(tasks, weights=weights, count=1000, repeat=5) == [500, 500]
    assert mixture_counts(tasks, weights=weights, repeat=4) == [400, 400]
    assert mixture_counts(tasks, weights={"a": 0, "b": 1}) == [0, 1000]
    with pytest.raises(ValueError, match="weights has no 'b'; it has a"):
        mixture_counts(tasks, weights={"a": 1})


def test_remainders_go_to_the_largest_and_ties_to_the_first():
    assert mixture_counts(tasks_of([3, 3, 3]), count=4) == [2, 1, 1]
    assert mixture_counts(tasks_of([5, 3, 1]), count=4) == [2, 1, 1]
    assert mixture_counts(tasks_of([1, 1]), count=0) == [0, 0]


def test_figures_list_the_largest_and_the_rest_together():
    tasks = tasks_of(range(1, 41), groups=[str(n) for n in range(40)])
    figures = mixture_figures(tasks, [task.size for task in tasks], grouped=False)
    named = [name for name in figures if name.endswith(": share")]
    assert len(named) == 31
    assert (figures["others: rows"], figures["39: rows"]) == (sum(range(1, 11)), 40)
    assert sum(figures[name] for name in named) == pytest.approx(1)
    few = mixture_figures(tasks_of([5, 3], groups="a"), [2, 3], grouped=True)
    assert few["a: rows"] == 5
    assert (few["a / 0: rows before"], few["a / 0: rows"], few["a / 1: share"]) == (5, 2, 0.6)
