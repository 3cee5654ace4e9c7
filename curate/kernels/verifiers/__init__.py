"""Checkers of answers: what a reply is worth by rule, given a gold answer, tests or constraints."""
