"""How far judges can be trusted: measured on labelled rows, beside the longest answer.

`evaluate_pairs` and `evaluate_judge` run a judge as a pipeline (same store, ceilings, replay and
ledger) and measure what it said; `recorded_pairs` and `recorded_scores` measure judgements that
stand in columns, without any model. The measures themselves are plain functions of the modules
`rank_statistics`, `pair_measures` and `calibration`.
"""

from curate.evaluate.calibration import Calibration, CorrectedShare
from curate.evaluate.judge import evaluate_judge
from curate.evaluate.pair_measures import JudgedPair
from curate.evaluate.pairs import evaluate_pairs
from curate.evaluate.recorded import recorded_agreement, recorded_pairs, recorded_scores

__all__ = [
    "Calibration",
    "CorrectedShare",
    "JudgedPair",
    "evaluate_judge",
    "evaluate_pairs",
    "recorded_agreement",
    "recorded_pairs",
    "recorded_scores",
]
