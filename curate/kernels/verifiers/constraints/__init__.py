"""Constraints on how an instruction is to be answered, each checked by rule."""
