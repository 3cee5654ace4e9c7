"""Keep rows whose turns make a conversation one can train on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from curate.kernels.text.turns import PROBLEMS, ROLES, Problem
from curate.row import Message, Row
from curate.step import Filter, Scored, Scores, rule

if TYPE_CHECKING:
    from curate.chunk import Chunk


@dataclass(frozen=True, kw_only=True)
class Structure(Filter):
    """Drop rows whose turns are empty, missing or out of order, or whose answers are equal.

    The score is 0, or the sum of the codes of all problems found: empty_turn 1, no_user_turn 2,
    no_assistant_turn 4, late_system_turn 8, stray_tool_turn 16, assistant_first 32, role_repeated
    64, no_final_answer 128, unknown_role 256, empty_completion 512, chosen_equals_rejected 1024,
    too_few_candidates 2048. The ledger names them next to the score. The turns are those of the
    conversation, or of prompt and (chosen) completion; a prompt needs no answer. `problems` lists
    those that drop a row (all by default).
    """

    problems: tuple[str, ...] | None = rule(PROBLEMS)

    source: ClassVar[str] = "the chat templates' own demands: roles alternate, the assistant ends"

    def check(self) -> None:
        """Reject problems nobody looks for."""
        for name in self.problems or ():
            if name not in PROBLEMS:
                raise ValueError(f"unknown problem '{name}'; allowed are {', '.join(PROBLEMS)}")

    def score(self, row: Row) -> Scored:
        """Add up the codes of the problems found; the ledger names them."""
        return Scored(float(found := problems_in(row)), _named(found))

    def score_many(self, chunk: Chunk) -> Scores:
        """Walk the turns of all rows in one compiled pass."""
        from curate.kernels.text.turns_compiled import problems_of

        values = problems_of(chunk, problems_in)
        if not values.any():
            return Scores(values)
        return Scores(values, [_named(int(value)) if value else None for value in values])

    def keep(self, score: float | None) -> str | None:
        """Name the first problem found that is a rule."""
        found = int(score or 0)
        for number, name in enumerate(PROBLEMS):
            if found >> number & 1 and name in (self.problems or ()):
                return name.replace("_", " ")
        return None


def problems_in(row: Row) -> int:
    """Return the sum of the codes of a row's problems."""
    if row.kind == "sft":
        return turn_problems(row.messages, answered=True)
    if row.kind == "prompt":
        return turn_problems(row.prompt, answered=False)
    if row.kind == "ranked":
        found = turn_problems(row.prompt, answered=False)
        if any(is_blank(candidate.messages) for candidate in row.candidates):
            found |= Problem.EMPTY_COMPLETION
        if len(row.candidates) < 2:
            found |= Problem.TOO_FEW_CANDIDATES
        return found
    answer = row.chosen if row.kind == "preference" else row.completion
    found = turn_problems((*row.prompt, *answer), answered=True)
    answers = (answer, row.rejected) if row.kind == "preference" else (answer,)
    if any(map(is_blank, answers)):
        found |= Problem.EMPTY_COMPLETION
    if row.kind == "preference" and row.chosen == row.rejected:
        found |= Problem.CHOSEN_EQUALS_REJECTED
    return found


def _named(found: int) -> dict[str, list[str]] | None:
    """Return the detail of a row: its problems by name."""
    names = [name for number, name in enumerate(PROBLEMS) if found >> number & 1]
    return {"problems": names} if names else None


def is_blank(turns: Sequence[Message]) -> bool:
    """Tell whether no turn holds anything but white space: no text, tool call or medium."""
    return all(not turn.content.strip() and not turn.attached for turn in turns)


def turn_problems(turns: Sequence[Message], *, answered: bool) -> int:
    """Return the problems of turns; `kernels.text.turns_compiled` finds the same in columns."""
    roles = [ROLES.get(turn.role, "unknown") for turn in turns]
    spoken = [role for role in roles if role != "system"]
    pairs = list(zip(["start", *spoken], spoken, strict=False))
    found = {
        Problem.EMPTY_TURN: any(is_blank([turn]) for turn in turns),
        Problem.NO_USER_TURN: "user" not in roles,
        Problem.NO_ASSISTANT_TURN: answered and "assistant" not in roles,
        Problem.LATE_SYSTEM_TURN: "system" in roles[1:],
        Problem.STRAY_TOOL_TURN: ("user", "tool") in pairs or ("start", "tool") in pairs,
        Problem.ASSISTANT_FIRST: spoken[:1] == ["assistant"],
        Problem.ROLE_REPEATED: ("user", "user") in pairs or ("assistant", "assistant") in pairs,
        Problem.NO_FINAL_ANSWER: answered and roles[-1:] != ["assistant"],
        Problem.UNKNOWN_ROLE: "unknown" in roles,
    }
    return sum(problem for problem, present in found.items() if present)
