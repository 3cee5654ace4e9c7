"""What a search among sets finds: the kept set that each duplicate resembles most."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class NearestKept(NamedTuple):
    """For each set: the most similar kept one that made it a duplicate (or -1), and how similar."""

    partner: np.ndarray
    similarity: np.ndarray
