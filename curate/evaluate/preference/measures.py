"""Measures of sketched pairs: what labels reward, which are doubtful, and how groups differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.evaluate.preference.findings import (
    FoundPairs,
    contradictions,
    cycles,
    duplicates,
    leaks,
    near_duplicates,
)
from curate.evaluate.preference.linear import (
    crossed,
    crossed_words,
    doubtful,
    length_differences,
    measurable,
    style_differences,
)
from curate.evaluate.preference.sketches import Sketches
from curate.evaluate.rank_statistics import Interval, clustered_share
from curate.kernels.text.style_features import FEATURES

# Groups of a kind that are measured; the others are counted.
MOST_GROUPS = 50


def all_findings(sketches: Sketches) -> dict[str, FoundPairs]:
    """Return every finding that needs no model, by name; what is not found is empty."""
    pairs = sketches.pairs
    chosen, rejected = pairs.refuses.T
    empty, repeated = pairs.empty.any(axis=1), duplicates(sketches)
    found = {
        "empty_side": FoundPairs.alone(empty),
        "same_answers": FoundPairs.alone(pairs.same & ~empty),
        "tool_calls_differ_in_form": FoundPairs.alone(pairs.same_calls),
        "duplicate": repeated,
        "near_duplicate": near_duplicates(sketches, repeated),
        "contradiction": contradictions(sketches),
        "cycle": cycles(sketches),
        "chosen_refuses": FoundPairs.alone(chosen & ~rejected),
        "both_refuse": FoundPairs.alone(chosen & rejected),
    }
    exact, near = leaks(sketches)
    return found | {"prompt_in_other_split": exact, "near_prompt_in_other_split": near}


def label_measures(sketches: Sketches) -> tuple[dict[str, Any], np.ndarray, FoundPairs]:
    """Return the measures of all pairs, what style says of each, and the doubtful labels."""
    pairs = sketches.pairs
    decided = ~pairs.tie
    words = pairs.words[decided]
    found: dict[str, Any] = {
        "longest_wins": _share_of(_longest(pairs.words), pairs.prompt, decided),
        "words_chosen": float(words[:, 0].mean()) if len(words) else None,
        "words_rejected": float(words[:, 1].mean()) if len(words) else None,
    }
    unknown, nothing = np.full(len(decided), np.nan), np.empty(0, np.int64)
    if (why := measurable(pairs)) is not None:
        return found | {"not_measured": why}, unknown, FoundPairs(nothing, nothing)
    differences = style_differences(pairs)
    style, length = crossed(differences, pairs), crossed(length_differences(pairs), pairs)
    p_words = crossed_words(sketches, differences)
    for name, p_chosen in (
        ("style", style.p_chosen), ("length", length.p_chosen), ("words", p_words)
    ):  # fmt: skip
        found[f"accuracy_{name}"] = _share_of(_right(p_chosen), pairs.prompt, decided)
    found["features"] = {}
    for number, name in enumerate(FEATURES):
        sides = pairs.features[decided, :, number]
        both = sides[~np.isnan(sides).any(axis=1)]
        more = (np.sign(both[:, 0] - both[:, 1]) + 1) / 2
        found["features"][name] = {
            "chosen": float(both[:, 0].mean()) if len(both) else None,
            "rejected": float(both[:, 1].mean()) if len(both) else None,
            "chosen_has_more": float(more.mean()) if len(both) else None,
            "weight": float(style.weights[number]),
        }
    doubts, limit = doubtful(p_words)
    accuracy = found["accuracy_words"]
    found["label_noise"] = {
        "doubtful": len(doubts) / int(decided.sum()),
        "limit": limit,
        # A model that does not predict labels has no say about them.
        "informative": bool(accuracy is not None and accuracy.low > 0.5),
    }
    return found, style.p_chosen, FoundPairs(doubts, np.full(len(doubts), -1), p_words[doubts])


def _longest(words: np.ndarray) -> np.ndarray:
    """Return 1 where the chosen answer has more words, 0 where it has fewer, 0.5 for as many."""
    longer: np.ndarray = (np.sign(words[:, 0] - words[:, 1]) + 1) / 2
    return longer


def _right(p_chosen: np.ndarray) -> np.ndarray:
    hits: np.ndarray = (np.sign(p_chosen - 0.5) + 1) / 2
    return hits


def _share_of(hits: np.ndarray, prompts: np.ndarray, where: np.ndarray) -> Interval | None:
    return clustered_share(hits[where], prompts[where])


def group_measures(
    sketches: Sketches, p_style: np.ndarray, findings: Mapping[str, FoundPairs]
) -> dict[str, Any]:
    """Return measures of each group of pairs, by kind; of a view that differs, its own."""
    pairs, found = sketches.pairs, dict[str, Any]()
    refused = np.zeros(len(pairs.row), bool)
    refused[findings["chosen_refuses"].pairs] = True
    doubted = np.zeros(len(pairs.row), bool)
    doubted[findings["doubtful_label"].pairs] = True
    longest, right = _longest(pairs.words), _right(p_style)
    for kind, named in sketches.groups.items():
        if len(named) < 2:
            continue
        largest = sorted(named, key=lambda name: (-len(named[name][0]), name))
        found[kind] = {}
        for name in largest[:MOST_GROUPS]:
            places, views = named[name]
            # Where a group prefers the other answer, all that is said of the pair is turned round.
            own = views[views != 0.5] == 1
            at = places[views != 0.5]
            won = np.where(own, longest[at], 1 - longest[at])
            style = np.where(own, right[at], 1 - right[at])
            measured = ~np.isnan(p_style[at])
            found[kind][name] = {
                "pairs": len(places),
                "agrees": float(views.mean()),
                "longest_wins": clustered_share(won, pairs.prompt[at]),
                "accuracy_style": clustered_share(style[measured], pairs.prompt[at][measured]),
                "chosen_refuses": float(refused[places].mean()),
                "doubtful": float(doubted[places].mean()),
            }
        if len(named) > MOST_GROUPS:
            found[kind]["(others)"] = {
                "pairs": sum(len(named[name][0]) for name in largest[MOST_GROUPS:]),
                "groups": len(named) - MOST_GROUPS,
            }
    return found
