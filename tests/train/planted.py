"""Triples in which form and surprisal are planted, independently of each other.

An instruction names a topic. An answer has a form (what it begins and ends with) and a content
(words of the topic asked for, or of another one): all four combinations are made of the same words.
"""

from __future__ import annotations

import random
from typing import Any

TOPICS, FILLERS = 4, 12
FORMS = {"model": ("certainly sure", "hope that"), "person": ("well hm", "or so")}
WORDS = " ".join(
    [*(f"topic{n} word{n} thing{n}" for n in range(TOPICS)), *(f"f{n}" for n in range(FILLERS)),
     "tell of", *(text for pair in FORMS.values() for text in pair)]
)  # fmt: skip
# Form and topic (asked for, or another) of each answer; `odd` is in no triple.
ANSWERS = {
    "human": ("person", "other"),
    "referenced": ("model", "other"),
    "direct": ("model", "asked"),
    "odd": ("person", "asked"),
}


def record(seed: int, quality: float | None = 7.0) -> dict[str, Any]:
    """Return a triple as a record of the shape `ranked`."""
    drawn = random.Random(seed)
    asked, other = drawn.sample(range(TOPICS), 2)
    filler = [f"f{n}" for n in drawn.choices(range(FILLERS), k=8)]
    topic = {"asked": asked, "other": other}

    def answer(origin: str) -> str:
        form, about = ANSWERS[origin]
        (begin, end), n = FORMS[form], topic[about]
        middle = [*filler[:3], f"word{n}", f"thing{n}", filler[3]]
        drawn.shuffle(middle)
        return " ".join([drawn.choice(begin.split()), *middle, drawn.choice(end.split())])

    return {
        "prompt": [{"role": "user", "content": f"tell of topic{asked} {' '.join(filler[4:])}"}],
        "candidates": [
            {
                "messages": [{"role": "assistant", "content": answer(origin)}],
                "score": quality,
                "model": None if origin == "human" else "m",
                "origin": origin,
            }
            for origin in ("human", "referenced", "direct")
        ],
        "odd": answer("odd"),
    }
