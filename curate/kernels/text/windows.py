"""Windows of a text: runs of its sentences and lines, as long as the texts that are looked for.

A text that lies inside a longer one has another meaning than the whole; a window of its length that
begins and ends where sentences do has nearly its own. Lengths are powers of two, in words, so that
the nearest one is off by a factor of 1.42 at most; windows of one length begin at the beginnings
of sentences, an eighth of it apart at least.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from curate.kernels.text.words import compared_spans

# About what an encoder of 256 tokens reads; a longer sentence is cut, so that all of it is read.
LONGEST_WINDOW = 128
SHORTEST_WINDOW = 4
STEP = 1 / 8
# Where sentences and lines end; a heading or an item of a list is a line.
_END = re.compile(r"[.!?;:]['\")\]]*\s+|[。！？；]+[」』”]*\s*|\n")


class _Segment(NamedTuple):
    start: int
    end: int
    words: int


def window_lengths(counts: Iterable[int]) -> tuple[int, ...]:
    """Return the lengths of windows in which texts of so many words are looked for."""
    exponents = {round(math.log2(count)) for count in counts if count}
    lengths = {min(max(1 << one, SHORTEST_WINDOW), LONGEST_WINDOW) for one in exponents}
    return tuple(sorted(lengths))


def windows(text: str, lengths: Sequence[int]) -> Iterator[str]:
    """Yield the windows of `text` that are shorter than all of it, each once, by length."""
    found = list(_segments(text))
    seen = {(0, len(found))}
    for length in lengths:
        since = length
        for first, segment in enumerate(found):
            if since >= length * STEP:
                last, words = _end_of(found, first, length)
                if length / 2 <= words <= 2 * length and (first, last) not in seen:
                    seen.add((first, last))
                    yield text[segment.start : found[last - 1].end].strip()
                since = 0
            since += segment.words


def _end_of(segments: Sequence[_Segment], first: int, length: int) -> tuple[int, int]:
    """Return the segment before which a window ends that comes closest to `length` words."""
    last, words = first + 1, segments[first].words
    while last < len(segments):
        longer = words + segments[last].words
        if abs(longer - length) > abs(words - length):
            break
        last, words = last + 1, longer
    return last, words


def _segments(text: str) -> Iterator[_Segment]:
    """Yield the sentences and lines that hold a word; long ones in pieces."""
    spans, place, start = list(compared_spans(text)), 0, 0
    for end in (*(match.end() for match in _END.finditer(text)), len(text)):
        own = place
        while own < len(spans) and spans[own][0] < end:
            own += 1
        for begin in range(place, own, LONGEST_WINDOW):
            last = min(begin + LONGEST_WINDOW, own)
            stop = end if last == own else spans[last][0]
            yield _Segment(start, stop, last - begin)
            start = stop
        place = own
