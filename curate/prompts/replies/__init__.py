"""What a reply says: a number, a label or an object, read by one strict grammar.

Every step that reads a judgement reads it here. Whatever is ambiguous, outside the scale or cut off
raises `UnusableReply`: the row fails and the reply is kept. The price of strictness is a few more
failed rows; the alternative, a guess, is a score that nobody gave.
"""

from curate.prompts.replies.labels import label_in, read_label
from curate.prompts.replies.numbers import SCORE_NAMES, number_in, read_number
from curate.prompts.replies.plain_lines import read

__all__ = ["SCORE_NAMES", "label_in", "number_in", "read", "read_label", "read_number"]
