"""Every selection equals its naive definition, and keeps the bound that is proved for it."""

import itertools
import math

import numpy as np
import pytest

from curate import select
from curate.kernels.vectors.coverage import Cover
from curate.kernels.vectors.knn import neighbour_lists
from curate.kernels.vectors.prefilter import BFloat16Prefilter, Float32Products, prepared
from curate.kernels.vectors.unit_vectors import UnitVectors

CASES = range(500)
# The naive definitions take their time: the unit suite looks at the first cases only.
in_two_parts = pytest.mark.parametrize(
    "numbers",
    [CASES[:120], pytest.param(CASES[120:], marks=pytest.mark.slow)],
    ids=["first", "others"],
)


def cases(seed, numbers=CASES):
    """Yield vectors (ties, equal lines, zeros, lengths apart) and counts from 0 to beyond all."""
    for number in numbers:
        rng = np.random.default_rng((seed, number))
        rows, width = int(rng.integers(0, 15)), int(rng.integers(1, 6))
        if number % 2:
            vectors = rng.integers(-2, 3, (rows, width)).astype(np.float32)
        else:
            vectors = rng.normal(size=(rows, width)).astype(np.float32)
            vectors *= 10.0 ** rng.integers(-3, 4, (rows, 1)).astype(np.float32)
        if rows and number % 3 == 0:
            vectors[rng.integers(rows, size=rows // 2)] = vectors[rng.integers(rows)]
        if rows and number % 5 == 0:
            vectors[rng.integers(rows)] = 0
        count = (0, 1, rows, rows + 3)[number // 2 % 8] if number // 2 % 8 < 4 else rows // 2
        yield rng, np.ascontiguousarray(vectors, np.float32), count


def cosines(vectors):
    """Return all cosines in float64; NaN for zeros."""
    size = len(vectors)
    left, right = np.repeat(np.arange(size), size), np.tile(np.arange(size), size)
    return UnitVectors.of(vectors).cosines(left, right).reshape(size, size)


def ordered_sum(terms):
    total = 0.0
    for term in terms:
        total += float(term)
    return total


def able(vectors):
    return [row for row in range(len(vectors)) if vectors[row].any()]


def best_of(rows, value):
    """Return the row with the largest value, the first one on a tie."""
    return max(rows, key=lambda row: (value(row), -row))


def naive_k_center(vectors, count, first):
    chosen, cosine, left = [], cosines(vectors), able(vectors)
    while left and len(chosen) < count:
        row = best_of(left, lambda r: -max(cosine[r, c] for c in chosen)) if chosen else first
        chosen.append(row)
        left.remove(row)
    return chosen


def naive_facility(similarity, rows, count, weight=1.0, worth=None):
    best, chosen, left = np.zeros(len(similarity)), [], list(rows)

    def value(row):
        gain = ordered_sum(max(0.0, similarity[v, row] - best[v]) for v in rows)
        return weight * gain + (0.0 if worth is None else worth[row])

    while left and len(chosen) < count:
        row = best_of(left, value)
        chosen.append(row)
        left.remove(row)
        best = np.maximum(best, similarity[:, row])
    return chosen


def naive_lists(vectors, neighbours, itself=True):
    """Return the similarities of which only those to the nearest neighbours are left."""
    cosine, rows = cosines(vectors), able(vectors)
    out = np.zeros_like(cosine)
    for v in rows:
        others = sorted((r for r in rows if itself or r != v), key=lambda r: (-cosine[v, r], r))
        for row in others[:neighbours]:
            out[v, row] = max(0.0, cosine[v, row])
    return out


def similarities(vectors):
    return np.nan_to_num(np.maximum(0.0, cosines(vectors)))


# -- lazy equals naive ----------------------------------------------------------------------------


@in_two_parts
def test_k_center_is_the_naive_one(numbers):
    for _, vectors, count in cases(1, numbers):
        found = select.k_center(vectors, count).tolist()
        rows = able(vectors)
        if rows and count:
            units = vectors[rows].astype(float)
            units /= np.linalg.norm(units, axis=1)[:, None]
            close = units @ units.sum(0)
            assert close[rows.index(found[0])] >= close.max() - 1e-5 * len(rows)
        assert found == naive_k_center(vectors, count, found[0] if found else -1)


@in_two_parts
def test_facility_location_is_the_naive_one(numbers):
    for number, (_, vectors, count) in zip(numbers, cases(2, numbers), strict=True):
        wanted = naive_facility(similarities(vectors), able(vectors), count)
        budget = (0, 1 << 20)[number % 2]
        assert select.facility_location(vectors, count, budget=budget).tolist() == wanted


@pytest.mark.slow
def test_facility_location_over_neighbours_is_the_naive_one():
    for number, (_, vectors, count) in enumerate(cases(3)):
        neighbours = number % 6 + 1
        wanted = naive_facility(naive_lists(vectors, neighbours), able(vectors), count)
        found = select.facility_location(vectors, count, neighbours=neighbours)
        assert found.tolist() == wanted


@in_two_parts
def test_qdit_is_the_naive_one(numbers):
    for number, (rng, vectors, count) in zip(numbers, cases(4, numbers), strict=True):
        quality = (
            rng.integers(0, 4, len(vectors)) / 2 if number % 2 else rng.normal(size=len(vectors))
        )
        alpha = (0.0, 0.3, 0.7, 1.0)[number % 4]
        spread = np.ptp(quality) if len(quality) else 0
        worth = alpha * ((quality - quality.min()) / spread if spread else 0 * quality)
        weight = (1 - alpha) / max(1, len(vectors))
        wanted = naive_facility(similarities(vectors), able(vectors), count, weight, worth)
        assert select.qdit(vectors, quality, count, alpha=alpha).tolist() == wanted


@in_two_parts
def test_dpp_adds_the_row_with_the_largest_determinant(numbers):
    for number, (rng, vectors, count) in zip(numbers, cases(5, numbers), strict=True):
        quality = rng.uniform(0.5, 2, len(vectors)) if number % 3 else np.ones(len(vectors))
        found = select.dpp(vectors, count, quality=quality).tolist()
        kernel = np.nan_to_num(cosines(vectors)) * np.outer(quality, quality)
        chosen = []
        for row in found:
            values = {
                r: np.linalg.det(kernel[np.ix_([*chosen, r], [*chosen, r])])
                for r in able(vectors) if r not in chosen
            }  # fmt: skip
            best = max(values.values())
            # Determinants by elimination are inexact: of those that tie within it, the first.
            ties = [r for r, value in values.items() if value >= best * (1 - 1e-7) - 1e-12]
            assert row in ties
            if number % 2 and number % 3 == 0 and len(chosen) < 2:
                assert row == ties[0]
            chosen.append(row)
        rank = (
            np.linalg.matrix_rank(np.nan_to_num(cosines(vectors)), tol=1e-4) if len(vectors) else 0
        )
        assert len(found) == min(count, rank)


@in_two_parts
def test_repr_filter_is_the_naive_one(numbers):
    for number, (rng, vectors, count) in zip(numbers, cases(6, numbers), strict=True):
        score = rng.integers(0, 4, len(vectors)).astype(float)
        threshold = (0.5, 0.9, 0.75)[number % 3]
        limit = None if number % 4 == 0 else count
        cosine, chosen = cosines(vectors), []
        for row in sorted(able(vectors), key=lambda r: (-score[r], r)):
            if len(chosen) == limit:
                break
            if all(cosine[row, one] <= threshold for one in chosen):
                chosen.append(row)
        found = select.repr_filter(vectors, score, limit, threshold=threshold)
        assert found.chosen.tolist() == chosen
        for row in np.flatnonzero(found.partner >= 0).tolist():
            assert found.partner[row] in chosen
            assert found.cosine[row] == cosine[row, found.partner[row]] > threshold


def test_repr_filter_lets_a_cosine_at_the_threshold_pass():
    vectors = np.array([[1, 0], [3, 4], [4, 3]], np.float32)  # cosines 0.6 and 0.8 with the first
    assert select.repr_filter(vectors, [3, 2, 1], threshold=0.96).chosen.tolist() == [0, 1, 2]
    assert select.repr_filter(vectors, [3, 2, 1], threshold=0.8).chosen.tolist() == [0, 1]
    assert select.repr_filter(vectors, [3, 1, 2], threshold=0.8).chosen.tolist() == [0, 2]
    assert select.repr_filter(vectors, [3, 1, 2], threshold=0.79).chosen.tolist() == [0, 1]


def naive_instag(tags, count):
    chosen = []
    order = sorted((r for r in range(len(tags)) if tags[r]), key=lambda r: -len(set(tags[r])))
    while len(chosen) < count and len(chosen) < len(order):
        covered = set()
        for row in order:
            if row not in chosen and len(chosen) < count and set(tags[row]) - covered:
                chosen.append(row)
                covered |= set(tags[row])
    return chosen


def test_instag_cover_is_the_naive_one():
    for number in CASES:
        rng = np.random.default_rng((7, number))
        rows = int(rng.integers(0, 16))
        tags = [["abcdef"[t] for t in rng.integers(6, size=rng.integers(4))] for _ in range(rows)]
        count = (0, 1, rows, rows + 2, rows // 2)[number % 5]
        assert select.instag_cover(tags, count).tolist() == naive_instag(tags, count)


def naive_places(group, score, count, uniform):
    """Give places one by one, each by looking at all groups."""
    lists = {
        name: sorted((r for r in range(len(group)) if group[r] == name),
                     key=lambda r: (math.isnan(score[r]), -np.nan_to_num(score[r]), r))
        for name in sorted(set(group) - {-1})
    }  # fmt: skip
    given, chosen = dict.fromkeys(lists, 0), []
    while len(chosen) < count and any(given[n] < len(lists[n]) for n in lists):
        name = min(
            (n for n in lists if given[n] < len(lists[n])),
            key=lambda n: (given[n] if uniform else (2 * given[n] + 1) / len(lists[n]), n),
        )
        chosen.append(lists[name][given[name]])
        given[name] += 1
    return chosen


@pytest.mark.slow
def test_cluster_gives_each_its_places_and_its_best_rows():
    for number, (rng, vectors, count) in enumerate(cases(8)):
        groups, uniform = number % 4 + 1, bool(number % 2)
        of, cosine = select.clusters(vectors, groups, seed=number)
        score = rng.choice([1.0, 2.0, np.nan], len(vectors)) if number % 3 else None
        found = select.cluster(
            vectors, count, groups=groups, score=score, seed=number,
            quota="uniform" if uniform else "proportional",
        )  # fmt: skip
        wanted = naive_places(of.tolist(), cosine if score is None else score, count, uniform)
        assert found.tolist() == wanted


@pytest.mark.slow
def test_a_line_is_in_the_cluster_of_its_closest_centre():
    for number, (_, vectors, _) in enumerate(cases(9)):
        groups = number % 5 + 1
        of, cosine = select.clusters(vectors, groups, seed=number)
        rows = able(vectors)
        assert [row for row in range(len(vectors)) if of[row] >= 0] == rows
        names = list(dict.fromkeys(of[rows].tolist()))
        assert names == list(range(len(names))) and len(names) <= groups
        units = vectors[rows].astype(float)
        units /= np.linalg.norm(units, axis=1)[:, None] if rows else 1
        sums = np.array([units[of[rows] == name].sum(0) for name in names])
        if rows and (np.linalg.norm(sums, axis=1) > 1e-3).all():
            centres = sums / np.linalg.norm(sums, axis=1)[:, None]
            products = units @ centres.T
            own = products[np.arange(len(rows)), of[rows]]
            assert own == pytest.approx(cosine[rows], abs=1e-5)
            assert (own >= products.max(1) - 1e-5).all()


@pytest.mark.slow
def test_neighbours_are_the_nearest_ones():
    for number, (_, vectors, _) in enumerate(cases(10)):
        itself, many = bool(number % 2), number % 7 + 1
        lists = neighbour_lists(
            UnitVectors.of(vectors), many, itself=itself, block=number % 3 + 1, tile=number % 5 + 1
        )
        cosine, rows = cosines(vectors), able(vectors)
        for row in range(len(vectors)):
            others = [r for r in rows if row in rows and (itself or r != row)]
            wanted = sorted(others, key=lambda r: (-cosine[row, r], r))[:many]
            found = lists.rows[row].tolist()
            assert found == wanted + [-1] * (len(found) - len(wanted))
            assert lists.cosines[row, : len(wanted)].tolist() == cosine[row, wanted].tolist()


@pytest.mark.parametrize("itself", [True, False])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0])
def test_neighbours_are_the_same_by_any_prefilter_and_blocks(itself, spread):
    rng = np.random.default_rng(17)
    centres = rng.normal(size=(5, 24))
    vectors = centres[rng.integers(0, 5, 300)] + spread * rng.normal(size=(300, 24))
    vectors[[7, 70]] = 0
    own = UnitVectors.of(vectors.astype(np.float32))
    one = neighbour_lists(own, 9, itself=itself, by=Float32Products())
    for prefilter, block, tile in ((BFloat16Prefilter(), 256, 8192), (BFloat16Prefilter(), 40, 64)):
        other = neighbour_lists(own, 9, itself=itself, by=prefilter, block=block, tile=tile)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.cosines.tobytes() == other.cosines.tobytes()
    cosine = cosines(own.vectors)
    for line in able(own.vectors)[::30]:
        others = [row for row in able(own.vectors) if itself or row != line]
        wanted = sorted(others, key=lambda row: (-cosine[line, row], row))[:9]
        assert one.rows[line].tolist() == wanted


def test_what_a_prefilter_measures_bounds_its_errors():
    own = UnitVectors.of(np.random.default_rng(18).normal(size=(300, 384)).astype(np.float32))
    lines = np.arange(300)
    exact = cosines(own.vectors)
    for prefilter in (Float32Products(), BFloat16Prefilter()):
        ready = prepared(prefilter, own, lines)
        off = np.abs(prefilter.floats(prefilter.products(ready, ready)) - exact).max()
        assert off <= prefilter.measured_margin(ready, own, lines)
    assert prefilter.measured_margin(ready, own, lines) <= prefilter.margin(384)


@in_two_parts
def test_nearest_chosen_names_the_closest_choice_before_a_row(numbers):
    for _, vectors, count in cases(11, numbers):
        chosen = able(vectors)[::-1][:count]
        cosine, found = cosines(vectors), select.nearest_chosen(vectors, chosen)
        for row in able(vectors):
            before = chosen[: chosen.index(row)] if row in chosen else chosen
            wanted = max(before, key=lambda c: (cosine[row, c], -before.index(c)), default=-1)
            assert found.row[row] == wanted
            assert wanted < 0 or found.cosine[row] == cosine[row, wanted]


# -- proved bounds --------------------------------------------------------------------------------


@pytest.mark.slow
def test_greedy_reaches_its_share_of_the_optimum():
    for number in range(60):
        rng = np.random.default_rng((12, number))
        vectors = rng.normal(size=(int(rng.integers(4, 9)), 3)).astype(np.float32)
        count = int(rng.integers(1, 4))
        subsets = list(itertools.combinations(range(len(vectors)), count))
        best = max(select.coverage(vectors, s) for s in subsets)
        value = select.coverage(vectors, select.facility_location(vectors, count))
        assert value >= (1 - 1 / math.e) * best
        smallest = min(select.radius(vectors, s) for s in subsets)
        # The bound holds for any first row; radii are roots of rounded cosines.
        assert select.radius(vectors, select.k_center(vectors, count)) <= 2 * smallest + 1e-6


@pytest.mark.slow
def test_qdit_reaches_its_share_of_the_optimum():
    for number in range(40):
        rng = np.random.default_rng((13, number))
        vectors, quality = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=7)
        worth = (quality - quality.min()) / np.ptp(quality)

        def value(rows, vectors=vectors, worth=worth):
            return 0.4 * select.coverage(vectors, rows) / 7 + 0.6 * worth[list(rows)].sum()

        best = max(value(s) for s in itertools.combinations(range(7), 3))
        found = select.qdit(vectors, quality, 3, alpha=0.6)
        assert value(found) >= (1 - 1 / math.e) * best


def test_dpp_finds_most_of_the_best_volume():
    """The greedy choice is near the best log-determinant of all subsets, as a paper shows."""
    ratios = []
    for number in range(40):
        vectors = np.random.default_rng((14, number)).normal(size=(9, 6)).astype(np.float32)
        kernel = cosines(vectors)
        volume = {
            s: np.linalg.det(kernel[np.ix_(s, s)]) for s in itertools.combinations(range(9), 3)
        }
        found = tuple(sorted(select.dpp(vectors, 3).tolist()))
        # Civril and Magdon-Ismail 2009: a greedy volume is within (k!)^2 of the best, squared.
        assert volume[found] >= max(volume.values()) / math.factorial(3) ** 2
        ratios.append(volume[found] / max(volume.values()))
    assert np.median(ratios) > 0.8


# -- where floats are close -----------------------------------------------------------------------


def test_rows_a_rounding_apart_are_told_apart():
    """Noise far below the error of a float32 product decides as float64 says."""
    rng = np.random.default_rng(15)
    base = rng.normal(size=(6, 64)).astype(np.float32)
    vectors = np.repeat(base, 8, axis=0)
    vectors[:, 0] = np.nextafter(vectors[:, 0], np.float32(np.inf), where=rng.random(48) < 0.5,
                                 out=vectors[:, 0].copy())  # fmt: skip
    assert select.facility_location(vectors, 20).tolist() == naive_facility(
        similarities(vectors), range(48), 20
    )
    found = select.k_center(vectors, 20).tolist()
    assert found == naive_k_center(vectors, 20, found[0])


@pytest.mark.parametrize("length", [1e-30, 1e-18, 1e18])
def test_lengths_do_not_matter(length):
    vectors = np.random.default_rng(16).normal(size=(40, 8)).astype(np.float32)
    vectors[::2] *= np.float32(length)
    for call in (select.k_center, select.facility_location, select.dpp):
        found = call(vectors, 6).tolist()
        assert found == call(vectors.astype(np.float64), 6).tolist()
        if call is select.k_center:
            assert found == naive_k_center(vectors, 6, found[0])


def test_a_cover_is_nearest_to_a_chosen_line_itself():
    cover = Cover(UnitVectors.of(np.eye(3, dtype=np.float32)))
    assert [cover.nearest_of(line) for line in range(3)] == [-1, -1, -1]
    for line in (2, 0):
        cover.add(line)
    assert [cover.nearest_of(line) for line in range(3)] == [0, 2, 2]
    assert cover.cosine.tolist() == [1.0, 0.0, 1.0]


# -- arguments ------------------------------------------------------------------------------------

LINES = np.eye(3, dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: select.k_center(LINES, -1), "count is a whole number of at least 0, not -1"),
        (lambda: select.k_center(LINES, 1.5), "count is a whole number"),
        (lambda: select.k_center(LINES, True), "count is a whole number"),
        (lambda: select.k_center(LINES[0], 1), "must be a matrix"),
        (lambda: select.k_center([["a"]], 1), "vectors must be numbers"),
        (lambda: select.dpp(LINES * np.nan, 1), "NaN or an infinity"),
        (lambda: select.facility_location(LINES, 1, neighbours=0), "neighbours is at least 1"),
        (lambda: select.qdit(LINES, [1, 2], 1), r"quality has the shape \(2,\), not \(3,\)"),
        (lambda: select.qdit(LINES, [1, np.nan, 2], 1), "quality of row 1 is not finite"),
        (lambda: select.qdit(LINES, [1, 2, 3], 1, alpha=2), "alpha is from 0"),
        (lambda: select.dpp(LINES, 1, quality=[1, -1, 1]), "must not be negative, found -1"),
        (lambda: select.repr_filter(LINES, [1, 2]), "score has the shape"),
        (lambda: select.repr_filter(LINES, [1, 2, 3], threshold=1.5), "threshold is a cosine"),
        (lambda: select.cluster(LINES, 1, groups=2, score=[1]), "score has the shape"),
        (lambda: select.cluster(LINES, 1, groups=2, quota="fair"), "not 'fair'"),
        (lambda: select.instag_cover(["maths"], 1), "found a string"),
        (lambda: select.radius(LINES, [3]), "chosen must be rows from 0 to 2"),
        (lambda: select.radius(np.zeros((2, 2)), [1]), "a row of zeros"),
    ],
)
def test_wrong_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_arguments_stay_as_they_were():
    vectors = np.random.default_rng(17).normal(size=(30, 4)).astype(np.float32)
    vectors.setflags(write=False)
    state = np.random.get_state()[1].tolist()
    for call in (select.k_center, select.facility_location, select.dpp):
        assert call(vectors, 4).dtype == np.int64
    select.cluster(vectors, 4, groups=3)
    assert np.random.get_state()[1].tolist() == state
