"""Fast products of unit vectors, which say what pairs are worth a float64 cosine.

A prefilter multiplies blocks of unit vectors in low precision and returns every pair whose product
reaches the threshold less its `margin`, a bound of its error: it may name too many pairs,
never too few. So it decides nothing, and which prefilter is used changes no verdict. With native
bfloat16 products a processor goes through four times the pairs of a float32 product.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Literal, Protocol

import numpy as np
from numba import njit

from curate.encoders.precision import has_gpu, native_dtype
from curate.kernels.vectors.unit_vectors import UnitVectors, margin_of, unit
from curate.system.package_data import require_extra

# From this many vectors on, bfloat16 products save more than it takes to load torch.
LOAD_TORCH = 32_768
BLOCK = 1024  # the products of two blocks (2 or 4 MB) stay in a core's cache
Choice = Literal["auto", "float32", "bfloat16"]
_SHAPES = 256  # products have multiples of so many rows and columns
_FLOAT32, _BFLOAT16 = 2.0**-24, 2.0**-8  # unit roundoff


class Prefilter(Protocol):
    """A way to find the pairs of unit vectors whose product may reach a threshold.

    `block` is how many rows of a matrix it is best given at once.
    """

    block: int

    def margin(self, width: int) -> float:
        """Return a bound of the error of a product of unit vectors of `width` numbers."""
        ...

    def empty(self, count: int, width: int) -> Any:
        """Return room for `count` prepared vectors, which slices and takes slices."""
        ...

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> Any:
        """Return vectors as the prefilter multiplies them."""
        ...

    def reaching(self, left: Any, right: Any, at_least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs of rows whose product is `at_least`, in the order of the rows."""
        ...

    def workers(self) -> Any:
        """Return a context that gives an executor for calls of `reaching`."""
        ...


class BlockProducts(Protocol):
    """A way to multiply blocks of unit vectors, whose products are all looked at.

    They are numbers in the order of what they stand for, `lowest` the lowest of them.
    """

    lowest: Any

    def measured_margin(self, ready: Any, own: UnitVectors, rows: np.ndarray) -> float:
        """Return a bound of the error for vectors that were prepared, from their own errors."""
        ...

    def empty(self, count: int, width: int) -> Any:
        """Return room for `count` prepared vectors, which slices and takes slices."""
        ...

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> Any:
        """Return vectors as they are multiplied."""
        ...

    def products(self, left: Any, right: Any) -> np.ndarray:
        """Return the products of all pairs of rows."""
        ...

    def floats(self, products: np.ndarray) -> np.ndarray:
        """Return what products stand for, in float32."""
        ...

    def reached(self, values: Any) -> Any:
        """Return numbers that every product of at least `values` reaches."""
        ...

    def workers(self) -> Any:
        """Return a context that gives an executor for calls of `products`."""
        ...


class FaissPrefilter:
    """Pairs by FAISS's range search in float32, on any processor."""

    block = BLOCK

    def __init__(self) -> None:
        """Raise `MissingExtra` where FAISS is not installed."""
        require_extra("vectors", "a search for close vectors in float32", "faiss")

    def margin(self, width: int) -> float:
        """Return the bound: each number rounded once, then `width` roundings of sums."""
        return margin_of(width)

    def empty(self, count: int, width: int) -> np.ndarray:
        """Return room in float32."""
        return np.empty((count, width), np.float32)

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return float32 unit vectors."""
        return unit(vectors, lengths)

    def reaching(
        self, left: np.ndarray, right: np.ndarray, at_least: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs that reach `at_least`."""
        import faiss

        index = faiss.IndexFlatIP(left.shape[1])
        index.add(right)
        # FAISS finds what is above a number, and the threshold may have been rounded up to one.
        below = np.nextafter(np.nextafter(np.float32(at_least), np.float32(-9)), np.float32(-9))
        ends, _, found = index.range_search(left, float(below))
        counts: np.ndarray = np.diff(ends).astype(np.int64)
        rows = np.repeat(np.arange(len(left), dtype=np.int32), counts)
        order = np.lexsort((found, rows))
        return rows, found.astype(np.int32)[order]

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """Give a thread for each core; each searches on one thread of FAISS."""
        import faiss

        set_threads = faiss.omp_set_num_threads
        with ThreadPoolExecutor(cores(), initializer=set_threads, initargs=(1,)) as pool:
            yield pool


class Float32Products:
    """Products in float32, by the BLAS that numpy brings."""

    lowest: Any = np.float32(-np.inf)

    def measured_margin(self, ready: Any, own: UnitVectors, rows: np.ndarray) -> float:
        """Return the bound for any vectors: it is small enough."""
        return margin_of(own.vectors.shape[1])

    def empty(self, count: int, width: int) -> np.ndarray:
        """Return room in float32."""
        return np.empty((count, width), np.float32)

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return float32 unit vectors."""
        return unit(vectors, lengths)

    def products(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return the products."""
        product: np.ndarray = left @ right.T
        return product

    def floats(self, products: np.ndarray) -> np.ndarray:
        """Return the products themselves."""
        return products

    def reached(self, values: Any) -> Any:
        """Return the next lower numbers: `values` may have been rounded up."""
        return np.nextafter(np.float32(values), self.lowest)

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """Give a thread for each core, each with its own product on one thread of BLAS."""
        from threadpoolctl import threadpool_limits

        with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
            yield pool


class BFloat16Prefilter:
    """Products in bfloat16 with float32 sums, by torch, on processors that have them.

    As whole numbers, the bits of positive bfloat16 numbers keep their order, and are above those of
    negative ones.
    """

    block = BLOCK
    lowest: Any = np.int16(-(2**15))

    def margin(self, width: int) -> float:
        """Return the bound: both factors and the product rounded to bfloat16, sums to float32."""
        return 3 * _BFLOAT16 + _BFLOAT16**2 + 4 * (width + 4) * _FLOAT32

    def measured_margin(self, ready: Any, own: UnitVectors, rows: np.ndarray) -> float:
        """Return the bound from how far the prepared vectors are from the true ones.

        With factors off by `away` the sum is off by 2 `away` + `away`^2. Below 1 half a step of the
        product is 2^-9; above 1 it is rounded down to 1, where no cosine is larger.
        """
        away, longest = 0.0, 0.0
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            rounded = ready[start : start + len(some)].float().numpy()
            exact = unit(own.vectors[some], own.lengths[some])
            away = max(away, float(np.linalg.norm(rounded - exact, axis=1).max(initial=0.0)))
            longest = max(longest, float(np.linalg.norm(rounded, axis=1).max(initial=0.0)))
        width = own.vectors.shape[1]
        if longest**2 > 1 + _BFLOAT16:
            return self.margin(width)
        return min(self.margin(width), 2 * away + away**2 + 2.0**-9 + 2 * margin_of(width))

    def empty(self, count: int, width: int) -> Any:
        """Return room in bfloat16."""
        import torch

        return torch.empty((count, width), dtype=torch.bfloat16)

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> Any:
        """Return bfloat16 unit vectors."""
        import torch

        return torch.from_numpy(unit(vectors, lengths)).bfloat16()

    def products(self, left: Any, right: Any) -> np.ndarray:
        """Return the bits of the products."""
        import torch

        with torch.inference_mode():
            # torch keeps a compiled kernel for every shape; only so many may there be.
            full = _padded(left) @ _padded(right).T
            bits: np.ndarray = full.view(torch.int16).numpy()
        return bits[: len(left), : len(right)]

    def floats(self, products: np.ndarray) -> np.ndarray:
        """Return the numbers that have these bits."""
        return (products.astype(np.int32) << 16).view(np.float32)

    def reached(self, values: Any) -> Any:
        """Return the bits of the values rounded down; where they are not positive, the lowest."""
        values = np.nextafter(np.float32(values), np.float32(-np.inf))
        bits = (values.view(np.int32) >> 16).astype(np.int16)
        return np.where(values > 0, bits, self.lowest)[()]

    def reaching(self, left: Any, right: Any, at_least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs that reach `at_least`."""
        products, least = self.products(left, right), self.reached(np.float32(at_least))
        room = 4096
        while True:
            rows, columns = np.empty(room, np.int32), np.empty(room, np.int32)
            count = _scan(products, least, rows, columns)
            if count <= room:
                return rows[:count], columns[:count]
            room = count

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """Give a thread for each core, each with its own product on one thread of torch."""
        import torch

        before = torch.get_num_threads()
        try:
            with ThreadPoolExecutor(
                cores(), initializer=torch.set_num_threads, initargs=(1,)
            ) as pool:
                yield pool
        finally:
            torch.set_num_threads(before)


def _padded(rows: Any) -> Any:
    """Return rows with rows of zeros behind them, up to a multiple of `_SHAPES`."""
    import torch

    missing = -len(rows) % _SHAPES
    return torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows


class CudaPrefilter:
    """Products in float32 on a GPU, by torch; only the pairs come back."""

    block = 16_384  # its products take 1 GB of the GPU's memory

    def margin(self, width: int) -> float:
        """Return the bound of float32 products, which TensorFloat-32 would not keep."""
        return margin_of(width)

    def empty(self, count: int, width: int) -> Any:
        """Return room in float32 on the GPU."""
        import torch

        return torch.empty((count, width), dtype=torch.float32, device="cuda")

    def prepare(self, vectors: np.ndarray, lengths: np.ndarray) -> Any:
        """Return float32 unit vectors on the GPU."""
        import torch

        return torch.from_numpy(unit(vectors, lengths)).cuda()

    def reaching(self, left: Any, right: Any, at_least: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs that reach `at_least`."""
        import torch

        with torch.inference_mode():
            least = float(np.nextafter(np.float32(at_least), np.float32(-np.inf)))
            pairs = (left @ right.T >= least).nonzero().to(torch.int32).cpu().numpy()
        return pairs[:, 0].copy(), pairs[:, 1].copy()

    @contextmanager
    def workers(self) -> Iterator[ThreadPoolExecutor]:
        """Give one thread: it keeps the GPU busy while the pairs of before are decided."""
        import torch

        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            with ThreadPoolExecutor(2) as pool:
                yield pool
        finally:
            torch.set_float32_matmul_precision(before)


def prefilter_for(count: int, at_least: float, choice: Choice = "auto") -> Prefilter:
    """Return the prefilter of that name for `count` vectors; `auto`: the fastest one here.

    Raises:
        MissingExtra: FAISS or torch, which the prefilter needs, is not installed.
    """
    if choice == "bfloat16":
        require_extra("vectors", "prefilter 'bfloat16'", "torch")
    # Below its margin a product in bfloat16 could be negative, and tells nothing.
    if choice == "float32" or at_least <= 0.05:
        return FaissPrefilter()
    if choice == "bfloat16":
        return BFloat16Prefilter()
    if _worth_loading_torch(count):
        if has_gpu():
            return CudaPrefilter()
        if native_dtype("cpu") == "bfloat16":
            return BFloat16Prefilter()
    return FaissPrefilter()


def products_for(count: int) -> BlockProducts:
    """Return the fastest products of `count` vectors here."""
    if _worth_loading_torch(count) and native_dtype("cpu") == "bfloat16":
        return BFloat16Prefilter()
    return Float32Products()


def _worth_loading_torch(count: int) -> bool:
    return "torch" in sys.modules or (count >= LOAD_TORCH and find_spec("torch") is not None)


def prepared(prefilter: Prefilter | BlockProducts, own: UnitVectors, rows: np.ndarray) -> Any:
    """Return the vectors at `rows` as they are multiplied, without a whole copy between."""
    out = prefilter.empty(len(rows), own.vectors.shape[1])
    for start in range(0, len(rows), BLOCK):
        some = rows[start : start + BLOCK]
        out[start : start + len(some)] = prefilter.prepare(own.vectors[some], own.lengths[some])
    return out


def in_waves(
    prefilter: Prefilter, work: Callable[[Any], Any], tasks: Iterator[Any], size: int
) -> Iterator[list[Any]]:
    """Yield what `work` returns for tasks, `size` of them at a time, by all cores."""
    with prefilter.workers() as pool:
        while wave := list(itertools.islice(tasks, size)):
            yield list(pool.map(work, wave))


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@njit(nogil=True, cache=True)
def _scan(product: np.ndarray, least: Any, rows: np.ndarray, columns: np.ndarray) -> Any:
    """Write down the entries that reach `least` as far as there is room; return how many."""
    count = 0
    for row in range(product.shape[0]):
        entries = product[row]
        hit = False
        for column in range(len(entries)):  # without a branch: this one is vectorised
            hit |= entries[column] >= least
        if not hit:
            continue
        for column in range(len(entries)):
            if entries[column] >= least:
                if count < len(rows):
                    rows[count], columns[count] = row, column
                count += 1
    return count
