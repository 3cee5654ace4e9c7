import pytest

from curate.steps.select.composition import Composition


def rows(conversation, pairs):
    return [
        conversation(f"question {n}", "a")._replace(
            source=source, seq=(0, 0, n), extra=None if task is None else f'{{"task": "{task}"}}'
        )
        for n, (source, task) in enumerate(pairs)
    ]


def test_counts_every_combination_and_drops_nothing(conversation, decide):
    given = [("b", "x"), ("a", "x"), ("a", "y"), ("a", "x"), ("b", None)]
    verdicts = decide(Composition(per=("source", "task")), rows(conversation, given))
    assert verdicts.code.tolist() == [-1] * 5
    assert list(verdicts.figures.items()) == [
        ("rows", 5),
        ("different source", 2),
        ("different task", 3),
        ("a / x", 2),
        ("a / y", 1),
        ("b / none", 1),
        ("b / x", 1),
    ]


def test_rare_combinations_are_counted_together(conversation, decide):
    given = [("abc"[n % 3], None) for n in range(8)]
    verdicts = decide(Composition(most=1), rows(conversation, given))
    assert verdicts.figures == {"rows": 8, "different source": 3, "a": 3, "others": 5}


def test_no_rows_have_no_sources(decide):
    assert decide(Composition(), []).figures == {"rows": 0, "different source": 0}


def test_a_column_that_no_row_has_is_refused(conversation, decide):
    with pytest.raises(ValueError, match="no row has a column or a score 'taks'"):
        decide(Composition(per=("taks",)), rows(conversation, [("a", "x")]))
    for per in ((), ("source", "source")):
        with pytest.raises(ValueError, match="each once"):
            Composition(per=per).check()
