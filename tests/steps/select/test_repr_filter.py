import math

import numpy as np
import pyarrow as pa
import pytest

from curate.steps.select.repr_filter import ReprFilter
from tests.steps.select.deciding import SCORE, VECTORS, around, decide, kept


def test_repr_filter_keeps_the_better_of_two_close_rows_up_to_a_count():
    vectors = [*around(0, 5, 90, 180, 270), [0, 0]]
    scores = [1, 2, 3, 4, None, 9]
    verdicts = decide(ReprFilter(by="judge"), vectors, scores)
    assert kept(verdicts) == [1, 2, 3, 4]
    assert (verdicts.code[0], verdicts.partner[0], verdicts.code[5]) == (0, 1, 2)
    assert verdicts.score[0] == pytest.approx(math.cos(math.radians(5)), abs=1e-6)
    verdicts = decide(ReprFilter(by="judge", count=2), vectors, scores)
    assert kept(verdicts) == [2, 3]
    assert [verdicts.reasons[code] for code in verdicts.code[[0, 1, 4]]] == [
        "not among the 2 rows chosen"
    ] * 3
    assert verdicts.partner.tolist() == [-1] * 6


@pytest.mark.parametrize("size", [1, 2, 7, 40])
def test_the_pieces_in_which_rows_come_change_nothing(size):
    # DEITA's code compares the rows of a batch with each other, rejected ones included.
    step = ReprFilter(by="judge", similarity=0.6)
    vectors = pa.array(VECTORS.tolist(), pa.list_(pa.float32(), 6))
    table = pa.table({"vector": vectors, "score": pa.array(SCORE, pa.float64())})
    pieces = pa.concat_tables([table.slice(start, size) for start in range(0, 40, size)])
    assert pieces.column("vector").num_chunks == math.ceil(40 / size)
    chosen = []
    unit = VECTORS.astype(float) / np.linalg.norm(VECTORS.astype(float), axis=1, keepdims=True)
    for row in sorted(range(40), key=lambda row: -SCORE[row]):
        if all(unit[row] @ unit[other] <= 0.6 for other in chosen):
            chosen.append(row)
    assert 1 < len(chosen) < 40
    assert kept(step.decide(np.arange(40), pieces)) == sorted(chosen)
