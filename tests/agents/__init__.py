"""Ten tasks that users give to agents, with checkers of what was done."""

from .cleaning import CONTAMINATION, DEDUP, EXPORT, FILTER, PAIRS
from .judging import CEILING, KILL, THRESHOLD
from .place import Task
from .results import COMPARE, EXPLAIN

TASKS: tuple[Task, ...] = (
    *(FILTER, DEDUP, CEILING, PAIRS, EXPORT, KILL, EXPLAIN, THRESHOLD, COMPARE, CONTAMINATION),
)
