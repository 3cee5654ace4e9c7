"""Whether a curation helped: a curated subset against random draws, the longest rows, and all.

`prepare_proof` reads, splits, curates and writes the plan; `run_proof` trains and tests. The
statistics are plain functions in `draw_test` and `claims`; a trainer is whatever fits
`ArmTrainer`.
"""
