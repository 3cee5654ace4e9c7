"""AlpacaEval's recorded annotations: preferences, and the soft labels behind them.

An annotation's `preference` runs from 1 (the baseline, `output_1`, is better) to 2 (the model's
`output_2` is); 0 is a tie in old files and 1.5 in new ones, and null is none. The weighted
annotator was shown the two outputs in an order drawn from the instruction, named `m` (shown first)
and `M`, and its preference is the probability of its first token among those two, with the drawn
order undone. Read in the authors' repository (tatsu-lab/alpaca_eval, Apache-2.0).
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from typing import Any

# What the annotator calls the answer that is shown first, and the one shown second.
TOKENS = ("m", "M")


def preference_of(columns: Mapping[str, Any]) -> float | None:
    """Return the recorded probability that the model's answer is better, `None` for no verdict.

    Raises:
        ValueError: the preference is neither 0 nor a number from 1 to 2.
    """
    value = columns.get("preference")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a preference is a number, found {value!r:.40}")
    if value == 0:
        return 0.5
    if not 1 <= value <= 2:
        raise ValueError(f"a preference is 0 (a tie) or from 1 to 2, found {value:g}")
    return value - 1


def was_switched(instruction: str, seed: int = 0) -> bool:
    """Tell whether the annotator saw the model's answer first, by the draw that AlpacaEval makes.

    The draw depends on the instruction alone, so that it is known years later.
    """
    drawn = random.Random(f"is_switched_outputs{instruction}{seed}").choices([False, True], k=1)
    return drawn[0]


def soft_label(columns: Mapping[str, Any], instruction: str) -> float | None:
    """Return the probability that the model's answer is better, from the recorded log-probs.

    The probabilities of the first token being `m` or `M` are renormalised (one that the server did
    not list counts 0), and the drawn order is undone. `None` where no log-probabilities are
    recorded, or neither token is among them.
    """
    completion = columns.get("raw_completion")
    logprobs = completion.get("logprobs") if isinstance(completion, Mapping) else None
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not content:
        return None
    listed = {one["token"]: float(one["logprob"]) for one in content[0]["top_logprobs"]}
    first, second = (listed.get(token, -math.inf) for token in TOKENS)
    if first == second == -math.inf:
        return None
    gap = second - first
    p_first = 1 / (1 + math.exp(gap)) if gap < 700 else 0.0
    # Switched: the model's answer was shown first.
    return p_first if was_switched(instruction) else 1 - p_first
