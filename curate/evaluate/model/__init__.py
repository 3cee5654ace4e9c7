"""Measures of a model: win rates against a baseline, closed-ended benchmarks, losses and rewards.

`stages` holds the runs of an evaluation. `judged` lets a judge compare answers with a baseline's
(`contest_rows` reads and writes the rows, `contests` says what they come to, `length_control` takes
the length out, `alpaca_eval` reads recorded annotations), `mt_bench` lets it rate two turns,
`held_out` measures losses and the order of pairs by `likelihoods`, `harness` runs lm-eval.
`resampling` gives intervals and paired tests.
"""
