"""The distinctive words of clusters, by class-based TF-IDF.

Grootendorst 2022 (BERTopic), arXiv 2203.05794, equation 2: a word t weighs tf(t, c) x log(1 + A /
f(t)) in a cluster c, tf being how often c has it, f how often all clusters do, and A the mean
number of words of a cluster. Words are runs of two or more letters in lower case, without English
function words; a run of Chinese or Japanese characters counts as one word.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

_WORD = re.compile(r"[^\W\d_]{2,}")


@functools.cache
def english_stop_words() -> frozenset[str]:
    """Return the function words of English that no topic is named by; the file has their notice."""
    data = json.loads(Path(__file__).with_name("stop_words.json").read_text("ascii"))
    return frozenset(" ".join(data["words"]).split())


def topic_terms(texts: Iterable[str], topics: Sequence[int], count: int) -> dict[int, list[str]]:
    """Return for each topic its `count` heaviest words; of equal ones the first by alphabet.

    A text of the topic -1 does not count.
    """
    words: dict[int, Counter[str]] = {topic: Counter() for topic in sorted(set(topics) - {-1})}
    for text, topic in zip(texts, topics, strict=True):
        if topic >= 0:
            words[topic].update(_WORD.findall(text.lower()))
    for own in words.values():
        for stop in english_stop_words():
            own.pop(stop, None)
    total: Counter[str] = Counter()
    for own in words.values():
        total.update(own)
    mean = total.total() / len(words) if words else 0.0
    heaviest = {}
    for topic, own in words.items():
        order = sorted(
            (-often * math.log1p(mean / total[word]), word) for word, often in own.items()
        )
        heaviest[topic] = [word for _, word in order[:count]]
    return heaviest
